"""State of one host: what it should have, what it has, and the plan between them."""

from __future__ import annotations

import time
from functools import partial
from pathlib import PurePosixPath

from agent import __released__
from agent.changes import last_run
from agent.changes.journal import Journal
from agent.changes.last_run import LastRun, RecordedSettings
from agent.desired import preconditions
from agent.desired import resources as desired
from agent.desired.dropin_options import named_paths, nested_files, own_admission_configuration
from agent.desired.resources import Inputs
from agent.errors import HardenError, HostError, InputError, UsageError
from agent.guide.files import AUDIT_POLICY, FILES, K3S_CONFIG, POD_SECURITY_ADMISSION, POLICY_FILE
from agent.guide.k3s_options import PROTECT_KERNEL_DEFAULTS_REQUIRED
from agent.guide.sysctls import SYSCTLS
from agent.host.paths import DIRECTORY, FIFO, REGULAR_FILE, SOCKET
from agent.host.tree import DirectoryEntry
from agent.k3s.default_arguments import KUBELET_DIRECTORY
from agent.k3s.paths import CERTIFICATE_DIRECTORIES, K3S_CONFIG_FILE
from agent.model import Absent, Component, File, FilePermissions, Location, Role, Sysctl, Unreadable
from agent.node import facts, gate, k3s_manifests, site_files
from agent.node.k3s_manifests import Manifests
from agent.node.sysctl_files import read_sysctl_files
from agent.node.version import GivenVersion, RecordedVersion
from agent.plan import plan
from agent.settings.schema import DEFAULT_SETTINGS
from agent.settings.waivers import Scope, Waivers
from agent.value import Value, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agent.changes.journal import Run
    from agent.changes.notifications import Notifications
    from agent.desired.dropin_options import NamedPath
    from agent.host import Host
    from agent.linux.sysctl_order import SysctlFile
    from agent.model import Observed, Resource, State
    from agent.node.facts import HostFacts
    from agent.node.gate import Gate
    from agent.node.network_leases import NetworkLeases
    from agent.node.site_files import Site
    from agent.plan.plan import Plan
    from agent.settings.schema import Overrides, Settings
    from agent.settings.waivers import SiteWaiver


class Request(Value):
    """The request of the command line."""

    overrides: Overrides
    settings_file: PurePosixPath | None = None
    """A path of this machine; None is the default file of the host."""
    force: bool = False
    """Whether the plan replaces edited files."""
    service: str = ""
    """Name of the K3s service that the run is for, without `.service`; empty for the only one on the host."""
    for_gate: bool = False
    """Whether K3s waits for this run. It then uses the recorded settings if the current ones cannot be used."""


class K3sFiles(Value):
    """Files that K3s reads, other than its configuration."""

    named_paths: tuple[NamedPath, ...]
    """The files that K3s' configuration names."""
    own_admission: NamedPath | None
    """The operator's admission configuration, if the API server reads it once apply has written the drop-in."""
    contents: dict[PurePosixPath, bytes | None]
    """Content of those that exist, by path; None if the file is not readable."""
    manifests: Manifests
    obsolete: dict[PurePosixPath, bytes]
    """Content of our own files that this host should not have, by path."""
    changed_since_start: tuple[str, ...]
    """Paths of the files that K3s reads only when it starts, and that changed after it started."""
    kubelet_files: tuple[tuple[PurePosixPath, bytes], ...]
    """Path and content of the kubelet's configuration files, except those that K3s writes, in the kubelet's order."""
    unusable: dict[PurePosixPath, str]
    """What is at a path at which a component reads or writes a file, if it is none: a directory, a FIFO, ..."""
    image_archives: tuple[PurePosixPath, ...]
    """Archives in agent/images, which K3s imports at its start, if registries.yaml names no mirror."""
    had_pod_security_policies: bool
    """Whether policy.yaml has or had a PodSecurityPolicy, which K3s v1.25 and newer reject.

    Only determined if the K3s version is unknown; False otherwise.
    """


class JournalState(Value):
    """The journal of this host."""

    runs: tuple[Run, ...]
    """Oldest first."""
    damaged: dict[PurePosixPath, HostError]
    """Why a run's record is invalid, by path."""


class Substitute(Value):
    """The recorded settings that the gate uses because the current ones cannot be used."""

    problem: HardenError
    """Why the current settings cannot be used."""
    day: str
    """The day of the run that recorded the settings, YYYY-MM-DD in UTC."""


class Today(Value):
    """The day of the run, and the day on which the expiry of waivers is tested."""

    date: str
    """By the clock of this host, YYYY-MM-DD in UTC."""
    not_before: str
    """The day of the last successful run or of this release, the later one."""

    @property
    def is_plausible(self) -> bool:
        """Whether the clock can be right. Before time synchronisation it can be years behind."""
        return self.date >= self.not_before


class Situation(Value):
    """The state of one host: what it should have, what it has, and the plan between them."""

    settings: Settings
    facts: HostFacts
    inputs: Inputs
    """What `desired` depends on besides the settings and the facts."""
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
    today: Today
    to_record: LastRun
    """What a run records that finds this host compliant."""
    substitute: Substitute | None = None
    notifications: Notifications | None = None
    """None if the settings have no `drift.notify`."""


def observe(host: Host, request: Request) -> Situation:
    """Read everything that the verbs need. Makes no changes.

    Raises InputError for invalid settings, UsageError if they do not fit this host.
    """
    unreadable: list[HardenError] = []
    last = last_run.read(host, unreadable)
    try:
        site = site_files.read_site(host, request.settings_file, request.overrides)
        return _observe(host, request, site, last, unreadable)
    except (InputError, UsageError) as error:
        recorded = last.settings
        if not request.for_gate or recorded is None or recorded.path != (request.settings_file or DEFAULT_SETTINGS):
            raise
        try:
            site = site_files.recorded_site(recorded.path, recorded.files, request.overrides)
            situation = _observe(host, request, site, last, unreadable)
        except (InputError, UsageError):
            raise error from None
        return replace(situation, substitute=Substitute(error, recorded.day))


def observe_after_apply(host: Host, request: Request, situation: Situation) -> Situation:
    """Return the situation of a host after the changes of the plan that this environment permits. Makes no changes.

    Raises as `observe` does.
    """
    from agent.host.planned import after  # not on a compliant host

    return observe(after(host, _possible(situation)), request)


def _possible(situation: Situation) -> Iterator[State]:
    """Yield the states that apply can reach in this environment."""
    platform = situation.facts.platform
    for change in situation.plan.changes:
        is_in_etc = change.id.startswith("/etc/")
        if not (platform.etc_is_read_only and is_in_etc) and not (
            platform.kernel_is_read_only and isinstance(change.after, Sysctl)
        ):
            yield change.after


def _observe(
    host: Host, request: Request, site: Site, last: LastRun, unreadable_record: Sequence[HardenError]
) -> Situation:
    settings = site.settings
    host_facts = facts.read(
        host, settings, request.service, given=_given_version(request, site), recorded=_recorded_versions(last)
    )
    _require_supported(settings, host_facts)
    today = Today(time.strftime("%Y-%m-%d", time.gmtime(host.now())), max(last.day, __released__))
    scope = Scope(host_facts.role, host.name if site.waivers else "", _expiry_day(request, last, today))
    waivers = Waivers(site.waivers, scope)
    inputs = _inputs(host, site, host_facts, waivers)
    expected = desired.build(settings, host_facts, inputs)
    observed = host.observe_all(expected)
    if host_facts.platform.has_kernel:
        observed.update({row.key: host.sysctl(row.key) for row in SYSCTLS})
    unreadable = [*unreadable_record, *host_facts.configuration.unreadable]
    journal = Journal(host)
    runs = _runs(journal, unreadable)
    changes = plan.make(
        expected,
        observed,
        journal.written if runs else plan.nothing,
        partial(preconditions.of, data_dir=host_facts.data_dir),
        force=request.force,
    )
    is_for_other_family = _had_pod_security_policies(host_facts, observed, journal)
    if is_for_other_family:
        reason = "the K3s version is unknown, and an earlier run set up this host for v1.24 or older"
        changes = plan.withheld(changes, reason, plan.WITH_VERSION)
    state = JournalState(runs, journal.damage(runs, in_full=not changes.is_empty))
    sysctl_files = read_sysctl_files(host, unreadable)
    named = named_paths(host_facts.merged_config, host_facts.data_dir, host_facts.role)
    own_admission = own_admission_configuration(settings, host_facts)
    read = named if own_admission is None else (*named, own_admission)
    contents = _contents(host, [one.path for one in read], unreadable)
    contents.update(_contents(host, nested_files(read, contents), unreadable))
    kubelet_files, without_content = _kubelet_files(host, host_facts, unreadable)
    k3s_files = K3sFiles(
        named_paths=named,
        own_admission=own_admission,
        contents=contents,
        manifests=_manifests(host, host_facts),
        obsolete=_obsolete(host, host_facts, expected),
        changed_since_start=_changed_since_start(host, journal, state, host_facts),
        kubelet_files=kubelet_files,
        unusable=_unusable(host, host_facts, contents, without_content),
        image_archives=_image_archives(host, host_facts),
        had_pod_security_policies=is_for_other_family,
    )
    found_gate = gate.detect(host)
    unreadable += (*k3s_files.manifests.unreadable, *found_gate.unread)
    return Situation(
        settings=settings,
        facts=host_facts,
        inputs=inputs,
        desired=expected,
        observed=observed,
        plan=changes,
        sysctl_files=sysctl_files,
        k3s_files=k3s_files,
        gate=found_gate,
        journal=state,
        waivers=waivers,
        unreadable=tuple({one.message: one for one in unreadable}.values()),
        today=today,
        to_record=_to_record(site, host_facts, last, _day_to_record(request, last, today, waivers)),
        notifications=_notifications(host, settings),
    )


def _notifications(host: Host, settings: Settings) -> Notifications | None:
    if settings.drift_notify is None:
        return None
    from agent.changes import notifications

    return notifications.observe(host, PurePosixPath(settings.drift_notify[0]))


def _to_record(site: Site, host_facts: HostFacts, last: LastRun, day: str) -> LastRun:
    """Return what a successful run records. Settings keep the day of the run that recorded them first."""
    recorded = RecordedSettings(day, site.path, site.files)
    if last.settings is not None and last.settings[1:] == recorded[1:]:
        recorded = last.settings
    role, printed = host_facts.role.value, host_facts.version_printed
    versions, programs = {**last.versions}, {**last.programs}
    if printed is not None:
        versions[role], programs[role] = printed.version, printed.identity
    elif host_facts.version_is_known and not host_facts.version_recorded:
        versions[role], programs[role] = host_facts.version, ""
    return LastRun(day, versions, recorded, {name: one for name, one in programs.items() if one})


def _given_version(request: Request, site: Site) -> GivenVersion | None:
    """Return the version of the settings or of the command line, which never decides for the gate."""
    version = site.settings.k3s_version
    if version is None:
        return None
    if request.overrides.k3s_version is None:
        return GivenVersion(version, "`k3s-version` in the settings", Location(site.path), decides=False)
    return GivenVersion(version, "--k3s-version", None, decides=not request.for_gate)


def _recorded_versions(last: LastRun) -> dict[str, RecordedVersion]:
    return {
        role: RecordedVersion(version, last.day, last.programs.get(role, "")) for role, version in last.versions.items()
    }


def _day_to_record(request: Request, last: LastRun, today: Today, waivers: Waivers) -> str:
    """Return the day that a successful run records.

    The gate never moves the day back, and not forward while it applies an expired waiver. Other verbs correct a day in
    the future, which a wrong clock has caused.
    """
    if request.for_gate and (expired_but_applied(waivers, today) or not today.is_plausible):
        return last.day
    return today.date if today.date >= __released__ else last.day


def expired_but_applied(waivers: Waivers, today: Today) -> tuple[SiteWaiver, ...]:
    """Return the waivers that have expired by the clock of this host, and that apply nevertheless."""
    scope = replace(waivers.scope, today=today.date)
    return tuple(one for one in waivers.all if waivers.scope.applies(one) and scope.is_expired(one))


def _runs(journal: Journal, unreadable: list[HardenError]) -> tuple[Run, ...]:
    try:
        return journal.runs()
    except HostError as error:
        unreadable.append(error)
        return ()


def _inputs(host: Host, site: Site, host_facts: HostFacts, waivers: Waivers) -> Inputs:
    leases = _leases(host, site.settings)
    return Inputs(
        audit_policy=site.audit_policy,
        waived=waivers.kernel_parameters.keys(),
        certificates=_certificates(host, site.settings, host_facts),
        lease_directories=leases.directories if leases else (),
        open_leases=leases.open_files if leases else (),
    )


def _expiry_day(request: Request, last: LastRun, today: Today) -> str:
    """Return the day on which the expiry of waivers is tested; empty if no waiver expires.

    None expires if the clock is not plausible. In the gate, a waiver that applied in the last successful run applies
    still, because no operator can extend it when the node boots.
    """
    day = today.date if today.is_plausible else ""
    return min(day, last.day) if request.for_gate and last.day else day


def _certificates(host: Host, settings: Settings, host_facts: HostFacts) -> tuple[PurePosixPath, ...]:
    """Return the regular certificate files of K3s whose mode the settings change."""
    if settings.certificate_permissions is None or host_facts.role is not Role.SERVER:
        return ()
    directories = (host_facts.data_dir / directory for directory in CERTIFICATE_DIRECTORIES)
    paths = (top / name for top in directories for name in host.tree.names(top) if name.endswith(".crt"))
    return tuple(path for path in paths if isinstance(host.tree.permissions(path), FilePermissions))


def _leases(host: Host, settings: Settings) -> NetworkLeases | None:
    """Return the directories and files of host-local; None if the settings do not change their permissions."""
    if settings.cni_file_permissions is None:
        return None
    from agent.node import network_leases  # few sites set it

    return network_leases.read(host.tree)


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


def _kubelet_files(
    host: Host, host_facts: HostFacts, unreadable: list[HardenError]
) -> tuple[tuple[tuple[PurePosixPath, bytes], ...], tuple[PurePosixPath, ...]]:
    """Return the kubelet's files that K3s does not write, and the paths of its drop-ins that cannot be read.

    Adds an error to `unreadable` if the directory of the drop-ins cannot be listed.
    """
    own = host_facts.data_dir / KUBELET_DIRECTORY
    arguments = host_facts.merged_config.component_arguments(Component.KUBELET.config_key)
    try:
        names = [name for name in host.tree.names(own) if name not in _WRITTEN_BY_K3S]
    except HostError as error:
        unreadable.append(error)
        return (), ()
    if not names and not arguments.keys() & {"config", "config-dir"}:
        return (), ()
    from agent.node import kubelet_files

    found, without_content = [], []
    try:
        paths = kubelet_files.paths(host.tree, host_facts)
    except (ValueError, HostError):
        return (), ()
    for path in paths:
        if path.parent == own and path.name in _WRITTEN_BY_K3S:
            continue
        try:
            data = host.tree.read(path)
        except HostError:
            data = None
        if data is not None:
            found.append((path, data))
        elif path.suffix == ".conf":
            without_content.append(path)
    return tuple(found), tuple(without_content)


_WRITTEN_BY_K3S = frozenset({"00-k3s-defaults.conf", "10-cli-config.conf", "20-cli-config-dir"})
"""Names in the directory of the kubelet's configuration that K3s writes at each start."""


def _unusable(
    host: Host,
    host_facts: HostFacts,
    contents: dict[PurePosixPath, bytes | None],
    without_content: Sequence[PurePosixPath],
) -> dict[PurePosixPath, str]:
    """Return what is at each path where a component reads or writes a file, if no file can be there."""
    read = [*(path for path, data in contents.items() if data is None), *without_content]
    found = {path: kind for path in read if (kind := _kind(host, path)) in (DIRECTORY, FIFO, SOCKET)}
    for path in without_content:
        if isinstance(host.tree.stat(path), Absent):
            found[path] = "link to a missing file"
    arguments = host_facts.merged_config.component_arguments(Component.API_SERVER.config_key)
    for log in (PurePosixPath(one.text) for one in arguments.get("audit-log-path", ())[-1:]):
        there = host.tree.stat(log) if log.is_absolute() else None
        if isinstance(there, DirectoryEntry) and there.kind == DIRECTORY:
            found[log] = DIRECTORY
        elif isinstance(there, Unreadable) and any(_kind(host, parent) == REGULAR_FILE for parent in log.parents):
            found[log] = "path through a file"
    return found


def _kind(host: Host, path: PurePosixPath) -> str:
    """Return the kind of what is at a path; empty if it cannot be determined. Symlinks are followed."""
    found = host.tree.stat(path)
    return found.kind if isinstance(found, DirectoryEntry) else ""


_ARCHIVES = (".tar", ".tar.lz4", ".tar.bz2", ".tbz", ".tar.gz", ".tgz", ".tar.zst", ".tzst")
"""Endings of the archives that K3s imports (k3s, pkg/agent/containerd/containerd.go)."""


def _image_archives(host: Host, host_facts: HostFacts) -> tuple[PurePosixPath, ...]:
    directory = host_facts.data_dir / "agent/images"
    try:
        found = tuple(directory / name for name in host.tree.names(directory) if name.endswith(_ARCHIVES))
        if not found:
            return ()
        option = host_facts.merged_config.scalar("private-registry")
        path = PurePosixPath(option.text) if option and option.text else K3S_CONFIG_FILE.with_name("registries.yaml")
        lines = host.tree.read_text(path).splitlines()
    except HostError:
        return ()
    return () if any(line.startswith("mirrors:") for line in lines) else found


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
    directory = (host_facts.data_dir / POLICY_FILE).parent
    return k3s_manifests.read(host.tree, directory, host_facts.merged_config, host_facts.version)


def _had_pod_security_policies(host_facts: HostFacts, observed: dict[str, Observed], journal: Journal) -> bool:
    if host_facts.version_is_known:
        return False
    policy = str(host_facts.data_dir / POLICY_FILE)
    now = observed.get(policy)
    contents = (now.content if isinstance(now, File) else b"", *journal.written(policy))
    return any(b"kind: PodSecurityPolicy\n" in content for content in contents)
