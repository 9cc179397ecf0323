"""Rows that need a manual review."""

from __future__ import annotations

import re

import pytest

from agent.assess.benchmark.cluster_policies import MANUAL
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.checks.check import Manual

each_row = pytest.mark.parametrize("row", MANUAL, ids=lambda row: row.id)


@each_row
def test_each_row_has_one_sentence_about_the_review(row: BenchmarkControl) -> None:
    assert isinstance(row.check, Manual)
    assert not row.earlier
    look = row.check.review
    assert 40 <= len(look) <= 400
    assert re.match(r"(Compare|Find|Read|Run) ", look)
    for text in (look, row.why):
        assert text.endswith(".")
        assert not any(mark in text for mark in ("  ", "\n", "{", "}", "<"))
    assert row.caution == ""
    assert not row.title.endswith(".")
