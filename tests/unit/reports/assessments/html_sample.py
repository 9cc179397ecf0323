"""Sample assessments for the HTML report: one with every status, and one as large as a benchmark."""

from __future__ import annotations

from typing import Any

from agent.assess.assessment import Assessment, ControlStatus, Evidence, Note, Verdict, Waiver
from agent.assess.benchmark import catalogue
from agent.assess.benchmark.catalogue import SECTIONS
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.checks.check import Manual, NotInK3s
from agent.base.repair import NO_REPAIR, Instruction, Repair, Restart, Run, RunVerb
from agent.base.report import Fact
from agent.base.value import replace
from agent.k3s.cis.versions import Assessed, Benchmark
from tests.unit.reports.assessments import samples
from tests.unit.reports.assessments.samples import at, steps

WHEN = 1_795_248_000.0
"""2026-11-21 08:00:00 UTC, in seconds since the epoch."""

_RUN_APPLY = Repair((RunVerb("apply"),), Restart.K3S)
_EDIT_CONFIGURATION = Repair(
    (
        Instruction(
            "add `enable-admission-plugins=NodeRestriction,EventRateLimit` to kube-apiserver-arg",
            at("/etc/rancher/k3s/config.yaml"),
        ),
        Run("sudo systemctl restart k3s"),
    )
)


def control(id_: str, title: str, number: str = "", assessed: Assessed = Assessed.AUTOMATED) -> BenchmarkControl:
    """Return a control; without a number it is beyond the benchmark."""
    return replace(samples.row(id_, Manual("see"), number, assessed), title=title)


def verdict(row: BenchmarkControl, status: ControlStatus, **fields: Any) -> Verdict:
    return samples.verdict(
        row,
        status,
        expected=f"expected of {row.id}",
        found=f"found of {row.id}",
        evidence=(Evidence(f"seen of {row.id}", at("/etc/rancher/k3s/config.yaml", len(row.id))),),
        repair=_EDIT_CONFIGURATION,
    )._replace(**fields)


FACTS = (
    Fact("role", "server", "/etc/systemd/system/k3s.service"),
    Fact("K3s version", "v1.29.4+k3s1", "/usr/local/bin/k3s --version"),
    Fact("configuration", "/etc/rancher/k3s/config.yaml", "/etc/rancher/k3s/config.yaml"),
    Fact("running", "process 812, since 2026-11-03 04:12:09 UTC", "processes named k3s"),
)
WAIVED = verdict(
    control("always-pull-images", "Admission plugin AlwaysPullImages", "1.2.11"),
    ControlStatus.WAIVED,
    waiver=Waiver("the registry needs no pull secret", "2027-03-31", at("/etc/k3s-harden/waivers.yaml", 4), "Ann"),
)
WAIVED_FOR_GOOD = verdict(
    control("pod-pids", "A limit on pod PIDs", "4.2.13"),
    ControlStatus.WAIVED,
    waiver=Waiver("one tenant only", "", at("/etc/k3s-harden/waivers.yaml", 9)),
)
PASSED = verdict(control("server/tls", "Directory of keys", "1.1.19"), ControlStatus.PASS)
FAILED_TENTH = verdict(control("audit-log", "Audit log", "1.2.10"), ControlStatus.FAIL, repair=_RUN_APPLY)
FAILED_SECOND = verdict(control("rate-limit", "Rate limit", "1.2.2"), ControlStatus.FAIL, repair=_RUN_APPLY)
FAILED_BY_HAND = verdict(control("encryption", "Encryption at rest", "1.2.27"), ControlStatus.FAIL)
UNKNOWN = verdict(
    control("read-only-port", "Read-only port", "4.2.4"),
    ControlStatus.UNKNOWN,
    reason="cannot read /var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf: Permission denied",
    repair=steps("run it as root"),
)
NOT_APPLICABLE = verdict(
    control("pod-spec", "Pod spec", "1.1.1", Assessed.SKIPPED),
    ControlStatus.NOT_APPLICABLE,
    evidence=(),
    reason="K3s runs the API server in its own process.",
    repair=NO_REPAIR,
)
MANUAL = verdict(
    control("cluster-admin", "Use of cluster-admin", "5.1.1", Assessed.MANUAL),
    ControlStatus.MANUAL,
    evidence=(),
    reason="Who may do what is kept in the cluster.",
    repair=Repair((Run("kubectl get clusterrolebindings -o wide"),)),
)
BEYOND = verdict(control("vm.panic_on_oom", "vm.panic_on_oom is 0"), ControlStatus.FAIL, found="1", repair=_RUN_APPLY)

MIXED = Assessment(
    benchmark=Benchmark.CIS_1_9,
    node="edge-07.example.org",
    when=WHEN,
    facts=FACTS,
    verdicts=(
        *(BEYOND, FAILED_TENTH, FAILED_SECOND, PASSED, WAIVED, WAIVED_FOR_GOOD),
        *(FAILED_BY_HAND, UNKNOWN, NOT_APPLICABLE, MANUAL),
    ),
    notes=(
        Note("the waiver for `pod-pids-2` is not needed", at("/etc/k3s-harden/waivers.yaml", 14), steps("remove it")),
    ),
)
"""A verdict of every status, unordered, without a baseline."""


def of_catalogue(benchmark: Benchmark) -> Assessment:
    """Return all controls of a benchmark; every third automated one fails."""
    verdicts = []
    for index, row in enumerate(catalogue.controls_of(benchmark)):
        check = row.check_of(benchmark)
        if isinstance(check, Manual):
            shown = MANUAL._replace(reason=check.review, repair=steps(check.review))
        elif isinstance(check, NotInK3s):
            shown = NOT_APPLICABLE._replace(reason=check.reason)
        elif index % 3:
            shown = PASSED
        else:
            shown = FAILED_BY_HAND._replace(repair=FAILED_SECOND.repair)
        verdicts.append(shown._replace(control=row, number=row.numbers.get(benchmark)))
    return replace(MIXED, benchmark=benchmark, verdicts=tuple(verdicts))


def hardened() -> Assessment:
    """Return the assessment of a hardened server by the newest benchmark: five automated controls fail."""
    all_of_it = of_catalogue(list(Benchmark)[-1])
    failed = [shown.control.id for shown in all_of_it.verdicts if shown.status is ControlStatus.FAIL][::7][:5]
    verdicts = (
        shown
        if shown.status is not ControlStatus.FAIL or shown.control.id in failed
        else PASSED._replace(control=shown.control, number=shown.number)
        for shown in all_of_it.verdicts
    )
    return replace(all_of_it, verdicts=tuple(verdicts))


_STATUSES = (*(ControlStatus.PASS,) * 6, *ControlStatus)


def large(count: int = 150) -> Assessment:
    """Return as many verdicts as the catalogue has controls, in all sections, with texts of realistic length."""
    sections = list(SECTIONS)
    verdicts = []
    for index in range(count):
        section = sections[index % len(sections)]
        status = _STATUSES[index % len(_STATUSES)]
        row = control(
            f"control-with-a-name-{index}",
            f"The argument --some-argument-{index} of the API server is set as appropriate",
            f"{section}.{index // len(sections) + 1}" if section else "",
        )
        without_answer = (ControlStatus.UNKNOWN, ControlStatus.MANUAL, ControlStatus.NOT_APPLICABLE)
        verdicts.append(
            verdict(
                row,
                status,
                expected="a comma-separated list with NodeRestriction and EventRateLimit",
                found="NodeRestriction",
                evidence=WAIVED.evidence * (1 + index % 2),
                reason=UNKNOWN.reason if status in without_answer else "",
                repair=(_EDIT_CONFIGURATION, _RUN_APPLY, Repair(restart=Restart.START), NO_REPAIR)[index % 4],
                waiver=WAIVED.waiver if status is ControlStatus.WAIVED else None,
            )
        )
    return replace(MIXED, verdicts=tuple(verdicts))
