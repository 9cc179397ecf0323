"""Merged arguments of the running components, for all locations and notations that K3s accepts.

The actual values are read from /flagz and /configz of the running components; the expected ones are written by hand.
tests/k8s/k3s.py has its own merge of the configuration files; only K3S=/path/to/k3s tests the merge of K3s. `assess`
must agree with the components in each argument that it tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from tests.k8s.binaries import Binaries, real_k3s
from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("merge")]

CONFIG = """\
# The first of three files.
kube-apiserver-arg:
  - feature-gates=ComponentFlagz=true
  - event-ttl=2h
  - --goaway-chance=0.01
  - audit-log-maxage=7
  - audit-log-maxbackup=3
  - audit_log_maxsize=50
  - profiling=true
  - contention-profiling
  - enable-admission-plugins+=ExtendedResourceToleration
  - api-audiences-=first
  - delete-collection-workers=2
  - delete-collection-workers=3
  - default_unreachable_toleration_seconds=130
kube-controller-manager-arg: terminated-pod-gc-threshold=55
kube-scheduler-arg:
  - profiling=true
  - leader-elect-lease-duration=40s
kubelet-arg:
  - feature-gates=ComponentFlagz=true
  - max-pods=99
  - event-qps=25
  - streaming-connection-idle-timeout=10m
  - anonymous_auth=true
  - container-log-max-size=20Mi
  - pod-max-pids=512
  - system-reserved=cpu=100m
  - system-reserved=memory=100Mi
kube-proxy-arg:
  - feature-gates=ComponentFlagz=true
  - config-sync-period=11m
---
kube-scheduler-arg:
  - profiling=maybe
"""
if real_k3s():
    # Its API server does not accept underscores in names.
    CONFIG = CONFIG.replace("audit_log_maxsize", "audit-log-maxsize").replace(
        "default_unreachable_toleration_seconds", "default-unreachable-toleration-seconds"
    )
LOWER = """\
kube-apiserver-arg+:
  - audit-log-maxage=4_5
  - request-timeout=90s
  - service-account-max-token-expiration=48h
  - authorization-mode=Node
  - authorization-mode=RBAC
  - feature-gates=AllAlpha=false
kube-controller-manager-arg+:
  - feature-gates=ComponentFlagz=true
  - concurrent-gc-syncs=11
  - profiling+=true
kubelet-arg+:
  - serialize-image-pulls=true
  - eviction-hard=nodefs.available<3%,imagefs.available<4%
kube-proxy-arg+:
  - conntrack-tcp-timeout-established=5s
  - metrics-bind-address=127.0.0.1:10249
"""
HIGHER = """\
kube-scheduler-arg:
  - feature-gates=ComponentFlagz=true
  - leader-elect-renew-deadline=9s
"""
IGNORED = "kube-apiserver-arg: [event-ttl=9h]\n"
KUBELET_FILE = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
maxPods: 12
podsPerCore: 44
authentication: {webhook: null}
authorization: null
"""


class Argument(NamedTuple):
    """The value of an argument, as /flagz prints it, and the reason for it."""

    component: str
    name: str
    value: str


API, MANAGER, SCHEDULER, KUBELET, PROXY = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)
PORTS = {API: 6444, MANAGER: 10257, SCHEDULER: 10259, KUBELET: 10250, PROXY: 10249}
ARGUMENTS = tuple(
    Argument(component, name, value)
    for component, values in {
        API: {
            # Each in config.yaml, in one notation or another.
            "event-ttl": "2h0m0s",
            "goaway-chance": "0.01",
            "contention-profiling": "true",
            "default-unreachable-toleration-seconds": "130",
            # Replaces K3s' default.
            "profiling": "true",
            # Given twice: the last value is in effect, also across files and spellings.
            "delete-collection-workers": "3",
            "audit-log-maxage": "45",
            # `apply` adds 100; the launcher passes the spelling with underscores after it.
            "audit-log-maxsize": "100" if real_k3s() else "50",
            # `apply` adds 10 after the 3 of config.yaml.
            "audit-log-maxbackup": "10",
            # Lists are combined.
            "authorization-mode": "[Node,RBAC]",
            # K3s' default, the operator's, and all that `apply` lists in its own argument.
            "enable-admission-plugins": (
                "[NodeRestriction,ExtendedResourceToleration,NodeRestriction,ServiceAccount,ExtendedResourceToleration]"
            ),
            "api-audiences": "[first,https://kubernetes.default.svc.cluster.local,k3s]",
            # In a drop-in only.
            "request-timeout": "1m30s",
            "service-account-max-token-expiration": "48h0m0s",
            # K3s' defaults that no file replaces.
            "anonymous-auth": "false",
            "secure-port": "6444",
            "bind-address": "127.0.0.1",
        },
        MANAGER: {
            "terminated-pod-gc-threshold": "55",
            "concurrent-gc-syncs": "11",
            # K3s' default false is passed first, and the operator's value after it.
            "profiling": "true",
            "use-service-account-credentials": "true",
            "bind-address": "127.0.0.1",
        },
        SCHEDULER: {
            # The last file has a plain key, which replaces the list of config.yaml.
            "profiling": "false",
            "leader-elect-lease-duration": "15s",
            "leader-elect-renew-deadline": "9s",
            "bind-address": "127.0.0.1",
        },
        KUBELET: {
            "max-pods": "99",
            "event-qps": "25",
            "pod-max-pids": "512",
            "read-only-port": "0",
            "hostname-override": "node-1",
        },
        PROXY: {
            "config-sync-period": "11m0s",
            "conntrack-tcp-timeout-established": "5s",
            "metrics-bind-address": "127.0.0.1:10249",
            "proxy-mode": "iptables",
            "cluster-cidr": "10.42.0.0/16",
        },
    }.items()
    for name, value in values.items()
)
KUBELET_FIELDS: Mapping[str, Any] = {
    "maxPods": 99,
    "podsPerCore": 44,
    "eventRecordQPS": 25,
    "streamingConnectionIdleTimeout": "10m0s",
    "containerLogMaxSize": "20Mi",
    "podPidsLimit": 512,
    "systemReserved": {"cpu": "100m", "memory": "100Mi"},
    "serializeImagePulls": True,
    "evictionHard": {"nodefs.available": "3%", "imagefs.available": "4%"},
    "protectKernelDefaults": True,
}
"""Fields in /configz of the kubelet, from arguments, from a file of kubelet.conf.d and from K3s' options."""


@pytest.fixture(scope="module")
def node(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A server whose operator has three files; `apply` has added its own, last."""
    with Node(tmp_path_factory.mktemp("merge"), binaries) as node:
        node.config(
            {"config.yaml": CONFIG, "10-lower.yaml": LOWER, "20-higher.YML": HIGHER, "30-ignored.yaml.bak": IGNORED}
        )
        node.write("/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/50-site.conf", KUBELET_FILE, mode=0o600)
        node.harden("apply")
        node.start_server()
        node.wait_until_ready()
        yield node


@pytest.fixture(scope="module")
def flags(node: Node) -> Mapping[str, Mapping[str, str]]:
    answers: dict[str, str] = {}

    def all_answered() -> bool:
        for component, port in PORTS.items():
            answer = node.client.get(port, "/flagz", tls=component != PROXY, headers={"Accept": "text/plain"})
            if answer.status == 200:
                answers[component] = answer.text
        return len(answers) == len(PORTS)

    node.until(f"{', '.join(PORTS)} answer at /flagz", all_answered)
    # The separator is one of four at random, to prevent parsing; JSON exists only since v1.35.
    found = {}
    for component, text in answers.items():
        found[component] = dict(re.findall(r"^([a-z0-9-]+)(?:: |:|=| )(.*)$", text, re.MULTILINE))
    return found


@pytest.mark.parametrize("argument", ARGUMENTS, ids=lambda argument: f"{argument.component}-{argument.name}")
def test_argument_in_effect(flags: Mapping[str, Mapping[str, str]], argument: Argument) -> None:
    """The running component has the expected value."""
    assert flags[argument.component][argument.name] == argument.value


@pytest.mark.parametrize("field", KUBELET_FIELDS)
def test_field_of_the_kubelet(node: Node, field: str) -> None:
    """The kubelet merges its files and arguments; arguments override files."""
    answer = node.client.get(PORTS[KUBELET], "/configz")
    assert answer.json["kubeletconfig"][field] == KUBELET_FIELDS[field]


def test_null_restores_the_defaults_of_the_kubelets_files(node: Node) -> None:
    """Those of its arguments are no webhook and AlwaysAllow."""
    found = node.client.get(PORTS[KUBELET], "/configz").json["kubeletconfig"]
    assert (found["authentication"]["webhook"]["enabled"], found["authorization"]["mode"]) == (True, "Webhook")


def test_underscores_open_the_kubelet(node: Node) -> None:
    """anonymous_auth=true takes effect although K3s sets anonymous-auth to false: 403 instead of 401."""
    assert node.client.get(PORTS[KUBELET], "/pods", certificate=None).status == 403


SECTIONS = {"1.2": API, "1.3": MANAGER, "1.4": SCHEDULER, "4.2": KUBELET}


def test_assess_agrees_with_the_components(node: Node, flags: Mapping[str, Mapping[str, str]]) -> None:
    """Every value that `assess` has found for an argument is the one that the component has."""
    assessment = json.loads(node.harden("assess", "--format", "json").stdout)
    differ, compared = [], 0
    for verdict in assessment["verdicts"]:
        found = re.fullmatch(r"--([a-z0-9-]+)=(\S+)", verdict["found"])
        if found and verdict["section"] in SECTIONS:
            compared += 1
            real = flags[SECTIONS[verdict["section"]]][found[1]]
            if _normal(real) != _normal(found[2]):
                differ.append((verdict["id"], found[2], real))
    assert not differ
    assert compared > 25


def _normal(value: str) -> object:
    """Return a list, a duration or another value in one notation."""
    time = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", value)
    if value and time:
        hours, minutes, seconds = (int(part or 0) for part in time.groups())
        return (hours * 60 + minutes) * 60 + seconds
    return value.strip(":[]").replace("_", "")
