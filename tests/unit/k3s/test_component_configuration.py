"""Configuration files of components: etcd's values, the order of the kubelet's files, and providers for Secrets."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import pytest

from agent.base.errors import InputError
from agent.k3s.component_configuration import (
    EtcdValue,
    KubeletSource,
    etcd_values,
    kubelet_sources,
    providers_of_secrets,
)
from agent.k3s.config_merge import ConfigText, merge_configuration
from agent.k3s.default_arguments import KUBELET_DEFAULTS_FILE
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, K3S_CONFIG_FILE, Version

PATH = PurePosixPath("/var/lib/rancher/k3s/server/db/etcd/config")
TEXT = """\
client-transport-security:
  cert-file: /var/lib/rancher/k3s/server/tls/etcd/server-client.crt
  client-cert-auth: true
initial-cluster-token: secret
listen-peer-urls: https://127.0.0.1:2380
log-outputs:
- stderr
peer-transport-security:
  auto-tls: null
"""


def test_values_have_their_lines() -> None:
    assert etcd_values(TEXT.encode(), PATH) == {
        "client-transport-security.cert-file": EtcdValue("/var/lib/rancher/k3s/server/tls/etcd/server-client.crt", 2),
        "client-transport-security.client-cert-auth": EtcdValue("true", 3),
        "listen-peer-urls": EtcdValue("https://127.0.0.1:2380", 5),
        "log-outputs": EtcdValue("stderr", 7),
    }


def test_a_key_that_contains_a_dot_is_left_out() -> None:
    """etcd does not read it as the nested key."""
    sections = "client-transport-security: {}\npeer-transport-security: {}\n"
    assert etcd_values(f"{sections}client-transport-security.client-cert-auth: true\n".encode(), PATH) == {}


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "text", "a: &a [*a]", b"\0", "x: {" * 100),
        *(TEXT[:40], TEXT[: TEXT.index("  auto-tls")], TEXT[: TEXT.index("initial")]),
        "client-transport-security: {client-cert-auth: 'true'}\npeer-transport-security: {}",
        "client-transport-security: {client-cert-auth: 1}\npeer-transport-security: {}",
        "client-transport-security: {}\npeer-transport-security: {cert-file: true}",
        b"client-transport-security: \xff",
    ],
    ids=range(13),
)
def test_an_invalid_or_incomplete_file_is_rejected(text: str | bytes) -> None:
    with pytest.raises(InputError) as caught:
        etcd_values(text.encode() if isinstance(text, str) else text, PATH)
    assert caught.value.message.startswith(f"cannot use {PATH}")


def test_an_invalid_value_is_not_quoted() -> None:
    """The value can be a misplaced secret, so the error contains only its line."""
    text = "client-transport-security:\n  client-cert-auth: t0ps3cret\npeer-transport-security: {}\n"
    with pytest.raises(InputError) as caught:
        etcd_values(text.encode(), PATH)
    key = "client-transport-security.client-cert-auth"
    assert caught.value.message == f"cannot use {PATH}:2: `{key}` must be true or false"


OWN = DEFAULT_DATA_DIR / KUBELET_DEFAULTS_FILE
CONFIG, CONFIG_DIR = PurePosixPath("/etc/kubelet.yaml"), PurePosixPath("/etc/kubelet.d")
BOTH_NAMED = f"kubelet-arg: ['config={CONFIG}', 'config-dir={CONFIG_DIR}']\n"


def found(config: str, minor: int) -> tuple[KubeletSource, ...]:
    return kubelet_sources(
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


def test_config_dir_with_an_underscore_replaces_the_directory_of_k3s() -> None:
    """K3s copies only files of the argument that it recognises, and passes the other one on after its own."""
    (only,) = found("kubelet-arg: [config_dir=/etc/kubelet.d]\n", 34)
    assert only == KubeletSource((), PurePosixPath("/etc/kubelet.d"), is_directory=True)


KEY = "c2VjcmV0LWtleS1vZi10aGlydHktdHdvLWJ5dGVzISE="
AESCBC = {"aescbc": {"keys": [{"name": "aescbckey", "secret": KEY}]}}
IDENTITY: dict[str, object] = {"identity": {}}


def configuration(*providers: object, resources: object = ("secrets",)) -> bytes:
    head = {"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1"}
    return json.dumps({**head, "resources": [{"resources": resources, "providers": providers}]}).encode()


@pytest.mark.parametrize(
    ("providers", "expected"),
    [((AESCBC, IDENTITY), ("aescbc", "identity")), ((IDENTITY, AESCBC), ("identity", "aescbc")), ((), ())],
)
def test_providers_are_returned_in_order(providers: tuple[object, ...], expected: tuple[str, ...]) -> None:
    assert providers_of_secrets(configuration(*providers)) == expected


@pytest.mark.parametrize("name", ["secrets", "secrets.", "*.", "*.*"])
def test_the_first_entry_for_secrets_applies(name: str) -> None:
    others = {"resources": ["configmaps"], "providers": [IDENTITY]}
    ours = {"resources": ["events", name], "providers": [AESCBC]}
    later = {"resources": ["*.*"], "providers": [IDENTITY]}
    assert providers_of_secrets(json.dumps({"resources": [others, ours, later]}).encode()) == ("aescbc",)
    assert providers_of_secrets(json.dumps({"resources": [others]}).encode()) == ()


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b"{}", b"\xff", b"[" * 100_000),
        configuration(AESCBC, IDENTITY)[:-5],
        configuration(AESCBC, resources="secrets"),
        configuration("aescbc"),
        configuration({}),
        configuration({**AESCBC, "identity": {}}),
        configuration({KEY: {}}),
        configuration({"aescbc": KEY}),
        json.dumps({"resources": {"secrets": [AESCBC]}}).encode(),
    ],
    ids=range(13),
)
def test_an_invalid_file_is_rejected_without_quoting_it(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(it|a provider|the list) ") as error:
        providers_of_secrets(data)
    assert KEY not in repr(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None
