"""Certificates and keys in the PEM format, as Go's encoding/pem reads them. Pure."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator

from agent.base.value import Value

CERTIFICATE = "CERTIFICATE"
_BLOCK = rb"(?s)(?:^|\n)-----BEGIN ([^\r\n]*)-----[ \t]*\r?\n(.*?)-----END \1-----"
_PUBLIC_KEY = (
    rb"(?s)\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01.{24}(?P<modulus>.{64})"
    rb"|\x2a\x86\x48\xce\x3d\x02\x01\x06.{6,10}\x03\x81?.\x00\x04(?P<point>.{40})"
)
"""Parts of the number of RSA, or of the point of an elliptic curve, which follow the object identifier."""
_TIME = rb"(?:\x17\x0d|\x18\x0f(?:19|20))" + rb"(\d\d)" * 6 + rb"Z"
_VALIDITY = _TIME + _TIME
"""A certificate's validity, each end as UTCTime or GeneralizedTime in DER (RFC 5280, section 4.1.2.5)."""


class Block(Value):
    """One block of a file."""

    kind: str
    content: bytes


def blocks(data: bytes) -> Iterator[Block]:
    """Yield the blocks that pem.Decode finds."""
    for match in re.finditer(_BLOCK, data):
        body = match[2].replace(b"\r", b"")
        head, blank, rest = body.partition(b"\n\n")
        encoded = b"".join((rest if blank and b":" in head else body).split())
        try:
            yield Block(match[1].decode("ascii", "replace"), b64decode(encoded, validate=True))
        except ValueError:
            continue


def public_key(certificate: Iterable[Block]) -> bytes:
    """Return a part of the key of a file's first certificate; empty if it cannot be determined."""
    certificates = (block.content for block in certificate if block.kind == CERTIFICATE)
    public = re.search(_PUBLIC_KEY, next(certificates, b""))
    return (public["modulus"] or public["point"]) if public else b""


def validity(certificate: bytes) -> tuple[str, str]:
    """Return both ends of the validity of a certificate in DER, each YYYY-MM-DD hh:mm:ss UTC; empty without them."""
    found = re.search(_VALIDITY, certificate)
    parts = [part.decode() for part in found.groups()] if found else []
    first, last = ("20{}-{}-{} {}:{}:{} UTC".format(*end) if end else "" for end in (parts[:6], parts[6:]))
    return first, last
