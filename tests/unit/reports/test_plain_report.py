"""The plain lines of a report."""

from __future__ import annotations

import pytest

from agent.base.report import Report
from agent.reports.formats import Verbosity
from tests.unit.reports.reports import FULL, hostile, shown

NORMAL = """\
k3s-harden apply: server, v1.34.1+k3s1
compliant /etc/compliant: file, mode 0600
changed /etc/changed: mode 0644 → 0600; backup: /b
kept /etc/kept: cannot remove /etc/kept: directory is not empty
changed /etc/bare
differs /etc/a: content
--- /etc/a (found)
+++ /etc/a (expected)
@@ -1 +1 @@
-old
+new
mode 0644 → 0600
refused /etc/refused: is a FIFO, expected a regular file; fix: remove it
failed vm.panic_on_oom: cannot write: Read-only file system
error sysctl-override: a later file overrides it; expected 1; found 0; location /etc/sysctl.conf:3; fix: remove it
edited /etc/edited: exists with content that k3s-harden did not write; fix: use --force
warning some-warning: mode is too open; fix: tighten it
note some-note: kernel is older
result 4: Partially applied; see what is left (5 problems, 1 warning, 2 changed, 1 kept, 1 compliant).
"""


def test_each_item_and_finding_has_one_line() -> None:
    """Compliant items have one, too, because programs read the lines."""
    assert shown(FULL) == NORMAL


def test_verbose_adds_facts() -> None:
    lines = shown(FULL, verbosity=Verbosity.VERBOSE).splitlines()
    added = ["fact role: server (k3s.service)", "fact K3s version: v1.34.1+k3s1 (/usr/local/bin/k3s --version)"]
    assert lines[1:3] == added
    assert [line for line in lines if line not in added] == NORMAL.splitlines()


def test_an_empty_report_has_title_and_result() -> None:
    nothing = Report(verb="revert", writes=True, facts=(), items=(), findings=())
    assert shown(nothing) == "k3s-harden revert\nresult 0: Host is compliant with the guide; nothing was changed.\n"


@pytest.mark.parametrize("char", ["\n", "\r", "\x1b[2J", "\x07", "\x85", "\u2028", "\u202e", "\x9b", "\udc80", "\0"])
def test_host_text_cannot_forge_lines_or_control_the_terminal(char: str) -> None:
    """File names and contents are untrusted."""
    text = shown(hostile(f"a{char}result 0: compliant"), verbosity=Verbosity.VERBOSE)
    assert len(text.splitlines()) == 5
    assert all(line.isprintable() for line in text.split("\n"))
    assert [line for line in text.splitlines() if line.startswith("result ")] == [
        "result 3: Host is not compliant (2 problems)."
    ]
