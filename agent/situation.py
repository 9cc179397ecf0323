"""All that one look at a host brought in: what is, what should be, and the plan between them."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from agent.changes.journal import Journal
from agent.desired import preconditions
from agent.desired import resources as desired
from agent.desired.dropin_options import named_paths
from agent.desired.resources import Inputs
from agent.errors import HostError, InputError, UsageError
from agent.guide.files import AUDIT_POLICY, FILES, K3S_CONFIG, POD_SECURITY_ADMISSION, POLICY_FILE
from agent.guide.k3s_options import PROTECT_KERNEL_DEFAULTS_REQUIRED
from agent.guide.sysctls import SYSCTLS
from agent.host.tree import CHARACTER_DEVICE, DIRECTORY
from agent.k3s import audit_policy
from agent.k3s.paths import CERTIFICATE_DIRECTORIES
from agent.linux.sysctl_order import CREDENTIALS, DIRECTORIES, SYSCTL_CONF, SysctlFile
from agent.model import Absent, File, FilePermissions, Location, Role, Unreadable
from agent.node import facts, gate, k3s_manifests
from agent.node.k3s_manifests import NO_MANIFESTS
from agent.plan import plan
from agent.settings import schema as settings
from agent.settings import waivers
from agent.settings.waivers import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import PurePosixPath

    from agent.changes.journal import Entry
    from agent.desired.dropin_options import NamedPath
    from agent.host import Host
    from agent.host.tree import Tree
    from agent.model import Observed, Resource
    from agent.node.facts import HostFacts
    from agent.node.gate import Gate
    from agent.node.k3s_manifests import Manifests
    from agent.plan.plan import Plan
    from agent.settings.schema import Overrides, Settings
    from agent.settings.value_kinds import SiteWaiver


class Request(NamedTuple):
    """What the command line asks for. `settings_file` is a path of this machine, None the host's default one."""

    overrides: Overrides
    settings_file: PurePosixPath | None = None
    force: bool = False


class Situation(NamedTuple):
    """One look at a host.

    `observed` holds each desired resource, the directories above it and the six kernel parameters. `named_paths` are
    the files that K3s' configuration names, `named_files` the content of those that exist (None: unreadable),
    `manifests` what K3s makes of its manifests directory, `unwanted` our own that this host does not want. `runs` are
    those of the journal, `damaged_runs` what is wrong with the records that cannot be understood, by their paths, and
    `stale_inputs` the files of K3s' configuration that were changed since K3s started.
    `waivers` are all of the site's, `scope` tells which of them count here, and `waived` has those for kernel
    parameters by key. `had_pod_security_policies` says, where the version of K3s is not known, whether policy.yaml has
    or had what only K3s v1.24 and older want. `unreadable` says what could not be seen.
    """

    settings: Settings
    facts: HostFacts
    desired: tuple[Resource, ...]
    observed: dict[str, Observed]
    plan: Plan
    sysctl_files: tuple[SysctlFile, ...]
    named_paths: tuple[NamedPath, ...]
    named_files: dict[PurePosixPath, bytes | None]
    manifests: Manifests
    had_pod_security_policies: bool
    unwanted: dict[PurePosixPath, bytes]
    gate: Gate
    runs: tuple[Entry, ...]
    damaged_runs: dict[PurePosixPath, HostError]
    stale_inputs: tuple[str, ...]
    waivers: tuple[SiteWaiver, ...]
    scope: Scope
    waived: dict[str, SiteWaiver]
    unreadable: tuple[str, ...]


def look(host: Host, request: Request) -> Situation:
    """Read everything that the verbs need, and change nothing.

    Raises InputError for bad settings, UsageError where they do not fit this host.
    """
    site = read_settings(host, request)
    seen = facts.read(host, site)
    _refuse_misfits(site, seen)
    put_up_with = (*site.waivers, *read_waivers(host, site))
    scope = Scope(seen.role, host.name if put_up_with else "", time.strftime("%Y-%m-%d", time.gmtime(host.now())))
    waived = waivers.kernel_parameters(put_up_with, scope)
    certificates = _certificates(host, site, seen)
    wanted = desired.build(site, seen, Inputs(read_audit_policy(host, site), waived.keys(), certificates))
    observed = host.observe_all(wanted)
    if seen.has_kernel:
        observed.update({row.key: host.sysctl(row.key) for row in SYSCTLS})
    journal = Journal(host)
    unreadable = list(seen.unreadable)
    runs: tuple[Entry, ...] = ()
    try:
        runs = journal.entries()
    except HostError as error:
        unreadable.append(error.message)
    steps = plan.make(
        wanted,
        observed,
        journal.written if runs else plan.nothing,
        partial(preconditions.of, data_dir=seen.data_dir),
        force=request.force,
    )
    damaged = journal.damage(runs, in_full=not steps.is_empty)
    named = named_paths(seen.merged_config, seen.data_dir)
    in_manifests = _manifests(host, seen)
    unreadable += in_manifests.unreadable
    return Situation(
        settings=site,
        facts=seen,
        desired=wanted,
        observed=observed,
        plan=steps,
        sysctl_files=_sysctl_files(host, unreadable),
        named_paths=named,
        named_files=_contents(host, [one.path for one in named], unreadable),
        manifests=in_manifests,
        had_pod_security_policies=not seen.version_is_known and _had_pod_security_policies(seen, observed, journal),
        unwanted=_unwanted(host, seen, wanted),
        gate=gate.look(host),
        runs=runs,
        damaged_runs=damaged,
        stale_inputs=_stale_inputs(host, journal, [run for run in runs if run.path not in damaged], seen),
        waivers=put_up_with,
        scope=scope,
        waived=waived,
        unreadable=tuple(dict.fromkeys(unreadable)),
    )


def read_settings(host: Host, request: Request) -> Settings:
    """The site's settings with the command line's on top. Raises InputError for a file that is bad or not safe."""
    tree = host.tree
    path = request.settings_file
    if path is not None:
        tree = host.machine_tree
        if not tree.exists(path):
            raise InputError(Location(path), "there is no such file")
    path = path or settings.DEFAULT_SETTINGS
    try:
        data = tree.read(path)
    except HostError as error:
        raise InputError(Location(path), error.message) from error
    if data is not None:
        _refuse_others_file(tree, path)
    return settings.override(settings.load(data, path), request.overrides)


def read_audit_policy(host: Host, site: Settings) -> bytes | None:
    """The site's own audit policy, None if it has none. Raises InputError if the API server would refuse it."""
    path = site.audit_policy_file
    if path is None:
        return None
    try:
        data = host.tree.read(path)
    except HostError as error:
        raise InputError(Location(path), error.message) from error
    if data is None:
        raise InputError(Location(path), "there is no such file", "`audit.policy-file` in the settings names it")
    problems = audit_policy.problems(data, path)
    if problems:
        raise InputError(problems[0].location, "; ".join(problem.problem for problem in problems))
    return data


def read_waivers(host: Host, site: Settings) -> tuple[SiteWaiver, ...]:
    """The waivers of the file that the settings name. Raises InputError for one that is missing, bad or not safe."""
    path = site.waivers_file
    if path is None:
        return ()
    try:
        data = host.tree.read(path)
    except HostError as error:
        raise InputError(Location(path), error.message) from error
    if data is None:
        raise InputError(Location(path), "there is no such file", "`waivers-file` in the settings names it")
    _refuse_others_file(host.tree, path)
    return settings.load_waivers(data, path)


def _refuse_others_file(tree: Tree, path: PurePosixPath) -> None:
    problem = tree.trust_problem(path)
    if problem:
        raise InputError(
            Location(path), f"it decides what root does, and {problem}", f"chown root:root {path}; chmod go-w {path}"
        )


def _certificates(host: Host, site: Settings, seen: HostFacts) -> tuple[PurePosixPath, ...]:
    """The certificates whose mode the site wants set, where K3s has made any. What is no regular file is none."""
    if site.certificate_permissions is None or seen.role is not Role.SERVER:
        return ()
    directories = (seen.data_dir / directory for directory in CERTIFICATE_DIRECTORIES)
    paths = (top / name for top in directories for name in host.tree.names(top) if name.endswith(".crt"))
    return tuple(path for path in paths if isinstance(host.tree.permissions(path), FilePermissions))


def _refuse_misfits(site: Settings, seen: HostFacts) -> None:
    if not site.protect_kernel_defaults and PROTECT_KERNEL_DEFAULTS_REQUIRED.includes(seen.version):
        raise UsageError(
            f"cannot leave out protect-kernel-defaults on K3s {seen.version}: its benchmark has the control",
            "remove `protect-kernel-defaults: false` from the settings; it is for v1.25 and newer",
        )


def _sysctl_files(host: Host, unreadable: list[str]) -> tuple[SysctlFile, ...]:
    paths = [SYSCTL_CONF, *CREDENTIALS]
    for directory in DIRECTORIES:
        paths += [directory / name for name in host.tree.names(directory) if name.endswith(".conf")]
    files = (_sysctl_file(host, path, unreadable) for path in paths)
    return tuple(file for file in files if file.data is not None or file.path.parent in DIRECTORIES)


def _sysctl_file(host: Host, path: PurePosixPath, unreadable: list[str]) -> SysctlFile:
    try:
        return SysctlFile(path, host.tree.read(path))
    except HostError as error:
        entry = host.tree.stat(path)
        if not isinstance(entry, Absent | Unreadable) and entry.kind in (CHARACTER_DEVICE, DIRECTORY):
            # A link to /dev/null masks a file: systemd-sysctl takes no line from it, nor from a directory.
            return SysctlFile(path, None)
        unreadable.append(error.message)
        return SysctlFile(path, None, is_readable=False)


def _contents(host: Host, paths: Iterable[PurePosixPath], unreadable: list[str]) -> dict[PurePosixPath, bytes | None]:
    found: dict[PurePosixPath, bytes | None] = {}
    for path in paths:
        try:
            data = host.tree.read(path)
        except HostError as error:
            unreadable.append(error.message)
            found[path] = None
        else:
            if data is not None:
                found[path] = data
    return found


def _unwanted(host: Host, seen: HostFacts, wanted: Sequence[Resource]) -> dict[PurePosixPath, bytes]:
    """Files with our header in places where this host does not want one."""
    asked_for = {resource.id for resource in wanted}
    found: dict[PurePosixPath, bytes] = {}
    for path in (seen.dropin_path, *(seen.data_dir / row.path for row in FILES if row is not K3S_CONFIG)):
        if str(path) not in asked_for:
            now = host.tree.look(path)
            if isinstance(now, File) and now.content.startswith(desired.MARK):
                found[path] = now.content
    return found


def _stale_inputs(host: Host, journal: Journal, runs: Iterable[Entry], seen: HostFacts) -> tuple[str, ...]:
    """What was changed, since K3s started, of the files that it reads at its start alone; by their paths."""
    since = seen.running_since
    if since is None:
        return ()
    ours = {
        str(seen.dropin_path),
        *(str(seen.data_dir / row.path) for row in (AUDIT_POLICY, POD_SECURITY_ADMISSION)),
    }
    by_us = (change.id for run in runs if run.started > since for change in journal.changes(run))
    others = (*(unit.path for unit in seen.units if unit.role is seen.role), *seen.config_files)
    times = ((str(path), host.tree.times(path)) for path in others if str(path) not in ours)
    by_others = (path for path, found in times if found is not None and found.changed > since)
    return tuple(dict.fromkeys((*(name for name in by_us if name in ours), *by_others)))


def _manifests(host: Host, seen: HostFacts) -> Manifests:
    if seen.role is not Role.SERVER:
        return NO_MANIFESTS
    return k3s_manifests.read(host.tree, (seen.data_dir / POLICY_FILE).parent, seen.merged_config)


def _had_pod_security_policies(seen: HostFacts, observed: dict[str, Observed], journal: Journal) -> bool:
    policy = str(seen.data_dir / POLICY_FILE)
    now = observed.get(policy)
    contents = (now.content if isinstance(now, File) else b"", *journal.written(policy))
    return any(b"kind: PodSecurityPolicy\n" in content for content in contents)
