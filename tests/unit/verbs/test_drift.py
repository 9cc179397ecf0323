"""Drift: reported changes, stored files, and repair."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from agent.assess.assessment import CLUSTER_NOT_ASSESSED, Assessment, ControlStatus, Note, Verdict
from agent.assess.checks.answer import NO_ANSWER, Evidence
from agent.assess.checks.cluster.cluster_check import ClusterCheck
from agent.assess.evidence.host_assessment import Scope
from agent.assess.likely_cause import StatusChange
from agent.base.errors import HostError, InputError, LockHeldError
from agent.base.host.process import Completed
from agent.base.model import Location
from agent.base.repair import FixOwner, Repair
from agent.base.value import replace
from agent.findings.settings import UNDELIVERED
from agent.harden.guide.sysctls import SYSCTLS
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.verbs.drift import METRICS, REPAIR_TIMEOUT, REPORT, drift
from tests.fake import Clock, Programs, fake_host, names, unit_file
from tests.tree import Tree
from tests.unit.assessed import CERTIFICATES, KEYS, OVERCOMMIT, REPAIR_OF, WHEN, assessment, control, verdict

REQUEST = Request(Overrides(role="server", k3s_version="1.34"))
CRT = "/var/lib/rancher/k3s/server/tls/server-ca.crt"


_CLUSTER_NOTES = (Note(f"{CLUSTER_NOT_ASSESSED}: no answer", None, Repair()),)


@dataclass
class Node(Tree):
    """A host whose verdicts each test defines. `assessed` counts the assessments of the last run."""

    root: Path
    programs: Programs = field(default_factory=Programs)
    is_live: bool = False
    now: float = WHEN
    assessed: int = 0
    with_cluster: bool = False
    """Whether the last run queried the API server."""
    next_steps: list[str] = field(default_factory=list)
    """The next steps that the last run printed."""

    def look(
        self,
        *found: Verdict,
        repaired: tuple[Verdict, ...] = (),
        request: Request = REQUEST,
        version: str = "v1.34.1+k3s1",
        role: str = "server",
        silent: tuple[str, ...] = (),
    ) -> list[str]:
        """Run drift on a host with these verdicts, and with `repaired` after a repair.

        `silent` are the IDs of the controls for which the API server does not answer.
        """

        def assess(scope: Scope) -> Assessment:
            self.assessed += 1
            self.now += 60
            self.with_cluster = scope.with_cluster
            shown = repaired if repaired and self.assessed > 1 else found
            result = assessment(*shown, when=self.now, version=version, role=role)
            return replace(result, without_answer=frozenset(silent), notes=_CLUSTER_NOTES if silent else ())

        self.assessed = 0
        host = fake_host(self.root, clock=Clock(self.now), programs=self.programs, is_live=self.is_live)
        lines = list(drift(host, request, assess))
        self.next_steps = [line for line in lines if line.startswith("next ")]
        return [line for line in lines if line not in self.next_steps]

    def metrics(self) -> dict[str, float]:
        """Return all samples, as Prometheus parses them."""
        text = self.path(METRICS).read_text()
        assert list(openmetrics_families(text))  # type: ignore[no-untyped-call]
        samples = [sample for family in text_families(text) for sample in family.samples]
        return {" ".join((sample.name, *sample.labels.values())): sample.value for sample in samples}


@pytest.fixture
def node(in_memory: Path) -> Node:
    host = Node(in_memory)
    for row in SYSCTLS:
        host.write(f"/proc/sys/{row.key.replace('.', '/')}", f"{row.value}\n")
    host.write("/etc/k3s-harden/config.yaml", "")
    host.write(CRT, "certificate")
    host.path("/var/lib").chmod(0o755)
    return host


def is_unchanged(lines: list[str]) -> bool:
    """Return whether the only line says since when nothing has changed: all runs are within an hour."""
    return len(lines) == 1 and re.fullmatch(r"no change since \d\d:\d\d UTC", lines[0]) is not None


def test_a_second_run_says_since_when_nothing_has_changed(node: Node) -> None:
    """With the day if that is another one."""
    node.look(OPEN)
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(node.now))
    node.now += 86_400
    assert node.look(OPEN) == [f"no change since {since}"]
    assert is_unchanged(node.look(OPEN))


OPEN = verdict(CERTIFICATES, ControlStatus.FAIL, found="0644", where=CRT)


def test_the_first_run_reports_its_result_and_no_change(node: Node) -> None:
    """Open controls are not changes. Silence would look as if nothing had been assessed."""
    (line,) = node.look(OPEN, verdict(KEYS))
    assert line.startswith("stored this assessment; the next run reports what has changed since: 1 ")


def test_a_newly_failed_control_has_a_line(node: Node) -> None:
    node.look(verdict(CERTIFICATES), verdict(KEYS))
    os.utime(node.path(CRT), (node.now + 60, node.now + 60))
    (line,) = node.look(OPEN, verdict(KEYS))
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(WHEN + 120))
    assert line == f"PASS → FAIL {CERTIFICATES.id} (1.1.20): found 0644 ({CRT}); likely cause: {CRT}, written {when}"


def test_controls_that_changed_for_the_same_reason_have_one_line(node: Node) -> None:
    """Such as those of all files below a directory that others can write to."""
    evidence = Evidence("0777", Location(PurePosixPath("/var/lib/rancher")))
    node.look(verdict(CERTIFICATES), verdict(KEYS))
    both = [verdict(control, ControlStatus.FAIL, found="0777") for control in (CERTIFICATES, KEYS)]
    (line,) = node.look(*(failed._replace(evidence=(evidence,)) for failed in both))
    assert f"{CERTIFICATES.id} (" in line
    assert f", {KEYS.id} (" in line


def test_the_next_steps_are_those_of_changed_controls_that_are_open(node: Node) -> None:
    opened = verdict(CERTIFICATES, ControlStatus.FAIL, owner=FixOwner.OPERATOR)
    broken = verdict(OVERCOMMIT, ControlStatus.FAIL, owner=FixOwner.APPLY)
    for _ in range(2):
        node.look(verdict(CERTIFICATES), broken)
    assert node.next_steps == []
    node.look(verdict(CERTIFICATES), verdict(OVERCOMMIT))
    node.look(opened, broken)
    assert node.next_steps == [
        "next 1: apply the hardening: sudo k3s-harden apply",
        "next 2: see how to fix pki-certificate-permissions: k3s-harden explain pki-certificate-permissions",
        "next 3: see the evidence and the fix of each open control: sudo k3s-harden assess",
    ]
    node.look(verdict(CERTIFICATES), verdict(OVERCOMMIT))
    assert node.next_steps == []


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (OPEN, verdict(CERTIFICATES, found="0600", where=CRT), "FAIL → PASS pki-certificate-permissions (1.1.20)"),
        (verdict(KEYS), verdict(KEYS, ControlStatus.UNKNOWN, reason="E"), f"PASS → UNKNOWN {KEYS.id} (1.1.21): E"),
        (OPEN, verdict(CERTIFICATES, ControlStatus.WAIVED), "FAIL → WAIVED pki-certificate-permissions (1.1.20)"),
        (
            verdict(OVERCOMMIT),
            verdict(OVERCOMMIT, ControlStatus.FAIL, found="2"),
            f"PASS → FAIL {OVERCOMMIT.id}: found 2",
        ),
    ],
)
def test_every_change_of_status_has_a_line_once(before: Verdict, after: Verdict, words: str, node: Node) -> None:
    node.look(before)
    (line,) = node.look(after)
    assert line.startswith(words)
    assert is_unchanged(node.look(after))


@pytest.mark.parametrize(
    ("before", "after", "role", "cause"),
    [
        ("v1.34.1+k3s1", "v1.35.0+k3s1", "server", "K3s upgrade from v1.34.1+k3s1 to v1.35.0+k3s1"),
        ("v1.34.1+k3s1", "v1.37.0 assumed", "server", ""),
        ("v1.37.0 assumed", "v1.35.0+k3s1", "server", ""),
        ("v1.34.1+k3s1", "v1.35.0+k3s1", "agent", "the role of this host changed from server to agent"),
    ],
)
def test_an_upgrade_or_another_role_is_the_likely_cause(
    before: str, after: str, role: str, cause: str, node: Node
) -> None:
    """An assumed version is none: K3s was not installed yet, or was removed."""
    node.look(verdict(KEYS), version=before)
    (line,) = node.look(verdict(KEYS, ControlStatus.FAIL), version=after, role=role)
    assert line.partition("; likely cause: ")[2] == cause


def test_a_change_of_the_benchmark_is_reported(node: Node) -> None:
    """Controls that only one of them has are not changes."""
    node.look(verdict(CERTIFICATES))
    report = json.loads(node.path(REPORT).read_bytes())
    del report["sha256"]
    node.path(REPORT).write_text(json.dumps({**report, "benchmark": "cis-1.8"}))
    assert node.look(verdict(KEYS, ControlStatus.FAIL)) == [
        "cis-1.8 → cis-1.9: controls that only one of them has are not compared"
    ]


@pytest.mark.parametrize("content", ["", "{", '{"schema": 2}'])
def test_an_invalid_stored_report_is_reported_and_replaced(content: str, node: Node) -> None:
    """A report that was truncated on a full disk does not stop later runs."""
    node.look(OPEN)
    node.path(REPORT).write_text(content)
    (line,) = node.look(OPEN)
    assert line.startswith(f"cannot use {REPORT}: ")
    assert line.endswith("; there is no earlier assessment to compare with")
    assert is_unchanged(node.look(OPEN))


@pytest.mark.parametrize("schema", [0, 9])
def test_a_stored_report_of_another_schema_is_ignored(schema: int, node: Node) -> None:
    """An upgrade or a downgrade of k3s-harden is not an error."""
    node.look(verdict(CERTIFICATES))
    report = json.loads(node.path(REPORT).read_bytes())
    node.path(REPORT).write_text(json.dumps({**report, "schema": schema}))
    (line,) = node.look(OPEN)
    assert line.startswith("stored this assessment; ")


def test_content_of_files_cannot_forge_lines(node: Node) -> None:
    node.look(verdict(KEYS))
    (line,) = node.look(verdict(KEYS, ControlStatus.FAIL, found="x\nPASS → FAIL \x1b[1mforged"))
    assert line.isprintable()


def test_only_root_can_read_report_and_metrics(node: Node) -> None:
    node.look(OPEN)
    state = node.path(REPORT).parent
    modes = {str(path.relative_to(state)): stat.S_IMODE(path.stat().st_mode) for path in (state, *state.rglob("*"))}
    assert modes == {".": 0o700, "assessment.json": 0o600, "metrics": 0o700, "metrics/k3s-harden.prom": 0o600}
    report = json.loads(node.path(REPORT).read_bytes())
    assert [(row["id"], row["status"]) for row in report["verdicts"]] == [(CERTIFICATES.id, "FAIL")]


def test_metrics_have_open_and_changed_controls(node: Node) -> None:
    node.look(
        verdict(CERTIFICATES), verdict(KEYS, ControlStatus.FAIL), verdict(OVERCOMMIT, ControlStatus.NOT_APPLICABLE)
    )
    changes = [f"k3s_harden_drift_controls {change}" for change in ("worse", "better", "other")]
    assert [node.metrics()[change] for change in changes] == [0, 0, 0]
    node.look(OPEN, verdict(KEYS), verdict(OVERCOMMIT))
    found = node.metrics()
    assert [found[change] for change in changes] == [1, 1, 1]
    assert found["k3s_harden_controls FAIL"] == 1
    assert found["k3s_harden_assessment_timestamp_seconds"] == pytest.approx(node.now)


@pytest.mark.parametrize(
    ("before", "after", "direction"),
    [
        (ControlStatus.PASS, ControlStatus.FAIL, "worse"),
        (ControlStatus.WAIVED, ControlStatus.FAIL, "worse"),
        (ControlStatus.PASS, ControlStatus.UNKNOWN, "worse"),
        (ControlStatus.FAIL, ControlStatus.PASS, "better"),
        (ControlStatus.UNKNOWN, ControlStatus.NOT_APPLICABLE, "better"),
        (ControlStatus.FAIL, ControlStatus.WAIVED, "better"),
        (ControlStatus.FAIL, ControlStatus.UNKNOWN, "other"),
        (ControlStatus.PASS, ControlStatus.NOT_APPLICABLE, "other"),
    ],
)
def test_a_newly_open_control_counts_as_worse(before: ControlStatus, after: ControlStatus, direction: str) -> None:
    assert StatusChange(before, verdict(KEYS, after)).direction == direction


def test_metrics_are_copied_to_a_public_file(node: Node) -> None:
    """The node exporter does not run as root, and ignores temporary names."""
    node.write("/etc/k3s-harden/config.yaml", "drift: {metrics-file: /var/lib/node_exporter/k3s.prom}\n")
    node.path("/var/lib/node_exporter").mkdir()
    node.path("/var/lib/node_exporter").chmod(0o755)
    node.look(OPEN)
    copy = node.path("/var/lib/node_exporter/k3s.prom")
    assert copy.read_bytes() == node.path(METRICS).read_bytes()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o644
    assert names(copy.parent) == ["k3s.prom"]


def test_a_metrics_file_that_is_not_writable_fails_last(node: Node) -> None:
    node.look(verdict(CERTIFICATES))
    node.write("/etc/k3s-harden/config.yaml", "drift: {metrics-file: /var/lib/none/k3s.prom}\n")
    lines = drift(fake_host(node.root, clock=Clock(node.now)), REQUEST, lambda _: assessment(OPEN))
    assert next(lines).startswith("PASS → FAIL")
    with pytest.raises(HostError, match=r"^cannot write /var/lib/none/k3s\.prom: "):
        list(lines)
    assert json.loads(node.path(REPORT).read_bytes())["verdicts"][0]["status"] == "FAIL"


ADMIN = control("rbac-cluster-admin", ClusterCheck("Look.", "rbac-cluster-admin"))


def test_the_api_server_is_queried_only_with_the_setting(node: Node) -> None:
    """By default the drift check does not use the network."""
    node.look(verdict(KEYS))
    assert not node.with_cluster
    node.write("/etc/k3s-harden/config.yaml", "drift: {cluster: true}\n")
    node.look(verdict(KEYS))
    assert node.with_cluster


@pytest.mark.parametrize("before", [ControlStatus.PASS, ControlStatus.FAIL])
def test_an_api_server_that_does_not_answer_is_not_drift(node: Node, before: ControlStatus) -> None:
    """A control keeps its stored status, so the next answer is compared with that."""
    node.look(verdict(ADMIN, before), verdict(KEYS))
    for _ in range(2):
        unread = verdict(ADMIN, ControlStatus.UNKNOWN)._replace(reason=NO_ANSWER.reason)
        lines = node.look(unread, verdict(KEYS), silent=(ADMIN.id,))
        assert lines == ["the cluster was not assessed: no answer"]
    assert is_unchanged(node.look(verdict(ADMIN, before), verdict(KEYS)))
    after = ControlStatus.FAIL if before is ControlStatus.PASS else ControlStatus.PASS
    assert node.look(verdict(ADMIN, after), verdict(KEYS)) == [f"{before} → {after} rbac-cluster-admin (5.1.1)"]


def test_a_component_that_does_not_answer_is_not_a_repair(node: Node) -> None:
    """A control that failed because of a running value stays failed; a new failure of the files is drift."""
    node.look(verdict(KEYS, ControlStatus.FAIL), verdict(CERTIFICATES))
    lines = node.look(verdict(KEYS), OPEN, silent=(KEYS.id, CERTIFICATES.id))
    assert [line.partition(" pki")[0] for line in lines[1:]] == ["PASS → FAIL"]
    assert lines[1].startswith("PASS → FAIL pki-certificate-permissions")


def test_the_report_is_replaced_under_the_lock(node: Node) -> None:
    """Another run that holds it may be replacing the same files."""
    node.look(OPEN)
    before = node.path(REPORT).read_bytes()
    with fake_host(node.root).lock(), pytest.raises(LockHeldError):
        node.look(verdict(CERTIFICATES))
    assert node.path(REPORT).read_bytes() == before


def test_invalid_settings_fail_before_anything_is_stored(node: Node) -> None:
    node.write("/etc/k3s-harden/config.yaml", "drift: {repare: true}\n")
    with pytest.raises(InputError, match="unknown setting"):
        node.look(OPEN)
    assert not node.path(REPORT).exists()


REPAIRABLE = verdict(CERTIFICATES, ControlStatus.FAIL, found="0644", where=CRT, owner=FixOwner.APPLY)
REPAIRED = verdict(CERTIFICATES, found="0600", where=CRT, owner=FixOwner.APPLY)
REPAIRS = "drift: {repair: true}\npki: {certificate-permissions: '0600'}\n"


@pytest.mark.parametrize("settings", ["", "drift: {repair: false}\npki: {certificate-permissions: '0600'}\n"])
def test_nothing_is_repaired_without_the_setting(settings: str, node: Node) -> None:
    node.write("/etc/k3s-harden/config.yaml", settings)
    node.look(REPAIRED)
    node.path(CRT).chmod(0o644)
    files = [path for path in node.root.rglob("*") if "k3s-harden" not in str(path) and path.is_file()]
    before = [(path, path.stat().st_mode, path.stat().st_ctime_ns) for path in files]
    node.look(REPAIRABLE)
    assert node.assessed == 1
    assert [(path, path.stat().st_mode, path.stat().st_ctime_ns) for path in files] == before
    assert stat.S_IMODE(node.path(CRT).stat().st_mode) == 0o644


def test_apply_repairs_with_the_setting(node: Node) -> None:
    node.write("/etc/k3s-harden/config.yaml", REPAIRS)
    node.look(REPAIRED)
    node.path(CRT).chmod(0o644)
    broken, repaired = node.look(REPAIRABLE, repaired=(REPAIRED,))
    assert broken.startswith("PASS → FAIL pki-certificate-permissions (1.1.20): found 0644")
    assert repaired == f"FAIL → PASS {CERTIFICATES.id} (1.1.20): found 0600 ({CRT}); fixed by k3s-harden apply"
    assert stat.S_IMODE(node.path(CRT).stat().st_mode) == 0o600
    assert json.loads(node.path(REPORT).read_bytes())["verdicts"][0]["status"] == "PASS"
    assert node.metrics()["k3s_harden_drift_controls worse"] == 1


@pytest.mark.parametrize("owner", [FixOwner.OPERATOR, FixOwner.K3S, FixOwner.NONE])
def test_controls_of_other_owners_start_no_repair(owner: FixOwner, node: Node) -> None:
    node.write("/etc/k3s-harden/config.yaml", REPAIRS)
    node.look(OPEN._replace(repair=REPAIR_OF[owner]))
    assert node.assessed == 1


def test_an_incomplete_repair_is_reported(node: Node) -> None:
    node.write("/etc/k3s-harden/config.yaml", REPAIRS)
    node.write("/etc/sysctl.d/90-kubelet.conf", "somebody's = own\n")
    lines = node.look(REPAIRABLE)
    assert [line for line in lines if line.startswith("not repaired: /etc/sysctl.d/90-kubelet.conf: exists with")]


SYSTEMCTL = ("/usr/bin/systemctl", "start", "k3s-harden.service")
LIVE = Request(Overrides())


@pytest.fixture
def booted(node: Node) -> Node:
    """A live host with systemd and the gate, as the program finds it in the sandbox of its unit."""
    node.is_live = True
    node.write("/etc/k3s-harden/config.yaml", f"role: server\nk3s-version: 1.34\n{REPAIRS}")
    node.write("/usr/bin/systemctl", "")
    node.write("/etc/systemd/system/k3s-harden.service", "[Service]\n")
    node.path("/run/systemd/system").mkdir(parents=True)
    node.write("/run/systemd/systemd-units-load", "")
    return node


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may repair a live host")


@needs_root
def test_the_unit_of_drift_starts_the_unit_of_apply(booted: Node) -> None:
    booted.programs = Programs({SYSTEMCTL: Completed(0, "", "")})
    repaired, _ = booted.look(REPAIRABLE, repaired=(REPAIRED,), request=LIVE)
    assert booted.programs.asked == [SYSTEMCTL]
    assert repaired == f"FAIL → PASS {CERTIFICATES.id} (1.1.20): found 0600 ({CRT}); fixed by k3s-harden apply"
    assert stat.S_IMODE(booted.path(CRT).stat().st_mode) != 0o600, "the stand-in for systemd did nothing"


@needs_root
def test_a_repair_holds_no_lock_while_its_unit_runs(booted: Node) -> None:
    """The gate in that unit needs the lock. The report is stored under the lock afterwards."""
    host = fake_host(booted.root, is_live=True)

    def start(argv: Sequence[str], **_: float) -> Completed:
        with host.lock(wait=0), pytest.raises(LockHeldError), host.lock(wait=0):
            pytest.fail("two runs hold the lock")
        return booted.programs(argv, timeout=1)

    booted.programs = Programs({SYSTEMCTL: Completed(0, "", "")})
    assessments = iter((assessment(REPAIRABLE), assessment(REPAIRED)))
    assert list(drift(replace(host, run=start), LIVE, lambda _: next(assessments)))
    assert booted.programs.asked == [SYSTEMCTL]
    assert booted.path(REPORT).exists()


@needs_root
def test_a_failed_repair_fails_last(booted: Node) -> None:
    booted.programs = Programs({SYSTEMCTL: Completed(1, "", "Job for k3s-harden.service failed.\n")})
    with pytest.raises(HostError, match=r"^cannot run systemctl start: Job for k3s-harden\.service failed"):
        booted.look(REPAIRABLE, request=LIVE)
    assert json.loads(booted.path(REPORT).read_bytes())["verdicts"][0]["status"] == "FAIL"


@pytest.mark.skipif(os.geteuid() == 0, reason="root is not refused")
def test_an_ordinary_user_is_rejected(booted: Node) -> None:
    with pytest.raises(HostError, match="cannot drift: changing the host requires root"):
        booted.look(OPEN, request=LIVE)


NOTIFY = "drift: {notify: /usr/local/bin/notify}\n"


@needs_root
@pytest.mark.parametrize("code", [0, 5])
def test_the_site_is_notified_of_a_change(booted: Node, code: int) -> None:
    booted.look(verdict(CERTIFICATES), request=LIVE)
    booted.write("/etc/k3s-harden/config.yaml", "drift: {metrics-file: /none/x.prom, notify: /usr/local/bin/notify}\n")
    booted.write("/usr/local/bin/notify", "", 0o755)
    number = int(booted.now + 60)
    send = ("/usr/bin/systemctl", "start", "--no-block", f"k3s-harden-notify@{number}.service")
    booted.programs = Programs({send: Completed(code, "", "")})
    with pytest.raises(HostError, match=r"^cannot write /none/x\.prom"):
        booted.look(OPEN, request=LIVE)
    assert booted.programs.asked == [send]
    assert booted.path(f"/var/lib/k3s-harden/notify/{number}.json").exists()


def test_metrics_contain_whether_a_notification_was_not_delivered(node: Node) -> None:
    """The metric exists only if the site has a command."""
    node.look(OPEN)
    assert "k3s_harden_notification_undelivered" not in node.metrics()
    node.write("/etc/k3s-harden/config.yaml", NOTIFY)
    for notes, value in (((), 0), ((Note("late", None, Repair(), UNDELIVERED),), 1)):
        found = {Scope(): replace(assessment(OPEN), notes=notes)}
        lines = list(drift(fake_host(node.root), REQUEST, found.__getitem__))
        assert lines == ["late"] if value else is_unchanged(lines)
        assert node.metrics()["k3s_harden_notification_undelivered"] == value


def test_the_unit_may_write_the_files_of_drift() -> None:
    service = unit_file("k3s-harden-check.service")["Service"]
    assert service["ExecStart"] == "/usr/bin/k3s-harden drift"
    assert service["ProtectSystem"] == "strict"
    assert REPORT.parent == METRICS.parent.parent == PurePosixPath("/var/lib", service["StateDirectory"])
    assert all(path.startswith("-/var/lib/") for path in service["ReadWritePaths"].split())


def test_the_timeout_of_a_repair_is_between_those_of_the_units() -> None:
    allowed = float(unit_file("k3s-harden.service")["Service"]["TimeoutStartSec"])
    whole = float(unit_file("k3s-harden-check.service")["Service"]["TimeoutStartSec"])
    assert allowed < REPAIR_TIMEOUT < whole / 2
