"""The audit log of a running node: requests of this program in it, and its size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from shlex import quote

from agent.assess.checks.answer import ControlStatus, Effect
from agent.assess.checks.assessed_node import AssessedNode
from agent.base.errors import InputError
from agent.base.repair import Run
from agent.harden.desired.dropin_options import AUDIT_POLICY_ARGUMENT
from agent.k3s.audit_policy import audit_gaps
from agent.k3s.roles_and_versions import Component


def must_log(node: AssessedNode, request: str) -> bool:
    """Return whether the audit policy demands an event of a request, such as "list secrets"."""
    policy = node.arguments(Component.API_SERVER).get(AUDIT_POLICY_ARGUMENT)
    path = PurePosixPath(policy.value if policy else "")
    try:
        gaps = audit_gaps(node.situation.k3s_files.contents.get(path) or b"", path)
    except InputError:
        return False
    return all(gap.requests != request for gap in gaps)


def audit_effects(
    node: AssessedNode, log: PurePosixPath, seen: tuple[ControlStatus, str], written: int, free: int | None
) -> Iterator[Effect]:
    """Yield whether a request of this program is in the audit log, and whether its files fit on the file system.

    `written` is the size of all of them now, and `free` what is left there, in bytes; None if that is not known.
    """
    place, directory = quote(str(log)), quote(str(log.parent))
    yield Effect(
        subject="Requests in the audit log",
        configured=f"--audit-log-path={log}",
        status=seen[0],
        observed=seen[1],
        command=f"sudo ls -lL {place}; sudo tail -n 1 {place}",
        controls=("audit-log-path", "audit-policy-file"),
        steps=(Run(f"sudo ls -l {place}"), Run(f"sudo systemctl restart {node.facts.service}")),
    )
    given = [node.arguments(Component.API_SERVER).get(f"audit-log-{name}") for name in ("maxsize", "maxbackup")]
    size, backups = (int(found.value) if found and found.value.isdigit() else 0 for found in given)
    if free is not None and size and backups:
        largest = (size << 20) * (backups + 1)
        is_fitting = largest - written <= free
        yield Effect(
            subject="Size of the audit log",
            configured=f"{backups + 1} files of {size} MiB",
            status=ControlStatus.PASS if is_fitting else ControlStatus.FAIL,
            observed=f"{written >> 20} of {largest >> 20} MiB are written, and {free >> 20} MiB are free",
            command=f"sudo du -ch {directory}; df -h {directory}",
            controls=("audit-log-maxsize",),
            steps=(Run(f"df -h {directory}"), Run(f"sudo du -xh --max-depth=2 {directory} | sort -h | tail")),
        )
