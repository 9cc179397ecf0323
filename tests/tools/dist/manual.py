"""The manual page k3s-harden(8), generated from the command line."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Iterable, Iterator

from agent import __version__
from agent.base.errors import ExitCode
from agent.base.host import LOCK
from agent.harden.changes import state
from agent.harden.changes.journal import BACKUPS, JOURNAL
from agent.harden.gate.gate_state import OBSERVES
from agent.harden.node.service_units import gate_instance
from agent.harden.settings.schema import DEFAULT_SETTINGS
from agent.verbs.site_policies import SAVED
from tests.tools.generate_docs import STATE_FILES, Command, Option, commands, program_options

_GATE = gate_instance("k3s.service")
_DESCRIPTION = (
    """
k3s-harden hardens a Linux host for K3s by the CIS guide: kernel parameters, directories, audit policy, pod security,
network policies and K3s options, on servers and agents. It checks that the host is compliant, now and after the next
boot. It reports what would undo the hardening, and can undo all changes from a journal.
""",
    f"""
With its systemd units (from the package, or from k3s-harden install), each start of K3s first runs the gate, which
applies the hardening, and requires its success. The gate of k3s.service is {_GATE}. If it fails, K3s does not start.
After the cause is fixed, systemd starts K3s within about a minute, and k3s-harden apply within seconds.
""",
)
_IN_THE_MANUAL = {
    JOURNAL: "Journal of all changes, for revert. Removed when the Debian package is purged.",
    BACKUPS: "Backups of files that --force or install replaced.",
    SAVED: "NetworkPolicies of the site that K3s replaced, for kubectl create -f.",
    OBSERVES: "Day since which the gate observes. Written by a package on a running cluster.",
    state.PUBLICATION: "With the setting publish: what the Node of this host should have.",
    LOCK: "Lock of the run that makes changes.",
}
"""What the manual says of a path of the state instead of the reference."""
_FILES = (
    (DEFAULT_SETTINGS, "Settings of the site; optional. k3s-harden explain settings lists them."),
    *((path, _IN_THE_MANUAL.get(path, f"{text[0].upper()}{text[1:]}.")) for path, _, text in STATE_FILES[1:]),
)
_EXAMPLES = (
    ("sudo k3s-harden apply --role server", "Harden this host, before or after K3s is installed."),
    ("k3s-harden check -v", "Check this host, and print the host facts."),
    (f"systemctl status {_GATE}", "Show why the gate blocks K3s."),
    ("k3s-harden explain", "List the IDs of all controls and findings."),
)
_SEE_ALSO = ("systemctl(1)", "sysctl.d(5)", "systemd-sysctl.service(8)", "systemd.unit(5)")
_WIDTH = 78
_PLAIN = str.maketrans({"→": "->", "—": "-", "–": "-", "…": "...", "×": "x", "’": "'", "✔": "", "✘": ""})


def manual(epoch: int) -> str:
    """Return the page in ASCII for man(7), dated `epoch` seconds after 1970."""
    public = [command for command in commands() if not command.hidden]
    date = time.strftime("%Y-%m-%d", time.gmtime(epoch))
    shared = _shared(public)
    lines = [
        f'.TH K3S\\-HARDEN 8 {date} "k3s\\-harden {__version__}" "System Administration"',
        # Words are not divided and lines are not filled with blanks: paths and commands can be pasted.
        ".nr HY 0",
        ".ad l",
        ".SH NAME",
        r"k3s\-harden \- harden a K3s host by its hardening guide, assess it by CIS benchmarks, and undo the changes",
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
        *(line for code in ExitCode for line in _tagged(f".B {int(code)}", f"{code.meaning.capitalize()}.")),
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
    """Return the options of more than one command, with the names of the commands."""
    takers: dict[Option, list[str]] = {}
    for command in public:
        for option in command.options:
            takers.setdefault(option, []).append(command.name)
    return {option: verbs for option, verbs in takers.items() if len(verbs) > 1}


def _synopsis(command: Command) -> Iterator[str]:
    """Return the synopsis: literal words in bold, placeholders in italics."""
    yield f".SY k3s\\-harden\n.B {_text(command.name)}"
    for argument in command.arguments:
        yield rf"\fI{_text(argument.takes)}\fR"
    if command.options:
        yield r"[\fIoptions\fR]"
    yield ".YS"


def _command(command: Command, shared: Iterable[Option]) -> Iterator[str]:
    yield f'.SS "{_text(command.name)}"'
    yield from _paragraphs((command.summary, command.details))
    for argument in command.arguments:
        yield from _tagged(rf"\fI{_text(argument.takes.strip('[]'))}\fR", argument.help)
    for option in command.options:
        if option not in shared:
            yield from _option(option)
    yield from _tagged("Example:", "")
    yield rf".B {_text(command.example)}"
    yield from _tagged("Exit codes:", ", ".join(code for code, _ in command.exit_codes))


def _option(option: Option, note: str = "") -> Iterator[str]:
    names = ", ".join(rf"\fB{_text(name)}\fR" for name in option.names)
    default = f"Default: {option.default}." if option.default else ""
    takes = _text(option.takes).replace("|", r"|\:")
    tag = names + (rf" \fI{takes}\fR" if takes else "")
    yield from _tagged(tag, " ".join(filter(None, (option.help, default, note))))


def _tagged(tag: str, words: str) -> Iterator[str]:
    yield ".TP"
    yield tag
    yield from _lines(words)


def _lines(words: str) -> Iterator[str]:
    """Return the words as lines of roff, none of which is a request."""
    for line in textwrap.wrap(_text(words), _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield rf"\&{line}" if line.startswith(".") else line


def _text(words: str) -> str:
    """Return the words as roff in ASCII, with hyphens and quotes that can be pasted into a shell."""
    plain = re.sub(r"\s+", " ", words).strip().translate(_PLAIN).replace("`", "")
    escaped = plain.encode("ascii", "replace").decode().replace("\\", r"\e").replace("-", r"\-")
    return escaped.replace("'", r"\(aq").replace('"', r"\(dq").replace("^", r"\(ha").replace("~", r"\(ti")
