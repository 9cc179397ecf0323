"""The verbs of the command line, with their options and help."""

# Without `from __future__ import annotations`: options are read from annotations.
from functools import partial
from pathlib import Path

from agent.cli.completion import benchmarks, topics, versions
from agent.cli.declared import CHANGES, READS, RENDERS, Annotated, Argument, Epilog, Option, Optional, command
from agent.cli.shared_options import (
    AllowEmptyRoot,
    AssessmentOptions,
    Config,
    DataDir,
    Force,
    HostOptions,
    K3sVersion,
    OutputFormat,
    Program,
    Quiet,
    Rendering,
    ReportOptions,
    Role,
    RoleChoice,
    Root,
    Services,
    Verbose,
    absolute,
    account_of_asff,
    cloud_init_download,
    installation,
    kube_bench_beyond,
    open_host,
)
from agent.cli.streams import columns, print_text, progress
from agent.errors import SUCCESS, ExitCode, UsageError
from agent.present import Format
from agent.present.assessments import AssessmentFormat
from agent.value import replace

_RENDERINGS = ", ".join(one.value for one in Rendering)


@command(Epilog("sudo k3s-harden apply --role server", CHANGES))
def apply(
    *,
    force: Force = False,
    root: Root = "/",
    allow_empty_root: AllowEmptyRoot = False,
    config: Config = None,
    role: Role = RoleChoice.AUTO,
    k3s_version: K3sVersion = None,
    data_dir: DataDir = None,
    output_format: OutputFormat = Format.AUTO,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Apply the hardening guide to this host.

    Writes files, directories, kernel parameters and K3s options, then reads the host again and reports. Makes no
    changes if the host is already compliant. `revert` undoes all changes.
    """
    from agent.verbs import converge

    options = HostOptions(config, role, k3s_version, data_dir, allow_empty_root)
    host = open_host(root, allow_empty=allow_empty_root)
    with progress("apply", quiet=quiet) as shown:
        report = converge.apply(host, options.request(force=force), shown)
    ReportOptions(output_format, verbose, quiet).finish(report, partial(options.caller, root))


@command(Epilog("sudo k3s-harden check", READS))
def check(
    *,
    watch: Annotated[
        bool, Option("--watch", help="Check again every 2 seconds, and show changes, until Ctrl-C.")
    ] = False,
    root: Root = "/",
    allow_empty_root: AllowEmptyRoot = False,
    config: Config = None,
    role: Role = RoleChoice.AUTO,
    k3s_version: K3sVersion = None,
    data_dir: DataDir = None,
    output_format: OutputFormat = Format.AUTO,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Check this host against the guide.

    Reports whether the host meets the hardening guide, now and after the next boot, and whether K3s would start. Makes
    no changes. `assess` reports the controls of the CIS benchmark.
    """
    from agent.verbs import converge

    options = HostOptions(config, role, k3s_version, data_dir, allow_empty_root)
    printed, caller = ReportOptions(output_format, verbose, quiet), partial(options.caller, root)
    host = open_host(root, allow_empty=allow_empty_root)
    if watch:
        report = printed.watched(host, lambda again: converge.check(again, options.request()), caller)
    else:
        report = converge.check(host, options.request())
    printed.finish(report, caller)


@command(Epilog("k3s-harden diff --role server --k3s-version 1.34", READS))
def diff(
    *,
    force: Force = False,
    root: Root = "/",
    allow_empty_root: AllowEmptyRoot = False,
    config: Config = None,
    role: Role = RoleChoice.AUTO,
    k3s_version: K3sVersion = None,
    data_dir: DataDir = None,
    output_format: OutputFormat = Format.AUTO,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Show what apply would change.

    Prints each difference, for files as a unified diff. Makes no changes.
    """
    from agent.verbs import converge

    options = HostOptions(config, role, k3s_version, data_dir, allow_empty_root)
    report = converge.diff(open_host(root, allow_empty=allow_empty_root), options.request(force=force))
    ReportOptions(output_format, verbose, quiet).finish(report, partial(options.caller, root))


@command(
    Epilog(
        "sudo k3s-harden preflight v1.37",
        READS,
        success="nothing known prevents K3s of that version from starting, and apply can do the rest",
    )
)
def preflight(
    version: Annotated[
        str,
        Argument(
            metavar="VERSION",
            help="K3s version after the upgrade, such as v1.37 or v1.37.2+k3s1.",
            autocompletion=versions,
        ),
    ],
    *,
    root: Root = "/",
    allow_empty_root: AllowEmptyRoot = False,
    config: Config = None,
    role: Role = RoleChoice.AUTO,
    k3s_version: K3sVersion = None,
    data_dir: DataDir = None,
    output_format: OutputFormat = Format.AUTO,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Check a K3s upgrade before it is made.

    Reports whether K3s of another version would start with this host's configuration, what apply would change for it,
    and what else to know. Ends with 3 if it would not start, or if something is left that apply cannot fix. Makes no
    changes, and does not need the new version. --k3s-version is the current one. Arguments of components are checked
    for K3s 1.34 and newer.
    """
    from agent.verbs import preflight as verb

    target = verb.target_version(version)
    host = open_host(root, allow_empty=allow_empty_root)
    options = HostOptions(config, role, k3s_version, data_dir, allow_empty_root)
    result = verb.preflight(host, options.request(), target)
    for_target = replace(options, k3s_version=result.target)
    ReportOptions(output_format, verbose, quiet).finish_preflight(result, partial(for_target.caller, root))


@command(Epilog("k3s-harden assess --benchmark cis-1.9 --format html --output report.html", READS))
def assess(
    *,
    benchmark: Annotated[
        str,
        Option(
            help="CIS benchmark, cis-1.23 to cis-2.1; auto: the newest for this K3s version.",
            metavar="VERSION",
            autocompletion=benchmarks,
        ),
    ] = "auto",
    baseline: Annotated[
        Optional[Path],
        Option(help="Earlier JSON report; its open controls do not affect the exit code.", metavar="FILE"),
    ] = None,
    cluster: Annotated[
        bool, Option("--cluster", help="Also read the API server of this host: section 5, and what runs.")
    ] = False,
    root: Root = "/",
    allow_empty_root: AllowEmptyRoot = False,
    config: Config = None,
    role: Role = RoleChoice.AUTO,
    k3s_version: K3sVersion = None,
    data_dir: DataDir = None,
    output_format: Annotated[AssessmentFormat, Option("--format", help="Output format.")] = AssessmentFormat.AUTO,
    output: Annotated[
        Optional[Path],
        Option(help="File to write with mode 0600. [default: standard output, as with -]", metavar="FILE"),
    ] = None,
    beyond: Annotated[bool, Option("--beyond", help="kube-bench: add the controls beyond the benchmark.")] = False,
    aws_account: Annotated[Optional[str], Option(help="asff: AWS account, 12 digits.", metavar="ID")] = None,
    aws_region: Annotated[
        Optional[str], Option(help="asff: AWS region, such as eu-central-1.", metavar="REGION")
    ] = None,
    aws_product_arn: Annotated[
        Optional[str],
        Option(help="asff: ARN of the product. [default: the account's own product]", metavar="ARN"),
    ] = None,
    verbose: Annotated[bool, Option("--verbose", "-v", help="Print all controls, host facts and evidence.")] = False,
    quiet: Annotated[bool, Option("--quiet", "-q", help="Print only controls that decide the exit code.")] = False,
) -> None:
    """Assess this host against a CIS benchmark.

    Reports the status of each control and its evidence. Makes no changes. The exit code is 3 if a control without a
    waiver failed or could not be determined.
    """
    from agent.verbs import assess as verb

    chosen = verb.benchmark_named(benchmark)
    options = AssessmentOptions(
        output_format,
        output,
        verbose,
        quiet,
        kube_bench_beyond(output_format, beyond=beyond),
        account_of_asff(output_format, aws_account, aws_region, aws_product_arn),
    )
    earlier = None
    if baseline is not None:
        from agent.host import Host

        earlier = verb.load_baseline(Host.real(), absolute(baseline))
    if cluster and root != "/":
        raise UsageError("cannot use --cluster with --root: a host tree has no API server", "omit one of them")
    of_host = HostOptions(config, role, k3s_version, data_dir, allow_empty_root)
    host, request = open_host(root, allow_empty=allow_empty_root), of_host.request()
    with progress("assess", quiet=quiet) as shown:
        assessment = verb.assess_host(host, request, chosen, earlier=earlier, progress=shown, with_cluster=cluster)
    options.finish(assessment, partial(of_host.caller, root))


@command(
    Epilog(
        "systemctl start k3s-harden-check.service",
        (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE, ExitCode.LOCKED),
        success="the assessment is stored, whatever its result",
    ),
    hidden=True,
)
def drift(
    *,
    root: Root = "/",
    allow_empty_root: AllowEmptyRoot = False,
    config: Config = None,
    role: Role = RoleChoice.AUTO,
    k3s_version: K3sVersion = None,
    data_dir: DataDir = None,
    test_notification: Annotated[
        bool, Option("--test-notification", help="Only send a test with `drift.notify`, and wait for it.")
    ] = False,
) -> None:
    """Report changes since the last assessment.

    k3s-harden-check.service runs it. Stores the assessment and its metrics, and prints a line for each change, then the
    next steps. The first run prints the result.
    """
    from agent.verbs.assess import assess_host
    from agent.verbs.drift import drift as changes

    options = HostOptions(config, role, k3s_version, data_dir, allow_empty_root)
    host, request = open_host(root, allow_empty=allow_empty_root), options.request()
    if test_notification:
        from agent.verbs.notify import send_test

        print_text(f"{send_test(host, request, lambda: assess_host(host, request))}\n")
        return
    for line in changes(host, request, partial(assess_host, host, request), partial(options.caller, root)):
        print_text(f"{line}\n")


@command(Epilog("systemctl start k3s-harden.service", CHANGES, success=SUCCESS["gate"]), hidden=True)
def gate(
    *,
    service: Annotated[
        str,
        Option(
            envvar="K3S_HARDEN_SERVICE", show_envvar=False, help="K3s service that is about to start.", metavar="NAME"
        ),
    ] = "",
    root: Root = "/",
    allow_empty_root: AllowEmptyRoot = False,
    config: Config = None,
    role: Role = RoleChoice.AUTO,
    k3s_version: K3sVersion = None,
    data_dir: DataDir = None,
    output_format: OutputFormat = Format.AUTO,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Run apply and decide if K3s may start.

    k3s-harden@.service runs it before each start of a K3s service, which names itself in K3S_HARDEN_SERVICE.
    """
    from agent.verbs import converge

    options = HostOptions(config, role, k3s_version, data_dir, allow_empty_root)
    report = converge.gate(open_host(root, allow_empty=allow_empty_root), options.request(service=service))
    ReportOptions(output_format, verbose, quiet).finish(report, partial(options.caller, root))


@command(Epilog("sudo k3s-harden release --once", CHANGES, success=SUCCESS["release"]))
def release(
    *,
    once: Annotated[bool, Option("--once", help="Confirm: one start, without its gate.")] = False,
    unit: Services = None,
    output_format: OutputFormat = Format.AUTO,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Let K3s start once without its gate.

    For emergencies: K3s starts although the host is not compliant. check, assess and the drift check report the start
    until a run finds the host compliant.
    """
    from agent.host import Host
    from agent.verbs.release import release_once

    if not once:
        raise UsageError("cannot release K3s: --once is missing", "pass --once to let one start pass without the gate")
    report = release_once(Host.real(), unit or ())
    ReportOptions(output_format, verbose, quiet).finish(report, partial(HostOptions().caller, "/"))


@command(Epilog("sudo k3s-harden revert", CHANGES, success=SUCCESS["revert"]))
def revert(
    *,
    last: Annotated[bool, Option("--last", help="Undo only the newest run.")] = False,
    force: Force = False,
    root: Root = "/",
    allow_empty_root: AllowEmptyRoot = False,
    output_format: OutputFormat = Format.AUTO,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Undo the changes of apply.

    Restores files, modes and kernel parameters from the journal, as they were before the first apply.
    """
    from agent.verbs.revert import revert as verb

    report = verb(open_host(root, allow_empty=allow_empty_root), last=last, force=force)
    options = HostOptions(allow_empty_root=allow_empty_root)
    ReportOptions(output_format, verbose, quiet).finish(report, partial(options.caller, root))


@command(Epilog("k3s-harden render k3s-config --k3s-version 1.34", RENDERS, success="the document was printed"))
def render(
    what: Annotated[Rendering, Argument(help=f"{_RENDERINGS}.", metavar="DOCUMENT")],
    *,
    url: Annotated[
        Optional[str], Option(help="For cloud-init: URL of the program as a single file.", metavar="URL")
    ] = None,
    sha256: Annotated[
        Optional[str], Option(help="For cloud-init: SHA-256 checksum of that file.", metavar="HEX")
    ] = None,
    config: Annotated[Optional[Path], Option(help="Settings file. [default: none]", metavar="FILE")] = None,
    role: Annotated[
        RoleChoice, Option(help="Role of K3s on the host; auto: from the settings, or server.")
    ] = RoleChoice.AUTO,
    k3s_version: Annotated[
        Optional[str],
        Option(help="K3s version, such as 1.34. [default: newest known]", metavar="VERSION", autocompletion=versions),
    ] = None,
    data_dir: Annotated[
        Optional[Path], Option(help="Data directory of K3s. [default: /var/lib/rancher/k3s]", metavar="DIR")
    ] = None,
) -> None:
    """Print a file of apply, or for cloud-init.

    Prints the content that apply would write, or a document for Rancher or cloud-init. Does not read the host.
    """
    from agent.verbs.render import rendered

    download = cloud_init_download(what, url, sha256)
    options = HostOptions(config, role, k3s_version, data_dir)
    print_text(rendered(what.value, options.settings_file, options.overrides(), download).decode())


@command(
    Epilog("k3s-harden explain audit-log-maxage", RENDERS, success="the explanation was printed"),
    takes_any_word=True,
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


@command(
    Epilog(
        "sudo k3s-harden service-accounts --wait 300",
        (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE, ExitCode.PARTIAL),
        success=SUCCESS["service-accounts"],
    ),
)
def service_accounts(
    *,
    kubeconfig: Annotated[
        Optional[Path], Option(help="Kubeconfig file. [default: as for k3s kubectl]", metavar="FILE")
    ] = None,
    timeout: Annotated[float, Option(help="Timeout for each call.", metavar="SECONDS", min=1, max=600)] = 20,
    wait: Annotated[float, Option(help="Time to wait for the API server.", metavar="SECONDS", min=0, max=3600)] = 0,
    output_format: OutputFormat = Format.AUTO,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Disable default ServiceAccount tokens.

    Sets automountServiceAccountToken to false on the default ServiceAccount of each namespace. Run it on a server
    after K3s has started.
    """
    from agent.host import Host
    from agent.verbs.service_accounts import disable_default_tokens

    file = None if kubeconfig is None else str(absolute(kubeconfig))
    with progress("service-accounts", quiet=quiet) as shown:
        report = disable_default_tokens(Host.real(), kubeconfig=file, timeout=timeout, wait=wait, progress=shown)
    ReportOptions(output_format, verbose, quiet).finish(report, partial(HostOptions().caller, "/"))


@command(Epilog("sudo k3s-harden install", CHANGES, success=SUCCESS["install"]))
def install(
    *,
    unit: Services = None,
    program: Program = None,
    root: Root = "/",
    allow_empty_root: AllowEmptyRoot = False,
    config: Config = None,
    role: Role = RoleChoice.AUTO,
    k3s_version: K3sVersion = None,
    data_dir: DataDir = None,
    output_format: OutputFormat = Format.AUTO,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Install the gate, timers and completions.

    Installs the systemd units, which run apply before each start of K3s, and shell completions. Starts nothing.
    """
    from agent.verbs.install import install as verb

    host = open_host(root, allow_empty=allow_empty_root)
    options = HostOptions(config, role, k3s_version, data_dir, allow_empty_root)
    wanted = installation(host, options, unit or (), program)
    caller = partial(options.caller, root, program, unit or ())
    ReportOptions(output_format, verbose, quiet).finish(verb(host, wanted), caller)


@command(Epilog("sudo k3s-harden uninstall", CHANGES, success=SUCCESS["uninstall"]))
def uninstall(
    *,
    program: Program = None,
    root: Root = "/",
    allow_empty_root: AllowEmptyRoot = False,
    config: Config = None,
    role: Role = RoleChoice.AUTO,
    k3s_version: K3sVersion = None,
    data_dir: DataDir = None,
    output_format: OutputFormat = Format.AUTO,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Remove what install installed.

    The host stays hardened; `revert` undoes the hardening.
    """
    from agent.verbs.install import uninstall as verb

    host = open_host(root, allow_empty=allow_empty_root)
    options = HostOptions(config, role, k3s_version, data_dir, allow_empty_root)
    wanted = installation(host, options, (), program)
    ReportOptions(output_format, verbose, quiet).finish(verb(host, wanted), partial(options.caller, root, program))
