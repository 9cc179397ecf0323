"""The machine, and what all packages share."""
