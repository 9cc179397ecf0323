"""Assessment of a node against a benchmark."""
