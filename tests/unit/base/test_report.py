"""The exit code of a report, and the owner of a repair."""

from __future__ import annotations

from itertools import product
from pathlib import PurePosixPath

import pytest

from agent.base.errors import (
    ExitCode,
    HardenError,
    HostError,
    InputError,
    LockHeldError,
    ReadOnlyEnvironmentError,
    UsageError,
)
from agent.base.model import Location
from agent.base.repair import NO_REPAIR, FixOwner, Repair, Restart, RunVerb, Set
from agent.base.report import GATE_VERB, Finding, Item, ItemStatus, Level, Report
from agent.base.value import replace
from agent.reports import repair_texts

COMPLIANT, DIFFERS, REFUSED = ItemStatus.COMPLIANT, ItemStatus.DIFFERS, ItemStatus.REFUSED
EDITED, CHANGED, KEPT, FAILED = ItemStatus.EDITED, ItemStatus.CHANGED, ItemStatus.KEPT, ItemStatus.FAILED


def report(*statuses: ItemStatus, verb: str = "apply", blocked: bool = False, finding: Level | None = None) -> Report:
    """Return a report with one item of each status; `blocked` applies to those that failed."""
    items = [Item(f"/{n}", s, blocked_by_environment=blocked and s is FAILED) for n, s in enumerate(statuses)]
    findings = () if finding is None else (found(finding),)
    return Report(verb=verb, writes=verb not in {"check", "diff"}, facts=(), items=tuple(items), findings=findings)


def found(level: Level, *, blocks_gate: bool = False, prevents_start: bool = False) -> Finding:
    return Finding("a-finding", level, blocks_gate=blocks_gate, prevents_start=prevents_start, message="m")


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        *((statuses, 0) for statuses in ((), (COMPLIANT,))),
        *(
            (statuses, 3)
            for statuses in ((DIFFERS,), (EDITED,), (COMPLIANT, REFUSED), (DIFFERS, EDITED, REFUSED, COMPLIANT))
        ),
    ],
)
def test_a_read_only_verb_exits_with_0_or_3(statuses: tuple[ItemStatus, ...], code: int) -> None:
    assert report(*statuses, verb="check").exit_code == report(*statuses, verb="diff").exit_code == code


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        *((statuses, 0) for statuses in ((), (COMPLIANT, COMPLIANT), (CHANGED, COMPLIANT), (KEPT, CHANGED), (KEPT,))),
        *((statuses, 1) for statuses in ((FAILED,), (FAILED, COMPLIANT), (FAILED, EDITED))),
        *((statuses, 1) for statuses in ((REFUSED, COMPLIANT), (REFUSED, EDITED))),
        *((statuses, 4) for statuses in ((CHANGED, FAILED), (CHANGED, REFUSED), (CHANGED, EDITED))),
        *((statuses, 4) for statuses in ((COMPLIANT, EDITED), (EDITED,))),
        ((CHANGED, DIFFERS), 3),
    ],
)
def test_the_exit_code_of_a_writing_verb_depends_on_remaining_items(
    statuses: tuple[ItemStatus, ...], code: int
) -> None:
    """It is 1 if nothing was changed and an item failed or was refused, and 4 for other remaining items.

    It is 3 if a resource was changed back after the run.
    """
    assert report(*statuses).exit_code == code


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ((FAILED,), 6),
        ((FAILED, FAILED, KEPT, COMPLIANT), 6),
        ((FAILED, FAILED, CHANGED, COMPLIANT), 4),
        ((FAILED, EDITED), 1),
        ((FAILED, REFUSED, CHANGED), 4),
        ((CHANGED,), 0),
    ],
)
def test_6_is_for_a_run_without_changes_that_only_the_environment_blocks(
    statuses: tuple[ItemStatus, ...], code: int
) -> None:
    assert report(*statuses, blocked=True).exit_code == code


@pytest.mark.parametrize("verb", ["check", "diff", "apply"])
def test_a_finding_of_level_error_is_not_compliant(verb: str) -> None:
    codes = {level: report(COMPLIANT, verb=verb, finding=level).exit_code for level in Level}
    assert codes == {Level.ERROR: 3, Level.WARNING: 0, Level.NOTE: 0}


def test_remaining_items_take_precedence_over_a_finding() -> None:
    assert report(CHANGED, EDITED, finding=Level.ERROR).exit_code == 4
    assert report(FAILED, blocked=True, finding=Level.ERROR).exit_code == 6


@pytest.mark.parametrize("status", ItemStatus)
def test_a_missing_resource_blocks_k3s_and_an_edited_file_does_not(status: ItemStatus) -> None:
    assert report(COMPLIANT, status).is_ready == (status not in {DIFFERS, REFUSED, FAILED})


@pytest.mark.parametrize("level", Level)
def test_only_a_finding_with_blocks_gate_blocks_k3s(level: Level) -> None:
    assert not replace(report(), findings=(found(level, blocks_gate=True),)).is_ready
    assert replace(report(), findings=(found(level, prevents_start=True),)).is_ready


@pytest.mark.parametrize("level", Level)
def test_a_finding_that_prevents_the_start_exits_with_3(level: Level) -> None:
    findings = (found(level, prevents_start=True),)
    codes = {verb: replace(report(verb=verb), findings=findings).exit_code for verb in ("check", "diff", GATE_VERB)}
    assert codes == {"check": 3, "diff": 3, GATE_VERB: 0}


def test_the_gate_exits_with_0_only_if_k3s_may_start() -> None:
    """This is true for any two statuses and any finding. systemd starts K3s only after exit code 0."""
    for first, other, finding, holds in product(ItemStatus, ItemStatus, (None, *Level), (False, True)):
        seen = report(first, other, verb=GATE_VERB, finding=finding)
        seen = replace(seen, findings=tuple(f._replace(blocks_gate=holds) for f in seen.findings))
        assert (seen.exit_code == 0) == seen.is_ready


def test_a_gate_exits_with_3_if_only_findings_and_edited_files_block_k3s() -> None:
    blocking = found(Level.ERROR, blocks_gate=True)
    cases = {(): 3, (CHANGED, EDITED): 3, (EDITED, FAILED): 1, (CHANGED, EDITED, REFUSED): 4}
    for statuses, code in cases.items():
        assert replace(report(*statuses, verb=GATE_VERB), findings=(blocking,)).exit_code == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HardenError("m"), 1),
        (HostError("m"), 1),
        (UsageError("m"), 2),
        (InputError(Location(PurePosixPath("/etc/k3s-harden/config.yaml"), 3), "p"), 2),
        (LockHeldError("m"), 5),
        (ReadOnlyEnvironmentError("m"), 6),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_error_has_its_exit_code(error: HardenError, code: int) -> None:
    assert error.exit_code == code
    assert repair_texts.text(error.repair) == ""


def test_the_exit_codes_are_those_of_the_table() -> None:
    """Scripts of users depend on the numbers; each has a meaning."""
    names = ["COMPLIANT", "ERROR", "USAGE", "NOT_COMPLIANT", "PARTIAL", "LOCKED", "ENVIRONMENT"]
    assert {code.name: int(code) for code in ExitCode} == {name: number for number, name in enumerate(names)}
    assert len({code.meaning for code in ExitCode}) == len(ExitCode)


_SETTING = Set("pod-max-pids", "4096", Location(PurePosixPath("/etc/k3s-harden/config.yaml")))


@pytest.mark.parametrize(
    ("repair", "owner"),
    [
        (Repair((RunVerb("apply"),)), FixOwner.APPLY),
        (Repair((RunVerb("apply", ("--force",)),)), FixOwner.OPERATOR),
        (Repair((_SETTING, RunVerb("apply"))), FixOwner.OPERATOR),
        (Repair((), Restart.K3S), FixOwner.OPERATOR),
        (Repair((), Restart.START), FixOwner.K3S),
        (NO_REPAIR, FixOwner.NONE),
    ],
)
def test_the_owner_is_who_carries_out_all_steps(repair: Repair, owner: FixOwner) -> None:
    assert repair.owner is owner
