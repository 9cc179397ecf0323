"""Inputs of the gate that can fail at a boot: K3s' version, the settings, the waivers and the clock."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

from agent.base.errors import ExitCode, HardenError, InputError, UsageError
from agent.base.host import Host
from agent.base.host.process import Completed
from agent.base.model import Location
from agent.base.repair import Decide, RunVerb, Set, moved_away
from agent.base.report import Fact, Finding, ItemStatus, Report
from agent.base.value import replace
from agent.findings import collect_findings
from agent.harden.gate.starting_service import StartingService
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.harden.situation.observation import observe_situation
from agent.k3s.roles_and_versions import Version
from agent.verbs import check_and_apply
from agent.verbs.preflight import preflight
from tests.fake import Clock, Programs, fake_host
from tests.k3s_tree import fresh

pytestmark = pytest.mark.root

DAY = 86_400.0
K3S = "usr/local/bin/k3s"
SETTINGS = "etc/k3s-harden/config.yaml"
POLICY = "var/lib/rancher/k3s/server/manifests/policy.yaml"
RECORD = "var/lib/k3s-harden/last-run.json"
UNIT = "[Service]\nExecStart=/usr/local/bin/k3s server\n"
ASKED = ("/usr/local/bin/k3s", "--version")
_MACHINE = "\x3e" if platform.machine() == "x86_64" else "\x28"
PROGRAM = "\x7fELF\2\1\1" + "\0" * 9 + f"\2\0{_MACHINE}\0, the content of a program"
NEWER = "k3s version v1.34.1+k3s1 (3dd98cc5)\n"
RELAXED = "protect-kernel-defaults: false\n"
WAIVER = RELAXED + "waivers:\n  - control: vm.overcommit_memory\n    reason: the database needs it\n    expires: {}\n"
REQUEST = Request(Overrides())


class Node(NamedTuple):
    """A live K3s server."""

    root: Path
    host: Host
    clock: Clock
    programs: Programs
    answers: dict[tuple[str, ...], Completed]

    def put(self, path: str, content: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def prints(self, text: str) -> None:
        self.put(K3S, f"{PROGRAM} {text}")
        self.answers[ASKED] = Completed(0, text, "")

    def run(self, verb: str) -> Report:
        host = replace(self.host)
        if verb == "apply":
            return check_and_apply.apply(host, REQUEST)
        return check_and_apply.check(host, REQUEST) if verb == "check" else check_and_apply.gate(host, REQUEST)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Return a server with K3s v1.24, on 2027-01-01."""
    root = tmp_path / "host"
    fresh(root)
    clock = Clock(1_798_761_600.0)
    answers: dict[tuple[str, ...], Completed] = {}
    programs = Programs(answers)
    new = Node(root, fake_host(root, programs=programs, clock=clock, is_live=True), clock, programs, answers)
    new.put("etc/systemd/system/k3s.service", UNIT)
    new.put("dev/kmsg", "")
    new.prints("k3s version v1.24.17+k3s1 (3dd98cc5)\ngo version go1.24.4\n")
    (root / K3S).chmod(0o755)
    return new


def version_fact(report: Report) -> Fact:
    return next(fact for fact in report.facts if fact.name == "K3s version")


def only(report: Report, kind: str) -> Finding:
    (found,) = (finding for finding in report.findings if finding.id == kind)
    return found


def kinds(report: Report) -> set[str]:
    return {finding.id for finding in report.findings}


@pytest.mark.parametrize("answer", ["", "nonsense\n", "k3s version"])
def test_a_failing_k3s_version_keeps_the_last_known_version(node: Node, answer: str) -> None:
    """A node of v1.24 is not hardened for the newest version."""
    node.run("apply")
    before = (node.root / POLICY).read_bytes()
    assert b"PodSecurityPolicy" in before
    node.prints(answer)
    report = node.run("gate")
    assert report.exit_code is ExitCode.COMPLIANT
    fact = version_fact(report)
    assert fact.value == "v1.24.17+k3s1"
    assert fact.source.startswith("last successful run, 2027-01-01; /usr/local/bin/k3s --version printed no valid")
    assert "v1.24.17+k3s1, which was recorded on 2027-01-01" in only(report, "recorded-version-used").message
    assert (node.root / POLICY).read_bytes() == before


def test_the_version_of_an_unchanged_program_is_read_once(node: Node) -> None:
    """The start of K3s' program takes half as long as a check. Only a successful run records the version."""
    node.put(K3S, PROGRAM)
    node.run("check")
    node.run("check")
    assert node.programs.asked == [ASKED, ASKED]
    node.run("apply")
    del node.programs.asked[:]
    for verb in ("gate", "check", "apply"):
        report = node.run(verb)
        fact = version_fact(report)
        recorded = "/usr/local/bin/k3s --version, recorded on 2027-01-01; the program has not changed since"
        assert (fact.value, fact.source) == ("v1.24.17+k3s1", recorded)
        assert "recorded-version-used" not in kinds(report)
    assert node.programs.asked == []


def replaced(file: Path) -> None:
    """Replace a program by one of the same size and modification time, as rsync does."""
    before = file.stat()
    other = file.with_name("k3s.new")
    other.write_text(PROGRAM.replace("content", "CONTENT"))
    other.chmod(0o755)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)


def written(file: Path) -> None:
    """Write other content of the same size, with the earlier modification time."""
    before = file.stat()
    time.sleep(0.02)  # ext4 takes the change time from the kernel's tick
    file.write_text(PROGRAM.replace("content", "CONTENT"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def linked(file: Path) -> None:
    """Let the path be a symlink to another version."""
    other = file.with_name("k3s-1.34")
    other.write_text(PROGRAM)
    file.unlink()
    file.symlink_to(other.name)


@pytest.mark.parametrize("change", [replaced, written, linked])
def test_a_changed_program_is_asked_for_its_version(node: Node, change: Callable[[Path], None]) -> None:
    """An upgrade counts at once, however the program was replaced."""
    node.put(K3S, PROGRAM)
    node.run("apply")
    node.prints(NEWER)
    change(node.root / K3S)
    assert version_fact(node.run("gate")).value == "v1.34.1+k3s1"


def test_the_target_of_an_unchanged_symlink_is_asked_for_its_version(node: Node) -> None:
    """The identity is that of the program, not of the link."""
    node.put("usr/local/bin/k3s-1.24", PROGRAM)
    (node.root / K3S).unlink()
    (node.root / K3S).symlink_to("k3s-1.24")
    node.run("apply")
    node.prints(NEWER)
    replaced(node.root / "usr/local/bin/k3s-1.24")
    assert version_fact(node.run("gate")).value == "v1.34.1+k3s1"


def test_a_script_is_asked_for_its_version_each_time(node: Node) -> None:
    """It can start another program, which changes without it."""
    node.put(K3S, '#!/bin/sh\nexec /opt/k3s/current "$@"\n')
    node.put(SETTINGS, "role: server\nk3s-config: /etc/rancher/k3s/config.yaml\n")
    assert node.run("apply").exit_code is ExitCode.COMPLIANT
    assert node.programs.asked == [ASKED], "apply observes the host three times"
    node.run("gate")
    assert node.programs.asked == [ASKED, ASKED]


def test_the_version_that_an_apply_before_k3s_got_is_that_of_the_next_check(node: Node) -> None:
    """K3s is not installed yet, and the command that installs it keeps the version."""
    (node.root / K3S).unlink()
    (node.root / "etc/systemd/system/k3s.service").unlink()
    overrides = Overrides(role="server", k3s_version="1.34")
    check_and_apply.apply(replace(node.host), replace(REQUEST, overrides=overrides))
    report = check_and_apply.check(replace(node.host), replace(REQUEST, overrides=Overrides(role="server")))
    assert any("INSTALL_K3S_CHANNEL=v1.34" in str(step.step) for step in report.next_steps)


def test_a_version_of_the_settings_is_not_that_of_the_program(node: Node) -> None:
    """When the setting is removed, the program is asked."""
    node.put(K3S, PROGRAM)
    node.put(SETTINGS, "k3s-version: 1.34\n")
    node.run("apply")
    (node.root / SETTINGS).unlink()
    fact = version_fact(node.run("gate"))
    assert (fact.value, node.programs.asked) == ("v1.24.17+k3s1", [ASKED])


def test_the_gate_hardens_for_the_program_and_not_for_an_older_setting(node: Node) -> None:
    """After an upgrade the setting names the version before it, which would break the K3s that starts."""
    node.put(K3S, PROGRAM)
    node.put(SETTINGS, "k3s-version: v1.24.17+k3s1\n")
    assert node.run("apply").exit_code is ExitCode.COMPLIANT
    assert b"kind: PodSecurityPolicy" in (node.root / POLICY).read_bytes()
    assert "version-differs" not in kinds(node.run("check"))
    replaced(node.root / K3S)
    node.prints(NEWER)
    del node.programs.asked[:]
    report = node.run("gate")
    assert report.exit_code is ExitCode.COMPLIANT
    assert b"kind: PodSecurityPolicy" not in (node.root / POLICY).read_bytes()
    for seen in (report, node.run("check"), node.run("apply")):
        finding = only(seen, "version-differs")
        assert finding.expected == "v1.34.1+k3s1, from /usr/local/bin/k3s --version"
        assert finding.found == "v1.24.17+k3s1, from `k3s-version` in the settings"
        assert (str(finding.location), finding.blocks_gate) == (f"/{SETTINGS}", False)
    assert node.programs.asked == [ASKED], "the version of the program was recorded by the gate"


def test_a_failing_program_does_not_bring_an_older_setting_back(node: Node) -> None:
    """The program printed its version before the last successful run, after the setting was written."""
    node.put(K3S, PROGRAM)
    node.put(SETTINGS, "k3s-version: v1.24.17+k3s1\n")
    node.prints(NEWER)
    node.run("apply")
    replaced(node.root / K3S)
    node.prints("")
    for _ in range(2):
        report = node.run("gate")
        assert report.exit_code is ExitCode.COMPLIANT
        assert "v1.34.1+k3s1, which was recorded on" in only(report, "recorded-version-used").message
    assert b"kind: PodSecurityPolicy" not in (node.root / POLICY).read_bytes()


def test_a_setting_counts_if_no_program_ever_printed_its_version(node: Node) -> None:
    """It is for such a host, and a change of it counts at once."""
    node.prints("")
    for version in ("v1.24.17+k3s1", "v1.34.1+k3s1"):
        node.put(SETTINGS, f"k3s-version: {version}\n")
        assert node.run("apply").exit_code is ExitCode.COMPLIANT
        fact = version_fact(node.run("gate"))
        assert (fact.value, fact.source) == (version, "given")


def test_apply_with_the_version_of_an_upgrade_hardens_for_it(node: Node) -> None:
    """K3s is stopped, and its new program is installed afterwards. A gate before that hardens for the old one."""
    node.put(K3S, PROGRAM)
    host = replace(node.host)
    report = check_and_apply.apply(host, Request(Overrides(k3s_version="v1.34.1+k3s1")))
    assert report.exit_code is ExitCode.COMPLIANT
    assert b"kind: PodSecurityPolicy" not in (node.root / POLICY).read_bytes()
    finding = only(report, "version-differs")
    assert finding.expected == "v1.24.17+k3s1, from /usr/local/bin/k3s --version"
    assert (finding.found, finding.location) == ("v1.34.1+k3s1, from --k3s-version", None)
    assert "v1.24.17+k3s1" in (node.root / RECORD).read_text(), "the record has the version of the program"
    report = check_and_apply.gate(replace(node.host), Request(Overrides(k3s_version="v1.34.1+k3s1")))
    assert "the hardening for v1.24.17+k3s1 applies" in only(report, "version-differs").message
    assert b"kind: PodSecurityPolicy" in (node.root / POLICY).read_bytes()


def test_preflight_names_the_setting_that_an_upgrade_makes_wrong(node: Node) -> None:
    node.put(SETTINGS, "k3s-version: 1.24\n")
    assert "version-differs" not in kinds(node.run("apply")), "only the minor version decides what applies"
    del node.programs.asked[:]
    result = preflight(replace(node.host), REQUEST, Version.parse("v1.25"))
    assert node.programs.asked == []
    assert "version-differs" not in {problem.finding.id for problem in result.problems}
    steps = [str(step.step) for step in result.next_steps]
    edit = Set("k3s-version", '"1.25"', Location(PurePosixPath(f"/{SETTINGS}")))
    assert str(edit) in steps
    node.put(SETTINGS, "k3s-version: 1.25\n")
    result = preflight(replace(node.host), REQUEST, Version.parse("v1.25"))
    assert not any("k3s-version`" in str(step.step) for step in result.next_steps)


def test_a_program_that_others_can_change_is_not_trusted_because_of_the_record(node: Node) -> None:
    """Its directory belongs to another user since the last run, which does not change the program."""
    node.put(K3S, PROGRAM)
    node.run("apply")
    (node.root / K3S).parent.chmod(0o777)
    assert "is not run, because" in version_fact(node.run("gate")).source


def test_a_missing_k3s_program_keeps_the_last_known_version(node: Node) -> None:
    """The service of K3s still exists."""
    node.run("apply")
    (node.root / K3S).unlink()
    assert "recorded-version-used" in kinds(node.run("gate"))


def test_without_a_record_a_failing_k3s_version_blocks_the_gate(node: Node) -> None:
    """The gate makes no changes, because the host is hardened for v1.24 or older."""
    node.run("apply")
    before = (node.root / POLICY).read_bytes()
    (node.root / RECORD).unlink()
    node.prints("")
    report = node.run("gate")
    assert report.exit_code is ExitCode.ERROR
    assert only(report, "other-family-assumed").blocks_gate
    assert (node.root / POLICY).read_bytes() == before


def test_a_k3s_that_prints_no_version_is_blocked_until_a_setting_has_it(node: Node) -> None:
    """A K3s v1.24 would start with the files of the newest version. `check` reports it, too."""
    node.prints("")
    for verb in ("gate", "check"):
        assert only(node.run(verb), "version-unknown").blocks_gate
    assert node.run("gate").exit_code is ExitCode.NOT_COMPLIANT
    node.put(SETTINGS, "k3s-version: 1.24\n")
    report = node.run("gate")
    assert (report.exit_code, version_fact(report).value) == (ExitCode.COMPLIANT, "v1.24.0")


K3S_SERVER = "/usr/local/bin/k3s server"
SITE_CONFIG = "/srv/site.yaml"
FOLLOWED = {
    "plain": f"ExecStart={K3S_SERVER}",
    "env": f"ExecStart=/usr/bin/env A=b /usr/bin/nice -n -5 {K3S_SERVER} -c {SITE_CONFIG}",
    "environment file": f"EnvironmentFile=-/etc/k3s.env\nExecStart={K3S_SERVER}",
    "equal commands": f"Type=oneshot\nExecStart={K3S_SERVER}\nExecStart={K3S_SERVER}",
}
NOT_FOLLOWED = {
    "shell": f"ExecStart=/bin/sh -c 'export K3S_CONFIG_FILE={SITE_CONFIG}; exec k3s server'",
    "script": "ExecStart=/opt/start-k3s server",
    "environment file of several lines": f"EnvironmentFile=/etc/lines.env\nExecStart={K3S_SERVER}",
    "root": f"RootDirectory=/srv\nExecStart={K3S_SERVER}",
    "several commands": f"Type=oneshot\nExecStart=/bin/prepare\nExecStart={K3S_SERVER} -c {SITE_CONFIG}",
    "specifier": f"ExecStart={K3S_SERVER} -c %E/site.yaml",
    "options of env": f"ExecStart=env -u A {K3S_SERVER} -c {SITE_CONFIG}",
    "relative program": f"ExecStart=k3s server -c {SITE_CONFIG}",
    "empty --config": f"ExecStart={K3S_SERVER} --config=",
    "configuration of one process": f"ExecStart={K3S_SERVER} --config=/dev/stdin",
    "PAM": f"PAMName=login\nExecStart={K3S_SERVER} -c {SITE_CONFIG}",
}


def upgraded(node: Node, unit: str, lines: str, role: str, recorded: str | None = None) -> None:
    """Harden a host whose service has these lines, and leave what an earlier release left that followed it.

    The first releases recorded no k3s-config, and the next ones an empty one.
    """
    node.put("etc/k3s.env", f"K3S_CONFIG_FILE={SITE_CONFIG}\n")
    node.put("etc/lines.env", f"K3S_ARGS='--debug \\\n -c {SITE_CONFIG}'\n")
    node.put(SETTINGS, f"role: {role}\nk3s-config: {SITE_CONFIG}\n")
    node.put(unit, f"[Service]\nExecStart=/opt/start-k3s {role}\n")
    assert node.run("apply").exit_code is ExitCode.COMPLIANT
    (node.root / SETTINGS).unlink()
    record = json.loads((node.root / RECORD).read_text())
    del record["k3s-config"]
    node.put(RECORD, json.dumps({**record, **({} if recorded is None else {"k3s-config": recorded})}))
    node.put(unit, f"[Service]\n{lines}\n".replace("server", role))


@pytest.mark.parametrize("kind", FOLLOWED)
def test_an_upgrade_follows_the_service_of_the_earlier_release(node: Node, kind: str) -> None:
    upgraded(node, "etc/systemd/system/k3s.service", FOLLOWED[kind], "server")
    for _ in range(2):
        report = node.run("gate")
        assert report.exit_code is ExitCode.COMPLIANT
        assert kinds(report).isdisjoint({"k3s-config-recorded", "k3s-config-unknown"})


@pytest.mark.parametrize(
    ("kind", "role", "recorded"),
    [
        *((kind, "server", recorded) for kind in NOT_FOLLOWED for recorded in (None, "")),
        *(("shell", "agent", None), ("empty --config", "agent", "")),
    ],
)
def test_an_upgrade_keeps_the_configuration_of_a_service_that_is_not_followed_any_more(
    node: Node, kind: str, role: str, recorded: str | None
) -> None:
    """The journal has the drop-in of the earlier release, which followed it. Another command is not followed."""
    unit = "etc/systemd/system/k3s.service" if role == "server" else "etc/systemd/system/k3s-agent.service"
    (node.root / "etc/systemd/system/k3s.service").unlink()
    upgraded(node, unit, NOT_FOLLOWED[kind], role, recorded)
    for _ in range(2):
        report = node.run("gate")
        assert report.exit_code is ExitCode.COMPLIANT
        assert SITE_CONFIG in only(report, "k3s-config-recorded").message
        assert node.run("check").exit_code is ExitCode.NOT_COMPLIANT
    node.put(unit, f"[Service]\n{NOT_FOLLOWED[kind]}\n".replace("server", f"{role} --debug"))
    with pytest.raises(UsageError) if (kind, role) == ("shell", "agent") else nullcontext():
        assert only(node.run("gate"), "k3s-config-unknown").blocks_gate


def test_a_gate_that_blocks_again_under_openrc_names_the_log_of_the_service(node: Node) -> None:
    """It reads nothing else about itself: a gate for which K3s waits is in effect."""
    (node.root / "etc/systemd/system/k3s.service").unlink()
    for path in ("run/openrc/softlevel", "run/k3s-harden/ungated.k3s"):
        node.put(path, "")
    start = StartingService("k3s", None, {}, None)  # type: ignore[arg-type]  # it has ended
    request = Request(Overrides(role="server"), for_gate=True, service="k3s", start=start)
    situation = observe_situation(node.host, request)
    (found,) = (finding for finding in collect_findings(situation) if finding.id == "start-blocked")
    assert "/var/log/k3s.log" in str(found.repair)


def test_a_damaged_record_is_reported_and_replaced(node: Node) -> None:
    node.run("apply")
    (node.root / RECORD).write_text("{")
    assert RECORD in only(node.run("check"), "not-readable").message
    assert node.run("gate").exit_code is ExitCode.COMPLIANT
    assert "not-readable" not in kinds(node.run("check"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("audit: {max-age: 60\n", f"/{SETTINGS}:1"),
        ("audit: {max-agee: 60}\n", f"/{SETTINGS}:1: unknown setting"),
        ("role: agent\n", "cannot treat this host as agent"),
        ("waivers: [{control: 9.9.9, reason: the database}]\n", f"/{SETTINGS}:1: `waivers`: unknown control `9.9.9`"),
        ("waivers-file: /etc/k3s-harden/none.yaml\n", "/etc/k3s-harden/none.yaml: the file does not exist"),
        ("audit: {policy-file: /etc/hostname}\n", "cannot use /etc/hostname"),
    ],
)
def test_the_gate_uses_the_last_valid_settings(node: Node, text: str, problem: str) -> None:
    node.put(SETTINGS, "audit: {max-age: 60}\n")
    assert node.run("apply").exit_code is ExitCode.COMPLIANT
    node.clock.seconds += 3 * DAY
    node.put(SETTINGS, text)
    report = node.run("gate")
    assert report.exit_code is ExitCode.COMPLIANT
    finding = only(report, "recorded-settings-used")
    assert problem in finding.message
    assert finding.message.endswith("; the gate uses the settings that were recorded on 2027-01-01")
    assert finding.repair.steps[-1] == RunVerb("check")
    assert "audit-log-maxage=60" in (node.root / "etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml").read_text()
    for verb in ("check", "apply"):
        with pytest.raises((InputError, UsageError)) as refused:
            node.run(verb)
        assert refused.value.exit_code is ExitCode.USAGE
    node.put(SETTINGS, "audit: {max-age: 60}\n")
    assert "recorded-settings-used" not in kinds(node.run("gate"))


def test_settings_that_cannot_be_read_do_not_block_k3s(node: Node) -> None:
    node.run("apply")
    node.put(SETTINGS, "{}\n")
    (node.root / SETTINGS).chmod(0o666)
    report = node.run("gate")
    assert report.exit_code is ExitCode.COMPLIANT
    assert only(report, "recorded-settings-used").location is not None


@pytest.mark.parametrize("link", [SETTINGS, "etc/k3s-harden"])
@pytest.mark.parametrize("had_settings", [True, False])
def test_settings_behind_a_broken_symlink_are_not_missing_settings(
    node: Node, link: str, *, had_settings: bool
) -> None:
    """The disk with the settings is not mounted. The gate uses the recorded settings; other verbs name the symlink."""
    if had_settings:
        node.put(SETTINGS, "audit: {max-age: 60}\n")
    node.run("apply")
    dropin = node.root / "etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml"
    before = dropin.read_bytes()
    (node.root / SETTINGS).unlink(missing_ok=True)
    place = node.root / link
    if link == "etc/k3s-harden" and place.exists():
        place.rmdir()
    place.parent.mkdir(exist_ok=True)
    place.symlink_to("/srv/k3s-harden")
    report = node.run("gate")
    assert report.exit_code is ExitCode.COMPLIANT
    found = only(report, "recorded-settings-used")
    subject = "it" if link == SETTINGS else f"/{link}"
    assert f"/{SETTINGS}: {subject} is a symlink to /srv/k3s-harden, which does not exist" in found.message
    assert dropin.read_bytes() == before
    for verb in ("check", "apply"):
        with pytest.raises(InputError, match="which does not exist") as refused:
            node.run(verb)
        (question,) = refused.value.repair.steps
        assert isinstance(question, Decide)
        assert [answer.steps for answer in question.answers] == [(), (moved_away(f"/{link}"),)]


def test_the_recorded_waivers_are_used_too(node: Node) -> None:
    """The waivers file of the recorded settings can have changed."""
    node.prints(NEWER)
    node.put(SETTINGS, f"{RELAXED}waivers-file: /etc/k3s-harden/waivers.yaml\n")
    node.put("etc/k3s-harden/waivers.yaml", "- {control: vm.overcommit_memory, reason: the database needs it}\n")
    node.run("apply")
    node.put("etc/k3s-harden/waivers.yaml", "- {control: vm.overcommit_memory\n")
    report = node.run("gate")
    assert report.exit_code is ExitCode.COMPLIANT
    assert "recorded-settings-used" in kinds(report)
    assert [item.id for item in report.items if item.status is ItemStatus.WAIVED] == ["vm.overcommit_memory"]


def test_recorded_waivers_for_unknown_controls_do_not_block_k3s(node: Node) -> None:
    """An earlier release accepted and recorded them. The gate reports them after the upgrade."""
    node.put(SETTINGS, WAIVER.format("2028-01-01"))
    node.prints(NEWER)
    node.run("apply")
    settings, record = node.root / SETTINGS, node.root / RECORD
    before = settings.read_bytes()
    after = before.replace(b"vm.overcommit_memory", b"vm.overcomit_memory")
    settings.write_bytes(after)
    text = record.read_text().replace(sha256(before).hexdigest(), sha256(after).hexdigest())
    record.write_text(text.replace("vm.overcommit_memory", "vm.overcomit_memory"))
    report = node.run("gate")
    assert report.exit_code is ExitCode.COMPLIANT
    assert "unknown control `vm.overcomit_memory`" in only(report, "recorded-settings-used").message


def test_without_a_record_invalid_settings_block_the_gate(node: Node) -> None:
    """The settings of the site are unknown."""
    node.put(SETTINGS, "audit: [\n")
    with pytest.raises(InputError, match=r"cannot use /etc/k3s-harden/config\.yaml"):
        node.run("gate")
    assert not (node.root / POLICY).exists()


def test_a_record_of_another_settings_file_is_ignored(node: Node) -> None:
    """A gate with --config records another path."""
    node.run("apply")
    other = node.root.parent / "other.yaml"
    other.write_text("[")
    with pytest.raises(HardenError):
        check_and_apply.gate(node.host, replace(REQUEST, settings_file=other))  # type: ignore[arg-type]  # both are paths


def test_a_waiver_that_expires_soon_is_reported_by_check(node: Node) -> None:
    node.prints(NEWER)
    node.put(SETTINGS, WAIVER.format("2027-01-14"))
    node.run("apply")
    assert "expires at the end of 2027-01-14" in only(node.run("check"), "waiver-expires-soon").message
    node.put(SETTINGS, WAIVER.format("2027-01-15"))
    assert "waiver-expires-soon" not in kinds(node.run("check"))
    node.put(SETTINGS, WAIVER.format("2027-01-14") + WAIVER.format("2028-01-01").partition("waivers:\n")[2])
    assert "waiver-expires-soon" not in kinds(node.run("check"))


def test_an_expired_waiver_does_not_block_k3s_at_the_next_boot(node: Node) -> None:
    """The gate still applies the waiver until apply runs; check does not."""
    node.prints(NEWER)
    node.put(SETTINGS, WAIVER.format("2027-01-02"))
    node.run("apply")
    live = node.root / "proc/sys/vm/overcommit_memory"
    assert live.read_text() == "0\n"
    for _ in range(3):
        node.clock.seconds += 3 * DAY
        report = node.run("gate")
        assert report.exit_code is ExitCode.COMPLIANT
        message = only(report, "expired-waiver-applied").message
        assert "expired at the end of 2027-01-02; the gate still applies it" in message
        assert live.read_text() == "0\n"
    assert "waiver-expired" in kinds(node.run("check"))
    node.run("apply")
    assert live.read_text() == "1\n"
    assert "expired-waiver-applied" not in kinds(node.run("gate"))


def test_a_waiver_that_had_expired_before_does_not_apply(node: Node) -> None:
    """It was added after the last successful run."""
    node.prints(NEWER)
    node.run("apply")
    node.put(SETTINGS, WAIVER.format("2026-12-31"))
    assert kinds(node.run("gate")) & {"waiver-expired", "expired-waiver-applied"} == {"waiver-expired"}


@pytest.mark.parametrize("seconds", [0.0, 1_700_000_000.0, 1_798_761_600.0 + 4 * DAY])
def test_with_an_implausible_clock_no_waiver_expires(node: Node, seconds: float) -> None:
    """The clock is behind this release, or behind the last successful run."""
    node.prints(NEWER)
    node.clock.seconds += 5 * DAY
    node.put(SETTINGS, WAIVER.format("2027-01-09"))
    node.run("apply")
    record = (node.root / RECORD).read_text()
    node.clock.seconds = seconds
    for verb in ("gate", "check"):
        report = node.run(verb)
        assert report.exit_code is ExitCode.COMPLIANT
        finding = only(report, "clock-implausible")
        assert finding.expected == "2027-01-06 or later"
        assert kinds(report).isdisjoint({"waiver-expired", "expired-waiver-applied", "waiver-expires-soon"})
    assert (node.root / RECORD).read_text() == record


def test_a_recorded_day_in_the_future_is_corrected_by_hand(node: Node) -> None:
    """The clock was wrong when it was recorded."""
    node.prints(NEWER)
    node.clock.seconds += 1000 * DAY
    node.put(SETTINGS, WAIVER.format("2030-12-31"))
    node.run("apply")
    node.clock.seconds -= 1000 * DAY
    assert "clock-implausible" in kinds(node.run("gate"))
    node.run("apply")
    assert "clock-implausible" not in kinds(node.run("gate"))
