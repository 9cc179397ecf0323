"""Texts of rows, as in reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.present import remediation

if TYPE_CHECKING:
    from agent.benchmark.control import BenchmarkControl


def fix(row: BenchmarkControl) -> str:
    """Return a row's own remediation; empty if it is derived from the check."""
    return remediation.text(row.repair) if row.repair else ""
