"""The Typer application, built from the declarations: it reads command lines that are not plain, and prints help."""

# Without `from __future__ import annotations`: options are read from annotations.

import inspect
import typing
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import typer
from typer.core import TyperCommand

from agent import __version__
from agent.cli.declared import Annotated, Command, Option, Optional
from agent.cli.group import TopicCommand, VerbGroup
from agent.cli.streams import print_text


def application(commands: Mapping[str, Command]) -> typer.Typer:
    """Return the application with these commands."""
    app = typer.Typer(
        name="k3s-harden",
        cls=VerbGroup,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="k3s-harden COMMAND --help prints the options, an example and the exit codes of a command.",
    )
    app.callback()(_for_typer(_program))
    for name, command in commands.items():
        cls = TopicCommand if command.takes_any_word else TyperCommand
        app.command(name, cls=cls, epilog=command.epilog.text, hidden=command.hidden)(_for_typer(command.run))
    return app


def _for_typer(function: Callable[..., None]) -> Callable[..., None]:
    """Return the function with Typer's options and arguments in its annotations."""

    @wraps(function)
    def run(**given: object) -> None:
        function(**given)

    signature = inspect.signature(function)
    parameters = [one.replace(annotation=_annotation(one.annotation)) for one in signature.parameters.values()]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _annotation(hint: Any) -> Any:  # noqa: ANN401 - special forms of typing
    """Return the type of a parameter with Typer's declaration."""
    declared, kind = hint.declared, hint.kind
    if isinstance(kind, Optional):  # type: ignore[arg-type] # a class at run time
        kind = typing.Optional[kind.kind]
    if isinstance(declared, Option):
        return typing.Annotated[kind, typer.Option(*declared.names, envvar=declared.envvar, **declared.details)]
    return typing.Annotated[kind, typer.Argument(**declared.details)]


def _version(asked: bool) -> None:
    if asked:
        print_text(f"k3s-harden {__version__}\n")
        raise typer.Exit


def _program(
    *,
    version: Annotated[bool, Option("--version", help="Print the version.", callback=_version, is_eager=True)] = False,
) -> None:
    """Harden a K3s host by the CIS guide, assess it, and undo the changes."""
