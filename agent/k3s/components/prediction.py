"""Arguments at which a component will exit when it starts, by its version. Pure.

What is predicted was seen on the programs of Kubernetes, or follows from the source that each rule names. An argument
of a kind that this program does not support is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.base.report import Prediction
from agent.base.value import replace
from agent.k3s.components import effective_arguments, tables
from agent.k3s.components.effective_arguments import (
    FEATURE_GATES,
    Cause,
    EffectiveArguments,
    GateSetting,
    Given,
    GivenBy,
    Rejection,
)
from agent.k3s.components.files.decoding import kind_of_value
from agent.k3s.components.rules import ParsedArguments, default_values, rejected_by_rule, rules_about
from agent.k3s.components.values import Parsed, combined, parse
from agent.k3s.go_values import InvalidValueError
from agent.k3s.options import Spelling
from agent.k3s.roles_and_versions import Component

_PFLAG = "github.com/spf13/pflag"
_FLAGS = f"agent/k3s/components/{tables.FLAGS}"
_WITHOUT_PREFIX = frozenset({Component.KUBELET, Component.KUBE_PROXY})
"""Components that read `kube:Gate=true` as the name of a gate (MapStringBool of component-base)."""
_BESIDE_FILE = re.compile(
    "help|version|cleanup|init-only|write-config-to|logging-format|log-(text|json)-.*|vmodule"
).fullmatch
"""The arguments of kube-proxy that count beside a configuration file."""


_ZERO_IS_UNSET = frozenset({"nodeLeaseDurationSeconds", "containerLogMonitorInterval"})
"""Fields without an argument for which the kubelet replaces a zero by its default."""


def rejected_arguments(arguments: EffectiveArguments, minor: int) -> Iterator[Rejection]:
    """Yield the reasons for which a component of this minor exits at the arguments of the operator."""
    component = arguments.component
    if not tables.has_flags(component, minor):
        return
    known = Spelling(tables.names_of(component, minor))
    written: dict[str, tuple[Given, ...]] = {}
    parsed: dict[str, Parsed] = {}
    passed: dict[str, str] = {}
    for name, argument in arguments.found.items():
        kind = kind_of_value(component, name, minor)
        # Of a file, the component reads only what is effective; a field without a value has its default.
        values = [value for value in argument.overridden if value.by in _WRITTEN]
        values += (given for given in argument.given if not _is_unset(component, name, kind, given))
        if all(value.by is GivenBy.K3S for value in values):
            passed.update({name: values[-1].value} if values else {})
        elif kind is None or not name or name.startswith(("-", "=")):
            yield _unknown(component, name, values[-1], minor, known)
        elif wrong := next(filter(None, (_unparsable(component, name, kind, value) for value in values)), None):
            yield wrong
        else:
            written[name], parsed[name] = tuple(values), combined(kind, [parse(kind, item.value) for item in values])
    if component is Component.KUBE_PROXY and "config" in written:
        # kube-proxy parses its arguments, and ignores most of their values if it has a configuration file.
        written = {name: values for name, values in written.items() if _BESIDE_FILE(name)}
        parsed = {name: parsed[name] for name in written}
    settings = [setting for value in written.get(FEATURE_GATES, ()) for setting in _gates(component, value)]
    unknown = frozenset(arguments.unknown) - {""}
    read = ParsedArguments(
        component, minor, written, parsed, effective_arguments.valid_gates(settings), passed, unknown
    )
    yield from effective_arguments.rejected_gates(component, settings, minor)
    yield from _after_parsing(read)


def _unparsable(component: Component, name: str, kind: str, value: Given) -> Rejection | None:
    try:
        parse(kind, value.value)
    except InvalidValueError as error:
        message, cause = f"cannot parse {name}={value.value}", Cause.INVALID_VALUE
        prediction = Prediction(f"{_FLAGS}, kind {kind}", _PFLAG)
        return Rejection(cause, component, name, message, str(error), value.value, value.at, prediction)
    return None


def _gates(component: Component, value: Given) -> Iterator[GateSetting]:
    if value.is_field:
        name, _, switch = value.value.partition("=")
        yield GateSetting(name, switch, value.at, f"{name}: {switch}")
    else:
        yield from effective_arguments.gate_settings(value.value, value.at, has_prefix=component not in _WITHOUT_PREFIX)


_WRITTEN = (GivenBy.OPERATOR, GivenBy.DROPIN)
_NUMBERS = frozenset({"duration", "float", "float32", "int", "int32", "int64", "uint", "uint32"})


def _is_unset(component: Component, name: str, kind: str | None, value: Given) -> bool:
    """Return whether a component takes its default for a field of a file, or checks only the argument."""
    if not value.is_field:
        return False
    if value.value == "" or (kind == "ip" and component is Component.KUBELET):
        return True
    has_default = name != value.field or name in _ZERO_IS_UNSET
    return has_default and kind in _NUMBERS and parse(kind, value.value) == 0


def _after_parsing(arguments: ParsedArguments) -> Iterator[Rejection]:
    # Imported here: an unknown argument is found without them.
    from agent.k3s.components.rules_in_code import IRREGULAR_RULES

    component = arguments.component
    arguments = replace(arguments, passed={**default_values(component), **arguments.passed})
    for rule in rules_about(component):
        yield from rejected_by_rule(rule, arguments)
    for find_rejected in IRREGULAR_RULES[component]:
        name = f"agent/k3s/components/rules_in_code.py: {find_rejected.__name__}"
        for found in find_rejected(arguments):
            yield replace(found, prediction=found.prediction._replace(rule=name))


def _unknown(component: Component, name: str, last: Given, minor: int, known: Spelling) -> Rejection:
    expected, meant, written, source = "", "", f"{name}={last.value}", "the program's own --help"
    if not name or name.startswith(("-", "=")):
        message, expected, written, source = "rejects an argument without a name", "name=value", last.value, _PFLAG
    elif minors := tables.minors_of(component, name):  # a name of another version is not misspelt
        message = f"rejects {name}, which {effective_arguments.absent(minors, minor)}"
    else:
        message, meant = f"has no argument {name}", known.meant(name)
    expected = meant or expected or f"an argument of {component.value} 1.{minor}"
    cause = Cause.UNKNOWN_ARGUMENT
    return Rejection(cause, component, name, message, expected, written, last.at, Prediction(_FLAGS, source), meant)
