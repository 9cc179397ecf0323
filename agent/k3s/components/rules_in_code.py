"""Rules about arguments that are no row of rules.tsv, each with its reason. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from agent.k3s.components import tables, values
from agent.k3s.components.effective_arguments import Rejection
from agent.k3s.components.relations import controller_runs
from agent.k3s.components.rules import ParsedArguments
from agent.k3s.components.tables import SIGNALS
from agent.k3s.go_values import FALSE, TRUE, is_label_value, is_qualified_name
from agent.k3s.roles_and_versions import Component

_IrregularRule = Callable[[ParsedArguments], Iterator[Rejection]]

_SIGNER = ("certificatesigningrequest-signing-controller", "csrsigning")
"""The names of the controller that signs certificates."""
_SIGNERS = ("kube-apiserver-client", "kubelet-client", "kubelet-serving", "legacy-unknown")
_SIGNING = tuple([(f"cluster-signing-{name}-cert-file", f"cluster-signing-{name}-key-file") for name in _SIGNERS])
_SERVING = ("tls-cert-file", "tls-private-key-file")
_PASSED: Mapping[Component, tuple[tuple[str, str], ...]] = {
    Component.API_SERVER: (_SERVING, ("proxy-client-cert-file", "proxy-client-key-file")),
    Component.CONTROLLER_MANAGER: (_SERVING, *_SIGNING),
    Component.SCHEDULER: (_SERVING,),
    Component.KUBELET: (_SERVING,),
}
"""Arguments of each component with a certificate and its key, both of which K3s passes or writes to a file."""

_CERTIFICATES_OF_K3S = ("/server/tls/", "/agent/serving-kubelet.")
"""Parts of the paths of the certificates and keys that K3s passes itself."""


def _half_of_a_pair(arguments: ParsedArguments) -> Iterator[Rejection]:
    """Yield a certificate or key without the other one: K3s passes its own, and the contents do not match."""
    for pair in _PASSED[arguments.component]:
        for name, other in (pair, pair[::-1]):
            path = str(arguments.value(name)) if name in arguments.given else ""
            is_own = any(part in path for part in _CERTIFICATES_OF_K3S)
            is_read = pair not in _SIGNING or controller_runs(arguments.words("controllers"), *_SIGNER)
            if path and other not in arguments.given and is_read and not is_own:
                message = f"rejects {name} beside K3s' own {other}, which does not match"
                yield arguments.rejection(name, message, "both or neither", "crypto/tls, X509KeyPair")


def _runtime_config(arguments: ParsedArguments) -> Iterator[Rejection]:
    """Yield the items of runtime-config that name no API of this minor, or switch off what the API server needs."""
    name, source = "runtime-config", "apiserver/pkg/server/resourceconfig/helpers.go"
    found = arguments.pairs(name)
    if found == {"api/all": "false"}:
        yield arguments.rejection(name, "rejects api/all=false alone", "at least one API that is on", source)
        return
    for key, value in found.items():
        expected = _expected_api(key, value, arguments.minor)
        if expected:
            yield arguments.rejection(name, f"rejects {key}={value} in runtime-config", expected, source)
    decisive = next((key for key in ("flowcontrol.apiserver.k8s.io/v1", "api/ga", "api/all") if key in found), "")
    if decisive and found[decisive] == "false" and arguments.value("enable-priority-and-fairness") is True:
        message = f"rejects {decisive}=false while enable-priority-and-fairness is true"
        yield arguments.rejection(name, message, "enable-priority-and-fairness=false", source)


def _expected_api(key: str, value: str, minor: int) -> str:
    """Return what the API server expects instead of an item of runtime-config; empty if it accepts it."""
    if key in ("api/all", "api/ga", "api/beta", "api/alpha"):
        return "" if value in ("true", "false") else f"{key}=true or {key}=false"
    if key in ("v1", "api/v1", "api/legacy") or key.startswith(("v1/", "api/v1/")):
        return ""  # the core group, and a key of old versions
    group, _, rest = key.partition("/")
    version, _, resource = rest.partition("/")
    if not rest or "/" in resource or not tables.has_api(group, version, minor):
        return f"group/version of an API of Kubernetes 1.{minor}, or api/all"
    if resource != resource.lower():
        return "a resource in lower case"
    return "" if value in ("", *TRUE, *FALSE) else f"{key}=true or {key}=false"


_IPAM = "cmd/kube-controller-manager/app/core.go"
_MASK = "node-cidr-mask-size"
_IPV4, _IPV6 = 32, 128
_MASKS = {_IPV4: (f"{_MASK}-ipv4", 24), _IPV6: (f"{_MASK}-ipv6", 64)}
"""By the bits of an address, the argument for the subnets of nodes and its default."""
_MOST_BITS_OF_IPV6_SUBNETS = 16
"""nodeipam/ipam/cidrset: it keeps a bitmap of the subnets."""


def _subnets_of_nodes(arguments: ParsedArguments) -> Iterator[Rejection]:
    """Yield the masks that do not fit into the ranges of the cluster: a row cannot compare a mask with a CIDR."""
    ranges = [values.cidr(text) for text in str(arguments.value("cluster-cidr") or "").split(",")]
    known = [size for size in ranges if size]
    if arguments.value("allocate-node-cidrs") is not True or len(known) < len(ranges):
        return
    for name in (_MASK, *(name for name, _ in _MASKS.values())):
        fits = len(known) == 1 if name == _MASK else any(_MASKS[bits][0] == name for bits, _ in known)
        if name in arguments.given and arguments.value(name) and not fits:
            expected = " and ".join(_MASKS[bits][0] for bits, _ in known)
            yield arguments.rejection(name, f"rejects {name} for these ranges of the cluster", expected, _IPAM)
    for bits, prefix in known:
        name, default = _MASKS[bits]
        if len(known) == 1 and arguments.value(_MASK):
            name = _MASK
        mask = arguments.value(name) or default
        given = name if name in arguments.given else "cluster-cidr"
        most = prefix + _MOST_BITS_OF_IPV6_SUBNETS if bits == _IPV6 else float("inf")
        if isinstance(mask, int) and not prefix <= mask <= most and given in arguments.given:
            message = f"rejects subnets of {mask} bits for nodes in a range of {prefix} bits"
            expected = f"{prefix} to {most}" if bits == _IPV6 else f"{prefix} or more"
            yield arguments.rejection(given, message, f"{name}: {expected}", _IPAM)


def _taints(arguments: ParsedArguments) -> Iterator[Rejection]:
    """Yield the invalid taints: a list can have each key and effect once, and its type is no list of words."""
    name = "register-with-taints"
    for given in arguments.given.get(name, ()):
        seen: set[tuple[str, str]] = set()
        for taint in filter(None, given.value.split(",")):
            spec, _, effect = taint.removesuffix("-").partition(":")
            key, _, value = spec.partition("=")
            is_valid = is_qualified_name(key) and is_label_value(value)
            if not taint.endswith("-") or effect:
                is_valid = is_valid and effect in ("NoSchedule", "PreferNoSchedule", "NoExecute")
            if not is_valid or (key, effect) in seen:
                expected = "key=value:NoSchedule, separated by commas; each key and effect once"
                yield arguments.rejection(name, f"rejects the taint `{taint}`", expected, "pkg/util/taints")
            if not taint.endswith("-"):
                seen.add((key, effect))


_PERIODS = "eviction-soft-grace-period"


def _soft_eviction(arguments: ParsedArguments) -> Iterator[Rejection]:
    """Yield the signals of eviction-soft without a grace period: the keys of one mapping are those of another."""
    for signal, amount in arguments.pairs("eviction-soft").items():
        if signal in SIGNALS and signal not in arguments.pairs(_PERIODS) and amount not in ("0%", "100%"):
            message, period = f"needs {_PERIODS} for {signal}", f"{_PERIODS}={signal}=1m"
            yield arguments.rejection("eviction-soft", message, period, "pkg/kubelet/eviction/helpers.go")


IRREGULAR_RULES: Mapping[Component, tuple[_IrregularRule, ...]] = {
    Component.API_SERVER: (_half_of_a_pair, _runtime_config),
    Component.CONTROLLER_MANAGER: (_half_of_a_pair, _subnets_of_nodes),
    Component.SCHEDULER: (_half_of_a_pair,),
    Component.KUBELET: (_half_of_a_pair, _taints, _soft_eviction),
    Component.KUBE_PROXY: (),
}
