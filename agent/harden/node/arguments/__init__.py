"""Effective arguments of the components on this host: of K3s, of the operator, and of the kubelet's files."""
