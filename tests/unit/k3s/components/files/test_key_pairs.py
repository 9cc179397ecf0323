"""Certificates that do not belong to their private key, and files that cannot be compared."""

from __future__ import annotations

import pytest

from agent.k3s.components.files.key_pairs import belong_together
from tests.der import (
    ED25519,
    ELLIPTIC,
    INTEGER,
    NAME,
    OCTETS,
    RSA,
    SEQUENCE,
    certificate,
    der,
    elliptic_key,
    modulus,
    pem,
    pkcs8,
    point,
    rsa_certificate,
    rsa_key,
)

RSA_KEY, ELLIPTIC_KEY = pem("RSA PRIVATE KEY", rsa_key(1)), pem("EC PRIVATE KEY", elliptic_key(1))
ELLIPTIC_CERTIFICATE = certificate(ELLIPTIC, point(1))


@pytest.mark.parametrize(
    ("first", "key"),
    [
        (rsa_certificate(1), RSA_KEY),
        (rsa_certificate(1), pkcs8(RSA, rsa_key(1))),
        (rsa_certificate(1) + rsa_certificate(2), b"text\n" + RSA_KEY + pem("RSA PRIVATE KEY", rsa_key(2))),
        (certificate(RSA, der(SEQUENCE, der(INTEGER, modulus(1))), version=b""), RSA_KEY),
        (ELLIPTIC_CERTIFICATE, ELLIPTIC_KEY),
        (ELLIPTIC_CERTIFICATE, pkcs8(ELLIPTIC, elliptic_key(1))),
        (ELLIPTIC_CERTIFICATE, pem("EC PARAMETERS", b"\x06\x01a") + ELLIPTIC_KEY),
        (certificate(ED25519, b"public"), pkcs8(ED25519, b"private")),
    ],
)
def test_a_certificate_belongs_to_its_key(first: bytes, key: bytes) -> None:
    """The first certificate and the first key of each file are compared, in each form of a key."""
    assert belong_together(first, key)


@pytest.mark.parametrize(
    ("first", "key"),
    [
        (rsa_certificate(2), RSA_KEY),
        (rsa_certificate(2) + rsa_certificate(1), RSA_KEY),
        (rsa_certificate(2), pkcs8(RSA, rsa_key(1))),
        (rsa_certificate(1), ELLIPTIC_KEY),
        (certificate(ELLIPTIC, point(2)), ELLIPTIC_KEY),
        (certificate(ED25519, b"public"), RSA_KEY),
        (ELLIPTIC_CERTIFICATE, pkcs8(ED25519, b"private")),
    ],
)
def test_a_certificate_does_not_belong_to_another_key(first: bytes, key: bytes) -> None:
    """The numbers or the kinds of the keys differ."""
    assert not belong_together(first, key)


@pytest.mark.parametrize("size", [0, 1, 3, 40, 200])
def test_what_cannot_be_read_is_not_compared(size: int) -> None:
    """Other rules report files that are incomplete or not in the PEM format."""
    assert belong_together(pem("CERTIFICATE", b"\x30\x82\xff\xff"[:size]), RSA_KEY)
    assert belong_together(rsa_certificate(2), pem("RSA PRIVATE KEY", rsa_key(1)[:size]))
    assert belong_together(rsa_certificate(2)[:size], b"")
    assert belong_together(certificate(ELLIPTIC, b"\x02compressed"), ELLIPTIC_KEY)


def test_hostile_files_are_not_compared() -> None:
    """A key in a key in a key, and a certificate whose key has three parts."""
    nested = rsa_key(1)
    for _ in range(2400):
        nested = der(SEQUENCE, der(INTEGER, b"\0"), der(SEQUENCE, der(NAME, RSA)), der(OCTETS, nested))
    assert belong_together(rsa_certificate(2), pem("PRIVATE KEY", nested))
    signed = der(SEQUENCE, *[der(SEQUENCE)] * 5, der(SEQUENCE, *[der(SEQUENCE)] * 3))
    assert belong_together(pem("CERTIFICATE", der(SEQUENCE, signed)), RSA_KEY)
