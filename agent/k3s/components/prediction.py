"""Arguments at which a component will exit when it starts, by its version. Pure.

What is predicted was seen on the programs of Kubernetes, or follows from the source that each rule names. An argument
of a kind that this program does not support is accepted.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.base.model import Component
from agent.base.value import Value, replace
from agent.k3s.components import gates, tables
from agent.k3s.components.gates import FEATURE_GATES
from agent.k3s.components.rejection import Cause, ComponentArguments, ParsedArgument, Rejection
from agent.k3s.components.values import InvalidValueError, combined, parse
from agent.k3s.spelling import Spelling

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent.k3s.components.gates import GateSetting
    from agent.k3s.config import ConfigValue

_PFLAG = "github.com/spf13/pflag"
_WITHOUT_PREFIX = frozenset({Component.KUBELET, Component.KUBE_PROXY})
"""Components that read `kube:Gate=true` as the name of a gate (MapStringBool of component-base)."""
_BESIDE_FILE = re.compile(
    "help|version|cleanup|init-only|write-config-to|logging-format|log-(text|json)-.*|vmodule"
).fullmatch
"""The arguments of kube-proxy that count beside a configuration file."""


class Context(Value):
    """Inputs of a component besides the operator's arguments."""

    passed: Mapping[str, str] = MappingProxyType({})
    """Arguments that K3s passes on this host."""
    fields: Mapping[str, ParsedArgument] = MappingProxyType({})
    """Fields of its configuration files that have no equivalent argument."""
    gates: tuple[GateSetting, ...] = ()
    """Feature gates of its configuration files, which its arguments override."""


def rejected_arguments(
    component: Component, given: Mapping[str, Sequence[ConfigValue]], minor: int, context: Context | None = None
) -> Iterator[Rejection]:
    """Yield the reasons for which a component of this minor exits at the arguments of the operator."""
    if not tables.has_flags(component, minor):
        return
    context = context or Context()
    parsed: dict[str, ParsedArgument] = dict(context.fields)
    known = Spelling(tables.names_of(component, minor))
    for name, values in given.items():
        found = _parsed(component, name, values, minor, known)
        if isinstance(found, Rejection):
            yield found
        else:
            parsed[name] = found
    if component is Component.KUBE_PROXY and "config" in parsed:
        # kube-proxy parses its arguments, and ignores most of their values if it has a configuration file.
        parsed = {name: argument for name, argument in parsed.items() if _BESIDE_FILE(name)}
    texts = parsed[FEATURE_GATES].given if FEATURE_GATES in parsed else ()
    has_prefix = component not in _WITHOUT_PREFIX
    settings = [*context.gates]
    for value in texts:
        settings += gates.gate_settings(value.text, value.location, has_prefix=has_prefix)
    arguments = ComponentArguments(component, minor, parsed, gates.valid_gates(settings), context.passed)
    for gate in gates.rejected_gates(settings, minor):
        message = f"rejects its feature gates: {gate.message}"
        setting, source = gate.setting, "component-base/featuregate/feature_gate.go"
        rejected = (component, FEATURE_GATES, message, gate.expected, setting.written, setting.location, source)
        yield Rejection(Cause.FEATURE_GATE, *rejected, gate.meant)
    if has_prefix and gates.mixes_prefixes(value.text for value in texts):
        message, source = "rejects feature gates with and without the prefix kube:", "component-base/compatibility"
        yield arguments.rejection(FEATURE_GATES, message, "one way for all gates", source)
    yield from _after_parsing(arguments)


def _after_parsing(arguments: ComponentArguments) -> Iterator[Rejection]:
    # Imported here: an unknown argument is found without them.
    from agent.k3s.components.irregular_rules import IRREGULAR_RULES
    from agent.k3s.components.rules import default_values, rejected_by_rule, rules_about

    component = arguments.component
    arguments = replace(arguments, passed={**default_values(component), **arguments.passed})
    for rule in rules_about(component):
        yield from rejected_by_rule(rule, arguments)
    for find_rejected in IRREGULAR_RULES[component]:
        yield from find_rejected(arguments)


def _parsed(
    component: Component, name: str, values: Sequence[ConfigValue], minor: int, known: Spelling
) -> ParsedArgument | Rejection:
    kind = tables.kind_of(component, name, minor)
    if kind is None or not name or name.startswith(("-", "=")):
        return _unknown(component, name, values[-1], minor, known)
    parsed = []
    for value in values:
        try:
            parsed.append(parse(kind, value.text))
        except InvalidValueError as error:
            message, cause = f"cannot parse {name}={value.text}", Cause.INVALID_VALUE
            return Rejection(cause, component, name, message, str(error), value.text, value.location, _PFLAG)
    return ParsedArgument(kind, combined(kind, parsed), values)


def _unknown(component: Component, name: str, last: ConfigValue, minor: int, known: Spelling) -> Rejection:
    expected, meant, written, source = "", "", f"{name}={last.text}", "the program's own --help"
    if not name or name.startswith(("-", "=")):
        message, expected, written, source = "rejects an argument without a name", "name=value", last.text, _PFLAG
    elif minors := tables.minors_of(component, name):  # a name of another version is not misspelt
        message = f"rejects {name}, which {gates.absent(minors, minor)}"
    else:
        message, meant = f"has no argument {name}", known.meant(name)
    expected = meant or expected or f"an argument of {component.value} 1.{minor}"
    cause = Cause.UNKNOWN_ARGUMENT
    return Rejection(cause, component, name, message, expected, written, last.location, source, meant)
