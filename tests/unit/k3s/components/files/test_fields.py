"""The fields of the kubelet's configuration files, as the equivalent arguments."""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.assess.benchmark.catalogue import all_controls
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.assess.checks.check import AllOf
from agent.base.yaml_reader import BoundsError
from agent.k3s.components.files.decoding import fields_of, kind_of_value, path_of_argument
from agent.k3s.components.files.fields import FileFields, read_fields
from agent.k3s.components.values import parse
from agent.k3s.default_arguments import KUBELET_DEFAULTS_FILE
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, Component
from tests.component_files import KUBELET

OWN = DEFAULT_DATA_DIR / KUBELET_DEFAULTS_FILE
RECORDED = Path(__file__).parents[4] / "data/benchmark/00-k3s-defaults.conf"


def read(*texts: str | bytes) -> FileFields:
    contents = (text.encode() if isinstance(text, str) else text for text in texts)
    return read_fields(Component.KUBELET, ((OWN.with_name(f"{n}.conf"), data) for n, data in enumerate(contents)), 37)


def values_of(found: FileFields, name: str) -> list[str]:
    return [given.value for field in found.fields if field.name == name for given in field.given]


def test_every_kubelet_argument_of_a_control_has_a_field() -> None:
    checks = chain.from_iterable((row.check, *row.earlier.values()) for row in all_controls())
    parts = chain.from_iterable(check.checks if isinstance(check, AllOf) else (check,) for check in checks)
    asked = {part.name for part in parts if isinstance(part, ArgumentCheck) and part.component is Component.KUBELET}
    assert asked
    assert all(path_of_argument(Component.KUBELET, name) for name in asked)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("makeIPTablesUtilChains: yes", "make-iptables-util-chains", "true"),
        ("eventRecordQPS: 0", "event-qps", "0"),
        ("podPidsLimit: 4096", "pod-max-pids", "4096"),
        ("tlsCipherSuites: [A, B]", "tls-cipher-suites", "A,B"),
        ("seccompDefault: false", "seccomp-default", "false"),
        ("kubeAPIQPS: 1e2", "kube-api-qps", "100"),
        ("evictionHard: {memory.available: 1Gi}", "eviction-hard", "memory.available<1Gi"),
        ("reservedMemory: [{numaNode: 1, limits: {memory: 1Gi}}]", "reserved-memory", "1:memory=1Gi"),
        ("shutdownGracePeriod: 30s", "shutdownGracePeriod", "30s"),
        ("streamingConnectionIdleTimeout: 5m", "streaming-connection-idle-timeout", "5m"),
        ('{"rotateCertificates": false}', "rotate-certificates", "false"),
    ],
)
def test_a_field_has_the_value_of_the_equivalent_argument(text: str, name: str, value: str) -> None:
    head = '{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", '
    data = head + text.removeprefix("{") if text.startswith("{") else KUBELET + text
    found = read(data)
    assert not found.problems
    assert values_of(found, name) == [value]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---\n",
        "[]",
        "just text",
        "kind: KubeletConfiguration\nauthentication: {anonymous: {enabled: false}}\n",
        "apiVersion: v1\nkind: KubeletConfiguration\n",
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: CredentialProviderConfig\n",
        KUBELET + "authentication: [anonymous]\n",
        KUBELET + "authentication: {anonymous: {enabled: 'false'}}\n",
        KUBELET + "readOnlyPort: '0'\n",
        KUBELET + "readOnlyPort: false\n",
        KUBELET + "readOnlyPort: 0.5\n",
        KUBELET + "tlsCertFile: [x]\n",
        KUBELET + "tlsCipherSuites: X\n",
        KUBELET + "tlsCipherSuites: [{}]\n",
        KUBELET + "seccompDefault: true\nseccompDefault: false\n",
        KUBELET + "featureGates: [A]\n",
        KUBELET + "featureGates: {A: maybe}\n",
        KUBELET + "tlsCertFile: *nowhere\n",
        KUBELET + "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
        "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
        "e: [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n",
        KUBELET + "protectKernelDefaults: true\n" + "#" * 2_000_000,
    ],
    ids=range(21),
)
def test_a_file_that_the_kubelet_rejects_has_no_fields(text: str) -> None:
    found = read(text)
    assert found.problems
    assert not found.fields


_PATHS = fields_of("KubeletConfiguration", 37)
_KEYS = st.sampled_from(sorted(set(chain.from_iterable(re.split(r"\[?\]?\.", path) for path in _PATHS))))
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_TREES = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(_KEYS | st.text(), inner), max_leaves=20)


@given(st.dictionaries(_KEYS, _TREES))
def test_any_tree_gives_values_of_the_right_type_or_a_problem(tree: dict[str, object]) -> None:
    head = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    found = read(json.dumps(tree | head))
    assert not (found.problems and found.fields)
    for field in found.fields:
        kind = kind_of_value(Component.KUBELET, field.name, 37)
        for value in field.given:
            if kind in ("bool", "int32", "int64", "uint32"):
                parse(kind, value.value)


@given(st.binary(max_size=400))
@example(RECORDED.read_bytes()[:200])
@example(b"\xff\xfe")
def test_any_bytes_give_fields_or_a_problem(data: bytes) -> None:
    found = read(data)
    assert not found.fields or not found.problems


@pytest.mark.parametrize(
    ("files", "value"),
    [
        (["readonlyPort: 10255"], "10255"),
        (["readonlyPort: 10255\nreadOnlyPort: 0"], "10255"),
        (["ReadOnlyPort: 10255\nreadOnlyPort: 0"], "0"),
        (["readonlyPort: 10255", "readOnlyPort: 0"], "10255"),
        (["readOnlyPort: 0", "ReadOnlyPort: 10255"], "0"),
    ],
)
def test_of_two_spellings_of_a_field_the_last_in_sorted_order_counts(files: list[str], value: str) -> None:
    """Seen at 1.37.2; tests/k8s/test_startup_prediction.py asks the kubelet."""
    assert values_of(read(*(f"{KUBELET}{fields}\n" for fields in files)), "read-only-port")[-1] == value


@pytest.mark.parametrize("written", ["EventRecordQPS: -3", "FeatureGates: {A: false}", "TLSMinVersion: VersionTLS10"])
def test_a_spelling_that_has_an_effect_only_without_a_default_is_unknown(written: str) -> None:
    """The kubelet has a default of the first field, and none of the others."""
    found = read(f"{KUBELET}{written}\n")
    assert found.fields == ()
    (problem,) = found.problems
    assert isinstance(problem, BoundsError)
    assert "has an effect only without a value or default of" in problem.message


def test_a_field_belongs_to_its_versions_and_minors() -> None:
    assert "defaultPodSysctls" in fields_of("KubeletConfiguration", 37)
    assert "defaultPodSysctls" not in fields_of("KubeletConfiguration", 34)
    for version, is_there in (("v1", True), ("v1beta1", False)):
        fields = fields_of("CredentialProviderConfig", 37, f"kubelet.config.k8s.io/{version}")
        assert ("providers[].tokenAttributes.cacheType" in fields) is is_there
