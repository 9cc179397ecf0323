"""The options that several commands have, as Typer declares them, and what shells complete for values."""

# Without `from __future__ import annotations`: the aliases are values, and Python 3.9 has no `X | None`.

from collections.abc import Callable, Collection, Sequence
from functools import wraps
from inspect import Parameter, Signature, signature
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from typer import Argument as Argument  # noqa: PLC0414 - for annotations of commands
from typer import Option

from agent.assess.frameworks import Framework
from agent.base.model import StrEnum
from agent.cli.host_options import HostOptions, RoleChoice
from agent.cli.report_options import AssessmentOptions, ReportOptions
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


HOURS: dict[str, Any] = {"metavar": "HOURS", "min": 0.001, "max": 8760, "callback": a_number}


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


Root = Annotated[str, Option(help="Root directory of the host, such as a mounted image.", metavar="DIR")]
AllowEmptyRoot = Annotated[bool, Option("--allow-empty-root", hidden=True)]
Config = Annotated[Optional[Path], Option(help="Settings file. [default: /etc/k3s-harden/config.yaml]", metavar="FILE")]
Role = Annotated[RoleChoice, Option(help="Role of K3s on this host.")]
K3sVersion = Annotated[
    Optional[str],
    Option(
        help=f"K3s version, such as {EXAMPLE_MINOR}. [default: from k3s --version]",
        metavar="VERSION",
        autocompletion=versions,
    ),
]
DataDir = Annotated[
    Optional[Path], Option(help="Data directory of K3s. [default: from the K3s configuration]", metavar="DIR")
]
Profile = Annotated[
    Optional[str], Option(help="Profile instead of that of the settings: guide or strict.", metavar="NAME")
]
Force = Annotated[bool, Option("--force", help="Replace files edited by hand, and keep backups of them.")]
OutputFormat = Annotated[Format, _format_option(REPORT_FORMATS)]
ImpactFormat = Annotated[Format, _format_option(IMPACT_FORMATS)]
FleetFormat = Annotated[Format, _format_option(FLEET_FORMATS)]
Verbose = Annotated[bool, Option("--verbose", "-v", help="Also print what is compliant, host facts, and sources.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print only the result.")]
Unit = Annotated[
    Optional[str],
    Option(
        "--unit",
        help="Which K3s service, if this host has several. [default: the running or enabled one]",
        metavar="NAME.service",
    ),
]
Services = Annotated[
    Optional[list[str]],
    Option("--unit", help="Another service that starts K3s, such as k3s-east.service.", metavar="NAME.service"),
]
Node = Annotated[
    str, Option(help="In a pod with hostPID and the node's / at --root: the name of the Node.", metavar="NAME")
]
Image = Annotated[str, Option(help="Container image of this program.", metavar="REF")]
Program = Annotated[
    Optional[Path], Option(help="Path of the program on the host. [default: this program]", metavar="FILE")
]

_TREE: dict[str, Any] = {"root": Root, "allow_empty_root": AllowEmptyRoot}
_LIVE: dict[str, Any] = {"config": Config, "role": Role, "k3s_version": K3sVersion, "data_dir": DataDir}
_SERVICE = {**_TREE, **_LIVE, "unit": Unit}
_REPORT: dict[str, Any] = {"output_format": OutputFormat, "verbose": Verbose, "quiet": Quiet}
# A parameter that is a group of options has their types by the names of its fields.
Tree = Annotated[HostOptions, _TREE]
Live = Annotated[HostOptions, _LIVE]
HostTree = Annotated[HostOptions, {**_TREE, **_LIVE}]
Service = Annotated[HostOptions, _SERVICE]
AssessedNode = Annotated[HostOptions, {**_SERVICE, "node": Node}]
ConfigOnly = Annotated[HostOptions, {"config": Config}]
OfCluster = Annotated[HostOptions, {"config": Config, "profile": Profile}]
Report = Annotated[ReportOptions, _REPORT]
ImpactReport = Annotated[ReportOptions, {**_REPORT, "output_format": ImpactFormat}]
Assessed = Annotated[
    AssessmentOptions,
    {
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
            declared = eval(declared, {**function.__globals__, **globals()})  # noqa: S307 - the program's own text
        options = getattr(declared, "__metadata__", ())[-1:]
        if options and isinstance(options[0], dict):
            kind: type[Value] = declared.__origin__
            defaults = kind() if parameter.default is Parameter.empty else parameter.default
            shown = {key: option for key, option in options[0].items() if key not in without}
            groups[name] = kind, list(shown)
            parameters += [
                Parameter(key, Parameter.KEYWORD_ONLY, default=getattr(defaults, key), annotation=option)
                for key, option in shown.items()
            ]
        elif name not in without:
            parameters.append(parameter.replace(annotation=declared))

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
