"""Certificates and keys in the PEM format, as far as the start of a component depends on them. Pure.

Sources: Go's encoding/pem and crypto/tls; client-go, util/cert and util/keyutil; etcd, client/pkg/tlsutil. Signatures
and validity are not checked.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING

from agent.base.value import Value
from agent.k3s.components.certificate_pairs import SIGNING, SIGNING_ALL
from agent.k3s.components.files.decoding import FileRejection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CERTIFICATE = "CERTIFICATE"
_PRIVATE = ("EC PRIVATE KEY", "PRIVATE KEY", "RSA PRIVATE KEY")
_PUBLIC = ("PUBLIC KEY", "RSA PUBLIC KEY", CERTIFICATE)
_ED25519 = bytes.fromhex("06032b6570")
"""The object identifier of a kind of key that service accounts do not support."""
_SEQUENCE = 0x30
_LONG_FORM = 0x80


class Block(Value):
    """One block of a file."""

    kind: str
    has_headers: bool
    """Whether it is encrypted, or has other headers."""
    content: bytes

    @property
    def is_encrypted(self) -> bool:
        """Whether a private key is encrypted."""
        return self.has_headers or self.kind == "ENCRYPTED PRIVATE KEY"

    @property
    def is_sequence(self) -> bool:
        """Return whether the content is one complete sequence of ASN.1."""
        data = self.content
        if len(data) < 2 or data[0] != _SEQUENCE:  # noqa: PLR2004 - tag and length
            return False
        if data[1] < _LONG_FORM:
            return len(data) == data[1] + 2
        size = data[1] - _LONG_FORM
        return len(data) == 2 + size + int.from_bytes(data[2 : 2 + size], "big")


def wrong_content(argument: str, data: bytes) -> Iterator[FileRejection]:
    """Yield why a file does not have what an argument of the API server requires."""
    rule = _RULES.get(argument)
    if rule is None or (not data and argument in _CAN_BE_EMPTY):
        return
    is_accepted, expected = rule
    if not is_accepted(list(blocks(data))):
        yield FileRejection(0, f"it does not contain {expected} in the PEM format")


def _has_certificates(found: list[Block]) -> bool:
    certificates = _certificates(found)
    return bool(certificates) and all(block.is_sequence for block in certificates)


def _certificates(found: list[Block]) -> list[Block]:
    return [block for block in found if block.kind == CERTIFICATE and not block.has_headers]


def _has_private_key(found: list[Block]) -> bool:
    """Return whether the first private key is not encrypted: Go's TLS reads no other."""
    first = next((block for block in found if block.kind.endswith("PRIVATE KEY")), None)
    return first is not None and first.is_sequence and not first.is_encrypted


def _has_key(found: list[Block], kinds: tuple[str, ...] = (*_PRIVATE, *_PUBLIC)) -> bool:
    usable = (block for block in found if not block.has_headers and block.is_sequence)
    return any(block.kind in kinds and _ED25519 not in block.content for block in usable)


_BLOCK = rb"(?s)(?:^|\n)-----BEGIN ([^\r\n]*)-----[ \t]*\r?\n(.*?)-----END \1-----"


def blocks(data: bytes) -> Iterator[Block]:
    """Yield the blocks that pem.Decode finds."""
    for match in re.finditer(_BLOCK, data):
        body = match[2].replace(b"\r", b"")
        head, blank, rest = body.partition(b"\n\n")
        has_headers = bool(blank) and b":" in head
        encoded = b"".join((rest if has_headers else body).split())
        try:
            yield Block(match[1].decode("ascii", "replace"), has_headers, b64decode(encoded, validate=True))
        except ValueError:
            continue


_PUBLIC_KEY = (
    rb"(?s)\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01.{24}(?P<modulus>.{64})"
    rb"|\x2a\x86\x48\xce\x3d\x02\x01\x06.{6,10}\x03\x81?(?P<size>.)\x00\x04(?P<point>.{40})"
)
"""Parts of the number of RSA, or of the point of an elliptic curve, which follow the object identifier."""
_WITH_POINT = 1.5
"""How much longer than its point the private key of an elliptic curve is at least, if it contains the point."""


def share_a_key(certificate: bytes, other: bytes) -> bool:
    """Return whether the key of a certificate is also in another file. False if that cannot be determined."""
    certificates = (block.content for block in blocks(certificate) if block.kind == CERTIFICATE)
    public = re.search(_PUBLIC_KEY, next(certificates, b""))
    part: bytes = (public["modulus"] or public["point"]) if public else b""
    return bool(part) and any(part in block.content for block in blocks(other))


def belong_together(certificate: bytes, key: bytes) -> bool:
    """Return whether a certificate belongs to a private key. True if that cannot be determined from the files.

    The first certificate and the first private key of the files count (X509KeyPair). A private key contains its public
    key: with RSA always, with an elliptic curve usually.
    """
    certificates = (block.content for block in blocks(certificate) if block.kind == CERTIFICATE)
    keys = (block for block in blocks(key) if block.kind.endswith("PRIVATE KEY"))
    public, private = re.search(_PUBLIC_KEY, next(certificates, b"")), next(keys, None)
    if public is None or private is None or private.is_encrypted or not private.is_sequence:
        return True
    if public["modulus"]:
        return public["modulus"] in private.content
    return public["point"] in private.content or len(private.content) < public["size"][0] * _WITH_POINT


_OF_SIGNERS = (*SIGNING, SIGNING_ALL)
_CAN_BE_EMPTY = frozenset(("kubelet-certificate-authority", "oidc-ca-file"))
_RULES: dict[str, tuple[Callable[[list[Block]], bool], str]] = {
    **dict.fromkeys(
        (
            *("client-ca-file", "kubelet-certificate-authority", "oidc-ca-file", "requestheader-client-ca-file"),
            *("etcd-certfile", "proxy-client-cert-file", "root-ca-file", "tls-cert-file"),
        ),
        (_has_certificates, "a valid certificate"),
    ),
    **dict.fromkeys(
        ("etcd-keyfile", "proxy-client-key-file", "tls-private-key-file", *(key for _, key in _OF_SIGNERS)),
        (_has_private_key, "a private key without a password"),
    ),
    **dict.fromkeys(
        (certificate for certificate, _ in _OF_SIGNERS),
        (lambda found: len(_certificates(found)) == 1 and _has_certificates(found), "exactly one valid certificate"),
    ),
    **dict.fromkeys(
        ("service-account-private-key-file", "service-account-signing-key-file"),
        (lambda found: _has_key(found, _PRIVATE), "an RSA or ECDSA private key"),
    ),
    "etcd-cafile": (
        lambda found: all(block.is_sequence and block.kind == CERTIFICATE for block in found),
        "only certificates",
    ),
    "service-account-key-file": (_has_key, "an RSA or ECDSA key"),
}
