"""Values of component arguments by their kind, as Go's flag packages parse them. Pure.

A kind of value has the name that the component's `--help` prints: `int32`, `duration`, `strings`. Sources:
github.com/spf13/pflag, and k8s.io/component-base/cli/flag.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Union

from agent.k3s.go_values import (
    FALSE,
    TRUE,
    InvalidValueError,
    boolean,
    csv_record,
    duration,
    integer,
    number,
    number32,
    strings,
    unsigned,
)

Parsed = Union[bool, int, float, str, tuple[str, ...], dict[str, str]]
"""A parsed value. A duration is a whole number of nanoseconds."""

_QUANTITY = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]{1,3})?"


def string_to_string(text: str) -> dict[str, str]:
    """Parse as pflag's StringToString."""
    count = text.count("=")
    if not count:
        raise InvalidValueError("key=value")
    pairs = (text.strip('"'),) if count == 1 else csv_record(text)
    return dict(_pair(pair, "=", "key=value") for pair in pairs)


def _pair(text: str, separator: str, expected: str) -> tuple[str, str]:
    key, found, value = text.partition(separator)
    if not found:
        raise InvalidValueError(expected)
    return key, value


def mapping(text: str, separator: str = "=") -> dict[str, str]:
    """Parse as MapStringString of component-base: pairs separated by commas, without quoting."""
    pairs = (_pair(pair, separator, f"key{separator}value, separated by commas") for pair in text.split(",") if pair)
    found = Pairs((key.strip(), value.strip()) for key, value in pairs)
    found.separator = separator
    return found


class Pairs(dict[str, str]):
    """A mapping that keeps what stands between its keys and values."""

    separator = "="


def label_mapping(text: str) -> dict[str, str]:
    """Parse as ConfigurationMap of component-base: as mapping(), but `=value` may be missing."""
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return {key.strip(): value.strip() for key, _, value in pairs}


def booleans(text: str) -> dict[str, str]:
    """Parse as MapStringBool of component-base: name=true or name=false, separated by commas."""
    found = mapping(text)
    for name, value in found.items():
        if value not in TRUE | FALSE:
            raise InvalidValueError(f"true or false as the value of {name}")
    return found


def _is_ip_and_port(text: str) -> bool:
    """Return whether a text is an IP address with or without a port (kubernetes, pkg/util/flag)."""
    match = re.fullmatch(r"(?:\[(.*)\]|([^:]*)):([0-9]{1,9})", text, re.ASCII)
    has_port = match is not None and is_ip(match[1] or match[2]) and int(match[3]) <= LAST_PORT
    return not text or is_ip(text) or has_port


LAST_PORT = 65535


def is_ip(text: str) -> bool:
    """Return whether net.ParseIP accepts the text. Leading zeros are accepted, as by netutils.ParseIPSloppy."""
    if ":" in text:
        from ipaddress import AddressValueError, IPv6Address

        try:
            IPv6Address(text)
        except AddressValueError:
            return False
        return "%" not in text
    parts = text.split(".")
    return len(parts) == 4 and all(re.fullmatch("[0-9]{1,3}", part, re.ASCII) and int(part) < 256 for part in parts)  # noqa: PLR2004


def cidr(text: str) -> tuple[int, int] | None:
    """Return the bits of the address and the length of the prefix, as netutils.ParseCIDRSloppy; None if it fails."""
    address, _, prefix = text.partition("/")
    bits = 128 if ":" in address else 32
    if not is_ip(address) or not re.fullmatch("[0-9]{1,3}", prefix, re.ASCII) or int(prefix) > bits:
        return None
    return bits, int(prefix)


def is_url(text: str) -> bool:
    """Return whether url.Parse accepts a text, as far as Python's parser shows it."""
    from urllib.parse import urlsplit

    try:
        url = urlsplit(text)
        is_valid = url.port is None or url.port >= 0
    except ValueError:
        return False
    return is_valid and not text.startswith(":") and not re.search(r"[\x00-\x20\\^`{|}\x7f]", url.netloc)


def port_range(text: str) -> str:
    """Parse as utilnet.ParsePortRange: `a-b`, `a+count` or `a`; empty for no range."""
    text = text.strip()
    if not text or text == "0":
        return text
    match = re.fullmatch(r"([0-9]{1,9})(?:([-+])([0-9]{1,9}))?", text, re.ASCII)
    if match:
        low = int(match[1])
        high = low if match[2] is None else int(match[3]) + (low if match[2] == "+" else 0)
        if low <= high <= LAST_PORT:
            return text
    raise InvalidValueError("a range of ports, such as 30000-32767")


def is_quantity(text: str) -> bool:
    """Return whether resource.ParseQuantity accepts the text."""
    return re.fullmatch(_QUANTITY, text, re.ASCII) is not None


def checked(is_valid: Callable[[str], object], expected: str) -> Callable[[str], str]:
    """Return a parser that accepts some texts and does not change them."""

    def parse_text(text: str) -> str:
        if not is_valid(text):
            raise InvalidValueError(expected)
        return text

    return parse_text


def _pattern(pattern: str, expected: str) -> Callable[[str], str]:
    return checked(lambda text: re.fullmatch(pattern, text, re.ASCII | re.DOTALL), expected)


_LEVEL = "[01]?[0-9]{1,9}"
_integers = _pattern("[-+]?[0-9]{1,10}(,[-+]?[0-9]{1,10})*", "whole numbers, separated by commas")

PARSERS: dict[str, Callable[[str], Parsed]] = {
    "bool": boolean,
    "tristate": boolean,
    "int": integer,
    "int64": integer,
    "int32": lambda text: integer(text, 32),
    "uint": unsigned,
    "uint32": lambda text: unsigned(text, 32),
    "float": number,
    "float32": number32,
    "duration": duration,
    "string": str,
    "strings": strings,
    "stringArray": str,
    "stringToString": string_to_string,
    "mapStringString": mapping,
    "mapLabel": label_mapping,
    "mapLess": lambda text: mapping(text, "<"),
    "mapNoSplit": lambda text: dict([_pair(text, "=", "key=value")]),
    "mapStringBool": booleans,
    "ip": checked(lambda text: not text or is_ip(text.strip()), "an IP address"),
    "ipport": checked(_is_ip_and_port, "an IP address with or without a port"),
    "portRange": port_range,
    "namedCertKey": _pattern(r"[^:,]*,[^:,]*(:.*\S.*)?", "certificate,key or certificate,key:names"),
    "Level": _pattern(_LEVEL, "a log level, as a whole number"),
    "quantity": checked(is_quantity, "a quantity, such as 500Mi or 200m"),
    "version": _pattern(f"raw|v.*|{'|'.join(TRUE | FALSE)}", "true, false or raw"),
    "int32Slice": lambda text: tuple(_integers(text).split(",")),
    "[]v1.Taint": str,
    "colonSeparatedMultimapStringString": lambda text: mapping(text, ":"),
    "gates": str,
    "any": lambda text: int(text) if text.isdecimal() else text,
    "pattern=N,...": _pattern(f"(([^=,]+={_LEVEL})?(,|$))*", "pattern=number, separated by commas"),
}
"""The parser of one value, by kind of value. A kind that is missing here is not predicted."""


def parse(kind: str, text: str) -> Parsed:
    """Parse one value of a kind. Raises InvalidValueError."""
    return PARSERS.get(kind, str)(text)


LISTS = frozenset({"strings", "stringArray"})
MAPPINGS = frozenset({"stringToString", "mapStringString", "mapLabel", "mapLess", "mapNoSplit", "mapStringBool"})
"""The kinds of which a component collects the values of repeated arguments. Of all others the last value counts."""


def combined(kind: str, values: Sequence[Parsed]) -> Parsed:
    """Return the value that a component has after it read all values of an argument."""
    if kind == "strings":
        return tuple(item for value in values if isinstance(value, tuple) for item in value)
    if kind == "stringArray":
        return tuple(str(value) for value in values)
    if kind in MAPPINGS:
        merged = Pairs()
        for value in values:
            if isinstance(value, dict):
                merged.update(value)
                merged.separator = getattr(value, "separator", "=")
        return merged
    return values[-1]
