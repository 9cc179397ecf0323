"""The verbs that the units and most people run without any option. Importing Typer takes longer than these runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.base.errors import UsageError
from agent.base.report import Wording
from agent.cli.host_options import HostOptions
from agent.cli.report_options import AssessmentOptions, ReportOptions
from agent.cli.streams import print_text, progress

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.assess.assessment import Assessment

_THIS_HOST = HostOptions()
_REPORT = ReportOptions()
_ASSESSMENT = AssessmentOptions()

SERVICE_VARIABLE = "K3S_HARDEN_SERVICE"
"""Environment variable of the gate and its confirmation: the K3s service that is about to start, or has started."""

GATE_WORDING = Wording("K3s may start")


def apply(
    options: HostOptions = _THIS_HOST,
    printed: ReportOptions = _REPORT,
    *,
    force: bool = False,
    accept_impact: bool = False,
) -> None:
    """Apply the guide, print the report and exit."""
    from agent.verbs import check_and_apply

    host = options.host()
    with progress("apply", quiet=printed.quiet) as shown:
        report = check_and_apply.apply(host, options.request(force=force), shown, accept_impact=accept_impact)
    printed.finish(report, options.caller)


def check(options: HostOptions = _THIS_HOST, printed: ReportOptions = _REPORT) -> None:
    """Compare the host with the guide, print the report and exit."""
    from agent.verbs import check_and_apply

    printed.finish(check_and_apply.check(options.host(), options.request()), options.caller)


def diff(options: HostOptions = _THIS_HOST, printed: ReportOptions = _REPORT, *, force: bool = False) -> None:
    """Print what apply would change and exit."""
    from agent.verbs import check_and_apply

    printed.finish(check_and_apply.diff(options.host(), options.request(force=force)), options.caller)


def gate(options: HostOptions = _THIS_HOST, printed: ReportOptions = _REPORT, *, service: str = "") -> None:
    """Apply the guide, and exit with 0 if the service may start; without `service`, that of the environment."""
    from agent.verbs import check_and_apply

    service = service or os.environ.get(SERVICE_VARIABLE, "")
    report = check_and_apply.gate(options.host(), options.request(service=service))
    printed.finish(report, options.caller, GATE_WORDING)


def confirm(*, service: str = "") -> None:
    """Print whether a service runs with what its gate judged; without `service`, that of the environment."""
    from agent.base.host import Host
    from agent.verbs.confirm import confirm as verb

    print_text(f"{verb(Host.real(), service or os.environ.get(SERVICE_VARIABLE, ''))}\n")


def assess(
    options: HostOptions = _THIS_HOST,
    printed: AssessmentOptions = _ASSESSMENT,
    *,
    benchmark: str = "auto",
    baseline: Path | None = None,
    signers: Path | None = None,
    cluster: bool = False,
    probe: bool = False,
) -> None:
    """Assess the host against a benchmark, print the assessment and exit."""
    from agent.assess.evidence.host_assessment import Scope, assess_host, load_baseline
    from agent.verbs import assess as verb

    chosen = verb.benchmark_named(benchmark)
    earlier = None
    if baseline is not None:
        from agent.base.host import Host
        from agent.cli.host_options import absolute

        earlier = load_baseline(Host.real(), absolute(baseline), None if signers is None else absolute(signers))
    if (cluster or probe) and options.root != "/":
        raise UsageError("cannot use --cluster with --root: a host tree has no API server", "omit one of them")
    host, request = options.host(), options.request()
    scope = Scope(chosen, earlier, cluster or probe, probe, printed.has_frameworks)
    with progress("assess", quiet=printed.quiet) as shown:
        done = assess_host(host, request, scope, shown)
    printed.finish_assessment(verb.with_next_steps(host, done), options.caller)


def drift(options: HostOptions = _THIS_HOST) -> None:
    """Print the changes since the last assessment."""
    from agent.assess.evidence.host_assessment import Scope, assess_host
    from agent.verbs.assess import with_next_steps
    from agent.verbs.drift import drift as changes

    host, request = options.host(), options.request()

    def assess(scope: Scope) -> Assessment:
        return with_next_steps(host, assess_host(host, request, scope))

    for line in changes(host, request, assess, options.caller):
        print_text(f"{line}\n")


def publish(*, remove: bool = False) -> None:
    """Publish the state of this node, or remove what was published, and print what was done."""
    from agent.base.host import Host
    from agent.verbs.publish import publish as verb

    line = verb(Host.real(), remove=remove)
    if line:
        print_text(f"{line}\n")


_VERBS: tuple[Callable[[], None], ...] = (apply, assess, check, confirm, diff, drift, gate, publish)
VERBS_WITHOUT_OPTIONS = {verb.__name__: verb for verb in _VERBS}
