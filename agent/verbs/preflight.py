"""The verb preflight: whether another version of K3s would start on this host, and stay hardened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from agent import findings
from agent.assess.checks.answer import ControlStatus
from agent.assess.checks.secret_effects import rotation_effects
from agent.base.errors import HardenError, UsageError
from agent.base.host import Host
from agent.base.model import Location
from agent.base.repair import Instruction, Repair, Run, RunVerb, Set
from agent.base.report import ItemStatus, NextStep
from agent.base.value import replace
from agent.cluster.kubernetes.objects import ClusterNode
from agent.cluster.kubernetes.queries import REQUESTS, Query
from agent.cluster.node_status import ENCRYPTION_HASH, parse_node
from agent.findings.argument_predictions import accepts_cgroup_v1
from agent.harden.node.datastore import Datastore, sqlite_database
from agent.harden.node.facts import HostFacts
from agent.harden.node.site_files import read_settings
from agent.harden.node.version import require_covered
from agent.harden.plan.preflight_result import Preflight, compared_findings, not_compliant
from agent.harden.settings.schema import DEFAULT_SETTINGS, Overrides
from agent.harden.situation import Request, Situation
from agent.harden.situation.observation import observe_after_apply, observe_situation
from agent.k3s import upgrade_notes
from agent.k3s.roles_and_versions import NEWEST_KNOWN, NEWEST_PREVIEW, Role, Version
from agent.verbs.advice import next_steps
from agent.verbs.advice.installed_k3s import InstalledK3s
from agent.verbs.check_and_apply import items_of
from agent.verbs.k3s_state import installed_k3s

_BY_THE_GATE = Repair((Instruction("the gate runs apply before that version starts"),))
_BY_HAND = Repair((Instruction("stop K3s"), RunVerb("apply"), Instruction("install that version")))
"""How apply runs for another version. K3s must be stopped: the current version would read files of the other one."""


def target_version(text: str) -> Version:
    """Return the version to check. Raises UsageError if it is malformed, or not known to this release."""
    try:
        parsed = Version.parse(text)
        is_first = text.count(".") > 1 and not parsed.is_release  # v1.25.0 is a release, and v1.25 is not
        target: Version | None = parsed._replace(build="+k3s1") if is_first else parsed
    except ValueError:
        target = None
    if target is None or (target.build and not target.is_plausible):
        raise UsageError(
            f"cannot check the version {text!r}: expected one such as v1.{NEWEST_KNOWN.minor}, {NEWEST_KNOWN.family}"
            f" or v{NEWEST_KNOWN.family}.2+k3s1",
            "pass the version of K3s that you will install",
        )
    require_covered(target)
    if target.minor > NEWEST_KNOWN.minor and not target.is_preview:
        raise UsageError(
            f"cannot check K3s {shown_version(target)}: this release knows K3s up to v{NEWEST_KNOWN.family}, and"
            f" v{NEWEST_PREVIEW.family} as a preview",
            "upgrade k3s-harden if a newer release exists",
        )
    return target


def shown_version(version: Version) -> str:
    """Return a version for a reader, such as v1.34 or v1.34.1+k3s1."""
    return str(version) if version.is_release else f"v{version.family}"


def preflight(host: Host, request: Request, target: Version) -> Preflight:
    """Observe the host, then the same host with the other version, before and after apply. Makes no changes.

    Raises UsageError for a downgrade.
    """
    now = observe_situation(host, request)
    current = now.facts.known_version
    if current is not None and _is_downgrade(current, target):
        raise UsageError(
            f"cannot check a downgrade from {shown_version(current)} to {shown_version(target)}:"
            " K3s does not support it",
            "to go back, restore the datastore with the older version",
        )
    given = request.overrides.k3s_version
    request = replace(request, overrides=replace(request.overrides, k3s_version=str(target)))
    before = observe_situation(host, request)
    later = observe_after_apply(host, request, before)
    has_gate = now.facts.service in now.gate.dropins
    fix = _BY_THE_GATE if has_gate else _BY_HAND
    result = Preflight(
        facts=now.facts.evidence,
        current="" if current is None else shown_version(current),
        target=shown_version(target),
        problems=compared_findings(
            findings.collect_findings(now), findings.collect_findings(before), findings.collect_findings(later), fix
        ),
        changes=tuple(item for item in items_of(before) if item.status is not ItemStatus.COMPLIANT),
        left=not_compliant(items_of(later)),
        notes=upgrade_notes.notes_for_upgrade(current, target, before.facts.role, [*_features(host, before)]),
    )
    k3s = installed_k3s(host, now.facts)
    first = (*_rotation(host, now.facts), *_first(result, k3s, before.facts), *_setting(host, request, target))
    if current is None:
        earlier = f"v{target.major}.{target.minor - 1}"
        with_current = RunVerb("preflight", (result.target, f"--k3s-version {earlier}"))
        first = (NextStep(with_current, f"if K3s {earlier} runs now, see what changes after it"), *first)
    with_version = [f"--k3s-version {given}"] if given else []
    if current is not None and any(note.id == upgrade_notes.ONE_AT_A_TIME for note in result.notes):
        following = f"v{current.major}.{current.minor + 1}"
        purpose = f"upgrade one minor version at a time; first see the steps to {following}"
        return result._replace(next_steps=(NextStep(RunVerb("preflight", (following, *with_version)), purpose),))
    again = RunVerb("preflight", (result.target, *with_version))
    steps = next_steps.steps_before_upgrade(result, k3s, target, first, again=again, has_gate=has_gate)
    return result._replace(next_steps=steps)


def _features(host: Host, situation: Situation) -> Iterator[str]:
    """Yield what the host has, or may have if it is a tree, of that which notes are about."""
    if situation.facts.datastore is Datastore.ETCD:
        yield upgrade_notes.ETCD
    manifests = situation.k3s_files.manifests
    if "traefik" not in manifests.disabled and "traefik.yaml" not in manifests.skips:
        yield upgrade_notes.TRAEFIK
    if not host.has_kernel and not accepts_cgroup_v1(situation):  # otherwise cgroup-v1-refused tells
        yield upgrade_notes.CGROUP_V1


def _rotation(host: Host, facts: HostFacts) -> Iterator[NextStep]:
    """Yield how to finish a rotation of the keys of Secrets, by what all servers publish, or by this one's file."""
    if facts.role is not Role.SERVER:
        return
    nodes: tuple[ClusterNode, ...] = ()
    with suppress(HardenError):
        # K3s writes the same text as its annotation (pkg/secretsencrypt/config.go).
        text = host.tree.read_text(facts.data_dir / "server/cred/encryption-state.json")
        nodes = (ClusterNode("this server", is_ready=True, is_server=True, annotations={ENCRYPTION_HASH: text}),)
    if host.is_live:
        from agent.cluster.connection import connect_as_admin
        from agent.cluster.reader import LIMITS, Reader

        with suppress(HardenError), connect_as_admin(host, facts.data_dir, LIMITS) as client:
            nodes = Reader(client).listed(REQUESTS[Query.NODES], parse_node) or nodes
    for effect in rotation_effects(facts, nodes):
        if effect.status is ControlStatus.FAIL:
            yield from (NextStep(step, f"finish the rotation first: {effect.observed}") for step in effect.steps)


def _first(result: Preflight, k3s: InstalledK3s, facts: HostFacts) -> Iterator[NextStep]:
    """Yield the steps before the upgrade, in the order of the notes."""
    for note in result.notes:
        if note.id == upgrade_notes.SNAPSHOT_FIRST:
            yield from _save(k3s, facts, result.target)
        elif note.first:
            yield NextStep(Instruction(note.first))


def _setting(host: Host, request: Request, target: Version) -> Iterator[NextStep]:
    """Yield the edit of a `k3s-version` in the settings that is not the version of the upgrade."""
    version = read_settings(host, request.settings_file, Overrides()).k3s_version
    if version is not None and version.minor != target.minor:
        location = Location(request.settings_file or DEFAULT_SETTINGS)
        yield NextStep(Set("k3s-version", f'"{target.family}"', location))


def _save(k3s: InstalledK3s, facts: HostFacts, target: str) -> Iterator[NextStep]:
    """Yield how to save the datastore and the server's token (docs.k3s.io/datastore/backup-restore)."""
    from shlex import quote

    datastore, server = facts.datastore, k3s.data_dir / "server"
    token = f"sudo install -m 0600 {quote(str(server / 'token'))} /root/k3s-token-before-{target}"
    if datastore is Datastore.NONE:
        yield NextStep(Instruction("if the cluster exists already, save its datastore and its server's token"))
    elif datastore is Datastore.EXTERNAL:
        yield NextStep(Instruction("save the external datastore with the tools of its database"))
        yield NextStep(Run(token), "save the server's token")
    elif datastore is Datastore.ETCD and k3s.runs:
        yield NextStep(Run("sudo k3s etcd-snapshot save"), "save the datastore")
        yield NextStep(Run(token), "save the server's token")
    else:
        # A copy is consistent only while nothing writes to the database.
        database = sqlite_database(facts.operator_config.scalar("datastore-endpoint"), k3s.data_dir)
        is_elsewhere = datastore is Datastore.SQLITE and database is not None and server / "db" not in database.parents
        data = f"{quote(str(database))}*" if is_elsewhere else "db"
        script = f"umask 077; tar -C {quote(str(server))} -czf /root/k3s-before-{target}.tar.gz {data} token"
        yield from (k3s.stop(),) if k3s.runs else ()
        yield NextStep(Run(f"sudo sh -c {quote(script)}"), "save the datastore and the server's token")
        yield from (k3s.start(),) if k3s.runs else ()


def _is_downgrade(current: Version, target: Version) -> bool:
    is_older_patch = target.is_release and current.is_release and target.patch < current.patch
    return target.minor < current.minor or (target.minor == current.minor and is_older_patch)
