"""Manifests of a server: objects of the guide, names of a site, schemas of Kubernetes, and identical bytes."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema.validators import Draft7Validator, validator_for
from referencing import Registry
from referencing.jsonschema import DRAFT7

from agent.harden.guide import manifests
from agent.harden.guide.manifests import EventRateLimit
from agent.k3s.roles_and_versions import NEWEST_KNOWN, OLDEST_COVERED, Version
from tests.data import guide

RANCHER_TEMPLATE = (
    *("ingress-nginx", "kube-system", "cattle-system", "cattle-epinio-system", "cattle-fleet-system"),
    *("cattle-fleet-local-system", "longhorn-system", "cattle-neuvector-system", "cattle-monitoring-system"),
    *("rancher-alerting-drivers", "cis-operator-system", "cattle-csp-adapter-system", "cattle-externalip-system"),
    *("cattle-gatekeeper-system", "istio-system", "cattle-istio-system", "cattle-logging-system"),
    *("cattle-windows-gmsa-system", "cattle-sriov-system", "cattle-ui-plugin-system", "tigera-operator"),
    "cattle-provisioning-capi-system",
)
"""Rancher's template rancher-restricted, which the guide names (rancher, podadmissionconfigurationtemplate_data.go)."""

RANCHER_2_12 = {
    *RANCHER_TEMPLATE,
    *("calico-apiserver", "calico-system", "cattle-alerting", "cattle-elemental-system", "cattle-global-data"),
    *("cattle-global-nt", "cattle-impersonation-system", "cattle-istio", "cattle-logging", "cattle-prometheus"),
    *("cattle-resources-system", "cert-manager", "fleet-default", "fleet-local", "kube-node-lease", "kube-public"),
    *("security-scan", "sr-operator-system"),
}
RANCHER_2_7 = RANCHER_2_12 - {"fleet-local", "sr-operator-system"}
RANCHER_2_15 = RANCHER_2_12 - {"ingress-nginx"} | {
    *("cattle-capi-system", "cattle-turtles-system", "compliance-operator-system", "rancher-compliance-system"),
    "traefik",
}
"""The samples of Rancher (rancher-docs, reference-guides/rancher-security/psa-restricted-exemptions.md)."""

# RFC 1123 labels, including words and numbers that YAML does not read as strings.
namespaces = st.lists(
    st.one_of(
        st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True),
        st.sampled_from(["123", "0x1f", "1e3", "null", "true", "no", "y", "0o17", "default", "kube-system"]),
    ),
    max_size=6,
)


def objects(text: bytes) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


def admission(text: bytes) -> dict[str, Any]:
    """Parse an AdmissionConfiguration and return the configurations of its plugins by name."""
    (configuration,) = objects(text)
    assert configuration["apiVersion"] == "apiserver.config.k8s.io/v1"
    assert configuration["kind"] == "AdmissionConfiguration"
    assert set(configuration) == {"apiVersion", "kind", "plugins"}
    assert all(set(plugin) == {"name", "configuration"} for plugin in configuration["plugins"])
    return {plugin["name"]: plugin["configuration"] for plugin in configuration["plugins"]}


def test_network_policies_are_those_of_the_guide_with_two_deviations() -> None:
    """The deviations are the label of namespaces, and a namespace for the DNS policy."""
    expected = copy.deepcopy(guide.NETWORK_POLICIES)
    for policy in expected:
        if policy["metadata"]["name"] == "intra-namespace":
            (source,) = policy["spec"]["ingress"][0]["from"]
            labels = source["namespaceSelector"]["matchLabels"]
            labels["kubernetes.io/metadata.name"] = labels.pop("name")
        if policy["metadata"]["namespace"] == "<NAMESPACE>":
            policy["metadata"]["namespace"] = "kube-system"
    assert objects(manifests.network_policies()) == expected


def test_each_extra_namespace_gets_the_policy_of_default() -> None:
    first, second = objects(manifests.network_policies(["web", "123"]))[len(guide.NETWORK_POLICIES) :]
    of_default = {"name": "intra-namespace", "namespace": "default"}
    (model,) = (policy for policy in objects(manifests.network_policies()) if policy["metadata"] == of_default)
    for name, policy in (("123", first), ("web", second)):
        source = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
        spec = {**model["spec"], "ingress": [{"from": [source]}]}
        assert policy == {**model, "metadata": {"name": "intra-namespace", "namespace": name}, "spec": spec}


@given(names=namespaces)
def test_each_namespace_has_its_network_policies_once(names: list[str]) -> None:
    described = [policy["metadata"] for policy in objects(manifests.network_policies(names))]
    found = [(policy["namespace"], policy["name"]) for policy in described]
    assert len(found) == len(set(found))
    own = {namespace for namespace, name in found if name == "intra-namespace"}
    assert own == {"kube-system", "default", "kube-public", *names}


@given(names=namespaces)
def test_order_and_repetition_of_names_do_not_change_the_bytes(names: list[str]) -> None:
    """Servers with equivalent settings have identical files."""
    other = [*reversed(names), *names]
    assert manifests.network_policies(names) == manifests.network_policies(other)
    assert manifests.pod_security_admission([], names) == manifests.pod_security_admission([], other)


OF_CIS_OPERATOR = [
    policy for policy in guide.POD_SECURITY_POLICIES if policy["metadata"].get("namespace") == "cis-operator-system"
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (manifests.pod_security_policies(cis_operator_namespace=True), guide.POD_SECURITY_POLICIES),
        (
            manifests.pod_security_policies(),
            [policy for policy in guide.POD_SECURITY_POLICIES if policy not in OF_CIS_OPERATOR],
        ),
        (manifests.audit_policy(), [guide.AUDIT_POLICY]),
        (manifests.account_update(), [guide.SERVICE_ACCOUNT]),
    ],
    ids=["PodSecurityPolicies", "without the CIS operator", "audit policy", "account"],
)
def test_objects_are_those_of_the_guide(text: bytes, expected: list[dict[str, Any]]) -> None:
    assert objects(text) == expected


def exempt(version: str = "1.34", names: list[str] | None = None) -> list[str]:
    """Return the namespaces in psa.yaml of a site that exempts these names."""
    found = manifests.pod_security_admission(manifests.exempt_namespaces(Version.parse(version)), names or [])
    namespaces: list[str] = admission(found)["PodSecurity"]["exemptions"]["namespaces"]
    return namespaces


def test_pod_security_admission_has_the_defaults_of_ranchers_template() -> None:
    assert admission(manifests.pod_security_admission(["kube-system"])) == {
        "PodSecurity": {
            "apiVersion": "pod-security.admission.config.k8s.io/v1",
            "kind": "PodSecurityConfiguration",
            "defaults": {
                "enforce": guide.POD_SECURITY_TEMPLATE.removeprefix("rancher-"),
                "enforce-version": "latest",
                "audit": "restricted",
                "audit-version": "latest",
                "warn": "restricted",
                "warn-version": "latest",
            },
            "exemptions": {"usernames": [], "runtimeClasses": [], "namespaces": ["kube-system"]},
        }
    }


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.25", RANCHER_2_7),
        ("1.26", RANCHER_2_7),
        ("1.27", RANCHER_2_12),
        ("1.31", RANCHER_2_12),
        ("1.32", RANCHER_2_12 | RANCHER_2_15),
        ("1.33", RANCHER_2_12 | RANCHER_2_15),
        ("1.34", RANCHER_2_15),
        ("1.37", RANCHER_2_15),
    ],
)
def test_exempt_namespaces_are_those_of_ranchers_samples(version: str, expected: set[str]) -> None:
    """The names are those of all Rancher versions for the K3s version. The API server exits at a pattern."""
    found = exempt(version)
    assert set(found) == expected
    assert found == sorted(expected)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name) for name in found)


def test_without_ranchers_namespaces_those_of_the_k3s_guide_are_exempt() -> None:
    """These are for clusters that host neither Rancher nor its charts."""
    found = manifests.exempt_namespaces(Version(1, 34, 0), with_rancher=False)
    assert found == ("compliance-operator-system", "kube-system")


@given(names=namespaces)
def test_extra_exemptions_follow_the_others(names: list[str]) -> None:
    """A site can only add names; each occurs once, as a string."""
    assert exempt(names=names) == [*exempt(), *sorted(set(names) - set(exempt()))]


def test_event_rate_limit_has_its_configuration() -> None:
    plugins = admission(manifests.pod_security_admission(["kube-system"], ["web"], EventRateLimit(qps=50, burst=100)))
    assert plugins.pop("EventRateLimit") == {
        "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
        "kind": "Configuration",
        "limits": [{"type": "Server", "qps": 50, "burst": 100}],
    }
    assert plugins == admission(manifests.pod_security_admission(["kube-system"], ["web"]))


@pytest.mark.parametrize(
    "build",
    [
        manifests.network_policies,
        manifests.pod_security_policies,
        lambda: manifests.pod_security_admission(["kube-system"]),
        manifests.audit_policy,
        manifests.account_update,
        lambda: manifests.network_policies(["web"]),
        lambda: manifests.pod_security_policies(cis_operator_namespace=True),
        lambda: manifests.pod_security_admission(["kube-system"], ["web"], EventRateLimit(1, 1)),
    ],
)
def test_documents_can_be_joined(build: Callable[[], bytes]) -> None:
    text = build()
    assert text.startswith(b"---\n")
    assert text.endswith(b"\n")
    assert not text.endswith(b"\n\n")
    for line in text.decode("ascii").splitlines():
        assert line == line.rstrip()
        assert "#" not in line
        assert "\t" not in line
    assert objects(b"# comment\n" + text + manifests.audit_policy()) == [*objects(text), guide.AUDIT_POLICY]


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Create the pair of files in a directory with a blank in its name, and a kubectl that fails for one namespace."""
    folder = tmp_path / "my files"
    folder.mkdir()
    (folder / "account_update.yaml").write_bytes(manifests.account_update())
    (folder / "account_update.sh").write_bytes(manifests.account_update_script())
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        "#!/bin/bash\n"
        f"printf '%s\\n' \"${{*//$'\\n'/;}}\" >>'{tmp_path}/calls'\n"
        'case "$*" in\n'
        "*get*) [ -e '" + str(tmp_path) + "/down' ] && exit 7; printf 'default broken web' ;;\n"
        "*broken*) exit 1 ;;\n"
        "esac\n"
    )
    kubectl.chmod(0o755)
    return folder


def run_script(pair: Path) -> subprocess.CompletedProcess[bytes]:
    search = f"{pair.parent}:{os.environ['PATH']}"
    script = pair / "account_update.sh"
    return subprocess.run(["bash", script], env={"PATH": search}, cwd="/", capture_output=True, check=False)


def test_script_runs_the_commands_of_the_guide_for_every_namespace(pair: Path) -> None:
    done = run_script(pair)
    assert (done.returncode, done.stderr) == (1, b"")
    calls = [call.replace("--request-timeout=30s ", "") for call in (pair.parent / "calls").read_text().splitlines()]
    listing, patching = (command.removeprefix("kubectl ") for command in guide.SERVICE_ACCOUNT_COMMANDS)
    patch = manifests.account_update().decode().rstrip("\n").replace("\n", ";")
    assert calls == [
        f"{listing} --output=jsonpath={{.items[*].metadata.name}}",
        *(f"{patching} --namespace {namespace} --patch {patch}" for namespace in ("default", "broken", "web")),
    ]


def test_script_fails_if_it_cannot_list_the_namespaces(pair: Path) -> None:
    (pair.parent / "down").touch()
    assert run_script(pair).returncode == 7
    assert len((pair.parent / "calls").read_text().splitlines()) == 1


MINORS = range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1)


@cache
def schemas(minor: int) -> Path:
    """Return the schemas of a version that reject unknown fields.

    They are in kubernetes-validate: in its newest release from 1.25 on, before that in its release 1.28.
    """
    homes = [Path(sys.prefix, "schemas-1.28", "kubernetes_validate")]
    if (spec := find_spec("kubernetes_validate")) is not None:
        homes += map(Path, spec.submodule_search_locations or ())
    for home in homes:
        directory = home / "kubernetes-json-schema" / f"v1.{minor}.0-local-strict"
        if directory.is_dir():
            return directory
    pytest.skip(f"no schemas of Kubernetes 1.{minor} here: make test installs them")


@cache
def registry(minor: int) -> Registry[Any]:
    """Load the types that the schemas of the version refer to."""
    types = DRAFT7.create_resource(json.loads((schemas(minor) / "_definitions.json").read_text()))
    names = ["_definitions.json", types.contents.get("$id", "_definitions.json")]
    return Registry().with_resources((name, types) for name in names)


def complaints(minor: int, text: bytes) -> list[str]:
    found = []
    for thing in yaml.safe_load_all(text):
        group, _, version = thing["apiVersion"].rpartition("/")
        name = "-".join(filter(None, (thing["kind"].lower(), group.partition(".")[0], version)))
        file = schemas(minor) / f"{name}.json"
        if not file.is_file():
            found.append(f"{thing['kind']} is unknown")
            continue
        schema = json.loads(file.read_text())
        validator = validator_for(schema, Draft7Validator)(schema, registry=registry(minor))
        found += [f"{thing['metadata']['name']}: {error.message}" for error in validator.iter_errors(thing)]
    return found


@pytest.mark.parametrize("minor", MINORS)
def test_network_policies_and_service_accounts_are_valid(minor: int) -> None:
    text = manifests.network_policies() + manifests.network_policies(["web", "123"]) + manifests.account_update()
    assert complaints(minor, text) == []


@pytest.mark.parametrize("minor", [minor for minor in MINORS if minor <= 24])
def test_pod_security_policies_are_valid_up_to_1_24(minor: int) -> None:
    assert complaints(minor, manifests.pod_security_policies(cis_operator_namespace=True)) == []


@pytest.mark.parametrize("minor", [minor for minor in MINORS if minor >= 25])
def test_pod_security_policies_are_unknown_from_1_25(minor: int) -> None:
    """They must be removed from policy.yaml before that version starts. Their RBAC objects are still valid."""
    assert complaints(minor, manifests.pod_security_policies()) == ["PodSecurityPolicy is unknown"] * 3


@pytest.mark.parametrize("minor", MINORS)
def test_the_schemas_detect_errors(minor: int) -> None:
    text = manifests.network_policies()
    for right, wrong in (
        (b"k8s-app: kube-dns", b"k8s-app: 53"),
        (b"policyTypes:", b"policyType:"),
        (b"podSelector: {}", b"podSelector: []"),
    ):
        assert complaints(minor, text.replace(right, wrong))
