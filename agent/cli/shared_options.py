"""Options that several verbs share, and the values that verbs derive from them."""

from __future__ import annotations

import os
import re
import sys
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from agent.cli.completion import versions
from agent.cli.declared import Annotated, Option, Optional
from agent.cli.streams import printing
from agent.errors import HostError, UsageError
from agent.present import Format, Verbosity, present
from agent.present.assessments import AssessmentFormat
from agent.report import GATE_VERB
from agent.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.assess.assessment import Assessment
    from agent.host import Host
    from agent.plan.preflight import Preflight
    from agent.present.assessments.asff import AwsAccount
    from agent.present.remediation import Caller
    from agent.report import Report
    from agent.settings.schema import Overrides
    from agent.situation import Request
    from agent.verbs.install import Wanted
    from agent.verbs.render.cloud_init import Download


class RoleChoice(str, Enum):
    """Values of --role."""

    SERVER = "server"
    AGENT = "agent"
    AUTO = "auto"


class Rendering(str, Enum):
    """Documents of `render`."""

    SYSCTL = "sysctl"
    AUDIT_POLICY = "audit-policy"
    POLICY = "policy"
    PSA = "psa"
    K3S_CONFIG = "k3s-config"
    RANCHER_CLUSTER = "rancher-cluster"
    SERVICE_ACCOUNTS = "service-accounts"
    CLOUD_INIT = "cloud-init"


# Annotations of commands are evaluated, so these are run-time values: Python 3.9 has no `X | None` there.
Root = Annotated[str, Option(help="Root directory of the host.", metavar="DIR")]
AllowEmptyRoot = Annotated[bool, Option("--allow-empty-root", help="Accept a root directory without etc and usr.")]
Config = Annotated[Optional[Path], Option(help="Settings file. [default: /etc/k3s-harden/config.yaml]", metavar="FILE")]
Role = Annotated[RoleChoice, Option(help="Role of K3s on this host.")]
K3sVersion = Annotated[
    Optional[str],
    Option(help="K3s version, such as 1.34. [default: from k3s --version]", metavar="VERSION", autocompletion=versions),
]
DataDir = Annotated[
    Optional[Path], Option(help="Data directory of K3s. [default: from the K3s configuration]", metavar="DIR")
]
Force = Annotated[bool, Option("--force", help="Replace files edited by hand, and keep backups of them.")]
OutputFormat = Annotated[Format, Option("--format", help="Output format.")]
Verbose = Annotated[bool, Option("--verbose", "-v", help="Print compliant items, fixes and host facts, too.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print only the result.")]

Services = Annotated[
    Optional[list[str]],
    Option("--unit", help="Another service that starts K3s, such as k3s-east.service.", metavar="NAME.service"),
]
Program = Annotated[
    Optional[Path], Option(help="Path of the program on the host. [default: this program]", metavar="FILE")
]


def open_host(root: str, *, allow_empty: bool = False) -> Host:
    """Return this machine, or the host tree that --root names.

    Raises UsageError if there is no such directory, or if it is empty and that is not allowed.
    """
    from agent.host import Host

    if root == "/":
        return Host.real()
    try:
        host = Host.tree_at(str(absolute(Path(root))))
    except HostError as error:
        raise UsageError(
            f"cannot use --root {root}: {error.message.partition(': ')[2]}",
            "pass the root directory of a host tree, such as the mount point of an image",
        ) from error
    if host.is_this_machine:
        return Host.real()
    if host.is_empty and not allow_empty:
        raise UsageError(
            f"cannot use --root {root}: it contains neither etc nor usr, so it is not the root of a host",
            "check that the image is mounted there; for a new tree, pass --allow-empty-root",
        )
    return host


def absolute(path: Path) -> PurePosixPath:
    """Return an absolute path. Raises UsageError for a relative one if the current directory was deleted."""
    try:
        return PurePosixPath(path.absolute())
    except FileNotFoundError:
        raise UsageError(
            f"cannot use {path}: the current directory does not exist", "pass an absolute path, or change the directory"
        ) from None


class HostOptions(Value):
    """The settings file, and the options that override it."""

    config: Path | None = None
    role: RoleChoice = RoleChoice.AUTO
    k3s_version: str | None = None
    data_dir: Path | None = None
    allow_empty_root: bool = False

    def request(self, *, force: bool = False, service: str = "") -> Request:
        """Return the request of a verb that reads the host."""
        from agent.situation import Request

        return Request(self.overrides(), self.settings_file, force, service)

    def caller(self, root: str, program: Path | None = None, services: Sequence[str] = ()) -> Caller:
        """Return how this run was called, for the commands that a report recommends.

        `program` and `services` are those of install and uninstall.
        """
        from agent.cli.caller import caller

        return caller(root, self._words(root, program, services))

    def _words(self, root: str, program: Path | None, services: Sequence[str]) -> tuple[str, ...]:
        all_options = (
            ("--root", root if root != "/" else None),
            ("--config", self.config),
            ("--role", self.role.value if self.role is not RoleChoice.AUTO else None),
            ("--k3s-version", self.k3s_version),
            ("--data-dir", self.data_dir),
            ("--program", program),
            *(("--unit", service) for service in services),
        )
        given = [(name, str(value)) for name, value in all_options if value is not None]
        words: tuple[str, ...] = ()
        if given:
            from shlex import quote

            words = tuple(f"{name} {quote(value)}" for name, value in given)
        return (*words, "--allow-empty-root") if self.allow_empty_root else words

    @property
    def settings_file(self) -> PurePosixPath | None:
        """The settings file as an absolute path of this machine."""
        return None if self.config is None else absolute(self.config)

    def overrides(self) -> Overrides:
        """Return the settings that the command line overrides."""
        from agent.settings.schema import Overrides

        return Overrides(
            role=None if self.role is RoleChoice.AUTO else self.role.value,
            k3s_version=self.k3s_version,
            data_dir=None if self.data_dir is None else str(self.data_dir),
        )


def cloud_init_download(what: Rendering, url: str | None, sha256: str | None) -> Download | None:
    """Return the download of --url and --sha256, None without both. Raises UsageError for values unsafe in a shell."""
    from agent.verbs.render.cloud_init import EXAMPLE, Download

    if url is None and sha256 is None:
        return None
    if what is not Rendering.CLOUD_INIT:
        raise UsageError(f"cannot use --url or --sha256 for {what.value}: only cloud-init supports them", "omit them")
    if url is None or sha256 is None:
        raise UsageError("cannot use --url without --sha256, or --sha256 without --url", EXAMPLE)
    if not re.fullmatch(r"[a-z]+://[\w.:/?&=%~+@#,-]+", url, re.ASCII):
        raise UsageError(f"cannot use --url: found {url}, expected a URL without shell characters", EXAMPLE)
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise UsageError(f"cannot use --sha256: found {sha256}, expected 64 hexadecimal digits", EXAMPLE)
    return Download(url, sha256.lower())


def installation(host: Host, options: HostOptions, services: Sequence[str], program: Path | None) -> Wanted:
    """Return the installation of `install` on this host."""
    from agent.verbs.install import wanted

    return wanted(
        host, options.request(), services, PurePosixPath(program or os.path.realpath(absolute(Path(sys.argv[0]))))
    )


class ReportOptions(Value):
    """How a report is printed."""

    output_format: Format
    verbose: bool
    quiet: bool

    def finish(self, report: Report, caller: Callable[[], Caller]) -> None:
        """Print the report and exit with its exit code."""
        detail = verbosity(verbose=self.verbose, quiet=self.quiet)
        with printing(report.exit_code, changed=report.has_changed, decides=report.verb != GATE_VERB):
            present(report, self.output_format, detail, sys.stdout, caller)
        sys.exit(int(report.exit_code))

    def watched(self, host: Host, check: Callable[[Host], Report], caller: Callable[[], Caller]) -> Report:
        """Show the report of each check on the terminal until Ctrl-C, and return the last one."""
        from agent.cli.watch import refuse_without_terminal, watch

        refuse_without_terminal(self.output_format)
        detail = verbosity(verbose=self.verbose, quiet=self.quiet)
        return watch(host, check, lambda report, to: present(report, self.output_format, detail, to, caller))

    def finish_preflight(self, result: Preflight, caller: Callable[[], Caller]) -> None:
        """Print the result of a preflight and exit with its exit code."""
        from agent.present.preflight import present_preflight

        detail = verbosity(verbose=self.verbose, quiet=self.quiet)
        with printing(result.exit_code):
            present_preflight(result, self.output_format, detail, sys.stdout, caller)
        sys.exit(int(result.exit_code))


class AssessmentOptions(Value):
    """How an assessment is printed, and the file it is written to."""

    output_format: AssessmentFormat
    output: Path | None
    verbose: bool
    quiet: bool
    beyond: bool = False
    """Whether the JSON of kube-bench has the controls beyond the benchmark."""
    aws: AwsAccount | None = None
    """The account of ASFF."""

    def finish(self, assessment: Assessment, caller: Callable[[], Caller]) -> None:
        """Print or write the assessment and exit with its exit code."""
        from agent.present.assessments import present_assessment
        from agent.present.assessments.common import addressed_assessment

        assessment = addressed_assessment(assessment, caller())
        detail = verbosity(verbose=self.verbose, quiet=self.quiet)
        with printing(assessment.exit_code):
            if self.output and self.output != Path("-"):
                _write(assessment, self, detail, self.output)
            else:
                present_assessment(assessment, self.output_format, detail, sys.stdout, beyond=self.beyond, aws=self.aws)
        sys.exit(int(assessment.exit_code))


def kube_bench_beyond(output_format: AssessmentFormat, *, beyond: bool) -> bool:
    """Return the value of --beyond. Raises UsageError if the format has no use for it."""
    if beyond and output_format is not AssessmentFormat.KUBE_BENCH:
        raise UsageError(
            f"cannot use --beyond with --format {output_format.value}: only kube-bench supports it",
            "omit it: the other formats contain these controls",
        )
    return beyond


def account_of_asff(
    output_format: AssessmentFormat, account: str | None, region: str | None, product: str | None
) -> AwsAccount | None:
    """Return the account of ASFF, None for another format. Raises UsageError if an option is missing or invalid."""
    if output_format is not AssessmentFormat.ASFF:
        given = (("--aws-account", account), ("--aws-region", region), ("--aws-product-arn", product))
        for option, value in given:
            if value is not None:
                problem = f"cannot use {option} with --format {output_format.value}: only asff supports it"
                raise UsageError(problem, f"omit {option}")
        return None
    from agent.present.assessments.asff import account as of_options

    return of_options(account, region, product)


def verbosity(*, verbose: bool, quiet: bool) -> Verbosity:
    """Return the verbosity of two options; --verbose overrides --quiet."""
    return Verbosity.VERBOSE if verbose else Verbosity.QUIET if quiet else Verbosity.NORMAL


def _write(assessment: Assessment, options: AssessmentOptions, detail: Verbosity, output: Path) -> None:
    """Write the assessment to a file with mode 0600, completely or not at all, and print one line about it."""
    from agent.host import Host
    from agent.model import PRIVATE_FILE, File
    from agent.present.assessments import assessment_text
    from agent.present.assessments.common import assessment_result

    data = assessment_text(assessment, options.output_format, detail, beyond=options.beyond, aws=options.aws).encode()
    file = File(path=absolute(output), content=data, mode=PRIVATE_FILE)
    try:
        Host.real().machine_tree.write(file)
    except HostError as error:
        # As root the program follows no path that others control; a redirection is opened by the user's shell.
        hint = "name a file in a directory that only you and root can write to, or redirect the output: >FILE"
        raise HostError(error.message, hint) from error
    if detail is not Verbosity.QUIET:
        sys.stdout.write(f"{output}: {assessment_result(assessment)}\n")
