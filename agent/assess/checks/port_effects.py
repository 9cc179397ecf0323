"""Anonymous access and TLS at the ports of K3s' components, compared with what is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Union

from agent.assess.checks.effect import Effect, Force
from agent.base.repair import Run
from agent.base.value import Value
from agent.harden.node.facts import will_run_etcd
from agent.k3s.pem import validity
from agent.k3s.ports import required_ports
from agent.k3s.roles_and_versions import Component, Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.assess.checks.assessed_node import AssessedNode

CLOSED = "closed"
LOOPBACK = "127.0.0.1"
SUITES = {
    "TLS_RSA_WITH_RC4_128_SHA": 0x0005,
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA": 0x000A,
    "TLS_RSA_WITH_AES_128_CBC_SHA": 0x002F,
    "TLS_RSA_WITH_AES_256_CBC_SHA": 0x0035,
    "TLS_RSA_WITH_AES_128_CBC_SHA256": 0x003C,
    "TLS_RSA_WITH_AES_128_GCM_SHA256": 0x009C,
    "TLS_RSA_WITH_AES_256_GCM_SHA384": 0x009D,
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA": 0xC007,
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": 0xC009,
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": 0xC00A,
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA": 0xC011,
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA": 0xC012,
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": 0xC013,
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": 0xC014,
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": 0xC023,
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": 0xC027,
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": 0xC02B,
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": 0xC02C,
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": 0xC02F,
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": 0xC030,
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": 0xCCA8,
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": 0xCCA9,
}
"""Those of Go up to TLS 1.2 (crypto/tls, cipher_suites.go); those of TLS 1.3 cannot be configured."""
_WEAK_SIGNATURES = {
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05": "SHA-1",
    b"\x2a\x86\x48\xce\x3d\x04\x01": "SHA-1",
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04": "MD5",
}
"""Object identifiers of algorithms that sign certificates."""


class _Kind(NamedTuple):
    """What listens on a port."""

    path: str
    """Not public: an anonymous client must not get an answer of its content."""
    component: Component | None
    controls: tuple[str, ...] = ()
    """About anonymous access, or about the address."""
    tls_controls: tuple[str, ...] = ()
    refusals: tuple[int, ...] = (0, 401)
    """Statuses of a refused request. 403 means that an anonymous user is known, and has no right."""


_API = _Kind("/api", Component.API_SERVER, ("apiserver-anonymous-auth",), ("apiserver-cipher-suites",))
_KINDS = {
    "K3s' server": _API,
    "the API server": _API,
    "the kubelet": _Kind("/pods", Component.KUBELET, ("kubelet-anonymous-auth",), ("tls-cipher-suites",)),
    "the controller manager": _Kind(
        "/metrics", Component.CONTROLLER_MANAGER, ("controller-manager-bind-address",), (), (0, 401, 403)
    ),
    "the scheduler": _Kind("/metrics", Component.SCHEDULER, ("scheduler-bind-address",), (), (0, 401, 403)),
    "the embedded etcd, for clients": _Kind("/version", None, ("etcd-client-cert-auth",)),
}
"""By user of the port, as in ports.required_ports."""
_SUPERVISOR = _Kind("/v1-k3s/config", Component.API_SERVER, (), (), (0, 401, 403))
_READ_ONLY = _Kind("/pods", None, ("kubelet-read-only-port",))


class Endpoint(Value):
    """A port to try, and what is expected of it."""

    name: str
    port: int
    kind: _Kind
    on_loopback: bool = False
    """Whether it must be closed at the address of the node."""
    must_be_closed: bool = False
    is_tls: bool = True
    forbidden: tuple[str, ...] = ()
    """Names of cipher suites that the configured list does not have; empty without a list."""


class Tried(Value):
    """What a port answered at one address; an error is a text. Numbers are those of RFC 9110 and RFC 5246."""

    address: str
    status: int | str
    """0 without a status."""
    certificate: bytes = b""
    old_version: _Answer = CLOSED
    """To a client of TLS 1.1."""
    suite: _Answer = CLOSED
    """To a client that offers only forbidden suites."""


_Answer = Union[tuple[bool, int], str]
"""Whether the server sent a ServerHello, and the number of its suite or alert; or why there is no answer."""


def endpoints(node: AssessedNode) -> Iterator[Endpoint]:
    """Yield the ports of the components that K3s runs here."""
    facts = node.facts
    has_etcd = facts.role is Role.SERVER and will_run_etcd(facts)
    for port in required_ports(facts.role, facts.merged_config, has_etcd=has_etcd):
        kind = _KINDS.get(port.user)
        if kind is not None:
            configured = node.arguments(kind.component).get("tls-cipher-suites") if kind.component else None
            allowed = configured.value.split(",") if configured and configured.value else []
            # Two names of Kubernetes lack the end (component-base, cli/flag/ciphersuites_flag.go).
            forbidden = tuple(
                name for name in SUITES if allowed and {name, name.replace("1305_SHA256", "1305")}.isdisjoint(allowed)
            )
            yield Endpoint(port.user, port.number, kind, on_loopback=port.on_loopback, forbidden=forbidden)
            if port.user == "K3s' server":
                yield Endpoint("K3s' supervisor", port.number, _SUPERVISOR)
    if has_etcd:
        yield Endpoint("the embedded etcd, for HTTP", 2382, _KINDS["the embedded etcd, for clients"], on_loopback=True)
    if not facts.merged_config.boolean("disable-agent"):
        yield Endpoint("the kubelet, read-only", 10255, _READ_ONLY, must_be_closed=True, is_tls=False)


def port_effects(node: AssessedNode, endpoint: Endpoint, tried: Sequence[Tried], now: str) -> Iterator[Effect]:
    """Yield what a port shows about anonymous access, and about TLS. `now` is YYYY-MM-DD hh:mm:ss UTC."""
    where = f"{endpoint.name}, port {endpoint.port}"
    yield _access(node, endpoint, tried, where)
    answered = [one for one in tried if isinstance(one.status, int)]
    if endpoint.is_tls and answered and endpoint.kind is not _SUPERVISOR:
        yield _tls(node, endpoint, answered, where, now)


def _access(node: AssessedNode, endpoint: Endpoint, tried: Sequence[Tried], where: str) -> Effect:
    kind, bad, unknown = endpoint.kind, [], []
    for one in tried:
        if isinstance(one.status, str):
            is_expected = one.status == CLOSED and (endpoint.must_be_closed or one.address != LOOPBACK)
            unknown += [] if is_expected else [f"{one.address}: {one.status}"]
        elif endpoint.must_be_closed or one.status not in kind.refusals:
            bad.append(f"{one.address}:{endpoint.port}{kind.path} answered {one.status} without a credential")
        elif endpoint.on_loopback and one.address != LOOPBACK:
            bad.append(f"it is reachable at {one.address}")
    shown = ", ".join(f"{one.status or 'refused'} at {one.address}" for one in tried)
    force = Force.NO if bad else Force.UNKNOWN if unknown else Force.YES
    scheme = "https" if endpoint.is_tls else "http"
    return Effect(
        subject=f"No anonymous access to {where}",
        configured=_configured(node, kind.component, "anonymous-auth"),
        force=force,
        observed="; ".join(bad or unknown) or shown,
        command=f"curl -ksS -o /dev/null -w '%{{http_code}}\\n' {scheme}://{LOOPBACK}:{endpoint.port}{kind.path}",
        controls=kind.controls,
        steps=(Run(f"sudo systemctl restart {node.facts.service}"),),
    )


def _tls(node: AssessedNode, endpoint: Endpoint, tried: Sequence[Tried], where: str, now: str) -> Effect:
    names = {number: name for name, number in SUITES.items()}
    bad, unknown, good = [], [], []
    for one in tried:
        tests = [
            ("TLS 1.1", one.old_version),
            *((("a suite outside of the list", one.suite),) * bool(endpoint.forbidden)),
        ]
        for what, answer in tests:
            if isinstance(answer, str):
                unknown.append(f"{what} at {one.address}: {answer}")
            elif answer[0]:
                bad.append(f"{what} is accepted at {one.address} ({names.get(answer[1], hex(answer[1]))})")
            else:
                good.append(f"{what} is refused at {one.address}")
        until = validity(one.certificate)[1]
        if until:
            (bad if until <= now else good).append(f"its certificate is valid until {until}")
        weak = {name for signature, name in _WEAK_SIGNATURES.items() if signature in one.certificate}
        bad += [f"its certificate is signed with {name}" for name in sorted(weak)]
    return Effect(
        subject=f"TLS of {where}",
        configured=_configured(node, endpoint.kind.component, "tls-cipher-suites"),
        force=Force.NO if bad else Force.UNKNOWN if unknown else Force.YES,
        observed=", ".join(dict.fromkeys(bad or unknown or good)),
        command=f"openssl s_client -connect {LOOPBACK}:{endpoint.port} -tls1_1 </dev/null",
        controls=endpoint.kind.tls_controls,
        steps=(Run(f"sudo systemctl restart {node.facts.service}"),),
    )


def _configured(node: AssessedNode, component: Component | None, name: str) -> str:
    found = node.arguments(component).get(name) if component else None
    return f"--{name}={found.value}" if found else "default"
