"""The command of K3s that a service's command starts, directly or through env(1), nice(1) and the like. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from agent.base.value import Value
from agent.k3s.options import Word
from agent.k3s.roles_and_versions import Role

_K3S = r"k3s(-server|-agent|[-_.]?v?\d.*)?"
"""Names of K3s' program; a version can follow."""
_ROLES = frozenset(role.value for role in Role)
_WRAPPERS = {
    "nice": r"(?:(?:-n|--adjustment)\0[-+]?\d+\0|-n[-+]?\d+\0|--adjustment=[-+]?\d+\0|-[-+]?\d+\0)*",
    "ionice": r"(?:(?:-c|--class|-n|--classdata)\0\w+\0|-[cn]\w+\0|--class(?:data)?=\w+\0|-t\0|--ignore\0)*",
    "chrt": r"(?:-[bfioraRv]+\0|--(?:batch|fifo|idle|other|rr|all-tasks|reset-on-fork|verbose)\0)*\d+\0",
    "taskset": r"(?:-a?c?\0|--(?:all-tasks|cpu-list)\0)*[\da-fA-Fx,:-]+\0",
}
"""By program that starts another one with the same files and variables, its options; \\0 ends each word."""
_IN_WORD = r"\$\$|\$\{([^}:]*)(\}|:|\Z)"
_BLANKS = " \t\n\r"


class UnknownValueError(Exception):
    """A command depends on a value that is not known; the text is the reason."""


class K3sCommand(Value):
    """K3s' program, its role and arguments, and the programs that start it, K3s' own the last."""

    programs: tuple[PurePosixPath, ...]
    role: Role
    arguments: tuple[Word, ...]


def expanded(words: Iterable[Word], value: Callable[[str], Word]) -> Iterator[Word]:
    """Yield the arguments that systemd makes of a command whose quotes it has read (systemd, replace_env_argv).

    A word `$NAME` becomes any number of words, `${NAME}` a part of one. `value` may raise UnknownValueError.
    """

    def replaced(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return value(found[1]).text if found[2] == "}" else found[0]

    for word in words:
        if word.text[:1] == "$" and word.text[1:2] not in ("{", "$"):
            text, location = value(word.text[1:])
            yield from (Word(part, location) for part in _split(text))
        else:
            yield word._replace(text=re.sub(_IN_WORD, replaced, word.text))


def _split(value: str) -> Iterator[str]:
    """Yield the words of a variable. An open quote and a backslash at the end are tolerated."""
    word, quote, characters = None, "", iter(value)
    for character in characters:
        if character == "\\":
            word = (word or "") + next(characters, "")
        elif quote:
            if character == quote:
                quote = ""
            else:
                word = (word or "") + character
        elif character in _BLANKS:
            if word is not None:
                yield word
            word = None
        else:
            word = word or ""
            if character in "'\"":
                quote = character
            else:
                word += character
    if word is not None:
        yield word


def k3s_command(command: Sequence[Word], environment: dict[str, Word]) -> K3sCommand | None:
    """Return the command of K3s; None if the command does not lead to it, or in a way that is not followed.

    Changes `environment` as env(1) does. Its options are not followed: they change the directory, or split a text.
    """
    programs, name = [], ""
    while command:
        programs.append(PurePosixPath(command[0].text))
        name, rest = programs[-1].name, command[1:]
        if name == "env":
            command = rest
            while command and "=" in command[0].text and not command[0].text.startswith("-"):
                (variable, _, value), location = command[0].text.partition("="), command[0].location
                environment[variable], command = Word(value, location), command[1:]
            continue
        options = re.match(_WRAPPERS[name], "".join(f"{word.text}\0" for word in rest)) if name in _WRAPPERS else None
        if options is None:
            break
        command = rest[options[0].count("\0") :]
        command = command[1:] if command and command[0].text == "--" else command
    if not command or not re.fullmatch(_K3S, name):
        return None
    # A data directory before the role is only that of K3s' unpacked programs (k3s, cmd/k3s/main.go).
    at = 1
    while at < len(command) and command[at].text.startswith("-"):
        at += 2 if command[at].text in ("--data-dir", "-d") else 1
    if at >= len(command) or command[at].text not in _ROLES:
        return None
    if any(re.match("(--config|-c)(=|$)", word.text) for word in command[1:at]):  # K3s takes it before its role, too
        return None
    return K3sCommand(tuple(programs), Role(command[at].text), tuple(command[at + 1 :]))
