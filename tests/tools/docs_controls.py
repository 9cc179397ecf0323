"""Generated pages about the controls of the guide and of the benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.assess.benchmark import catalogue
from agent.assess.benchmark.catalogue import SECTIONS
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.checks.check import Manual, NotInK3s
from agent.assess.checks.cluster.cluster_check import ClusterCheck, cluster_rules
from agent.assess.checks.cluster.rule import ClusterRule
from agent.cluster.kubernetes.queries import CONFIGURATION, FLAGS, METADATA, OBJECTS, REQUESTS, TABLE, Query, of_kubelet
from agent.harden.guide import guide_row
from agent.harden.guide.controls import CONTROLS
from agent.harden.guide.guide_files import DirectoryRow, FileRow
from agent.harden.guide.guide_row import GuideControl
from agent.harden.guide.k3s_options import OptionRow
from agent.harden.guide.sysctls import SysctlRow
from agent.k3s.cis.versions import Benchmark, Number, only_in_frameworks, up_to
from agent.verbs.explain import origin_in_words
from tests.tools.markdown import anchor, escaped, generated, page, prose, table

_GUIDE_PAGE = "guide-controls.md"


def guide_controls() -> str:
    parts = [
        "# Controls of the guide",
        generated("agent/harden/guide"),
        prose("""
            All requirements of the guide in the order of its headings. `k3s-harden explain ID` prints an entry. The
            CIS numbers are those of the guide; numbers change between versions of the benchmark, and
            [controls.md](controls.md) lists all of them. [deviations.md](deviations.md) lists the
            differences from the guide.
        """),
        table(
            ("id", "control", "applies to", "CIS"),
            ((f"[`{c.id}`](#{_anchor(c)})", c.title, str(c.applies), ", ".join(c.origin.cis)) for c in CONTROLS),
        ),
    ]
    for heading in guide_row.IN_ORDER:
        parts.append(f"## {heading}")
        for control in CONTROLS:
            if control.origin.heading == heading:
                parts += [f"### {_heading(control)}", _of_the_guide(control)]
    return page(parts)


AS_IN_THE_GUIDE = {
    "network-policies": "put the guide's policies, with other names, into another file below `server/manifests`",
    "pod-security-policies": "set `cis-operator-namespace: true` when the namespace exists",
    "protect-kernel-defaults": "set `protect-kernel-defaults: false`, from v1.25 on",
    "terminated-pod-gc-threshold": "set `terminated-pod-gc-threshold`",
    "request-timeout": "put the arguments into K3s' own configuration, which k3s-harden extends",
    "enable-admission-plugins": "no change; [the profile strict](../howto/strict.md) enables them",
    "pod-security-admission": "provision the cluster with Rancher. Without it, `pod-security.exempt-rancher: false` "
    "exempts only kube-system and compliance-operator-system, as the K3s project's own guide does; pods of charts such "
    "as Longhorn's are then rejected",
    "k3s-config": "copy what `k3s-harden render rancher-cluster` prints",
    "default-service-accounts": "run the script that `k3s-harden render service-accounts` prints",
}
"""The way of the guide, by the first control of a difference."""


def deviations() -> str:
    """Return docs/reference/deviations.md."""
    found: dict[str, list[str]] = {}
    for control in CONTROLS:
        if control.deviation:
            found.setdefault(control.deviation, []).append(control.id)
    rows = (
        (", ".join(f"`{name}`" for name in names), text, AS_IN_THE_GUIDE.get(names[0], ""))
        for text, names in found.items()
    )
    return page([
        "# Differences from the guide",
        generated("agent/harden/guide"),
        prose("""
            The guide is the K3s Hardening Guide for Rancher v2.7, and from v1.27 on the K3s project's own. Tests
            compare all values in both directions, so this list is complete. `k3s-harden explain ID` prints the entry
            of a control.
        """),
        table(("controls", "difference, and its reason", "to follow the guide"), rows),
        prose("""
            The K3s project's own guide enables EventRateLimit without an entry in its admission configuration. Then
            the API server exits, as seen at v1.37.2; `check` predicts it.
        """),
    ])  # fmt: skip


def controls() -> str:
    """Return docs/reference/controls.md."""
    found = catalogue.all_controls()
    on_host = [control for control in found if not isinstance(control.check, (Manual, NotInK3s))]
    further = ", ".join(f"`{name}`" for name in only_in_frameworks())
    parts = [
        "# Controls",
        generated("agent/assess/benchmark"),
        prose(f"""
            All {len(found)} controls of `k3s-harden assess`. {len(on_host)} of them can be
            checked on the host; the others require manual review or do not apply to K3s. `k3s-harden explain ID` prints
            an entry; a number is accepted too: `k3s-harden explain cis-1.9/1.2.16`.
        """),
        prose(f"""
            These are assessed only for [another framework](../howto/auditors.md): {further}.
        """),
        prose("""
            A mode is stricter than another if it has a subset of its bits. A number without a note is automated in its
            benchmark. The severity, critical, high, medium or low, is what an attacker gains while the control is
            open, whether or not the benchmark scores it. `agent/assess/benchmark/severities.tsv` has the reasons.
        """),
        _benchmarks(),
        prose("""
            A control is listed in the section of its newest benchmark. A number without a benchmark is of the newest
            one.
        """),
        *_sections(),
    ]
    return page(parts)


def cluster_controls() -> str:
    found = [
        (control, control.check) for control in catalogue.all_controls() if isinstance(control.check, ClusterCheck)
    ]
    parts = [
        "# Controls of the cluster",
        generated("agent/assess/checks/cluster"),
        prose("""
            `k3s-harden assess --cluster` asks the API server of the host about these controls. Without `--cluster`,
            each is MANUAL, without an answer UNKNOWN, and the report has the command to run. An object of the site is
            one that is not on every K3s. The evidence lists the objects of K3s and Kubernetes apart, with the reason.
            A workload is a pod, a CronJob, or the pod template of another controller that has no pod, such as a
            Deployment with 0 replicas. It is reported once, under the outermost controller. Finished Jobs and earlier
            revisions are not judged.
            [assess.md](../howto/assess.md#assess-the-cluster) explains the option.
        """),
        table(
            ("number", "control", "reads", "PASS if", "FAIL if", "MANUAL if"),
            (_cluster_row(control, cluster_rules()[check.rule]) for control, check in found),
        ),
        "## Requests",
        prose("""
            Requests are GET, except reviews of access, and with `--probe` dry runs of pods and ephemeral containers,
            which change nothing. At most 500 reviews are about everybody, and at most 2,000 about other accounts,
            only with other authorization modes than Node and RBAC; six are asked at the same time. At most 50
            namespaces are probed, with about 85 requests each, in 60 seconds. Lists are read in pages of 250 objects.
            One request takes at most 5 seconds, all of them 20 seconds, and an answer is at most 8 MiB. A page that is
            larger is read in smaller ones. An object that is larger is named, and its controls are UNKNOWN, unless
            others fail. Of Secrets only the columns of `kubectl get secrets` are requested, because annotations can
            repeat the content.
        """),
        table(
            ("name", "path", "format"),
            (
                *((query.value, f"`{one.path}`", _FORMATS[one.accept]) for query, one in REQUESTS.items()),
                ("flags of the API server", f"`{FLAGS.path}`", "flags, from Kubernetes 1.36 on"),
                (Query.ACCESS_REVIEWS.value, f"`{Query.ACCESS_REVIEWS.request.path}`", "allowed or not"),
                ("configuration of each kubelet", f"`{of_kubelet('NODE', CONFIGURATION).path}`", "configuration"),
                ("flags of each kubelet", f"`{of_kubelet('NODE', FLAGS).path}`", "flags, from Kubernetes 1.36 on"),
            ),
        ),
    ]
    return page(parts)


_FORMATS = {OBJECTS: "objects", METADATA: "names and labels", TABLE: "names and types"}


def _cluster_row(control: BenchmarkControl, rule: ClusterRule) -> tuple[str, ...]:
    _, number = _newest(control)
    reads = ", ".join(rule.queries) if rule.queries else "K3s' configuration"
    texts = (prose(text) if text else "never" for text in (rule.passes, rule.fails, rule.manual))
    return (number.text if number else "", _link(control, "controls.md"), reads, *texts)


def _of_the_guide(control: GuideControl) -> str:
    return _entry(
        f"**{escaped(control.title)}.** Applies to {control.applies}.",
        [
            ("Expected", _expected(control)),
            ("Rationale", prose(control.why)),
            ("In the guide", prose(origin_in_words(control.origin))),
            ("Differs from the guide", prose(control.deviation)),
            ("Can break", prose(control.risk)),
            ("By hand", prose(control.by_hand)),
        ],
    )


def _expected(control: GuideControl) -> str:
    if isinstance(control, SysctlRow):
        return f"`{control.key} = {control.value}`" + ("" if control.written else ", compared only")
    if isinstance(control, (DirectoryRow, FileRow)):
        path = str(control.path) if control.path.is_absolute() else f"D/{control.path}"
        return f"`{path}`, mode {control.mode}, owner root"
    if isinstance(control, OptionRow):
        value = f"{control.name}={control.value}" if control.name else control.value
        return f"`{control.key}: {value}`; accepted values: {escaped(str(control.meets))}"
    return ""


def _heading(control: GuideControl) -> str:
    alike = [other for other in CONTROLS if other.id == control.id]
    return f"`{control.id}`" + (f" ({control.applies.versions})" if len(alike) > 1 else "")


def _anchor(control: GuideControl) -> str:
    return anchor(_heading(control))


def _benchmarks() -> str:
    rows = (
        (
            f"`{benchmark}`",
            str(benchmark.fits),
            f"`k3s-{benchmark}`" if benchmark in up_to(Benchmark.CIS_1_9) else "none",  # kube-bench, cfg/config.yaml
        )
        for benchmark in Benchmark
    )
    return table(("benchmark", "K3s", "kube-bench's profile"), rows)


def _sections() -> Iterator[str]:
    by_section: dict[str, list[BenchmarkControl]] = {}
    for control in catalogue.all_controls():
        _, number = _newest(control)
        by_section.setdefault(f"{number.section} {SECTIONS[number.section]}" if number else SECTIONS[""], []).append(
            control
        )
    for section, inside in by_section.items():
        yield f"## {section}"
        yield table(("number", "id", "control", "level", "severity"), map(_row, inside))
        for control in inside:
            yield f"### `{control.id}`"
            yield _of_a_benchmark(control)


def _row(control: BenchmarkControl) -> tuple[str, str, str, str, str]:
    benchmark, number = _newest(control)
    severity = str(control.rating.severity)
    if not number:
        return "", _link(control, ""), control.title, "", severity
    text = number.text if benchmark is list(Benchmark)[-1] else f"{number.text} in {benchmark}"
    return text, _link(control, ""), control.title, str(control.level), severity


def _newest(control: BenchmarkControl) -> tuple[Benchmark | None, Number | None]:
    return list(control.numbers.items())[-1] if control.numbers else (None, None)


def _of_a_benchmark(control: BenchmarkControl) -> str:
    guide = control.guide
    numbers = [(number, benchmarks) for benchmarks, number in catalogue.numbers_by_benchmark(control)]
    level = f" Level {control.level}." if control.numbers else ""
    return _entry(
        f"**{escaped(control.title)}.** Applies to {control.applies}.{level}",
        [
            ("Number", "; ".join(map(" in ".join, numbers)) or "none; in no benchmark"),
            ("Expected", prose(control.check.description)),
            ("With `--cluster`", _ASKED if isinstance(control.check, ClusterCheck) else ""),
            *((f"Expected in {span}", prose(text)) for text, span in catalogue.earlier_requirements(control)),
            ("Rationale", prose(control.why)),
            ("Severity", f"{control.rating.severity}. {control.rating.reason}"),
            ("Provided by", prose(catalogue.provider(control))),
            ("In the guide", f"[`{guide.id}`]({_GUIDE_PAGE}#{_anchor(guide)})" if guide else ""),
            ("Before a change", prose(control.caution)),
            ("Source", f"`{control.source}`"),
        ],
    )


_ASKED = "the API server is asked; see the [rule](cluster-controls.md)"


def _link(control: BenchmarkControl, where: str) -> str:
    return f"[`{control.id}`]({where}#{anchor(f'`{control.id}`')})"


def _entry(head: str, facts: Iterable[tuple[str, str]]) -> str:
    return "\n".join((head, "", *(f"- **{label}:** {text}" for label, text in facts if text)))
