"""Files that a site writes: its settings, and the audit policy and waivers that they name."""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import AccessDeniedError, HostError, InputError, LimitError
from agent.base.model import Absent, Location
from agent.base.repair import Answer, Decide, moved_away
from agent.base.value import Value, replace
from agent.harden.guide.guide_files import AUDIT_POLICY, POD_SECURITY_ADMISSION
from agent.harden.settings.loading import apply_overrides, load_settings, load_waivers
from agent.harden.settings.schema import DEFAULT_SETTINGS, Overrides, Settings
from agent.k3s import admission_configuration, audit_policy
from agent.k3s.roles_and_versions import Component, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from agent.base.host import Host
    from agent.harden.settings.waivers import SiteWaiver
    from agent.k3s.config import MergedConfig

_ARGUMENTS = {"audit-policy-file": AUDIT_POLICY.path, "admission-control-config-file": POD_SECURITY_ADMISSION.path}
"""By argument of the API server: the file of the hardening, below the data directory."""


def unusable_files(
    host: Host, config: MergedConfig, data_dir: PurePosixPath, version: Version | None
) -> dict[str, str]:
    """Return the problems of the files that the operator's configuration names, by path.

    A file that could not be read is not known to be unusable.
    """
    found = {}
    for name, ours in _ARGUMENTS.items():
        for value in config.argument(Component.API_SERVER, name)[-1:]:
            path = PurePosixPath(value.text)
            if path.is_absolute() and path != data_dir / ours:
                problem = _problem(host, name, path, version)
                if problem:
                    found[value.text] = problem
    return found


def _problem(host: Host, argument: str, path: PurePosixPath, version: Version | None) -> str:
    try:
        data = host.tree.read(path)
    except (AccessDeniedError, LimitError):
        return ""
    except HostError as error:
        return error.message
    if data is None:
        return f"{path} does not exist"
    if argument == "audit-policy-file":
        problems = audit_policy.rejected_by_version(data, path, version)
        return problems[0].message if problems else ""
    try:
        admission_configuration.configured_plugins(data, path)
    except InputError as error:
        return error.message
    return ""


_POLICY, _WAIVERS = "audit.policy-file", "waivers-file"
_TRUST = "root runs with these settings"
"""The settings that name files."""


class Site(Value):
    """The settings of a site, with the files that they name."""

    settings: Settings
    waivers: tuple[SiteWaiver, ...]
    """Of the settings and of the waivers file."""
    audit_policy: bytes | None
    """The site's own, if it has one."""
    path: PurePosixPath
    """The settings file, which may be missing."""
    files: Mapping[PurePosixPath, bytes]
    """Content of the files that exist, by path."""
    ignored: tuple[PurePosixPath, ...] = ()
    """YAML files beside the default file that no setting names."""


def read_site(host: Host, path: PurePosixPath | None, overrides: Overrides) -> Site:
    """Read the settings and the files that they name. Raises InputError if one of them is invalid."""
    where, data = path or DEFAULT_SETTINGS, _settings_data(host, path)
    site = _site(where, {} if data is None else {where: data}, overrides, partial(_named_file, host))
    _require_known(site.waivers)
    return replace(site, ignored=tuple(_ignored(host, site)) if path is None else ())


def _ignored(host: Host, site: Site) -> Iterator[PurePosixPath]:
    settings = site.settings
    read = {site.path, settings.waivers_file, settings.audit_policy_file, settings.audit_webhook}
    for name in host.tree.names(DEFAULT_SETTINGS.parent):
        if name.endswith((".yaml", ".yml")) and DEFAULT_SETTINGS.parent / name not in read:
            yield DEFAULT_SETTINGS.parent / name


def recorded_site(path: PurePosixPath, files: Mapping[PurePosixPath, bytes], overrides: Overrides) -> Site:
    """Return a site from the content of its files. Raises InputError as read_site does.

    A waiver for an unknown control has no effect here: the gate of an earlier release has recorded it.
    """

    def recorded(named: PurePosixPath, _: str) -> bytes:
        if named not in files:
            raise InputError(Location(named), "the record of the last successful run does not contain it")
        return files[named]

    return _site(path, files, overrides, recorded)


def _site(
    path: PurePosixPath,
    files: Mapping[PurePosixPath, bytes],
    overrides: Overrides,
    read: Callable[[PurePosixPath, str], bytes],
) -> Site:
    """Return the site of a settings file in `files`; `read` returns a file that a setting names."""
    settings = _loaded(files.get(path), path, overrides)
    named = ((settings.waivers_file, _WAIVERS), (settings.audit_policy_file, _POLICY))
    found = {file: read(file, key) for file, key in named if file is not None}
    waivers = (
        load_waivers(found[settings.waivers_file], settings.waivers_file, settings) if settings.waivers_file else ()
    )
    policy = (
        _checked(found[settings.audit_policy_file], settings.audit_policy_file) if settings.audit_policy_file else None
    )
    return Site(settings, (*settings.waivers, *waivers), policy, path, {**files, **found})


def read_audit_policy(host: Host, settings: Settings) -> bytes | None:
    """Read the audit policy of the site; None if it has none. Raises InputError if the API server would reject it."""
    path = settings.audit_policy_file
    return None if path is None else _checked(_named_file(host, path, _POLICY), path)


def read_waivers(host: Host, settings: Settings) -> tuple[SiteWaiver, ...]:
    """Read the waivers of the file that the settings name.

    Raises InputError if the file is missing, invalid, or writable by others than root.
    """
    path = settings.waivers_file
    waivers = () if path is None else load_waivers(_named_file(host, path, _WAIVERS), path, settings)
    _require_known(waivers)
    return waivers


def read_settings(host: Host, path: PurePosixPath | None, overrides: Overrides) -> Settings:
    """Read the settings, and apply the overrides of the command line.

    `path` is a file of this machine; None is the default file of the host, which may be missing. Raises InputError if
    the file is invalid, writable by others than root, or behind a symlink that leads to nothing.
    """
    settings = _loaded(_settings_data(host, path), path or DEFAULT_SETTINGS, overrides)
    _require_known(settings.waivers)
    return settings


def _loaded(data: bytes | None, path: PurePosixPath, overrides: Overrides) -> Settings:
    return apply_overrides(load_settings(data, path, overrides.profile), overrides)


def _require_known(waivers: Sequence[SiteWaiver]) -> None:
    """Raise InputError if a waiver is for a control that does not exist."""
    if waivers:
        from agent.harden.settings import known_controls  # reads the names of all controls

        known_controls.require_known(waivers)


def _checked(policy: bytes, path: PurePosixPath) -> bytes:
    problems = audit_policy.policy_problems(policy, path)
    if problems:
        raise InputError(problems[0].location, "; ".join(problem.problem for problem in problems))
    return policy


def _settings_data(host: Host, path: PurePosixPath | None) -> bytes | None:
    if path is None and isinstance(host.tree.stat(DEFAULT_SETTINGS), Absent):
        link = host.tree.broken_link(DEFAULT_SETTINGS)
        if link is None:
            return None
        # The site has settings, such as on a disk that is not mounted.
        target, what = host.tree.link_target(link), "it" if link == DEFAULT_SETTINGS else link
        problem = f"{what} is a symlink to {target}, which does not exist"
        answers = (
            Answer("Yes", f"mount its file system, or restore {target}", ()),
            Answer("No", "the defaults apply", (moved_away(link),)),
        )
        raise InputError(Location(DEFAULT_SETTINGS), problem, Decide("Does this site have settings?", answers))
    tree = host.tree if path is None else host.machine_tree
    data = tree.read_input(path or DEFAULT_SETTINGS)
    tree.require_trust(path or DEFAULT_SETTINGS, _TRUST)
    return data


def _named_file(host: Host, path: PurePosixPath, key: str) -> bytes:
    """Read a file that the setting `key` names."""
    data = host.tree.read_input(path, f"`{key}` in the settings names it")
    if key == _WAIVERS:
        host.tree.require_trust(path, _TRUST)
    return data
