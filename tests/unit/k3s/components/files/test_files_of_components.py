"""Files with content at which a component exits, each with a similar valid one, in rare forms, and of all types."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from agent.base.errors import InputError
from agent.base.yaml_reader import BoundsError
from agent.k3s import audit_policy
from agent.k3s.components.files.api_server_files import rejected_content
from agent.k3s.components.files.fields import read_fields
from agent.k3s.components.files.file_rules import FileContext, FileKind, rejected_by
from agent.k3s.roles_and_versions import Component
from tests.component_files import ADMISSION, AUDIT, KUBELET

PATH = PurePosixPath("/etc/50-own.conf")
ENCRYPTION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers: [{identity: {}}]
"""
SCHEDULER = (
    "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
    "clientConnection: {kubeconfig: /etc/own.kubeconfig}\n"
)
KUBE_PROXY = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
CONNECTION = "clientConnection: {kubeconfig: /etc/own.kubeconfig"
KUBECONFIG = """\
clusters: [{name: a, cluster: {server: 'https://127.0.0.1'}}]
contexts: [{name: b, context: {cluster: a}}]
current-context: b
"""
CREDENTIALS = """\
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: own
  matchImages: ['*.example.com']
  defaultCacheDuration: 12h
  apiVersion: credentialprovider.kubelet.k8s.io/v1
"""

ARGUMENTS = {
    "EncryptionConfiguration": (Component.API_SERVER, "encryption-provider-config"),
    "KubeSchedulerConfiguration": (Component.SCHEDULER, "config"),
    "AdmissionConfiguration": (Component.API_SERVER, "admission-control-config-file"),
    "AuthenticationConfiguration": (Component.API_SERVER, "authentication-config"),
    "KubeProxyConfiguration": (Component.KUBE_PROXY, "config"),
    "CredentialProviderConfig": (Component.KUBELET, "image-credential-provider-config"),
    "Config": (Component.API_SERVER, "audit-webhook-config-file"),
}


def rejected(
    kind: str, data: str | bytes, context: FileContext | None = None, name: str = "50-own.conf"
) -> list[InputError]:
    """Return what a component rejects in a file of a kind."""
    content = data.encode() if isinstance(data, str) else data
    if kind == "KubeletConfiguration":
        problems = read_fields(Component.KUBELET, ((PATH.with_name(name), content),), 36).problems
        return [problem for problem in problems if not isinstance(problem, BoundsError)]
    if kind == "Policy":
        return list(audit_policy.policy_problems(content, PATH))
    return list(rejected_content(*ARGUMENTS[kind], content, PATH, context or FileContext(minor=37)))


def kind_of(text: str) -> str:
    return text.split()[3]


def forms(text: str) -> dict[str, bytes]:
    """Return the same content in forms that Kubernetes reads; all were tried with 1.35.4 or 1.36.3."""
    return {
        "plain": text.encode(),
        "byte order mark": f"\ufeff{text}".encode(),
        "UTF-16": text.encode("utf-16"),
        "CRLF": text.replace("\n", "\r\n").encode(),
        "JSON": json.dumps(yaml.safe_load(text)).encode(),
        "two documents, the second not YAML": f"{text}---\nfoo: [\n".encode(),
        "marker": f"---\n{text}".encode(),
        "directive": f"%YAML 1.1\n---\n{text}".encode(),
        "end": f"{text}...\n".encode(),
        "tabs": text.replace("kind: ", "kind:\t").encode(),
    }


FILES = [AUDIT, ENCRYPTION, SCHEDULER, ADMISSION, KUBELET]


@pytest.mark.parametrize("text", FILES, ids=kind_of)
@pytest.mark.parametrize("form", forms(AUDIT))
def test_a_valid_file_is_valid_in_every_form(text: str, form: str) -> None:
    assert rejected(kind_of(text), forms(text)[form]) == []


@pytest.mark.parametrize("text", FILES, ids=kind_of)
def test_a_file_that_starts_with_a_brace_is_json(text: str) -> None:
    """Kubernetes rejects a flow mapping of YAML, and JSON with an extra comma."""
    value = yaml.safe_load(text)
    flow = yaml.safe_dump(value, default_flow_style=True, width=1000)
    comma = f"{json.dumps(value)[:-1]},}}"
    for wrong in (flow, f"\n {flow}", comma):
        assert [error for error in rejected(kind_of(text), wrong) if "is not JSON" in error.problem]


KMS = "{apiVersion: v2, name: a, endpoint: 'unix:///run/kms'}"
KEY = "{aescbc: {keys: [{name: a, secret: UlJSUlJSUlJSUlJSUlJSUg==}]}}"
JWT = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- "


def pairs(kind: str, text: str, *rows: tuple[str, str]) -> list[tuple[str, str, str]]:
    return [(kind, text.replace("EXTRA", stops), text.replace("EXTRA", near)) for stops, near in rows]


def edits(kind: str, text: str, *rows: tuple[str, str]) -> list[tuple[str, str, str]]:
    """Return the kind, and a text with and without each edit."""
    return [(kind, text.replace(old, new), text) for old, new in rows]


PAIRS = [
    # 1.35.4 to 1.37.2
    *pairs(
        "KubeletConfiguration",
        f"{KUBELET}EXTRA\n",
        ("maxPods: '5'", "maxPods: 5.0"),
        ("maxPods: 5.5", "maxPods: 1e2"),
        ("maxPods: 1e21", "maxPods: 0x6e"),
        ("MaxPods: x", "MaxPod: x"),
        ("maxPods: 5\nmaxPods: 6", "maxPods: 5\nMaxPods: 6"),
        ("x: &r {cpu: 1}\nsystemReserved: {<<: *r}", "x: &r {cpu: '1'}\nsystemReserved: {<<: *r}"),
        ("x: [&a {cpu: 1}]\nsystemReserved: {<<: [*a]}", "x: [&a {cpu: 1}]\nsystemReserved: {<<: [*a], cpu: '1'}"),
        ("logging: {verbosity: '2'}", "logging: {verbosity: 2, flushFrequency: 5s}"),
        ("logging: json", "logging: {format: json}"),
        ("tracing: {samplingRatePerMillion: x}", "tracing: {samplingRatePerMillion: 5}"),
        ("registerWithTaints: ['a=b:NoSchedule']", "registerWithTaints: [{key: a, effect: NoSchedule}]"),
        ("staticPodURLHeader: {a: b}", "staticPodURLHeader: {a: [b]}"),
        ("staticPodURLHeader: [b]", "staticPodURLHeader: {a: null}"),
        ("shutdownGracePeriodByPodPriority: [{priority: x}]", "shutdownGracePeriodByPodPriority: [{priority: 1}]"),
        ("failSwapOn: 'no'", "failSwapOn: no"),
    ),
    # KMS version 1 needs a feature gate, and Go ignores line breaks in base64: 1.36.3.
    *pairs(
        "EncryptionConfiguration",
        ENCRYPTION.replace("{identity: {}}", "EXTRA"),
        (f"{{kms: {KMS.replace('apiVersion: v2, ', '')}}}", f"{{kms: {KMS}}}"),
        (f"{{kms: {KMS[:-1]}, timeout: 0s}}}}", f"{{kms: {KMS[:-1]}, timeout: 3s}}}}"),
        (KEY.replace("Ug==", "Ug"), KEY.replace("UlJSUlJSUlJSUlJSUlJSUg==", '"UlJSUlJSUlJS\\nUlJSUlJSUg=="')),
    ),
    # A claim needs a prefix and excludes an expression, and fields are decoded strictly: 1.36.3 and 1.37.2.
    *pairs(
        "AuthenticationConfiguration",
        JWT + "issuer: {url: 'https://a', audiences: [x]}\n  claimMappings: {EXTRA}",
        ("username: {claim: sub}", "username: {claim: sub, prefix: ''}"),
        ("username: {claim: sub, prefix: '', expression: a}", "username: {expression: claims.sub}"),
        ("username: {claim: a, prefix: ''}, groups: {claim: b}", "username: {claim: a, prefix: ''}, groups: {}"),
    ),
    *pairs(
        "AuthenticationConfiguration",
        JWT
        + "issuer: {url: 'https://a', audiences: [x], EXTRA}\n  claimMappings: {username: {claim: sub, prefix: ''}}",
        ("clientID: a", "discoveryURL: 'https://b'"),
        ("egressSelectorType: [cluster]", "egressSelectorType: cluster"),
    ),
    # kube-proxy ignores unknown and repeated fields, and those of other modes: 1.37.2, as all below.
    *pairs(
        "KubeProxyConfiguration",
        f"{KUBE_PROXY}{CONNECTION}}}\nEXTRA\n",
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
    ),
    *pairs(
        "KubeProxyConfiguration",
        f"{KUBE_PROXY}EXTRA\n",
        ("clientConnection: {burst: 0}", f"{CONNECTION}, burst: 0}}"),
        (f"{CONNECTION}, burst: -1}}", f"{CONNECTION}}}"),
        (f"{CONNECTION}, qps: '5'}}", f"{CONNECTION}, qps: 5.5}}"),
        ("", f"{CONNECTION}}}"),
    ),
    *pairs(
        "KubeSchedulerConfiguration",
        f"{SCHEDULER}EXTRA\n",
        ("profiles: [{schedulerName: a}, {schedulerName: a}]", "profiles: [{schedulerName: a}, {schedulerName: b}]"),
        ("podInitialBackoffSeconds: 0", "podInitialBackoffSeconds: 10\npodMaxBackoffSeconds: 10"),
        ("podInitialBackoffSeconds: 11\npodMaxBackoffSeconds: 10", "podInitialBackoffSeconds: 10"),
        ("parallelism: 0", "parallelism: 1"),
        ("parallelism: x", "parallelism: 5.0"),
        ("leaderElection: {leaseDuration: 15}", "leaderElection: {leaseDuration: 15s}"),
        ("foo: bar", ""),
        ("percentageOfNodesToScore: -1", "percentageOfNodesToScore: 100"),
    ),
    *pairs(
        "KubeSchedulerConfiguration",
        f"{SCHEDULER}profiles:\n- schedulerName: a\n  EXTRA\n",
        ("percentageOfNodesToScore: 101", "percentageOfNodesToScore: 0"),
        ("plugins: {scores: {}}", "plugins: {score: {}}"),
        ("pluginConfig: [{name: A}, {name: A}]", "pluginConfig: [{name: A}, {name: B}]"),
    ),
    *edits(
        "KubeSchedulerConfiguration",
        SCHEDULER.replace("{kubeconfig", "{burst: 0, kubeconfig"),
        ("burst: 0", "burst: -1"),
        ("/v1", "/v1beta3"),
        ("clientConnection", "connection"),
    ),
    *pairs("KubeSchedulerConfiguration", "EXTRA", ("", SCHEDULER)),
    *edits(
        "Config",
        KUBECONFIG,
        ("current-context: b", "current-context: c"),
        ("current-context: b\n", ""),
        ("cluster: a}", "cluster: c}"),
        ("server:", "servers:"),
        (KUBECONFIG, ""),
        (KUBECONFIG, "garbage"),
    ),
    *pairs("Config", f"EXTRA\n{KUBECONFIG}", ("kind: Foo", "kind: Config\napiVersion: v1\nfoo: bar")),
    # The kubelet reads the file before it starts.
    *edits(
        "CredentialProviderConfig",
        CREDENTIALS,
        ("kind: CredentialProviderConfig\n", ""),
        ("name: own", "name: a/b"),
        ("['*.example.com']", "[]"),
        ("12h", "-1h"),
        ("defaultCacheDuration", "cacheDuration"),
        ("credentialprovider.kubelet.k8s.io/v1", "v1"),
        ("providers:", "provider:"),
        (CREDENTIALS, CREDENTIALS + CREDENTIALS.partition("providers:\n")[2]),
    ),
]
"""The kind of a file, content at which the component was seen to exit, and similar content that it accepts."""


@pytest.mark.parametrize(("kind", "stops", "near"), PAIRS)
def test_a_file_that_stops_a_component_is_predicted_and_a_similar_one_is_not(kind: str, stops: str, near: str) -> None:
    assert stops != near
    assert rejected(kind, stops)
    assert rejected(kind, near) == []


def test_the_files_of_other_arguments_are_not_checked() -> None:
    assert list(rejected_content(Component.API_SERVER, "kubelet-client-key", b"text", PATH, FileContext())) == []


def test_the_file_of_kube_proxy_depends_on_the_version_and_on_master() -> None:
    """Feature gates are checked if the version is described. With a file, kube-proxy ignores kubeconfig, not master."""
    gates = f"{KUBE_PROXY}{CONNECTION}}}\nfeatureGates: {{Foo: true}}\n"
    assert rejected("KubeProxyConfiguration", gates, FileContext(minor=0)) == []
    assert rejected("KubeProxyConfiguration", KUBE_PROXY)
    context = FileContext(minor=37, arguments={"master": "https://a"})
    assert rejected("KubeProxyConfiguration", KUBE_PROXY, context) == []
    for text in ("", KUBE_PROXY.replace("v1alpha1", "v1"), KUBE_PROXY.replace("KubeProxyC", "KubeletC")):
        assert rejected("KubeProxyConfiguration", text, context)


def test_a_wrong_value_in_a_mapping_is_named() -> None:
    (error,) = rejected("KubeletConfiguration", f"{KUBELET}kubeReserved: {{cpu: '1', memory: 500}}\n")
    assert error.problem == "`kubeReserved.memory` must be a text; found 500"


@pytest.mark.parametrize("name", ["50-own.conf", "kubelet.yaml"])
@pytest.mark.parametrize("text", ["MaxPods: x\n", "maxPods: 1\nmaxPods: 1\n"])
def test_the_file_of_config_is_decoded_like_a_drop_in(name: str, text: str) -> None:
    """K3s copies it to the drop-ins: names in any case are fields, and a repeated one is an error."""
    assert len(rejected("KubeletConfiguration", f"{KUBELET}{text}", name=name)) == 1


def test_the_old_kind_of_an_encryption_configuration_is_accepted() -> None:
    """It is EncryptionConfig in the version v1 only. Seen at 1.37.2."""
    old = ENCRYPTION.replace("EncryptionConfiguration", "EncryptionConfig")
    data = old.replace("apiserver.config.k8s.io/v1", "v1").encode()
    assert rejected("EncryptionConfiguration", data) == []
    assert rejected("EncryptionConfiguration", old)
    assert rejected("EncryptionConfiguration", data.replace(b"secrets", b"Secrets"))


def test_kms_version_1_is_accepted_with_its_feature_gate() -> None:
    """The gate is off by default since 1.29."""
    text = ENCRYPTION.replace("{identity: {}}", "{kms: {name: a, endpoint: 'unix:///run/kms'}}")
    assert rejected("EncryptionConfiguration", text, FileContext(minor=37, gates={"KMSv1"})) == []


POD_SECURITY = """\
apiVersion: pod-security.admission.config.k8s.io/v1
kind: PodSecurityConfiguration
defaults: {enforce: restricted}
"""


@pytest.mark.parametrize(
    ("content", "stops"),
    [
        (POD_SECURITY, False),
        ("", False),
        (f"{POD_SECURITY}---\nfoo: [\n", False),
        (POD_SECURITY.replace("restricted", "restrictd"), True),
        (f"{POD_SECURITY}foo: bar\n", True),
        (POD_SECURITY.replace("kind: PodSecurityConfiguration\n", ""), True),
        ("# nothing\n", True),
        ("- a\n", True),
        ("{kind: PodSecurityConfiguration}", True),
        ("a: [\n", True),
    ],
)
def test_the_file_of_an_admission_plugin_is_checked(content: str, *, stops: bool) -> None:
    """The configuration names it by a path relative to its own. Each content was tried with 1.36.3."""
    text = ADMISSION.replace("[]", "[{name: PodSecurity, path: psa.yaml}]")
    read = {PATH.with_name("psa.yaml"): content.encode()}
    found = rejected("AdmissionConfiguration", text, FileContext(minor=37, content=read.get))
    assert bool(found) is stops
    assert all(problem.location.path in read for problem in found)


VALID_FILES = yaml.safe_load((Path(__file__).parents[5] / "tests/data/valid_files.yaml").read_text(encoding="utf-8"))
VALUES: tuple[Any, ...] = (None, "own", -1, 1.5, True, {}, ["own", "own"], [{}])


def rejected_by_rules(kind: str, content: object) -> list[str]:
    """Return what the component rejects in the content of a kind of file, without its irregular rules."""
    whole = {"kind": kind, **content} if isinstance(content, dict) else content
    found = rejected_by(
        FileKind(kind, Component.API_SERVER), yaml.safe_dump(whole).encode(), PATH, FileContext(minor=37)
    )
    return [error.problem for error in found]


def places(content: object) -> Iterator[tuple[Any, Any]]:
    for key in content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ():
        yield content, key
        yield from places(content[key])  # type: ignore[index]


@pytest.mark.parametrize("kind", VALID_FILES)
def test_a_valid_file_meets_all_rules(kind: str) -> None:
    """Real components accept these files (tests/k8s/test_file_rules.py)."""
    assert rejected_by_rules(kind, VALID_FILES[kind]["content"]) == []


@pytest.mark.parametrize("kind", VALID_FILES)
def test_a_value_of_any_type_is_judged_in_each_field(kind: str) -> None:
    content = copy.deepcopy(VALID_FILES[kind]["content"])
    for holder, key in list(places(content)):
        present = holder[key]
        for value in VALUES:
            holder[key] = value
            problems = rejected_by_rules(kind, content)
            assert problems or not (isinstance(present, str) and isinstance(value, dict))
        holder[key] = present
