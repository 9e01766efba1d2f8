"""Fuzzing: bytes that a coverage-guided fuzzer makes, through everything that reads what strangers send.

`make fuzz` runs it; `python -m tests.fuzz --help` says how. It is no part of the test suite.
"""
