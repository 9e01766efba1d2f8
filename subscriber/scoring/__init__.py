"""Scoring: `scorer` reads and commits, `outcome` decides, `results` packs, `shelf` holds the open models."""
