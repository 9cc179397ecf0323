"""Files with content at which a component exits, in rare valid and invalid forms."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest
import yaml

from agent.base.model import Component
from agent.base.yaml_reader import BoundsError
from agent.k3s import audit_policy
from agent.k3s.components.files.fields import read_fields
from agent.k3s.components.files.file_rules import FileContext
from agent.k3s.components.files.named_files import rejected_content
from tests.component_files import ADMISSION, AUDIT, KUBELET

if TYPE_CHECKING:
    from agent.base.errors import InputError

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


ARGUMENTS = {
    "EncryptionConfiguration": (Component.API_SERVER, "encryption-provider-config"),
    "KubeSchedulerConfiguration": (Component.SCHEDULER, "config"),
    "AdmissionConfiguration": (Component.API_SERVER, "admission-control-config-file"),
    "AuthenticationConfiguration": (Component.API_SERVER, "authentication-config"),
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


def kubelet_problems(data: str, name: str = "50-own.conf") -> list[str]:
    return [error.problem for error in rejected("KubeletConfiguration", data, name=name)]


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


@pytest.mark.parametrize(
    ("stops", "near"),
    [
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
    ],
)
def test_a_field_that_stops_the_kubelet_is_predicted_and_a_similar_one_is_not(stops: str, near: str) -> None:
    """Each pair was tried with a kubelet of 1.35.4 to 1.37.2."""
    assert kubelet_problems(f"{KUBELET}{stops}\n")
    assert kubelet_problems(f"{KUBELET}{near}\n") == []


def test_a_wrong_value_in_a_mapping_is_named() -> None:
    (problem,) = kubelet_problems(f"{KUBELET}kubeReserved: {{cpu: '1', memory: 500}}\n")
    assert problem == "`kubeReserved.memory` must be a text; found 500"


@pytest.mark.parametrize("name", ["50-own.conf", "kubelet.yaml"])
@pytest.mark.parametrize("text", ["MaxPods: x\n", "maxPods: 1\nmaxPods: 1\n"])
def test_the_file_of_config_is_decoded_like_a_drop_in(name: str, text: str) -> None:
    """K3s copies it to the drop-ins: names in any case are fields, and a repeated one is an error."""
    assert len(kubelet_problems(f"{KUBELET}{text}", name)) == 1


KMS = "{apiVersion: v2, name: a, endpoint: 'unix:///run/kms'}"
KEY = "{aescbc: {keys: [{name: a, secret: UlJSUlJSUlJSUlJSUlJSUg==}]}}"


@pytest.mark.parametrize(
    ("stops", "near"),
    [
        (f"{{kms: {KMS.replace('apiVersion: v2, ', '')}}}", f"{{kms: {KMS}}}"),
        (f"{{kms: {KMS[:-1]}, timeout: 0s}}}}", f"{{kms: {KMS[:-1]}, timeout: 3s}}}}"),
        (KEY.replace("Ug==", "Ug"), KEY.replace("UlJSUlJSUlJSUlJSUlJSUg==", '"UlJSUlJSUlJS\\nUlJSUlJSUg=="')),
    ],
)
def test_an_encryption_provider_that_stops_the_api_server_is_predicted_and_a_similar_one_is_not(
    stops: str, near: str
) -> None:
    """KMS version 1 needs a feature gate; Go ignores line breaks in base64. Tried with 1.36.3."""
    assert rejected("EncryptionConfiguration", ENCRYPTION.replace("{identity: {}}", stops))
    assert rejected("EncryptionConfiguration", ENCRYPTION.replace("{identity: {}}", near)) == []


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


ISSUER = "issuer: {url: 'https://a', audiences: [x], EXTRA}\n  claimMappings: {username: {claim: sub, prefix: ''}}"
CLAIMS = "issuer: {url: 'https://a', audiences: [x]}\n  claimMappings: {EXTRA}"


@pytest.mark.parametrize(
    ("place", "stops", "near"),
    [
        (CLAIMS, "username: {claim: sub}", "username: {claim: sub, prefix: ''}"),
        (CLAIMS, "username: {claim: sub, prefix: '', expression: a}", "username: {expression: claims.sub}"),
        (
            CLAIMS,
            "username: {claim: a, prefix: ''}, groups: {claim: b}",
            "username: {claim: a, prefix: ''}, groups: {}",
        ),
        (ISSUER, "clientID: a", "discoveryURL: 'https://b'"),
        (ISSUER, "egressSelectorType: [cluster]", "egressSelectorType: cluster"),
    ],
)
def test_a_jwt_that_stops_the_api_server_is_predicted_and_a_similar_one_is_not(
    place: str, stops: str, near: str
) -> None:
    """A claim needs a prefix and excludes an expression; fields are decoded strictly. Tried with 1.36.3 and 1.37.2."""
    head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- "
    for extra, expected in ((stops, True), (near, False)):
        assert bool(rejected("AuthenticationConfiguration", head + place.replace("EXTRA", extra))) is expected


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
