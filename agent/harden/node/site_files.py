"""Files that a site writes: its settings, and the audit policy and waivers that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.errors import InputError
from agent.base.model import Absent, Location
from agent.base.value import Value
from agent.harden.settings import loading
from agent.harden.settings.schema import DEFAULT_SETTINGS
from agent.k3s import audit_policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import PurePosixPath

    from agent.base.host import Host
    from agent.base.host.tree import Tree
    from agent.harden.settings.schema import Overrides, Settings
    from agent.harden.settings.waivers import SiteWaiver


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


def read_site(host: Host, path: PurePosixPath | None, overrides: Overrides) -> Site:
    """Read the settings and the files that they name. Raises InputError if one of them is invalid."""
    files: dict[PurePosixPath, bytes] = {}
    data = _settings_data(host, path)
    where = path or DEFAULT_SETTINGS
    if data is not None:
        files[where] = data
    settings = loading.apply_overrides(loading.load_settings(data, where, overrides.profile), overrides)
    waivers = _file(host, settings.waivers_file, "waivers-file", files)
    policy = _file(host, settings.audit_policy_file, "audit.policy-file", files)
    site = _site(settings, where, waivers, policy, files)
    _require_known(site.waivers)
    return site


def recorded_site(path: PurePosixPath, files: Mapping[PurePosixPath, bytes], overrides: Overrides) -> Site:
    """Return a site from the content of its files. Raises InputError as read_site does.

    A waiver for an unknown control has no effect here: the gate of an earlier release has recorded it.
    """
    settings = loading.apply_overrides(loading.load_settings(files.get(path), path), overrides)
    named = (settings.waivers_file, settings.audit_policy_file)
    for other in named:
        if other is not None and other not in files:
            raise InputError(Location(other), "the record of the last successful run does not contain it")
    waivers, policy = (None if other is None else files[other] for other in named)
    return _site(settings, path, waivers, policy, files)


def _site(
    settings: Settings,
    path: PurePosixPath,
    waivers: bytes | None,
    policy: bytes | None,
    files: Mapping[PurePosixPath, bytes],
) -> Site:
    more = _checked_waivers(settings, waivers)
    return Site(settings, (*settings.waivers, *more), _checked_policy(settings, policy), path, files)


def read_audit_policy(host: Host, settings: Settings) -> bytes | None:
    """Read the audit policy of the site; None if it has none. Raises InputError if the API server would reject it."""
    return _checked_policy(settings, _file(host, settings.audit_policy_file, "audit.policy-file", {}))


def read_waivers(host: Host, settings: Settings) -> tuple[SiteWaiver, ...]:
    """Read the waivers of the file that the settings name.

    Raises InputError if the file is missing, invalid, or writable by others than root.
    """
    waivers = _checked_waivers(settings, _file(host, settings.waivers_file, "waivers-file", {}))
    _require_known(waivers)
    return waivers


def _require_known(waivers: Sequence[SiteWaiver]) -> None:
    """Raise InputError if a waiver is for a control that does not exist."""
    if waivers:
        from agent.harden.settings import known_controls  # reads the names of all controls

        known_controls.require_known(waivers)


def _checked_policy(settings: Settings, data: bytes | None) -> bytes | None:
    path = settings.audit_policy_file
    problems = () if path is None or data is None else audit_policy.policy_problems(data, path)
    if problems:
        raise InputError(problems[0].location, "; ".join(problem.problem for problem in problems))
    return data


def _checked_waivers(settings: Settings, data: bytes | None) -> tuple[SiteWaiver, ...]:
    path = settings.waivers_file
    return () if path is None or data is None else loading.load_waivers(data, path, settings)


def read_settings(host: Host, path: PurePosixPath | None, overrides: Overrides) -> Settings:
    """Read the settings, and apply the overrides of the command line.

    `path` is a file of this machine; None is the default file of the host, which may be missing. Raises InputError if
    the file is invalid, writable by others than root, or behind a symlink that leads to nothing.
    """
    settings = loading.apply_overrides(
        loading.load_settings(_settings_data(host, path), path or DEFAULT_SETTINGS, overrides.profile), overrides
    )
    _require_known(settings.waivers)
    return settings


def _settings_data(host: Host, path: PurePosixPath | None) -> bytes | None:
    if path is None and isinstance(host.tree.stat(DEFAULT_SETTINGS), Absent):
        link = host.tree.broken_link(DEFAULT_SETTINGS)
        if link is None:
            return None
        # The site has settings, such as on a disk that is not mounted.
        target, what = host.tree.link_target(link), "it" if link == DEFAULT_SETTINGS else link
        problem = f"{what} is a symlink to {target}, which does not exist"
        hint = f"restore {target}; or remove {link}, and the defaults apply"
        raise InputError(Location(DEFAULT_SETTINGS), problem, hint)
    tree = host.tree if path is None else host.machine_tree
    data = tree.read_input(path or DEFAULT_SETTINGS)
    _require_trust(tree, path or DEFAULT_SETTINGS)
    return data


def _file(host: Host, path: PurePosixPath | None, key: str, files: dict[PurePosixPath, bytes]) -> bytes | None:
    """Read a file that the settings name, and add it to `files`."""
    if path is None:
        return None
    data = host.tree.read_input(path, f"`{key}` in the settings names it")
    if key == "waivers-file":
        _require_trust(host.tree, path)
    files[path] = data
    return data


def _require_trust(tree: Tree, path: PurePosixPath) -> None:
    """Raise InputError if others than root can write to a file."""
    distrusted = tree.distrusted(path)
    if distrusted is not None:
        raise InputError(Location(path), f"root runs with these settings, and {distrusted.problem}", distrusted.hint)
