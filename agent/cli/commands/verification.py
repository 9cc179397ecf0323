"""The commands that tell what a host, a cluster or several clusters are like, and `explain`."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agent.base.errors import ExitCode, UsageError
from agent.base.value import replace
from agent.cli.commands.declaration import COMMANDS, READS, RENDERS, REPORT, STORES, THIS_HOST, command, program_path
from agent.cli.host_options import absolute
from agent.cli.report_options import AssessmentOptions, ReportOptions
from agent.cli.streams import columns, print_text, progress, repeat
from agent.k3s.roles_and_versions import EXAMPLE_MINOR, Role
from agent.reports.formats import Format

if TYPE_CHECKING:
    from typing import Annotated, Optional

    from typer import Argument

    from agent.assess.assessment import Assessment
    from agent.cli import shared_options as shared
    from agent.cli.shared_options import flag, option

_ASSESSMENT = AssessmentOptions()


@command(
    "Verify",
    "sudo k3s-harden assess --role server --format html --output report.html",
    {
        **READS,
        ExitCode.NOT_COMPLIANT: "a control without a waiver failed or is undetermined",
        ExitCode.ENVIRONMENT: "the report cannot be written there, such as on a read-only mount",
    },
    "no control without a waiver failed or is undetermined",
    without=("every", "report_to_api", "node"),
)
def assess(
    *,
    benchmark: Annotated[
        str,
        option(
            "VERSION",
            "CIS benchmark, cis-1.23 to cis-2.1; auto: the newest for this K3s version.",
            autocompletion=shared.benchmarks,
        ),
    ] = "auto",
    baseline: Annotated[
        Optional[Path],
        option("FILE", "Earlier JSON report; what failed or was undetermined in it does not fail this run."),
    ] = None,
    allowed_signers: Annotated[
        Optional[Path], option("FILE", "Verify the baseline's signature, BASELINE.sig, with the keys in FILE.")
    ] = None,
    baseline_days: Annotated[int, option("DAYS", "Age in days from which a baseline is rejected.", min=1)] = 366,
    other_machine: Annotated[
        bool, flag("Accept a baseline of another machine, such as the one before a repair.")
    ] = False,
    compare: Annotated[
        Optional[tuple[Path, Path]],
        option("OLD NEW", "Only compare two JSON reports: new, fixed and changed controls."),
    ] = None,
    cluster: Annotated[
        bool, flag("Also ask the API server of this host about objects and components of the cluster.")
    ] = False,
    probe: Annotated[bool, flag("As --cluster, and with dry runs of pods that Pod Security has to reject.")] = False,
    every: Annotated[Optional[float], shared.hours("Assess again and again, after this time.")] = None,
    report_to_api: Annotated[bool, flag("Also write an OpenReports ClusterReport to the API server.")] = False,
    options: shared.AssessedNode = THIS_HOST,
    printed: shared.Assessed = _ASSESSMENT,
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
        signers = None if allowed_signers is None else absolute(allowed_signers)
        earlier = load_baseline(THIS_HOST.host(), absolute(baseline), signers)
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
    printed.finish_assessment(verb.with_next_steps(host, done), to_api=report_to_api)


COMMANDS["assess-node"] = replace(
    COMMANDS["assess"],
    topic="",
    example="k3s-harden assess-node --root /host --node worker-1",
    without=(),
    help="Assess the node of a pod.\n\nThe pods of `render assessment-job` run it, as `assess`.",
)


@command(
    "Verify",
    "sudo k3s-harden impact",
    {**READS, ExitCode.NOT_COMPLIANT: "something breaks, or could not be determined"},
    "nothing breaks",
)
def impact(
    *,
    kubeconfig: Annotated[Optional[Path], option("FILE", "Read the cluster of this kubeconfig by kubectl.")] = None,
    context: Annotated[Optional[str], option("NAME", "Read the cluster of this context by kubectl.")] = None,
    probe: Annotated[bool, flag("Also ask the API server about each pod template, in a temporary namespace.")] = False,
    connections: Annotated[
        Optional[Path], option("DIR", "Directory with the records of `record-traffic` of all nodes.")
    ] = None,
    options: shared.OfCluster = THIS_HOST,
    printed: shared.ImpactReport = REPORT,
) -> None:
    """Show what hardening breaks in the cluster.

    Compares what is in effect with what apply, the next restart of K3s and service-accounts make of it, and prints a
    line for each object that breaks: when, why, and what to do. Makes no changes without --probe. As root on a server
    it uses the credential of K3s, elsewhere the kubectl in PATH. Ends with 3 if something breaks or could not be
    determined, and the settings do not accept it. The format `settings` is `network-policies.allow` with all rules.
    """
    from agent.reports.impact_report import present_impact
    from agent.verbs import impact as verb

    given = (("--kubeconfig", kubeconfig and absolute(kubeconfig)), ("--context", context))
    kubectl = [f"{name}={value}" for name, value in given if value is not None]
    with progress("impact", quiet=printed.quiet) as shown:
        records = None if connections is None else absolute(connections)
        found = verb.impact(
            *(options.host(), options.request(), os.environ, shown), kubectl=kubectl, probe=probe, records=records
        )
    printed.finish_as(partial(present_impact, found), found.exit_code)


@command(
    "Verify",
    "sudo k3s-harden record-traffic",
    STORES,
    "the connections of this moment are recorded, or the recording has ended",
)
def record_traffic() -> None:
    """Record who connects to pods of this node.

    Up to the day in the setting `traffic.record-until`, k3s-harden-traffic.timer repeats the first run every minute.
    Adds the connections that the kernel tracks to /var/lib/k3s-harden/connections.json. UDP, and what ended between two
    runs, can be missing. `impact --connections` reads the records of all nodes. `revert` and `uninstall` remove it.
    """
    from agent.verbs.record_traffic import record_traffic as verb

    for line in verb(THIS_HOST.host(), program_path()):
        print_text(f"{line}\n")


@command(
    "Verify",
    f"sudo k3s-harden preflight v{EXAMPLE_MINOR}",
    {**READS, ExitCode.NOT_COMPLIANT: "K3s would not start, or something would be left that apply cannot fix"},
    "nothing known prevents K3s of that version from starting, and apply can do the rest",
)
def preflight(
    version: Annotated[
        str,
        Argument(
            metavar="VERSION",
            help=f"K3s version after the upgrade, such as v{EXAMPLE_MINOR} or v{EXAMPLE_MINOR}.2+k3s1.",
            autocompletion=shared.versions,
        ),
    ],
    *,
    options: shared.Service = THIS_HOST,
    printed: shared.Report = REPORT,
) -> None:
    """Check a K3s upgrade before it is made.

    Reports whether K3s of another version would start with this host's configuration, what apply would change for it,
    and what else to know. Ends with 3 if it would not start, or if something is left that apply cannot fix. Makes no
    changes, and does not need the new version. --k3s-version is the current one. Arguments of components are checked
    for K3s 1.34 and newer.
    """
    from agent.reports.preflight_report import present_preflight
    from agent.verbs import preflight as verb

    target = verb.target_version(version)
    result = verb.preflight(options.host(), options.request(), target)
    replace(options, k3s_version=result.target).complete_commands()
    printed.finish_as(partial(present_preflight, result), result.exit_code)


@command("Verify", "sudo k3s-harden drift", STORES, "the assessment is stored, whatever its result")
def drift(
    *,
    options: shared.Service = THIS_HOST,
    test_notification: Annotated[bool, flag("Only send a test with `drift.notify`, and wait for it.")] = False,
) -> None:
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

    for line in changes(host, request, assess):
        print_text(f"{line}\n")


@command(
    "Fleet",
    "k3s-harden fleet --require compliant --max-age 26h --expect 5",
    {**READS, ExitCode.NOT_COMPLIANT: "a requirement does not hold, or the cluster has no nodes"},
    "the nodes were printed, and what is required of them holds",
)
def fleet(
    sources: Annotated[
        Optional[list[str]],
        Argument(metavar="[SOURCE]...", help="- or a file with the output of kubectl, or a directory of sites."),
    ] = None,
    *,
    context: Annotated[Optional[list[str]], option("NAME", "Read this context of kubectl; may be repeated.")] = None,
    all_contexts: Annotated[bool, flag("Read each cluster of the kubeconfig.")] = False,
    allowed_signers: Annotated[
        Optional[Path], option("FILE", "Verify records of sites with the keys in this file.")
    ] = None,
    since: Annotated[Optional[Path], option("FILE", "Show what has changed since this JSON output.")] = None,
    require: Annotated[Optional[str], option("compliant|full", "What each node has to be.")] = None,
    max_age: Annotated[str, option("DURATION", "Age from which a report is unknown.")] = "26h",
    expect: Annotated[Optional[int], option("NUMBER", "How many nodes there are.", min=1)] = None,
    expect_from: Annotated[
        Optional[Path], option("FILE", "Names of the expected nodes or clusters, one a line.")
    ] = None,
    only: Annotated[
        Optional[str], option("RESULTS", "Show only nodes with these results, of failed,unknown,compliant,postponed.")
    ] = None,
    output_format: shared.FleetFormat = Format.AUTO,
) -> None:
    """Show which nodes of clusters are hardened.

    Reads what each node published on its Node object, and compares nodes of the same role and cluster. Runs the kubectl
    in PATH with your kubeconfig, or reads its output, or the records of sites without access. Needs no root and makes
    no changes. A node without a complete and recent report is unknown. Ends with 3 unless what is required holds, and
    without nodes.
    """
    from agent.reports.fleet_report import present_fleet
    from agent.verbs import fleet as verb

    names = None if expect_from is None else absolute(expect_from)
    requirement, results = verb.requirement(require, max_age, expect, names), verb.results(only)
    found = verb.Sources(
        documents=[sys.stdin] if "-" in (sources or ()) else (),
        paths=[absolute(Path(name)) for name in sources or () if name != "-"],
        contexts=context or (),
        all_contexts=all_contexts,
    )
    with progress("fleet", quiet=False) as shown:
        fleet = verb.fleet(
            os.environ,
            found,
            requirement,
            shown,
            signers=None if allowed_signers is None else absolute(allowed_signers),
            before=None if since is None else verb.snapshot(absolute(since)),
        )
    show = partial(present_fleet, fleet, only=results)
    ReportOptions(output_format).finish_as(show, fleet.exit_code)


@command(
    "Fleet",
    "systemctl start k3s-harden-publish.service",
    STORES,
    "the Node has the state of the last drift check, or there is nothing to publish",
)
def publish(
    *, remove: Annotated[bool, flag("Remove what was published. The next drift check publishes it again.")] = False
) -> None:
    """Write the state of this node to its Node.

    k3s-harden-publish.service runs it after each drift check, and every 15 to 30 minutes. With the setting `publish`,
    it writes a condition and annotations with the kubelet's credential, if they have changed here or on the Node, and
    otherwise every six hours. Without the setting, it removes them.
    """
    from agent.verbs.publish import publish as verb

    line = verb(THIS_HOST.host(), remove=remove)
    if line:
        print_text(f"{line}\n")


@command(
    "Reference",
    "k3s-harden explain audit-log-maxage",
    RENDERS,
    "the explanation was printed",
    context={"ignore_unknown_options": True},  # `explain --anonymous-auth`
)
def explain(
    topic: Annotated[
        Optional[list[str]],
        Argument(
            metavar="[TOPIC]",
            help="Control, finding, setting, CIS number, path, kernel parameter or argument. Without it, all IDs.",
            show_default=False,
            autocompletion=shared.topics,
        ),
    ] = None,
) -> None:
    """Explain a control, finding or setting.

    Prints its purpose, its source, its numbers in the benchmarks, what it can break, and how to fix it by hand. Lists
    the controls if a path, a number or an argument has several.
    """
    from agent.verbs.explain import explained, listed

    width = columns()
    print_text(explained(" ".join(topic), width) if topic else listed(width))
