"""Findings about the result of a run that an observation of the host does not show."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.base.model import Location
from agent.base.repair import Repair, Restart, RunVerb
from agent.base.report import Level
from agent.findings.registry import KINDS, UNINSTALL, Problem, instruction, no, register, steps

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import PurePosixPath

    from agent.base.errors import HardenError
    from agent.base.report import Finding
    from agent.findings.impact import Break
    from agent.harden.gate.installed_gate import Gate

_INSTALLED_VERSION = "$(k3s --version | awk 'NR == 1 {print $3}')"
_DELETE = "sudo k3s kubectl delete --ignore-not-found -f -"

_NOTHING_CHANGED = no("Nothing is changed, so K3s starts as before.")

OBJECTS_REMAIN = register(
    "objects-remain",
    Level.NOTE,
    explanation="""After a revert, the objects of a removed manifest are still in the cluster.

    K3s does not delete objects when their manifest is removed. Delete them with kubectl, on one server.
    """,
    repair="delete the objects with kubectl, on one server",
)

ACCOUNTS_REMAIN = register(
    "accounts-remain",
    Level.NOTE,
    explanation="""After a revert, default ServiceAccounts are as service-accounts has changed them.

    They are objects of the cluster, not files of a server. Without a K3s that runs it is not known which these are, and
    NetworkPolicies of new namespaces stay, too.
    """,
    repair="run `sudo k3s-harden service-accounts --undo` on one server",
)

K3S_UNBLOCKED = register(
    "k3s-unblocked",
    Level.NOTE,
    explanation="After an apply, K3s is started: the gate blocked its last start, and the host is compliant now.",
    repair="",
)

GATE_REMAINS = register(
    "gate-remains",
    Level.WARNING,
    explanation="""After a revert or an uninstall, the gate is still installed and hardens the host again.

    It does so at K3s' next start. Files of a package are removed with the package.
    """,
    repair="run `sudo k3s-harden uninstall`, or remove the package k3s-harden",
)

CONFIG_WRITABLE = register(
    "k3s-config-writable",
    Level.WARNING,
    explanation="""A user other than root can change K3s' configuration: a file, or a directory of the files.

    K3s runs as root with these options, so this user controls the node. `assess` has the same rule in its controls
    k3s-config-directory-access, k3s-config-access and k3s-config-drop-ins-access. A waiver with the ID of the control
    accepts the access.
    """,
    repair="run the commands of the report, so that only root can write",
)

NOT_RECORDED = register(
    "hardening-not-recorded",
    Level.WARNING,
    explanation="""revert has nothing to undo: the journal has no run, but K3s' drop-in of k3s-harden exists.

    The journal was deleted, or another program copied the drop-in to this host. The hardening stays.
    """,
    repair="restore /var/lib/k3s-harden/journal from a backup, or remove the hardening by hand",
)


BREAKS_AT_ONCE = register(
    "breaks-at-once",
    Level.ERROR,
    explanation="""An object of the running cluster breaks by what apply would write, so apply did nothing.

    Where K3s runs, apply asks the API server if it adds or changes NetworkPolicies, or what Pod Security enforces.
    `k3s-harden impact` shows all objects, also those that are broken already.
    """,
    repair="admit its traffic by `network-policies.allow`, postpone it by `stages`, or pass --accept-impact",
    blocks_gate=_NOTHING_CHANGED,
    prevents_start=_NOTHING_CHANGED,
)

IMPACT_UNKNOWN = register(
    "impact-unknown",
    Level.ERROR,
    explanation="""The API server or a record of connections could not be read, so apply did nothing.

    Where K3s runs, apply asks the API server if it adds or changes NetworkPolicies, or what Pod Security enforces. It
    waits 20 seconds for each answer, however many it needs. The gate never asks.
    """,
    repair="find out why it cannot be read, or pass --accept-impact",
    blocks_gate=_NOTHING_CHANGED,
    prevents_start=_NOTHING_CHANGED,
)

_MOST_NAMED = 20


class LeftInCluster(NamedTuple):
    """What a revert leaves in the cluster."""

    objects: Sequence[str] = ()
    """The objects of policy.yaml."""
    accounts: Sequence[str] | None = ()
    """The ServiceAccounts that service-accounts has changed; None if that is not known."""


def breaking(breaks: Sequence[Break]) -> tuple[Finding, ...]:
    """Return a finding for each object that breaks; the last one counts those that are left out."""
    found = []
    for entry in breaks[:_MOST_NAMED]:
        verb = "breaks" if entry.is_certain else "may break"
        message = f"{entry.object} {verb} {entry.when}: {entry.reasons[0]}"
        found.append(Problem(message, repair=entry.repair))
    left = len(breaks) - len(found)
    if left:
        found.append(Problem(f"{left} more objects break", repair=steps(RunVerb("impact"))))
    return tuple(map(BREAKS_AT_ONCE.case, found))


def impact_unknown(error: HardenError) -> Finding:
    """Return the finding about an API server that does not answer, or a record that cannot be read."""
    message = f"it is not known what breaks in the cluster: {error.message}"
    return IMPACT_UNKNOWN.case(Problem(message, repair=error.repair))


GATE_NOT_ENFORCED = register(
    "gate-not-enforced",
    Level.ERROR,
    explanation="""install did nothing, because K3s has run on this host and apply has never hardened it.

    The gate would harden the host at K3s' next start, and break workloads without a warning.
    """,
    repair="run `sudo k3s-harden apply` first, or `sudo k3s-harden install --enforce`",
    blocks_gate=_NOTHING_CHANGED,
    prevents_start=_NOTHING_CHANGED,
)


def not_enforced() -> Finding:
    """Return the finding about a gate that would harden a running cluster."""
    return GATE_NOT_ENFORCED.case(Problem("K3s has run on this host, and apply has never hardened it"))


def without_runs(dropin: PurePosixPath) -> Finding:
    """Return the finding about a drop-in of K3s that no run of the journal has written."""
    message = "nothing was undone: the journal has no run, and the hardening stays"
    repair = instruction("restore /var/lib/k3s-harden/journal from a backup, or remove the hardening by hand")
    return NOT_RECORDED.case(Problem(message, location=Location(dropin), repair=repair))


def after_unblocking(services: Iterable[str]) -> tuple[Finding, ...]:
    """Return the findings about services that are being started."""
    started = (Problem(f"{service} is being started; the gate blocked it") for service in services)
    return tuple(map(K3S_UNBLOCKED.case, started))


def after_uninstall(gate: Gate) -> tuple[Finding, ...]:
    """Return the findings after every file of `install` was removed."""
    return (_remaining(gate.template, gate),) if gate.packaged and gate.template is not None else ()


def after_revert(
    undone: Collection[str], gate: Gate, *, k3s_runs: bool, left: LeftInCluster, settings: PurePosixPath | None
) -> tuple[Finding, ...]:
    """Return the findings after these resources were reverted.

    `settings` is the settings file, None without one: it can list the namespaces of the objects.
    """
    found = []
    if left.objects:
        options = ("policy", f"--k3s-version {_INSTALLED_VERSION}", *([f"--config {settings}"] if settings else ()))
        delete = steps(RunVerb("render", options, piped_to=_DELETE))
        message = f"K3s keeps {len(left.objects)} objects of the removed manifest; delete them on one server"
        found.append(OBJECTS_REMAIN.case(Problem(message, found=_first(left.objects), repair=delete)))
    if left.accounts is None or left.accounts:
        message = "default ServiceAccounts stay as service-accounts has changed them"
        undo = steps(RunVerb("service-accounts", ("--undo",)))
        names = "not known: the API server does not answer" if left.accounts is None else _first(left.accounts)
        found.append(ACCOUNTS_REMAIN.case(Problem(message, found=names, repair=undo)))
    if k3s_runs and any(name.endswith(".yaml") for name in undone):
        message = "K3s still runs with the reverted configuration"
        found.append(KINDS["restart-needed"].case(Problem(message, repair=Repair(restart=Restart.K3S))))
    if undone and gate.template is not None:
        found.append(_remaining(gate.template, gate))
    return tuple(found)


def _first(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _remaining(unit: PurePosixPath, gate: Gate) -> Finding:
    message = "the gate is still installed and hardens this host again at K3s' next start"
    repair = instruction("remove the package k3s-harden") if gate.packaged else UNINSTALL
    return GATE_REMAINS.case(Problem(message, location=Location(unit), repair=repair))
