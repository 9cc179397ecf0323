"""Findings about secure defaults of K3s that the operator's configuration replaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.base.model import Component, Location
from agent.base.report import Level
from agent.findings.registry import finding, misconfigured, no, yes
from agent.harden.guide.criteria import Boolean, Equals, ListExcludes
from agent.k3s import default_arguments
from agent.k3s.config import component_argument
from agent.k3s.default_arguments import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.findings.registry import Problem
    from agent.harden.guide.criteria import Criterion
    from agent.harden.situation import Situation
    from agent.k3s.default_arguments import DefaultArgument


class SecureDefault(NamedTuple):
    """An argument that decides whether a component authenticates and authorizes requests."""

    component: Component
    name: str
    meets: Criterion
    """The values that are secure."""
    effect: str
    """What the component does with any other value."""
    control: str
    """The control of the benchmarks."""
    opens: bool = True
    """Whether another value alone gives somebody without credentials more than the health endpoints."""


SECURE_DEFAULTS = (
    SecureDefault(
        Component.API_SERVER,
        "anonymous-auth",
        Boolean(expected=False),
        "accepts requests without credentials",
        "apiserver-anonymous-auth",
        opens=False,
    ),
    SecureDefault(
        Component.API_SERVER,
        "authorization-mode",
        ListExcludes(("AlwaysAllow",)),
        "allows every request",
        "apiserver-authorization-not-always-allow",
    ),
    SecureDefault(
        Component.KUBELET,
        "anonymous-auth",
        Boolean(expected=False),
        "accepts requests without credentials",
        "kubelet-anonymous-auth",
        opens=False,
    ),
    SecureDefault(
        Component.KUBELET,
        "authorization-mode",
        ListExcludes(("AlwaysAllow",)),
        "allows every request, such as to run commands in containers",
        "kubelet-authorization-mode",
    ),
    SecureDefault(
        Component.KUBELET,
        "read-only-port",
        Equals("0"),
        "serves the pods and metrics of the node without authentication",
        "kubelet-read-only-port",
    ),
)


class _Given(NamedTuple):
    """A value of an argument, from K3s' configuration or from a file of the kubelet."""

    location: Location
    key: str
    """The argument or the field, as it is written."""
    written: str


@finding(
    Level.ERROR,
    remediation="remove the argument, so that K3s sets its default; then restart K3s",
    blocks_gate=yes("Anybody who reaches the port controls the node or reads its data, without credentials."),
    prevents_start=no("The component accepts the value."),
)
def component_open(situation: Situation) -> Iterator[Problem]:
    """The operator's configuration gives somebody without credentials access to the API server or the kubelet.

    `authorization-mode=AlwaysAllow` allows every request, also of users whom nobody knows, and the kubelet's
    `read-only-port` serves its pods. A waiver of apiserver-authorization-not-always-allow, of
    kubelet-authorization-mode or of kubelet-read-only-port accepts the value.
    """
    return _replaced(situation, opens=True)


@finding(Level.WARNING, remediation="remove the argument, so that K3s sets its default; then restart K3s")
def secure_default_replaced(situation: Situation) -> Iterator[Problem]:
    """The operator's configuration accepts requests without credentials, which K3s rejects by default.

    `anonymous-auth=true` opens nothing by itself: such requests have the rights that RBAC, or the API server for the
    kubelet, gives to anonymous users, and load balancers use it for health checks. A waiver of
    apiserver-anonymous-auth or of kubelet-anonymous-auth accepts the value.
    """
    return _replaced(situation, opens=False)


def _replaced(situation: Situation, *, opens: bool) -> Iterator[Problem]:
    for row in (row for row in SECURE_DEFAULTS if row.opens == opens and _can_be_replaced(row, situation)):
        default = _default(row, situation)
        given = _given(row, default, situation) if default is not None else None
        if given is None or default is None or situation.waivers.covering(row.control) is not None:
            continue
        edit, expected = f"remove `{given.key}`", f"{row.name}={default.value}, K3s' default"
        message = f"the {row.component} {row.effect}"
        yield misconfigured(message, edit, given.location, given.written, expected)


def _can_be_replaced(row: SecureDefault, situation: Situation) -> bool:
    is_given = row.name in situation.facts.operator_config.component_arguments(row.component.config_key)
    return is_given or (row.component is Component.KUBELET and bool(situation.k3s_files.kubelet_files))


def _default(row: SecureDefault, situation: Situation) -> DefaultArgument | None:
    """Return K3s' own value for the argument if it is secure, and K3s runs the component here."""
    from agent.harden.node.components import not_run

    if not_run(row.component, situation.facts):
        return None
    own = (
        default
        for default in default_arguments.defaults_of(row.component)
        if default.name == row.name and default.in_version(situation.facts.version) and row.meets.accepts(default.value)
    )
    return next(own, None)


def _given(row: SecureDefault, default: DefaultArgument, situation: Situation) -> _Given | None:
    """Return the value that takes effect in the place of K3s' own, if it is not secure."""
    config, key = situation.facts.operator_config, row.component.config_key
    values = config.component_arguments(key).get(row.name, ())
    if not values:
        return _in_kubelet_files(row, default, situation)
    arguments = [component_argument(argument.text) for argument in config.items(key)]
    forms = {argument.form for argument in arguments if argument.name == row.name}
    from agent.k3s.components.tables import is_combined  # few hosts set such an argument

    if not is_combined(row.component, row.name):
        # The value of `name-=x` comes before K3s' own, which the component then uses.
        values = () if forms == {"-"} and default.channel is Channel.ARGUMENT else values[-1:]
    weak = next((value for value in values if not row.meets.accepts(value.text)), None)
    name = weak.spelling or row.name if weak else ""
    return weak and _Given(weak.location, name, f"{name}={weak.text}")


def _in_kubelet_files(row: SecureDefault, default: DefaultArgument, situation: Situation) -> _Given | None:
    """Return the value in the last file of the kubelet that has one, if it overrides K3s' own and is not secure."""
    files = situation.k3s_files.kubelet_files
    if row.component is not Component.KUBELET or default.channel is not Channel.KUBELET_FILE or not files:
        return None
    from agent.k3s.kubelet_configuration import as_field, kubelet_file

    for path, data in reversed(files):
        value, line = kubelet_file(data, path).settings.get(row.name, (None, 0))
        if value is not None:
            field = as_field(row.name, value)
            given = _Given(Location(path, line), field.partition(":")[0], field)
            return None if row.meets.accepts(value) else given
    return None
