"""Values as Go's packages strconv, time, encoding/csv and pflag parse them, and names of TLS cipher suites. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from agent.base.yaml_reader import go_integer

_T = TypeVar("_T")

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
"""The spellings that strconv.ParseBool accepts."""

_DURATION = r"[-+]?(?:0|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+)"
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_LONGEST_NUMBER = 400
"""Characters. Go's numbers and all plausible values are shorter; Python converts longer ones slowly."""


class InvalidValueError(Exception):
    """A value that a component rejects. The text says what the component expects."""


def accepted(parse: Callable[[str], _T], text: str) -> _T | None:
    """Return the value of a text; None if the parser rejects it."""
    try:
        return parse(text)
    except InvalidValueError:
        return None


def boolean(text: str) -> bool:
    """Parse as strconv.ParseBool."""
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise InvalidValueError("true or false")


def integer(text: str, bits: int = 64) -> int:
    """Parse as strconv.ParseInt with base 0: the prefix decides the base, and underscores may separate digits."""
    return _whole_number(text, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def unsigned(text: str, bits: int = 64) -> int:
    """Parse as strconv.ParseUint with base 0, which accepts no sign."""
    if text[:1] in ("+", "-"):
        raise InvalidValueError(f"a whole number from 0 to {2**bits - 1}, without a sign")
    return _whole_number(text, 0, 2**bits - 1)


def _whole_number(text: str, low: int, high: int) -> int:
    found = go_integer(text) if _is_plain(text) else None
    if found is None:
        raise InvalidValueError("a whole number")
    if not low <= found <= high:
        raise InvalidValueError(f"a whole number from {low} to {high}")
    return found


def _is_plain(text: str) -> bool:
    """Return whether Python reads a number as Go does, which accepts no blanks and no other digits."""
    return text.isascii() and len(text) <= _LONGEST_NUMBER and not re.search(r"\s", text)


def number(text: str) -> float:
    """Parse as strconv.ParseFloat."""
    try:
        found = float.fromhex(text) if re.search("x.*p", text, re.IGNORECASE) else float(text)
    except (ValueError, OverflowError):
        found = None
    is_finite = found is not None and (abs(found) != float("inf") or "inf" in text.lower())
    if found is None or not is_finite or not _is_plain(text) or "_" in text:
        raise InvalidValueError("a number")
    return found


def number32(text: str) -> float:
    """Parse as strconv.ParseFloat with 32 bits."""
    found = number(text)
    if abs(found) > 3.4028235677973366e38 and "inf" not in text.lower():  # noqa: PLR2004 - FLT_MAX
        raise InvalidValueError("a number of 32 bits")
    return found


def duration(text: str) -> int:
    """Parse as time.ParseDuration. Return nanoseconds."""
    if len(text) > _LONGEST_NUMBER or not re.fullmatch(_DURATION, text, re.ASCII):
        raise InvalidValueError("a duration with its unit, such as 30s, 5m or 1h30m")
    total = 0
    for whole, fraction, unit in re.findall(r"([0-9]*)\.?([0-9]*)(ns|us|µs|μs|ms|s|m|h)", text):
        scale = _NANOSECONDS[unit]
        total += int(whole or "0") * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)
    # Go also accepts the smallest negative number, which is not used in practice.
    if total >= 2**63:
        raise InvalidValueError("a duration of less than 292 years")
    return -total if text.startswith("-") else total


def csv_record(text: str) -> tuple[str, ...]:
    """Parse the first record of a text as encoding/csv does: commas, and double quotes around a field."""
    if '"' not in text:
        return tuple(text.split("\n", maxsplit=1)[0].removesuffix("\r").split(",")) if text else ()
    import csv

    try:
        record = next(csv.reader([text], strict=True))
    except csv.Error:
        record = ['"']
    if not re.match(r'(?:[^",\n]*|"(?:[^"]|"")*")(?:,(?:[^",\n]*|"(?:[^"]|"")*"))*\r?(?:\n|$)', text):
        raise InvalidValueError('a list separated by commas, with " only around items')
    return tuple(record)


def strings(text: str) -> tuple[str, ...]:
    """Parse as pflag's StringSlice."""
    # csv.Reader skips empty lines, and reports the end of a text that has nothing else.
    if text and not text.strip("\r\n"):
        raise InvalidValueError("a list separated by commas")
    return csv_record(text.lstrip("\r\n"))


def suites_with_long_names(suites: Iterable[str]) -> tuple[str, ...]:
    """Return the suites and the alternative names of those that have one.

    Go has a short and a long name for the ChaCha20 suites of TLS 1.2. All components of Kubernetes accept both
    (kubernetes, staging/src/k8s.io/component-base/cli/flag/ciphersuites_flag.go).
    """
    short = tuple(suites)
    return (*short, *(f"{name}_SHA256" for name in short if name.endswith("_CHACHA20_POLY1305")))


_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_WORD = r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LONGEST_LABEL = 63
"""Characters, also of the name in the key of a label, and of its value."""
_LONGEST_SUBDOMAIN = 253


def is_label(text: str) -> bool:
    """Return whether a text can be a name such as that of a namespace (IsDNS1123Label)."""
    return len(text) <= _LONGEST_LABEL and re.fullmatch(_LABEL, text, re.ASCII) is not None


def is_subdomain(text: str) -> bool:
    """Return whether a text can be a name such as that of most objects (IsDNS1123Subdomain)."""
    return len(text) <= _LONGEST_SUBDOMAIN and re.fullmatch(_SUBDOMAIN, text, re.ASCII) is not None


def is_qualified_name(text: str) -> bool:
    """Return whether a text can be the key of a label (IsQualifiedName)."""
    prefix, slash, name = text.rpartition("/")
    return _is_word(name) and (not slash or is_subdomain(prefix))


def is_label_value(text: str) -> bool:
    """Return whether a text can be the value of a label (IsValidLabelValue)."""
    return not text or _is_word(text)


def _is_word(text: str) -> bool:
    return len(text) <= _LONGEST_LABEL and re.fullmatch(_WORD, text, re.ASCII) is not None
