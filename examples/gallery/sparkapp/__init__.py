"""A PySpark application as one would keep it.

What varies is in `settings`, what is shared in `session` and `telemetry`, what is done in `stages`: one function each,
so that each can be tested with a small table, as `test_stages.py` does. `mllib.py`, beside this folder, runs it all.
"""
