"""Sections of the benchmarks. Only the general policies have another number in the newest versions."""

from __future__ import annotations

SECTIONS = {
    "1.1": "Control plane node configuration files",
    "1.2": "API server",
    "1.3": "Controller manager",
    "1.4": "Scheduler",
    "2": "etcd node configuration",
    "3.1": "Authentication and authorization",
    "3.2": "Logging",
    "4.1": "Worker node configuration files",
    "4.2": "kubelet",
    "4.3": "kube-proxy",
    "5.1": "RBAC and service accounts",
    "5.2": "Pod security standards",
    "5.3": "Network policies and CNI",
    "5.4": "Secrets management",
    "5.5": "Extensible admission control",
    "5.6": "General policies",
    "5.7": "General policies",
    "": "The host, beyond the benchmark",
}
"""By number; "" contains the controls that no benchmark has."""
