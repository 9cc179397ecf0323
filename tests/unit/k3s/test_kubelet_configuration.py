"""The kubelet's configuration files: their order and the values of their fields."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.assess.benchmark.catalogue import all_controls
from agent.assess.checks.arguments import ArgumentCheck
from agent.assess.checks.check import AllOf
from agent.base.model import Component, Version
from agent.k3s.config_merge import ConfigText, merge_configuration
from agent.k3s.default_arguments import KUBELET_DEFAULTS_FILE
from agent.k3s.kubelet_configuration import KUBELET_FIELDS, KubeletSource, kubelet_file, sources
from agent.k3s.paths import DEFAULT_DATA_DIR, K3S_CONFIG_FILE
from tests.component_files import KUBELET

OWN = DEFAULT_DATA_DIR / KUBELET_DEFAULTS_FILE
RECORDED = Path(__file__).parents[2] / "data/benchmark/00-k3s-defaults.conf"
CONFIG, CONFIG_DIR = PurePosixPath("/etc/kubelet.yaml"), PurePosixPath("/etc/kubelet.d")
BOTH_NAMED = f"kubelet-arg: ['config={CONFIG}', 'config-dir={CONFIG_DIR}']\n"


def found(config: str, minor: int) -> tuple[KubeletSource, ...]:
    return sources(
        merge_configuration([ConfigText(K3S_CONFIG_FILE, config.encode())]), Version(1, minor, 1), DEFAULT_DATA_DIR
    )


@pytest.mark.parametrize(
    ("minor", "named"),
    [
        (29, (KubeletSource((), CONFIG, is_directory=False),)),
        (31, (KubeletSource((), CONFIG, is_directory=False), KubeletSource((), CONFIG_DIR, is_directory=True))),
        (
            32,
            (
                KubeletSource((), OWN.parent, is_directory=True),
                KubeletSource(("10-cli-config.conf",), CONFIG, is_directory=False),
                KubeletSource(("20-cli-config-dir",), CONFIG_DIR, is_directory=True),
            ),
        ),
    ],
)
def test_sources_depend_on_the_version(minor: int, named: tuple[KubeletSource, ...]) -> None:
    """The kubelet reads a directory since 1.30. Since 1.32 K3s copies the operator's files to its own directory."""
    assert found(BOTH_NAMED, minor) == named


@pytest.mark.parametrize(("minor", "count"), [(31, 0), (32, 1)])
def test_without_arguments_only_k3s_own_directory_is_read(minor: int, count: int) -> None:
    assert len(found("", minor)) == count


def test_files_in_k3s_own_directory_are_read_once() -> None:
    """K3s does not copy these files."""
    assert len(found(f"kubelet-arg: ['config={OWN}', 'config-dir={OWN.parent}']\n", 34)) == 1


@pytest.mark.parametrize("argument", ["config=kubelet.yaml", "config-dir=./kubelet.d"])
def test_a_relative_path_is_an_error(argument: str) -> None:
    with pytest.raises(ValueError, match="not absolute"):
        found(f"kubelet-arg: ['{argument}']\n", 34)


def test_every_kubelet_argument_of_a_control_has_a_field() -> None:
    checks = chain.from_iterable((row.check, *row.earlier.values()) for row in all_controls())
    parts = chain.from_iterable(check.checks if isinstance(check, AllOf) else (check,) for check in checks)
    asked = {part.name for part in parts if isinstance(part, ArgumentCheck) and part.component is Component.KUBELET}
    assert asked
    assert asked <= set(KUBELET_FIELDS)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("makeIPTablesUtilChains: yes", "make-iptables-util-chains", "true"),
        ("eventRecordQPS: 0", "event-qps", "0"),
        ("podPidsLimit: 4096", "pod-max-pids", "4096"),
        ("tlsCipherSuites: [A, B]", "tls-cipher-suites", "A,B"),
        ("seccompDefault: true\nseccompDefault: false", "seccomp-default", "false"),
        ("streamingConnectionIdleTimeout: 5m", "streaming-connection-idle-timeout", "5m"),
        ('{"rotateCertificates": false}', "rotate-certificates", "false"),
    ],
)
def test_a_field_has_the_value_of_the_equivalent_argument(text: str, name: str, value: str) -> None:
    head = '{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", '
    data = head + text.removeprefix("{") if text.startswith("{") else KUBELET + text
    file = kubelet_file(data.encode(), OWN)
    assert file.problem == ""
    assert file.settings[name][0] == value


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
        KUBELET + "featureGates: [A]\n",
        KUBELET + "featureGates: {A: maybe}\n",
        KUBELET + "tlsCertFile: *nowhere\n",
        KUBELET + "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
        "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
        "e: [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n",
        KUBELET + "protectKernelDefaults: true\n" + "#" * 2_000_000,
    ],
    ids=range(20),
)
def test_a_file_that_the_kubelet_rejects_has_no_settings(text: str) -> None:
    file = kubelet_file(text.encode(), OWN)
    assert str(OWN) in file.problem
    assert not file.settings


_KEYS = st.sampled_from(sorted(set(chain.from_iterable(field.path.split(".") for field in KUBELET_FIELDS.values()))))
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_TREES = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(_KEYS | st.text(), inner), max_leaves=20)


@given(st.dictionaries(_KEYS, _TREES))
def test_any_tree_gives_values_of_the_right_type_or_a_problem(tree: dict[str, object]) -> None:
    head = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    file = kubelet_file(json.dumps(tree | head).encode(), OWN)
    assert not (file.problem and file.settings)
    for name, (value, line) in file.settings.items():
        assert line >= 1
        if KUBELET_FIELDS[name].expected == "true or false":
            assert value in {None, "true", "false"}
        if KUBELET_FIELDS[name].expected == "a whole number":
            assert value is None or value.lstrip("-").isdecimal()


@given(st.binary(max_size=400))
@example(RECORDED.read_bytes()[:200])
@example(b"\xff\xfe")
def test_any_bytes_give_settings_or_a_problem(data: bytes) -> None:
    file = kubelet_file(data, OWN)
    assert not file.settings or not file.problem


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ("readonlyPort: 10255", "10255"),
        ("readonlyPort: 10255\nreadOnlyPort: 0", "10255"),
        ("ReadOnlyPort: 10255\nreadOnlyPort: 0", "0"),
    ],
)
def test_of_two_spellings_of_a_field_the_last_in_sorted_order_counts(fields: str, value: str) -> None:
    """The kubelet 1.37.2 does so with K3s' own value of the field in another file."""
    found, _ = kubelet_file(f"{KUBELET}{fields}\n".encode(), OWN).settings["read-only-port"]
    assert found == value


def test_config_dir_with_an_underscore_replaces_the_directory_of_k3s() -> None:
    """K3s copies only files of the argument that it recognises, and passes the other one on after its own."""
    (only,) = found("kubelet-arg: [config_dir=/etc/kubelet.d]\n", 34)
    assert only == KubeletSource((), PurePosixPath("/etc/kubelet.d"), is_directory=True)
