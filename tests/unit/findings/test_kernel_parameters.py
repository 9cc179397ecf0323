"""Kernel parameters: waivers, edits of the managed file, and remediations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.base.host import Host
from agent.base.report import Finding, ItemStatus, Report
from agent.base.value import replace
from agent.findings.kernel_parameters import kernel_parameter, kernel_read_only
from agent.harden.guide.sysctls import PARAMETERS_FILE, SYSCTLS
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.harden.situation.observation import observe_situation
from agent.reports.repair_texts import text
from agent.verbs import check_and_apply as verbs
from tests.fake import Clock, fake_host, in_memory

KEY = "vm.overcommit_memory"
REQUEST = Request(Overrides(role="agent", k3s_version="1.34"))
SETTINGS = "/etc/k3s-harden/config.yaml"
TODAY = 1_798_761_600.0  # 2027-01-01


class Node(NamedTuple):
    """A compliant node, except that KEY is 2."""

    root: Path
    host: Host

    def settles(self, text: str) -> None:
        (self.root / "etc/k3s-harden/config.yaml").write_text(text)

    def waives(self, more: str = "", *, protects: bool = False) -> None:
        """Waive KEY, with these lines after the reason."""
        protect = "" if protects else "protect-kernel-defaults: false\n"
        self.settles(f"{protect}waivers:\n  - control: {KEY}\n    reason: strict accounting\n{more}")

    def live(self) -> str:
        return (self.root / "proc/sys/vm/overcommit_memory").read_text().strip()

    def keeps(self, text: str) -> bool:
        """Whether the managed file of kernel parameters contains the text."""
        return text in (self.root / PARAMETERS_FILE.lstrip("/")).read_text()


@pytest.fixture
def node() -> Iterator[Node]:
    with in_memory("etc/k3s-harden", "etc/sysctl.d", "var/lib") as root:
        for row in SYSCTLS:
            path = root.joinpath("proc/sys", *row.key.split("."))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{row.value}\n")
        (root / "proc/sys/vm/overcommit_memory").write_text("2\n")
        (root / "proc/sys/kernel/hostname").write_text("db-1.example.org\n")
        yield Node(root, fake_host(root, clock=Clock(TODAY)))


def findings_of(report: Report, kind: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.id == kind]


def waived(report: Report) -> list[str]:
    """Return the reasons of the waivers, and check that they are for KEY."""
    items = [item for item in report.items if item.status is ItemStatus.WAIVED]
    assert {item.id for item in items} <= {KEY}
    return [item.detail for item in items]


def test_apply_does_not_set_a_waived_parameter(node: Node) -> None:
    node.waives("    expires: 2027-06-30\n")
    report = verbs.apply(node.host, REQUEST)
    assert node.live() == "2"
    assert not node.keeps(KEY)
    assert waived(report) == waived(verbs.check(node.host, REQUEST)) == ["strict accounting; until 2027-06-30"]
    assert report.exit_code == 0


@pytest.mark.parametrize(
    ("scope", "value"),
    [
        *((scope, "1") for scope in ("role: server", "host: web-*", "host: db-2")),
        *((scope, "2") for scope in ("role: agent", "host: db-*", "host: DB-1", "host: '*.example.org'")),
        ("expires: 2027-01-01", "2"),
    ],
)
def test_a_waiver_has_effect_on_its_hosts_until_the_end_of_its_last_day(scope: str, value: str, node: Node) -> None:
    node.waives(f"    {scope}\n")
    report = verbs.apply(node.host, REQUEST)
    assert (node.live(), bool(waived(report)), findings_of(report, "waiver-expired")) == (value, value == "2", [])


def test_apply_sets_a_parameter_whose_waiver_expired(node: Node) -> None:
    """A note contains the date, because the change can restart a database."""
    node.waives("    expires: 2026-12-31\n")
    report = verbs.apply(node.host, REQUEST)
    assert node.live() == "1"
    assert node.keeps(f"\n{KEY}=1\n")
    (note,) = findings_of(report, "waiver-expired")
    assert note.message == f"the waiver for {KEY} expired at the end of 2026-12-31"
    assert str(note.location) == f"{SETTINGS}:3"
    assert waived(report) == []


def test_a_waiver_removes_a_parameter_that_an_earlier_apply_wrote(node: Node) -> None:
    node.settles("protect-kernel-defaults: false\n")
    verbs.apply(node.host, REQUEST)
    node.waives()
    report = verbs.apply(node.host, REQUEST)
    assert [item.id for item in report.items if item.status is ItemStatus.CHANGED] == [PARAMETERS_FILE]
    assert not node.keeps(KEY)
    assert node.live() == "1"


def test_a_file_that_sets_a_waived_parameter_is_not_reported(node: Node) -> None:
    node.waives()
    (node.root / "etc/sysctl.d/99-database.conf").write_text(f"{KEY} = 2\n")
    (node.root / "etc/sysctl.conf").write_text(f"{KEY} = 2\n")
    report = verbs.apply(node.host, REQUEST)
    assert findings_of(report, "sysctl-overridden") == findings_of(report, "sysctl-conf-disagrees") == []


@pytest.mark.parametrize("verb", [verbs.check, verbs.apply], ids=["check", "apply"])
def test_the_kubelet_rejects_a_waived_parameter(verb: Callable[[Host, Request], Report], node: Node) -> None:
    node.waives(protects=True)
    report = verb(node.host, REQUEST)
    (refused,) = (item for item in report.items if item.status is ItemStatus.REFUSED)
    assert refused.detail == f"not written: it requires {KEY} = 1, found 2"
    (error,) = findings_of(report, "kernel-parameter")
    assert (error.blocks_gate, error.prevents_start) == (False, True)
    assert error.message.startswith("K3s will not start after apply: ")
    assert str(error.location) == f"{SETTINGS}:2"
    assert "protect-kernel-defaults: false" in text(error.repair)


def test_the_kubelet_accepts_a_waived_parameter_with_the_expected_value(node: Node) -> None:
    node.waives(protects=True)
    (node.root / "proc/sys/vm/overcommit_memory").write_text("1\n")
    assert findings_of(verbs.apply(node.host, REQUEST), "kernel-parameter") == []


def edits(node: Node, content: str) -> list[Finding]:
    """Return the findings after the managed file was replaced by this content."""
    node.settles("protect-kernel-defaults: false\n")
    verbs.apply(node.host, REQUEST)
    (node.root / PARAMETERS_FILE.lstrip("/")).write_text(content)
    return findings_of(verbs.check(node.host, REQUEST), "sysctl-overridden")


OURS = "".join(f"{row.key}={row.value}\n" for row in SYSCTLS if row.written and row.key != "kernel.panic")


def test_a_line_deleted_from_the_managed_file_is_reported(node: Node) -> None:
    (error,) = edits(node, OURS)
    assert error.message.startswith("no file sets kernel.panic at the next boot")
    assert (error.expected, str(error.location)) == ("10", PARAMETERS_FILE)
    assert text(error.repair) == "sudo k3s-harden apply --force"
    (node.root / "etc/sysctl.d/10-site.conf").write_text("kernel.panic = 10\n")
    assert edits(node, OURS) == []


@pytest.mark.parametrize("content", [f"{OURS}kernel.panic=10\nvm.swappiness=1\n", "", "# nothing yet\n"])
def test_an_edit_that_changes_no_managed_value_is_not_reported(content: str, node: Node) -> None:
    (node.root / "etc/sysctl.d/10-site.conf").write_text(f"{OURS}kernel.panic=10\n" if "yet" in content else "")
    assert edits(node, content) == []


def test_with_a_read_only_kernel_the_repair_is_for_the_machine(node: Node) -> None:
    """With a read-only /proc/sys, apply and sysctl cannot change the value. It is not always that of a container."""
    verbs.apply(node.host, REQUEST)
    (node.root / "proc/sys/vm/overcommit_memory").write_text("2\n")
    seen = observe_situation(node.host, REQUEST)
    (problem,) = kernel_parameter(seen)
    assert text(problem.repair) == "sudo k3s-harden apply"
    read_only = replace(seen.facts, platform=replace(seen.facts.platform, kernel_is_read_only=True))
    (problem,) = kernel_parameter(replace(seen, facts=read_only))
    assert text(problem.repair).startswith("where it is writable, run `printf")
    assert f"printf '%s\\n' {KEY}=1 | sudo tee" in text(problem.repair)
    (all_parameters,) = kernel_read_only(replace(seen, facts=read_only))
    assert all_parameters.repair == problem.repair
    inside = replace(read_only, platform=replace(read_only.platform, container="podman"))
    (problem,) = kernel_parameter(replace(seen, facts=inside))
    assert text(problem.repair).startswith("on the machine that runs this container, run `printf")


@pytest.mark.parametrize("verb", [verbs.check, verbs.apply], ids=["check", "apply"])
@pytest.mark.parametrize(
    ("line", "found", "location"),
    [("", "0", f"{SETTINGS}:2"), (f"{KEY} = 2\n", "2", "/etc/sysctl.d/99-database.conf:1")],
    ids=["kernel-default", "file-of-the-site"],
)
def test_the_kubelet_rejects_a_waived_parameter_after_the_next_boot(
    verb: Callable[[Host, Request], Report], line: str, found: str, location: str, node: Node
) -> None:
    """The value of an earlier apply is still in the kernel, so K3s starts now, and not after the next boot."""
    node.settles("")
    verbs.apply(node.host, REQUEST)
    (node.root / "etc/sysctl.d/99-database.conf").write_text(line)
    node.waives(protects=True)
    assert node.live() == "1"
    report = verb(node.host, REQUEST)
    assert findings_of(report, "kernel-parameter") == []
    (error,) = findings_of(report, "waived-parameter-at-boot")
    assert (error.blocks_gate, error.prevents_start, report.exit_code) == (False, False, 3)
    assert (error.expected, error.found, str(error.location)) == ("1", f"{found} after the next boot", location)
    assert text(error.repair).startswith("set `protect-kernel-defaults: false` in ")
    assert (f"unless another program sets {KEY}" in error.message) is (not line)


@pytest.mark.parametrize("protects", [True, False], ids=["set-by-a-file", "not-protected"])
def test_the_kubelet_accepts_a_waived_parameter_after_the_next_boot(*, protects: bool, node: Node) -> None:
    node.settles("")
    verbs.apply(node.host, REQUEST)
    (node.root / "etc/sysctl.d/99-database.conf").write_text(f"{KEY} = 1\n" if protects else "")
    node.waives(protects=protects)
    verbs.apply(node.host, REQUEST)
    assert findings_of(verbs.check(node.host, REQUEST), "waived-parameter-at-boot") == []
