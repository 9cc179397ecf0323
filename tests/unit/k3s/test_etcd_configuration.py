"""The configuration that K3s writes for etcd: its values with their lines, or an error, and never a secret."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.errors import InputError
from agent.k3s.etcd_configuration import Text, values

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


def test_values_are_read_with_their_lines() -> None:
    """Keys of mappings are joined by dots; what is null is not there, and what looks like a secret is not kept."""
    assert values(TEXT.encode(), PATH) == {
        "client-transport-security.cert-file": Text("/var/lib/rancher/k3s/server/tls/etcd/server-client.crt", 2),
        "client-transport-security.client-cert-auth": Text("true", 3),
        "listen-peer-urls": Text("https://127.0.0.1:2380", 5),
        "log-outputs": Text("stderr", 7),
    }


def test_a_dotted_key_is_no_key_of_a_mapping() -> None:
    """etcd does not know it, so it must not pass for the setting."""
    sections = "client-transport-security: {}\npeer-transport-security: {}\n"
    assert values(f"{sections}client-transport-security.client-cert-auth: true\n".encode(), PATH) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "text",
        TEXT[:40],
        TEXT[: TEXT.index("  auto-tls")],
        TEXT[: TEXT.index("initial")],
        "a: &a [*a]",
        "client-transport-security: {client-cert-auth: 'true'}\npeer-transport-security: {}",
        "client-transport-security: {client-cert-auth: 1}\npeer-transport-security: {}",
        "client-transport-security: {}\npeer-transport-security: {cert-file: true}",
        b"client-transport-security: \xff",
        b"\0",
        "x: {" * 100,
    ],
    ids=range(13),
)
def test_what_etcd_would_exit_at_is_refused(text: str | bytes) -> None:
    """Cut off, of another type, or no text at all; the message names the file."""
    with pytest.raises(InputError) as caught:
        values(text.encode() if isinstance(text, str) else text, PATH)
    assert caught.value.message.startswith(f"cannot use {PATH}")


def test_a_wrong_value_is_not_quoted() -> None:
    """It may be a secret that somebody put into the wrong place; its line is enough to find it."""
    text = "client-transport-security:\n  client-cert-auth: t0ps3cret\npeer-transport-security: {}\n"
    with pytest.raises(InputError) as caught:
        values(text.encode(), PATH)
    key = "client-transport-security.client-cert-auth"
    assert caught.value.message == f"cannot use {PATH}:2: `{key}` must be true or false"
