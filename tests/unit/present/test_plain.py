"""One line a fact, each complete in itself."""

from __future__ import annotations

import pytest

from agent.present import Verbosity
from agent.report import Finding, Item, ItemStatus, Level, Report
from tests.unit.present.reports import CALM, FULL, shown

NORMAL = """\
k3s-harden apply: server, v1.34.1+k3s1
differs /etc/a: content
--- /etc/a (now)
+++ /etc/a (wanted)
@@ -1 +1 @@
-old
+new
mode 0644 → 0600
refused /etc/refused: is a FIFO, which is left alone; to do: look at it
edited /etc/edited: exists with content that k3s-harden did not write; to do: use --force
changed /etc/changed: mode 0644 → 0600; to do: the file that was there is kept as /b
kept /etc/kept: cannot remove /etc/kept: it holds files that are not ours
failed vm.panic_on_oom: cannot write: Read-only file system
changed /etc/bare
error sysctl-override: another file wins; wanted 1; found 0; where /etc/sysctl.conf:3; to do: remove it
warning some-warning: it weakens; to do: tighten it
note some-note: worth knowing
result 4: partly applied: see what is left (1 compliant, 1 differs, 1 refused, 1 edited, 2 changed, 1 kept, 1 failed, \
1 error, 1 warning)
"""


def test_every_fact_has_its_line() -> None:
    """What it is, how it stands, what to do; the title comes first, the result last; what is compliant is counted."""
    assert shown(FULL) == NORMAL


def test_verbose_adds_the_facts_and_what_is_as_wanted() -> None:
    """With their evidence; nothing else changes."""
    lines = shown(FULL, verbosity=Verbosity.VERBOSE).splitlines()
    added = [
        "fact role: server (k3s.service)",
        "fact K3s version: v1.34.1+k3s1 (/usr/local/bin/k3s --version)",
        "compliant /etc/as-wanted: file, mode 0600",
    ]
    assert lines[1:4] == added
    assert [line for line in lines if line not in added] == NORMAL.splitlines()


def test_quiet_leaves_only_what_is_wrong_or_left() -> None:
    """Neither the title, nor what was done, nor a note; the result only where it is not 0."""
    dropped = ("k3s-harden ", "changed ", "note ")
    assert shown(FULL, verbosity=Verbosity.QUIET).splitlines() == [
        line for line in NORMAL.splitlines() if not line.startswith(dropped)
    ]
    assert shown(CALM, verbosity=Verbosity.QUIET) == ""


def test_a_host_as_wanted_takes_two_lines() -> None:
    """The title and the result."""
    assert shown(CALM) == (
        "k3s-harden check: server, v1.34.1+k3s1\nresult 0: compliant, now and at the next boot (1 compliant)\n"
    )


def test_a_report_about_nothing_is_still_one() -> None:
    """No facts, no items: the verb and the result."""
    nothing = Report(verb="revert", writes=True, facts=(), items=(), findings=())
    assert shown(nothing) == "k3s-harden revert\nresult 0: nothing to undo\n"


BARE = Finding("the-id", Level.ERROR, blocks_gate=False, message="m")


@pytest.mark.parametrize(
    "finding",
    [
        BARE._replace(message="<this>"),
        BARE._replace(wanted="<this>"),
        BARE._replace(found="<this>"),
        BARE._replace(where="<this>"),
        BARE._replace(remedy="<this>"),
    ],
)
def test_each_field_of_a_finding_is_on_its_line(finding: Finding) -> None:
    """A grep for its id shows all that is known."""
    (line,) = [line for line in shown(CALM._replace(findings=(finding,))).splitlines() if "the-id" in line]
    assert line.startswith("error the-id: ")
    assert "<this>" in line


@pytest.mark.parametrize("char", ["\n", "\r", "\x1b[2J", "\x07", "\x85", "\u2028", "\u202e", "\x9b", "\udc80", "\0"])
def test_nothing_found_on_a_host_makes_a_line_or_moves_the_cursor(char: str) -> None:
    """File names and contents are other people's: they must not forge a result or clear a terminal."""
    hostile = f"a{char}result 0: compliant"
    report = Report(
        verb="check",
        writes=False,
        facts=(),
        items=(
            Item(f"/etc/{hostile}", ItemStatus.REFUSED, hostile, hostile, diff=f"-{hostile.replace(chr(10), '')}\n"),
        ),
        findings=(Finding("f", Level.ERROR, blocks_gate=False, message=hostile, found=hostile, where=hostile),),
    )
    text = shown(report, verbosity=Verbosity.VERBOSE)
    assert len(text.splitlines()) == 5
    assert all(line.isprintable() for line in text.split("\n"))
    assert [line for line in text.splitlines() if line.startswith("result ")] == [
        "result 3: not as wanted (1 refused, 1 error)"
    ]
