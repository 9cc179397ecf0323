"""The plain lines of an assessment."""

from __future__ import annotations

from hypothesis import given

from agent.assess.assessment import Assessment, Evidence
from agent.base.value import replace
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format, Verbosity
from tests.unit.reports.assessments.samples import CALM, CANNOT_TELL, COMPARED, FAILS, FULL, NOTHING, at, hostile

NORMAL = """\
k3s-harden assess: cis-1.9, node-1, server, v1.28.5+k3s1
FAIL 1.1.20 pki-certificate-mode: Ensure that the title of pki-certificate-mode; expected mode 0600 or stricter; found mode 0644; location /var/lib/rancher/k3s/server/tls/a.crt, /var/lib/rancher/k3s/server/tls/b.crt; owner apply; fix: sudo k3s-harden apply
UNKNOWN 1.2.10 encryption-providers: Ensure that the title of encryption-providers (--encryption-provider-config); expected aescbc; location /var/lib/rancher/k3s/server/cred/encryption-config.json; reason cannot read /var/lib/rancher/k3s/server/cred/encryption-config.json: Permission denied; owner operator; fix: run it as root
FAIL 2.2 etcd-client-certificate: Ensure that the title of etcd-client-certificate (client-transport-security.client-cert-auth); expected true; found false; location /var/lib/rancher/k3s/server/db/etcd/config:12; owner operator; fix: add `etcd-arg+: [client-cert-auth=true]` in /etc/rancher/k3s/config.yaml; restart K3s
WAIVED 4.2.4 kubelet-read-only-port: Ensure that the title of kubelet-read-only-port (--read-only-port); expected 0; found 10255; location /etc/rancher/k3s/config.yaml:7; waiver the vendor's agent reads it (expires 2027-06-30, /etc/k3s-harden/waivers.yaml:3)
UNKNOWN 4.2.9 kubelet-tls: Ensure that the title of kubelet-tls (--tls-cert-file); expected set; reason K3s has not run yet; owner none
FAIL - vm.panic_on_oom: Ensure that the title of vm.panic_on_oom (vm.panic_on_oom); expected 0; found 1; location /proc/sys/vm/panic_on_oom; owner apply; fix: sudo k3s-harden apply
note the waiver for kubelet-tls expired at the end of 2025-01-01; location /etc/k3s-harden/waivers.yaml:9; fix: renew it
note nothing more
section 1.1 Control plane node configuration files: 1 FAIL, 1 NOT_APPLICABLE
section 1.2 API server: 1 PASS, 1 UNKNOWN
section 2 etcd node configuration: 1 FAIL
section 4.2 kubelet: 1 WAIVED, 1 UNKNOWN
section 5.1 RBAC and service accounts: 1 MANUAL
section The host, beyond the benchmark: 2 PASS, 1 FAIL
owner apply: vm.panic_on_oom, pki-certificate-mode
owner operator: etcd-client-certificate, encryption-providers
owner none: kubelet-tls
1 control requires manual review; -v shows each
result 3: 5 open controls (3 FAIL, 2 UNKNOWN), 1 of them beyond the benchmark; 1 PASS, 1 WAIVED, 1 NOT_APPLICABLE, 1 MANUAL; beyond the benchmark 2 PASS.
"""  # noqa: E501 - one line for each control


def plain(assessment: Assessment, verbosity: Verbosity = Verbosity.NORMAL) -> list[str]:
    return assessment_text(assessment, Format.PLAIN, verbosity).splitlines()


def test_each_control_has_one_line() -> None:
    assert plain(FULL) == NORMAL.splitlines()


def test_quiet_shows_only_new_open_controls_and_the_result() -> None:
    lines = [line for line in NORMAL.splitlines() if line.startswith(("FAIL", "UNKNOWN", "result"))]
    assert plain(FULL, Verbosity.QUIET) == lines
    assert plain(CALM, Verbosity.QUIET) == []
    new = [line.split()[2] for line in plain(COMPARED, Verbosity.QUIET)[:-1]]
    assert new == ["encryption-providers:", "etcd-client-certificate:", "vm.panic_on_oom:"]


def test_verbose_adds_facts_other_controls_and_all_evidence() -> None:
    lines = plain(FULL, Verbosity.VERBOSE)
    assert lines[1] == "fact role: server (k3s.service)"
    assert (
        "PASS 1.2.1 apiserver-anonymous-auth: Ensure that the title of apiserver-anonymous-auth (--anonymous-auth);"
        " expected false; found false; evidence default of K3s v1.28: anonymous-auth=false"
    ) in lines
    assert any(line.startswith("NOT_APPLICABLE 1.1.1 ") and "reason K3s runs the API" in line for line in lines)
    (line,) = [line for line in lines if " pki-certificate-mode: " in line]
    assert "evidence /var/lib/rancher/k3s/server/tls/b.crt: mode 0644" in line
    assert len([line for line in lines if line.split()[0] in {verdict.status for verdict in FULL.verdicts}]) == 11


def test_much_evidence_is_shortened() -> None:
    evidence = tuple(Evidence("m", at(f"/{n}")) for n in range(9))
    assessment = replace(FULL, verdicts=(FAILS._replace(evidence=evidence),))
    assert "; location /0, /1, /2, /3, /4, and 4 more; " in plain(assessment)[1]
    assert plain(assessment, Verbosity.VERBOSE)[4].count("; evidence /") == 9


def test_controls_in_the_baseline_are_marked() -> None:
    """They are open, but do not affect the exit code."""
    known = [line.split()[2] for line in plain(COMPARED) if "; in the baseline; owner " in line]
    assert known == ["pki-certificate-mode:", "kubelet-tls:"]
    assert plain(COMPARED)[-1].startswith(
        "result 3: 3 new open controls (2 FAIL, 1 UNKNOWN), 1 of them beyond the benchmark, 2 in the baseline ("
    )
    known_all = frozenset(verdict.control.id for verdict in FULL.verdicts)
    assert plain(replace(FULL, known=known_all))[-1].startswith("result 0: ")
    added = plain(replace(COMPARED, not_in_baseline=frozenset({CANNOT_TELL.control.id})))
    assert [line.split()[2] for line in added if "; new control, not in the baseline; " in line] == [
        f"{CANNOT_TELL.control.id}:"
    ]


def test_an_assessment_without_open_controls_is_short() -> None:
    assert len(plain(CALM)) == 5
    assert plain(NOTHING) == ["k3s-harden assess: cis-1.9", "result 0: No open controls."]


@given(assessment=hostile())
def test_hostile_text_adds_no_line(assessment: Assessment) -> None:
    """The number of lines is that of harmless text with one note, one owner and the next steps; one is a result."""
    lines = plain(assessment)
    assert [line for line in lines if line.startswith("result ")] == [NORMAL.splitlines()[-1]]
    assert len(lines) == len(NORMAL.splitlines()) - 3 + len(assessment.next_steps)
