"""The exit code follows from the report and from nothing else."""

from __future__ import annotations

from itertools import product
from pathlib import PurePosixPath

import pytest

from agent.errors import (
    ExitCode,
    HardenError,
    HostError,
    InputError,
    LockHeldError,
    ReadOnlyEnvironmentError,
    UsageError,
)
from agent.model import Location
from agent.report import GATE_VERB, Finding, Item, ItemStatus, Level, Report

AS_WANTED, DIFFERS, REFUSED = ItemStatus.COMPLIANT, ItemStatus.DIFFERS, ItemStatus.REFUSED
EDITED, CHANGED, KEPT, FAILED = ItemStatus.EDITED, ItemStatus.CHANGED, ItemStatus.KEPT, ItemStatus.FAILED


def report(*statuses: ItemStatus, verb: str = "apply", blocked: bool = False, finding: Level | None = None) -> Report:
    """A report with one item of each status; those that failed are blocked by the environment, or not."""
    items = [Item(f"/{n}", s, blocked_by_environment=blocked and s is FAILED) for n, s in enumerate(statuses)]
    findings = (
        ()
        if finding is None
        else (Finding("a-finding", finding, blocks_gate=False, prevents_start=False, message="m"),)
    )
    return Report(verb=verb, writes=verb not in {"check", "diff"}, facts=(), items=tuple(items), findings=findings)


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ((), 0),
        ((AS_WANTED,), 0),
        ((DIFFERS,), 3),
        ((AS_WANTED, REFUSED), 3),
        ((EDITED,), 3),
        ((DIFFERS, EDITED, REFUSED, AS_WANTED), 3),
    ],
)
def test_a_verb_that_looks_says_0_or_3(statuses: tuple[ItemStatus, ...], code: int) -> None:
    """0 only where nothing at all differs."""
    assert report(*statuses, verb="check").exit_code == report(*statuses, verb="diff").exit_code == code


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ((), 0),
        ((AS_WANTED, AS_WANTED), 0),
        ((CHANGED, AS_WANTED), 0),
        ((KEPT, CHANGED), 0),
        ((KEPT,), 0),
        ((FAILED,), 1),
        ((FAILED, AS_WANTED), 1),
        ((FAILED, EDITED), 1),
        ((CHANGED, FAILED), 4),
        ((CHANGED, REFUSED), 4),
        ((CHANGED, EDITED), 4),
        ((AS_WANTED, EDITED), 4),
        ((REFUSED, AS_WANTED), 1),
        ((REFUSED, EDITED), 1),
        ((EDITED,), 4),
        ((CHANGED, DIFFERS), 3),
    ],
)
def test_a_verb_that_writes_says_what_is_left(statuses: tuple[ItemStatus, ...], code: int) -> None:
    """1 where something failed or was refused and nothing was changed, 4 where something else is left.

    3 where somebody changed it back meanwhile.
    """
    assert report(*statuses).exit_code == code


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ((FAILED,), 6),
        ((FAILED, FAILED, CHANGED, AS_WANTED), 6),
        ((FAILED, EDITED), 1),
        ((FAILED, REFUSED, CHANGED), 4),
        ((CHANGED,), 0),
    ],
)
def test_6_is_for_a_run_that_the_environment_alone_held_up(statuses: tuple[ItemStatus, ...], code: int) -> None:
    """Whatever else is left can be put right from here, which is more useful to know."""
    assert report(*statuses, blocked=True).exit_code == code


@pytest.mark.parametrize("verb", ["check", "diff", "apply"])
def test_an_error_among_the_findings_is_not_as_wanted(verb: str) -> None:
    """A warning or a note is no error."""
    codes = {level: report(AS_WANTED, verb=verb, finding=level).exit_code for level in Level}
    assert codes == {Level.ERROR: 3, Level.WARNING: 0, Level.NOTE: 0}


def test_what_is_left_counts_for_more_than_a_finding() -> None:
    """The script that applied must know that it has to come back."""
    assert report(CHANGED, EDITED, finding=Level.ERROR).exit_code == 4
    assert report(FAILED, blocked=True, finding=Level.ERROR).exit_code == 6


@pytest.mark.parametrize("status", ItemStatus)
def test_what_is_not_in_place_keeps_k3s_down(status: ItemStatus) -> None:
    """But not a hand-edited file: whoever edits a policy must not find the node dead at its next restart."""
    assert report(AS_WANTED, status).is_ready == (status not in {DIFFERS, REFUSED, FAILED})


@pytest.mark.parametrize("level", Level)
def test_a_finding_keeps_k3s_down_only_if_it_says_so(level: Level) -> None:
    """Whatever its level: what only the next boot would undo does not."""
    holding = Finding("f", level, blocks_gate=True, prevents_start=False, message="m")
    assert not report()._replace(findings=(holding,)).is_ready
    assert report()._replace(findings=(holding._replace(blocks_gate=False),)).is_ready


def test_the_gate_says_0_exactly_when_k3s_may_start() -> None:
    """For any two statuses and any finding; systemd starts K3s on 0 and on nothing else."""
    for one, other, finding, holds in product(ItemStatus, ItemStatus, (None, *Level), (False, True)):
        seen = report(one, other, verb=GATE_VERB, finding=finding)
        seen = seen._replace(findings=tuple(f._replace(blocks_gate=holds) for f in seen.findings))
        assert (seen.exit_code == 0) == seen.is_ready


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
    """And its message starts as all do, with the hint apart."""
    assert error.exit_code == code
    assert error.hint == ""


def test_an_input_error_names_its_location() -> None:
    """Path and line, then what is wrong."""
    error = InputError(Location(PurePosixPath("/a"), 3), "no such key", "remove it")
    assert (str(error), error.location, error.problem, error.hint) == (
        "cannot use /a:3: no such key",
        Location(PurePosixPath("/a"), 3),
        "no such key",
        "remove it",
    )


def test_the_exit_codes_are_those_of_the_table() -> None:
    """Scripts of users depend on the numbers; each has a meaning."""
    assert {code.name: int(code) for code in ExitCode} == {
        "COMPLIANT": 0,
        "ERROR": 1,
        "USAGE": 2,
        "NOT_COMPLIANT": 3,
        "PARTIAL": 4,
        "LOCKED": 5,
        "ENVIRONMENT": 6,
    }
    assert len({code.meaning for code in ExitCode}) == len(ExitCode)
