"""Generated services of K3s, what the gate judges of them, and what their processes really get."""
