"""The table of severities."""

from __future__ import annotations

import csv
from pathlib import Path

from agent.benchmark import severity
from agent.benchmark.catalogue import CATALOGUE
from agent.benchmark.severity import Severity, rating

TABLE = Path(severity.__file__).with_name("severities.tsv")


def test_each_control_has_one_severity_with_a_reason() -> None:
    """A new control requires a row; a control that was removed, or that two rows name, is an error."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert sorted(name for row in rows for name in row["controls"].split(" ")) == sorted(row.id for row in CATALOGUE)
    assert all(row["reason"].endswith(".") for row in rows)
    assert [row["severity"] for row in rows] == sorted(
        (row["severity"] for row in rows), key=lambda step: list(Severity).index(Severity(step))
    )
    assert all(rating(control.id).reason for control in CATALOGUE)
