"""Subscribing: scorer, aggregator, statistics and housekeeping."""
