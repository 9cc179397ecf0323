"""The CIS benchmarks for K3s: their versions, and the numbers of their controls. Pure."""
