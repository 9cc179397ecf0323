"""Files that a site writes: its settings, and the audit policy and waivers that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import InputError
from agent.k3s import audit_policy
from agent.model import Absent, Location
from agent.settings import loading
from agent.settings.schema import DEFAULT_SETTINGS

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.host import Host
    from agent.host.tree import Tree
    from agent.settings.schema import Overrides, Settings
    from agent.settings.waivers import SiteWaiver


def read_settings(host: Host, path: PurePosixPath | None, overrides: Overrides) -> Settings:
    """Read the settings, and apply the overrides of the command line.

    `path` is a file of this machine; None is the default file of the host, which may be missing. Raises InputError if
    the file is invalid, or writable by others than root.
    """
    tree = host.tree if path is None else host.machine_tree
    may_be_missing = path is None
    path = path or DEFAULT_SETTINGS
    data = None
    if not (may_be_missing and isinstance(tree.stat(path), Absent)):
        data = tree.read_input(path)
        _require_trust(tree, path)
    return loading.override(loading.load(data, path), overrides)


def read_audit_policy(host: Host, settings: Settings) -> bytes | None:
    """Read the audit policy of the site; None if it has none. Raises InputError if the API server would reject it."""
    path = settings.audit_policy_file
    if path is None:
        return None
    data = host.tree.read_input(path, "`audit.policy-file` in the settings names it")
    problems = audit_policy.problems(data, path)
    if problems:
        raise InputError(problems[0].location, "; ".join(problem.problem for problem in problems))
    return data


def read_waivers(host: Host, settings: Settings) -> tuple[SiteWaiver, ...]:
    """Read the waivers of the file that the settings name.

    Raises InputError if the file is missing, invalid, or writable by others than root.
    """
    path = settings.waivers_file
    if path is None:
        return ()
    data = host.tree.read_input(path, "`waivers-file` in the settings names it")
    _require_trust(host.tree, path)
    return loading.load_waivers(data, path)


def _require_trust(tree: Tree, path: PurePosixPath) -> None:
    problem = tree.trust_problem(path)
    if problem:
        raise InputError(
            Location(path),
            f"root runs with these settings, and {problem}",
            f"chown root:root {path}; chmod go-w {path}",
        )
