"""A certificate for tests, as far as the program reads it. It has no key and no signature."""

from __future__ import annotations

from base64 import encodebytes

_INTEGER, _SEQUENCE, _UTC_TIME = 0x02, 0x30, 0x17


def _der(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return bytes([tag, len(content)]) + content


def certificate_valid_from(year: int) -> bytes:
    """Return a certificate that is valid for ten years from the beginning of a year before 2040."""
    validity = (_der(_UTC_TIME, f"{first % 100:02}0101000000Z".encode()) for first in (year, year + 10))
    names_and_algorithm = [_der(_SEQUENCE)] * 2
    signed = _der(_SEQUENCE, _der(_INTEGER, b"\1"), *names_and_algorithm, _der(_SEQUENCE, *validity), _der(_SEQUENCE))
    return b"-----BEGIN CERTIFICATE-----\n" + encodebytes(_der(_SEQUENCE, signed)) + b"-----END CERTIFICATE-----\n"
