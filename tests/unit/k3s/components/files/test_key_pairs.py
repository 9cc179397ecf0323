"""Certificates that do not belong to their private key, and files that cannot be compared."""

from __future__ import annotations

import pytest

from agent.k3s.components.files.pem import belong_together
from tests.certificates import (
    CERTIFICATE,
    ENCRYPTED_KEY,
    KEY,
    OTHER_CERTIFICATE,
    OTHER_KEY,
    RSA_CERTIFICATE,
    RSA_KEY,
    SEC1_KEY,
)


@pytest.mark.parametrize(
    ("certificates", "keys"),
    [
        (CERTIFICATE, KEY),
        (CERTIFICATE, SEC1_KEY),
        (RSA_CERTIFICATE, RSA_KEY),
        (f"text\n{CERTIFICATE}{OTHER_CERTIFICATE}", f"text\n{KEY}{OTHER_KEY}"),
    ],
)
def test_a_certificate_belongs_to_its_key(certificates: str, keys: str) -> None:
    assert belong_together(certificates.encode(), keys.encode())


@pytest.mark.parametrize(
    ("certificates", "keys"),
    [
        (CERTIFICATE, OTHER_KEY),
        (CERTIFICATE, RSA_KEY),
        (RSA_CERTIFICATE, KEY),
        (OTHER_CERTIFICATE + CERTIFICATE, KEY),
        (CERTIFICATE, OTHER_KEY + KEY),
    ],
)
def test_a_certificate_does_not_belong_to_another_key(certificates: str, keys: str) -> None:
    assert not belong_together(certificates.encode(), keys.encode())


@pytest.mark.parametrize(
    ("certificate", "key"),
    [("", ""), ("text", OTHER_KEY), (CERTIFICATE[:200], OTHER_KEY), (CERTIFICATE, OTHER_KEY[:150])],
)
def test_what_cannot_be_read_is_not_compared(certificate: str, key: str) -> None:
    """Other rules report files that are incomplete or not in the PEM format."""
    assert belong_together(certificate.encode(), key.encode())


def test_a_key_with_a_password_is_not_compared() -> None:
    assert belong_together(OTHER_CERTIFICATE.encode(), ENCRYPTED_KEY.encode())
