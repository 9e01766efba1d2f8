"""Models: registry, training, evaluation and drift; no Redis in here."""
