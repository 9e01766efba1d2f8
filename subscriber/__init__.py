"""What consumes: scorers turn requests into results, an aggregator turns everything into statistics.

scoring/       requests ──> matrix ──> model ──> results, replies, statistics: one commit a batch
aggregation/   runs, labels, signs of life, counters ──> one state ──> the frame, 4 times a second
"""
