"""Chaos: real processes and a real server under load, faults at seeded moments, and the books balanced afterwards.

`python -m tests.chaos` runs every scenario and prints a table; tests/integration/test_chaos.py runs each one shortly.
"""
