"""Help texts: short summaries and complete pages."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from agent.cli.commands import app
from agent.errors import ExitCode
from tests import generate_docs

SUMMARY_LENGTH = 45
WIDTH = 80
VERBS = {command.name: command for command in generate_docs.commands()}


@pytest.mark.parametrize("verb", VERBS)
def test_the_summary_of_a_verb_fits_the_list_of_commands(verb: str) -> None:
    """`--help` truncates longer summaries on a terminal with 80 columns."""
    assert 0 < len(VERBS[verb].summary) <= SUMMARY_LENGTH


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_is_complete_at_80_columns(verb: str) -> None:
    """No line is truncated or too long, and a verb has an example and its exit codes."""
    run = CliRunner().invoke(
        app, [*filter(None, [verb]), "--help"], env={"COLUMNS": str(WIDTH)}, prog_name="k3s-harden"
    )
    lines = run.output.splitlines()
    assert run.exit_code == 0
    assert max(map(len, lines)) <= WIDTH
    assert not [line for line in lines if line.endswith("...") and not line.startswith("Usage: ")]
    if verb:
        assert f"k3s-harden{'-check.service' if verb == 'drift' else ''}" in VERBS[verb].example
        codes = {int(code): meaning for code, meaning in VERBS[verb].exit_codes}
        assert codes.keys() >= {ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE}
        assert all(codes.get(code, code.meaning) == code.meaning for code in ExitCode if code)
