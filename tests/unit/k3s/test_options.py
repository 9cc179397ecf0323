"""K3s' options: which role has them, which contain secrets, and the redaction of secrets in texts."""

from __future__ import annotations

import pytest

from agent.k3s.options import AGENT_KEYS, ALIASES, SECRET_KEYS, SERVER_ONLY_KEYS, SWITCHES, VARIABLES
from agent.k3s.redaction import is_secret, redacted

ALL_KEYS = AGENT_KEYS | SERVER_ONLY_KEYS


def test_every_table_names_options_that_exist() -> None:
    assert {*ALIASES.values(), *SWITCHES, *VARIABLES.values(), *SECRET_KEYS} <= ALL_KEYS


def test_secret_keys_are_exactly_the_options_with_a_secret_value() -> None:
    """An option that names a file with a secret, or that switches encryption, is not a secret itself."""
    not_secret = {"token-file", "agent-token-file", "secrets-encryption", "etcd-s3-config-secret", "vpn-auth-file"}
    assert {key for key in ALL_KEYS if is_secret(key)} == SECRET_KEYS
    assert not any(is_secret(key) for key in not_secret)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("token=K10abc::server:def password=x", "token=(not shown) password=(not shown)"),
        ('{"text": "token=K10abc::server:def"}', '{"text": "token=(not shown)"}'),
        ("password=x, agent-token=x", "password=(not shown), agent-token=(not shown)"),
        ("password=x\nnext", "password=(not shown)\nnext"),
    ],
)
def test_what_is_redacted_already_stays(text: str, expected: str) -> None:
    once = redacted(text)
    assert once == redacted(once) == expected
