"""Sample reports for the presenters, and a stream that acts as a terminal or a pipe."""

from __future__ import annotations

import re
from io import BytesIO, TextIOWrapper
from pathlib import PurePosixPath

from agent.base.model import Location
from agent.base.repair import Instruction, Repair
from agent.base.report import Fact, Finding, Item, ItemStatus, Level, Report
from agent.reports import present
from agent.reports.formats import Format, Verbosity

DIFF = "--- /etc/a (found)\n+++ /etc/a (expected)\n@@ -1 +1 @@\n-old\n+new\nmode 0644 → 0600\n"

FULL = Report(
    verb="apply",
    writes=True,
    facts=(Fact("role", "server", "k3s.service"), Fact("K3s version", "v1.34.1+k3s1", "/usr/local/bin/k3s --version")),
    items=(
        Item("/etc/compliant", ItemStatus.COMPLIANT, "file, mode 0600"),
        Item("/etc/a", ItemStatus.DIFFERS, "content", diff=DIFF),
        Item(
            "/etc/refused",
            ItemStatus.REFUSED,
            "is a FIFO, expected a regular file",
            Repair((Instruction("remove it"),)),
        ),
        Item(
            "/etc/edited",
            ItemStatus.EDITED,
            "exists with content that k3s-harden did not write",
            Repair((Instruction("use --force"),)),
        ),
        Item("/etc/changed", ItemStatus.CHANGED, "mode 0644 → 0600; backup: /b"),
        Item("/etc/kept", ItemStatus.KEPT, "cannot remove /etc/kept: directory is not empty"),
        Item("vm.panic_on_oom", ItemStatus.FAILED, "cannot write: Read-only file system", blocked_by_environment=True),
        Item("/etc/bare", ItemStatus.CHANGED),
    ),
    findings=(
        Finding(
            "sysctl-override",
            Level.ERROR,
            blocks_gate=True,
            prevents_start=False,
            message="a later file overrides it",
            expected="1",
            found="0",
            location=Location(PurePosixPath("/etc/sysctl.conf"), 3),
            repair=Repair((Instruction("remove it"),)),
        ),
        Finding(
            "some-warning",
            Level.WARNING,
            blocks_gate=False,
            prevents_start=False,
            message="mode is too open",
            repair=Repair((Instruction("tighten it"),)),
        ),
        Finding("some-note", Level.NOTE, blocks_gate=False, prevents_start=False, message="kernel is older"),
    ),
)

CALM = Report(verb="check", writes=False, facts=FULL.facts, items=FULL.items[:1], findings=())


def hostile(text: str) -> Report:
    """Return a report with a text in every field that can come from the host; a line of a diff has no line break."""
    item = Item(
        f"/etc/{text}", ItemStatus.REFUSED, text, Repair((Instruction(text),)), diff=f"-{text.replace(chr(10), '')}\n"
    )
    finding = Finding("f", Level.ERROR, blocks_gate=False, prevents_start=False, message=text, found=text)
    finding = finding._replace(location=Location(PurePosixPath(text)), repair=Repair((Instruction(text),)))
    return Report(verb="check", writes=False, facts=(), items=(item,), findings=(finding,))


def words(text: str) -> str:
    """Return the text without white space, so that line breaks do not matter."""
    return re.sub(r"\s", "", text)


class Stream(TextIOWrapper):
    """A stream in memory; `is_terminal` is what isatty() returns."""

    def __init__(self, encoding: str = "utf-8", *, is_terminal: bool = False) -> None:
        super().__init__(BytesIO(), encoding=encoding, newline="\n")
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal

    @property
    def text(self) -> str:
        self.flush()
        assert isinstance(self.buffer, BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


def shown(
    report: Report,
    output_format: Format = Format.PLAIN,
    verbosity: Verbosity = Verbosity.NORMAL,
    stream: Stream | None = None,
) -> str:
    stream = stream or Stream()
    present(report, output_format, verbosity, stream)
    return stream.text
