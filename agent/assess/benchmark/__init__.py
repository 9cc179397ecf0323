"""Controls of the CIS Kubernetes benchmarks for a K3s node, as typed rows."""
