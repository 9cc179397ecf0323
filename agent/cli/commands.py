"""The commands: their options, their help and what they call.

The annotations are text, so that a run without options needs no Typer, whose import takes longer than such a run.
`shared_options` evaluates those of the command that a command line with options runs, among its own names.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from agent.base.errors import ExitCode, UsageError
from agent.base.report import Wording
from agent.base.value import Value, replace
from agent.cli.host_options import HostOptions, absolute
from agent.cli.report_options import AssessmentOptions, ReportOptions
from agent.cli.streams import columns, print_text, progress, repeat
from agent.k3s.roles_and_versions import EXAMPLE_MINOR, Role
from agent.reports.formats import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Annotated, Optional

    from typer import Argument

    from agent.assess.assessment import Assessment
    from agent.base.host import Host
    from agent.cli import shared_options as shared
    from agent.cli.shared_options import flag, option
    from agent.verbs.installation import Installation

CHANGES = tuple(ExitCode)
"""Exit codes of a verb that changes the host."""
READS = (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE, ExitCode.NOT_COMPLIANT)
"""Exit codes of a verb that compares the host and makes no changes."""
RENDERS = (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE)
"""Exit codes of a verb that does not read the host."""
_STORES = (*RENDERS, ExitCode.LOCKED)

SERVICE_VARIABLE = "K3S_HARDEN_SERVICE"
"""Environment variable of the gate and its confirmation: the K3s service that is about to start, or has started."""

_THIS_HOST = HostOptions()
_REPORT = ReportOptions()
_ASSESSMENT = AssessmentOptions()


class Command(Value):
    """A command: its function, whose docstring is the help, and the end of its help."""

    function: Callable[..., None]
    topic: str
    """The heading above it in the list of commands; empty for a command that only other programs run."""
    example: str
    codes: Sequence[ExitCode]
    success: str = ExitCode.COMPLIANT.meaning
    """The meaning of exit code 0."""
    own: Mapping[ExitCode, str] = {}
    """The other meanings that differ for this command."""
    without: Sequence[str] = ()
    """The options of the function that this command does not have."""
    help: str | None = None
    context: Mapping[str, Any] = {}

    @property
    def needs_no_words(self) -> bool:
        """Whether it runs without arguments and options."""
        return len(self.function.__defaults__ or ()) == self.function.__code__.co_argcount


COMMANDS: dict[str, Command] = {}


def _command(*words: Any, **fields: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:  # noqa: ANN401 - fields of Command
    """Return a decorator that adds a command, with the fields of its Command after the function."""

    def added(function: Callable[..., None]) -> Callable[..., None]:
        COMMANDS[function.__name__.replace("_", "-")] = Command(function, *words, **fields)
        return function

    return added


@_command("Harden", "sudo k3s-harden apply --role server", CHANGES)
def apply(
    *,
    force: shared.Force = False,
    accept_impact: Annotated[bool, flag("Apply even if objects of the cluster break.")] = False,
    options: shared.Service = _THIS_HOST,
    printed: shared.Report = _REPORT,
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
    printed.finish(report)


@_command("Harden", "sudo k3s-harden check", READS)
def check(*, options: shared.Service = _THIS_HOST, printed: shared.Report = _REPORT) -> None:
    """Check this host against the hardening guide.

    Reports whether the host meets the hardening guide, now and after the next boot, and whether K3s would start. Makes
    no changes. `assess` reports the controls of the CIS benchmark.
    """
    from agent.verbs import check_and_apply

    printed.finish(check_and_apply.check(options.host(), options.request()))


@_command("Harden", f"k3s-harden diff --role server --k3s-version {EXAMPLE_MINOR}", READS)
def diff(
    *, force: shared.Force = False, options: shared.Service = _THIS_HOST, printed: shared.Report = _REPORT
) -> None:
    """Show what apply would change.

    Prints each difference, for files as a unified diff. Makes no changes.
    """
    from agent.verbs import check_and_apply

    printed.finish(check_and_apply.diff(options.host(), options.request(force=force)))


_REVERT = Wording("every change was undone", "Reverted", "Nothing to revert", "reverted")


_NOT_REVERTED = {
    ExitCode.ERROR: "error; nothing was reverted",
    ExitCode.NOT_COMPLIANT: "reverted, and a finding of level error remains",
    ExitCode.PARTIAL: "partially reverted; the report lists what is left",
}


@_command("Harden", "sudo k3s-harden revert", CHANGES, _REVERT.success, _NOT_REVERTED)
def revert(
    *,
    last: Annotated[bool, flag("Undo only the newest run.")] = False,
    force: shared.Force = False,
    options: shared.Tree = _THIS_HOST,
    printed: shared.Report = _REPORT,
) -> None:
    """Undo the changes of apply.

    Restores files, modes and kernel parameters from the journal, as they were before the first apply. If the gate is
    installed, run uninstall first; otherwise the gate hardens the host again at the next start of K3s.
    """
    from agent.verbs.revert import revert as verb

    printed.finish(verb(options.host(), last=last, force=force), _REVERT)


_INSTALL = Wording("everything is installed", "Installed", "Already installed; nothing was changed", "installed")


@_command("Start", "sudo k3s-harden install", CHANGES, _INSTALL.success)
def install(
    *,
    unit: shared.Services = None,
    program: shared.Program = None,
    enforce: Annotated[bool, flag("Install the gate on a cluster that apply never hardened.")] = False,
    options: shared.HostTree = _THIS_HOST,
    printed: shared.Report = _REPORT,
) -> None:
    """Install the gate, timers and completions.

    Installs the systemd units and shell completions, and starts nothing. From then on, K3s does not start unless the
    host is hardened: the gate runs apply before each start. If K3s has run on this host and apply has never hardened
    it, it changes nothing and ends with 3.
    """
    from agent.verbs.install import install as verb

    host, installation = _installation(options, unit or (), program)
    printed.finish(verb(host, installation, enforce=enforce), _INSTALL)


_UNINSTALL = Wording("everything is removed", "Uninstalled", "Nothing to uninstall", "uninstalled")


@_command("Start", "sudo k3s-harden uninstall", CHANGES, _UNINSTALL.success)
def uninstall(
    *, program: shared.Program = None, options: shared.HostTree = _THIS_HOST, printed: shared.Report = _REPORT
) -> None:
    """Remove what install installed.

    The host stays hardened; `revert` undoes the hardening.
    """
    from agent.verbs.install import uninstall as verb

    printed.finish(verb(*_installation(options, (), program)), _UNINSTALL)


def _installation(options: HostOptions, services: Sequence[str], program: Path | None) -> tuple[Host, Installation]:
    """Return the host, and the installation of this program, or of the named one."""
    from agent.verbs.installation import installation_for

    host = options.host(("--program", program), *(("--unit", service) for service in services))
    return host, installation_for(host, options.request(), services, PurePosixPath(program) if program else _program())


def _program() -> PurePosixPath:
    """Return the path of this program, without symlinks."""
    return PurePosixPath(os.path.realpath(absolute(Path(sys.argv[0]))))


_BYPASS = Wording(
    "K3s may start without its gate", "Bypassed: K3s may start without its gate", "Nothing to bypass", "bypassed"
)


@_command("Start", "sudo k3s-harden bypass --for 2h", CHANGES, _BYPASS.success)
def bypass(
    *,
    duration: Annotated[
        Optional[str], option("DURATION", "Let each start pass for this time, at most 24h.", "--for")
    ] = None,
    expires_in: Annotated[
        int, option("MINUTES", "Without --for: minutes until an unused bypass ends.", min=1, max=1440)
    ] = 15,
    unit: shared.Services = None,
    printed: shared.Report = _REPORT,
) -> None:
    """Let K3s start without its gate.

    For emergencies: K3s starts although the host is not compliant, once, or with --for each time, such as in a crash
    loop. A K3s that the gate blocks starts at once. check, assess and the drift check report the bypass, and the start
    until a run finds the host compliant, which also ends the bypass.
    """
    from agent.verbs import bypass as verb

    minutes = expires_in if duration is None else verb.minutes_of(duration)
    printed.finish(verb.bypass(_THIS_HOST.host(), unit or (), minutes, each=duration is not None), _BYPASS)


_SERVICE_ACCOUNTS = Wording(
    "no namespace hands out default tokens", "Compliant", "Compliant; nothing was changed", "applied"
)
_UNDO = Wording(_SERVICE_ACCOUNTS.success, "Restored", "Nothing to restore", "restored")


@_command(
    "Start",
    "sudo k3s-harden service-accounts --wait 300",
    (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE, ExitCode.PARTIAL),
    _SERVICE_ACCOUNTS.success,
)
def service_accounts(
    *,
    kubeconfig: Annotated[Optional[Path], option("FILE", "Kubeconfig file. [default: as for k3s kubectl]")] = None,
    timeout: Annotated[
        float, option("SECONDS", "Timeout for each call.", min=1, max=600, callback=shared.a_number)
    ] = 20,
    wait: Annotated[
        float, option("SECONDS", "Time to wait for the API server.", min=0, max=3600, callback=shared.a_number)
    ] = 0,
    dry_run: Annotated[bool, flag("Show the changes, and make none.")] = False,
    undo: Annotated[bool, flag("Restore the values before the first run.")] = False,
    options: shared.ConfigOnly = _THIS_HOST,
    printed: shared.Report = _REPORT,
) -> None:
    """Disable default ServiceAccount tokens.

    With the setting network-policies.new-namespaces, it also creates the NetworkPolicies of new namespaces.

    Sets automountServiceAccountToken to false on the default ServiceAccount of each namespace, except those in the
    setting service-accounts.exempt. An annotation on the account holds the earlier value, which --undo restores. Run it
    on a server after K3s has started.
    """
    from agent.harden.node.site_files import read_settings
    from agent.verbs.service_accounts import KubectlAccess, change_default_tokens

    host, request = options.host(), options.request()
    settings = read_settings(host, request.settings_file, request.overrides)
    access = KubectlAccess(None if kubeconfig is None else str(absolute(kubeconfig)), timeout, wait)
    with progress("service-accounts", quiet=printed.quiet) as shown:
        report = change_default_tokens(host, settings, access, undo=undo, dry_run=dry_run, progress=shown)
    printed.finish(report, _UNDO if undo else _SERVICE_ACCOUNTS)


GATE_WORDING = Wording("K3s may start")


@_command(
    "",
    "sudo systemctl start k3s-harden@k3s.service",
    CHANGES,
    GATE_WORDING.success,
    {ExitCode.NOT_COMPLIANT: "K3s may not start: it would run unhardened"},
)
def gate(
    *,
    service: Annotated[str, option("NAME", f"K3s service that is about to start. [default: ${SERVICE_VARIABLE}]")] = "",
    options: shared.Live = _THIS_HOST,
    printed: shared.Report = _REPORT,
) -> None:
    """Run apply and decide if K3s may start.

    k3s-harden@.service runs it before each start of a K3s service, whose name is in K3S_HARDEN_SERVICE. systemd starts
    K3s only if it succeeds.
    """
    from agent.verbs import check_and_apply

    service = service or os.environ.get(SERVICE_VARIABLE, "")
    report = check_and_apply.gate(options.host(), options.request(service=service))
    printed.finish(report, GATE_WORDING)


@_command(
    "",
    "sudo systemctl start k3s-harden-started@k3s.service",
    RENDERS,
    "K3s runs with the arguments that the gate judged, or that is not known",
)
def confirm(
    *, service: Annotated[str, option("NAME", f"K3s service that has started. [default: ${SERVICE_VARIABLE}]")] = ""
) -> None:
    """Confirm that K3s runs as its gate has judged.

    k3s-harden-started@.service runs it after each start of a K3s service. It waits for up to ten minutes, and
    compares what K3s logged for this start with what the gate judged. It changes and stops nothing.
    """
    from agent.harden.gate.confirmation import confirm as verb

    print_text(f"{verb(_THIS_HOST.host(), service or os.environ.get(SERVICE_VARIABLE, ''))}\n")


@_command("", "k3s-harden upgrade-node", CHANGES, "the node has this version, and check succeeded")
def upgrade_node() -> None:
    """Replace the program of a node by this one.

    The container of `render upgrade-plan` runs it, with the node below /host and the archive installed on it. The new
    version runs `gate` and `check` beside the installed one; if one fails, nothing is replaced. Then it runs `install`
    and `check`. The exit code is that of the failed one. Without a gate on the node, only `check` runs.
    """
    from agent.base.host import Host
    from agent.base.host.process import run_below
    from agent.verbs.upgrade_node import upgrade_node as verb

    host, bundle = Host.tree_at("/host"), _program().parents[1]
    sys.exit(verb(host, bundle, partial(run_below, host.root), lambda line: print_text(f"{line}\n")))


@_command(
    "Verify",
    "sudo k3s-harden assess --role server --format html --output report.html",
    (*READS, ExitCode.ENVIRONMENT),
    "no control without a waiver failed or is undetermined",
    {
        ExitCode.NOT_COMPLIANT: "a control without a waiver failed or is undetermined",
        ExitCode.ENVIRONMENT: "the report cannot be written there, such as on a read-only mount",
    },
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
    options: shared.AssessedNode = _THIS_HOST,
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
        earlier = load_baseline(_THIS_HOST.host(), absolute(baseline), signers)
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


@_command(
    "Verify",
    "sudo k3s-harden impact",
    READS,
    "nothing breaks",
    {ExitCode.NOT_COMPLIANT: "something breaks, or could not be determined"},
)
def impact(
    *,
    kubeconfig: Annotated[Optional[Path], option("FILE", "Read the cluster of this kubeconfig by kubectl.")] = None,
    context: Annotated[Optional[str], option("NAME", "Read the cluster of this context by kubectl.")] = None,
    probe: Annotated[bool, flag("Also ask the API server about each pod template, in a temporary namespace.")] = False,
    connections: Annotated[
        Optional[Path], option("DIR", "Directory with the records of `record-traffic` of all nodes.")
    ] = None,
    options: shared.OfCluster = _THIS_HOST,
    printed: shared.ImpactReport = _REPORT,
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


@_command(
    "Verify",
    "sudo k3s-harden record-traffic",
    _STORES,
    "the connections of this moment are recorded, or the recording has ended",
)
def record_traffic() -> None:
    """Record who connects to pods of this node.

    Up to the day in the setting `traffic.record-until`, k3s-harden-traffic.timer repeats the first run every minute.
    Adds the connections that the kernel tracks to /var/lib/k3s-harden/connections.json. UDP, and what ended between two
    runs, can be missing. `impact --connections` reads the records of all nodes. `revert` and `uninstall` remove it.
    """
    from agent.verbs.record_traffic import record_traffic as verb

    for line in verb(_THIS_HOST.host(), _program()):
        print_text(f"{line}\n")


@_command(
    "Verify",
    f"sudo k3s-harden preflight v{EXAMPLE_MINOR}",
    READS,
    "nothing known prevents K3s of that version from starting, and apply can do the rest",
    {ExitCode.NOT_COMPLIANT: "K3s would not start, or something would be left that apply cannot fix"},
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
    options: shared.Service = _THIS_HOST,
    printed: shared.Report = _REPORT,
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


@_command("Verify", "sudo k3s-harden drift", _STORES, "the assessment is stored, whatever its result")
def drift(
    *,
    options: shared.Service = _THIS_HOST,
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


@_command(
    "Fleet",
    "k3s-harden fleet --require compliant --max-age 26h --expect 5",
    READS,
    "the nodes were printed, and what is required of them holds",
    {ExitCode.NOT_COMPLIANT: "a requirement does not hold, or the cluster has no nodes"},
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


@_command(
    "Fleet",
    "systemctl start k3s-harden-publish.service",
    _STORES,
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

    line = verb(_THIS_HOST.host(), remove=remove)
    if line:
        print_text(f"{line}\n")


@_command(
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
