"""Rows of the benchmarks: the arguments that they test."""

from __future__ import annotations

from agent.assess.checks.argument_checks import ArgumentCheck
from agent.assess.checks.check import AllOf, Check
from agent.k3s.default_arguments import Needs, defaults_of
from agent.k3s.roles_and_versions import Component, Version

_BY_THE_OPERATOR = (Needs.SECRETS_ENCRYPTION, Needs.PROTECT_KERNEL_DEFAULTS)
OF_K3S = {
    component: {
        row.name: row.example.replace("{data_dir}", "/var/lib/rancher/k3s")
        for row in defaults_of(component)
        if row.in_version(Version(1, 36, 1)) and row.needs not in _BY_THE_OPERATOR
    }
    for component in Component
}
"""Arguments that an unconfigured K3s with embedded etcd passes to each component, if a row tests them."""


def parts(check: Check) -> tuple[Check, ...]:
    return check.checks if isinstance(check, AllOf) else (check,)


def flags(check: Check) -> tuple[ArgumentCheck, ...]:
    """Return the arguments that a check tests; none for a check of something else."""
    return tuple(part for part in parts(check) if isinstance(part, ArgumentCheck))
