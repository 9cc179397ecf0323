"""K3s' own options, from options.tsv: names, environment variables and secrets; and those of a command line. Pure.

The rules of a command line are Go's: `--name=x`, `--name x`, `--switch`, with one hyphen or two. K3s ignores positional
words. They are never shown, because the likely reason for one is a mistake: in `--token -c SECRET`, the token is `-c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.base import package_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agent.base.model import Location


class Word(NamedTuple):
    """A word of a command line or a variable's value. Its repr omits the text, which can be the cluster's token."""

    text: str
    location: Location

    def __repr__(self) -> str:
        return f"Word({len(self.text)} characters, {str(self.location)!r})"


class _Option(NamedTuple):
    """A row of options.tsv."""

    name: str
    command: str
    kind: str
    others: str
    variable: str
    secret: str
    gone: str


_OPTIONS = [_Option(*cells) for cells in package_data.rows("k3s", "options.tsv")]


def _of_kind(*kinds: str) -> frozenset[str]:
    return frozenset([option.name for option in _OPTIONS if option.kind in kinds])


ALIASES = {other: option.name for option in _OPTIONS for other in option.others.split()}
"""Short and deprecated names, by the name in use."""

AGENT_KEYS = frozenset([option.name for option in _OPTIONS if option.command == "agent"])
"""Options of `k3s agent`. It exits on any other option."""

SERVER_ONLY_KEYS = frozenset([option.name for option in _OPTIONS if option.command == "server"])

REMOVED_KEYS = frozenset([option.name for option in _OPTIONS if option.gone])
REMOVED_IN = 26

FATAL_KEYS = frozenset([option.name for option in _OPTIONS if option.gone == "fatal"])
FATAL_IN = 25
"""The minor that exits at them, on servers and agents."""

SWITCHES, WHOLE_NUMBERS, DURATIONS = map(_of_kind, ("switch", "number", "duration"))

CHECKED_KEYS = _of_kind("switch", "number", "duration", "other")
"""Options whose values option_values.py checks."""

TOKEN_FILE_KEYS = frozenset({"agent-token-file", "token-file"})
"""Options with a file that K3s waits for, up to four minutes, if it does not exist (k3s, pkg/util/file.go)."""

CONFIG_FILE_VARIABLE = "K3S_CONFIG_FILE"
"""The variable with the path of the main configuration file. K3s reads it before `--config` (pkg/configfilearg)."""

VARIABLES = {option.variable: option.name for option in _OPTIONS if option.variable}
"""Environment variables and the options that they set."""

SECRET_KEYS = frozenset([option.name for option in _OPTIONS if option.secret])
"""Options whose values are, or can contain, a password or a token."""


def options_of(words: Iterable[str]) -> Iterator[str | None]:
    """Yield for each word the name of the option whose value it is, "" for an option, and None for other words."""
    option: str | None = ""
    for word in words:
        if option:
            yield option
            option = ""
        elif option is None or word == "--" or not word.startswith("-") or word == "-":
            option = None if word == "--" else option
            yield None
        else:
            yield ""
            name, separator, _ = _parts(word)
            option = "" if separator or name in SWITCHES else name


def given_options(words: Sequence[Word]) -> Iterator[tuple[str, str, Location]]:
    """Yield each option of a command line with its value, and the location of the value."""
    options = [*options_of(word.text for word in words), None]
    for at, (word, location) in enumerate(words):
        name, separator, value = _parts(word)
        if options[at] == "" and separator:
            yield name, value, location
        elif options[at] == "" and not options[at + 1]:
            yield name, "true", location
        elif options[at]:
            yield str(options[at]), word, location


def _parts(word: str) -> tuple[str, str, str]:
    return word.removeprefix("-").removeprefix("-").partition("=")
