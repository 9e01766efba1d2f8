"""The embedded server: a bundled Valkey owned by a guard process."""
