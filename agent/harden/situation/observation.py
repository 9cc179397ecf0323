"""Observation of the situation of one host: everything that the verbs need, read once."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import HardenError, HostError, InputError, UsageError
from agent.base.model import Directory, File, FilePermissions, Location, Observed, Resource
from agent.base.repair import Cause, Set
from agent.base.value import replace
from agent.harden.changes import last_run
from agent.harden.changes.journal import Journal, Run
from agent.harden.desired import resources as desired
from agent.harden.desired.resources import Inputs
from agent.harden.gate import gate_units, installed_gate
from agent.harden.gate.gate_state import read_exceptions
from agent.harden.guide.guide_files import (
    ADMISSION_POLICIES,
    AUDIT_POLICY,
    FILES,
    K3S_CONFIG,
    POD_SECURITY_ADMISSION,
    POLICY_FILE,
)
from agent.harden.guide.k3s_options import PROTECT_KERNEL_DEFAULTS_REQUIRED
from agent.harden.guide.sysctls import SYSCTLS
from agent.harden.node import facts, site_files
from agent.harden.node.machine import read_machine
from agent.harden.node.platform import read_sysctl_files
from agent.harden.node.version import GivenVersion, require_covered
from agent.harden.plan import plan
from agent.harden.settings.schema import DEFAULT_SETTINGS, Settings
from agent.harden.settings.stages import stages_of
from agent.harden.settings.waivers import Waivers, WaiverScope
from agent.harden.situation import JournalState, Request, Situation, Substitute, k3s_files, run_record
from agent.k3s.default_arguments import KUBELET_DIRECTORY
from agent.k3s.roles_and_versions import CERTIFICATE_DIRECTORIES, Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.base.host import Host
    from agent.harden.changes.last_run import LastRun
    from agent.harden.changes.state import NotificationState
    from agent.harden.node.arguments.effective import KubeletFiles
    from agent.harden.node.facts import HostFacts
    from agent.harden.node.network_leases import NetworkLeases
    from agent.harden.node.site_files import Site
    from agent.harden.situation.k3s_files import K3sFiles


def observe_situation(host: Host, request: Request) -> Situation:
    """Read everything that the verbs need. Makes no changes.

    Raises InputError for invalid settings, UsageError if they do not fit this host.
    """
    unreadable: list[HardenError] = []
    last = last_run.read_last_run(host, unreadable)
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
    from agent.base.host.planned import after  # not on a compliant host

    is_fixed = "/etc/" if situation.facts.platform.etc_is_read_only else ()
    states = (change.after for change in situation.plan.changes if not change.id.startswith(is_fixed))
    return observe_situation(after(host, states), request)


def _observe(
    host: Host, request: Request, site: Site, last: LastRun, unreadable_record: Sequence[HardenError]
) -> Situation:
    settings, host_facts = _facts(host, request, site, last)
    if host_facts.version_is_known and not request.for_gate:
        require_covered(host_facts.version)  # the gate hardens an older K3s, too, which runs already
    _require_supported(settings, host_facts, request.settings_file or DEFAULT_SETTINGS)
    if settings.audit_webhook is not None and host_facts.role is Role.SERVER:
        host.tree.read_input(settings.audit_webhook, "`audit.webhook` in the settings names it")
    _require_service(request, host_facts)
    today = run_record.date_for_waivers(host, last)
    expiry_day = run_record.expiry_day(last, today, for_gate=request.for_gate)
    waivers = Waivers(site.waivers, WaiverScope(host_facts.role, host.name if site.waivers else "", expiry_day))
    unreadable = [*unreadable_record, *host_facts.configuration.unreadable]
    journal = Journal(host)
    runs = _runs(journal, unreadable)
    inputs = _inputs(host, site, host_facts, waivers)
    if request.for_gate and runs:
        inputs = replace(inputs, policies_deny=_denies_already(host, settings, host_facts))
    expected = desired.desired_resources(settings, host_facts, inputs)
    observed = host.observe_all(expected)
    if host_facts.platform.has_kernel:
        observed.update({row.key: host.sysctl(row.key) for row in SYSCTLS})
    changes = plan.make_plan(
        expected,
        observed,
        journal.written if runs else plan.nothing,
        partial(desired.needs_of, data_dir=host_facts.data_dir),
        force=request.force,
    )
    had_pod_security_policies = _had_pod_security_policies(host_facts, observed, journal)
    if had_pod_security_policies:
        reason = "the K3s version is unknown, and an earlier run set up this host for v1.24 or older"
        changes = plan.withheld(changes, reason, Cause.VERSION_UNKNOWN)
    state = JournalState(runs, journal.damage(runs))
    sysctl_files = read_sysctl_files(host, unreadable)
    files = k3s_files.read_k3s_files(host.tree, settings, host_facts, unreadable)
    # A gate for which K3s waits is in effect. systemd's answers about it would take as long as the rest.
    found_gate = (
        installed_gate.Gate(read_exceptions(host), is_openrc=gate_units.starts_services(host))
        if request.start
        else installed_gate.detect_gate(host)
    )
    unreadable += (*files.manifests.unreadable, *found_gate.unread)
    day = run_record.day_to_record(last, today, waivers, for_gate=request.for_gate)
    unseen = tuple(_unseen(host, host_facts, expected, files))
    unseen_before = run_record.is_of_predecessor(last)
    record = run_record.next_record(site, settings, host_facts, last, day)
    return Situation(
        settings=settings,
        facts=host_facts,
        inputs=inputs,
        desired=expected,
        observed=observed,
        plan=changes,
        had_pod_security_policies=had_pod_security_policies,
        sysctl_files=sysctl_files,
        k3s_files=files,
        obsolete=_obsolete(host, host_facts, expected),
        changed_since_start=_changed_since_start(host, journal, state, host_facts, files.kubelet),
        machine=read_machine(host, host_facts),
        gate=found_gate,
        journal=state,
        waivers=waivers,
        stages=stages_of(settings, host_facts.role, host_facts.version),
        ignored_settings=site.ignored,
        unreadable=tuple({error.message: error for error in unreadable}.values()),
        today=today,
        for_gate=request.for_gate,
        to_record=replace(record, k3s_config=last.k3s_config) if unseen and unseen_before else record,
        recorded_config=None if site.settings.k3s_config else settings.k3s_config,
        unseen=unseen,
        unseen_before=unseen_before,
        start_problem=_start_problem(host, request, host_facts),
        notifications=_notifications(host, settings),
    )


def _facts(host: Host, request: Request, site: Site, last: LastRun) -> tuple[Settings, HostFacts]:
    """Return the settings and the facts, with a configuration that an earlier release found if none else is known."""
    settings = site.settings
    read = partial(
        facts.read_facts,
        host,
        service=request.service,
        given=_given_version(request, site),
        recorded=run_record.recorded_versions(last),
        starting=request.start.service if request.start else None,
    )
    recorded = run_record.settings_of_predecessor(host, settings, last)
    if recorded is not None:
        with suppress(UsageError):
            found = read(recorded)
            if (found.unit is None or found.unit.config_path is None) and run_record.is_for(last, found):
                return recorded, found
    return settings, read(settings)


def _start_problem(host: Host, request: Request, host_facts: HostFacts) -> str:
    """Look at the start again after everything was read."""
    if request.start is None:
        return ""
    from agent.harden.gate.starting_service import start_problem  # only the gate needs it

    return start_problem(host, request.start, host_facts.configuration.path)


def _unseen(host: Host, found: HostFacts, expected: Sequence[Resource], files: K3sFiles) -> Iterator[PurePosixPath]:
    """Yield files of K3s' hardening, and its program, of which K3s can see others than this host."""
    yield from found.configuration.differing
    if found.unit is None:
        return
    rows = (row.path for row in expected if isinstance(row, (Directory, File)))
    below = [path for path in rows if path.is_relative_to(found.data_dir)]
    others = (found.data_dir / "server/cred", found.data_dir / KUBELET_DIRECTORY)
    paths = {found.unit.binary, *others, *below, *files.judged}
    if str(found.configuration.path) == found.unit.given_config:
        paths |= {found.dropin_path.parent, *found.configuration.files}
    for path in sorted(paths):
        if found.unit.on_host(path) not in (path, host.tree.real_path(path)):
            yield path


def _notifications(host: Host, settings: Settings) -> NotificationState | None:
    if settings.drift_notify is None:
        return None
    from agent.harden.changes.state import notification_state

    return notification_state(host, PurePosixPath(settings.drift_notify[0]))


def _given_version(request: Request, site: Site) -> GivenVersion | None:
    """Return the version of the settings or of the command line, which never decides for the gate."""
    version = site.settings.k3s_version
    if version is None:
        return None
    if request.overrides.k3s_version is None:
        return GivenVersion(version, "`k3s-version` in the settings", Location(site.path), decides=False)
    return GivenVersion(version, "--k3s-version", None, decides=not request.for_gate)


def _runs(journal: Journal, unreadable: list[HardenError]) -> tuple[Run, ...]:
    try:
        return journal.runs()
    except HostError as error:
        unreadable.append(error)
        return ()


def _inputs(host: Host, site: Site, host_facts: HostFacts, waivers: Waivers) -> Inputs:
    return Inputs(
        audit_policy=site.audit_policy,
        waived=waivers.kernel_parameters.keys(),
        certificates=_certificates(host, site.settings, host_facts),
        leases=_leases(host, site.settings),
    )


def _denies_already(host: Host, settings: Settings, host_facts: HostFacts) -> bool:
    """Return whether an admission policy from a file denies requests before this run."""
    if not settings.has_admission_policies:
        return True
    paths = (host_facts.data_dir / path for path in ADMISSION_POLICIES.values())
    return any("[Deny]" in host.tree.text_if_readable(path) for path in paths)


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
    from agent.harden.node import network_leases  # few sites set it

    return network_leases.read_network_leases(host.tree)


def _require_service(request: Request, host_facts: HostFacts) -> None:
    """Raise UsageError if there is no service of the requested name. The gate knows that its service exists."""
    names = {*(unit.path.name for unit in host_facts.units), *(other.unit.name for other in host_facts.other_programs)}
    if request.service and not request.for_gate and f"{request.service}.service" not in names:
        known = f"use one of {', '.join(sorted(names))}" if names else "omit --unit"
        raise UsageError(f"cannot find {request.service}.service: no service of this name starts K3s", known)


def _require_supported(settings: Settings, host_facts: HostFacts, settings_file: PurePosixPath) -> None:
    if not settings.protect_kernel_defaults and PROTECT_KERNEL_DEFAULTS_REQUIRED.includes(host_facts.version):
        raise UsageError(
            f"cannot disable protect-kernel-defaults for K3s {host_facts.version}: its benchmark contains the control",
            Set("protect-kernel-defaults", "", Location(settings_file)),
        )


def _obsolete(host: Host, host_facts: HostFacts, expected: Sequence[Resource]) -> dict[PurePosixPath, bytes]:
    """Return the files with k3s-harden's header at paths where this host should have none."""
    ids = {resource.id for resource in expected}
    found: dict[PurePosixPath, bytes] = {}
    below = (*(row.path for row in FILES if row is not K3S_CONFIG), *ADMISSION_POLICIES.values())
    for path in (host_facts.dropin_path, *(host_facts.data_dir / path for path in below)):
        if str(path) not in ids:
            now = host.tree.observe(path)
            if isinstance(now, File) and now.content.startswith(desired.MARK):
                found[path] = now.content
    return found


def _changed_since_start(
    host: Host, journal: Journal, state: JournalState, host_facts: HostFacts, kubelet: KubeletFiles
) -> tuple[str, ...]:
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
    units = () if host_facts.unit is None else (host_facts.unit.path,)
    dropins = (file.path for file in kubelet.files if not file.is_written_by_k3s)
    others = (path for path in (*units, *host_facts.configuration.files, *dropins) if str(path) not in ours)
    times = ((str(path), host.tree.times(path)) for path in others)
    by_others = (path for path, found in times if found is not None and found.changed > since)
    return tuple(dict.fromkeys((*by_us, *by_others)))


def _had_pod_security_policies(host_facts: HostFacts, observed: dict[str, Observed], journal: Journal) -> bool:
    if host_facts.version_is_known:
        return False
    policy = str(host_facts.data_dir / POLICY_FILE)
    now = observed.get(policy)
    contents = (now.content if isinstance(now, File) else b"", *journal.written(policy))
    return any(b"kind: PodSecurityPolicy\n" in content for content in contents)
