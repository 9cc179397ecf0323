"""Checks beyond the benchmarks: kernel parameters, and the guide's directories."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from shlex import quote
from typing import TYPE_CHECKING

from agent.assess.checks.answer import (
    UNDETERMINED,
    Answer,
    ChangedBy,
    ControlStatus,
    Evidence,
    UnmetRequirement,
    complete_steps,
    grep_count,
    made_readable,
)
from agent.assess.checks.argument_edits import removal
from agent.assess.checks.check import Check
from agent.assess.checks.file_modes import below_data_dir
from agent.base.linux.sysctl_order import same_value
from agent.base.model import PRIVATE_FILE, ROOT, Directory, Location, Sysctl, Unreadable
from agent.base.repair import Instruction, Restart, Run, RunVerb
from agent.harden.guide.sysctls import PARAMETERS_FILE, SYSCTLS
from agent.harden.plan.plan import describe_state
from agent.k3s.components.effective_arguments import GivenBy

if TYPE_CHECKING:
    from agent.assess.checks.assessed_node import AssessedNode
    from agent.base.linux.sysctl_order import SysctlAssignment
    from agent.base.repair import Step
    from agent.harden.guide.guide_files import DirectoryRow
    from agent.harden.guide.sysctls import SysctlRow

_APPLY = RunVerb("apply")
_KUBECONFIG_OPTIONS = ("write-kubeconfig-mode", "write-kubeconfig-group")
_PROC_SYS = PurePosixPath("/proc/sys")
_PARAMETERS_PATH = PurePosixPath(PARAMETERS_FILE)


class KernelParameter(Check):
    """A kernel parameter has the guide's value now, and after the next boot."""

    row: SysctlRow

    provider = "the kernel's default"

    def answer(self, node: AssessedNode) -> Answer:
        row = self.row
        now = node.situation.observed.get(row.key)
        line = node.at_boot[row.key]
        is_wrong_now = isinstance(now, Sysctl) and not same_value(now.value, row.value)
        is_wrong_at_boot = row.written if line is None else not same_value(line.value, row.value)
        proc = Location(_PROC_SYS / row.key.replace(".", "/"))
        evidence = (
            *((Evidence(f"{now.value} now", proc),) if isinstance(now, Sysctl) else ()),
            *((Evidence(f"{line.value} at boot", line.location),) if line is not None else ()),
        )
        found = ", ".join(shown.observation for shown in evidence) or "no such kernel parameter"
        if line is None and row.written:
            found += ", and no file sets it at boot"
        if is_wrong_now or is_wrong_at_boot:
            others = _set_by_others(row, line, node, is_wrong_now=is_wrong_now)
            needs = {*((row.key,) if is_wrong_now else ()), *((PARAMETERS_FILE,) if is_wrong_at_boot else ())}
            changed_by = ChangedBy.APPLY if needs <= node.pending else ChangedBy.SITE
            setting = f"{row.key}={row.value}"
            edit = Instruction(f"set `{setting}`", Location(_PARAMETERS_PATH))
            # A parameter that the guide does not write has the steps of its control.
            by_hand = (edit, Run(f"sudo sysctl -w {setting}")) if row.written else ()
            unmet = complete_steps(*others) if others else UnmetRequirement(by_hand, changed_by)
            return Answer(ControlStatus.FAIL, found, evidence, unmet=unmet)
        for path in node.unreadable_sysctl_files:
            reason = f"cannot read {path}, which may set it at boot"
            return Answer(ControlStatus.UNKNOWN, found, evidence, reason, complete_steps(*made_readable(path)))
        if not isinstance(now, Sysctl):
            reason = "/proc/sys does not exist here" if now is None else describe_state(now)
            unmet = complete_steps(Instruction("assess the booted host"))
            return Answer(ControlStatus.UNKNOWN, found, evidence, reason, unmet)
        is_own = line is not None and str(line.location.path) == PARAMETERS_FILE
        by = None if line is None else GivenBy.DROPIN if is_own else GivenBy.OPERATOR
        return Answer(ControlStatus.PASS, found, evidence, given_by=by)

    @property
    def expected(self) -> str:
        return f"{self.row.value}, now and after the next boot"

    @property
    def description(self) -> str:
        return f"`{self.row.key}`: {self.expected}"

    @property
    def subject(self) -> str:
        return self.row.id

    @property
    def names(self) -> tuple[str, ...]:
        return (self.row.key,)


class GuideDirectory(Check):
    """A directory has the guide's exact mode, and belongs to root:root."""

    row: DirectoryRow

    is_of_directories = True

    def answer(self, node: AssessedNode) -> Answer:
        path = node.facts.data_dir / self.row.path
        now = node.situation.observed.get(str(path))
        if now is None or isinstance(now, Unreadable):
            reason = describe_state(now) if now is not None else "it was not read"
            unmet = complete_steps(*made_readable(path, "directory"))
            return Answer(ControlStatus.UNKNOWN, UNDETERMINED, (Evidence(reason, Location(path)),), reason, unmet)
        found = describe_state(now)
        is_met = False
        if isinstance(now, Directory):
            found = f"mode {now.mode}, owner {'root:root' if now.owner == ROOT else now.owner}"
            is_met = (now.mode, now.owner) == (self.row.mode, ROOT)
        command = f"sudo install -d -o root -g root -m {self.row.mode} {quote(str(path))}"
        changed_by = ChangedBy.APPLY if str(path) in node.pending else ChangedBy.SITE
        return Answer(
            ControlStatus.PASS if is_met else ControlStatus.FAIL,
            found,
            (Evidence(found, Location(path)),),
            unmet=UnmetRequirement((Run(command),), changed_by),
            given_by=(GivenBy.DROPIN if node.situation.journal.runs else GivenBy.OPERATOR) if is_met else None,
        )

    @property
    def expected(self) -> str:
        return f"mode {self.row.mode}, owner root:root"

    @property
    def description(self) -> str:
        return f"{below_data_dir(str(self.row.path))}: {self.expected}"

    @property
    def subject(self) -> str:
        return self.row.id


class KubeconfigOptions(Check):
    """K3s' options let only root access the administrator's kubeconfig, which K3s writes at each start."""

    path: str

    is_met_by_k3s = True

    def answer(self, node: AssessedNode) -> Answer:
        config = node.facts.merged_config
        given = [
            (key, value) for key in _KUBECONFIG_OPTIONS for value in filter(None, [config.scalar(key)]) if value.text
        ]
        wrong = [(key, value) for key, value in given if not _is_private(key, value.text)]
        shown = tuple(Evidence(f"{key}: {value.text}", value.location) for key, value in wrong or given)
        if wrong:
            steps = tuple(removal(key, value, node.facts) for key, value in wrong)
            unmet = node.unmet(steps, restart=Restart.K3S, is_complete=True)
            return Answer(ControlStatus.FAIL, ", ".join(item.observation for item in shown), shown, unmet=unmet)
        observation = "no option makes the kubeconfig accessible to others"
        command = grep_count("write-kubeconfig", node.facts.configuration.path.parent)
        default = Evidence(observation, source=f"K3s {node.facts.version}", repeat_with=command)
        return Answer(ControlStatus.PASS, "", shown or (default,), given_by=GivenBy.K3S)

    expected = f"mode {PRIVATE_FILE} or stricter"

    @property
    def description(self) -> str:
        return f"`{_KUBECONFIG_OPTIONS[0]}` and `{_KUBECONFIG_OPTIONS[1]}` of K3s let only root access it"

    @property
    def subject(self) -> str:
        return self.path


def _is_private(key: str, value: str) -> bool:
    if key == _KUBECONFIG_OPTIONS[1]:
        return value in ("root", "0")
    # K3s parses the mode as octal (k3s, pkg/server/server.go).
    return re.fullmatch("[0-7]{1,5}", value) is not None and not int(value, 8) & ~PRIVATE_FILE


class SysctlPrecedence(Check):
    """No file that is read at boot overrides a value of 90-kubelet.conf."""

    def answer(self, node: AssessedNode) -> Answer:
        overrides = tuple(node.situation.boot_overrides.values())
        if overrides:
            return Answer(
                ControlStatus.FAIL,
                "; ".join(override.message for override in overrides),
                tuple(Evidence(override.message, override.location) for override in overrides),
                unmet=complete_steps(*(Instruction(override.fix, override.location) for override in overrides)),
            )
        for path in node.unreadable_sysctl_files:
            unmet = complete_steps(*made_readable(path))
            return Answer(ControlStatus.UNKNOWN, UNDETERMINED, reason=f"cannot read {path}", unmet=unmet)
        files = node.situation.sysctl_files
        directories = ", ".join(dict.fromkeys(str(file.path.parent) for file in files))
        observation = f"{len(files)} file{'s' if len(files) != 1 else ''} of kernel parameters, no override"
        keys, paths = "|".join(row.key for row in SYSCTLS), " ".join(quote(str(file.path)) for file in files)
        command = f"sudo grep --extended-regexp {quote(keys)} {paths or '/etc/sysctl.d/*.conf'}"
        source = directories or "/etc/sysctl.d"
        return Answer(ControlStatus.PASS, "none", (Evidence(observation, source=source, repeat_with=command),))

    expected = f"no file overrides {PARAMETERS_FILE} at boot"


def _set_by_others(
    row: SysctlRow, line: SysctlAssignment | None, node: AssessedNode, *, is_wrong_now: bool
) -> tuple[Step, ...]:
    """Return the steps for a line of another file that decides at boot; empty if there is none."""
    override = node.situation.boot_overrides.get(row.key)
    if override is not None:
        # In the file of apply, the line can also be deleted, and apply writes it again.
        is_own = str(override.location.path) == PARAMETERS_FILE
        applies = is_wrong_now or is_own or PARAMETERS_FILE in node.pending
        return Instruction(override.fix, override.location), *((_APPLY,) if applies else ())
    if line is None or str(line.location.path) == PARAMETERS_FILE or same_value(line.value, row.value):
        return ()
    return Instruction(f"set {row.key} to {row.value}, or delete the line", line.location), _APPLY
