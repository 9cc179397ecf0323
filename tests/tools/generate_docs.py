"""Generator of docs/reference, of the picture and a sentence in the README, and of a drop-in: `make docs`.

Each page is a function from the code to text. A test compares all pages with the files in docs/. The program prints the
name of each file that it wrote.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text
from typer.main import get_command

from agent import findings
from agent.base.errors import ExitCode
from agent.base.host import LOCK, Host
from agent.base.model import Directory, File, FileMode
from agent.base.report import Report
from agent.base.value import replace
from agent.cli.command_line import whole_program
from agent.findings.machine.reason import REASONS
from agent.harden.changes import journal, last_run, state
from agent.harden.desired import resources as desired
from agent.harden.gate.gate_state import OBSERVES
from agent.harden.gate.gate_units import PACKAGED_PROGRAM
from agent.harden.guide.guide_files import DIRECTORIES, FILES, DirectoryRow, FileRow
from agent.harden.guide.k3s_options import ON_REQUEST, OPTIONS
from agent.harden.guide.sysctls import SYSCTLS
from agent.harden.node import facts
from agent.harden.node.service_units import DROPIN
from agent.harden.settings import schema as settings
from agent.harden.settings.profiles import PRESETS, Risk, risks
from agent.harden.settings.schema import Overrides, Settings
from agent.harden.situation import Request
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, NETWORK_LEASES, NEWEST_KNOWN, OLDEST_COVERED, Role, Version
from agent.reports.formats import Verbosity
from agent.reports.table_report import print_report
from agent.verbs import check_and_apply as verbs
from agent.verbs import drift
from agent.verbs.installation import COMPLETIONS, USUAL, Installation, installed_files
from agent.verbs.site_policies import SAVED
from agent.verbs.traffic_records import CONNECTIONS
from tests.tools import (
    docs_controls,
    docs_kube_bench,
    docs_platforms,
    docs_symptoms,
    docs_upgrades,
)
from tests.tools.markdown import anchor, generated, page, prose, table

CHECKOUT = Path(__file__).parents[2]
_DATA_DIR = PurePosixPath("/D")
"""Placeholder for the data directory of K3s."""


class Option(NamedTuple):
    """An option or argument of the command line."""

    names: tuple[str, ...]
    takes: str
    choices: tuple[str, ...]
    default: str
    help: str


class Command(NamedTuple):
    """A verb of the command line."""

    name: str
    summary: str
    details: str
    example: str
    exit_codes: tuple[tuple[str, str], ...]
    hidden: bool
    arguments: tuple[Option, ...]
    options: tuple[Option, ...]


def pages() -> dict[str, str]:
    """Return the text of each generated page by its path below docs/."""
    return {path: made() for path, made in _PAGES.items()}


def commands() -> tuple[Command, ...]:
    """Return all verbs in the order of --help, and after a group of commands its members."""
    found = []
    for name, command in click_commands().items():
        given = [(parameter.param_type_name, _option(parameter)) for parameter in command.params]
        arguments = tuple(option for kind, option in given if kind == "argument")
        options = tuple(option for kind, option in given if kind == "option")
        summary, _, details = (command.help or "").partition("\n\n")
        found.append(
            Command(name, prose(summary), prose(details), *_epilog(command), bool(command.hidden), arguments, options)
        )
    return tuple(found)


def click_commands() -> dict[str, Any]:
    found: dict[str, Any] = {}
    waiting = [("", get_command(whole_program()))]
    while waiting:
        prefix, group = waiting.pop(0)
        for name, command in getattr(group, "commands", {}).items():
            found[prefix + name] = command
            waiting.append((f"{prefix}{name} ", command))
    return found


def _epilog(command: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the example and the exit codes with their meanings, from the end of a verb's help."""
    examples, _, codes = command.epilog.replace("\b\n", "").partition("\n\nExit codes:\n")
    rows = re.findall(r"^  (\d)  (.*(?:\n {5}.*)*)", codes, re.MULTILINE)
    return examples.split("\n  ")[1], tuple((code, " ".join(meaning.split())) for code, meaning in rows)


def program_options() -> tuple[Option, ...]:
    return tuple(_option(parameter) for parameter in get_command(whole_program()).params)


def picture() -> str:
    """Return the terminal of a real run as SVG: apply on a disposable host, a change by hand, then check."""
    console = Console(record=True, width=PICTURE_WIDTH, file=io.StringIO(), highlight=False, force_terminal=True)
    request = Request(Overrides(role="server", k3s_version=NEWEST_KNOWN.family))
    options = f"--root host --role server --k3s-version {NEWEST_KNOWN.family}"
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "host")
        console.print("[bold]$[/] .ci/disposable-host host")
        subprocess.run([CHECKOUT / ".ci/disposable-host", root], check=True)
        host = Host.tree_at(str(root))
        console.print(f"[bold]$[/] k3s-harden apply {options}")
        _print_shortened(console, verbs.apply(host, request))
        console.print("[bold]$[/] echo vm.panic_on_oom=1 >host/etc/sysctl.d/99-database.conf")
        (root / "etc/sysctl.d/99-database.conf").write_text("vm.panic_on_oom=1\n", encoding="utf-8")
        console.print(f"[bold]$[/] k3s-harden check {options}")
        _print_shortened(console, verbs.check(host, request))
    svg = console.export_svg(title="k3s-harden", unique_id="run")
    # Rich refers to a font on a server; the layout is the same with any monospace font.
    svg = re.sub(r"\n *@font-face \{.*?\n    \}", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace")
    # Without a width, a browser shows it as wide as the page.
    return svg.replace(' viewBox="', ' width="640" viewBox="', 1)


def _print_shortened(console: Console, report: Report) -> None:
    """Print the first changes that fit in one line, and everything from the first finding or the result on."""
    with console.capture() as printed:
        print_report(console, report, Verbosity.NORMAL)
    lines = Text.from_ansi(printed.get()).split("\n", allow_blank=False)
    items = [line for line in lines if line.plain.startswith(("changed", "differs")) and "→" in line.plain]
    rest = next(number for number, line in enumerate(lines) if line.plain.startswith(("error", "✔", "✘")))
    for line in [*items[:PICTURE_ITEMS], *([Text("…")] if len(items) > PICTURE_ITEMS else []), *lines[rest:]]:
        line.rstrip()
        console.print(line)


def write(directory: Path) -> list[Path]:
    """Write the outdated files below `directory` and return their paths."""
    written = []
    for path, text in (*pages().items(), (PICTURE, picture())):
        file = directory / path
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            written.append(file)
    return written


_YES = {True: "yes", False: "no"}


def _findings() -> str:
    kinds = findings.KINDS.values()
    parts = [
        "# Findings",
        generated("agent/findings"),
        prose("""
            What `check` finds in addition to differences, each with a stable ID, the expected and the found value,
            the location, and a remediation. One run reports all of them. With an error, `check` and `diff` exit
            with 3. `k3s-harden explain ID` prints the same in a terminal.
        """),
        prose("""
            A finding blocks the gate if K3s would run unhardened or unprotected: the [gate](../howto/systemd.md)
            fails, and K3s does not start. A finding prevents the start if K3s fails by itself. The gate logs it and
            does not block K3s, because blocking gains nothing if the prediction is right, and takes down a healthy
            node if it is wrong. `assess` lists these findings first in its notes.
        """),
        table(
            ("ID", "level", "blocks the gate", "prevents the start"),
            (
                (f"[`{it.id}`](#{it.id})", str(it.level), _YES[it.blocks_gate.holds], _YES[it.prevents_start.holds])
                for it in kinds
            ),
        ),
    ]
    for kind in kinds:
        parts += [f"## {kind.id}", f"Level: {kind.level}."]
        parts += [prose(paragraph) for paragraph in kind.explanation.split("\n\n")]
        properties = (
            ("The gate blocks K3s", str(kind.blocks_gate)),
            ("Prevents K3s from starting", str(kind.prevents_start)),
        )
        reason = REASONS.get(kind.id)
        named = [*properties, ("Remediation", kind.repair)]
        if reason:
            named += [("Reported for host trees", _YES[reason.on_trees]), ("Evidence", reason.source)]
        parts.append("\n".join(f"- {name}: {text}" for name, text in named if text))
    return page(parts)


_BY_EXIT_CODE = {
    ExitCode.COMPLIANT: "nothing",
    ExitCode.ERROR: "follow `fix:`",
    ExitCode.USAGE: "correct the line in the message",
    ExitCode.NOT_COMPLIANT: "follow the next steps",
    ExitCode.PARTIAL: "fix what is left, then run it again",
    ExitCode.LOCKED: "wait",
    ExitCode.ENVIRONMENT: "follow `fix:`",
}


def _exit_codes() -> str:
    return page([
        "# Exit codes",
        generated("agent/base/errors.py"),
        "They are stable. 0 means that the verb succeeded. `k3s-harden VERB --help` has the meanings for that verb.",
        table(
            ("code", "name", "meaning", "what to do"),
            ((f"{int(code)}", code.name, code.meaning, _BY_EXIT_CODE[code]) for code in ExitCode),
        ),
        prose("""
            The exit code is derived from the report, and the JSON report contains it (`exit_code`, `meaning`). If the
            report cannot be printed, for example because the disk is full, the exit code of a run that has changed
            nothing is 1 instead of 0, and standard error says whether the run has changed something. A reader that
            closes the pipe early, such as `head`, does not change the exit code.
        """),
        prose("""
            `k3s-harden gate`, which runs before each start of K3s, exits with 0 if K3s may start.
            A file edited by hand that meets its control, or a problem that only affects the next boot, does not block
            K3s. [read-a-report.md](../howto/read-a-report.md) explains the output.
        """),
    ])  # fmt: skip


def _cli() -> str:
    public = [command for command in commands() if not command.hidden]
    hidden = [command for command in commands() if command.hidden]
    parts = [
        "# Command line",
        generated("agent/cli"),
        prose("""
            `k3s-harden VERB [options]`. Reports go to standard output. Errors go to standard error as `k3s-harden:
            cannot …`, with the remediation on the next line. Each verb lists its [exit codes](exit-codes.md).
        """),
        table(
            ("verb", "does"), ((f"[`{command.name}`](#{anchor(command.name)})", command.summary) for command in public)
        ),
        "Options before the verb:",
        _option_table(program_options()),
    ]
    for command in public:
        parts += [f"## {command.name}", *_command(command)]
    parts.append("## Run by systemd")
    for command in hidden:
        parts += [f"### {command.name}", *_command(command)]
    return page(parts)


def _command(command: Command) -> Iterator[str]:
    words = "".join(f" {argument.takes}" for argument in command.arguments)
    yield f"```text\nk3s-harden {command.name}{words} [options]\n```"
    yield command.summary
    yield command.details
    yield f"Example: `{command.example}`"
    for argument in command.arguments:
        yield f"`{argument.takes}`: {argument.help}"
    if command.options:
        yield _option_table(command.options)
    yield table(("exit code", "meaning"), command.exit_codes)


def _option_table(options: Iterable[Option]) -> str:
    return table(
        ("option", "default", "meaning"),
        (
            (f"`{', '.join(o.names)}{f' {o.takes}' if o.takes else ''}`", o.default and f"`{o.default}`", o.help)
            for o in options
        ),
    )


def _option(parameter: Any) -> Option:
    """Return what the documents show of a parameter."""
    choices = tuple(str(getattr(choice, "value", choice)) for choice in getattr(parameter.type, "choices", ()))
    is_argument = parameter.param_type_name == "argument"
    is_switch = not is_argument and bool(getattr(parameter, "is_flag", False))
    takes = "" if is_switch else parameter.metavar or "|".join(choices) or "NUMBER"
    if is_argument:
        takes = parameter.metavar or str(parameter.name).upper()
    default = getattr(parameter.default, "value", parameter.default)
    # A default that is computed is described in the help text.
    text, _, computed = (parameter.help or "").removesuffix("]").partition(" [default: ")
    return Option(
        names=tuple(parameter.opts),
        takes=takes,
        choices=choices,
        default="" if is_switch or default is None else f"{default:g}" if isinstance(default, float) else str(default),
        help=prose(text + (f" Default: {computed}." if computed else "")),
    )


_CHOICES = (
    ("harden a running cluster in steps, with an end", "`stages`: they change what `apply` writes, until their day"),
    ("close what the guide leaves open", "`profile: strict`, and a setting below it to turn a part of it off"),
    ("let pods of one namespace violate Pod Security for good", "`pod-security.exempt-namespaces`"),
    ("let all pods violate Pod Security for a while", "`stages.pod-security: warn`, or `baseline`"),
    ("forbid others to loosen Pod Security by labels", "`admission-policies.pod-security`, from K3s v1.37 on"),
    (
        "accept that one control fails, with a reason",
        "`waivers`: they change the report only, except kernel parameters",
    ),
    ("require a last day of each waiver", "`waivers-must-expire: true`"),
    (
        "require a last day in the near future, and who approved it",
        "`waivers-must` with `expire-within`, without `waivers-must-expire`",
    ),
)
_ALLOW = (
    ("`namespace`", "the namespace of the pods that accept the traffic", "an error"),
    ("`pods`", "their labels, such as `{app: db}`", "all its pods"),
    ("`ports`", "a list of numbers, such as `[8080, 53/UDP]`; TCP unless it is named", "all ports"),
    ("`from`", "`anywhere`", "an error"),
    ("", "`{namespace: shop, pods: {app: web}}`: pods of a namespace; `pods` can be omitted", ""),
    ("", "`{addresses: [10.0.0.0/8]}`: a list of networks", ""),
    ("", "a list of such values", ""),
)


def _settings() -> str:
    return page([
        "# Settings",
        generated("agent/harden/settings"),
        prose(f"""
            `{settings.DEFAULT_SETTINGS}` is optional; without it every setting has its default. The file is YAML and is
            read strictly: an unknown or repeated key, an invalid value, or a placeholder such as `<NAMESPACE>` is an
            error with file, line and key. All errors are reported at once with exit code 2, and nothing is changed.
            Only root may have write permission, because the file controls what root does.
        """),
        prose("""
            `--role`, `--k3s-version` and `--data-dir` on the command line override the file. A key with a dot is a key
            in a mapping: `audit.max-age` is `max-age` below `audit:`.
        """),
        table(
            ("key", "allowed", "default", "purpose"),
            (
                (f"`{row.key}`", row.kind.allowed, row.default, prose(row.description))
                for row in settings.setting_rows()
            ),
        ),
        "## Write and check a file",
        "```sh\nk3s-harden settings init >config.yaml\nk3s-harden settings check config.yaml\n```",
        "`init` prints each setting as a comment, with its meaning. `check` says what a file means, or what is wrong.",
        "## Which setting to take",
        table(("to", "set"), _CHOICES),
        "## Rules of network-policies.allow",
        table(("key", "value", "without it"), _ALLOW),
        "## Profiles",
        prose(f"""
            A profile sets several settings together. `{settings.Profile.GUIDE}`, the default, sets none. A setting in
            the file overrides the profile, also to turn one off. On a host to which a setting does not apply, it has no
            effect. See [the how-to](../howto/strict.md).
        """),
        table(
            ("profile", "setting", "applies to"),
            (
                (f"`{profile}`", f"`{preset.setting}: {preset.value}`", str(preset.row.applies))
                for profile, presets in PRESETS.items()
                for preset in presets
            ),
        ),
        "## What settings can break",
        *(part for key, risk in risks().items() for part in _risk(key, risk)),
        "## Example with all settings",
        f"```yaml\n{settings.example_settings()}```",
    ])  # fmt: skip


def _risk(key: str, risk: Risk) -> tuple[str, ...]:
    return (
        f"### {key}",
        prose(risk.breaks),
        f"Before you set it: {prose(risk.preview)}",
        f"```sh\n{risk.command}\n```",
    )


STATE_FILES = (
    (state.STATE, "0700", "state directory"),
    (journal.JOURNAL, "0700", "journal for `revert`: a file with mode 0600 for each run with changes"),
    (journal.BACKUPS, "0700", "files that `--force` and `install` replaced, with mode 0600"),
    (SAVED, "0600", "NetworkPolicies of the site that K3s replaced, until they come back"),
    (OBSERVES, "0600", "day since which the gate observes, from a package on a running cluster"),
    (last_run.RECORD, "0600", "version, settings and day of the last successful run, for the gate"),
    (drift.REPORT, "0600", "previous assessment, for the daily comparison"),
    (drift.METRICS, "0600", "metrics of that assessment, for a textfile collector"),
    (state.DIRECTORY, "0700", "notifications of the site that wait for their delivery"),
    (state.COMMAND, "0600", "command of the site that gets them"),
    (state.LAST_NUMBER, "0600", "number of the latest notification"),
    (state.PUBLICATION, "0600", "with `publish`: what the Node of this host should have"),
    (state.SENT, "0600", "digest and time of what was sent to the Node last"),
    (CONNECTIONS, "0600", "with `traffic.record-until`: who connected to pods of this node"),
    (LOCK, "0600", "lock; empty, or the ID of the process that holds it"),
)


def _resources() -> str:
    built = _built()
    parts = [
        "# Resources on the host",
        generated("agent/harden/guide and agent/harden/desired"),
        prose("""
            All paths and kernel parameters that `apply` sets, with their modes. All files and directories are owned by
            root. `D` is the data directory of K3s: `/var/lib/rancher/k3s`, unless the K3s configuration or the settings
            set another one. Missing parent directories are created with mode 0755; existing ones keep their mode.
        """),
        "## Directories and files",
        table(
            ("path", "mode", "server", "agent", "K3s", "managed by Rancher"),
            (_resource(path, mode, built) for path, mode in _modes(built).items()),
        ),
        prose("""
            `policy.yaml` contains the NetworkPolicies for every version, and the PodSecurityPolicies with their RBAC up
            to v1.24. The first apply for v1.25 removes the PodSecurityPolicies.
        """),
        prose(f"""
            With `cni.file-permissions` in the settings, also `{NETWORK_LEASES}`: mode 0700, default permissions (a
            default access control list) for the owner only in it and in its directories, and mode 0600 for existing
            files.
        """),
        "## Kernel parameters",
        table(
            ("key", "value", "written"),
            ((f"`{row.key}`", row.value, "yes" if row.written else "no, compared only") for row in SYSCTLS),
        ),
        prose("""
            The written ones are set in 90-kubelet.conf and in the running kernel, and are read back. kubelet compares
            all six with its expected values when it starts.
        """),
        "## K3s options",
        prose("""
            The drop-in contains the options that the operator's configuration files, environment and command line do
            not already set. Keys of lists end with `+`.
        """),
        table(
            ("K3s option", "value", "applies to"),
            (
                (f"`{row.key}`", f"`{f'{row.name}=' * bool(row.name)}{row.text(PurePosixPath('D'))}`", str(row.applies))
                for row in OPTIONS
            ),
        ),
        prose(f"""
            The settings add admission plugins to `enable-admission-plugins`, and these arguments of the kubelet:
            {", ".join(f"`{row.name}={row.value}` ({row.applies})" for row in ON_REQUEST)}.
        """),
        f"The drop-in of a new server with v{NEWEST_KNOWN.family}:",
        f"```yaml\n{_drop_in(Role.SERVER, NEWEST_KNOWN)}```",
        "The drop-in of an agent:",
        f"```yaml\n{_drop_in(Role.AGENT, NEWEST_KNOWN)}```",
        "## State of k3s-harden",
        table(
            ("path", "mode", "content"),
            ((f"`{path}`", mode, text) for path, mode, text in STATE_FILES),
        ),
        prose("""
            While a file is replaced, its new content is in a temporary file beside it, such as
            `.policy.yaml.4711-0a1b2c3d.k3s-harden`; see [0016](../adr/0016-unique-temporary-names.md). `revert` removes
            the journal after it has undone all runs. Backups are kept.
        """),
        "## Files of `install`",
        table(("path", "mode"), _installed()),
        "The hook for `cloud-init clean` is installed only if cloud-init is present. `uninstall` removes all of them.",
    ]
    return page(parts)


Built = dict[tuple[Role, int, bool], Mapping[str, object]]


def _built() -> Built:
    """Return the desired resources for each role and minor version, with and without Rancher."""
    found: Built = {}
    for role in Role:
        for minor in range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1):
            for rancher in (False, True):
                host = replace(facts.assumed_facts(role, Version(1, minor, 0), _DATA_DIR), rancher_managed=rancher)
                found[role, minor, rancher] = {
                    resource.id: resource for resource in desired.desired_resources(Settings(), host)
                }
    return found


def _modes(built: Built) -> dict[str, FileMode]:
    """Return the mode of each path, in the order of creation."""
    found: dict[str, FileMode] = {}
    rows: tuple[DirectoryRow | FileRow, ...] = (*DIRECTORIES, *FILES)
    for path in dict.fromkeys(str(_DATA_DIR / row.path) for row in rows):
        for resources in built.values():
            resource = resources.get(path)
            if isinstance(resource, (File, Directory)):
                found[path] = resource.mode
    return found


def _resource(path: str, mode: FileMode, built: Built) -> tuple[str, ...]:
    def minors(role: Role, *, rancher: bool) -> list[int]:
        return [minor for r, minor, m in built if r is role and m is rancher and path in built[r, minor, m]]

    own = {role: minors(role, rancher=False) for role in Role}
    with_rancher = {role: minors(role, rancher=True) for role in Role}
    versions = own[Role.SERVER] or own[Role.AGENT]
    first = versions[0]
    same = "same" if with_rancher == own else "not written"
    return (
        f"`{path.removeprefix('/') if path.startswith('/D/') else path}`",
        str(mode),
        "yes" if own[Role.SERVER] else "never",
        "yes" if own[Role.AGENT] else "never",
        "all" if first == OLDEST_COVERED.minor else f"v1.{first} and newer",
        same,
    )


def _drop_in(role: Role, version: Version) -> str:
    return desired.k3s_config(Settings(), facts.assumed_facts(role, version)).decode()


def _installed() -> Iterator[tuple[str, str]]:
    wanted = Installation(
        program=PACKAGED_PROGRAM,
        data_dir=DEFAULT_DATA_DIR,
        services=USUAL,
        completions=dict.fromkeys(COMPLETIONS.values(), b""),
        has_cloud_init=True,
    )
    for file in installed_files(wanted):
        yield f"`{file.path}`", str(file.mode)


def _modules() -> str:
    """List each module with the first sentence of its docstring."""
    rows = []
    for file in sorted(CHECKOUT.glob("agent/**/*.py")):
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        rows.append((f"`{file.relative_to(CHECKOUT)}`", " ".join(text.split("\n\n")[0].split())))
    return page([
        "# Modules",
        generated("the docstrings below agent/"),
        "Each file and its purpose. [design.md](../explanation/design.md) explains how they work together.",
        table(("file", "purpose"), rows),
    ])  # fmt: skip


PICTURE = "images/run.svg"
PICTURE_WIDTH = 66
"""Columns of the picture, so that a phone shows it in a readable size."""
PICTURE_ITEMS = 2


_BEGIN, _END = "<!-- releases -->\n", "<!-- end of releases -->\n"
_SENTENCES = {
    "README.md": (
        """\
Other hosts need only Python 3.9 or newer and the release file, which `make release KEY=FINGERPRINT` builds and signs in
`dist/` (`make dist` does not sign: leave out `gpgv`):
""",
        "Other hosts need only Python 3.9 or newer and the release file from [the releases]({}):\n",
    ),
    "README.zh.md": (
        """\
其他主机只需要 Python 3.9 或更新版本和发布文件；`make release KEY=FINGERPRINT` 将其生成到 `dist/` 下并签名
（`make dist` 不签名：省略 `gpgv`）：
""",
        "其他主机只需要 Python 3.9 或更新版本和[发布页面]({})上的发布文件：\n",
    ),
}
"""Where release files lie: a checkout is the only source as long as [project.urls] in pyproject.toml has no URL."""


def releases_url(pyproject: str) -> str:
    urls = pyproject.partition("\n[project.urls]\n")[2].partition("\n[")[0]
    found = re.search(r'^Releases = "(\S+)"$', urls, re.MULTILINE)
    return found[1] if found else ""


def with_releases(readme: str, url: str | None = None) -> str:
    """Return a README with the sentence about this URL, by default that of the project."""
    text, pyproject = ((CHECKOUT / name).read_text(encoding="utf-8") for name in (readme, "pyproject.toml"))
    without, published = _SENTENCES[readme]
    before, _, rest = text.partition(_BEGIN)
    url = releases_url(pyproject) if url is None else url
    return before + _BEGIN + (published.format(url) if url else without) + _END + rest.partition(_END)[2]


def _dropin_of_agents() -> str:
    """Return the drop-in of k3s-agent.service: that of servers, without the timer for their ServiceAccounts."""
    text = (CHECKOUT / f"systemd/k3s.service.d/{DROPIN}").read_text(encoding="utf-8")
    return text.replace(" k3s-harden-service-accounts.timer", "")


def _decisions() -> str:
    titles = {file.name: file.read_text(encoding="utf-8").splitlines()[0] for file in CHECKOUT.glob("docs/adr/0*.md")}
    return page([
        "# Architecture decision records",
        generated("the titles of the records"),
        prose("""
            Decisions between alternatives, with the rejected ones;
            [design.md](../explanation/design.md#rejected) has the small ones. A record that a new one replaces is
            deleted. Numbers are not reused. New records start from [template.md](template.md) and have about 250 words.
        """),
        "\n".join(f"- [{title.removeprefix('# ')}]({name})" for name, title in sorted(titles.items())),
    ])  # fmt: skip


_PAGES: Mapping[str, Callable[[], str]] = {
    "adr/README.md": _decisions,
    "explanation/kube-bench.md": docs_kube_bench.kube_bench,
    "howto/host.md": docs_symptoms.host_page,
    "howto/symptoms.md": docs_symptoms.symptoms,
    "reference/controls.md": docs_controls.controls,
    "reference/cluster-controls.md": docs_controls.cluster_controls,
    "reference/guide-controls.md": docs_controls.guide_controls,
    "reference/deviations.md": docs_controls.deviations,
    "reference/cli.md": _cli,
    "reference/settings.md": _settings,
    "reference/exit-codes.md": _exit_codes,
    "reference/findings.md": _findings,
    "reference/resources.md": _resources,
    "reference/modules.md": _modules,
    "reference/platforms.md": docs_platforms.platforms,
    "reference/upgrades.md": docs_upgrades.upgrades,
    f"../systemd/k3s-agent.service.d/{DROPIN}": _dropin_of_agents,
    "../README.md": partial(with_releases, "README.md"),
    "../README.zh.md": partial(with_releases, "README.zh.md"),
}

if __name__ == "__main__":
    for changed in write(CHECKOUT / "docs"):
        sys.stdout.write(f"wrote {changed.relative_to(CHECKOUT)}\n")
