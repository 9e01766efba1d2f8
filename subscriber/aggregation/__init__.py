"""Aggregation: pure folds of what is published, and the leader that reads, saves and publishes them.

`aggregator` leads or stands by, `term` is what a leader does, `folding` passes events to the folds: `runs`, `quality`,
`workers`, `serving`, `statistics`, `alerts`. `frame` composes, `saved` keeps, `housekeeping` trims, `intake` takes in.
"""
