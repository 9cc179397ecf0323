"""Ports of a running node: whether they refuse an anonymous client, and which TLS they accept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Union

from agent.assess.checks.answer import WORST_FIRST, ControlStatus, Effect
from agent.assess.checks.assessed_node import AssessedNode
from agent.base.repair import Run
from agent.harden.node.facts import not_run, will_run_etcd
from agent.k3s.pem import validity
from agent.k3s.ports import required_ports
from agent.k3s.roles_and_versions import Component, Role

PASS, FAIL, UNKNOWN = ControlStatus.PASS, ControlStatus.FAIL, ControlStatus.UNKNOWN
CLOSED, LOOPBACK = "the connection was refused", "127.0.0.1"
_SUITES = {
    "RSA": "RC4_128_SHA=5 3DES_EDE_CBC_SHA=A AES_128_CBC_SHA=2F AES_256_CBC_SHA=35 AES_128_CBC_SHA256=3C"
    " AES_128_GCM_SHA256=9C AES_256_GCM_SHA384=9D",
    "ECDHE_ECDSA": "RC4_128_SHA=C007 AES_128_CBC_SHA=C009 AES_256_CBC_SHA=C00A AES_128_CBC_SHA256=C023"
    " AES_128_GCM_SHA256=C02B AES_256_GCM_SHA384=C02C CHACHA20_POLY1305_SHA256=CCA9",
    "ECDHE_RSA": "RC4_128_SHA=C011 3DES_EDE_CBC_SHA=C012 AES_128_CBC_SHA=C013 AES_256_CBC_SHA=C014"
    " AES_128_CBC_SHA256=C027 AES_128_GCM_SHA256=C02F AES_256_GCM_SHA384=C030 CHACHA20_POLY1305_SHA256=CCA8",
}
SUITES = {
    f"TLS_{exchange}_WITH_{suite.partition('=')[0]}": int(suite.partition("=")[2], 16)
    for exchange, suites in _SUITES.items()
    for suite in suites.split()
}
"""Those of Go up to TLS 1.2 (crypto/tls, cipher_suites.go); those of TLS 1.3 cannot be configured."""
_SHA1 = (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", b"\x2a\x86\x48\xce\x3d\x04\x01")
"""Object identifiers of the algorithms that sign certificates with RSA or ECDSA."""


class Kind(NamedTuple):
    """What listens on a port."""

    path: str
    """Not public: an anonymous client must not get an answer of its content."""
    component: Component | None
    refusals: tuple[int, ...]
    """Statuses of a refused request; none if the port must be closed, which is then without TLS.

    0 is a demand for a certificate. 403 shows an anonymous user without a right.
    """
    controls: tuple[str, ...] = ()
    """About anonymous access, or about the address."""
    tls_controls: tuple[str, ...] = ()


_API = Kind("/api", Component.API_SERVER, (0, 401), ("apiserver-anonymous-auth",), ("apiserver-cipher-suites",))
_ETCD = Kind("/version", None, (0, 401), ("etcd-client-cert-auth",))
_SERVER_ERROR = 500
_ALLOWS_403 = (0, 401, 403)
_KINDS = {
    "K3s' server": _API,
    "the API server": _API,
    "the kubelet": Kind("/pods", Component.KUBELET, (0, 401), ("kubelet-anonymous-auth",), ("tls-cipher-suites",)),
    "the controller manager": Kind(
        "/metrics", Component.CONTROLLER_MANAGER, _ALLOWS_403, ("controller-manager-bind-address",)
    ),
    "the scheduler": Kind("/metrics", Component.SCHEDULER, _ALLOWS_403, ("scheduler-bind-address",)),
    "the embedded etcd, for clients": _ETCD,
}
"""By user of the port, as in ports.required_ports."""
_SUPERVISOR = Kind("/v1-k3s/config", Component.API_SERVER, _ALLOWS_403)
_READ_ONLY = Kind("/pods", None, (), ("kubelet-read-only-port",))


class Endpoint(NamedTuple):
    """A port to try, and what is expected of it."""

    name: str
    port: int
    kind: Kind
    on_loopback: bool = False
    """Whether it must be closed at the address of the node."""
    forbidden: tuple[str, ...] = ()
    """Names of cipher suites that the configured list does not have; empty without a list."""


_Answer = Union[tuple[bool, int], str]
"""Whether the server sent a ServerHello, and the number of its suite or alert; or why there is no answer."""


class Tried(NamedTuple):
    """What a port answered at one address; an error is a text."""

    address: str
    access: tuple[int, bytes] | str
    """The status, 0 without one, and the certificate."""
    old_version: _Answer = CLOSED
    """To a client of TLS 1.1."""
    suite: _Answer = CLOSED
    """To a client that offers only forbidden suites."""


def endpoints(node: AssessedNode) -> Iterator[Endpoint]:
    """Yield the ports of the components that K3s runs here."""
    facts = node.facts
    has_etcd = facts.role is Role.SERVER and will_run_etcd(facts)
    for port in required_ports(facts.role, facts.merged_config, has_etcd=has_etcd):
        kind = _KINDS.get(port.user)
        if kind is not None and not (kind.component and not_run(kind.component, facts)):
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
        yield Endpoint("the embedded etcd, for HTTP", 2382, _ETCD, on_loopback=True)
    if not facts.merged_config.boolean("disable-agent"):
        yield Endpoint("the kubelet, read-only", 10255, _READ_ONLY)


def port_effects(node: AssessedNode, endpoint: Endpoint, tried: Sequence[Tried], now: str) -> Iterator[Effect]:
    """Yield what a port shows about anonymous access, and about TLS. `now` is YYYY-MM-DD hh:mm:ss UTC."""
    kind, where = endpoint.kind, f"{endpoint.name}, port {endpoint.port}"
    curl = "curl -ksS -o /dev/null -w '%{http_code}\\n'"
    url = f"{'https' if kind.refusals else 'http'}://{LOOPBACK}:{endpoint.port}{kind.path}"
    access = [*_access(endpoint, tried)]
    rows = [(f"No anonymous access to {where}", "anonymous-auth", access, f"{curl} {url}", kind.controls)]
    if kind.refusals and kind is not _SUPERVISOR and any(not isinstance(one.access, str) for one in tried):
        command = (
            f"openssl s_client -connect {LOOPBACK}:{endpoint.port} -tls1_1 </dev/null 2>&1 | grep -iE 'alert|protocol'"
        )
        rows += [(f"TLS of {where}", "tls-cipher-suites", [*_tls(endpoint, tried, now)], command, kind.tls_controls)]
    for subject, name, found, command, controls in rows:
        configured = node.arguments(kind.component).get(name) if kind.component else None
        status = min((own for own, _ in found), key=WORST_FIRST.index, default=UNKNOWN)
        yield Effect(
            subject=subject,
            configured=f"--{name}={configured.value}" if configured else "default",
            status=status,
            observed=", ".join(dict.fromkeys(text for own, text in found if own is status)),
            command=command,
            controls=controls,
            steps=(Run(f"sudo systemctl restart {node.facts.service}"),),
        )


def _access(endpoint: Endpoint, tried: Sequence[Tried]) -> Iterator[tuple[ControlStatus, str]]:
    kind = endpoint.kind
    for one in tried:
        is_far = one.address != LOOPBACK
        if isinstance(one.access, str):
            is_expected = one.access == CLOSED and (is_far or not kind.refusals or kind is _ETCD)
            yield PASS if is_expected else UNKNOWN, f"{one.address}: {one.access}"
        elif one.access[0] >= _SERVER_ERROR:
            yield UNKNOWN, f"{one.address}: {one.access[0]}"
        elif one.access[0] not in kind.refusals:
            yield FAIL, f"{one.address}:{endpoint.port}{kind.path} answered {one.access[0]} without a credential"
        elif endpoint.on_loopback and is_far:
            yield FAIL, f"it is reachable at {one.address}"
        else:
            yield PASS, f"{one.access[0] or 'refused'} at {one.address}"


def _tls(endpoint: Endpoint, tried: Sequence[Tried], now: str) -> Iterator[tuple[ControlStatus, str]]:
    names = {number: name for name, number in SUITES.items()}
    for one in tried:
        if isinstance(one.access, str):
            continue
        tests = {"TLS 1.1": one.old_version, "a suite outside of the list": one.suite}
        for what, answer in [*tests.items()][: 2 if endpoint.forbidden else 1]:
            if isinstance(answer, str):
                yield UNKNOWN, f"{what} at {one.address}: {answer}"
            elif answer[0]:
                yield FAIL, f"{what} is accepted at {one.address} ({names.get(answer[1], hex(answer[1]))})"
            else:
                yield PASS, f"{what} is refused at {one.address}"
        until = validity(one.access[1])[1]
        if until:
            yield FAIL if until <= now else PASS, f"its certificate is valid until {until}"
        if any(name in one.access[1] for name in _SHA1):
            yield FAIL, "its certificate is signed with SHA-1"
