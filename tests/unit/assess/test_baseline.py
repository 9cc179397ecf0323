"""The baseline: an earlier JSON report of an assessment."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import __version__
from agent.assess.assessment import ControlStatus
from agent.assess.baseline import Baseline, OtherSchemaError, parse_baseline
from agent.assess.evidence.host_assessment import load_baseline
from agent.assess.provenance import FileContent
from agent.base.errors import ExitCode, InputError
from agent.base.value import replace
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format
from tests.fake import fake_host
from tests.unit.assessed import BENCHMARK, CERTIFICATES, KEYS, OVERCOMMIT, VERSION, WHEN, assessment, verdict

WHERE = PurePosixPath("/tmp/report.json")  # noqa: S108 - is never opened
REPORT = assessment_text(
    assessment(verdict(CERTIFICATES, ControlStatus.FAIL), verdict(KEYS), verdict(OVERCOMMIT, ControlStatus.UNKNOWN)),
    Format.JSON,
).encode()


def test_a_report_is_parsed() -> None:
    assert parse_baseline(REPORT, WHERE) == Baseline(
        benchmark=str(BENCHMARK),
        node="node-1",
        when=WHEN,
        facts={"role": "server", "K3s version": VERSION},
        statuses=dict(zip((CERTIFICATES.id, KEYS.id, OVERCOMMIT.id), map(ControlStatus, ("FAIL", "PASS", "UNKNOWN")))),
        known={CERTIFICATES.id: frozenset(), OVERCOMMIT.id: frozenset()},
        version=__version__,
        verdicts=parse_baseline(REPORT, WHERE).verdicts,
        file=FileContent(WHERE, REPORT, "baseline, not verified"),
    )


def test_a_baseline_is_of_this_machine_and_not_old() -> None:
    """A signed report of another node would hide the failures of this one."""
    own = replace(parse_baseline(REPORT, WHERE), machine="a" * 32)
    own.require_use("a" * 32, WHEN + 86_400, 1, of_another=False)
    own.require_use("b" * 32, WHEN, 1, of_another=True)
    for baseline, machine, now, message in (
        (own, "b" * 32, WHEN, "it is a report of the machine"),
        (own, "", WHEN, "a machine id, which this host lacks"),
        (replace(own, machine=""), "", WHEN, "of an unknown machine"),
        (own, "a" * 32, WHEN + 2 * 86_400, "2 days old, expected at most 1"),
    ):
        with pytest.raises(InputError) as raised:
            baseline.require_use(machine, now, 1, of_another=False)
        assert message.removeprefix("it is ") in str(raised.value)


def spoilt(**changes: object) -> bytes:
    """Return the report with some values replaced, without its digest, as an older version wrote it."""
    report = {**json.loads(REPORT), **changes}
    return json.dumps({key: value for key, value in report.items() if key != "sha256" or key in changes}).encode()


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"[]", b"null", b"\xff\xfe", b'"schema"', b"[" * 100_000, b'{"schema": 2}'),
        REPORT[: len(REPORT) // 2],
        *(spoilt(time="yesterday"), spoilt(time=None), spoilt(facts={"role": "server"}), spoilt(facts=[1])),
        *(spoilt(verdicts=None), spoilt(verdicts=[{"id": "x"}]), spoilt(verdicts=[["x", "PASS"]])),
        spoilt(verdicts=[{"id": "x", "status": "FINE", "is_open": False}]),
    ],
)
def test_an_invalid_report_is_rejected(data: bytes) -> None:
    """A truncated file must not let a pipeline pass."""
    with pytest.raises(InputError, match=f"^cannot use {WHERE}: it is not a report of an assessment$") as caught:
        parse_baseline(data, WHERE)
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("kept", [[], [CERTIFICATES.id, OVERCOMMIT.id]], ids=["none", "the-open-ones"])
def test_a_report_without_some_of_its_controls_is_rejected(kept: list[str]) -> None:
    """Otherwise each missing control would be one of a newer version, whose failure does not change the exit code."""
    verdicts = [load for load in json.loads(REPORT)["verdicts"] if load["id"] in kept]
    with pytest.raises(InputError, match=f"it is incomplete: found {len(kept)} controls, expected 3$"):
        parse_baseline(spoilt(verdicts=verdicts), WHERE)


@pytest.mark.parametrize("spelling", [{}, {"indent": 7, "ensure_ascii": False, "sort_keys": True}])
def test_a_report_that_was_changed_by_accident_is_rejected(spelling: Any) -> None:
    """The digest does not depend on white space, escapes and the order of keys."""
    report = json.loads(REPORT)
    assert parse_baseline(json.dumps(report, **spelling).encode(), WHERE).statuses
    report["verdicts"][0]["found"] = "another value"
    with pytest.raises(InputError, match="it was changed after it was written: its sha256 differs"):
        parse_baseline(json.dumps(report, **spelling).encode(), WHERE)


@pytest.mark.parametrize("schema", [4, 0, "2", None])
def test_a_report_of_another_schema_is_rejected(schema: object) -> None:
    """Keys can have another meaning in another schema version."""
    with pytest.raises(OtherSchemaError, match="its schema is"):
        parse_baseline(spoilt(schema=schema), WHERE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@given(key=st.sampled_from(sorted(json.loads(REPORT))), value=JSON)
def test_any_content_is_read_or_raises_an_input_error(key: str, value: Any) -> None:
    try:
        outcome: object = parse_baseline(spoilt(**{key: value}), WHERE)
    except InputError as error:
        outcome = error
    assert isinstance(outcome, (Baseline, InputError))


def test_a_missing_report_is_not_an_empty_one(tmp_path: Path) -> None:
    """The path is one of this machine, not below --root."""
    (tmp_path / "report.json").write_bytes(REPORT)
    host = fake_host(tmp_path / "host")
    assert load_baseline(host, PurePosixPath(tmp_path / "report.json")).statuses
    with pytest.raises(InputError, match="the file does not exist"):
        load_baseline(host, PurePosixPath(tmp_path / "none.json"))
