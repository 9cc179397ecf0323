"""Answers to the shells' completion scripts, and the candidates for values.

Only candidates are printed, because other text would be in the prompt.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE = "_K3S_HARDEN_COMPLETE"
"""Environment variable of Typer's protocol: `complete_bash`, `complete_zsh` or `complete_fish`."""

_PREFIX = "complete_"

TOPICS = ("cli", "topics.txt")
"""IDs and keys that `explain` accepts, one per line, because importing their rows takes long."""


def topics(incomplete: str) -> list[str]:
    """Return the topics of `explain` that start with this text."""
    from agent import package_data

    return [name for name in package_data.read(*TOPICS).decode().splitlines() if name.startswith(incomplete)]


def benchmarks(incomplete: str) -> list[str]:
    """Return the values of --benchmark that start with this text."""
    from agent.benchmark.versions import Benchmark

    return [name for name in ("auto", *map(str, Benchmark)) if name.startswith(incomplete)]


def versions(incomplete: str) -> list[str]:
    """Return the K3s versions that are known and that start with this text, newest first."""
    from agent.model import NEWEST_KNOWN, OLDEST_COVERED

    minors = range(NEWEST_KNOWN.minor, OLDEST_COVERED.minor - 1, -1)
    return [name for name in (f"v1.{minor}" for minor in minors) if name.startswith(incomplete)]


def is_requested() -> bool:
    """Return whether a shell asks for candidates."""
    return os.environ.get(VARIABLE, "").startswith(_PREFIX)


def complete() -> int:
    """Print the candidates for the word at the cursor, and return the exit code. No error reaches the shell."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        sys.stdout.write(_answer(os.environ[VARIABLE][len(_PREFIX) :]))
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - a traceback would be printed into the command line
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
    return 0


def _answer(shell: str) -> str:
    from typer import _completion_classes as classes
    from typer.main import get_command

    from agent.cli.application import application
    from agent.cli.declared import named

    protocol: Any = {"bash": classes.BashComplete, "zsh": classes.ZshComplete, "fish": classes.FishComplete}[shell]
    words, incomplete = protocol(None, {}, "k3s-harden", VARIABLE).get_completion_args()
    # bash gives `--format=js` as three words, the other shells as one, which the candidate has to replace.
    words = [word for word in words if word != "="]
    option, equals, _ = incomplete.partition("=") if shell != "bash" and incomplete.startswith("--") else ("", "", "")
    app = application(named(words[0] if words else ""))
    found = protocol(get_command(app), {}, "k3s-harden", VARIABLE).get_completions(words, incomplete)
    before = f"{option}=" if equals else ""
    candidates = [
        (f"{before}{item.value}", " ".join((item.help or "").split())) for item in found if item.type == "plain"
    ]
    if shell == "bash":
        return "".join(f"{value}\n" for value, _ in candidates)
    if shell == "zsh":
        return _for_zsh(candidates)
    if not candidates:
        raise SystemExit(1)  # the script offers files instead
    return "".join(f"{value}\t{text}\n" if text else f"{value}\n" for value, text in candidates)


def _for_zsh(candidates: Iterable[tuple[str, str]]) -> str:
    """Return a command for eval in zsh."""
    rows = [f'"{_quoted(value)}":"{_quoted(text)}"' if text else f'"{_quoted(value)}"' for value, text in candidates]
    return f"_arguments '*: :(({' '.join(rows)}))'\n" if rows else "_files\n"


def _quoted(text: str) -> str:
    """Return text for a word in double quotes; _arguments would split it at `:`."""
    return text.translate({ord(sign): by for sign, by in zip("\"'$`:\\", ('\\"', "’", "\\$", "\\`", "\\\\:", "\\\\"))})
