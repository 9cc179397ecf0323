"""One line a fact, each complete in itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given

from agent.assess.assessment import Evidence
from agent.present import Verbosity
from agent.present.assessments import AssessmentFormat, as_text
from tests.unit.present.assessments.samples import CALM, COMPARED, FAILS, FULL, NOTHING, at, hostile

if TYPE_CHECKING:
    from agent.assess.assessment import Assessment

NORMAL = r"""k3s-harden assess: cis-1.9, node-1, server, v1.28.5+k3s1
FAIL 1.1.20 pki-certificate-mode: Ensure that the title of pki-certificate-mode; expected mode 0600 or stricter; found mode 0644; where /var/lib/rancher/k3s/server/tls/a.crt, /var/lib/rancher/k3s/server/tls/b.crt; owner apply; fix: Run this:\n    k3s-harden apply
UNKNOWN 1.2.10 encryption-providers: Ensure that the title of encryption-providers (--encryption-provider-config); expected aescbc; where /var/lib/rancher/k3s/server/cred/encryption-config.json; reason cannot read /var/lib/rancher/k3s/server/cred/encryption-config.json: Permission denied; owner operator; fix: Run it as root.
FAIL 2.2 etcd-client-certificate: Ensure that the title of etcd-client-certificate (client-transport-security.client-cert-auth); expected true; found false; where /var/lib/rancher/k3s/server/db/etcd/config:12; owner operator; fix: Put this into /etc/rancher/k3s/config.yaml:\n    etcd-arg+:\n    - client-cert-auth=true
WAIVED 4.2.4 kubelet-read-only-port: Ensure that the title of kubelet-read-only-port (--read-only-port); expected 0; found 10255; where /etc/rancher/k3s/config.yaml:7; waiver the vendor's agent reads it (until 2027-06-30, /etc/k3s-harden/waivers.yaml:3)
UNKNOWN 4.2.9 kubelet-tls: Ensure that the title of kubelet-tls (--tls-cert-file); expected set; reason K3s has not run yet; owner operator
FAIL - vm.panic_on_oom: Ensure that the title of vm.panic_on_oom (vm.panic_on_oom); expected 0; found 1; where /proc/sys/vm/panic_on_oom; owner apply; fix: Run k3s-harden apply.
note the waiver of kubelet-tls expired on 2025-01-01; where /etc/k3s-harden/waivers.yaml:9; fix: Renew it.
note nothing more
section 1.1 Control plane node configuration files: 1 FAIL, 1 NOT_APPLICABLE
section 1.2 API server: 1 PASS, 1 UNKNOWN
section 2 etcd node configuration: 1 FAIL
section 4.2 kubelet: 1 WAIVED, 1 UNKNOWN
section 5.1 RBAC and service accounts: 1 MANUAL
section The host, beyond the benchmark: 2 PASS, 1 FAIL
open, owner apply: vm.panic_on_oom, pki-certificate-mode
open, owner operator: kubelet-tls, etcd-client-certificate, encryption-providers
1 control is for a person to look at (MANUAL); -v shows them
result 3: 5 controls are open (3 PASS, 3 FAIL, 1 WAIVED, 1 NOT_APPLICABLE, 1 MANUAL, 2 UNKNOWN)
"""  # noqa: E501 - a line for each fact


def plain(assessment: Assessment, verbosity: Verbosity = Verbosity.NORMAL) -> list[str]:
    """The lines of an assessment."""
    return as_text(assessment, AssessmentFormat.PLAIN, verbosity).splitlines()


def test_every_fact_has_its_line() -> None:
    """Status, number and id come first; what is settled, or for a person, is counted."""
    assert plain(FULL) == NORMAL.splitlines()


def test_quiet_leaves_what_makes_the_exit_code() -> None:
    """The open controls and the result; nothing where nothing is open, and nothing of what was known."""
    lines = [line for line in NORMAL.splitlines() if line.startswith(("FAIL", "UNKNOWN", "result"))]
    assert plain(FULL, Verbosity.QUIET) == lines
    assert plain(CALM, Verbosity.QUIET) == []
    new = [line.split()[2] for line in plain(COMPARED, Verbosity.QUIET)[:-1]]
    assert new == ["encryption-providers:", "etcd-client-certificate:", "vm.panic_on_oom:"]


def test_verbose_adds_the_facts_what_is_settled_and_all_evidence() -> None:
    """Each thing that was seen, with its place."""
    lines = plain(FULL, Verbosity.VERBOSE)
    assert lines[1] == "fact role: server (k3s.service)"
    assert (
        "PASS 1.2.1 apiserver-anonymous-auth: Ensure that the title of apiserver-anonymous-auth (--anonymous-auth);"
        " expected false; found false; evidence anonymous-auth=false (what K3s v1.28 itself sets)"
    ) in lines
    assert any(line.startswith("NOT_APPLICABLE 1.1.1 ") and "reason K3s runs the API" in line for line in lines)
    (line,) = [line for line in lines if " pki-certificate-mode: " in line]
    assert "evidence mode 0644 (/var/lib/rancher/k3s/server/tls/b.crt)" in line
    assert len([line for line in lines if line.split()[0] in {one.status for one in FULL.verdicts}]) == 11


def test_much_evidence_is_shortened() -> None:
    """A thousand certificates may all be wrong alike; -v has each on the line."""
    evidence = tuple(Evidence("m", at(f"/{n}")) for n in range(9))
    assessment = FULL._replace(verdicts=(FAILS._replace(evidence=evidence),))
    assert "; where /0, /1, /2, /3, /4, and 4 more; " in plain(assessment)[1]
    assert plain(assessment, Verbosity.VERBOSE)[4].count("; evidence m (/") == 9


def test_what_the_baseline_had_says_so() -> None:
    """It is still shown, and still to be done."""
    known = [line.split()[2] for line in plain(COMPARED) if "; known from the baseline; owner " in line]
    assert known == ["pki-certificate-mode:", "kubelet-tls:"]
    assert plain(COMPARED)[-1].startswith("result 3: 3 controls are newly open, 2 known from the baseline (")
    assert plain(FULL._replace(known=frozenset(one.control.id for one in FULL.verdicts)))[-1].startswith("result 0: ")


def test_a_calm_node_takes_few_lines() -> None:
    """And an assessment of nothing two."""
    assert len(plain(CALM)) == 5
    assert plain(NOTHING) == ["k3s-harden assess: cis-1.9", "result 0: nothing is open"]


@given(assessment=hostile())
def test_nothing_from_a_host_makes_a_line(assessment: Assessment) -> None:
    """There is one result, and it is ours; as many lines as there would be of harmless text."""
    lines = plain(assessment)
    assert [line for line in lines if line.startswith("result ")] == [NORMAL.splitlines()[-1]]
    assert len(lines) == len(NORMAL.splitlines()) - 1
