"""Values of arguments, parsed as Go parses them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.k3s.components.values import PARSERS, combined
from agent.k3s.go_values import InvalidValueError, csv_record

VALID = {
    "bool": ("true", "1", "t", "T", "True", "FALSE", "0"),
    "int": ("5", "-1", "+7", "0x10", "0b11", "0o17", "017", "1_000", "0x_1f", "0"),
    "int32": ("2147483647", "-2147483648"),
    "uint32": ("0", "4294967295", "0x10"),
    "float": ("0.5", "1", ".5", "5.", "1e3", "-1", "inf", "NaN", "0x1p-2"),
    "float32": ("3.4e38",),
    "duration": ("30s", "1h30m", "-5s", "0", "+1.5h", "100ms", "1us", "1µs", ".5s", "1h0m0s"),
    "strings": ("", "a,b", '"a,b",c', "a b"),
    "stringToString": ("a=b", "a=b,c=d", '"a=b,c"', "a="),
    "mapStringString": ("a=b", "a=b,", ""),
    "mapLabel": ("a", "a=b,c", ""),
    "mapLess": ("memory.available<1Gi", ""),
    "mapStringBool": ("A=true,B=0", ""),
    "ip": ("10.0.0.1", "::1", ""),
    "ipport": ("10.0.0.1", "10.0.0.1:10256", "[::1]:80", "::1"),
    "portRange": ("30000-32767", "30000", "30000+100", "1-1"),
    "namedCertKey": ("a.crt,a.key", "a.crt,a.key:x,y"),
    "Level": ("0", "10"),
    "pattern=N,...": ("a=1,b=2", ""),
    "quantity": ("0", "1Gi", "1.5M", "200m", "1e3", "1E", "+1", "-1", ".5", "1."),
    "version": ("false", "true", "raw", "v1.37.0"),
}
INVALID = {
    "bool": ("", "yes", "off", "TRue", " true"),
    "int": ("", "5.5", "10s", "08", "1__0", "_1", "1_", "9223372036854775808", "0x", "0b2", "٣"),
    "int32": ("2147483648", "-2147483649"),
    "uint32": ("-1", "+1", "4294967296"),
    "float": ("", "x", "1e999", "0x1", "1_0"),
    "float32": ("1e39",),
    "duration": ("", "300", "30", "5 m", "1d", "5M", "s", "-", ".s", "99999999h"),
    "strings": ('a"b', '"a', '"a"b', "\n"),
    "stringToString": ("a", "a=b,c,d=e", ""),
    "mapStringString": ("a", "a=b,c"),
    "mapLess": ("memory.available=1Gi",),
    "mapStringBool": ("A", "A=x", "A="),
    "ip": ("x", "1.2.3", "1.2.3.256", "1.2.3.4/8"),
    "ipport": ("x", "10.0.0.1:x", "10.0.0.1:99999", ":80"),
    "portRange": ("x", "2-1", "1-99999", "1-"),
    "namedCertKey": ("a", "a,b:", "a,b,c"),
    "Level": ("-1", "x", "0x1"),
    "pattern=N,...": ("a", "a=x", "=1"),
    "quantity": ("", "x", "1Zi", "1ki", "Gi", "1 Gi", "1gi", "1K", "1e", "1.5.5", "0x1"),
    "version": ("foo",),
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in VALID.items() for text in texts])
def test_a_valid_value_is_parsed(kind: str, text: str) -> None:
    PARSERS[kind](text)


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in INVALID.items() for text in texts])
def test_an_invalid_value_is_rejected(kind: str, text: str) -> None:
    with pytest.raises(InvalidValueError):
        PARSERS[kind](text)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "017", 15),
        ("int", "-0x10", -16),
        ("int", "1_000", 1000),
        ("duration", "1h30m", 5400 * 10**9),
        ("duration", "-1.5s", -1_500_000_000),
        ("duration", "0", 0),
        ("strings", '"a,b",c', ("a,b", "c")),
        ("stringToString", "a=b,c=d", {"a": "b", "c": "d"}),
        ("mapLess", " a < b ", {"a": "b"}),
    ],
)
def test_the_parsed_value_equals_that_of_go(kind: str, text: str, value: object) -> None:
    assert PARSERS[kind](text) == value


def test_repeated_lists_and_mappings_are_combined_and_other_values_replaced() -> None:
    """pflag combines the values of these kinds."""
    assert combined("strings", [("a",), ("b", "c")]) == ("a", "b", "c")
    assert combined("stringArray", ["a,b", "c"]) == ("a,b", "c")
    assert combined("mapStringBool", [{"A": "true"}, {"A": "false", "B": "1"}]) == {"A": "false", "B": "1"}
    assert combined("int", [1, 2]) == 2


@given(st.text(max_size=20))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    reasons = set()
    for parser in PARSERS.values():
        try:
            parser(text)
        except InvalidValueError as error:
            reasons.add(str(error))
    assert "" not in reasons


@given(st.lists(st.from_regex("[a-z ]{1,5}", fullmatch=True), min_size=1, max_size=4))
def test_quoted_fields_are_read_back(fields: list[str]) -> None:
    assert csv_record(",".join(f'"{field},"' for field in fields)) == tuple(f"{field}," for field in fields)
