"""Writes the pages below docs/ that say what the code says, and the README's picture: `make docs`.

Each page is a function from the code to text, so a test compares all of them with what lies in docs/. The program
prints the names of the files that it wrote, and nothing when none has changed.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from rich.console import Console

from agent import findings
from agent.changes import journal
from agent.cli import app
from agent.desired import resources as desired
from agent.errors import ExitCode
from agent.guide.files import DIRECTORIES, FILES, DirectoryRow, FileRow
from agent.guide.k3s_options import OPTIONS
from agent.guide.sysctls import SYSCTLS
from agent.host import LOCK, Host
from agent.host.tree import temporary_name
from agent.k3s.paths import DEFAULT_DATA_DIR
from agent.model import NEWEST_KNOWN, OLDEST_COVERED, Directory, File, FileMode, Role, Version
from agent.node import facts
from agent.present import Verbosity
from agent.present.table import print_to
from agent.settings import schema as settings
from agent.settings.schema import Overrides, Settings
from agent.situation import Request
from agent.verbs import converge as verbs
from agent.verbs import drift, install, waiting_services
from tests import docs_controls
from tests.markdown import anchor, generated, page, prose, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from agent.guide.k3s_options import OptionRow
    from agent.model import Resource

CHECKOUT = Path(__file__).parents[1]
_DATA_DIR = PurePosixPath("/D")
"""Stands for K3s' data directory, wherever a host has it."""


class Option(NamedTuple):
    """An option or argument of the command line, as its users see it."""

    names: tuple[str, ...]
    takes: str
    choices: tuple[str, ...]
    default: str
    help: str


class Command(NamedTuple):
    """A verb of the command line."""

    name: str
    help: str
    hidden: bool
    arguments: tuple[Option, ...]
    options: tuple[Option, ...]


def pages() -> dict[str, str]:
    """The text of every generated page, by its path below docs/."""
    return {path: made() for path, made in _PAGES.items()}


def commands() -> tuple[Command, ...]:
    """All verbs, in the order of --help."""
    group = typer.main.get_command(app)
    found = []
    for name, command in group.commands.items():  # type: ignore[attr-defined] # Typer's app has several commands
        given = [(parameter.param_type_name, _option(parameter)) for parameter in command.params]
        arguments = tuple(option for kind, option in given if kind == "argument")
        options = tuple(option for kind, option in given if kind == "option")
        found.append(Command(name, prose(command.help or ""), bool(command.hidden), arguments, options))
    return tuple(found)


def program_options() -> tuple[Option, ...]:
    """The options that stand before the verb."""
    return tuple(_option(parameter) for parameter in typer.main.get_command(app).params)


def picture() -> str:
    """A real run on a disposable host, as a terminal shows it: apply, then check after somebody broke the host."""
    console = Console(record=True, width=104, file=io.StringIO(), highlight=False, force_terminal=True)
    options = "--root host --role server --k3s-version 1.34"
    request = Request(Overrides(role="server", k3s_version="1.34"))
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "host")
        subprocess.run([CHECKOUT / ".ci/disposable-host", root], check=True)
        host = Host.tree_at(str(root))
        console.print(f"[bold]$[/] k3s-harden apply {options}")
        print_to(console, verbs.apply(host, request), Verbosity.NORMAL)
        console.print("\n[bold]$[/] echo vm.panic_on_oom=1 >host/etc/sysctl.d/99-database.conf")
        console.print("[bold]$[/] chmod 0755 host/var/lib/rancher/k3s/server")
        (root / "etc/sysctl.d/99-database.conf").write_text("vm.panic_on_oom=1\n", encoding="utf-8")
        (root / "var/lib/rancher/k3s/server").chmod(0o755)
        console.print(f"\n[bold]$[/] k3s-harden check --quiet {options}")
        print_to(console, verbs.check(host, request), Verbosity.QUIET)
    svg = console.export_svg(title="k3s-harden", unique_id="run")
    # Rich names a font on somebody's server; a picture that asks nobody is laid out the same with any fixed font.
    svg = re.sub(r"\n *@font-face \{.*?\n    \}", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace")


def write(directory: Path) -> list[Path]:
    """Write what is not as it should be below `directory`; returns the files that were written."""
    written = []
    for path, text in (*pages().items(), (PICTURE, picture())):
        file = directory / path
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            written.append(file)
    return written


def _findings() -> str:
    kinds = findings.KINDS.values()
    parts = [
        "# Findings",
        generated("agent/findings"),
        prose("""
            What `check` finds beyond differences, each with a stable id, what wcompliant and found, the file and
            line, and what to do. All are gathered in one run. An error makes `check` and `diff` end with 3. An error
            that holds K3s also makes the [gate](../howto/systemd.md) fail: with any other K3s can start, and the next
            boot or a person is what it is about. `k3s-harden explain ID` prints the same in a terminal.
        """),
        table(
            ("id", "level", "holds K3s"),
            ((f"[`{kind.id}`](#{kind.id})", str(kind.level), "yes" if kind.blocks_gate else "no") for kind in kinds),
        ),
    ]
    for kind in kinds:
        parts += [f"## {kind.id}", f"{kind.level}{', holds K3s' if kind.blocks_gate else ''}"]
        parts += [prose(paragraph) for paragraph in kind.explanation.split("\n\n")]
    return page(parts)


def _exit_codes() -> str:
    return page([
        "# Exit codes",
        generated("agent/errors.py"),
        "The same for every verb, and part of the interface: scripts may rely on them.",
        table(("code", "name", "meaning"), ((f"{int(code)}", code.name, code.meaning) for code in ExitCode)),
        prose("""
            The code follows from the report and from nothing else, so the JSON output has it, too (`exit_code`,
            `meaning`). A report that could not be printed, because the disk behind the redirection is full, say, ends
            with 1 where it would have been 0; a reader that stops early, such as `head`, changes nothing.
        """),
        prose("""
            `k3s-harden gate`, which k3s-harden.service runs before each start of K3s, ends with 0 whenever K3s may
            start: a hand-edited file or what only the next boot would undo does not keep a node down. What to do for
            each code is in [read-a-report.md](../howto/read-a-report.md).
        """),
    ])  # fmt: skip


def _cli() -> str:
    public = [command for command in commands() if not command.hidden]
    hidden = [command for command in commands() if command.hidden]
    parts = [
        "# Command line",
        generated("agent/cli.py"),
        prose("""
            `k3s-harden VERB [options]`. Reports go to standard output, errors to standard error as `k3s-harden:
            cannot …` with what to do below. How a run ended is in its [exit code](exit-codes.md).
        """),
        table(("verb", "does"), ((f"[`{command.name}`](#{anchor(command.name)})", command.help) for command in public)),
        "Before the verb:",
        _option_table(program_options()),
    ]
    for command in public:
        parts += [f"## {command.name}", *_command(command)]
    parts.append("## Not for people")
    for command in hidden:
        parts += [f"### {command.name}", *_command(command)]
    return page(parts)


def _command(command: Command) -> Iterator[str]:
    words = "".join(f" {argument.takes}" for argument in command.arguments)
    yield f"```text\nk3s-harden {command.name}{words} [options]\n```"
    yield command.help
    for argument in command.arguments:
        values = f" One of {', '.join(f'`{choice}`' for choice in argument.choices)}." if argument.choices else ""
        yield f"`{argument.takes}`: {argument.help}{values}"
    if command.options:
        yield _option_table(command.options)


def _option_table(options: Iterable[Option]) -> str:
    return table(
        ("option", "default", "meaning"),
        (
            (f"`{', '.join(o.names)}{f' {o.takes}' if o.takes else ''}`", o.default and f"`{o.default}`", o.help)
            for o in options
        ),
    )


def _option(parameter: Any) -> Option:  # noqa: ANN401 - Click's class, or a copy of it in newer releases of Typer
    """Read a parameter of a command."""
    choices = tuple(str(getattr(choice, "value", choice)) for choice in getattr(parameter.type, "choices", ()))
    is_argument = parameter.param_type_name == "argument"
    is_switch = not is_argument and bool(getattr(parameter, "is_flag", False))
    takes = "" if is_switch else parameter.metavar or "|".join(choices) or "NUMBER"
    if is_argument:
        takes = parameter.metavar or str(parameter.name).upper()
    default = getattr(parameter.default, "value", parameter.default)
    # Defaults in words stand in the help text, where a value alone would say too little.
    said, _, in_words = (parameter.help or "").removesuffix("]").partition(" [default: ")
    return Option(
        names=tuple(parameter.opts),
        takes=takes,
        choices=choices,
        default="" if is_switch or default is None else f"{default:g}" if isinstance(default, float) else str(default),
        help=prose(said + (f" By default {in_words}." if in_words else "")),
    )


def _settings() -> str:
    return page([
        "# Settings",
        generated("agent/settings.py"),
        prose(f"""
            `{settings.DEFAULT_SETTINGS}` is optional: without it every setting has its default. It is YAML, strictly
            read: an unknown or repeated key, a value that is not allowed, or a placeholder such as `<NAMESPACE>` that
            was left in is refused with file, line and key, everything that is wrong at once, exit code 2 and nothing
            touched. The file decides what root does, so only root may be able to write it.
        """),
        prose("""
            `--role`, `--k3s-version` and `--data-dir` on the command line win over the file, by the same rules. A key
            with a dot is a key in a mapping: `audit.max-age` is `max-age` below `audit:`.
        """),
        table(
            ("key", "must be", "default", "what it is for"),
            ((f"`{row.key}`", row.kind.allowed, row.default, prose(row.why)) for row in settings.rows()),
        ),
        "## A file with everything in it",
        f"```yaml\n{settings.EXAMPLE}```",
    ])  # fmt: skip


def _resources() -> str:
    built = _built()
    parts = [
        "# What it puts on a host",
        generated("agent/guide, agent/desired.py"),
        prose("""
            Every path and kernel value that `apply` makes, with its exact mode; all of them belong to root. `D` is
            K3s' data directory: `/var/lib/rancher/k3s`, unless K3s' configuration or the settings move it.
            Directories that are missing on the way to one of these are made with 0755; those that exist keep their
            mode.
        """),
        "## Directories and files",
        table(
            ("path", "mode", "server", "agent", "K3s", "on a node that Rancher manages"),
            (_resource(path, mode, built) for path, mode in _modes(built).items()),
        ),
        prose("""
            `policy.yaml` has the NetworkPolicies on every version, and the PodSecurityPolicies with their RBAC up to
            v1.24: the first apply for a v1.25 takes them out.
        """),
        "## Kernel values",
        table(
            ("key", "value", "written"),
            ((f"`{row.key}`", row.value, "yes" if row.written else "no, compared only") for row in SYSCTLS),
        ),
        prose("""
            The written ones go into 90-kubelet.conf and into the running kernel, and are read back. kubelet compares
            all six at its start, for equality.
        """),
        "## K3s' arguments",
        prose("""
            The drop-in has those that the operator's own files and command line do not already meet, with `+` behind
            each key of a list.
        """),
        table(
            ("key", "argument", "for"),
            ((f"`{row.key}`", f"`{_argument(row)}`", str(row.applies)) for row in OPTIONS),
        ),
        "A new server of v" + NEWEST_KNOWN.family + " gets this file:",
        f"```yaml\n{_drop_in(Role.SERVER, NEWEST_KNOWN)}```",
        "and an agent this one:",
        f"```yaml\n{_drop_in(Role.AGENT, NEWEST_KNOWN)}```",
        "## Its own",
        table(
            ("path", "mode", "is"),
            (
                (f"`{journal.STATE}`", "0700", "what it keeps of this host"),
                (
                    f"`{journal.JOURNAL}`",
                    "0700",
                    "what `revert` needs: a file, mode 0600, for each run that changed anything",
                ),
                (
                    f"`{journal.BACKUPS}`",
                    "0700",
                    "what `--force` and `install` replaced, mode 0600",
                ),
                (f"`{drift.REPORT}`", "0600", "the last assessment, with which the daily look compares"),
                (f"`{drift.METRICS}`", "0600", "its metrics, for a collector that reads files"),
                (f"`{waiting_services.SIGNS}`", "0755", "signs of the gate: its last success, and what it kept down"),
                (f"`{LOCK}`", "0600", "the lock; empty, or the number of the process that writes"),
            ),
        ),
        prose(f"""
            While a file is being replaced, its next content lies beside it under a name such as
            `{temporary_name("policy.yaml")}`; see [0005](../adr/0005-temporary-names.md). `revert` removes the
            journal with the last run that it undoes; backups stay.
        """),
        "## By `install`",
        table(("path", "mode"), _installed()),
        "The hook for `cloud-init clean` only where cloud-init is. `uninstall` takes all of them away again.",
    ]
    return page(parts)


Built = dict[tuple[Role, int, bool], "Mapping[str, Resource]"]


def _built() -> Built:
    """What desired.build gives for each role, Kubernetes minor, and with and without Rancher."""
    found: Built = {}
    for role in Role:
        for minor in range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1):
            for rancher in (False, True):
                host = facts.assumed(role, Version(1, minor, 0), _DATA_DIR)._replace(rancher_managed=rancher)
                found[role, minor, rancher] = {one.id: one for one in desired.build(Settings(), host)}
    return found


def _modes(built: Built) -> dict[str, FileMode]:
    """Each path with its mode, in the order that it is made."""
    found: dict[str, FileMode] = {}
    rows: tuple[DirectoryRow | FileRow, ...] = (*DIRECTORIES, *FILES)
    for place in dict.fromkeys(str(_DATA_DIR / row.path) for row in rows):
        for resources in built.values():
            resource = resources.get(place)
            if isinstance(resource, (File, Directory)):
                found[place] = resource.mode
    return found


def _resource(path: str, mode: FileMode, built: Built) -> tuple[str, ...]:
    def minors(role: Role, *, rancher: bool) -> list[int]:
        return [minor for r, minor, m in built if r is role and m is rancher and path in built[r, minor, m]]

    own = {role: minors(role, rancher=False) for role in Role}
    with_rancher = {role: minors(role, rancher=True) for role in Role}
    versions = own[Role.SERVER] or own[Role.AGENT]
    first = versions[0]
    same = "the same" if with_rancher == own else "not written"
    return (
        f"`{path.removeprefix('/') if path.startswith('/D/') else path}`",
        str(mode),
        "yes" if own[Role.SERVER] else "never",
        "yes" if own[Role.AGENT] else "never",
        "all" if first == OLDEST_COVERED.minor else f"v1.{first} and newer",
        same,
    )


def _argument(row: OptionRow) -> str:
    value = row.text(PurePosixPath("D"))
    return f"{row.name}={value}" if row.name else value


def _drop_in(role: Role, version: Version) -> str:
    return desired.k3s_config(Settings(), facts.assumed(role, version)).decode()


def _installed() -> Iterator[tuple[str, str]]:
    wanted = install.Wanted(
        program=install.PACKAGED_PROGRAM,
        data_dir=DEFAULT_DATA_DIR,
        services=install.USUAL,
        completions=dict.fromkeys(install.COMPLETIONS.values(), b""),
        has_cloud_init=True,
    )
    for file in install.files(wanted):
        yield f"`{file.path}`", str(file.mode)


def _modules() -> str:
    """A map of the code from the first sentence of each module."""
    rows = []
    for file in sorted(CHECKOUT.glob("agent/**/*.py")):
        said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        rows.append((f"`{file.relative_to(CHECKOUT)}`", " ".join(said.split("\n\n")[0].split())))
    return page([
        "# Modules",
        generated("the docstrings below agent/"),
        "Each file and its one purpose; [design.md](../explanation/design.md) says how they hang together.",
        table(("file", "purpose"), rows),
    ])  # fmt: skip


PICTURE = "images/run.svg"

_PAGES: Mapping[str, Callable[[], str]] = {
    "explanation/kube-bench.md": docs_controls.kube_bench,
    "reference/controls.md": docs_controls.controls,
    "reference/guide-controls.md": docs_controls.guide_controls,
    "reference/cli.md": _cli,
    "reference/settings.md": _settings,
    "reference/exit-codes.md": _exit_codes,
    "reference/findings.md": _findings,
    "reference/resources.md": _resources,
    "reference/modules.md": _modules,
}

if __name__ == "__main__":
    for changed in write(CHECKOUT / "docs"):
        sys.stdout.write(f"wrote {changed.relative_to(CHECKOUT)}\n")
