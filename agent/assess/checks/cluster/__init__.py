"""Checks that ask the API server: rights, workloads, namespaces and Secrets of the cluster."""
