"""The CIS Kubernetes benchmarks as far as they concern a K3s node: controls as typed rows; knows no host."""
