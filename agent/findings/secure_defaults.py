"""Findings about secure defaults of K3s that the operator's configuration replaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.value import Value
from agent.findings.config_edits import changed, with_empty_lists
from agent.findings.registry import error, misconfigured, no, warning, yes
from agent.harden.guide.criteria import Boolean, Equals, ListExcludes
from agent.k3s.components.effective_arguments import GivenBy
from agent.k3s.default_arguments import defaults_of
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.findings.registry import Problem
    from agent.harden.guide.criteria import Criterion
    from agent.harden.situation import Situation


class SecureDefault(Value):
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


@error(
    repair="remove the argument, so that K3s sets its default; then restart K3s",
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


@warning(repair="remove the argument, so that K3s sets its default; then restart K3s")
def secure_default_replaced(situation: Situation) -> Iterator[Problem]:
    """The operator's configuration accepts requests without credentials, which K3s rejects by default.

    `anonymous-auth=true` opens nothing by itself: such requests have the rights that RBAC, or the API server for the
    kubelet, gives to anonymous users, and load balancers use it for health checks. A waiver of
    apiserver-anonymous-auth or of kubelet-anonymous-auth accepts the value.
    """
    return _replaced(situation, opens=False)


def _replaced(situation: Situation, *, opens: bool) -> Iterator[Problem]:
    config, files = situation.facts.operator_config, situation.k3s_files.kubelet
    for row in (row for row in SECURE_DEFAULTS if row.opens == opens):
        if not config.argument(row.component, row.name) and (
            row.component is not Component.KUBELET or files.are_default
        ):
            continue
        from agent.harden.node.facts import not_run  # few hosts set such an argument

        of_version = (item for item in defaults_of(row.component) if item.in_version(situation.facts.version))
        default = next((item for item in of_version if item.name == row.name and row.meets.accepts(item.value)), None)
        argument = situation.arguments(row.component).get(row.name)
        given = argument.given if argument else ()
        weak = next((value for value in given if value.by in _OPERATORS and not row.meets.accepts(value.value)), None)
        is_waived = situation.waivers.covering(row.control) is not None
        if weak is None or default is None or is_waived or not_run(row.component, situation.facts):
            continue
        expected, written = f"{row.name}={default.value}, K3s' default", weak.written or f"{row.name}={weak.value}"
        # Without its field, the field above can become null, which also removes K3s' own value.
        better = default.value if "." in weak.field else ""
        edit = changed(situation, row.component, row.name, weak, better)
        edits = with_empty_lists(situation, row.component.config_key, (edit,))
        message = f"the {row.component} {row.effect}"
        yield misconfigured(message, edits, weak.at, written.removeprefix("--"), expected)


_OPERATORS = (GivenBy.OPERATOR, GivenBy.KUBELET_FILE)
