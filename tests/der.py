"""Certificates and private keys for tests, as far as the program reads them. They have no signatures."""

from __future__ import annotations

from base64 import b64encode

RSA = bytes.fromhex("2a864886f70d010101")
ELLIPTIC = bytes.fromhex("2a8648ce3d0201")
ED25519 = bytes.fromhex("2b6570")
SEQUENCE, INTEGER, BITS, OCTETS, NAME, FIRST, SECOND = 0x30, 0x02, 0x03, 0x04, 0x06, 0xA0, 0xA1


def der(tag: int, *contents: bytes) -> bytes:
    """Return a value of ASN.1, with the long form of its length if that is needed."""
    content = b"".join(contents)
    size = len(content)
    length = bytes([size]) if size < 0x80 else bytes([0x82]) + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def pem(kind: str, content: bytes) -> bytes:
    """Return a block in the PEM format."""
    return f"-----BEGIN {kind}-----\n{b64encode(content).decode()}\n-----END {kind}-----\n".encode()


def certificate(algorithm: bytes, value: bytes, *, version: bytes = b"\x02") -> bytes:
    """Return a certificate with a public key. The fields that are not read are empty."""
    key = der(SEQUENCE, der(SEQUENCE, der(NAME, algorithm)), der(BITS, b"\0", value))
    head = der(FIRST, der(INTEGER, version)) if version else b""
    signed = der(SEQUENCE, head, der(INTEGER, b"\1"), *[der(SEQUENCE)] * 4, key)
    return pem("CERTIFICATE", der(SEQUENCE, signed, der(SEQUENCE), der(BITS, b"\0")))


def modulus(seed: int) -> bytes:
    """Return a number of 2048 bits."""
    return bytes([0x01]) + bytes([seed]) * 255


def rsa_certificate(seed: int) -> bytes:
    """Return a certificate with a key of RSA."""
    return certificate(RSA, der(SEQUENCE, der(INTEGER, modulus(seed)), der(INTEGER, b"\1\0\1")))


def rsa_key(seed: int) -> bytes:
    """Return a private key in the form of PKCS #1."""
    return der(SEQUENCE, der(INTEGER, b"\0"), der(INTEGER, modulus(seed)), der(INTEGER, b"\1\0\1"))


def point(seed: int) -> bytes:
    """Return an uncompressed point."""
    return b"\x04" + bytes([seed]) * 64


def elliptic_key(seed: int) -> bytes:
    """Return a private key in the form of SEC 1, with its curve and public key."""
    public = der(SECOND, der(BITS, b"\0", point(seed)))
    return der(SEQUENCE, der(INTEGER, b"\1"), der(OCTETS, b"k" * 32), der(FIRST, der(NAME, b"curve")), public)


def pkcs8(algorithm: bytes, key: bytes) -> bytes:
    """Return a private key in the form of PKCS #8."""
    return pem(
        "PRIVATE KEY",
        der(SEQUENCE, der(INTEGER, b"\0"), der(SEQUENCE, der(NAME, algorithm)), der(OCTETS, key)),
    )
