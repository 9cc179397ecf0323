"""Arguments at which a component will exit when it starts, by its version. Pure.

What is predicted was seen on the programs of Kubernetes, or follows from the source that each rule names. An argument
of a kind that this program does not support is accepted.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.k3s.components import gates, tables
from agent.k3s.components.problem import Argument, Arguments, Cause, Problem
from agent.k3s.components.values import PARSERS, InvalidValueError, combined
from agent.k3s.spelling import Spelling
from agent.model import Component
from agent.value import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent.k3s.components.gates import Setting
    from agent.k3s.components.values import Parsed
    from agent.k3s.config import ConfigValue

_PFLAG = "github.com/spf13/pflag"
_GATES = "component-base/featuregate/feature_gate.go"
_REGISTRY = "component-base/compatibility/registry.go"
FEATURE_GATES = "feature-gates"
_WITHOUT_PREFIX = frozenset({Component.KUBELET, Component.KUBE_PROXY})
"""Components that read `kube:Gate=true` as the name of a gate (MapStringBool of component-base)."""


class Context(Value):
    """Inputs of a component besides the operator's arguments."""

    own: frozenset[str] = frozenset()
    """Arguments that K3s passes only on some hosts, and on this one."""
    fields: Mapping[str, Argument] = MappingProxyType({})
    """Fields of its configuration files that have no equivalent argument."""
    gates: tuple[Setting, ...] = ()
    """Feature gates of its configuration files, which its arguments override."""


def problems(
    component: Component,
    given: Mapping[str, Sequence[ConfigValue]],
    minor: int,
    context: Context | None = None,
) -> Iterator[Problem]:
    """Yield the reasons for which a component of this minor exits at the arguments of the operator."""
    if not tables.has_flags(component, minor):
        return
    context = context or Context()
    parsed: dict[str, Argument] = dict(context.fields)
    rejected = []
    known = Spelling(tables.names_of(component, minor))
    for name, values in given.items():
        one = _parse(component, name, values, minor, known)
        if isinstance(one, Problem):
            rejected.append(one)
        else:
            parsed[name] = one
    settings = [*context.gates, *_gate_settings(component, parsed)]
    arguments = Arguments(component, minor, parsed, gates.values(settings), context.own)
    yield from rejected
    if component is Component.KUBE_PROXY and parsed.get("config"):
        # kube-proxy parses its arguments, and ignores most of their values if it has a configuration file.
        yield from _beside_file(Arguments(component, minor, parsed, {}, context.own))
        return
    yield from _of_gates(arguments, settings)
    yield from _after_parsing(arguments)


def _of_gates(arguments: Arguments, settings: Sequence[Setting]) -> Iterator[Problem]:
    for gate in gates.problems(settings, arguments.minor):
        yield Problem(
            Cause.FEATURE_GATE,
            arguments.component,
            FEATURE_GATES,
            f"rejects its feature gates: {gate.problem}",
            gate.expected,
            gate.setting.written,
            gate.setting.location,
            _GATES,
            gate.meant,
        )
    given = arguments.by_name[FEATURE_GATES].given if FEATURE_GATES in arguments.by_name else ()
    if arguments.component not in _WITHOUT_PREFIX and gates.mixes_prefixes(one.text for one in given):
        message = "rejects feature gates with and without the prefix kube:"
        problem = arguments.problem(FEATURE_GATES, message, "one way for all gates", _REGISTRY)
        yield replace(problem, cause=Cause.FEATURE_GATE)


def _after_parsing(arguments: Arguments) -> Iterator[Problem]:
    # Imported here: an unknown argument is found without them, and each host needs few of them.
    from agent.k3s.components import common, limits

    yield from limits.problems(arguments)
    yield from common.problems(arguments)
    if arguments.component is Component.API_SERVER:
        from agent.k3s.components import api_server

        yield from api_server.problems(arguments)
    elif arguments.component is Component.CONTROLLER_MANAGER:
        from agent.k3s.components import controller_manager

        yield from controller_manager.problems(arguments)
    elif arguments.component is Component.KUBELET:
        from agent.k3s.components import kubelet

        yield from kubelet.problems(arguments)
    elif arguments.component is Component.KUBE_PROXY:
        from agent.k3s.components import kube_proxy

        yield from kube_proxy.problems(arguments)


def _beside_file(arguments: Arguments) -> Iterator[Problem]:
    from agent.k3s.components import common

    yield from common.problems_beside_file(arguments)


def _parse(
    component: Component, name: str, values: Sequence[ConfigValue], minor: int, known: Spelling
) -> Argument | Problem:
    kind = tables.kind_of(component, name, minor)
    if kind is None or not name or name.startswith(("-", "=")):
        return _unknown(component, name, values[-1], minor, known)
    parser = PARSERS.get(kind, str)
    parsed: list[Parsed] = []
    for value in values:
        try:
            parsed.append(parser(value.text))
        except InvalidValueError as error:
            return Problem(
                Cause.INVALID_VALUE,
                component,
                name,
                f"cannot parse {name}={value.text}",
                str(error),
                value.text,
                value.location,
                _PFLAG,
            )
    return Argument(kind, combined(kind, parsed), values)


def _unknown(component: Component, name: str, last: ConfigValue, minor: int, known: Spelling) -> Problem:
    cause = Cause.UNKNOWN_ARGUMENT
    if not name or name.startswith(("-", "=")):
        message = "rejects an argument without a name"
        return Problem(cause, component, name, message, "name=value", last.text, last.location, _PFLAG)
    meant = _meant(component, name, known)
    expected = meant or f"an argument of {component.value} 1.{minor}"
    message, written = _absent(component, name, minor), f"{name}={last.text}"
    source = "the program's own --help"
    return Problem(cause, component, name, message, expected, written, last.location, source, meant)


def _absent(component: Component, name: str, minor: int) -> str:
    minors = tables.minors_of(component, name)
    older = [one for one in minors if one < minor]
    newer = [one for one in minors if one > minor]
    if older:
        return f"has no argument {name} since 1.{max(older) + 1}"
    if newer:
        return f"has no argument {name} before 1.{min(newer)}"
    return f"has no argument {name}"


def _meant(component: Component, name: str, known: Spelling) -> str:
    """Return the argument that was meant by a misspelt one. A name of another version is not misspelt."""
    return "" if tables.minors_of(component, name) else known.meant(name)


def _gate_settings(component: Component, parsed: Mapping[str, Argument]) -> Iterator[Setting]:
    argument = parsed.get(FEATURE_GATES)
    for value in argument.given if argument else ():
        yield from gates.settings(value.text, value.location, has_prefix=component not in _WITHOUT_PREFIX)
