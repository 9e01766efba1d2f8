"""Redis event pipeline for machine learning: publish, subscribe, consume, commit."""
