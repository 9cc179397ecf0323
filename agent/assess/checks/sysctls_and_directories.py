"""Checks beyond the benchmarks: kernel parameters, and the guide's directories."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from shlex import quote

from agent.assess.checks.answer import UNDETERMINED, Answer, ControlStatus, Evidence, grep_count, moved_away
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.check import Check
from agent.assess.checks.file_modes import below_data_dir
from agent.base.linux.sysctl_order import same_value
from agent.base.model import PRIVATE_FILE, ROOT, Directory, Location, Sysctl, Unreadable
from agent.base.repair import Edit, Repair, Run, RunVerb, Step
from agent.findings.config_edits import without
from agent.harden.guide.guide_files import DirectoryRow
from agent.harden.guide.sysctls import PARAMETERS_FILE, SYSCTLS, SysctlRow
from agent.harden.plan.plan import describe_state
from agent.k3s.components.effective_arguments import GivenBy

_KUBECONFIG_OPTIONS = ("write-kubeconfig-mode", "write-kubeconfig-group")
_PROC_SYS = PurePosixPath("/proc/sys")


class KernelParameter(Check):
    """A kernel parameter has the guide's value now, and after the next boot."""

    row: SysctlRow

    provider = "the kernel's default"
    shows_effect = True

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
            steps = _steps(row, node, is_wrong_now=is_wrong_now, is_wrong_at_boot=is_wrong_at_boot)
            return Answer(ControlStatus.FAIL, found, evidence, repair=Repair(tuple(steps)))
        for path in node.unreadable_sysctl_files:
            reason = f"cannot read {path}, which may set it at boot"
            return Answer(ControlStatus.UNKNOWN, found, evidence, reason, moved_away(path))
        if not isinstance(now, Sysctl):
            reason = "/proc/sys does not exist here" if now is None else describe_state(now)
            return Answer(ControlStatus.UNKNOWN, found, evidence, reason, Repair((RunVerb("assess"),)))
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
    shows_effect = True

    def answer(self, node: AssessedNode) -> Answer:
        path = node.facts.data_dir / self.row.path
        now = node.situation.observed.get(str(path))
        if now is None or isinstance(now, Unreadable):
            reason = describe_state(now) if now is not None else "it was not read"
            shows = (Evidence(reason, Location(path)),)
            return Answer(ControlStatus.UNKNOWN, UNDETERMINED, shows, reason, moved_away(path))
        found = describe_state(now)
        is_met = False
        if isinstance(now, Directory):
            found = f"mode {now.mode}, owner {'root:root' if now.owner == ROOT else now.owner}"
            is_met = (now.mode, now.owner) == (self.row.mode, ROOT)
        command = f"sudo install -d -o root -g root -m {self.row.mode} {quote(str(path))}"
        return Answer(
            ControlStatus.PASS if is_met else ControlStatus.FAIL,
            found,
            (Evidence(found, Location(path)),),
            repair=Repair((RunVerb("apply") if str(path) in node.pending else Run(command),)),
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
            repair = node.by_hand(
                [edit for key, value in wrong for edit in without(node.situation, key, value.location)]
            )
            return Answer(ControlStatus.FAIL, ", ".join(item.observation for item in shown), shown, repair=repair)
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
        overrides = node.situation.boot_overrides
        if overrides:
            shows = tuple(Evidence(override.message, override.location) for override in overrides.values())
            return Answer(
                ControlStatus.FAIL,
                "; ".join(override.message for override in overrides.values()),
                shows,
                repair=Repair(tuple(item.edit(node.situation.line_at(item.location)) for item in overrides.values())),
            )
        for path in node.unreadable_sysctl_files:
            reason = f"cannot read {path}"
            return Answer(ControlStatus.UNKNOWN, UNDETERMINED, reason=reason, repair=moved_away(path))
        files = node.situation.sysctl_files
        directories = ", ".join(dict.fromkeys(str(file.path.parent) for file in files))
        observation = f"{len(files)} file{'s' if len(files) != 1 else ''} of kernel parameters, no override"
        keys, paths = "|".join(row.key for row in SYSCTLS), " ".join(quote(str(file.path)) for file in files)
        command = f"sudo grep --extended-regexp {quote(keys)} {paths or '/etc/sysctl.d/*.conf'}"
        source = directories or "/etc/sysctl.d"
        return Answer(ControlStatus.PASS, "none", (Evidence(observation, source=source, repeat_with=command),))

    expected = f"no file overrides {PARAMETERS_FILE} at boot"


def _steps(row: SysctlRow, node: AssessedNode, *, is_wrong_now: bool, is_wrong_at_boot: bool) -> Iterator[Step]:
    override = node.situation.boot_overrides.get(row.key)
    setting = f"{row.key}={row.value}"
    if override is not None:
        yield override.edit(node.situation.line_at(override.location))
    elif row.written and is_wrong_at_boot and PARAMETERS_FILE not in node.pending:
        yield Edit(Location(PurePosixPath(PARAMETERS_FILE)), new=setting)
    if row.written and not {row.key, PARAMETERS_FILE}.isdisjoint(node.pending):
        yield RunVerb("apply")
    elif is_wrong_now:
        yield Run(f"sudo sysctl -w {setting}")
