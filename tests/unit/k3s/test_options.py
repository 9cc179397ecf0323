"""K3s' options: which role has them, and which contain secrets."""

from __future__ import annotations

from agent.k3s.options import AGENT_KEYS, ALIASES, SECRET_KEYS, SERVER_ONLY_KEYS, SWITCHES, VARIABLES
from agent.k3s.redaction import is_secret

ALL_KEYS = AGENT_KEYS | SERVER_ONLY_KEYS


def test_every_table_names_options_that_exist() -> None:
    assert {*ALIASES.values(), *SWITCHES, *VARIABLES.values(), *SECRET_KEYS} <= ALL_KEYS


def test_secret_keys_are_exactly_the_options_with_a_secret_value() -> None:
    """An option that names a file with a secret, or that switches encryption, is not a secret itself."""
    not_secret = {"token-file", "agent-token-file", "secrets-encryption", "etcd-s3-config-secret", "vpn-auth-file"}
    assert {key for key in ALL_KEYS if is_secret(key)} == SECRET_KEYS
    assert not any(is_secret(key) for key in not_secret)
