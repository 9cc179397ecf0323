"""What a host should have, and how it gets it."""
