"""Side-by-side measurements: headrace and the barest program for the same work, in one run on one server.

What is compared takes turns, round by round, so that whatever else the machine does falls on all of them. Rates of two
machines cannot be compared, ratios of one run can.
"""
