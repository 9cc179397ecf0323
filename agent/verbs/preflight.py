"""The verb preflight: whether another version of K3s would start on this host, and stay hardened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import findings
from agent.errors import UsageError
from agent.host.planned import after
from agent.k3s import upgrade_notes
from agent.model import (
    NEWEST_KNOWN,
    OLDEST_COVERED,
    FixOwner,
    Instruction,
    OwnCommand,
    Remediation,
    Sysctl,
    Version,
)
from agent.node.datastore import Datastore
from agent.plan import next_steps
from agent.plan.preflight import Preflight, left_over, problems
from agent.report import ItemStatus
from agent.situation import observe
from agent.value import replace
from agent.verbs.converge import items_of
from agent.verbs.k3s_state import of_facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.host import Host
    from agent.model import State
    from agent.situation import Request, Situation


_BY_THE_GATE = Remediation((Instruction("the gate runs apply before that version starts"),), FixOwner.APPLY)
_BY_HAND = Remediation((Instruction("stop K3s"), OwnCommand("apply"), Instruction("install that version")))
"""How apply runs for another version. While the current one runs, it would read files of the other version."""


def target_version(text: str) -> Version:
    """Return the version to check. Raises UsageError if it is malformed, or not known to this release."""
    try:
        target = Version.parse(text)
    except ValueError:
        raise UsageError(
            f"cannot check the version {text!r}: expected one such as v1.{NEWEST_KNOWN.minor}, {NEWEST_KNOWN.family}"
            f" or v{NEWEST_KNOWN.family}.2+k3s1"
        ) from None
    if not OLDEST_COVERED.minor <= target.minor <= NEWEST_KNOWN.minor:
        raise UsageError(
            f"cannot check K3s {shown(target)}: this release knows v{OLDEST_COVERED.family} to v{NEWEST_KNOWN.family}",
            "upgrade k3s-harden if a newer release exists" if target.minor > NEWEST_KNOWN.minor else "",
        )
    return target


def shown(version: Version) -> str:
    """Return a version for a reader: a minor version without its patch stays one."""
    return str(version) if version.is_release else f"v{version.family}"


def preflight(host: Host, request: Request, target: Version) -> Preflight:
    """Observe the host, then the same host with the other version, before and after apply. Makes no changes.

    Raises UsageError for a downgrade.
    """
    now = observe(host, request)
    current = now.facts.version if now.facts.version_is_known else None
    if current is not None and _is_downgrade(current, target):
        raise UsageError(
            f"cannot check a downgrade from {shown(current)} to {shown(target)}: K3s does not support it",
            "to go back, restore the datastore with the older version",
        )
    request = replace(request, overrides=replace(request.overrides, k3s_version=str(target)))
    before = observe(host, request)
    later = observe(after(host, _possible(before)), request)
    has_gate = now.facts.service in now.gate.dropins
    fix = _BY_THE_GATE if has_gate else _BY_HAND
    result = Preflight(
        facts=now.facts.evidence,
        current="" if current is None else shown(current),
        target=shown(target),
        problems=problems(findings.collect(now), findings.collect(before), findings.collect(later), fix),
        changes=tuple(item for item in items_of(before) if item.status is not ItemStatus.COMPLIANT),
        left=left_over(items_of(later)),
        notes=upgrade_notes.applying(
            current, target, before.facts.role, has_etcd=before.facts.datastore is Datastore.ETCD
        ),
    )
    steps = next_steps.before_upgrade(result, of_facts(host, now.facts), target, has_gate=has_gate)
    return result._replace(next_steps=steps)


def _is_downgrade(current: Version, target: Version) -> bool:
    is_older_patch = target.is_release and current.is_release and target.patch < current.patch
    return target.minor < current.minor or (target.minor == current.minor and is_older_patch)


def _possible(situation: Situation) -> Iterator[State]:
    """Yield the states that apply can reach in this environment."""
    platform = situation.facts.platform
    for change in situation.plan.changes:
        is_in_etc = change.id.startswith("/etc/")
        if not (platform.etc_is_read_only and is_in_etc) and not (
            platform.kernel_is_read_only and isinstance(change.after, Sysctl)
        ):
            yield change.after
