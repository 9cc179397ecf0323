"""Reasons on the host for which K3s does not start, or its pods do not work. Pure."""

from agent.findings.machine import identity, kernel_support, network_and_files  # noqa: F401 - each declares its kinds
