"""Operator's audit policy and admission configuration, if the API server would exit because of them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import AccessDeniedError, HostError, InputError, LimitError
from agent.harden.guide.guide_files import AUDIT_POLICY, POD_SECURITY_ADMISSION
from agent.k3s import admission_configuration, audit_policy
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from agent.base.host import Host
    from agent.k3s.config import MergedConfig
    from agent.k3s.roles_and_versions import Version

_ARGUMENTS = {
    "audit-policy-file": AUDIT_POLICY.path,
    "admission-control-config-file": POD_SECURITY_ADMISSION.path,
}
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
