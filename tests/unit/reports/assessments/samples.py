"""Sample assessments for the presenters: with every status, without open controls, and with hostile text."""

from __future__ import annotations

from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

from agent.assess.assessment import Assessment, ControlStatus, Evidence, Note, Verdict, Waiver
from agent.assess.benchmark.control import BenchmarkControl, Rating, Severity
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.assess.checks.check import AllOf, Check, Manual, NotInK3s
from agent.assess.checks.datastore_checks import EncryptionProviders, EtcdSetting
from agent.assess.checks.file_modes import Permissions
from agent.assess.checks.sysctls_and_directories import GuideDirectory, KernelParameter, SysctlPrecedence
from agent.base.model import FileMode, Location
from agent.base.repair import NO_REPAIR, FixOwner, Instruction, Repair, Restart, Run, RunVerb
from agent.base.report import Fact, NextStep
from agent.base.value import replace
from agent.harden.guide.criteria import Boolean, NotEmpty
from agent.harden.guide.guide_files import SERVER_DIRECTORY
from agent.harden.guide.sysctls import SYSCTLS
from agent.k3s.cis.versions import Assessed, Benchmark, Number
from agent.k3s.roles_and_versions import Component
from tests.unit.assessed import RATINGS

BENCHMARK = Benchmark.CIS_1_9
WHEN = 1764043445.25
WHEN_IN_WORDS = "2025-11-25T04:04:05Z"

_DIRECTORY = replace(SERVER_DIRECTORY, id="server-directory")


def at(path: str, line: int = 0) -> Location:
    return Location(PurePosixPath(path), line)


def steps(text: str, file: str = "") -> Repair:
    return Repair((Instruction(text, at(file) if file else None),))


def row(name: str, check: Check, number: str = "", assessed: Assessed = Assessed.AUTOMATED) -> BenchmarkControl:
    return BenchmarkControl(
        id=name,
        title=f"The title of {name}",
        numbers=MappingProxyType({BENCHMARK: Number(number, assessed)} if number else {}),
        check=check,
        why=f"Why {name} matters.",
        source="k3s-io/k3s, pkg/daemons/control/server.go",
        rating=RATINGS.get(name, Rating(Severity.MEDIUM, "")),
    )


def verdict(control: BenchmarkControl, status: ControlStatus, **fields: Any) -> Verdict:
    """Return a verdict; fields that are not given are empty, and the owner is the operator."""
    bare = Verdict(control, control.numbers.get(BENCHMARK), status, "", "", (), "", Repair())
    return bare._replace(**fields)


_SERVER = "/var/lib/rancher/k3s/server"
_K3S = "/etc/rancher/k3s/config.yaml"
_ANONYMOUS, _CERTIFICATES = "anonymous-auth", "client-transport-security.client-cert-auth"
_SYSCTL = next(row for row in SYSCTLS if row.key == "vm.panic_on_oom")
_WAIVER = Waiver("the vendor's agent reads it", "2027-06-30", at("/etc/k3s-harden/waivers.yaml", 3))

PASSES = verdict(
    row("apiserver-anonymous-auth", ArgumentCheck(Component.API_SERVER, _ANONYMOUS, Boolean(expected=False)), "1.2.1"),
    ControlStatus.PASS,
    expected="false",
    found="false",
    evidence=(Evidence("anonymous-auth=false", source="default of K3s v1.28"),),
    repair=NO_REPAIR,
    met_by=FixOwner.K3S,
)
FAILS = verdict(
    row("pki-certificate-mode", Permissions(("server/tls/*.crt",), at_most=FileMode(0o600)), "1.1.20"),
    ControlStatus.FAIL,
    expected="mode 0600 or stricter",
    found="mode 0644",
    evidence=tuple(Evidence("mode 0644", at(f"{_SERVER}/tls/{name}.crt")) for name in "ab"),
    repair=Repair((RunVerb("apply"),)),
)
WARNS = verdict(
    row("etcd-client-certificate", EtcdSetting(_CERTIFICATES, NotEmpty()), "2.2", Assessed.UNSCORED),
    ControlStatus.FAIL,
    expected="true",
    found="false",
    evidence=(Evidence("client-cert-auth: false", at(f"{_SERVER}/db/etcd/config", 12)),),
    repair=replace(steps("add `etcd-arg+: [client-cert-auth=true]`", _K3S), restart=Restart.K3S),
)
CANNOT_TELL = verdict(
    row("encryption-providers", EncryptionProviders(("aescbc",)), "1.2.10"),
    ControlStatus.UNKNOWN,
    expected="aescbc",
    reason=f"cannot read {_SERVER}/cred/encryption-config.json: Permission denied",
    evidence=(Evidence("Permission denied", at(f"{_SERVER}/cred/encryption-config.json")),),
    repair=steps("run it as root"),
)
CANNOT_TELL_EITHER = verdict(
    row(
        "kubelet-tls",
        AllOf((ArgumentCheck(Component.KUBELET, "tls-cert-file", NotEmpty()),)),
        "4.2.9",
        Assessed.UNSCORED,
    ),
    ControlStatus.UNKNOWN,
    expected="set",
    reason="K3s has not run yet",
)
WAIVED = verdict(
    row("kubelet-read-only-port", ArgumentCheck(Component.KUBELET, "read-only-port", NotEmpty()), "4.2.4"),
    ControlStatus.WAIVED,
    expected="0",
    found="10255",
    evidence=(Evidence("read-only-port=10255", at(_K3S, 7)),),
    waiver=_WAIVER,
    repair=steps("remove it"),
)
DOES_NOT_APPLY = verdict(
    row("apiserver-pod-spec-mode", NotInK3s("K3s runs the API server in its own process."), "1.1.1", Assessed.SKIPPED),
    ControlStatus.NOT_APPLICABLE,
    reason="K3s runs the API server in its own process.",
    repair=NO_REPAIR,
)
FOR_A_PERSON = verdict(
    row("rbac-cluster-admin", Manual("Look at the bindings of cluster-admin."), "5.1.1", Assessed.MANUAL),
    ControlStatus.MANUAL,
    reason="Look at the bindings of cluster-admin.",
)
KERNEL_FAILS = verdict(
    row("vm.panic_on_oom", KernelParameter(_SYSCTL)),
    ControlStatus.FAIL,
    expected="0",
    found="1",
    evidence=(Evidence("1", at("/proc/sys/vm/panic_on_oom")),),
    repair=Repair((RunVerb("apply"),)),
)
DIRECTORY_PASSES = verdict(
    row("server-directory", GuideDirectory(_DIRECTORY)),
    ControlStatus.PASS,
    expected="mode 0700",
    found="mode 0700",
    evidence=(Evidence("mode 0700", at("/var/lib/rancher/k3s/server")),),
    repair=NO_REPAIR,
    met_by=FixOwner.APPLY,
)
PRECEDENCE_PASSES = verdict(row("sysctl-precedence", SysctlPrecedence()), ControlStatus.PASS)

FACTS = (
    Fact("role", "server", "k3s.service"),
    Fact("K3s version", "v1.28.5+k3s1", "/usr/local/bin/k3s --version"),
    Fact("data directory", "/var/lib/rancher/k3s", "the default"),
)
NOTICE = Note(
    "the waiver for kubelet-tls expired at the end of 2025-01-01",
    at("/etc/k3s-harden/waivers.yaml", 9),
    steps("renew it"),
)

FULL = Assessment(
    benchmark=BENCHMARK,
    node="node-1",
    when=WHEN,
    facts=FACTS,
    verdicts=(
        PRECEDENCE_PASSES,
        KERNEL_FAILS,
        DIRECTORY_PASSES,
        FOR_A_PERSON,
        CANNOT_TELL_EITHER,
        WAIVED,
        WARNS,
        CANNOT_TELL,
        PASSES,
        FAILS,
        DOES_NOT_APPLY,
    ),
    notes=(NOTICE, Note("nothing more", None, Repair())),
)
"""Unordered."""

CALM = replace(FULL, verdicts=(DIRECTORY_PASSES, PASSES, DOES_NOT_APPLY), notes=())
NOTHING = Assessment(BENCHMARK, "", WHEN, (), ())
COMPARED = replace(FULL, known=frozenset({FAILS.control.id, CANNOT_TELL_EITHER.control.id, WAIVED.control.id}))
"""Two of the open controls are in the baseline."""

HOSTILE = (
    "\x1b[2J\r\x07\x00",
    "a\nresult 0: No open controls.",
    "<script>&]]>\"'",
    "\u202e\udc80\ufffe\x85\u2028",
    '"} 1\nevil{a="b',
    "[x](http://e) {0} \\",
    "é 日本 😀",
)
"""Texts of a host that could break a format."""


def texts() -> st.SearchStrategy[str]:
    return st.one_of(st.text(st.characters()), st.sampled_from(HOSTILE))


def hostile() -> st.SearchStrategy[Assessment]:
    """Return a strategy of assessments with hostile text in every field that can come from the host."""
    return st.builds(_hostile, st.lists(texts(), min_size=8, max_size=8))


def _hostile(given: list[str]) -> Assessment:
    expected, found, what, where, reason, remedy, node, fact = given
    evidence = (Evidence(what, source=where), Evidence(what, at(f"/{where}", 3)))
    waiver = Waiver(reason or "r", "", at(f"/{where}"))
    return replace(
        FULL,
        node=node,
        facts=(*FACTS, Fact("role", fact, fact), Fact("x", fact, fact)),
        verdicts=tuple(
            verdict._replace(
                expected=expected,
                found=found,
                evidence=evidence,
                reason=reason,
                repair=steps(remedy),
                waiver=waiver if verdict.waiver else None,
            )
            for verdict in FULL.verdicts
        ),
        notes=(Note(reason or "m", at(f"/{where}"), steps(remedy)),),
        next_steps=(
            NextStep(RunVerb("apply", ("--root", f"/{where}"), piped_to=remedy), f"p{what}"),
            NextStep(Run(f"c{remedy}"), f"p{what}"),
            NextStep(Instruction(f"i{remedy}", at(f"/{where}"))),
        ),
    )
