"""The language of the program: short summaries, complete help, and phrases that texts must not contain."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from agent.cli.application import application
from agent.cli.declared import COMMANDS
from agent.errors import ExitCode
from tests import generate_docs

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = generate_docs.CHECKOUT
SUMMARY_LENGTH = 45
WIDTH = 80

DENIED = {
    "anew": "again",
    "as wanted": "compliant",
    "bring about": "fix, cause",
    "bring it about": "fix it",
    "brings about": "fixes, causes",
    "brings it about": "fixes it",
    "brought about": "fixed, caused",
    "by half a memory": "from an incomplete journal",
    "can get at": "permissions are too open",
    "cannot be told": "could not be determined",
    "could not be told": "could not be determined",
    "counts no more": "expired",
    "culprit": "likely cause",
    "does the whole guide": "applies the full hardening guide",
    "for whoever": "for",
    "has it that": "requires",
    "holds k3s": "blocks K3s",
    "how that is known": "detected from",
    "is for nothing": "matches no control",
    "is no key of": "is not a valid option",
    "keep down": "block",
    "keep k3s down": "block K3s",
    "keeps k3s down": "blocks K3s",
    "kept down": "blocked",
    "lest": "so that … not",
    "let past": "release",
    "lies on the host": "path on the host",
    "likely brought": "likely cause",
    "nobody's": "unowned",
    "not let in": "not readable",
    "nothing to do writes nothing": "makes no changes if the host is already compliant",
    "of ours": "of k3s-harden",
    "otherwise than": "different from",
    "partly applied": "partially applied",
    "partly reverted": "partially reverted",
    "put up with": "waive",
    "puts up with": "waives",
    "runs since before": "changed after K3s started",
    "say --": "pass --",
    "stands otherwise": "changed",
    "stands with": "is listed with",
    "tells of": "reports",
    "the way back": "revert, undo plan",
    "to know of": "notes",
    "what brings": "remediation",
    "what ends up": "effective",
    "what wins": "effective configuration",
    "who acts": "owner of the fix",
    "who is this host": "host facts",
}
"""Phrases of the old texts, in lower case, with the term that replaces each. Ordinary English is not in the list."""

_DENIED = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, DENIED))})(?!\w)")

CODE = sorted((ROOT / "agent").rglob("*.py"))
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
TEXTS = sorted(
    path
    for path in (
        *ROOT.glob("README.md"),
        *ROOT.glob("CONTRIBUTING.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "systemd").rglob("*"),
    )
    if path.is_file() and "adr" not in path.parts
)
VERBS = {command.name: command for command in generate_docs.commands()}


def denied(text: str) -> list[str]:
    """Return the denied phrases of a text; line breaks in it do not matter."""
    return _DENIED.findall(" ".join(text.split()).lower())


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each string literal; an f-string yields its constant parts."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_the_list_finds_a_phrase_across_lines_and_only_as_whole_words() -> None:
    """Texts are wrapped, and a phrase may be part of a longer word."""
    assert denied("the host is as\n    Wanted") == ["as wanted"]
    assert denied("Molesters knew, and so did the harvest.") == []


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_string_literals_use_the_terms_of_the_glossary(path: Path) -> None:
    """Messages, help, explanations and docstrings contain no denied phrase."""
    found = [f"{line}: {phrase} -> {DENIED[phrase]}" for line, text in literals(path) for phrase in denied(text)]
    assert found == []


def test_tests_use_the_terms_of_the_glossary() -> None:
    """Docstrings, messages and sample texts of the tests contain no denied phrase."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {phrase} -> {DENIED[phrase]}"
        for path in TESTS
        for line, text in literals(path)
        for phrase in denied(text)
    ]
    assert found == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_use_the_terms_of_the_glossary(path: Path) -> None:
    """Documents and unit files contain no denied phrase; decision records are not changed."""
    found = [f"{phrase} -> {DENIED[phrase]}" for phrase in denied(path.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_summary_of_a_verb_fits_the_list_of_commands(verb: str) -> None:
    """`--help` truncates longer summaries on a terminal with 80 columns."""
    assert 0 < len(VERBS[verb].summary) <= SUMMARY_LENGTH


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_is_complete_at_80_columns(verb: str) -> None:
    """No line is truncated or too long, and a verb has an example and its exit codes."""
    run = CliRunner().invoke(
        application(COMMANDS), [*filter(None, [verb]), "--help"], env={"COLUMNS": str(WIDTH)}, prog_name="k3s-harden"
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
