"""Values of the configuration file that K3s writes for etcd."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.base.errors import InputError
from agent.k3s.component_configuration import EtcdValue, etcd_values

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
