"""Whether a certificate belongs to a private key. Pure.

Source: Go's crypto/tls, X509KeyPair. The first certificate and the first private key of the files count.
"""

from __future__ import annotations

from typing import NamedTuple

from agent.k3s.components.files import pem

_INTEGER, _BIT_STRING, _OCTET_STRING, _SEQUENCE = 0x02, 0x03, 0x04, 0x30
_FIRST, _SECOND = 0xA0, 0xA1
"""Tags of ASN.1; the last two are the explicit tags [0] and [1]."""
_LONG_FORM = 0x80
_RSA = bytes.fromhex("2a864886f70d010101")
_ELLIPTIC = bytes.fromhex("2a8648ce3d0201")
_UNCOMPRESSED = b"\x04"


class _Item(NamedTuple):
    """One value of ASN.1."""

    tag: int
    content: bytes

    @property
    def items(self) -> list[_Item]:
        return _items(self.content)


class _PublicKey(NamedTuple):
    algorithm: bytes
    """The object identifier."""
    value: bytes
    """The modulus of RSA or the point of an elliptic curve; empty if it is unknown."""


def belong_together(certificate: bytes, key: bytes) -> bool:
    """Return whether a certificate belongs to a private key. True if that cannot be determined from the files."""
    try:
        first = next(one for one in pem.blocks(certificate) if one.kind == pem.CERTIFICATE)
        second = next(one for one in pem.blocks(key) if one.kind.endswith("PRIVATE KEY") and not one.has_headers)
        ours, other = _of_certificate(first.content), _of_private_key(second.content)
    except (StopIteration, IndexError, ValueError):
        return True
    if not ours.algorithm or not other.algorithm:
        return True
    if ours.algorithm != other.algorithm:
        return False
    return not ours.value or not other.value or ours.value == other.value


def _of_certificate(data: bytes) -> _PublicKey:
    signed = _items(data)[0].items[0].items
    algorithm, key = signed[6 if signed[0].tag == _FIRST else 5].items
    name, value = algorithm.items[0].content, key.content[1:]
    if name == _RSA:
        return _PublicKey(name, _items(value)[0].items[0].content)
    return _PublicKey(name, value if name == _ELLIPTIC and value.startswith(_UNCOMPRESSED) else b"")


def _of_private_key(data: bytes) -> _PublicKey:
    """Read a key in the form of PKCS #1, SEC 1 or PKCS #8."""
    items = _items(data)[0].items
    kind = items[1].tag
    if kind == _INTEGER:
        return _PublicKey(_RSA, items[1].content)
    if kind == _OCTET_STRING:
        public = next((one.items[0].content[1:] for one in items if one.tag == _SECOND), b"")
        return _PublicKey(_ELLIPTIC, public if public.startswith(_UNCOMPRESSED) else b"")
    if kind == _SEQUENCE and items[2].tag == _OCTET_STRING:
        name = items[1].items[0].content
        inner = _items(items[2].content) if name in (_RSA, _ELLIPTIC) else []
        # A file can be hostile: PKCS #8 inside PKCS #8 is not read.
        is_plain = bool(inner) and inner[0].items[1].tag in (_INTEGER, _OCTET_STRING)
        return _of_private_key(items[2].content) if is_plain else _PublicKey(name, b"")
    return _PublicKey(b"", b"")


def _items(data: bytes) -> list[_Item]:
    """Return the values in a sequence. Raises IndexError if one is incomplete."""
    found, at = [], 0
    while at < len(data):
        tag, size, start = data[at], data[at + 1], at + 2
        if size >= _LONG_FORM:
            start += size - _LONG_FORM
            size = int.from_bytes(data[at + 2 : start], "big")
        if start + size > len(data):
            raise IndexError(start + size)
        found.append(_Item(tag, data[start : start + size]))
        at = start + size
    return found
