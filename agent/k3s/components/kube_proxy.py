"""Values and combinations of arguments that kube-proxy rejects after it parsed them. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.k3s.components import values
from agent.k3s.components.common import as_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.k3s.components.problem import Arguments, Problem

_PRIMARY_BESIDE_CIDRS = 37
"""The first minor that accepts `primary` beside CIDRs in nodeport-addresses."""
_MORE_KEYWORDS = 35
"""The first minor that may have the keywords localhost and all; 1.34.4 does not."""
_SOURCE = "pkg/proxy/apis/config/validation/validation.go"


def problems(a: Arguments) -> Iterator[Problem]:
    """Yield the rejected values and combinations."""
    addresses = a.words("nodeport-addresses")
    for address in addresses:
        keywords = ("primary",) if a.minor < _MORE_KEYWORDS else ("primary", "localhost", "all")
        if address not in keywords and values.cidr(address) is None:
            message = f"rejects `{address}` in nodeport-addresses"
            yield a.problem("nodeport-addresses", message, "CIDRs, or primary", _SOURCE)
    if a.minor < _PRIMARY_BESIDE_CIDRS and "primary" in addresses and len(addresses) > 1:
        message = "rejects primary beside other items in nodeport-addresses"
        yield a.problem("nodeport-addresses", message, "primary alone, or CIDRs", _SOURCE)
    mode = str(a.value("proxy-mode", "iptables")) or "iptables"
    if mode in ("iptables", "ipvs"):
        yield from _periods(a, mode)
    if mode == "ipvs":
        yield from _ipvs(a)
    for name in ("healthz-bind-address", "metrics-bind-address"):
        address = str(a.value(name))
        port = address.rpartition(":")[2]
        if address and not values.is_ip(address) and not (re.fullmatch("[0-9]+", port) and int(port)):
            yield a.problem(name, f"rejects {name}={address}", "IP:PORT", _SOURCE)
    name = "metrics-port"
    if as_number(a, name, 1) == 0:
        # The metrics then have no address, which only the health check may lack.
        yield a.problem(name, f"rejects {name}=0", "a port, or no such argument", "cmd/kube-proxy/app/options.go")
    yield from _local_traffic(a)


def _local_traffic(a: Arguments) -> Iterator[Problem]:
    """How kube-proxy distinguishes the traffic of the node's pods from other traffic, and the name of the node."""
    local = a.value("detect-local-mode")
    name = "cluster-cidr"
    if name in a.by_name and local in (None, "", "ClusterCIDR"):
        texts = str(a.value(name)).split(",")
        ranges = [values.cidr(text) for text in texts]
        versions = {found[0] for found in ranges if found}
        if not all(ranges) or len(ranges) != len(versions):
            message = f"rejects {name}={a.by_name[name].text}"
            yield a.problem(name, message, "a CIDR of each IP version", _SOURCE)
    if a.value("hostname-override") and not str(a.value("hostname-override")).strip():
        message = "rejects an empty hostname-override"
        yield a.problem("hostname-override", message, "the name of the node", "pkg/util/node/node.go")
    for chosen, name in (
        ("BridgeInterface", "pod-bridge-interface"),
        ("InterfaceNamePrefix", "pod-interface-name-prefix"),
    ):
        if local == chosen and not a.value(name):
            message = f"needs {name} for detect-local-mode={chosen}"
            yield a.problem("detect-local-mode", message, f"{name}=NAME", _SOURCE)


def _periods(a: Arguments, mode: str) -> Iterator[Problem]:
    longest, shortest = f"{mode}-sync-period", f"{mode}-min-sync-period"
    period = as_number(a, longest, 30 * values.SECOND)
    least = as_number(a, shortest, values.SECOND)
    if period <= 0 and longest in a.by_name:
        yield a.problem(longest, f"rejects {longest}={a.by_name[longest].text}", "more than 0", _SOURCE)
    elif least < 0:
        yield a.problem(shortest, f"rejects {shortest}={a.by_name[shortest].text}", "at least 0", _SOURCE)
    elif least > period:
        name = shortest if shortest in a.by_name else longest
        yield a.problem(name, f"rejects {shortest} above {longest}", f"at most {longest}", _SOURCE)


def _ipvs(a: Arguments) -> Iterator[Problem]:
    for name in ("ipvs-tcp-timeout", "ipvs-tcpfin-timeout", "ipvs-udp-timeout"):
        if as_number(a, name, 0) < 0:
            yield a.problem(name, f"rejects {name}={a.by_name[name].text}", "at least 0", _SOURCE)
    for excluded in a.words("ipvs-exclude-cidrs"):
        if values.cidr(excluded) is None:
            yield a.problem("ipvs-exclude-cidrs", f"rejects `{excluded}`", "CIDRs", _SOURCE)
