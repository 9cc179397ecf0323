"""The options that several commands have, as Typer declares them, what shells complete for values, and their help."""

# Without `from __future__ import annotations`: the aliases are values, and Python 3.9 has no `X | None`.

import os
import sys
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from inspect import Parameter, Signature, signature
from itertools import groupby
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from typer import Argument as Argument  # noqa: PLC0414 - for annotations of commands
from typer import Option
from typer.core import TyperGroup

from agent.assess.frameworks import Framework
from agent.base.errors import ExitCode
from agent.base.model import StrEnum
from agent.cli.host_options import HostOptions, RoleChoice
from agent.cli.report_options import AssessmentOptions, ReportOptions
from agent.cli.streams import columns
from agent.k3s.roles_and_versions import EXAMPLE_MINOR
from agent.reports.formats import FLEET_FORMATS, IMPACT_FORMATS, REPORT_FORMATS, Format

if TYPE_CHECKING:
    from agent.base.value import Value


def _format_option(choices: Sequence[StrEnum]) -> Any:  # noqa: ANN401 - what typer.Option returns
    """Return the option --format of a command that has not all formats."""
    listed = ", ".join(f"'{choice}'" for choice in choices)

    def parsed(text: str) -> StrEnum:
        found = next((choice for choice in choices if choice == text), None)
        if found is None:
            raise typer.BadParameter(f"'{text}' is not one of {listed}")
        return found

    def completed(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    shown = f"Output format: {', '.join(choices)}."
    return Option("--format", help=shown, metavar="FORMAT", parser=parsed, autocompletion=completed)


def a_number(value: Optional[float]) -> Optional[float]:
    """Return the value of an option. Raises BadParameter for NaN, which passes every limit."""
    if value is not None and isnan(value):
        raise typer.BadParameter("nan is not a number")
    return value


def option(takes: str, text: str, *names: str, **others: Any) -> Any:  # noqa: ANN401 - as above
    """Return an option with a value."""
    return Option(*names, help=text, metavar=takes, **others)


def hours(text: str) -> Any:  # noqa: ANN401 - as above
    """Return an option for a time of at most a year."""
    return option("HOURS", text, min=0.001, max=8760, callback=a_number)


def flag(text: str, *names: str) -> Any:  # noqa: ANN401 - as above
    """Return an option without a value; `expand` names it after its parameter."""
    return Option(*names, help=text)


def topics(incomplete: str) -> list[str]:
    """Return the topics of `explain` that start with this text."""
    from agent.verbs.topics import titles

    return [name for name in titles() if name.startswith(incomplete)]


def benchmarks(incomplete: str) -> list[str]:
    """Return the values of --benchmark that start with this text."""
    from agent.k3s.cis.versions import Benchmark

    return [name for name in ("auto", *map(str, Benchmark)) if name.startswith(incomplete)]


def versions(incomplete: str) -> list[str]:
    """Return the K3s versions that are known and that start with this text, newest first."""
    from agent.k3s.roles_and_versions import NEWEST_KNOWN, OLDEST_COVERED

    minors = range(NEWEST_KNOWN.minor, OLDEST_COVERED.minor - 1, -1)
    return [name for name in (f"v1.{minor}" for minor in minors) if name.startswith(incomplete)]


def k3s_version(default: str) -> Any:  # noqa: ANN401 - as above
    """Return the type of the option --k3s-version; `default` is the version without it."""
    text = f"K3s version, such as {EXAMPLE_MINOR}. [default: {default}]"
    return Annotated[Optional[str], option("VERSION", text, autocompletion=versions)]


Force = Annotated[bool, flag("Replace files edited by hand, and keep backups of them.")]
FleetFormat = Annotated[Format, _format_option(FLEET_FORMATS)]
Services = Annotated[
    Optional[list[str]], option("NAME.service", "Another service that starts K3s, such as k3s-east.service.", "--unit")
]
Image = Annotated[str, option("REF", "Container image of this program.")]
Program = Annotated[Optional[Path], option("FILE", "Path of the program on the host. [default: this program]")]
_Config = Annotated[Optional[Path], option("FILE", "Settings file. [default: /etc/k3s-harden/config.yaml]")]

_TREE: dict[str, Any] = {
    "root": Annotated[str, option("DIR", "Root directory of the host, such as a mounted image.")],
    "allow_empty_root": Annotated[bool, Option(hidden=True, help="Accept an empty --root, for a new tree.")],
}
_LIVE: dict[str, Any] = {
    "config": _Config,
    "role": Annotated[RoleChoice, Option(help="Role of K3s on this host.")],
    "k3s_version": k3s_version("from k3s --version"),
    "data_dir": Annotated[
        Optional[Path], option("DIR", "Data directory of K3s. [default: from the K3s configuration]")
    ],
}
_UNIT = option(
    "NAME.service", "Which K3s service, if this host has several. [default: the running or enabled one]", "--unit"
)
_SERVICE = {**_TREE, **_LIVE, "unit": Annotated[Optional[str], _UNIT]}
_NODE = option("NAME", "In a pod with hostPID and the node's / at --root: the name of the Node.")
_PROFILE = option("NAME", "Profile instead of that of the settings: guide or strict.")
_REPORT: dict[str, Any] = {
    "output_format": Annotated[Format, _format_option(REPORT_FORMATS)],
    "verbose": Annotated[bool, flag("Also print what is compliant, host facts, and sources.", "--verbose", "-v")],
    "quiet": Annotated[bool, flag("Print only the result.", "--quiet", "-q")],
}
# A parameter that is a group of options has their types by the names of its fields.
Tree = Annotated[HostOptions, _TREE]
Live = Annotated[HostOptions, _LIVE]
HostTree = Annotated[HostOptions, {**_TREE, **_LIVE}]
Service = Annotated[HostOptions, _SERVICE]
AssessedNode = Annotated[HostOptions, {**_SERVICE, "node": Annotated[str, _NODE]}]
ConfigOnly = Annotated[HostOptions, {"config": _Config}]
OfCluster = Annotated[HostOptions, {"config": _Config, "profile": Annotated[Optional[str], _PROFILE]}]
Report = Annotated[ReportOptions, _REPORT]
ImpactReport = Annotated[ReportOptions, {**_REPORT, "output_format": Annotated[Format, _format_option(IMPACT_FORMATS)]}]
Assessed = Annotated[
    AssessmentOptions,
    {
        "output_format": Annotated[Format, option("FORMAT", f"Output format: {', '.join(Format)}.", "--format")],
        "output": Annotated[
            Optional[Path], option("FILE", "File to write with mode 0600; its ending selects the format. [default: -]")
        ],
        "sign": Annotated[Optional[Path], option("KEY", "Also write FILE.sig with this SSH key, by ssh-keygen.")],
        "framework": Annotated[
            Optional[Framework],
            option("NAME", "Only the controls of stig or nist, listed by the rules of that framework."),
        ],
        "beyond": Annotated[bool, flag("kube-bench: add the controls that CIS does not have.")],
        "verbose": Annotated[bool, flag("Print all controls, host facts and evidence.", "--verbose", "-v")],
        "quiet": Annotated[bool, flag("Print only failed and undetermined controls.", "--quiet", "-q")],
    },
]


def expand(function: Callable[..., None], without: Collection[str] = ()) -> Callable[..., None]:
    """Return a command whose groups of options are options, such as --root, and whose annotations are values.

    The function gets the values of a group as one, such as HostOptions. The options `without` have their defaults.
    """
    parameters: list[Parameter] = []
    groups: dict[str, tuple[type[Value], list[str]]] = {}
    for name, parameter in signature(function).parameters.items():
        declared: Any = parameter.annotation
        if isinstance(declared, str):
            names = {**function.__globals__, **globals(), "shared": sys.modules[__name__]}
            declared = eval(declared, names)  # noqa: S307 - the program's own text
        group = declared.__metadata__[0]
        if isinstance(group, dict):
            kind: type[Value] = declared.__origin__
            groups[name] = kind, [key for key in group if key not in without]
            parameters += [
                Parameter(key, Parameter.KEYWORD_ONLY, default=getattr(kind(), key), annotation=group[key])
                for key in groups[name][1]
            ]
        elif name not in without:
            parameters.append(parameter.replace(annotation=declared))
    for parameter in parameters:
        info = parameter.annotation.__metadata__[0]
        if parameter.default is False and not info.param_decls:
            # Typer would also add --no-NAME.
            info.param_decls = (f"--{parameter.name.replace('_', '-')}",)

    @wraps(function)
    def command(**given: object) -> None:
        values = {name: kind(**{key: given.pop(key) for key in keys}) for name, (kind, keys) in groups.items()}
        for value in values.values():
            if isinstance(value, ReportOptions):
                value.refuse_contradictions()
        function(**given, **values)

    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined] # Typer reads it
    command.__annotations__ = {}
    return command


PROGRAM = "k3s-harden"

_COLUMNS = os.environ.get("COLUMNS", "")
_WIDTH = min(76, max(36, ((int(_COLUMNS) if _COLUMNS.isdecimal() else 0) or columns() or 80) - 4))
"""Columns of help: those of the terminal, or as in other programs those of the variable COLUMNS."""
_NARROW = 60
_KEEPS_LINES = "\b\n"
"""Keeps the line breaks of the paragraph that follows, in Click."""

_context: Any = typer.Context.__mro__[1]  # of Click, or of its copy in Typer


class _HelpFormatter(_context.formatter_class):  # type: ignore[misc]
    """On a narrow terminal, the texts of options and commands begin below their names."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__(width=_WIDTH + 2)

    def write_dl(self, rows: Any, *_: int) -> None:  # noqa: ANN401 - as in Click
        super().write_dl(rows, col_max=30 if _WIDTH > _NARROW else 6)


_context.formatter_class = _HelpFormatter


def epilog(example: str, codes: Mapping[ExitCode, str], success: str) -> str:
    """Return the end of a command's help: an example, and the exit codes; `success` is the meaning of 0."""
    listed = [f"  {int(code)}  {meaning}" for code, meaning in {**codes, ExitCode.COMPLIANT: success}.items()]
    # Most lines fit, and wrapping all of them takes 1 ms at each start.
    fitting = (
        line if len(line) <= _WIDTH else textwrap.fill(line, _WIDTH, subsequent_indent="     ") for line in listed
    )
    rows = "\n".join(fitting)
    lines = textwrap.wrap(example, _WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    shown = example if len(example) + 2 <= _WIDTH else " \\\n    ".join(lines)
    return f"{_KEEPS_LINES}Example:\n  {shown}\n\n{_KEEPS_LINES}Exit codes:\n{rows}"


class Grouped(TyperGroup):
    """A group of commands, whose help lists them by topic."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002 - as in Click
        """Write each group with its commands, whose texts are in one column."""
        longest = max(map(len, self.commands)) * (_WIDTH > _NARROW)
        commands: list[Any] = [command for command in self.commands.values() if not command.hidden]
        for topic, inside in groupby(commands, key=lambda command: command.rich_help_panel):
            with formatter.section(topic or "Commands"):
                formatter.write_dl([(one.name.ljust(longest), one.get_short_help_str(80)) for one in inside])
