"""The verbs that the units and most people run without any option. Importing Typer takes longer than these runs.

Each docstring is the help of its command, whose options `agent.cli.commands` declares.
"""

from __future__ import annotations

import os
import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import UsageError
from agent.base.report import Wording
from agent.cli.host_options import HostOptions, absolute
from agent.cli.report_options import AssessmentOptions, ReportOptions
from agent.cli.streams import print_text, progress, repeat
from agent.k3s.roles_and_versions import Role

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
    *,
    force: bool = False,
    accept_impact: bool = False,
    options: HostOptions = _THIS_HOST,
    printed: ReportOptions = _REPORT,
) -> None:
    """Apply the hardening guide to this host.

    Writes files, directories, kernel parameters and K3s options, then reads the host again and reports. Makes no
    changes if the host is already compliant. Starts a K3s that the gate of `install` blocked. `revert` undoes all
    changes. On a server where K3s runs, a run that changes NetworkPolicies or Pod Security makes no changes and ends
    with 3 if objects of the cluster would break; `impact` lists them.
    """
    from agent.verbs import check_and_apply

    host = options.host()
    with progress("apply", quiet=printed.quiet) as shown:
        report = check_and_apply.apply(host, options.request(force=force), shown, accept_impact=accept_impact)
    printed.finish(report, options.caller)


def check(*, options: HostOptions = _THIS_HOST, printed: ReportOptions = _REPORT) -> None:
    """Check this host against the hardening guide.

    Reports whether the host meets the hardening guide, now and after the next boot, and whether K3s would start. Makes
    no changes. `assess` reports the controls of the CIS benchmark.
    """
    from agent.verbs import check_and_apply

    printed.finish(check_and_apply.check(options.host(), options.request()), options.caller)


def diff(*, force: bool = False, options: HostOptions = _THIS_HOST, printed: ReportOptions = _REPORT) -> None:
    """Show what apply would change.

    Prints each difference, for files as a unified diff. Makes no changes.
    """
    from agent.verbs import check_and_apply

    printed.finish(check_and_apply.diff(options.host(), options.request(force=force)), options.caller)


def gate(*, service: str = "", options: HostOptions = _THIS_HOST, printed: ReportOptions = _REPORT) -> None:
    """Run apply and decide if K3s may start.

    k3s-harden@.service runs it before each start of a K3s service, whose name is in K3S_HARDEN_SERVICE. systemd starts
    K3s only if it succeeds.
    """
    from agent.verbs import check_and_apply

    service = service or os.environ.get(SERVICE_VARIABLE, "")
    report = check_and_apply.gate(options.host(), options.request(service=service))
    printed.finish(report, options.caller, GATE_WORDING)


def confirm(*, service: str = "") -> None:
    """Confirm that K3s runs as its gate has judged.

    k3s-harden-started@.service runs it after each start of a K3s service. It waits for up to ten minutes, and
    compares what K3s logged for this start with what the gate judged. It changes and stops nothing.
    """
    from agent.base.host import Host
    from agent.harden.gate.confirmation import confirm as verb

    print_text(f"{verb(Host.real(), service or os.environ.get(SERVICE_VARIABLE, ''))}\n")


def assess(
    *,
    benchmark: str = "auto",
    baseline: Path | None = None,
    allowed_signers: Path | None = None,
    baseline_days: int = 366,
    other_machine: bool = False,
    compare: tuple[Path, Path] | None = None,
    cluster: bool = False,
    probe: bool = False,
    every: float | None = None,
    report_to_api: bool = False,
    options: HostOptions = _THIS_HOST,
    printed: AssessmentOptions = _ASSESSMENT,
) -> None:
    """Assess this host against a CIS benchmark.

    Reports the status of each control and its evidence. Makes no changes. The exit code is 3 if a control without a
    waiver failed or could not be determined.
    """
    from agent.assess.evidence.host_assessment import Scope, assess_host, compared, load_baseline, require_use
    from agent.verbs import assess as verb

    printed = printed.with_format_of_output()
    printed.refuse_contradictions()
    if allowed_signers and not baseline:
        raise UsageError("cannot use --allowed-signers without --baseline", "pass --baseline FILE, or omit it")
    if report_to_api and not options.node:
        raise UsageError("cannot use --report-to-api without --node: it is for pods", "pass --node NAME, or omit it")
    if compare:
        printed.finish_comparison(compared(*map(absolute, compare)))
    if every is not None:
        if options.node:
            options.host()  # this process is confined, too: each assessment is a child with the same user
        repeat(every)
    chosen = verb.benchmark_named(benchmark)
    earlier = None
    if baseline is not None:
        from agent.base.host import Host

        signers = None if allowed_signers is None else absolute(allowed_signers)
        earlier = load_baseline(Host.real(), absolute(baseline), signers)
    if (cluster or probe) and options.root != "/":
        raise UsageError("cannot use --cluster with --root: a host tree has no API server", "omit one of them")
    host, request = options.host(), options.request()
    if earlier is not None:
        require_use(host, earlier, baseline_days, of_another=other_machine)
    scope = Scope(chosen, earlier, cluster or probe, probe, printed.has_frameworks)
    with progress("assess", quiet=printed.quiet) as shown:
        done = assess_host(host, request, scope, shown)
    if scope.with_cluster and done.node.facts.role is Role.AGENT:
        raise UsageError("cannot use --cluster on an agent: it has no API server", "run the command on a server")
    printed.finish_assessment(verb.with_next_steps(host, done), options.caller, to_api=report_to_api)


def drift(*, options: HostOptions = _THIS_HOST, test_notification: bool = False) -> None:
    """Report changes since the last assessment.

    k3s-harden-check.service runs it every day. Stores the assessment and its metrics, and prints a line for each
    change, then the next steps. The first run prints the result. With the setting drift.repair, it then runs apply.
    """
    from agent.assess.evidence.host_assessment import Scope, assess_host

    host, request = options.host(), options.request()
    if test_notification:
        from agent.verbs.notify import send_test

        print_text(f"{send_test(host, request, lambda: assess_host(host, request).assessment)}\n")
        return
    from agent.verbs.assess import with_next_steps
    from agent.verbs.drift import drift as changes

    def assess(scope: Scope) -> Assessment:
        return with_next_steps(host, assess_host(host, request, scope))

    for line in changes(host, request, assess, options.caller):
        print_text(f"{line}\n")


def publish(*, remove: bool = False) -> None:
    """Write the state of this node to its Node.

    k3s-harden-publish.service runs it after each drift check, and every 15 to 30 minutes. With the setting `publish`,
    it writes a condition and annotations with the kubelet's credential, if they have changed here or on the Node, and
    otherwise every six hours. Without the setting, it removes them.
    """
    from agent.base.host import Host
    from agent.verbs.publish import publish as verb

    line = verb(Host.real(), remove=remove)
    if line:
        print_text(f"{line}\n")


def record_traffic() -> None:
    """Record who connects to pods of this node.

    Up to the day in the setting `traffic.record-until`, k3s-harden-traffic.timer repeats the first run every minute.
    Adds the connections that the kernel tracks to /var/lib/k3s-harden/connections.json. UDP, and what ended between two
    runs, can be missing. `impact --connections` reads the records of all nodes. `revert` and `uninstall` remove it.
    """
    from agent.base.host import Host
    from agent.verbs.record_traffic import record_traffic as verb

    for line in verb(Host.real(), PurePosixPath(os.path.realpath(sys.argv[0]))):
        print_text(f"{line}\n")


_VERBS: tuple[Callable[[], None], ...] = (apply, assess, check, confirm, diff, drift, gate, publish, record_traffic)
VERBS_WITHOUT_OPTIONS = {verb.__name__.replace("_", "-"): verb for verb in _VERBS}
