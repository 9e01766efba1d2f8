"""The bus: publish, subscribe, consume and commit on Redis."""
