"""Reasons on the host for which K3s does not start, or its pods do not work. Pure."""

from agent.findings.machine import identity, kernel_support, network, program, storage  # noqa: F401 - each declares its kinds
