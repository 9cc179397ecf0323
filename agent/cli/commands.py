"""The commands, their options and their help, as Typer declares them."""

# Without `from __future__ import annotations`: Typer evaluates the annotations.

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from typer import Argument, Option

from agent import __version__
from agent.assess.frameworks import Framework
from agent.base.errors import ExitCode
from agent.base.report import Wording
from agent.base.value import replace
from agent.cli import verbs_without_options
from agent.cli.help_text import CHANGES, PROGRAM, READS, RENDERS, Grouped, epilog, set_summaries
from agent.cli.host_options import HostOptions, absolute
from agent.cli.report_options import ReportOptions
from agent.cli.shared_options import (
    HOST,
    HOURS,
    LIVE,
    REPORT,
    SERVICE,
    TREE,
    Config,
    FleetFormat,
    Force,
    ImpactFormat,
    Node,
    Profile,
    Program,
    Services,
    a_number,
    benchmarks,
    expand,
    topics,
    versions,
)
from agent.cli.streams import columns, print_text, printing, progress
from agent.cli.verbs_without_options import GATE_WORDING, SERVICE_VARIABLE
from agent.k3s.roles_and_versions import EXAMPLE_MINOR
from agent.reports.formats import Format

if TYPE_CHECKING:
    from agent.base.host import Host
    from agent.verbs.installation import Installation

app = typer.Typer(
    name=PROGRAM,
    cls=Grouped,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,  # `install` writes the scripts; Typer's option would edit files of the user
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"{PROGRAM} COMMAND --help prints the options, an example and the exit codes of a command.",
)


def _print_version(asked: bool) -> None:
    if asked:
        print_text(f"{PROGRAM} {__version__}\n")
        raise typer.Exit


@app.callback()
def _program(
    *,
    version: Annotated[
        bool, Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Harden a K3s host by its hardening guide, assess it by CIS benchmarks, and undo the changes."""


def _declare(verb: Callable[..., None], epilog: str, *, hidden: bool = False, **options: object) -> None:
    """Add a verb that also runs without options: its parameters with their types or groups of options."""
    app.command(epilog=epilog, hidden=hidden)(expand(**options)(verb))


_declare(
    verbs_without_options.apply,
    epilog("sudo k3s-harden apply --role server", CHANGES),
    force=Force,
    accept_impact=Annotated[bool, Option("--accept-impact", help="Apply even if objects of the cluster break.")],
    options=SERVICE,
    printed=REPORT,
)
_declare(verbs_without_options.check, epilog("sudo k3s-harden check", READS), options=SERVICE, printed=REPORT)
_declare(
    verbs_without_options.diff,
    epilog(f"k3s-harden diff --role server --k3s-version {EXAMPLE_MINOR}", READS),
    force=Force,
    options=SERVICE,
    printed=REPORT,
)


@app.command(
    epilog=epilog(
        f"sudo k3s-harden preflight v{EXAMPLE_MINOR}",
        READS,
        "nothing known prevents K3s of that version from starting, and apply can do the rest",
        {ExitCode.NOT_COMPLIANT: "K3s would not start, or something would be left that apply cannot fix"},
    )
)
@expand(options=SERVICE, printed=REPORT)
def preflight(
    version: Annotated[
        str,
        Argument(
            metavar="VERSION",
            help=f"K3s version after the upgrade, such as v{EXAMPLE_MINOR} or v{EXAMPLE_MINOR}.2+k3s1.",
            autocompletion=versions,
        ),
    ],
    *,
    options: HostOptions,
    printed: ReportOptions,
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
    for_target = replace(options, k3s_version=result.target)
    with printing(result.exit_code):
        present_preflight(result, printed.output_format, printed.verbosity, sys.stdout, for_target.caller)
    sys.exit(int(result.exit_code))


_assess_epilog = partial(
    epilog,
    codes=(*READS, ExitCode.ENVIRONMENT),
    success="no control without a waiver failed or is undetermined",
    own={
        ExitCode.NOT_COMPLIANT: "a control without a waiver failed or is undetermined",
        ExitCode.ENVIRONMENT: "the report cannot be written there, such as on a read-only mount",
    },
)
_ASSESS: dict[str, Any] = {
    "benchmark": Annotated[
        str,
        Option(
            help="CIS benchmark, cis-1.23 to cis-2.1; auto: the newest for this K3s version.",
            metavar="VERSION",
            autocompletion=benchmarks,
        ),
    ],
    "baseline": Annotated[
        Optional[Path],
        Option(
            help="Earlier JSON report; what failed or was undetermined in it does not fail this run.", metavar="FILE"
        ),
    ],
    "allowed_signers": Annotated[
        Optional[Path],
        Option(help="Verify the baseline's signature, BASELINE.sig, with the keys in FILE.", metavar="FILE"),
    ],
    "baseline_days": Annotated[
        int, Option(help="Age in days from which a baseline is rejected.", metavar="DAYS", min=1)
    ],
    "other_machine": Annotated[
        bool, Option("--other-machine", help="Accept a baseline of another machine, such as the one before a repair.")
    ],
    "compare": Annotated[
        Optional[tuple[Path, Path]],
        Option(help="Only compare two JSON reports: new, fixed and changed controls.", metavar="OLD NEW"),
    ],
    "cluster": Annotated[
        bool,
        Option("--cluster", help="Also ask the API server of this host about objects and components of the cluster."),
    ],
    "probe": Annotated[
        bool, Option("--probe", help="As --cluster, and with dry runs of pods that Pod Security has to reject.")
    ],
    "printed": {
        "output_format": Annotated[
            Format, Option("--format", help=f"Output format: {', '.join(Format)}.", metavar="FORMAT")
        ],
        "output": Annotated[
            Optional[Path],
            Option(help="File to write with mode 0600; its ending selects the format. [default: -]", metavar="FILE"),
        ],
        "sign": Annotated[
            Optional[Path], Option(help="Also write FILE.sig with this SSH key, by ssh-keygen.", metavar="KEY")
        ],
        "framework": Annotated[
            Optional[Framework],
            Option(help="Only the controls of stig or nist, listed by the rules of that framework.", metavar="NAME"),
        ],
        "beyond": Annotated[bool, Option("--beyond", help="kube-bench: add the controls that CIS does not have.")],
        "verbose": Annotated[bool, Option("--verbose", "-v", help="Print all controls, host facts and evidence.")],
        "quiet": Annotated[bool, Option("--quiet", "-q", help="Print only failed and undetermined controls.")],
    },
}
_declare(
    verbs_without_options.assess,
    _assess_epilog("sudo k3s-harden assess --role server --format html --output report.html"),
    every=None,
    report_to_api=None,
    options=SERVICE,
    **_ASSESS,
)
app.command(
    "assess-node",
    epilog=_assess_epilog("k3s-harden assess-node --root /host --node worker-1"),
    hidden=True,
    help="Assess the node of a pod.\n\nThe pods of `render assessment-job` run it, as `assess`.",
)(
    expand(
        every=Annotated[Optional[float], Option(help="Assess again and again, after this time.", **HOURS)],
        report_to_api=Annotated[
            bool, Option("--report-to-api", help="Also write an OpenReports ClusterReport to the API server.")
        ],
        options={**SERVICE, "node": Node},
        **_ASSESS,
    )(verbs_without_options.assess)
)
_declare(
    verbs_without_options.drift,
    epilog(
        "sudo k3s-harden drift",
        (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE, ExitCode.LOCKED),
        "the assessment is stored, whatever its result",
    ),
    options=SERVICE,
    test_notification=Annotated[
        bool, Option("--test-notification", help="Only send a test with `drift.notify`, and wait for it.")
    ],
)
_declare(
    verbs_without_options.publish,
    epilog(
        "systemctl start k3s-harden-publish.service",
        (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE, ExitCode.LOCKED),
        "the Node has the state of the last drift check, or there is nothing to publish",
    ),
    remove=Annotated[
        bool, Option("--remove", help="Remove what was published. The next drift check publishes it again.")
    ],
)
_declare(
    verbs_without_options.record_traffic,
    epilog(
        "sudo k3s-harden record-traffic",
        (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE, ExitCode.LOCKED),
        "the connections of this moment are recorded, or the recording has ended",
    ),
)
_declare(
    verbs_without_options.gate,
    epilog(
        "sudo systemctl start k3s-harden@k3s.service",
        CHANGES,
        GATE_WORDING.success,
        {ExitCode.NOT_COMPLIANT: "K3s may not start: it would run unhardened"},
    ),
    hidden=True,
    service=Annotated[
        str, Option(help=f"K3s service that is about to start. [default: ${SERVICE_VARIABLE}]", metavar="NAME")
    ],
    options=LIVE,
    printed=REPORT,
)
_declare(
    verbs_without_options.confirm,
    epilog(
        "sudo systemctl start k3s-harden-started@k3s.service",
        (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE),
        "K3s runs with the arguments that the gate judged, or that is not known",
    ),
    hidden=True,
    service=Annotated[
        str, Option(help=f"K3s service that has started. [default: ${SERVICE_VARIABLE}]", metavar="NAME")
    ],
)


_BYPASS = Wording(
    "K3s may start without its gate", "Bypassed: K3s may start without its gate", "Nothing to bypass", "bypassed"
)


@app.command(epilog=epilog("sudo k3s-harden bypass --for 2h", CHANGES, _BYPASS.success))
@expand(printed=REPORT)
def bypass(
    *,
    duration: Annotated[
        Optional[str], Option("--for", help="Let each start pass for this time, at most 24h.", metavar="DURATION")
    ] = None,
    expires_in: Annotated[
        int, Option(help="Without --for: minutes until an unused bypass ends.", metavar="MINUTES", min=1, max=1440)
    ] = 15,
    unit: Services = None,
    printed: ReportOptions,
) -> None:
    """Let K3s start without its gate.

    For emergencies: K3s starts although the host is not compliant, once, or with --for each time, such as in a crash
    loop. A K3s that the gate blocks starts at once. check, assess and the drift check report the bypass, and the start
    until a run finds the host compliant, which also ends the bypass.
    """
    from agent.base.host import Host
    from agent.verbs import bypass as verb

    minutes = expires_in if duration is None else verb.minutes_of(duration)
    printed.finish(
        verb.bypass(Host.real(), unit or (), minutes, each=duration is not None), HostOptions().caller, _BYPASS
    )


_REVERT = Wording("every change was undone", "Reverted", "Nothing to revert", "reverted")


_NOT_REVERTED = {
    ExitCode.ERROR: "error; nothing was reverted",
    ExitCode.NOT_COMPLIANT: "reverted, and a finding of level error remains",
    ExitCode.PARTIAL: "partially reverted; the report lists what is left",
}


@app.command(epilog=epilog("sudo k3s-harden revert", CHANGES, _REVERT.success, _NOT_REVERTED))
@expand(options=TREE, printed=REPORT)
def revert(
    *,
    last: Annotated[bool, Option("--last", help="Undo only the newest run.")] = False,
    force: Force = False,
    options: HostOptions,
    printed: ReportOptions,
) -> None:
    """Undo the changes of apply.

    Restores files, modes and kernel parameters from the journal, as they were before the first apply. If the gate is
    installed, run uninstall first; otherwise the gate hardens the host again at the next start of K3s.
    """
    from agent.verbs.revert import revert as verb

    printed.finish(verb(options.host(), last=last, force=force), options.caller, _REVERT)


@app.command(
    epilog=epilog(
        "k3s-harden fleet --require compliant --max-age 26h --expect 5",
        READS,
        "the nodes were printed, and what is required of them holds",
        {ExitCode.NOT_COMPLIANT: "a requirement does not hold, or the cluster has no nodes"},
    )
)
def fleet(
    sources: Annotated[
        Optional[list[str]],
        Argument(metavar="[SOURCE]...", help="- or a file with the output of kubectl, or a directory of sites."),
    ] = None,
    *,
    context: Annotated[
        Optional[list[str]], Option(help="Read this context of kubectl; may be repeated.", metavar="NAME")
    ] = None,
    all_contexts: Annotated[bool, Option("--all-contexts", help="Read each cluster of the kubeconfig.")] = False,
    allowed_signers: Annotated[
        Optional[Path], Option(help="Verify records of sites with the keys in this file.", metavar="FILE")
    ] = None,
    since: Annotated[
        Optional[Path], Option(help="Show what has changed since this JSON output.", metavar="FILE")
    ] = None,
    require: Annotated[Optional[str], Option(help="What each node has to be.", metavar="compliant|full")] = None,
    max_age: Annotated[str, Option(help="Age from which a report is unknown.", metavar="DURATION")] = "26h",
    expect: Annotated[Optional[int], Option(help="How many nodes there are.", metavar="NUMBER", min=1)] = None,
    expect_from: Annotated[
        Optional[Path], Option(help="Names of the expected nodes or clusters, one a line.", metavar="FILE")
    ] = None,
    only: Annotated[
        Optional[str],
        Option(help="Show only nodes with these results, of failed,unknown,compliant,postponed.", metavar="RESULTS"),
    ] = None,
    output_format: FleetFormat = Format.AUTO,
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
    with printing(fleet.exit_code):
        present_fleet(fleet, output_format, sys.stdout, results)
    sys.exit(int(fleet.exit_code))


@app.command(
    epilog=epilog(
        "sudo k3s-harden impact",
        READS,
        "nothing breaks",
        {ExitCode.NOT_COMPLIANT: "something breaks, or could not be determined"},
    )
)
@expand(options={"config": Config, "profile": Profile}, printed={**REPORT, "output_format": ImpactFormat})
def impact(
    *,
    kubeconfig: Annotated[
        Optional[Path], Option(help="Read the cluster of this kubeconfig by kubectl.", metavar="FILE")
    ] = None,
    context: Annotated[
        Optional[str], Option(help="Read the cluster of this context by kubectl.", metavar="NAME")
    ] = None,
    probe: Annotated[
        bool, Option("--probe", help="Also ask the API server about each pod template, in a temporary namespace.")
    ] = False,
    connections: Annotated[
        Optional[Path], Option(help="Directory with the records of `record-traffic` of all nodes.", metavar="DIR")
    ] = None,
    options: HostOptions,
    printed: ReportOptions,
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
    with printing(found.exit_code):
        present_impact(found, printed.output_format, printed.verbosity, sys.stdout)
    sys.exit(int(found.exit_code))


@app.command(
    epilog=epilog("k3s-harden explain audit-log-maxage", RENDERS, "the explanation was printed"),
    context_settings={"ignore_unknown_options": True},  # `explain --anonymous-auth`
)
def explain(
    topic: Annotated[
        Optional[list[str]],
        Argument(
            metavar="[TOPIC]",
            help="Control, finding, setting, CIS number, path, kernel parameter or argument. Without it, all IDs.",
            show_default=False,
            autocompletion=topics,
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


_SERVICE_ACCOUNTS = Wording(
    "no namespace hands out default tokens", "Compliant", "Compliant; nothing was changed", "applied"
)
_UNDO = Wording(_SERVICE_ACCOUNTS.success, "Restored", "Nothing to restore", "restored")


@app.command(
    epilog=epilog(
        "sudo k3s-harden service-accounts --wait 300",
        (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE, ExitCode.PARTIAL),
        _SERVICE_ACCOUNTS.success,
    )
)
@expand(options={"config": Config}, printed=REPORT)
def service_accounts(
    *,
    kubeconfig: Annotated[
        Optional[Path], Option(help="Kubeconfig file. [default: as for k3s kubectl]", metavar="FILE")
    ] = None,
    timeout: Annotated[
        float, Option(help="Timeout for each call.", metavar="SECONDS", min=1, max=600, callback=a_number)
    ] = 20,
    wait: Annotated[
        float,
        Option(help="Time to wait for the API server.", metavar="SECONDS", min=0, max=3600, callback=a_number),
    ] = 0,
    dry_run: Annotated[bool, Option("--dry-run", help="Show the changes, and make none.")] = False,
    undo: Annotated[bool, Option("--undo", help="Restore the values before the first run.")] = False,
    options: HostOptions,
    printed: ReportOptions,
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
    printed.finish(report, HostOptions().caller, _UNDO if undo else _SERVICE_ACCOUNTS)


_INSTALL = Wording("everything is installed", "Installed", "Already installed; nothing was changed", "installed")


@app.command(epilog=epilog("sudo k3s-harden install", CHANGES, _INSTALL.success))
@expand(options=HOST, printed=REPORT)
def install(
    *,
    unit: Services = None,
    program: Program = None,
    enforce: Annotated[
        bool, Option("--enforce", help="Install the gate on a cluster that apply never hardened.")
    ] = False,
    options: HostOptions,
    printed: ReportOptions,
) -> None:
    """Install the gate, timers and completions.

    Installs the systemd units and shell completions, and starts nothing. From then on, K3s does not start unless the
    host is hardened: the gate runs apply before each start. If K3s has run on this host and apply has never hardened
    it, it changes nothing and ends with 3.
    """
    from agent.verbs.install import install as verb

    host = options.host()
    report = verb(host, _installation(host, options, unit or (), program), enforce=enforce)
    printed.finish(report, partial(options.caller, program, unit or ()), _INSTALL)


_UNINSTALL = Wording("everything is removed", "Uninstalled", "Nothing to uninstall", "uninstalled")


@app.command(epilog=epilog("sudo k3s-harden uninstall", CHANGES, _UNINSTALL.success))
@expand(options=HOST, printed=REPORT)
def uninstall(*, program: Program = None, options: HostOptions, printed: ReportOptions) -> None:
    """Remove what install installed.

    The host stays hardened; `revert` undoes the hardening.
    """
    from agent.verbs.install import uninstall as verb

    host = options.host()
    report = verb(host, _installation(host, options, (), program))
    printed.finish(report, partial(options.caller, program), _UNINSTALL)


@app.command(
    epilog=epilog("k3s-harden upgrade-node", CHANGES, "the node has this version, and check succeeded"), hidden=True
)
def upgrade_node() -> None:
    """Replace the program of a node by this one.

    The container of `render upgrade-plan` runs it, with the node below /host and the archive installed on it. The new
    version runs `gate` and `check` beside the installed one; if one fails, nothing is replaced. Then it runs `install`
    and `check`. The exit code is that of the failed one. Without a gate on the node, only `check` runs.
    """
    from agent.base.host import Host
    from agent.base.host.process import run_below
    from agent.verbs.upgrade_node import upgrade_node as verb

    host, bundle = Host.tree_at("/host"), PurePosixPath(os.path.realpath(absolute(Path(sys.argv[0])))).parents[1]
    sys.exit(verb(host, bundle, partial(run_below, host.root), lambda line: print_text(f"{line}\n")))


def _installation(
    host: "Host", options: HostOptions, services: Sequence[str], program: Optional[Path]
) -> "Installation":
    """Return the installation of this program, or of the named one, on this host."""
    from agent.verbs.installation import installation_for

    path = program or os.path.realpath(absolute(Path(sys.argv[0])))
    return installation_for(host, options.request(), services, PurePosixPath(path))


set_summaries(app)
