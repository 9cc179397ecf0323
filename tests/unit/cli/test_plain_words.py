"""Plain command lines, compared with what Typer reads."""

from __future__ import annotations

from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from agent.cli.application import application
from agent.cli.declared import COMMANDS
from agent.cli.plain_words import requested
from agent.cli.shared_options import RoleChoice
from agent.present import Format
from agent.value import replace
from tests.generate_docs import commands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SERVICE = "K3S_HARDEN_SERVICE"


def read_plainly(words: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, object] | None:
    """Return the arguments of the command, None if the words are not plain."""
    call = requested(words, environment or {})
    if call is None:
        return None
    assert isinstance(call, partial)
    assert call.func is COMMANDS[words[0]].run
    return {**(COMMANDS[words[0]].run.__kwdefaults__ or {}), **call.keywords}


def read_by_typer(words: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, object] | None:
    """Return the arguments of the command, None for a usage error or help."""
    name = words[0]
    called = []
    run = wraps(COMMANDS[name].run)(lambda **arguments: called.append(arguments))
    # The other commands keep the command's name on the command line.
    app = application({**COMMANDS, name: replace(COMMANDS[name], run=run)})
    CliRunner().invoke(app, words, env=environment)
    return called[0] if called else None


OPTIONS = sorted({name for one in commands() for option in one.options for name in option.names} | {"--nonsense", "--"})
VALUES = ["server", "json", "SERVER", "1.34", "/srv/tree", "a=b", "", "-", "-x", "--force", "--", "ä", " x", "@f", "7"]
WORDS = st.one_of(
    st.tuples(st.sampled_from(OPTIONS)),
    st.tuples(st.sampled_from(OPTIONS), st.sampled_from(VALUES)),
    st.builds("{}={}".format, st.sampled_from(OPTIONS), st.sampled_from(VALUES)).map(lambda word: (word,)),
    st.tuples(st.sampled_from([*VALUES, "-vq", "-qv", "--help", "-h"])),
)


@given(
    st.sampled_from(sorted(COMMANDS)),
    st.lists(WORDS, max_size=4).map(lambda parts: [word for part in parts for word in part]),
    st.sampled_from([{SERVICE: ""}, {SERVICE: "k3s.service"}]),
)
@example("check", ["--role", "server", "--root=/srv", "-v", "--format", "json"], {SERVICE: ""})
@example("check", ["--role", "--force"], {SERVICE: ""})
@example("gate", [], {SERVICE: "k3s.service"})
@example("gate", ["--service", "k3s-east"], {SERVICE: "k3s.service"})
def test_a_plain_command_line_is_read_as_typer_reads_it(
    name: str, words: list[str], environment: dict[str, str]
) -> None:
    """The command gets equal arguments, or the line is not plain."""
    plain = read_plainly([name, *words], environment)
    if plain is not None:
        assert plain == read_by_typer([name, *words], environment)


def test_the_usual_command_lines_are_plain() -> None:
    """Values have the types of the parameters."""
    words = ["check", "--root", "/srv", "--role=agent", "--config", "site.yaml", "--format", "plain", "-v"]
    found = read_plainly(words)
    assert found is not None
    assert (found["root"], found["role"], found["config"]) == ("/srv", RoleChoice.AGENT, Path("site.yaml"))
    assert (found["output_format"], found["verbose"], found["quiet"]) == (Format.PLAIN, True, False)
    for line in (["apply"], ["check"], ["assess"], ["drift"], ["gate"], ["diff", "--force"]):
        assert read_plainly(line) is not None


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--version"],
        ["chekc"],
        ["check", "--help"],
        ["check", "--rot", "/"],
        ["check", "--root"],
        ["check", "--root", ""],
        ["check", "--root", "--verbose"],
        ["check", "--role", "master"],
        ["check", "--verbose=yes"],
        ["check", "-v", "--verbose"],
        ["check", "-vq"],
        ["check", "now"],
        ["explain"],
        ["service-accounts", "--wait", "3"],
        ["install", "--unit", "k3s.service"],
    ],
)
def test_all_other_command_lines_are_not(words: list[str]) -> None:
    """Typer reports errors, prints help, and reads arguments, numbers and repeated options."""
    assert requested(words, {}) is None
