"""Values and combinations of arguments that the controller manager and the scheduler reject. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.k3s.components import values
from agent.k3s.components.common import as_bool, as_number, gate_is_on
from agent.k3s.components.controllers import runs
from agent.k3s.components.pairs import SIGNING, SIGNING_ALL
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
    yield from _signing(a)
    yield from _controllers(a)


def _signing(a: Arguments) -> Iterator[Problem]:
    """Yield the certificates and keys of the signers without the other one. K3s passes one of each for each signer."""
    source = "cmd/kube-controller-manager/app/options/csrsigningcontroller.go"
    has_none = all(name in a.by_name and not a.value(name) for pair in SIGNING for name in pair)
    for name in SIGNING_ALL:
        if a.value(name) and not has_none:
            message = f"rejects {name} beside K3s' own arguments for each signer"
            expected = "cluster-signing-SIGNER-cert-file and cluster-signing-SIGNER-key-file"
            yield a.problem(name, message, expected, source)
    for pair in SIGNING:
        for name, other in (pair, pair[::-1]):
            if name in a.by_name and not a.value(name) and (other not in a.by_name or a.value(other)):
                yield a.problem(name, f"rejects an empty {name} beside {other}", "both or neither", source)


def _controllers(a: Arguments) -> Iterator[Problem]:
    """Yield the values at which a controller fails, if it runs."""
    controllers = a.words("controllers")
    name = "enable-garbage-collector"
    if not as_bool(a, name, default=True) and _migrates_versions(a, controllers):
        message = f"rejects {name}=false while the controller storage-version-migrator-controller runs"
        expected = f"{name}=true, or controllers=*,tokencleaner,-storage-version-migrator-controller"
        yield a.problem(name, message, expected, "cmd/kube-controller-manager/app/storageversionmigrator.go")
    name = "legacy-service-account-token-clean-up-period"
    cleaner = ("legacy-serviceaccount-token-cleaner-controller", "legacy-service-account-token-cleaner")
    if as_number(a, name, 1) <= 0 and runs(controllers, *cleaner):
        source = "pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go"
        yield a.problem(name, f"rejects {name}={a.by_name[name].text}", "more than 0", source)
    name = "enable-leader-migration"
    elects = as_bool(a, "leader-elect", default="leader-elect" in a.own)
    if a.minor >= _ONE_INFORMER_NAME and elects and as_bool(a, name, default=False):
        message = f"rejects {name} with leader-elect: it registers the name of its informers twice"
        yield a.problem(name, message, f"{name}=false", "client-go/tools/cache/identity.go")


_ONE_INFORMER_NAME = 37
"""The first minor that was seen to exit with leader migration."""


def _migrates_versions(a: Arguments, controllers: tuple[str, ...]) -> bool:
    migrates = all(gate_is_on(a, gate) for gate in ("InformerResourceVersion", "StorageVersionMigrator"))
    return migrates and runs(controllers, "storage-version-migrator-controller", "svm")


def _node_ranges(a: Arguments) -> Iterator[Problem]:
    """Yield the problems of the ranges of nodes. K3s passes allocate-node-cidrs and cluster-cidr."""
    ranges = str(a.value("cluster-cidr")).strip().split(",") if "cluster-cidr" in a.by_name else []
    sizes = [values.cidr(one) for one in ranges]
    versions = [size[0] for size in sizes if size]
    if None in sizes or len(set(versions)) != len(versions):
        yield a.problem("cluster-cidr", "rejects the ranges in cluster-cidr", "a CIDR of each IP version", _IPAM)
        return
    known = [size for size in sizes if size]
    if not known and "cluster-cidr" in a.own:
        known = [_DEFAULT_RANGE]
    given = [name for name in (_MASK, *_MASK_BY_BITS.values()) if as_number(a, name, 0)]
    yield from _excluded_masks(a, given, known)
    for bits, prefix in known:
        name = _MASK if len(known) == 1 and _MASK in given else _MASK_BY_BITS[bits]
        mask = as_number(a, name, 0) or _DEFAULT_MASKS[bits]
        if mask < prefix or (bits == _IPV6 and mask - prefix > _MOST_BITS_OF_IPV6_SUBNETS):
            expected = f"{prefix} or more" if bits != _IPV6 else f"{prefix} to {prefix + _MOST_BITS_OF_IPV6_SUBNETS}"
            message = f"rejects subnets of {mask:.0f} bits for nodes in a range of {prefix} bits"
            yield a.problem(name if name in given else "cluster-cidr", message, f"{name}: {expected}", _IPAM)


def _excluded_masks(a: Arguments, given: list[str], ranges: list[tuple[int, int]]) -> Iterator[Problem]:
    """Yield the masks that exclude each other, or that are for another IP version."""
    if len(ranges) > 1:
        if _MASK in given:
            yield a.problem(_MASK, f"rejects {_MASK} for two ranges", " and ".join(_MASK_BY_BITS.values()), _IPAM)
    elif _MASK in given:
        for name in given[1:]:
            yield a.problem(name, f"rejects {name} beside {_MASK}", "one of them", _IPAM)
    elif ranges:
        fitting = _MASK_BY_BITS[ranges[0][0]]
        for name in given:
            if name != fitting:
                yield a.problem(name, f"rejects {name} for the only range of the cluster", fitting, _IPAM)


_DEFAULT_RANGE = (32, 16)
"""K3s' default of cluster-cidr, 10.42.0.0/16: bits of the address, and the length of the prefix."""

_IPV6 = 128
_MASK = "node-cidr-mask-size"
_MASK_BY_BITS = {32: "node-cidr-mask-size-ipv4", _IPV6: "node-cidr-mask-size-ipv6"}
_DEFAULT_MASKS = {32: 24, _IPV6: 64}
_MOST_BITS_OF_IPV6_SUBNETS = 16
"""nodeipam/ipam/cidrset: it keeps a bitmap of the subnets."""
