"""The command of K3s that a service's command starts, directly or through env(1), nice(1) or a simple script. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.linux.unit_files import words
from agent.base.model import Role
from agent.k3s.config import Word

if TYPE_CHECKING:
    from collections.abc import Sequence

_K3S = r"k3s(-server|-agent|[-_.]?v?\d.*)?"
"""Names of K3s' program; a version can follow."""
_ROLES = frozenset(role.value for role in Role)
_RUNNERS = frozenset(("nice", "ionice", "chrt", "taskset", "nohup", "setsid", "numactl", "prlimit"))
"""Programs that start another one with the same files and environment."""
_HARMLESS = frozenset(("ulimit", "umask", "sleep", "mkdir", "modprobe", "test", "[", "true"))
"""Commands of a script that change neither the environment nor files that K3s reads."""
_SCRIPT = r"""([\w\s./:,;=@%+'"\[\]-]*?)(\d?>>?\s*(&\d|[\w./-]+)\s*)*"""
"""A script whose meaning depends only on its text, and redirections of its last command."""


def k3s_command(command: Sequence[Word], environment: dict[str, Word]) -> Sequence[Word]:
    """Return K3s' program, the role and the arguments after it; empty if the command does not lead to them.

    Changes `environment` as the programs do that start K3s.
    """
    names = [PurePosixPath(word.text).name for word in command]
    if not names:
        return ()
    if names[0] == "env":
        return k3s_command(command[_read_by_env(command, environment) :], environment)
    if names[0] in ("sh", "bash", "dash") and command[2:] and re.fullmatch("-[eux]*c", names[1]):
        return _of_script(command[2], environment)
    if names[0] in _RUNNERS:
        started = (at for at, name in enumerate(names) if re.fullmatch(f"env|sh|bash|dash|{_K3S}", name))
        return k3s_command(command[next(started, len(names)) :], environment)
    if not re.fullmatch(_K3S, names[0]):
        return ()
    # A data directory before the role is only that of K3s' unpacked programs (k3s, cmd/k3s/main.go).
    at = 1
    while at < len(command) and command[at].text.startswith("-"):
        at += 2 if command[at].text in ("--data-dir", "-d") else 1
    return (command[0], *command[at:]) if names[at : at + 1] and names[at] in _ROLES else ()


def _read_by_env(command: Sequence[Word], environment: dict[str, Word]) -> int:
    """Do what the first words of env(1) say, and return the position of the word after them."""
    for at, (text, location) in enumerate(command[1:], 1):
        unset, assigned = re.fullmatch("(?:-u|--unset=)(.+)", text), re.fullmatch(r"(?as)([A-Za-z_]\w*)=(.*)", text)
        if text in ("-", "-i", "--ignore-environment"):
            environment.clear()
        elif unset:
            environment.pop(unset[1], None)
        elif assigned:
            environment[assigned[1]] = Word(assigned[2], location)
        else:
            return at
    return len(command)


def _of_script(script: Word, environment: dict[str, Word]) -> Sequence[Word]:
    """Return K3s' command if it is the last one of a script that only prepares it."""
    found = re.fullmatch(_SCRIPT, script.text.replace("&&", ";").strip("; \n\t"))
    try:
        # A quoted separator leaves an open quote.
        lines = [words(line, 0) for line in re.split("[;\n]", found[1])] if found else []
    except ValueError:
        return ()
    commands = [[Word(text, script.location) for _, text in line] for line in lines if line]
    for command in commands[:-1]:
        is_export = command[0].text == "export" and _read_by_env(command, environment) == len(command)
        if not is_export and PurePosixPath(command[0].text).name not in _HARMLESS:
            return ()
    last = commands[-1][commands[-1][0].text == "exec" :] if commands else []
    return k3s_command([script._replace(text="env"), *last], environment)  # the shell assigns in the same way
