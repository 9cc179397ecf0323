"""A preflight as plain lines, table and JSON, validated against docs/reference/preflight.schema.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import PurePosixPath

import pytest

from agent.base.model import Location
from agent.base.repair import Instruction, Repair, RunVerb
from agent.base.report import Fact, Finding, Item, ItemStatus, Level, NextStep, Trait
from agent.harden.plan.preflight_result import Preflight, PreflightProblem
from agent.k3s.upgrade_notes import NOTES
from agent.reports.formats import REPORT_FORMATS, Format, Verbosity
from agent.reports.preflight_report import present_preflight
from agent.reports.repair_texts import Caller, called_by
from tests.json_schemas import schema, validator
from tests.unit.reports.reports import Stream

SCHEMA = schema("preflight")
REPORT_SCHEMA = schema("report")
VALIDATOR = validator("preflight")

CONFIG = PurePosixPath("/etc/rancher/k3s/config.yaml")
BROKEN = Finding(
    "broken",
    Level.ERROR,
    blocks_gate=False,
    prevents_start=True,
    message="K3s does not start",
    found="x\ny",
    location=Location(CONFIG, 3),
    repair=Repair((Instruction("remove x", Location(CONFIG, 3)),)),
)
FIXED = BROKEN._replace(id="fixed", location=None, repair=Repair((RunVerb("apply"),)))
WEAK = BROKEN._replace(prevents_start=False)
CALM = Preflight((Fact("role", "agent", "given"),), "", "v1.37", (), (), (), ())
FULL = Preflight(
    facts=(Fact("role", "server", "given"), Fact("K3s version", "v1.34.1", "given")),
    current="v1.34.1",
    target="v1.37",
    problems=(
        PreflightProblem(BROKEN, fixed_by_apply=False, is_new=True),
        PreflightProblem(BROKEN._replace(id="weak", level=Level.WARNING, prevents_start=False), False, True),
        PreflightProblem(FIXED, fixed_by_apply=True, is_new=True),
    ),
    changes=(
        Item("/a", ItemStatus.DIFFERS, "content"),
        Item("/b", ItemStatus.REFUSED, "it is a symlink", Repair((Instruction("remove it"),))),
    ),
    left=(
        Item("/b", ItemStatus.REFUSED, "it is a symlink", Repair((Instruction("remove it"),))),
        Item("/c", ItemStatus.DIFFERS, "mode"),
    ),
    notes=NOTES[:1],
)


def shown(
    result: Preflight,
    output_format: Format = Format.PLAIN,
    verbosity: Verbosity = Verbosity.NORMAL,
    caller: Callable[[], Caller] = Caller,
) -> str:
    stream = Stream()
    with called_by(caller):
        present_preflight(result, output_format, verbosity, stream)
    return stream.text


def test_facts_items_and_locations_are_those_of_a_report() -> None:
    for name in ("fact", "item", "location"):
        assert SCHEMA["$defs"][name] == REPORT_SCHEMA["$defs"][name]
    own, others = (schema["$defs"]["finding"]["required"] for schema in (SCHEMA, REPORT_SCHEMA))
    assert own == [*others, "fixed_by_apply", "is_new"]


@pytest.mark.parametrize("result", [FULL, CALM])
def test_the_json_is_valid(result: Preflight) -> None:
    printed = shown(result, Format.JSON)
    assert printed.isascii()
    parsed = json.loads(printed)
    VALIDATOR.validate(parsed)
    assert (parsed["would_start"], parsed["stays_hardened"]) == (result.would_start, result.stays_hardened)
    assert parsed["exit_code"] == int(result.exit_code) == (0 if result is CALM else 3)


def test_quiet_prints_only_the_result() -> None:
    for result, code in ((FULL, 3), (CALM, 0)):
        (line,) = shown(result, verbosity=Verbosity.QUIET).splitlines()
        assert line.startswith(f"result {code}: ")
        assert len(shown(result, Format.TABLE, Verbosity.QUIET).split("\n\n")) == 1


def test_the_commands_of_items_repeat_the_options_of_the_run() -> None:
    edited = Item("/a", ItemStatus.EDITED, "content", Repair((RunVerb("apply", ("--force",)),)))
    result = FULL._replace(changes=(edited,), left=(edited,))
    parsed = json.loads(shown(result, Format.JSON, caller=lambda: Caller(options=("--root /mnt",))))
    for item in (*parsed["changes"], *parsed["left_after_apply"]):
        assert item["repair"]["text"] == "sudo k3s-harden apply --force --root /mnt"


def test_the_next_steps_end_each_format() -> None:
    result = FULL._replace(next_steps=(NextStep(RunVerb("apply"), "apply the hardening"),))
    command = "sudo k3s-harden apply --root /mnt"
    formats = [shown(result, format_, caller=lambda: Caller(options=("--root /mnt",))) for format_ in REPORT_FORMATS]
    assert f"next 1: apply the hardening: {command}\n" in formats[0]
    assert f"  1. apply the hardening:\n     {command}\n" in formats[1]
    (step,) = json.loads(formats[3])["next_steps"]
    assert (step["kind"], step["text"], step["command"]) == ("run-verb", "apply the hardening", command)


def test_the_facts_are_shown_on_request() -> None:
    assert shown(FULL, verbosity=Verbosity.VERBOSE).splitlines()[1] == "fact role: server (given)"


def test_the_table_of_a_compliant_host_says_that_k3s_would_start() -> None:
    known = CALM._replace(current="v1.36")
    assert "✔ K3s v1.37 would start, and the host is compliant." in shown(known, Format.TABLE)


def test_an_unknown_current_version_is_reported_in_the_result() -> None:
    """Then the steps between the versions could not be checked."""
    text = "steps between versions could not be checked, because the current version is unknown"
    assert text in shown(CALM)
    assert text not in shown(CALM._replace(current="v1.36"))


def test_an_incomplete_check_is_reported() -> None:
    unknown = BROKEN._replace(id="component-arguments-not-checked", level=Level.NOTE, prevents_start=False)
    unknown = unknown._replace(traits=Trait.NOT_CHECKED)
    result = CALM._replace(problems=(PreflightProblem(unknown, fixed_by_apply=False, is_new=False),))
    assert not result.is_complete
    assert "would start as far as it could be checked, and" in shown(result)
    assert CALM.is_complete


@pytest.mark.parametrize(
    ("finding", "fixed_by_apply", "would_start", "stays_hardened"),
    [
        (BROKEN, True, True, True),
        (BROKEN, False, False, True),
        (WEAK, False, True, False),
        (WEAK._replace(level=Level.NOTE), False, True, True),
    ],
)
def test_the_result_depends_on_problems_that_apply_cannot_fix(
    finding: Finding, *, fixed_by_apply: bool, would_start: bool, stays_hardened: bool
) -> None:
    result = CALM._replace(problems=(PreflightProblem(finding, fixed_by_apply=fixed_by_apply, is_new=True),))
    assert (result.would_start, result.stays_hardened) == (would_start, stays_hardened)
    assert int(result.exit_code) == (0 if would_start and stays_hardened else 3)
