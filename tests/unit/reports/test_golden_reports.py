"""Sample reports in each format, compared with golden files, which UPDATE_GOLDEN=1 writes again.

Review each changed file: it is what users get. The files have the version 0.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent import __version__
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format, Verbosity
from agent.reports.repair_texts import Caller
from tests.unit.reports import reports, test_fleet_report, test_preflight_report
from tests.unit.reports.assessments.samples import FULL

GOLDEN = Path(__file__).with_name("golden")
ON_A_TREE = Caller(options=("--root /mnt", "--k3s-version v1.37"))
NORMAL, VERBOSE = Verbosity.NORMAL, Verbosity.VERBOSE


def assessed(output_format: Format, verbosity: Verbosity = NORMAL) -> Callable[[], str]:
    return lambda: assessment_text(FULL, output_format, verbosity)


SHOWN: dict[str, Callable[[], str]] = {
    "assessment.plain.txt": assessed(Format.PLAIN),
    "assessment.plain-verbose.txt": assessed(Format.PLAIN, VERBOSE),
    "assessment.table.txt": assessed(Format.TABLE),
    "assessment.table-verbose.txt": assessed(Format.TABLE, VERBOSE),
    "assessment.junit.xml": assessed(Format.JUNIT),
    "assessment.kube-bench.json": lambda: json.dumps(json.loads(assessed(Format.KUBE_BENCH)()), indent=1) + "\n",
    "assessment.openreports.json": assessed(Format.OPENREPORTS),
    "assessment.prom": assessed(Format.OPENMETRICS),
    "report.plain.txt": lambda: reports.shown(reports.FULL),
    "report.table.txt": lambda: reports.shown(reports.FULL, Format.TABLE),
    "report.table-verbose.txt": lambda: reports.shown(reports.FULL, Format.TABLE, VERBOSE),
    "preflight.plain.txt": lambda: test_preflight_report.shown(test_preflight_report.FULL, caller=lambda: ON_A_TREE),
    "preflight.table-verbose.txt": lambda: test_preflight_report.shown(
        test_preflight_report.FULL, Format.TABLE, VERBOSE
    ),
    "fleet.plain.txt": lambda: test_fleet_report.shown(test_fleet_report.MIXED),
    "fleet.table.txt": lambda: test_fleet_report.shown(test_fleet_report.MIXED, Format.TABLE),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_report_equals_its_golden_file(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    text = SHOWN[name]().replace(f'"{__version__}"', '"0"')
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text(encoding="utf-8")
