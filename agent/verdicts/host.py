"""What is beyond the benchmark: kernel parameters, and the guide's directories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assessment import Evidence as Shown
from agent.assessment import Status
from agent.benchmark.check import GuideDirectory, KernelParameter, SysctlPrecedence
from agent.component_arguments import GivenBy
from agent.findings.kernel import sysctl_overridden
from agent.guide.sysctls import PARAMETERS_FILE
from agent.model import ROOT, Directory, Sysctl
from agent.plan import in_words
from agent.sysctl_order import same_value
from agent.verdicts.look import Answer

if TYPE_CHECKING:
    from agent.verdicts.look import Look


def answer(check: KernelParameter | GuideDirectory | SysctlPrecedence, look: Look) -> Answer:
    """Whether the host itself is as the guide wants it."""
    match check:
        case KernelParameter():
            return _kernel_parameter(check, look)
        case GuideDirectory():
            return _guide_directory(check, look)
        case SysctlPrecedence():
            return _sysctl_precedence(look)


def _kernel_parameter(check: KernelParameter, look: Look) -> Answer:
    row = check.row
    wanted = f"{row.value}, now and after the next boot"
    now = look.seen.observed.get(row.key)
    line = look.at_boot[row.key]
    boot = Shown(f"{line.value} at boot", f"{line.path}:{line.line}") if line else None
    live = Shown(f"{now.value} now", f"/proc/sys/{row.key.replace('.', '/')}") if isinstance(now, Sysctl) else None
    shown = tuple(one for one in (live, boot) if one is not None)
    found = ", ".join(one.what for one in shown) or "nothing sets it"
    by_hand = f"set {row.key}={row.value} in {PARAMETERS_FILE}, and run `sudo sysctl -w {row.key}={row.value}`"
    if line is not None and not same_value(line.value, row.value):
        delete = f"delete the line at {line.path}:{line.line}, or set it to {row.value}"
        return Answer(Status.FAIL, wanted, found, shown, remedy=delete, by=GivenBy.OPERATOR)
    if isinstance(now, Sysctl) and not same_value(now.value, row.value):
        return Answer(Status.FAIL, wanted, found, shown, remedy=by_hand)
    if line is None and row.written:
        return Answer(Status.FAIL, wanted, f"{found}; no file sets it at boot", shown, remedy=by_hand)
    if look.unreadable_sysctl_files:
        hidden = f"cannot read {look.unreadable_sysctl_files[0]}, which may set it at boot"
        return Answer(Status.UNKNOWN, wanted, found, shown, reason=hidden)
    if not isinstance(now, Sysctl):
        reason = "there is no /proc/sys here" if now is None else in_words(now)
        return Answer(Status.UNKNOWN, wanted, found, shown, reason=reason, remedy="assess the booted host")
    return Answer(Status.PASS, wanted, found, shown)


def _guide_directory(check: GuideDirectory, look: Look) -> Answer:
    path = look.facts.data_dir / check.row.path
    wanted = f"{check.row.mode}, root:root"
    now = look.seen.observed.get(str(path))
    if isinstance(now, Directory):
        owner = "root:root" if now.owner == ROOT else str(now.owner)
        found = f"{now.mode}, {owner}"
        status = Status.PASS if (now.mode, now.owner) == (check.row.mode, ROOT) else Status.FAIL
    else:
        found = in_words(now) if now is not None else "cannot be told"
        status = Status.FAIL if now is not None else Status.UNKNOWN
    remedy = f"sudo install -d -o root -g root -m {check.row.mode} {path}"
    return Answer(status, wanted, found, (Shown(found, str(path)),), remedy=remedy)


def _sysctl_precedence(look: Look) -> Answer:
    wanted = f"no file wins over {PARAMETERS_FILE} at boot"
    troubles = list(sysctl_overridden(look.seen))
    if troubles:
        shown = tuple(Shown(one.message, one.where) for one in troubles)
        remedy = "; ".join(f"{one.where}: {one.remedy}" for one in troubles)
        return Answer(Status.FAIL, wanted, troubles[0].message, shown, remedy=remedy, by=GivenBy.OPERATOR)
    if look.unreadable_sysctl_files:
        reason = f"cannot read {look.unreadable_sysctl_files[0]}"
        return Answer(Status.UNKNOWN, wanted, "cannot be told", reason=reason)
    read = ", ".join(dict.fromkeys(str(file.path.parent) for file in look.seen.sysctl_files))
    return Answer(Status.PASS, wanted, "none does", (Shown(f"{len(look.seen.sysctl_files)} files", read or "/etc"),))
