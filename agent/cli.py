"""The command line: reads words, calls a verb, prints its report, exits. The only module that exits."""

from __future__ import annotations

import inspect
import os
import re
import sys
from contextlib import contextmanager, suppress
from enum import Enum
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import typer

from agent import __version__
from agent.errors import ExitCode, HardenError, HostError, UsageError
from agent.present import Format, Verbosity, present
from agent.present.assessments import AssessmentFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.assess.assessment import Assessment
    from agent.host import Host
    from agent.report import Report
    from agent.settings.schema import Overrides
    from agent.situation import Request
    from agent.verbs.install import Wanted
    from agent.verbs.render.cloud_init import Download

app = typer.Typer(
    name="k3s-harden",
    help="Make this host ready for a CIS-hardened K3s, prove that it is, and undo it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class RoleChoice(str, Enum):
    """What --role takes."""

    SERVER = "server"
    AGENT = "agent"
    AUTO = "auto"


class Rendering(str, Enum):
    """What `render` takes."""

    SYSCTL = "sysctl"
    AUDIT_POLICY = "audit-policy"
    POLICY = "policy"
    PSA = "psa"
    K3S_CONFIG = "k3s-config"
    RANCHER_CLUSTER = "rancher-cluster"
    SERVICE_ACCOUNTS = "service-accounts"
    CLOUD_INIT = "cloud-init"


_RENDERINGS = ", ".join(one.value for one in Rendering)


class Place(NamedTuple):
    """Which host a verb works on."""

    root: Annotated[str, typer.Option(help="Work on the host tree below this directory.", metavar="DIR")] = "/"

    def host(self) -> Host:
        """This machine, or the tree that --root names."""
        from agent.host import Host

        if not self.root:
            raise UsageError("cannot work on --root: it is empty", "is the variable set that it was to come from?")
        root = os.path.realpath(self.root)
        if not Path(root).is_dir():
            raise UsageError(f"cannot work on --root {self.root}: there is no such directory")
        return Host.real() if root == "/" else Host.tree_at(root)


class Wishes(NamedTuple):
    """What a person says of the host: a settings file, and options that win over it."""

    config: Annotated[
        Path | None, typer.Option(help="Settings file. [default: /etc/k3s-harden/config.yaml]", metavar="FILE")
    ] = None
    role: Annotated[RoleChoice, typer.Option(help="What K3s is to be on this host.")] = RoleChoice.AUTO
    k3s_version: Annotated[
        str | None,
        typer.Option(help="K3s version, such as 1.34. [default: what k3s --version says]", metavar="VERSION"),
    ] = None
    data_dir: Annotated[
        Path | None, typer.Option(help="K3s' data directory. [default: what K3s' configuration says]", metavar="DIR")
    ] = None

    def request(self, *, force: bool = False) -> Request:
        """What a verb is asked for."""
        from agent.situation import Request

        return Request(self.overrides(), self.settings_file, force)

    @property
    def settings_file(self) -> PurePosixPath | None:
        """The settings file as an absolute path of this machine."""
        return None if self.config is None else PurePosixPath(self.config.absolute())

    def overrides(self) -> Overrides:
        """What the command line says over the settings."""
        from agent.settings.schema import Overrides

        return Overrides(
            role=None if self.role is RoleChoice.AUTO else self.role.value,
            k3s_version=self.k3s_version,
            data_dir=None if self.data_dir is None else str(self.data_dir),
        )


class Described(NamedTuple):
    """As Wishes, of a host that is not looked at."""

    config: Annotated[Path | None, typer.Option(help="Settings file. [default: none]", metavar="FILE")] = None
    role: Annotated[
        RoleChoice, typer.Option(help="What K3s is to be on the host; auto: what the settings say, else a server.")
    ] = RoleChoice.AUTO
    k3s_version: Annotated[
        str | None, typer.Option(help="K3s version, such as 1.34. [default: the newest known]", metavar="VERSION")
    ] = None
    data_dir: Annotated[
        Path | None, typer.Option(help="K3s' data directory. [default: the usual one]", metavar="DIR")
    ] = None

    def wishes(self) -> Wishes:
        """The same as of any host."""
        return Wishes(*self)


Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print all facts, too, with their evidence.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only what is wrong.")]


def _verbosity(*, verbose: bool, quiet: bool) -> Verbosity:
    return Verbosity.VERBOSE if verbose else Verbosity.QUIET if quiet else Verbosity.NORMAL


class View(NamedTuple):
    """How the report is shown."""

    output: Annotated[Format, typer.Option("--format", help="How to print the report.")] = Format.AUTO
    verbose: Verbose = False
    quiet: Quiet = False

    def finish(self, report: Report) -> None:
        """Print the report and exit by its code; a report that could not be printed is an error of its own."""
        with _printing(int(report.exit_code)):
            present(report, self.output, _verbosity(verbose=self.verbose, quiet=self.quiet), sys.stdout)
        raise typer.Exit(int(report.exit_code))


class AssessmentView(NamedTuple):
    """How the assessment is shown, and where it is kept."""

    output_format: Annotated[AssessmentFormat, typer.Option("--format", help="How to print it.")] = (
        AssessmentFormat.AUTO
    )
    output: Annotated[
        Path | None,
        typer.Option(help="Write it to this file, mode 0600, instead of printing it; - prints it.", metavar="FILE"),
    ] = None
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print all controls and facts, and all evidence.")
    ] = False
    quiet: Quiet = False

    def finish(self, assessment: Assessment) -> None:
        """Print or write the assessment and exit by its code."""
        from agent.present.assessments import present as present_assessment

        verbosity = _verbosity(verbose=self.verbose, quiet=self.quiet)
        with _printing(int(assessment.exit_code)):
            if self.output and self.output != Path("-"):
                _keep(assessment, self.output_format, verbosity, self.output)
            else:
                present_assessment(assessment, self.output_format, verbosity, sys.stdout)
        raise typer.Exit(int(assessment.exit_code))


def _keep(assessment: Assessment, wanted: AssessmentFormat, verbosity: Verbosity, output: Path) -> None:
    """Write the assessment to a file that only its owner may read, whole or not at all, and say so in a line."""
    from agent.host import Host
    from agent.model import File, FileMode
    from agent.present.assessments import as_text
    from agent.present.assessments.common import conclusion

    data = as_text(assessment, wanted, verbosity).encode()
    file = File(path=PurePosixPath(output.absolute()), content=data, mode=FileMode(0o600))
    try:
        Host.real().machine_tree.write(file)
    except HostError as error:
        # As root nothing is written where others could lead it astray; a shell's redirection runs as the user.
        hint = "name a file in a directory that only you and root can write to, or redirect the output: >FILE"
        raise HostError(error.message, hint) from error
    if verbosity is not Verbosity.QUIET:
        sys.stdout.write(f"{output}: {conclusion(assessment)}\n")


_Group = type[Place | Wishes | Described | View | AssessmentView]


class _Taking:
    """A command with the options of some groups. What it takes is worked out when Typer asks, which it does for one."""

    def __init__(self, command: Callable[..., None], groups: Sequence[_Group]) -> None:
        self._command = command
        self._groups = groups
        self.__name__ = command.__name__
        self.__doc__ = command.__doc__

    def __call__(self, **options: Any) -> None:  # noqa: ANN401 - Typer passes what each option's type says
        values = [group(**{name: options.pop(name) for name in group._fields}) for group in self._groups]
        self._command(*values, **options)

    @cached_property
    def __signature__(self) -> inspect.Signature:
        own = list(inspect.signature(self._command, eval_str=True).parameters.values())[len(self._groups) :]
        return inspect.Signature([*own, *(parameter for group in self._groups for parameter in _parameters(group))])

    @cached_property
    def __annotations__(self) -> dict[str, Any]:  # type: ignore[override] # a class says its own in another way
        return {name: parameter.annotation for name, parameter in self.__signature__.parameters.items()}


def takes(*groups: _Group) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these groups: one value each, its first arguments; its own options come after."""
    return lambda command: _Taking(command, groups)


def _parameters(group: _Group) -> tuple[inspect.Parameter, ...]:
    """The fields of an option group as parameters of a command."""
    hints = get_type_hints(group, include_extras=True)
    return tuple(
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
        for name, default in group._field_defaults.items()
    )


Force = Annotated[bool, typer.Option("--force", help="Replace hand-edited files, and keep them as backups.")]


@app.command()
@takes(Place, Wishes, View)
def apply(place: Place, wishes: Wishes, view: View, *, force: Force = False) -> None:
    """Make this host as the guide wants it, then look again and report. Nothing to do writes nothing."""
    from agent.verbs import converge as verbs

    view.finish(verbs.apply(place.host(), wishes.request(force=force)))


@app.command()
@takes(Place, Wishes, View)
def check(place: Place, wishes: Wishes, view: View) -> None:
    """Is the host as it should be, now and at the next boot, and would K3s start? Changes nothing."""
    from agent.verbs import converge as verbs

    view.finish(verbs.check(place.host(), wishes.request()))


@app.command()
@takes(Place, Wishes, View)
def diff(place: Place, wishes: Wishes, view: View, *, force: Force = False) -> None:
    """Show what apply would change. Changes nothing."""
    from agent.verbs import converge as verbs

    view.finish(verbs.diff(place.host(), wishes.request(force=force)))


@app.command()
@takes(Place, Wishes, AssessmentView)
def assess(
    place: Place,
    wishes: Wishes,
    view: AssessmentView,
    *,
    benchmark: Annotated[
        str,
        typer.Option(
            help="CIS benchmark, cis-1.23 to cis-2.1; auto takes the newest that is for this K3s.", metavar="VERSION"
        ),
    ] = "auto",
    baseline: Annotated[
        Path | None,
        typer.Option(help="Earlier report in JSON: the exit code is for what is new alone.", metavar="FILE"),
    ] = None,
) -> None:
    """How does the host stand with each control of a CIS benchmark, and what shows it? Changes nothing.

    The exit code is 3 where a control failed or could not be told, and has no waiver.
    """
    from agent.host import Host
    from agent.present.assessments.progress import progress
    from agent.verbs import assess as assessing

    chosen = assessing.benchmark_named(benchmark)
    earlier = None
    if baseline is not None:
        from agent.assess.baseline import load

        earlier = load(Host.real(), PurePosixPath(baseline.absolute()))
    shows = view.output is None and view.output_format is AssessmentFormat.AUTO and sys.stdout.isatty()
    watched = progress if shows else iter
    view.finish(assessing.assess_host(place.host(), wishes.request(), chosen, earlier=earlier, watched=watched))


@app.command(hidden=True)
@takes(Place, Wishes)
def drift(place: Place, wishes: Wishes) -> None:
    """Run assess for k3s-harden-check.service: keep report and metrics, and print a line for each change."""
    from agent.verbs.assess import assess_host
    from agent.verbs.drift import drift as changes

    host, request = place.host(), wishes.request()
    for line in changes(host, request, lambda: assess_host(host, request)):
        _print(f"{line}\n")


@app.command(hidden=True)
@takes(Place, Wishes, View)
def gate(place: Place, wishes: Wishes, view: View) -> None:
    """Run apply for k3s-harden.service: exit 0 if K3s may start, else remember what waits, to be started later."""
    from agent.verbs import converge as verbs

    view.finish(verbs.gate(place.host(), wishes.request()))


@app.command()
@takes(Place, View)
def revert(
    place: Place,
    view: View,
    *,
    last: Annotated[bool, typer.Option("--last", help="Undo the newest run alone.")] = False,
    force: Force = False,
) -> None:
    """Undo from the journal: files, modes and live values as they were before the first apply."""
    from agent.verbs.revert import revert as undo

    view.finish(undo(place.host(), last=last, force=force))


@app.command()
@takes(Described)
def render(
    described: Described,
    what: Annotated[Rendering, typer.Argument(help=f"What to print: {_RENDERINGS}.", metavar="WHAT")],
    *,
    url: Annotated[
        str | None,
        typer.Option(help="For cloud-init: where the host gets the program from, as one file.", metavar="URL"),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(help="For cloud-init: the checksum of that file.", metavar="HEX")
    ] = None,
) -> None:
    """Print what apply would write, or what Rancher or cloud-init need, without looking at the host."""
    from agent.verbs.render import rendered

    download = _download(what, url, sha256)
    wishes = described.wishes()
    _print(rendered(what.value, wishes.settings_file, wishes.overrides(), download).decode())


def _download(what: Rendering, url: str | None, sha256: str | None) -> Download | None:
    """What --url and --sha256 say; neither may be without the other, nor be anything that a shell could read into."""
    from agent.verbs.render.cloud_init import Download

    if url is None and sha256 is None:
        return None
    if what is not Rendering.CLOUD_INIT:
        raise UsageError(f"cannot use --url or --sha256 for {what.value}: they are for cloud-init alone")
    if url is None or sha256 is None:
        raise UsageError("cannot use --url without --sha256, nor the other way round")
    if not re.fullmatch(r"[a-z]+://[\w.:/?&=%~+@#,-]+", url, re.ASCII) or not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise UsageError("cannot use --url and --sha256: a URL and 64 hexadecimal digits are wanted")
    return Download(url, sha256.lower())


@app.command()
def explain(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help="A control, by id or CIS number, a finding or `settings`; else the list.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """What a control or a finding is, why, what it can break, and how to repair it by hand."""
    from agent.verbs.explain import explained, listed

    _print(listed() if what is None else explained(what))


@app.command("service-accounts")
@takes(View)
def service_accounts(
    view: View,
    *,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="For kubectl. [default: the one that k3s kubectl uses]", metavar="FILE")
    ] = None,
    timeout: Annotated[float, typer.Option(help="For one call.", metavar="SECONDS", min=1, max=600)] = 20,
    wait: Annotated[float, typer.Option(help="For the API server to answer.", metavar="SECONDS", min=0, max=3600)] = 0,
) -> None:
    """Once K3s is up: no automatic token for the default ServiceAccount of any namespace."""
    from agent.host import Host
    from agent.verbs.service_accounts import protect

    file = None if kubeconfig is None else str(kubeconfig.absolute())
    view.finish(protect(Host.real(), kubeconfig=file, timeout=timeout, wait=wait))


Services = Annotated[
    list[str] | None,
    typer.Option("--unit", help="Another service that starts K3s, as INSTALL_K3S_NAME makes.", metavar="NAME.service"),
]
Program = Annotated[
    Path | None, typer.Option(help="Where the program lies on the host. [default: this one]", metavar="FILE")
]


@app.command()
@takes(Place, Wishes, View)
def install(place: Place, wishes: Wishes, view: View, *, unit: Services = None, program: Program = None) -> None:
    """Put the systemd gate, the timers and shell completions in place. Starts nothing."""
    from agent.verbs.install import install as put

    host = place.host()
    view.finish(put(host, _installation(host, wishes, unit or (), program)))


@app.command()
@takes(Place, Wishes, View)
def uninstall(place: Place, wishes: Wishes, view: View, *, program: Program = None) -> None:
    """Take away what install put in place. The hardening stays: revert undoes that."""
    from agent.verbs.install import uninstall as take_away

    host = place.host()
    view.finish(take_away(host, _installation(host, wishes, (), program)))


def _installation(host: Host, wishes: Wishes, named: Sequence[str], program: Path | None) -> Wanted:
    from agent.verbs.install import wanted

    return wanted(host, wishes.request(), named, PurePosixPath(program or os.path.realpath(sys.argv[0])))


def _version(wanted: bool) -> None:
    if wanted:
        _print(f"k3s-harden {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Make this host ready for a CIS-hardened K3s, prove that it is, and undo it."""


_INTERRUPTED = 130
"""What Typer exits with after Ctrl-C, as shells do: 128 and the number of SIGINT."""


def main() -> None:
    """Do what the command line says, and exit."""
    _open_standard_streams()
    _keep_command(*sys.argv[1:2])
    try:
        app(prog_name="k3s-harden")
    except HardenError as error:
        _complain(error.message, error.hint)
        sys.exit(int(error.exit_code))
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            _complain("interrupted", "see k3s-harden check; the next run finishes what this one had begun")
        raise


def _keep_command(name: str = "") -> None:
    """Keep the command of this name alone, if there is one: Typer would build all of them before it looks for it."""
    asked = [one for one in app.registered_commands if one.callback and name in (one.name, one.callback.__name__)]
    app.registered_commands = asked or app.registered_commands


def _print(text: str) -> None:
    from agent.present import fitting

    with _printing(int(ExitCode.COMPLIANT)):
        sys.stdout.write(fitting(text, sys.stdout))


@contextmanager
def _printing(exit_code: int) -> Iterator[None]:
    """Output that cannot be written is an error, but for a reader who has seen enough (`| head`)."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # Python flushes once more at its end, and would complain in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            _complain(f"cannot print the report: {error.strerror}", "the exit code tells of the run itself, if not 1")
            raise typer.Exit(exit_code or int(ExitCode.ERROR)) from error


def _complain(message: str, hint: str) -> None:
    from agent.present import fitting

    text = f"k3s-harden: {message}\n" + (f"  to do: {hint}\n" if hint else "")
    with suppress(OSError):
        sys.stderr.write(fitting(text, sys.stderr))
        sys.stderr.flush()


def _open_standard_streams() -> None:
    """Give a closed stream /dev/null: the next file opened would otherwise take its number, and the report with it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")
