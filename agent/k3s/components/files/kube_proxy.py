"""The configuration file of kube-proxy: the types and values of its fields. Pure.

kube-proxy ignores unknown and repeated fields. It ignores its arguments if it has a file, except the name of the node.
Sources: kubernetes, cmd/kube-proxy/app/options.go, pkg/proxy/apis/config/validation/validation.go and
pkg/proxy/apis/config/v1alpha1/defaults.go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.errors import InputError
from agent.k3s.components import gates, values
from agent.k3s.components.files import decoding, schema
from agent.k3s.components.files.schema import Problem
from agent.k3s.components.words import LOCAL_MODES, PROXY_MODES
from agent.model import Location
from agent.yaml_reader import Mapping, Scalar, alternatives, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

_VERSION = "kubeproxy.config.k8s.io/v1alpha1"
_PERIODS: dict[str, schema.Schema] = {"minSyncPeriod": "duration", "syncPeriod": "duration"}
_MASQUERADE: dict[str, schema.Schema] = {**_PERIODS, "masqueradeAll": "bool", "masqueradeBit": "int32"}
_FIELDS: dict[str, schema.Schema] = {
    **dict.fromkeys(("bindAddressHardFail", "enableProfiling", "windowsRunAsService"), "bool"),
    **dict.fromkeys(("bindAddress", "healthzBindAddress", "hostnameOverride", "metricsBindAddress"), "string"),
    **dict.fromkeys(("clusterCIDR", "detectLocalMode", "mode", "portRange", "showHiddenMetricsForVersion"), "string"),
    "clientConnection": {
        **dict.fromkeys(("acceptContentTypes", "contentType", "kubeconfig"), "string"),
        "burst": "int32",
        "qps": "float",
    },
    "configSyncPeriod": "duration",
    "conntrack": {
        **dict.fromkeys(("tcpCloseWaitTimeout", "tcpEstablishedTimeout", "udpStreamTimeout", "udpTimeout"), "duration"),
        **dict.fromkeys(("maxPerCore", "min"), "int32"),
        "tcpBeLiberal": "bool",
    },
    "detectLocal": {"bridgeInterface": "string", "interfaceNamePrefix": "string"},
    "featureGates": "map[string]bool",
    "iptables": {**_MASQUERADE, "localhostNodePorts": "bool"},
    "ipvs": {
        **_PERIODS,
        **dict.fromkeys(("tcpFinTimeout", "tcpTimeout", "udpTimeout"), "duration"),
        "excludeCIDRs": ["string"],
        "scheduler": "string",
        "strictARP": "bool",
    },
    "logging": {"format": "string", "verbosity": "int64"},
    "nftables": _MASQUERADE,
    "nodePortAddresses": ["string"],
    "oomScoreAdj": "int32",
}
_KEYWORDS = ("primary", "localhost", "all")


def problems(data: bytes, path: PurePosixPath, minor: int, *, has_master: bool = False) -> Iterator[InputError]:
    """Yield what kube-proxy rejects in its configuration.

    The minor is 0 if the tables do not describe it. `has_master` is whether the argument master is set, so that the
    file needs no kubeconfig.
    """
    root = decoding.read(data, path, "KubeProxyConfiguration", (_VERSION,))
    if isinstance(root, InputError):
        yield root
        return
    wrong = list(schema.problems(root, _FIELDS, is_strict=False))
    yield from decoding.located(iter(wrong), path)
    if not wrong:
        for rule in (
            _connection(root, has_master=has_master),
            _numbers(root),
            _metrics(root, minor),
            _addresses(root),
            _mode(root),
            _local(root),
        ):
            yield from decoding.located(rule, path)
        yield from _gates(root, path, minor)


def _connection(root: Mapping, *, has_master: bool) -> Iterator[Problem]:
    connection = decoding.part(root, "clientConnection")
    if not has_master and not connection.text("kubeconfig"):
        yield Problem(connection.line, "`clientConnection.kubeconfig` must be set: K3s' argument has no effect")
    yield from schema.outside(connection, "burst", 0)


def _numbers(root: Mapping) -> Iterator[Problem]:
    yield from schema.outside(root, "oomScoreAdj", -1000, 1000)
    conntrack = decoding.part(root, "conntrack")
    for key in ("maxPerCore", "min"):
        yield from schema.outside(conntrack, key, 0)
    for key in ("tcpCloseWaitTimeout", "tcpEstablishedTimeout", "udpStreamTimeout", "udpTimeout"):
        if (decoding.duration_of(conntrack, key) or 0) < 0:
            yield Problem(conntrack.line, f"`conntrack.{key}` must be at least 0s")
    if (decoding.duration_of(root, "configSyncPeriod") or 0) < 0:
        yield Problem(root.line, "`configSyncPeriod` must be more than 0s")
    logging = decoding.part(root, "logging")
    yield from schema.outside(logging, "verbosity", 0)
    if logging.text("format") not in (None, "", "text", "json"):
        yield Problem(logging.line, "`logging.format` must be text or json")


def _metrics(root: Mapping, minor: int) -> Iterator[Problem]:
    key = "showHiddenMetricsForVersion"
    before = f"1.{minor - 1}"
    if minor and root.text(key) not in (None, "", before):
        yield Problem(root.line_of(key), f"`{key}` must be {before}")


def _addresses(root: Mapping) -> Iterator[Problem]:
    address = root.text("bindAddress")
    if address and not values.is_ip(address):
        yield Problem(root.line_of("bindAddress"), "`bindAddress` must be an IP address")
    for key in ("healthzBindAddress", "metricsBindAddress"):
        address = root.text(key) or ""
        host, _, port = address.rpartition(":")
        is_port = re.fullmatch("[0-9]{1,5}", port, re.ASCII) is not None and 0 < int(port) <= values.LAST_PORT
        has_port = is_port and values.is_ip(host.strip("[]"))
        if address and not values.is_ip(address) and not has_port:
            yield Problem(root.line_of(key), f"`{key}` must be IP:PORT")
    chosen = [one.text for one in decoding.items(root, "nodePortAddresses")]
    for one in chosen:
        if one not in _KEYWORDS and values.cidr(one) is None:
            yield Problem(root.line_of("nodePortAddresses"), f"`nodePortAddresses` contains '{shown(one)}', not a CIDR")


def _mode(root: Mapping) -> Iterator[Problem]:
    mode = root.text("mode") or "iptables"
    if mode not in ("", *PROXY_MODES):
        yield Problem(root.line_of("mode"), f"`mode` must be {alternatives(PROXY_MODES)}")
        return
    yield from schema.outside(decoding.part(root, "iptables"), "masqueradeBit", 0, 31)
    if mode == "nftables":
        yield from schema.outside(decoding.part(root, "nftables"), "masqueradeBit", 0, 31)
    part = decoding.part(root, mode)
    # Zero is the default.
    period = decoding.duration_of(part, "syncPeriod") or 30 * values.SECOND
    least = decoding.duration_of(part, "minSyncPeriod") or (0 if mode == "ipvs" else values.SECOND)
    if period < 0 or not 0 <= least <= period:
        yield Problem(part.line, f"`{mode}.minSyncPeriod` must be at least 0s, and at most `{mode}.syncPeriod`")
    if mode == "ipvs":
        for key in ("tcpFinTimeout", "tcpTimeout", "udpTimeout"):
            if (decoding.duration_of(part, key) or 0) < 0:
                yield Problem(part.line, f"`ipvs.{key}` must be at least 0s")
        for one in decoding.items(part, "excludeCIDRs"):
            if values.cidr(one.text) is None:
                yield Problem(one.line, f"`excludeCIDRs` contains '{shown(one.text)}', which is not a CIDR")


def _local(root: Mapping) -> Iterator[Problem]:
    mode = root.text("detectLocalMode") or ""
    if mode not in ("", *LOCAL_MODES):
        yield Problem(root.line_of("detectLocalMode"), f"`detectLocalMode` must be {alternatives(LOCAL_MODES)}")
    for chosen, key in (("BridgeInterface", "bridgeInterface"), ("InterfaceNamePrefix", "interfaceNamePrefix")):
        if mode == chosen and not decoding.part(root, "detectLocal").text(key):
            yield Problem(root.line_of("detectLocalMode"), f"`detectLocal.{key}` must be set for {chosen}")
    ranges = (root.text("clusterCIDR") or "").split(",") if root.text("clusterCIDR") else []
    sizes = [values.cidr(one) for one in ranges]
    if mode in ("", "ClusterCIDR") and (None in sizes or len({size[0] for size in sizes if size}) != len(ranges)):
        yield Problem(root.line_of("clusterCIDR"), "`clusterCIDR` must contain a CIDR of each IP version")


def _gates(root: Mapping, path: PurePosixPath, minor: int) -> Iterator[InputError]:
    found = [
        gates.GateSetting(entry.key, entry.node.text.lower(), Location(path, entry.line), entry.key)
        for entry in decoding.part(root, "featureGates").entries
        if isinstance(entry.node, Scalar) and entry.node.value is not None
    ]
    for problem in gates.rejected_gates(found, minor) if minor else ():
        yield InputError(problem.setting.location, problem.message)
