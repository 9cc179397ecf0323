"""Words after `k3s server` or `k3s agent`: options, their values, and positional words. Pure.

The rules are Go's: `--name=x`, `--name x`, `--switch`, with one hyphen or two. K3s ignores positional words. They are
never shown, because the likely reason for one is a mistake: in `--token -c SECRET`, the token is `-c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.k3s.options import SWITCHES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agent.base.model import Location
    from agent.k3s.config import Word


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
