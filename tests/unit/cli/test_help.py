"""Help texts: short summaries and complete pages."""

from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner

from agent.base.errors import ExitCode
from agent.cli.command_line import whole_program
from agent.k3s.cis.versions import Benchmark
from tests.programs_here import ran
from tests.scenarios.host_tree import run
from tests.tools import generate_docs

SUMMARY_LENGTH = 45
WIDTH = 80
VERBS = {command.name: command for command in generate_docs.commands()}
OWN_CODES = {
    **{key: {ExitCode.NOT_COMPLIANT, ExitCode.ENVIRONMENT} for key in ("assess", "assess-node")},
    **{key: {ExitCode.NOT_COMPLIANT} for key in ("fleet", "gate", "impact", "preflight")},
    "revert": {ExitCode.NOT_COMPLIANT, ExitCode.PARTIAL},
}
"""Exit codes above 1 that mean something else for a verb than for the others."""


@pytest.mark.parametrize("verb", VERBS)
def test_the_summary_of_a_verb_fits_the_list_of_commands(verb: str) -> None:
    """`--help` truncates longer summaries on a terminal with 80 columns."""
    assert 0 < len(VERBS[verb].summary) <= SUMMARY_LENGTH


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_is_complete_at_80_columns(verb: str) -> None:
    run = CliRunner().invoke(
        whole_program(), [*verb.split(), "--help"], env={"COLUMNS": str(WIDTH)}, prog_name="k3s-harden"
    )
    lines = run.output.splitlines()
    assert run.exit_code == 0
    assert max(map(len, lines)) <= WIDTH
    assert not [line for line in lines if line.endswith("...") and not line.startswith("Usage: ")]
    if verb:
        assert "k3s-harden" in VERBS[verb].example
        codes = {int(code): meaning for code, meaning in VERBS[verb].exit_codes}
        assert codes.keys() >= {ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE}
        undone = codes[ExitCode.ERROR].endswith("or every change was undone")
        assert undone == (ExitCode.PARTIAL in codes and verb != "revert")
        others = {code for code in ExitCode if code > ExitCode.ERROR and code in codes}
        assert {code for code in others if codes[code] != code.meaning} == OWN_CODES.get(verb, set())


def test_help_fits_a_terminal_with_40_columns() -> None:
    """No text is truncated: those of options and commands are below their names. An example can be pasted."""
    for words in ((), *(verb.split() for verb in VERBS)):
        shown = run(*words, "--help", environment={"COLUMNS": "40"}).stdout
        lines = [line for line in shown.splitlines() if not line.startswith("Usage: ")]
        assert max(map(len, lines)) <= 40
        assert not [line for line in lines if line.endswith("...") and not line.endswith(("[ARGS]...", "[SOURCE]..."))]
    assert "Settings file." in run("check", "--help", environment={"COLUMNS": "40"}).stdout


@pytest.mark.parametrize("columns", ["40", "80", "120"])
def test_help_lists_each_verb_below_its_topic(columns: str) -> None:
    shown = run("--help", environment={"COLUMNS": columns}).stdout.splitlines()
    titles = ("Harden:", "Start:", "Verify:", "Fleet:", "Reference:")
    assert [line for line in shown if line in titles] == [*titles]
    rows = [line.split()[0] for line in shown[shown.index("Harden:") :] if line.startswith("  ") and line[2] != " "]
    visible = [name for name, command in VERBS.items() if not command.hidden and " " not in name]
    assert rows[: len(visible)] == sorted(visible, key=rows.index)
    assert not any(line.endswith(" ") for line in shown)


def test_a_verb_with_an_option_loads_no_other_command() -> None:
    """The documents of `render` took a fifth of the time of `assess`."""
    program = (
        "import sys; sys.argv = ['k3s-harden', 'check', '--root', '/none']\n"
        "from agent.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print([name for name in sys.modules if 'render' in name])"
    )
    assert ran(sys.executable, "-c", program).stdout == "[]\n"


def test_the_help_of_assess_names_the_oldest_and_the_newest_benchmark() -> None:
    oldest, *_, newest = Benchmark
    shown = CliRunner().invoke(whole_program(), ["assess", "--help"]).output
    assert f"CIS benchmark, {oldest} to {newest};" in " ".join(shown.split())
