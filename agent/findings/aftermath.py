"""What a run brought about beyond its own resources, and says: a look at the host alone could not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.findings.registry import KINDS, UNINSTALL, Trouble, declared, instruction
from agent.model import Location
from agent.report import Level

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import PurePosixPath

    from agent.node.gate import Gate
    from agent.report import Finding


_DELETE = (
    "k3s-harden render policy --k3s-version $(k3s --version | awk 'NR == 1 {print $3}')"
    " | k3s kubectl delete --ignore-not-found -f -; where the settings name namespaces, render needs --config"
)

OBJECTS_REMAIN = declared(
    "objects-remain",
    Level.NOTE,
    """After a revert: K3s keeps the objects of a manifest that is gone, so the cluster still has its policies.

    They are removed with kubectl, on one server.
    """,
)

K3S_RELEASED = declared(
    "k3s-released",
    Level.NOTE,
    "After an apply: the gate had kept K3s down at its last start, and the host is ready now, so K3s is started.",
)

GATE_REMAINS = declared(
    "gate-remains",
    Level.WARNING,
    """After a revert, or an uninstall beside the package: the gate is still there, and hardens the host again.

    It does so at K3s' next start. What a package brought goes with the package.
    """,
)


def after_release(services: Iterable[str]) -> tuple[Finding, ...]:
    """What to say of services that are being started."""
    return tuple(
        K3S_RELEASED.case(Trouble(f"{service}, which the gate kept down, is being started")) for service in services
    )


def after_uninstall(gate: Gate) -> tuple[Finding, ...]:
    """What is left to do once every file of `install` is gone."""
    return (_remaining(gate.unit, gate),) if gate.packaged and gate.unit is not None else ()


def after_revert(undone: Collection[str], gate: Gate, *, k3s_runs: bool, lost_manifest: bool) -> tuple[Finding, ...]:
    """What is left to do once these resources are as they were; `lost_manifest` says that policy.yaml is gone."""
    found = []
    if lost_manifest:
        message = "K3s keeps the objects of the manifest that was here"
        found.append(OBJECTS_REMAIN.case(Trouble(message, remediation=instruction(f"on one server: {_DELETE}"))))
    if k3s_runs and any(name.endswith(".yaml") for name in undone):
        found.append(
            KINDS["restart-needed"].case(
                Trouble("K3s runs with what was undone", remediation=instruction("restart K3s"))
            )
        )
    if undone and gate.unit is not None:
        found.append(_remaining(gate.unit, gate))
    return tuple(found)


def _remaining(unit: PurePosixPath, gate: Gate) -> Finding:
    message = "the gate is still installed: K3s' next start hardens this host again"
    remedy = instruction("remove the package k3s-harden") if gate.packaged else UNINSTALL
    return GATE_REMAINS.case(Trouble(message, location=Location(unit), remediation=remedy))
