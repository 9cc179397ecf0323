"""The manual page k3s-harden(8), written from the command line that the program has."""

from __future__ import annotations

import re
import textwrap
import time
from typing import TYPE_CHECKING

from agent import __version__
from agent.verbs.drift import METRICS, REPORT
from agent.errors import ExitCode
from agent.host import LOCK
from agent.changes.journal import BACKUPS, JOURNAL
from agent.settings.schema import DEFAULT_SETTINGS
from tests.docs import Command, Option, commands, program_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DESCRIPTION = (
    """
k3s-harden makes a Linux host ready for a CIS-hardened K3s: kernel parameters, directories, audit policy, pod security,
network policies and K3s' own arguments, on servers and agents. It proves that the host is ready, now and at the next
boot, names what would undo it, and can undo all of it from a journal.
""",
    """
With its systemd units in place (the packages bring them, elsewhere install puts them), each start of K3s waits for
k3s-harden.service, the gate, which applies anew. K3s does not start on a host that is not ready. Once the cause is
gone, apply, or a restart of the gate, starts the K3s that was kept down, and no other.
""",
)
_FILES = (
    (DEFAULT_SETTINGS, "What a site changes, if it changes anything. k3s-harden explain settings lists all of it."),
    (JOURNAL, "What was there before each run, for revert. Removed when the Debian package is purged."),
    (BACKUPS, "Hand-edited files that were replaced with --force."),
    (REPORT, "The last assessment of the daily look, with which the next one compares."),
    (METRICS, "Its metrics, for a collector that reads files."),
    (LOCK, "Held by a run that writes."),
)
_EXAMPLES = (
    ("sudo k3s-harden apply --role server", "Harden this host, before K3s is installed or after."),
    ("k3s-harden check -v", "Is it as it should be? With all that was found out about the host."),
    ("systemctl status k3s-harden", "Why K3s did not start."),
    ("k3s-harden explain", "Every control and finding, to look up one by its id."),
)
_SEE_ALSO = ("systemctl(1)", "sysctl.d(5)", "systemd-sysctl.service(8)", "systemd.unit(5)")
_WIDTH = 78
_PLAIN = str.maketrans({"→": "->", "—": "-", "–": "-", "…": "...", "×": "x", "’": "'", "✔": "", "✘": ""})


def manual(epoch: int) -> str:
    """The page as ASCII for man(7), dated `epoch` seconds after 1970."""
    public = [command for command in commands() if not command.hidden]
    date = time.strftime("%Y-%m-%d", time.gmtime(epoch))
    shared = _shared(public)
    lines = [
        f'.TH K3S\\-HARDEN 8 {date} "k3s\\-harden {__version__}" "System Administration"',
        ".SH NAME",
        r"k3s\-harden \- make a host ready for a CIS\-hardened K3s, prove it, and undo it",
        ".SH SYNOPSIS",
        *(line for command in public for line in _synopsis(command)),
        ".SH DESCRIPTION",
        *_paragraphs(_DESCRIPTION),
        ".SH COMMANDS",
        *(line for command in public for line in _command(command, shared)),
        ".SH OPTIONS",
        *(line for option, verbs in shared.items() for line in _option(option, f"For {', '.join(verbs)}.")),
        *(line for option in program_options() for line in _option(option)),
        ".SH EXIT STATUS",
        *(line for code in ExitCode for line in _tagged(f".B {int(code)}", f"{code.meaning}.")),
        ".SH FILES",
        *(line for path, text in _FILES for line in _tagged(f".I {_text(str(path))}", text)),
        ".SH EXAMPLES",
        *(line for words, text in _EXAMPLES for line in _tagged(f".B {_text(words)}", text)),
        ".SH SEE ALSO",
        ", ".join(rf"\fB{_text(page[:-3])}\fR{page[-3:]}" for page in _SEE_ALSO),
    ]
    return "\n".join(lines) + "\n"


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if number:
            yield ".PP"
        yield from _lines(text)


def _shared(public: Iterable[Command]) -> dict[Option, list[str]]:
    """The options that more than one command takes, with their names."""
    takers: dict[Option, list[str]] = {}
    for command in public:
        for option in command.options:
            takers.setdefault(option, []).append(command.name)
    return {option: verbs for option, verbs in takers.items() if len(verbs) > 1}


def _synopsis(command: Command) -> Iterator[str]:
    """A line for each command: its own words in bold, what is to be filled in in italics."""
    yield f".SY k3s\\-harden\n.B {_text(command.name)}"
    for argument in command.arguments:
        yield rf"\fI{_text(argument.takes)}\fR"
    if command.options:
        yield r"[\fIoptions\fR]"
    yield ".YS"


def _command(command: Command, shared: Iterable[Option]) -> Iterator[str]:
    yield f'.SS "{_text(command.name)}"'
    yield from _lines(command.help)
    for argument in command.arguments:
        choices = f" One of {', '.join(argument.choices)}." if argument.choices else ""
        yield from _tagged(rf"\fI{_text(argument.takes.strip('[]'))}\fR", argument.help + choices)
    for option in command.options:
        if option not in shared:
            yield from _option(option)


def _option(option: Option, note: str = "") -> Iterator[str]:
    names = ", ".join(rf"\fB{_text(name)}\fR" for name in option.names)
    default = f"By default {option.default}." if option.default else ""
    tag = names + (rf" \fI{_text(option.takes)}\fR" if option.takes else "")
    yield from _tagged(tag, " ".join(filter(None, (option.help, default, note))))


def _tagged(tag: str, words: str) -> Iterator[str]:
    yield ".TP"
    yield tag
    yield from _lines(words)


def _lines(words: str) -> Iterator[str]:
    """Words as lines of roff, none of which is a request."""
    for line in textwrap.wrap(_text(words), _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield rf"\&{line}" if line.startswith(".") else line


def _text(words: str) -> str:
    """Words as roff, in ASCII, with hyphens and quotes that can be copied into a shell."""
    plain = re.sub(r"\s+", " ", words).strip().translate(_PLAIN).replace("`", "")
    escaped = plain.encode("ascii", "replace").decode().replace("\\", r"\e").replace("-", r"\-")
    return escaped.replace("'", r"\(aq").replace('"', r"\(dq").replace("^", r"\(ha").replace("~", r"\(ti")
