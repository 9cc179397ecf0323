"""Whether a certificate belongs to a private key. Pure.

The first certificate and the first private key of the files count (Go's crypto/tls, X509KeyPair). A private key
contains its public key: with RSA always, with an elliptic curve usually.
"""

from __future__ import annotations

import re

from agent.k3s.components.files import pem

_PUBLIC_KEY = re.compile(
    rb"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01.{24}(?P<modulus>.{64})"
    rb"|\x2a\x86\x48\xce\x3d\x02\x01\x06.{6,10}\x03\x81?(?P<size>.)\x00\x04(?P<point>.{40})",
    re.DOTALL,
)
"""Parts of the number of RSA, or of the point of an elliptic curve, which follow the object identifier."""
_WITH_POINT = 1.5
"""How much longer than its point the private key of an elliptic curve is at least, if it contains the point."""


def belong_together(certificate: bytes, key: bytes) -> bool:
    """Return whether a certificate belongs to a private key. True if that cannot be determined from the files."""
    certificates = (block.content for block in pem.blocks(certificate) if block.kind == pem.CERTIFICATE)
    keys = (block for block in pem.blocks(key) if block.kind.endswith("PRIVATE KEY"))
    public, private = _PUBLIC_KEY.search(next(certificates, b"")), next(keys, None)
    if public is None or private is None or private.is_encrypted or not private.is_sequence:
        return True
    if public["modulus"]:
        return public["modulus"] in private.content
    return public["point"] in private.content or len(private.content) < public["size"][0] * _WITH_POINT
