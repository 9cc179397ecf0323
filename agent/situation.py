"""State of one host: what it should have, what it has, and the plan between them."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from agent.changes.journal import Journal
from agent.desired import preconditions
from agent.desired import resources as desired
from agent.desired.dropin_options import named_paths
from agent.desired.resources import Inputs
from agent.errors import HardenError, HostError, UsageError
from agent.guide.files import AUDIT_POLICY, FILES, K3S_CONFIG, POD_SECURITY_ADMISSION, POLICY_FILE
from agent.guide.k3s_options import PROTECT_KERNEL_DEFAULTS_REQUIRED
from agent.guide.sysctls import SYSCTLS
from agent.k3s.paths import CERTIFICATE_DIRECTORIES
from agent.model import File, FilePermissions, Role
from agent.node import facts, gate, k3s_manifests, site_files
from agent.node.k3s_manifests import Manifests
from agent.node.sysctl_files import read_sysctl_files
from agent.plan import plan
from agent.settings.waivers import Scope, Waivers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import PurePosixPath

    from agent.changes.journal import Run
    from agent.desired.dropin_options import NamedPath
    from agent.host import Host
    from agent.linux.sysctl_order import SysctlFile
    from agent.model import Observed, Resource
    from agent.node.facts import HostFacts
    from agent.node.gate import Gate
    from agent.plan.plan import Plan
    from agent.settings.schema import Overrides, Settings


class Request(NamedTuple):
    """What the command line asks for."""

    overrides: Overrides
    settings_file: PurePosixPath | None = None
    """A path of this machine; None is the default file of the host."""
    force: bool = False
    """Whether the plan replaces files that somebody edited."""
    service: str = ""
    """Name of the K3s service that the run is for, without `.service`; empty for the only one on the host."""


class K3sFiles(NamedTuple):
    """Files that K3s reads, other than its configuration."""

    named_paths: tuple[NamedPath, ...]
    """The files that K3s' configuration names."""
    contents: dict[PurePosixPath, bytes | None]
    """Content of those that exist, by path; None if the file is not readable."""
    manifests: Manifests
    obsolete: dict[PurePosixPath, bytes]
    """Content of our own files that this host should not have, by path."""
    changed_since_start: tuple[str, ...]
    """Paths of the files that K3s reads only when it starts, and that changed after it started."""
    had_pod_security_policies: bool
    """Whether policy.yaml has or had a PodSecurityPolicy, which K3s v1.25 and newer reject.

    Only determined if the K3s version is unknown; False otherwise.
    """


class JournalState(NamedTuple):
    """The journal of this host."""

    runs: tuple[Run, ...]
    """Oldest first."""
    damaged: dict[PurePosixPath, HostError]
    """Why a run's record is invalid, by path."""


class Situation(NamedTuple):
    """The state of one host: what it should have, what it has, and the plan between them."""

    settings: Settings
    facts: HostFacts
    desired: tuple[Resource, ...]
    observed: dict[str, Observed]
    """By id: each desired resource, the directories above it, and the kernel parameters of the guide."""
    plan: Plan
    sysctl_files: tuple[SysctlFile, ...]
    """The files of sysctl.d, and others that set kernel parameters at boot."""
    k3s_files: K3sFiles
    gate: Gate
    journal: JournalState
    waivers: Waivers
    unreadable: tuple[HardenError, ...]
    """What could not be read, once for each message."""


def observe(host: Host, request: Request) -> Situation:
    """Read everything that the verbs need. Makes no changes.

    Raises InputError for invalid settings, UsageError if they do not fit this host.
    """
    settings = site_files.read_settings(host, request.settings_file, request.overrides)
    host_facts = facts.read(host, settings, request.service)
    _require_supported(settings, host_facts)
    waivers = _waivers(host, settings, host_facts)
    expected = _expected(host, settings, host_facts, waivers)
    observed = host.observe_all(expected)
    if host_facts.platform.has_kernel:
        observed.update({row.key: host.sysctl(row.key) for row in SYSCTLS})
    unreadable = list(host_facts.configuration.unreadable)
    journal = Journal(host)
    runs = _runs(journal, unreadable)
    changes = plan.make(
        expected,
        observed,
        journal.written if runs else plan.nothing,
        partial(preconditions.of, data_dir=host_facts.data_dir),
        force=request.force,
    )
    state = JournalState(runs, journal.damage(runs, in_full=not changes.is_empty))
    sysctl_files = read_sysctl_files(host, unreadable)
    named = named_paths(host_facts.merged_config, host_facts.data_dir)
    k3s_files = K3sFiles(
        named_paths=named,
        contents=_contents(host, [one.path for one in named], unreadable),
        manifests=_manifests(host, host_facts),
        obsolete=_obsolete(host, host_facts, expected),
        changed_since_start=_changed_since_start(host, journal, state, host_facts),
        had_pod_security_policies=_had_pod_security_policies(host_facts, observed, journal),
    )
    return Situation(
        settings=settings,
        facts=host_facts,
        desired=expected,
        observed=observed,
        plan=changes,
        sysctl_files=sysctl_files,
        k3s_files=k3s_files,
        gate=gate.detect(host),
        journal=state,
        waivers=waivers,
        unreadable=tuple({one.message: one for one in (*unreadable, *k3s_files.manifests.unreadable)}.values()),
    )


def _runs(journal: Journal, unreadable: list[HardenError]) -> tuple[Run, ...]:
    try:
        return journal.runs()
    except HostError as error:
        unreadable.append(error)
        return ()


def _expected(host: Host, settings: Settings, host_facts: HostFacts, waivers: Waivers) -> tuple[Resource, ...]:
    inputs = Inputs(
        audit_policy=site_files.read_audit_policy(host, settings),
        waived=waivers.kernel_parameters.keys(),
        certificates=_certificates(host, settings, host_facts),
    )
    return desired.build(settings, host_facts, inputs)


def _waivers(host: Host, settings: Settings, host_facts: HostFacts) -> Waivers:
    waivers = (*settings.waivers, *site_files.read_waivers(host, settings))
    today = time.strftime("%Y-%m-%d", time.gmtime(host.now()))
    return Waivers(waivers, Scope(host_facts.role, host.name if waivers else "", today))


def _certificates(host: Host, settings: Settings, host_facts: HostFacts) -> tuple[PurePosixPath, ...]:
    """Return the regular certificate files of K3s whose mode the settings change."""
    if settings.certificate_permissions is None or host_facts.role is not Role.SERVER:
        return ()
    directories = (host_facts.data_dir / directory for directory in CERTIFICATE_DIRECTORIES)
    paths = (top / name for top in directories for name in host.tree.names(top) if name.endswith(".crt"))
    return tuple(path for path in paths if isinstance(host.tree.permissions(path), FilePermissions))


def _require_supported(settings: Settings, host_facts: HostFacts) -> None:
    if not settings.protect_kernel_defaults and PROTECT_KERNEL_DEFAULTS_REQUIRED.includes(host_facts.version):
        raise UsageError(
            f"cannot disable protect-kernel-defaults for K3s {host_facts.version}: its benchmark contains the control",
            "remove `protect-kernel-defaults: false` from the settings; it is allowed for v1.25 and newer",
        )


def _contents(
    host: Host, paths: Iterable[PurePosixPath], unreadable: list[HardenError]
) -> dict[PurePosixPath, bytes | None]:
    found: dict[PurePosixPath, bytes | None] = {}
    for path in paths:
        try:
            data = host.tree.read(path)
        except HostError as error:
            unreadable.append(error)
            found[path] = None
        else:
            if data is not None:
                found[path] = data
    return found


def _obsolete(host: Host, host_facts: HostFacts, expected: Sequence[Resource]) -> dict[PurePosixPath, bytes]:
    """Return the files with our header at paths where this host should have none."""
    ids = {resource.id for resource in expected}
    found: dict[PurePosixPath, bytes] = {}
    for path in (host_facts.dropin_path, *(host_facts.data_dir / row.path for row in FILES if row is not K3S_CONFIG)):
        if str(path) not in ids:
            now = host.tree.observe(path)
            if isinstance(now, File) and now.content.startswith(desired.MARK):
                found[path] = now.content
    return found


def _changed_since_start(host: Host, journal: Journal, state: JournalState, host_facts: HostFacts) -> tuple[str, ...]:
    """Return the files that K3s reads only when it starts, and that changed after that."""
    since = host_facts.running_since
    if since is None:
        return ()
    ours = {
        str(host_facts.dropin_path),
        *(str(host_facts.data_dir / row.path) for row in (AUDIT_POLICY, POD_SECURITY_ADMISSION)),
    }
    runs = (run for run in state.runs if run.path not in state.damaged and run.started > since)
    by_us = (change.id for run in runs for change in journal.changes(run) if change.id in ours)
    units = (unit.path for unit in host_facts.units if unit.role is host_facts.role)
    others = (path for path in (*units, *host_facts.configuration.files) if str(path) not in ours)
    times = ((str(path), host.tree.times(path)) for path in others)
    by_others = (path for path, found in times if found is not None and found.changed > since)
    return tuple(dict.fromkeys((*by_us, *by_others)))


def _manifests(host: Host, host_facts: HostFacts) -> Manifests:
    if host_facts.role is not Role.SERVER:
        return Manifests()
    return k3s_manifests.read(host.tree, (host_facts.data_dir / POLICY_FILE).parent, host_facts.merged_config)


def _had_pod_security_policies(host_facts: HostFacts, observed: dict[str, Observed], journal: Journal) -> bool:
    if host_facts.version_is_known:
        return False
    policy = str(host_facts.data_dir / POLICY_FILE)
    now = observed.get(policy)
    contents = (now.content if isinstance(now, File) else b"", *journal.written(policy))
    return any(b"kind: PodSecurityPolicy\n" in content for content in contents)
