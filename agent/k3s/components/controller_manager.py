"""Values and combinations of arguments that the controller manager and the scheduler reject. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.k3s.components import values
from agent.k3s.components.common import as_bool, as_number
from agent.k3s.components.words import CONTROLLERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.k3s.components.problem import Arguments, Problem


_IPAM = "cmd/kube-controller-manager/app/core.go"


def problems(a: Arguments) -> Iterator[Problem]:
    """Yield the rejected values and combinations of the controller manager."""
    for name in a.words("controllers"):
        if name != "*" and name.removeprefix("-") not in CONTROLLERS:
            message = f"has no controller `{name.removeprefix('-')}`"
            source = "controller-manager/options/generic.go"
            yield a.problem("controllers", message, "names of controllers, or *", source)
    if len(str(a.value("service-cluster-ip-range")).split(",")) > 2:  # noqa: PLR2004 - IPv4 and IPv6
        name = "service-cluster-ip-range"
        source = "cmd/kube-controller-manager/app/options/nodeipamcontroller.go"
        yield a.problem(name, f"rejects more than two ranges in {name}", "one or two CIDRs", source)
    if as_bool(a, "allocate-node-cidrs", default=True):
        yield from _node_ranges(a)


def _node_ranges(a: Arguments) -> Iterator[Problem]:
    """Yield the problems of the ranges of nodes. K3s passes allocate-node-cidrs and cluster-cidr."""
    ranges = str(a.value("cluster-cidr")).strip().split(",") if "cluster-cidr" in a.by_name else []
    sizes = [values.cidr(one) for one in ranges]
    versions = [size[0] for size in sizes if size]
    if None in sizes or len(set(versions)) != len(versions):
        yield a.problem("cluster-cidr", "rejects the ranges in cluster-cidr", "a CIDR of each IP version", _IPAM)
        return
    yield from _node_masks(a, [size for size in sizes if size])
    both, v4, v6 = "node-cidr-mask-size", "node-cidr-mask-size-ipv4", "node-cidr-mask-size-ipv6"
    if as_number(a, both, 0):
        for name in (v4, v6):
            if as_number(a, name, 0):
                yield a.problem(name, f"rejects {name} beside {both}", "one of them", _IPAM)


_DEFAULT_RANGE = (32, 16)
"""K3s' default of cluster-cidr, 10.42.0.0/16: bits of the address, and the length of the prefix."""


def _node_masks(a: Arguments, ranges: list[tuple[int, int]]) -> Iterator[Problem]:
    """Yield masks of nodes that do not fit into the only range of the cluster (nodeipam, NewController)."""
    if not ranges and "cluster-cidr" in a.own:
        ranges = [_DEFAULT_RANGE]
    if len(ranges) != 1:
        return
    ((bits, prefix),) = ranges
    for name in ("node-cidr-mask-size", "node-cidr-mask-size-ipv4" if bits == _DEFAULT_RANGE[0] else ""):
        mask = as_number(a, name, 0)
        if mask and mask < prefix:
            yield a.problem(name, f"rejects {name}={mask:.0f}", f"at least {prefix}, as cluster-cidr", _IPAM)
