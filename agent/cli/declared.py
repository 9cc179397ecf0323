"""Declarations of the commands, their options and their help, without Typer (docs/adr/0022)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from agent.errors import ExitCode
from agent.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Annotated as Annotated  # noqa: PLC0414 - exports it
    from typing import Any
    from typing import Optional as Optional  # noqa: PLC0414

CHANGES = tuple(ExitCode)
"""Exit codes of a verb that changes the host."""

READS = (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE, ExitCode.NOT_COMPLIANT)
"""Exit codes of a verb that compares the host and makes no changes."""

RENDERS = (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE)
"""Exit codes of a verb that does not read the host."""

_WIDTH = 76
_AS_IT_IS = "\b\n"
"""Keeps the line breaks of the paragraph that follows, in Click."""


class Epilog(Value):
    """The end of a verb's help: an example, and the exit codes; `success` is the meaning of 0 for this verb."""

    example: str
    codes: Sequence[ExitCode]
    success: str = ExitCode.COMPLIANT.meaning

    @property
    def text(self) -> str:
        """The text for Click."""
        rows = "\n".join(_row(int(code), code.meaning if code else self.success) for code in self.codes)
        return f"{_AS_IT_IS}Example:\n  {self.example}\n\n{_AS_IT_IS}Exit codes:\n{rows}"


@cache
def _row(code: int, meaning: str) -> str:
    import textwrap

    return textwrap.fill(meaning, _WIDTH, initial_indent=f"  {code}  ", subsequent_indent="     ")


class Option:
    """An option, in the annotation of a parameter. `details` are those of typer.Option."""

    def __init__(self, *names: str, envvar: str | None = None, **details: Any) -> None:  # noqa: ANN401 - Typer's types
        self.names = names
        self.envvar = envvar
        self.details = details


class Argument:
    """A positional argument, in the annotation of a parameter. `details` are those of typer.Argument."""

    def __init__(self, **details: Any) -> None:  # noqa: ANN401 - Typer's types
        self.details = details


if not TYPE_CHECKING:

    class Optional(Value):
        """The type of an option that can be absent: typing, which has the same one, takes 3 ms to import."""

        kind: Any

        def __class_getitem__(cls, kind: Any) -> Optional:  # noqa: ANN401 - a type
            """Return the type of a value that can be None."""
            return cls(kind)

    class Annotated(Value):
        """The type of a parameter, and the option or argument that it is on the command line."""

        kind: Any
        declared: Option | Argument

        def __class_getitem__(cls, both: tuple[Any, Option | Argument]) -> Annotated:
            """Return the annotation of a parameter."""
            return cls(*both)


class Command(Value):
    """A command: its function, whose docstring is its help and whose parameters are its options and arguments."""

    run: Callable[..., None]
    epilog: Epilog
    hidden: bool
    takes_any_word: bool
    """Whether words that look like options are arguments."""


COMMANDS: dict[str, Command] = {}
"""All commands by name, in the order of --help; `agent.cli.commands` declares them."""


def named(word: str) -> Mapping[str, Command]:
    """Return the command of this name, or all if there is none: Typer takes its time for each (docs/adr/0012)."""
    return {word: COMMANDS[word]} if word in COMMANDS else COMMANDS


def command(
    epilog: Epilog, *, hidden: bool = False, takes_any_word: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that declares a command; its name is that of the function."""

    def declare(run: Callable[..., None]) -> Callable[..., None]:
        COMMANDS[run.__name__.replace("_", "-")] = Command(run, epilog, hidden, takes_any_word)
        return run

    return declare
