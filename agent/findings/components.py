"""Findings about the arguments that the operator gives to the components of Kubernetes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.findings.registry import Trouble, finding, instruction, no, yes
from agent.model import Component
from agent.report import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.situation import Situation

_NOTHING_RUNS = "The component exits, and K3s with it."
_KEYS = tuple(component.config_key for component in Component)


def _has_arguments(situation: Situation) -> bool:
    """Return whether the operator sets an argument of a component. Otherwise no table is loaded."""
    values = situation.facts.operator_config.values
    return any(key in values for key in _KEYS)


@finding(
    Level.ERROR,
    blocks_gate=no(_NOTHING_RUNS),
    prevents_start=yes("A component exits at an argument that it does not have."),
)
def component_argument_unknown(situation: Situation) -> Iterator[Trouble]:
    """An argument of a component does not exist in this version of Kubernetes.

    It is misspelt, or a newer version has removed it. The tables come from the programs' own --help, for Kubernetes
    1.34 to 1.37.
    """
    if _has_arguments(situation):
        from agent.findings.component_problems import troubles
        from agent.k3s.components.problem import Cause

        yield from troubles(situation, Cause.UNKNOWN_ARGUMENT)


@finding(
    Level.ERROR,
    blocks_gate=no(_NOTHING_RUNS),
    prevents_start=yes("A component exits at a value that it cannot parse or does not accept."),
)
def component_argument_invalid(situation: Situation) -> Iterator[Trouble]:
    """An argument of a component has a value that the component rejects when it starts.

    The value has the wrong type, is outside a range or an enumeration, or contradicts another argument. Only the last
    value of most arguments counts, but the component parses all of them.
    """
    if _has_arguments(situation):
        from agent.findings.component_problems import troubles
        from agent.k3s.components.problem import Cause

        yield from troubles(situation, Cause.INVALID_VALUE)


@finding(
    Level.ERROR,
    blocks_gate=no(_NOTHING_RUNS),
    prevents_start=yes("A component exits at a feature gate that it does not have, or that is locked."),
)
def feature_gate_invalid(situation: Situation) -> Iterator[Trouble]:
    """A feature gate does not exist in this version of Kubernetes, is locked, or has no boolean value.

    Kubernetes removes a gate some versions after its feature is complete. A gate can also need another gate.
    """
    if _has_arguments(situation):
        from agent.findings.component_problems import troubles
        from agent.k3s.components.problem import Cause

        yield from troubles(situation, Cause.FEATURE_GATE)


@finding(
    Level.ERROR,
    blocks_gate=no(_NOTHING_RUNS),
    prevents_start=yes("The API server exits at a configuration file that it cannot use."),
)
def component_file_invalid(situation: Situation) -> Iterator[Trouble]:
    """A file that an argument of a component names has content that the component rejects when it starts.

    The API server decodes its configuration files strictly: unknown and repeated fields are errors, except in an audit
    policy. Certificates and keys must be in the PEM format, and a directory cannot be in the place of a file.
    """
    files = situation.k3s_files
    written = {resource.id for resource in situation.desired}
    if (
        files.directories
        or any(str(one.path) not in written and one.path in files.contents for one in files.named_paths)
        or any(refusal.edited for refusal in situation.plan.refusals)
    ):
        from agent.findings.component_files import rejected

        yield from rejected(situation)


@finding(
    Level.ERROR,
    blocks_gate=yes("The API server starts with Pod Security at its default, which allows privileged pods."),
    prevents_start=no("The API server ignores entries for plugins that do not exist."),
)
def pod_security_misspelt(situation: Situation) -> Iterator[Trouble]:
    """The admission configuration has no entry for PodSecurity, but one with a similar name, which has no effect."""
    if _has_arguments(situation):
        from agent.findings.component_files import misspelt

        yield from misspelt(situation)


@finding(
    Level.ERROR,
    blocks_gate=yes("The API server starts and writes no audit log."),
    prevents_start=no("The API server accepts the policy."),
)
def audit_policy_logs_nothing(situation: Situation) -> Iterator[Trouble]:
    """The audit policy of the operator logs no request, for example because all of its rules have the level None.

    A waiver with the ID of the control accepts it.
    """
    if _has_arguments(situation):
        from agent.findings.component_files import logs_nothing

        yield from logs_nothing(situation)


@finding(
    Level.NOTE,
    blocks_gate=no("Nothing is known to be wrong."),
    prevents_start=no("Nothing is known to be wrong."),
)
def component_arguments_not_checked(situation: Situation) -> Iterator[Trouble]:
    """The arguments of components are not checked, because the tables do not describe this version of Kubernetes."""
    if _has_arguments(situation):
        from agent.findings.component_problems import is_described, with_arguments

        components = with_arguments(situation.facts)
        if components and not is_described(situation.facts):
            known = situation.facts.version_is_known
            version = f"version {situation.facts.version}" if known else "an unknown version"
            yield Trouble(
                f"k3s-harden cannot tell whether {' and '.join(components)} of {version} will accept the configured "
                "arguments",
                remediation=instruction("update k3s-harden" if known else "pass --k3s-version"),
            )
