"""Files that components of Kubernetes read when they start, by kind. Pure."""
