"""Plain command lines, which are read without Typer: complete option names, each once, with valid values.

Typer reads all others, and reports what is wrong with them. A test compares both.
"""

from __future__ import annotations

from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli.declared import COMMANDS, Optional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent.cli.declared import Option


def requested(words: Sequence[str], environment: Mapping[str, str]) -> Callable[[], None] | None:
    """Return the call of a command that these words request, None if they are not plain."""
    command = COMMANDS.get(words[0]) if words else None
    if command is None or command.run.__code__.co_argcount:  # arguments
        return None
    given = _given(command.run.__annotations__, words[1:], environment)
    return None if given is None else partial(command.run, **given)


def _given(
    annotations: Mapping[str, Any], words: Sequence[str], environment: Mapping[str, str]
) -> dict[str, object] | None:
    """Return the value of each parameter that the words or the environment set, None if they are not plain."""
    given: dict[str, object] = {}
    parameters: dict[str, str] = {}
    for name, annotation in annotations.items():
        if annotation is None:  # of the result
            continue
        option = annotation.declared
        parameters |= dict.fromkeys(_names(name, option), name)
        if option.envvar and environment.get(option.envvar):
            given[name] = environment[option.envvar]
    seen = set()
    rest = iter(words)
    for word in rest:
        option_name, equals, value = word.partition("=")
        name = parameters.get(option_name, "")
        if not name or name in seen:
            return None
        seen.add(name)
        kind = annotations[name].kind
        if kind is bool and not equals:
            given[name] = True
            continue
        given[name] = _converted(kind, value if equals else next(rest, ""))
        if given[name] is None:
            return None
    return given


def _names(parameter: str, option: Option) -> tuple[str, ...]:
    return option.names or (f"--{parameter.replace('_', '-')}",)


def _converted(kind: Any, value: str) -> object:  # noqa: ANN401 - a type, or an Optional one
    """Return the value of an option of this type, None if only Typer can tell whether it is valid."""
    if isinstance(kind, Optional):  # type: ignore[arg-type] # a class at run time
        kind = kind.kind
    if not value or value.startswith("-"):
        return None
    if kind in (str, Path):
        converted: object = kind(value)
        return converted
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next((member for member in kind if member.value == value), None)
    return None
