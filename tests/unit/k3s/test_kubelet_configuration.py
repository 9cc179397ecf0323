"""The kubelet's own configuration: which files it reads, in which order, and what their fields say."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.benchmark.catalogue import CATALOGUE
from agent.benchmark.check import AllOf, Flag
from agent.k3s.config import ConfigText, merge
from agent.k3s.default_arguments import KUBELET_DEFAULTS_FILE
from agent.k3s.kubelet_configuration import KUBELET_FIELDS, KubeletSource, kubelet_file, sources
from agent.k3s.paths import DEFAULT_DATA_DIR, K3S_CONFIG_FILE
from agent.model import Component, Version

OWN = DEFAULT_DATA_DIR / KUBELET_DEFAULTS_FILE
RECORDED = Path(__file__).parents[2] / "data/benchmark/00-k3s-defaults.conf"
HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
CONFIG, CONFIG_DIR = PurePosixPath("/etc/kubelet.yaml"), PurePosixPath("/etc/kubelet.d")
BOTH_NAMED = f"kubelet-arg: ['config={CONFIG}', 'config-dir={CONFIG_DIR}']\n"


def found(config: str, minor: int) -> tuple[KubeletSource, ...]:
    return sources(merge([ConfigText(K3S_CONFIG_FILE, config.encode())]), Version(1, minor, 1), DEFAULT_DATA_DIR)


# --- which files ---


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
def test_what_the_kubelet_is_told_to_read(minor: int, named: tuple[KubeletSource, ...]) -> None:
    """A directory from 1.30 on; from 1.32 on K3s' own, into which it copies what the operator names."""
    assert found(BOTH_NAMED, minor) == named


@pytest.mark.parametrize(("minor", "count"), [(31, 0), (32, 1)])
def test_without_arguments_it_reads_k3s_own_directory_at_most(minor: int, count: int) -> None:
    """Which older versions do not have."""
    assert len(found("", minor)) == count


def test_what_lies_in_k3s_own_directory_is_not_copied() -> None:
    """It would be read twice."""
    assert len(found(f"kubelet-arg: ['config={OWN}', 'config-dir={OWN.parent}']\n", 34)) == 1


@pytest.mark.parametrize("argument", ["config=kubelet.yaml", "config-dir=./kubelet.d"])
def test_a_path_that_is_not_absolute_leads_nowhere_known(argument: str) -> None:
    """It would be relative to wherever K3s is started."""
    with pytest.raises(ValueError, match="not absolute"):
        found(f"kubelet-arg: ['{argument}']\n", 34)


# --- what is in them ---


def test_every_argument_that_a_control_asks_of_the_kubelet_has_its_field() -> None:
    """Otherwise a file could set it unseen."""
    checks = chain.from_iterable((row.check, *row.earlier.values()) for row in CATALOGUE)
    parts = chain.from_iterable(check.checks if isinstance(check, AllOf) else (check,) for check in checks)
    asked = {part.name for part in parts if isinstance(part, Flag) and part.component is Component.KUBELET}
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
def test_fields_read_as_the_arguments_of_the_same_meaning(text: str, name: str, value: str) -> None:
    """YAML 1.1 or JSON; of a key that stands twice the last counts, as it does to the kubelet."""
    head = '{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", '
    data = head + text.removeprefix("{") if text.startswith("{") else HEAD + text
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
        HEAD + "authentication: [anonymous]\n",
        HEAD + "authentication: {anonymous: {enabled: 'false'}}\n",
        HEAD + "readOnlyPort: '0'\n",
        HEAD + "readOnlyPort: false\n",
        HEAD + "readOnlyPort: 0.5\n",
        HEAD + "tlsCertFile: [x]\n",
        HEAD + "tlsCipherSuites: X\n",
        HEAD + "tlsCipherSuites: [{}]\n",
        HEAD + "featureGates: [A]\n",
        HEAD + "featureGates: {A: maybe}\n",
        HEAD + "tlsCertFile: *nowhere\n",
        HEAD + "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
        "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
        "e: [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n",
        HEAD + "protectKernelDefaults: true\n" + "#" * 2_000_000,
    ],
    ids=range(20),
)
def test_what_the_kubelet_would_exit_at_has_no_settings(text: str) -> None:
    """A wrong type is no value, and neither is a file of another kind."""
    file = kubelet_file(text.encode(), OWN)
    assert str(OWN) in file.problem
    assert not file.settings


_KEYS = st.sampled_from(sorted(set(chain.from_iterable(field.path for field in KUBELET_FIELDS.values()))))
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_TREES = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(_KEYS | st.text(), inner), max_leaves=20)


@given(st.dictionaries(_KEYS, _TREES))
def test_any_tree_in_a_kubelet_file_gives_values_of_the_right_kind_or_a_problem(tree: dict[str, object]) -> None:
    """Whatever is below whichever key."""
    head = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    file = kubelet_file(json.dumps(tree | head).encode(), OWN)
    assert not (file.problem and file.settings)
    for name, (value, line) in file.settings.items():
        assert line >= 1
        if KUBELET_FIELDS[name].wanted == "true or false":
            assert value in {None, "true", "false"}
        if KUBELET_FIELDS[name].wanted == "a whole number":
            assert value is None or value.lstrip("-").isdecimal()


@given(st.binary(max_size=400))
@example(RECORDED.read_bytes()[:200])
@example(b"\xff\xfe")
def test_any_bytes_give_no_settings_or_right_ones(data: bytes) -> None:
    """Nothing raises, and a file that was cut off has either its fields or none."""
    file = kubelet_file(data, OWN)
    assert not file.settings or not file.problem
