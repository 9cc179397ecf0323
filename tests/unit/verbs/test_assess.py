"""Complete assessments: properties of every verdict, and notes."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from agent import __version__
from agent.assess.assessment import ControlStatus, Note, Verdict
from agent.assess.baseline import Baseline, parse_baseline
from agent.assess.benchmark import catalogue
from agent.assess.checks.cluster.cluster_check import ClusterCheck
from agent.assess.evidence.host_assessment import Scope, assess_host
from agent.assess.provenance import FileContent
from agent.base.errors import ExitCode, UsageError
from agent.base.host.probe import K3sProcess
from agent.base.repair import FixOwner
from agent.base.value import replace
from agent.cluster.kubernetes.queries import Query
from agent.harden.settings.loading import load_settings
from agent.harden.settings.schema import DEFAULT_SETTINGS, Settings, setting_row
from agent.k3s.cis.versions import Benchmark, fitting_benchmark
from agent.k3s.roles_and_versions import Role, Version
from agent.reports import repair_texts
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format, Verbosity
from agent.verbs.assess import AUTO, benchmark_named
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import CONFIG, NEWEST, SETTINGS, UNIT, CheckedNode, fix, node, seen
from tests.unit.cluster.api_server import ApiServer
from tests.unit.cluster.kubernetes import samples

WITH_CLUSTER = Scope(with_cluster=True)
BAD = """\
kube-apiserver-arg:
  - anonymous-auth=true
  - authorization-mode=AlwaysAllow
  - audit-log-maxage=3
  - enable-admission-plugins=AlwaysAdmit
  - profiling=true
  - token-auth-file=/etc/tokens
kubelet-arg: [anonymous-auth=true, read-only-port=10255, feature-gates=RotateKubeletServerCertificate=false]
kube-proxy-arg: [metrics-bind-address=0.0.0.0]
write-kubeconfig-mode: "644"
"""
NODES = {
    "server": (K3s(), ""),
    "server with SQLite": (K3s(etcd=False), ""),
    "server of 1.23": (K3s(minor=23), ""),
    "server of 1.28": (K3s(minor=28), ""),
    "server of 1.36": (K3s(minor=36), ""),
    "agent": (K3s(role="agent"), ""),
    "agent of 1.24": (K3s(role="agent", minor=24), ""),
    "server to be": (None, ""),
    "server with an external datastore": (K3s(etcd=False), "datastore-endpoint: postgres://user:s3cret@db/k3s\n"),
    "server with a bad configuration": (K3s(), BAD),
    "server that K3s cannot start on": (K3s(), "kube-apiserver-arg: [\n"),
}


@pytest.fixture
def server(in_memory: Path) -> CheckedNode:
    """A server with etcd on which K3s 1.34 has run."""
    return node(in_memory / "server", K3s())


@pytest.mark.parametrize("hardened", [False, True], ids=["fresh", "hardened"])
@pytest.mark.parametrize("name", NODES)
def test_every_verdict_is_complete(in_memory: Path, name: str, *, hardened: bool) -> None:
    k3s, config = NODES[name]
    server = node(in_memory / "node", k3s)
    if config:
        server.config(config)
    if hardened and "cannot start" not in name:
        server.harden()
    for benchmark in Benchmark:
        found = server.assess(benchmark)
        assert [verdict.control for verdict in found.verdicts] == list(catalogue.controls_of(benchmark))
        assert [verdict.control.id for verdict in found.verdicts if _complaint(verdict)] == []
        assert "s3cret" not in str(found)


def _complaint(verdict: Verdict) -> str:
    """Return what a verdict lacks; empty if it is complete."""
    there: tuple[object, ...]
    if verdict.status == ControlStatus.PASS:
        there = (verdict.expected, verdict.found, verdict.evidence, not fix(verdict))
    elif verdict.status == ControlStatus.FAIL:
        acts = verdict.owner in (FixOwner.APPLY, FixOwner.OPERATOR)
        there = (verdict.expected, verdict.found, verdict.evidence, fix(verdict) and acts and not verdict.reason)
    elif verdict.status == ControlStatus.UNKNOWN:
        owner = FixOwner.K3S if verdict.awaits_start else FixOwner.OPERATOR
        there = (verdict.expected, verdict.reason, fix(verdict), verdict.owner is owner)
    elif verdict.status == ControlStatus.NOT_APPLICABLE:
        there = (verdict.reason, not fix(verdict), verdict.owner is FixOwner.NONE, not verdict.waiver)
    else:
        there = (verdict.reason, fix(verdict), verdict.owner is FixOwner.OPERATOR, not verdict.waiver)
    places = all(what and where and "(not shown)" not in what for what, where in seen(verdict))
    return "" if all(there) and places else str(verdict)


def test_the_cluster_is_named_by_the_uid_of_kube_system(in_memory: Path) -> None:
    """The namespace is created with the cluster; without the API server there is no such fact."""
    host = node(in_memory / "node", K3s())
    system = samples.metadata("kube-system", uid="3f2c")
    api = ApiServer({**samples.NEW, Query.NAMESPACES: [samples.namespace("shop"), system]})
    with api.running():
        host.put("server/cred/admin.kubeconfig", api.kubeconfig(embedded=True))
        live = replace(host.host(), is_live=True)
        for with_cluster, uids in ((True, ["3f2c"]), (False, [])):
            found = assess_host(live, host.request(), Scope(with_cluster=with_cluster)).assessment
            assert [fact.value for fact in found.facts if fact.name == "cluster UID"] == uids


def test_with_the_cluster_every_verdict_is_complete(in_memory: Path) -> None:
    host = node(in_memory / "node", K3s())
    objects = {Query.PODS: [samples.pod("web", hostPID=True)], Query.NAMESPACES: [samples.namespace("shop")]}
    api = ApiServer({**samples.NEW, **objects})
    with api.running():
        host.put("server/cred/admin.kubeconfig", api.kubeconfig(embedded=True))
        live = replace(host.host(), is_live=True)
        for benchmark in Benchmark:
            found = assess_host(live, host.request(), Scope(benchmark, with_cluster=True)).assessment
            assert [verdict.control.id for verdict in found.verdicts if _complaint(verdict)] == []
            by_id = {verdict.control.id: verdict for verdict in found.verdicts}
            assert by_id["pods-host-pid"].found == "1 workload: Pod shop/web"
            assert by_id["pods-host-ipc"].status is ControlStatus.FAIL
            assert "kubelet-anonymous-auth" in found.without_answer
            assert found.without_answer.isdisjoint({"pods-host-pid", "rbac-secrets", "apiserver-profiling"})
        api.asked.clear()
        for done in (assess_host(host.host(), host.request(), WITH_CLUSTER), assess_host(live, host.request())):
            assert done.assessment.without_answer == frozenset()
        assert api.asked == []


def test_a_missing_api_server_makes_its_controls_unknown(in_memory: Path) -> None:
    """Those that the files of the host decide have their status. On an agent, the controls do not apply."""
    for role in ("server", "agent"):
        host = node(in_memory / role, K3s(role=role))
        live = replace(host.host(), is_live=True)
        found = assess_host(live, host.request(), WITH_CLUSTER).assessment
        of_cluster = [isinstance(verdict.control.check_of(found.benchmark), ClusterCheck) for verdict in found.verdicts]
        for verdict, plain, is_of_cluster in zip(found.verdicts, host.assess().verdicts, of_cluster):
            unread = ControlStatus.UNKNOWN if is_of_cluster and role == "server" else plain.status
            assert (verdict.control.id, verdict.status) == (plain.control.id, unread)
            assert not _complaint(verdict)
        (first, *_) = found.notes
        assert first.message.startswith("the cluster was not assessed: ")
        assert {"rbac-secrets", "pods-host-pid"} <= found.without_answer


@pytest.mark.parametrize("probes", [False, True])
def test_no_baseline_accepts_an_api_server_that_does_not_answer(in_memory: Path, *, probes: bool) -> None:
    """Neither one of a time when it answered, nor one of a time when it did not, nor one without --cluster."""
    host = node(in_memory / "node", K3s())
    host.harden()
    live = replace(host.host(), is_live=True)
    scope = Scope(with_cluster=True, with_probes=probes)
    reports = [host.assess(), assess_host(live, host.request(), scope).assessment]
    api = ApiServer(samples.NEW)
    with api.running():
        host.put("server/cred/admin.kubeconfig", api.kubeconfig(embedded=True))
        reports.append(assess_host(live, host.request(), scope).assessment)
    for report in reports:
        earlier = parse_baseline(assessment_text(report, Format.JSON).encode(), PurePosixPath("/baseline"))
        found = assess_host(live, host.request(), scope._replace(earlier=earlier)).assessment
        assert found.exit_code is ExitCode.NOT_COMPLIANT
        assert {verdict.control.id for verdict in found.open} >= {"rbac-secrets", "pods-host-pid"}
        quiet = assessment_text(found, Format.PLAIN, Verbosity.QUIET)
        assert "rbac-secrets" in quiet


@pytest.mark.parametrize("minor", [23, 24, 25, 26, 28, 31, 34, 36])
@pytest.mark.parametrize("config", ["", BAD], ids=["plain", "bad"])
def test_apply_fixes_the_controls_with_owner_apply(in_memory: Path, minor: int, config: str) -> None:
    server = node(in_memory / "node", K3s(minor=minor))
    server.config(config)
    before = {benchmark: server.assess(benchmark) for benchmark in Benchmark}
    server.harden()
    for benchmark, was in before.items():
        now = server.assess(benchmark)
        left = {verdict.control.id for verdict in now.verdicts if verdict.is_open}
        promised = {verdict.control.id for verdict in was.open if verdict.owner is FixOwner.APPLY}
        assert len(promised) >= 10
        assert promised & left == set()
        assert left <= {verdict.control.id for verdict in was.open}
        assert {verdict.owner for verdict in now.open} == {FixOwner.OPERATOR}


def test_suggested_settings_are_valid() -> None:
    offered = [setting_row(key) for key in {control.setting for control in catalogue.all_controls()} - {""}]
    assert offered
    for row in offered:
        assert not row.differs_from_default(Settings())
        assert row.differs_from_default(load_settings(f"{row.line}\n".encode(), DEFAULT_SETTINGS))


@pytest.mark.parametrize("spelling", ["cis-1.10", "1.10"])
def test_a_benchmark_is_named_with_or_without_its_prefix(spelling: str) -> None:
    assert benchmark_named(spelling) is Benchmark.CIS_1_10


@pytest.mark.parametrize("wrong", ["", "cis", "cis-", "cis-9.9", "CIS-1.9", "k3s-cis-1.9", "1.10.0", "newest"])
def test_an_unknown_benchmark_is_rejected(wrong: str) -> None:
    with pytest.raises(UsageError) as caught:
        benchmark_named(wrong)
    assert "cis-1.23, cis-1.24, cis-1.7" in repair_texts.text(caught.value.repair)


def test_auto_is_the_newest_benchmark_for_the_version(in_memory: Path) -> None:
    assert benchmark_named(AUTO) is None
    for minor, benchmark in ((23, "cis-1.23"), (24, "cis-1.24"), (25, "cis-1.7"), (29, "cis-1.11"), (36, "cis-2.1")):
        assert node(in_memory / str(minor), K3s(minor=minor)).assess().benchmark == benchmark
    assert fitting_benchmark(Version.parse("1.22")) is Benchmark.CIS_1_23
    assert fitting_benchmark(Version.parse("1.99")) is Benchmark.CIS_2_1


@pytest.fixture
def bare(in_memory: Path) -> CheckedNode:
    return node(in_memory / "host")


def report(known: frozenset[str], node: str = "node-1", benchmark: Benchmark = NEWEST) -> Baseline:
    """An earlier report in which these controls were open."""
    statuses = {control.id: ControlStatus.PASS for control in catalogue.controls_of(benchmark)}
    file = FileContent(PurePosixPath("/srv/baseline.json"), b"{}")
    places: dict[str, frozenset[str]] = dict.fromkeys(known, frozenset())
    return Baseline(str(benchmark), node, 0.0, {}, statuses, places, __version__, {}, file, is_verified=True)


def test_an_unknown_control_decides_the_exit_code(server: CheckedNode) -> None:
    os.mkfifo(server.path("server/tls/odd.key"))
    found = server.assess()
    others = frozenset(verdict.control.id for verdict in found.verdicts if verdict.status is ControlStatus.FAIL)
    found = assess_host(server.host(), server.request(), Scope(earlier=report(others))).assessment
    assert found.exit_code is ExitCode.NOT_COMPLIANT


def notices(server: CheckedNode) -> list[Note]:
    return list(server.assess().notes)


@pytest.mark.parametrize("name", [CONFIG, f"{CONFIG}.d/10-site.yaml", UNIT])
def test_a_change_after_the_start_has_a_note(server: CheckedNode, name: str) -> None:
    """The verdicts are about the next start of K3s."""
    server.put(CONFIG, "{}\n")
    server.drop_in("10-site.yaml", "{}\n")
    changed = server.path(name).stat().st_ctime
    others = [server.path(other) for other in (CONFIG, f"{CONFIG}.d/10-site.yaml", UNIT) if other != name]
    server.processes = (K3sProcess(1, Role.SERVER, changed + 1),)
    assert notices(server) == []
    for other in others:
        other.unlink()
    server.processes = (K3sProcess(1, Role.SERVER, changed - 1),)
    (notice,) = notices(server)
    assert name in notice.message
    assert (notice.message.endswith(" (restart-needed)"), fix(notice)) == (True, "sudo systemctl restart k3s")


def test_a_file_that_k3s_cannot_read_has_a_note(server: CheckedNode) -> None:
    """Not even root can read a symlink to itself."""
    path = server.path(CONFIG)
    path.symlink_to(path.name)
    (notice,) = notices(server)
    assert CONFIG in notice.message
    assert fix(notice) == f"sudo mv -nT {CONFIG} {CONFIG}.moved"


def test_a_manual_control_can_be_waived(server: CheckedNode) -> None:
    """The reason records the result of the review."""
    reason = "Reviewed in June by the security team."
    server.put(SETTINGS, f"waivers:\n  - {{control: rbac-cluster-admin, reason: {reason}}}\n")
    found = server.assess()
    (verdict,) = (verdict for verdict in found.verdicts if verdict.control.id == "rbac-cluster-admin")
    assert (verdict.status, verdict.waiver and verdict.waiver.reason) == (ControlStatus.WAIVED, reason)
    assert found.notes == ()


def test_findings_that_prevent_k3s_from_starting_are_the_first_notes(server: CheckedNode) -> None:
    server.version = ""
    plugins, policy = "disable-admission-plugins=PodSecurity", "audit-policy-file=/a"
    server.drop_in("99-site.yaml", f"kube-apiserver-arg: [{plugins}, {policy}]\n")
    fatal, weak, unknown = notices(server)
    ids = [note.message.rpartition(" ")[2] for note in (fatal, weak, unknown)]
    assert ids == ["(audit-policy-unusable)", "(pod-security-disabled)", "(version-assumed)"]
    assert str(fatal.location) == f"{CONFIG}.d/99-site.yaml:1"
    assert "k3s-version" in fix(unknown)


def test_a_benchmark_for_another_version_has_a_note(server: CheckedNode) -> None:
    (notice,) = server.assess(Benchmark.CIS_1_23).notes
    assert notice.message == "cis-1.23 is for K3s v1.23 and older, and this is v1.34.9+k3s1"
    assert "cis-2.0" in fix(notice)


def test_a_kernel_in_fips_mode_has_a_note(server: CheckedNode) -> None:
    server.put("/proc/sys/crypto/fips_enabled", "0\n")
    assert not notices(server)
    server.put("/proc/sys/crypto/fips_enabled", "1\n")
    (note,) = notices(server)
    assert str(note.location) == "/proc/sys/crypto/fips_enabled"
    assert "K3s has no validated cryptographic module" in note.message


def test_a_baseline_of_another_node_role_or_benchmark_has_a_note(server: CheckedNode) -> None:
    """Its open controls are not comparable."""
    same = report(frozenset())
    for earlier, count in (
        (same, 0),
        (replace(same, facts={"role": "server"}), 0),
        (replace(same, facts={"role": "agent"}), 1),
        (report(frozenset(), "node-2"), 1),
        (report(frozenset(), "n", Benchmark.CIS_1_9), 2),
    ):
        found = assess_host(server.host(), server.request(), Scope(earlier=earlier)).assessment
        assert len(found.notes) == count


@pytest.mark.parametrize(("benchmark", "notes"), [(NEWEST, 1), (Benchmark.CIS_1_9, 2)])
def test_a_baseline_of_an_older_version_lists_its_new_controls(
    server: CheckedNode, benchmark: Benchmark, notes: int
) -> None:
    server.path("server/token").chmod(0o666)
    known = frozenset(verdict.control.id for verdict in server.assess().open) - {"k3s-token-access"}
    same = report(known, benchmark=benchmark)
    found = assess_host(server.host(), server.request(), Scope(earlier=same)).assessment
    assert [verdict.control.id for verdict in found.open] == ["k3s-token-access"]
    older = replace(
        same, statuses={name: status for name, status in same.statuses.items() if name != "k3s-token-access"}
    )
    found = assess_host(server.host(), server.request(), Scope(earlier=older)).assessment
    assert found.exit_code is ExitCode.COMPLIANT
    assert "k3s-token-access" in found.notes[0].message
    assert len(found.notes) == notes


def test_a_host_without_k3s_has_a_note_and_marked_defaults(bare: CheckedNode) -> None:
    bare.config("kube-apiserver-arg: [audit-log-maxage=30]\n")
    found = bare.assess()
    assert "K3s is not installed: found no service, process or program" in found.notes[0].message
    defaults = [verdict for verdict in found.verdicts if verdict.found.endswith("(default of K3s v1.34.2+k3s1)")]
    assert f"; {len(defaults)} controls pass only by defaults of K3s v1.34.2" in found.notes[0].message
    assert len(defaults) > 30
    by_id = {verdict.control.id: verdict for verdict in found.verdicts}
    assert by_id["audit-log-maxage"].found == "--audit-log-maxage=30"
    assert by_id["apiserver-anonymous-auth"].found == "--anonymous-auth=false (default of K3s v1.34.2+k3s1)"
    waiting = [verdict.control.id for verdict in found.verdicts if verdict.awaits_start]
    assert len(waiting) > 20
    lines = assessment_text(found, Format.PLAIN).splitlines()
    (line,) = [line for line in lines if "after K3s starts" in line and line.startswith("UNKNOWN")]
    assert line.split()[2] == f"{','.join(waiting)}:"
    assert line.endswith("fix: start K3s")
    assert f"owner K3s: {', '.join(waiting)}" in lines
    table = " ".join(assessment_text(found, Format.TABLE).split())
    assert table.count(f"{len(waiting)} controls are determined after K3s starts") == 1
    verbose = assessment_text(found, Format.PLAIN, Verbosity.VERBOSE).splitlines()
    assert sum(line.split()[2].rstrip(":") in waiting for line in verbose if line.startswith("UNKNOWN")) == len(waiting)


def test_what_prevents_the_first_start_does_not_multiply_the_report(bare: CheckedNode) -> None:
    bare.config("kubelet-arg: [no-such-flag=1]\n")
    found = bare.assess()
    waiting = [verdict for verdict in found.verdicts if verdict.awaits_start]
    assert len(waiting) > 20
    lines = assessment_text(found, Format.PLAIN).splitlines()
    (line,) = [line for line in lines if "after K3s starts" in line and line.startswith("UNKNOWN")]
    assert f"fix: remove `kubelet-arg: [no-such-flag=1]` at {CONFIG}:1; start K3s" in line


def test_an_unreadable_configuration_does_not_multiply_the_report(bare: CheckedNode) -> None:
    bare.config("a: 1\n\tb: 2\n")
    found = bare.assess()
    waiting = [verdict for verdict in found.verdicts if verdict.awaits_correction_of is not None]
    assert len(waiting) > 30
    sentence = f"{len(waiting)} controls cannot be determined until /etc/rancher/k3s/config.yaml:2 is corrected"
    lines = assessment_text(found, Format.PLAIN).splitlines()
    (line,) = [line for line in lines if sentence in line]
    assert line.split()[2] == f"{','.join(verdict.control.id for verdict in waiting)}:"
    assert "fix: replace the tab with blanks at /etc/rancher/k3s/config.yaml:2; then run" in line
    table = " ".join(assessment_text(found, Format.TABLE).split())
    assert table.count(f"UNKNOWN {sentence}") == 1
    again = f"assess again, to determine the {len(waiting)} controls with status UNKNOWN"
    assert again in lines[-1]
    assert sentence not in assessment_text(found, Format.PLAIN, Verbosity.VERBOSE)


def test_a_host_with_the_program_of_k3s_has_no_such_note(bare: CheckedNode) -> None:
    """An image can contain a K3s that was never started."""
    bare.put("/usr/local/bin/k3s", "\x7fELF", 0o755)
    assert not any("not installed" in note.message for note in bare.assess().notes)


def test_progress_has_each_step_and_control(server: CheckedNode) -> None:
    shown: list[tuple[str, int, int]] = []

    def show(text: str, done: int = 0, total: int = 0) -> None:
        shown.append((text, done, total))

    found = assess_host(server.host(), server.request(), progress=show).assessment
    names = sorted(verdict.control.id for verdict in found.verdicts)
    assert shown[0] == ("reading the host", 0, 0)
    assert sorted(name for name, _, _ in shown[1:]) == names
    assert [(done, total) for _, done, total in shown[1:]] == [(n, len(names)) for n in range(1, len(names) + 1)]
