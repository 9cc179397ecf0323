"""Configuration files of kube-proxy: each problem with a similar valid file."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.base.model import Component
from agent.k3s.components.files.file_rules import FileContext
from agent.k3s.components.files.named_files import rejected_content

PATH = PurePosixPath("/etc/own.yaml")
FILE = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
CONNECTION = "clientConnection: {kubeconfig: /etc/own.kubeconfig"


def is_rejected(text: str, minor: int = 37, master: str = "") -> bool:
    context = FileContext(minor=minor, arguments={"master": master})
    return bool(list(rejected_content(Component.KUBE_PROXY, "config", text.encode(), PATH, context)))


def stops(text: str, minor: int = 37) -> bool:
    connection = "" if text.startswith("clientConnection") else f"{CONNECTION}}}\n"
    return is_rejected(f"{FILE}{connection}{text}\n", minor)


@pytest.mark.parametrize(
    ("stopping", "near"),
    [
        ("mode: IPTables", "mode: iptables"),
        ("mode: [iptables]", "mode: ''"),
        ("bindAddress: localhost", "bindAddress: '::'"),
        ("metricsBindAddress: foo", "metricsBindAddress: 0.0.0.0"),
        (f"metricsBindAddress: '0.0.0.0:{'9' * 5000}'", "metricsBindAddress: ''"),
        ("metricsBindAddress: 0.0.0.0:99999", "metricsBindAddress: 0.0.0.0:10249"),
        ("healthzBindAddress: foo", "healthzBindAddress: '[::1]:10256'"),
        ("clusterCIDR: 10.42.0.0", "clusterCIDR: 10.42.0.0/16"),
        ("clusterCIDR: '10.42.0.0/16,10.43.0.0/16'", "clusterCIDR: '10.42.0.0/16,fd00::/56'"),
        ("iptables: {syncPeriod: -5s}", "iptables: {syncPeriod: 0s}"),
        ("iptables: {syncPeriod: 10s, minSyncPeriod: 20s}", "iptables: {syncPeriod: 20s, minSyncPeriod: 10s}"),
        ("iptables: {syncPeriod: 30}", "iptables: {syncPeriod: 30s, foo: bar}"),
        ("iptables: {masqueradeBit: 32}", "nftables: {masqueradeBit: 32}"),
        ("mode: nftables\nnftables: {masqueradeBit: 32}", "mode: nftables\nnftables: {masqueradeBit: 31}"),
        ("mode: ipvs\nipvs: {excludeCIDRs: [foo]}", "ipvs: {excludeCIDRs: [foo], tcpTimeout: -1s}"),
        ("mode: ipvs\nipvs: {tcpTimeout: -1s}", "mode: ipvs\nipvs: {tcpTimeout: 1s}"),
        ("mode: ipvs\nipvs: {excludeCIDRs: [null]}", "mode: ipvs\nipvs: {excludeCIDRs: null}"),
        ("nodePortAddresses: ['null']", "nodePortAddresses: null"),
        ("conntrack: {maxPerCore: -1}", "conntrack: {maxPerCore: 0}"),
        ("conntrack: {udpTimeout: -1s}", "conntrack: {udpTimeout: 0s}"),
        ("conntrack: {tcpCloseWaitTimeout: 3600}", "conntrack: {tcpCloseWaitTimeout: 1h}"),
        ("clientConnection: {burst: 0}", f"{CONNECTION}, burst: 0}}"),
        (f"{CONNECTION}, burst: -1}}", f"{CONNECTION}}}"),
        (f"{CONNECTION}, qps: '5'}}", f"{CONNECTION}, qps: 5.5}}"),
        ("logging: {verbosity: -1}", "logging: {verbosity: 4}"),
        ("configSyncPeriod: -1m", "configSyncPeriod: 0s"),
        ("detectLocalMode: Foo", "detectLocalMode: NodeCIDR"),
        ("detectLocalMode: BridgeInterface", "detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}"),
        ("featureGates: {Foo: true}", "featureGates: {WatchListClient: false}"),
        ("featureGates: {WatchListClient: 'true'}", "featureGates: {}"),
        ("logging: {format: xml}", "logging: {format: json, foo: bar}"),
        ("nodePortAddresses: [10.0.0.1]", "nodePortAddresses: [10.0.0.0/8, primary]"),
        ("oomScoreAdj: 2000", "oomScoreAdj: -999\noomScoreAdj: -998"),
        ("enableProfiling: 'true'", "enableProfilings: 'true'"),
    ],
)
def test_a_file_that_stops_kube_proxy_is_predicted_and_a_similar_one_is_not(stopping: str, near: str) -> None:
    """kube-proxy ignores unknown and repeated fields, and those of other modes. Each was tried with 1.37.2."""
    assert stops(stopping)
    assert not stops(near)


def test_feature_gates_are_checked_if_the_version_is_described() -> None:
    assert not stops("featureGates: {Foo: true}", 0)


def test_a_file_with_an_address_as_argument_needs_no_kubeconfig() -> None:
    """With a file, kube-proxy ignores its argument kubeconfig, and not master."""
    assert is_rejected(FILE)
    assert not is_rejected(FILE, master="https://a")


def test_a_file_of_another_kind_stops_kube_proxy() -> None:
    for text in ("", FILE.replace("v1alpha1", "v1"), FILE.replace("KubeProxyC", "KubeletC")):
        assert is_rejected(text)
