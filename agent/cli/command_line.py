"""A command line that Typer reads, and the errors of one that it rejects."""

# Without `from __future__ import annotations`: Typer evaluates the annotations.

import os
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from copy import copy
from functools import cache, partial
from types import SimpleNamespace
from typing import Annotated, Any, NoReturn, cast

import typer
from typer.main import get_command

from agent import __version__
from agent.base.errors import ExitCode, UsageError
from agent.cli.commands import COMMANDS
from agent.cli.shared_options import PROGRAM, Grouped, epilog, expand
from agent.cli.streams import print_text
from agent.k3s.roles_and_versions import OTHER_ROLES
from agent.reports.repair_texts import CALLER, Caller

_COMPLETION = "_K3S_HARDEN_COMPLETE"
"""Environment variable of Typer's protocol for the completion of shells."""
_OTHER_NAMES = {
    "release": f"run {PROGRAM} bypass, the name of `release --once` since 2.0.0",
    "status": f"run {PROGRAM} check, or {PROGRAM} assess for the CIS benchmark",
}
"""What to run instead of a command with a former or an expected name."""

_app = typer.Typer(
    name=PROGRAM,
    cls=Grouped,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,  # `install` writes the scripts; Typer's option would edit files of the user
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"{PROGRAM} COMMAND --help prints the options, an example and the exit codes of a command.",
)


def _print_version(asked: bool) -> None:
    if asked:
        print_text(f"{PROGRAM} {__version__}\n")
        raise typer.Exit


@_app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Harden a K3s host by its hardening guide, assess it by CIS benchmarks, and undo the changes."""


def run(words: list[str]) -> NoReturn:
    """Run a command line and exit. Raises UsageError if it is invalid."""
    CALLER.set(partial(Caller, accepted=repeated_options))
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    elif words == ["version"]:
        words = ["--version"]
    if _COMPLETION in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined] # Typer calls it so, too

        completion_init()
        # For zsh and fish, Typer renders the texts by Rich's Markdown, whose parser the packages do not carry.
        sys.modules["typer.rich_utils"] = cast("Any", SimpleNamespace(rich_render_text=str))
    try:
        if words not in ([], ["render"], ["settings"]) or _COMPLETION in os.environ:
            sys.exit(_program(words)(words, prog_name=PROGRAM, standalone_mode=False) or 0)
        with redirect_stdout(sys.stderr):
            whole_program()([*words, "--help"], prog_name=PROGRAM, standalone_mode=False)
        sys.exit(int(ExitCode.USAGE))
    # Click's UsageError: its module is `click.exceptions` or a copy in Typer, by the release of Typer.
    except typer.BadParameter.__mro__[1] as error:  # type: ignore[misc]
        raise _usage_error(error, words) from error


@cache
def whole_program() -> typer.Typer:
    """Return the program with all commands."""
    from agent.cli.command_groups import documents, settings

    program = _with_commands(*COMMANDS)
    for group in (documents, settings):
        program.add_typer(group, rich_help_panel=COMMANDS["explain"].topic)
    return program


@cache
def repeated_options(verb: str) -> frozenset[str]:
    """Return the options of a command that commands for the reader repeat; none for a group of commands."""
    group: Any = get_command(_program([verb]))
    names = frozenset(name for option in group.commands[verb].params for name in option.opts)
    # The --k3s-version of a preflight is the current version, not the one that the other commands are for.
    return names - {"--k3s-version"} if verb == "preflight" else names


def _program(words: "Sequence[str]") -> typer.Typer:
    """Return the program with the command that a command line runs. Typer takes 1 ms to build each command."""
    return _with_commands(words[0]) if words and words[0] in COMMANDS else whole_program()


def _with_commands(*names: str) -> typer.Typer:
    program = copy(_app)
    program.registered_commands, program.registered_groups = [], []
    for name in names:
        command = COMMANDS[name]
        program.command(
            name,
            help=command.help,
            epilog=epilog(command.example, command.codes, command.success),
            hidden=not command.topic,
            rich_help_panel=command.topic,
            context_settings=dict(command.context),
        )(expand(command.function, command.without))
    return program


def _usage_error(error: Any, words: "Sequence[str]") -> UsageError:  # noqa: ANN401 - as above
    """Return the error of a command line that Typer rejects, with a similar command or option."""
    import difflib

    command: Any = get_command(whole_program())
    called = PROGRAM
    for word in words:
        if word not in getattr(command, "commands", {}):
            break
        command, called = command.commands[word], f"{called} {word}"
    verb = called.removeprefix(PROGRAM).strip()
    commands = getattr(command, "commands", {})
    hint = f"run {called} --help for {'all commands' if commands else 'its options'}"
    unknown = re.match(r"No such (command|option):? '?(.*?)'?(\.|$)", error.message)
    kind, name = (unknown[1], unknown[2]) if unknown else ("", "")
    if not unknown:
        problem = error.format_message().rstrip(".")
        message = f"cannot run {verb or PROGRAM}: {problem[0].lower()}{problem[1:]}"
        choice = re.search(r"'(.*)' is not one of (.*)", error.message)
        name, known = (choice[1], re.findall(r"[\w-]+", choice[2])) if choice else ("", [])
        name = OTHER_ROLES.get(name, name)
        role = re.search(r"extra argument.*\((server|agent)\b", problem)
        hint = f"pass --role {role[1]}" if role else hint
    elif kind == "command":
        message = f"cannot run {name}: {called} has no such command"
        hint = _OTHER_NAMES.get(name, hint) if commands and not verb else hint
        known = [other for other, command in commands.items() if not command.hidden]
    else:
        message = f"cannot use {name}: {verb or PROGRAM} has no such option"
        known = [other for option in command.params for other in option.opts if other.startswith("--")]
        if commands:
            hint = f"options follow the command: {called} COMMAND {name}"
    # Without the dashes, which make all options similar.
    names = {other.lstrip("-"): other for other in known}
    similar = difflib.get_close_matches(name.lstrip("-"), names, n=1, cutoff=0.65)
    return UsageError(message, f"did you mean {names[similar[0]]}?" if similar else hint)
