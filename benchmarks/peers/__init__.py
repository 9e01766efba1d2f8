"""What a user would pick instead: one peer a file, each with an environment of its own. See `benchmarks/entrant.py`.

Every peer does the same work: one request a row of the digits data, the model from the registry's own file, a result
with label and probabilities that a requester can fetch; on the same server. Each has the
settings that are written at the top of its file, chosen for throughput; none was tuned further.
"""
