"""Verdicts on what is beyond the benchmarks: kernel parameters, and the guide's directories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.arguments import GivenBy
from agent.assess.assessment import ControlStatus
from agent.assess.assessment import Evidence as Shown
from agent.assess.verdicts.actors import APPLY
from agent.assess.verdicts.answer import LOOK_AT_IT, Answer, steps
from agent.benchmark.check import GuideDirectory, KernelParameter, SysctlPrecedence
from agent.guide.sysctls import PARAMETERS_FILE
from agent.linux.sysctl_values import same_value
from agent.model import ROOT, Directory, Sysctl, Unreadable
from agent.plan.plan import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.assess.verdicts.node import AssessedNode
    from agent.guide.sysctls import SysctlRow
    from agent.linux.sysctl_order import Assignment
    from agent.model import Observed


def answer(check: KernelParameter | GuideDirectory | SysctlPrecedence, node: AssessedNode) -> Answer:
    """Whether the host itself is as the guide wants it."""
    match check:
        case KernelParameter():
            return _kernel_parameter(check, node)
        case GuideDirectory():
            return _guide_directory(check, node)
        case SysctlPrecedence():
            return _sysctl_precedence(node)


def _kernel_parameter(check: KernelParameter, node: AssessedNode) -> Answer:
    row = check.row
    now = node.seen.observed.get(row.key)
    line = node.at_boot[row.key]
    is_right_now = isinstance(now, Sysctl) and same_value(now.value, row.value)
    is_right_at_boot = not row.written if line is None else same_value(line.value, row.value)
    shown = tuple(_seen_of(row, now, line))
    found = ", ".join(one.what for one in shown) or "no such kernel parameter"
    if line is None and row.written:
        found += ", and no file sets it at boot"
    if not is_right_at_boot or (isinstance(now, Sysctl) and not is_right_now):
        by_others = _by_others(row, line, node)
        if by_others is not None:
            return Answer(
                ControlStatus.FAIL, found, shown, remedy=by_others, by=GivenBy.OPERATOR, remedy_is_for_this_host=True
            )
        needs = {row.key} if isinstance(now, Sysctl) and not is_right_now else set()
        needs |= set() if is_right_at_boot else {PARAMETERS_FILE}
        by_hand = f"set {row.key}={row.value} in {PARAMETERS_FILE}, and run `sudo sysctl -w {row.key}={row.value}`"
        return Answer(ControlStatus.FAIL, found, shown, remedy=by_hand, needs=frozenset(needs))
    if node.unreadable_sysctl_files:
        hidden = f"cannot read {node.unreadable_sysctl_files[0]}, which may set it at boot"
        return Answer(ControlStatus.UNKNOWN, found, shown, hidden, LOOK_AT_IT)
    if not isinstance(now, Sysctl):
        reason = "there is no /proc/sys here" if now is None else describe(now)
        return Answer(ControlStatus.UNKNOWN, found, shown, reason, "assess the booted host")
    return Answer(ControlStatus.PASS, found, shown, by=_who_set(line))


def _who_set(line: Assignment | None) -> GivenBy | None:
    """Whose line sets a kernel parameter at boot; None where it keeps the kernel's own value."""
    if line is None:
        return None
    return GivenBy.DROPIN if str(line.location.path) == PARAMETERS_FILE else GivenBy.OPERATOR


def _seen_of(row: SysctlRow, now: Observed | None, line: Assignment | None) -> Iterator[Shown]:
    if isinstance(now, Sysctl):
        yield Shown(f"{now.value} now", f"/proc/sys/{row.key.replace('.', '/')}")
    if line is not None:
        yield Shown(f"{line.value} at boot", f"{line.location}")


def _by_others(row: SysctlRow, line: Assignment | None, node: AssessedNode) -> str | None:
    """What to do about a file of somebody else's that decides at boot; None where none does."""
    trouble = node.overridden.get(row.key)
    if trouble is not None:
        return f"{trouble.location}: {steps(trouble.remediation)}; then {APPLY}"
    if line is None or str(line.location.path) == PARAMETERS_FILE or same_value(line.value, row.value):
        return None
    return f"delete the line at {line.location}, or set it to {row.value}; then {APPLY}"


def _guide_directory(check: GuideDirectory, node: AssessedNode) -> Answer:
    path = node.facts.data_dir / check.row.path
    now = node.seen.observed.get(str(path))
    if now is None or isinstance(now, Unreadable):
        reason = describe(now) if now is not None else "it was not looked at"
        return Answer(ControlStatus.UNKNOWN, "cannot be told", (Shown(reason, str(path)),), reason, LOOK_AT_IT)
    found, status = describe(now), ControlStatus.FAIL
    if isinstance(now, Directory):
        found = f"mode {now.mode}, owner {'root:root' if now.owner == ROOT else now.owner}"
        status = ControlStatus.PASS if (now.mode, now.owner) == (check.row.mode, ROOT) else ControlStatus.FAIL
    remedy = f"sudo install -d -o root -g root -m {check.row.mode} {path}"
    needs = frozenset({str(path)})
    by = None if status is ControlStatus.FAIL else GivenBy.DROPIN if node.seen.journal.runs else GivenBy.OPERATOR
    return Answer(status, found, (Shown(found, str(path)),), remedy=remedy, needs=needs, by=by)


def _sysctl_precedence(node: AssessedNode) -> Answer:
    troubles = tuple(node.overridden.values())
    if troubles:
        shown = tuple(Shown(one.message, str(one.location or "")) for one in troubles)
        remedy = "; ".join(f"{one.location}: {steps(one.remediation)}" for one in troubles)
        found = "; ".join(one.message for one in troubles)
        return Answer(
            ControlStatus.FAIL, found, shown, remedy=remedy, by=GivenBy.OPERATOR, remedy_is_for_this_host=True
        )
    if node.unreadable_sysctl_files:
        reason = f"cannot read {node.unreadable_sysctl_files[0]}"
        return Answer(ControlStatus.UNKNOWN, "cannot be told", reason=reason, remedy=LOOK_AT_IT)
    read = ", ".join(dict.fromkeys(str(file.path.parent) for file in node.seen.sysctl_files))
    count = len(node.seen.sysctl_files)
    files = f"{count} file{'s' if count != 1 else ''} of kernel parameters, none of which does"
    return Answer(ControlStatus.PASS, "none does", (Shown(files, read or "/etc/sysctl.d"),))
