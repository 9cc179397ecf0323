"""The YAML reader: values with lines, errors, and limits."""

from __future__ import annotations

import json
import time
from pathlib import PurePosixPath

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.yaml_reader import (
    KeyValue,
    Node,
    Scalar,
    YamlMapping,
    YamlSequence,
    duplicates,
    plain,
    read_documents,
    resolve,
    shown,
)
from agent.reports import repair_texts

PATH = PurePosixPath("/etc/site.yaml")


def only(text: str | bytes) -> Node:
    (document,) = read_documents(text.encode() if isinstance(text, str) else text, PATH)
    return document.node


def refused(data: bytes | str, **bounds: int) -> InputError:
    with pytest.raises(InputError) as caught:
        read_documents(data.encode() if isinstance(data, str) else data, PATH, **bounds)
    return caught.value


def test_tree_keeps_lines_order_and_text() -> None:
    node = only("# a comment\nname: 0644\n\nlist:\n  - a\n  - 'b'\nempty:\n")
    name, empty = KeyValue("name", 2, Scalar(0o644, "0644", 2)), KeyValue("empty", 7, Scalar(None, "", 7))
    listed = YamlSequence((Scalar("a", "a", 5), Scalar("b", "b", 6)), 5)
    assert node == YamlMapping((name, KeyValue("list", 4, listed), empty), 2)


def test_documents_are_separate() -> None:
    documents = read_documents(b"a: 1\n---\n- b\n", PATH)
    assert [(document.line, plain(document.node)) for document in documents] == [(1, {"a": 1}), (2, ["b"])]
    assert read_documents(b"# nothing\n\n", PATH) == ()
    assert read_documents(b"", PATH) == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("yes", "On", "y", "TRUE")),
        *((text, False) for text in ("off", "NO", "n")),
        *((text, None) for text in ("~", "null", "NULL")),
        *[("0", 0), ("-12", -12), ("0644", 0o644), ("0o17", 0o17), ("0x1F", 31), ("-0b101", -5), ("1_000", 1000)],
        *[("089", 89.0), ("1.10", 1.1), (".5", 0.5), ("1e3", 1000.0), ("+.inf", float("inf"))],
        *[("9223372036854775808", 2**63), ("18446744073709551616", float(2**64))],
        ("-9223372036854775809", -float(2**63)),
        *((text, text) for text in ("oN", "nuLL", "1:30", "1e999", "0xFFFFFFFFFFFFFFFFF", "9" * 5000, "2024-01-02")),
        *((text, text) for text in ("v1.24.17+k3s1", "10.42.0.0/16", ".", "-", "٣")),
    ],
)
def test_plain_scalars_have_the_value_that_k3s_reads(text: str, value: object) -> None:
    """Booleans and numbers are those of go-yaml v2, which follows YAML 1.1."""
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_quotes_and_tags_override_the_form_of_a_scalar() -> None:
    assert plain(only("""[ "yes", '1', !!str 1, !!int "1", ! on ]""")) == ["yes", "1", "1", 1, "on"]


# JSON writes code points above U+FFFF as two escapes, which YAML readers do not combine. It keeps U+007F as it is,
# which YAML forbids. A key in YAML has at most 1,024 characters.
TEXT = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=50)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXT,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=20,
    )
)
def test_json_has_the_same_values(value: object) -> None:
    assert plain(only(json.dumps(value))) == value


_MARKUP = (*"a\n\t@`{[]\"'|#\u2028\u2029\x85", ": ", "- ", "&a", "*a")


@given(
    st.binary(max_size=200) | st.lists(st.sampled_from(_MARKUP), max_size=14).map(lambda parts: "".join(parts).encode())
)
@example("a: 1\u2028\u2028\n@x: 1\n".encode())
@example(b"\xff\xfea\x00")
@example(b"a: &x [*x]")
@example(b"%YAML 3.0\n---\n")
@example(b"? [a]\n: b\n")
@example(b"!<tag:yaml.org,2002:int> x")
def test_any_bytes_give_documents_or_an_error_with_the_path(data: bytes) -> None:
    wheres = [str(PATH)]
    try:
        read_documents(data, PATH)
    except InputError as error:
        wheres.append(str(error.location))
    assert all(where.startswith(str(PATH)) for where in wheres)


@pytest.mark.parametrize(
    ("data", "where", "problem"),
    [
        (b"a: 1\nb: \xff\n", ":2", "not UTF-8"),
        (b"a: 1\nb: x\0y\n", ":2", "U+0000"),
        (b"a: 1\nb: [1\n", ":2", "not YAML"),
        (b"\ta: 1\n", ":1", "not YAML"),
        (b"a: *nowhere\n", ":1", "an alias has no anchor"),
        (b"a: 1\nb: &loop\n  c: *loop\n", ":3", "an alias has no anchor"),
        (b"a: 1\n[b]: 1\n", ":2", "cannot be a key"),
    ],
)
def test_an_error_has_its_line(data: bytes, where: str, problem: str) -> None:
    error = refused(data)
    assert str(error.location) == f"{PATH}{where}"
    assert problem in error.problem


def test_a_syntax_error_does_not_quote_the_file() -> None:
    """The line can contain a token."""
    assert "K10secret" not in str(refused("token: K10secret: x\n"))


def test_a_byte_order_mark_is_ignored() -> None:
    """Windows editors write one at the start of a UTF-8 file."""
    assert plain(only(b"\xef\xbb\xbfa: 1\n")) == {"a": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_needs_a_byte_order_mark(encoding: str) -> None:
    """Go's YAML packages recognize UTF-16 by its mark; without one, the zero bytes are not allowed."""
    data = "a: ä\n".encode(encoding)
    if encoding == "utf-16":
        assert plain(only(data)) == {"a": "ä"}
    else:
        assert "U+0000" in refused(data).problem or "UTF-8" in refused(data).problem


def test_the_first_document_can_be_read_alone() -> None:
    for text in ("a: 1\n---\nb: [\n", "a: 1\n...\n%\n", "%YAML 1.1\n---\na: 1\n", "--- {a: 1}\n--- *\n"):
        node = yaml_reader.read_first_document(text.encode(), PATH)
        assert node is not None
        assert plain(node) == {"a": 1}
    assert yaml_reader.read_first_document(b"# nothing\n", PATH) is None
    for text in ("a: [\n---\nb: 1\n", "a: 1\n b\n: c\n"):
        with pytest.raises(InputError):
            yaml_reader.read_first_document(text.encode(), PATH)


def test_merge_keys_add_only_missing_keys() -> None:
    text = "x: [&a {p: 1, q: 1}, &b {q: 2, r: 2}]\ny: [{<<: [*a, *b], p: 0}]\nz: {<<: *b}\n"
    assert plain(yaml_reader.merged(only(text))) == {
        "x": [{"p": 1, "q": 1}, {"q": 2, "r": 2}],
        "y": [{"p": 0, "q": 1, "r": 2}],
        "z": {"q": 2, "r": 2},
    }


@pytest.mark.parametrize("text", ["{a: 1}", ' \n{"a": 1,}', '{"a": NaN}', '{"a": 1} b', "{"])
def test_a_text_that_starts_with_a_brace_must_be_json(text: str) -> None:
    """Kubernetes decides by the first character that is not white space."""
    assert "is not JSON" in yaml_reader.json_problem(text.encode())
    assert yaml_reader.json_problem(b'\n {"a": [1, "x", null]} \n') == ""
    assert yaml_reader.json_problem(b"[a]") == yaml_reader.json_problem(b"a: {b") == ""


def nested_anchors(levels: int, width: int) -> str:
    lines = ["a0: &a0 x"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (nested_anchors(30, 10), "aliases"),
        ("x: &x [" + "a, " * 1000 + "]\ny: [" + "*x, " * 1000 + "]", "aliases"),
        ("- a\n" * 200_000, "values"),
        ("[" * 500_000, "nest"),
        ("- " * 10_000 + "a", "nest"),
        ("{a: " * 10_000, "nest"),
        ("a: &x x\n" * 1_300_000, "bytes"),
    ],
    ids=["billion laughs", "quadratic", "many nodes", "deep lists", "deep blocks", "deep mappings", "10 MB of anchors"],
)
def test_a_file_that_would_exhaust_memory_or_time_is_rejected_quickly(data: str, problem: str) -> None:
    begin = time.process_time()
    assert problem in refused(data).problem
    assert time.process_time() - begin < 5


def test_an_alias_is_the_node_of_its_anchor() -> None:
    """A repeated anchor replaces the earlier one, as in go-yaml."""
    assert plain(only("a: &x [1, 2]\nb: *x\n")) == {"a": [1, 2], "b": [1, 2]}
    assert plain(only("a: &x 1\nb: *x\nc: &x 2\nd: *x\n")) == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_duplicate_keys_are_kept_and_can_be_listed() -> None:
    node = only("a: 1\nb: 2\na: 3\na: 4\n")
    assert isinstance(node, YamlMapping)
    assert node.get("a") == Scalar(4, "4", 4)
    assert node.get("c") is None
    assert [(first.line, again.line) for first, again in duplicates(node)] == [(1, 3), (1, 4)]


@pytest.fixture(params=["Python", "libyaml"])
def each_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use one of the parsers of PyYAML: without libyaml, it has only the slower one."""
    if request.param == "Python":
        monkeypatch.delattr(yaml, "CSafeLoader")


@pytest.mark.parametrize(
    ("data", "line", "problem", "fix"),
    [
        ("a:\n\t- b\n", 2, "found a tab, expected blanks", "replace the tab with blanks"),
        ("a:\n  - b\n\t- c\n", 3, "found a tab, expected blanks", "replace the tab with blanks"),
        ("a: @b\n", 1, "found `@` at the beginning of a value without quotes", "put the value in quotes"),
        ("a: %b\n", 1, "found `%` at the beginning of a value without quotes", "put the value in quotes"),
        ("a: b\n  c: d\n", 2, "found a `:` that no key can have here", "correct the indentation, or put a value"),
        ("a: 1\nb: c: d\n", 2, "found a `:` that no key can have here", "correct the indentation, or put a value"),
        ('a: 1\nb: "c\nd: e\n', 2, "a quote is not closed", "close the quote"),
        ("a: 1\nb: [c\nd: e\n", 2, "a bracket or brace is not closed", "close the bracket or brace"),
        ("a: 1\nb: {c\n", 2, "a bracket or brace is not closed", "close the bracket or brace"),
        ("a:\n  - b\n c: d\n", 3, "the text or its indentation does not fit the lines above", "correct the text"),
        ("a: 1\nb\nc: d\n", 2, "a key has no `:`", "add `:` after the key"),
        ("a: {\n", 2, "a value is missing, or a bracket or brace is not closed", "add the value, or close the bracket"),
        ("a: [b, , c]\n", 1, "a value is missing, or a bracket or brace is not closed", "add the value, or close"),
        ("{a: b} c\n", 1, "the text or its indentation does not fit the lines above", "correct the text or its"),
    ],
)
@pytest.mark.usefixtures("each_parser")
def test_a_usual_mistake_has_its_line_and_its_fix(data: str, line: int, problem: str, fix: str) -> None:
    """The parsers of PyYAML have different words for the same mistake. A quote or bracket is closed where it begins."""
    error = refused(data)
    assert (error.location.path, error.location.line) == (PATH, line)
    assert error.problem.startswith(f"the file is not YAML: {problem}")
    assert repair_texts.text(error.repair).startswith(fix)


@pytest.mark.parametrize("data", ["a: [1, {b: c}]\n---\n- 'x'\n", nested_anchors(30, 10), "[" * 100_000, "a: [1\n"])
def test_both_loaders_of_pyyaml_give_the_same_result(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without libyaml, PyYAML has only the slower loader."""

    def outcome() -> object:
        try:
            return read_documents(data.encode(), PATH)
        except InputError as error:
            return str(error.location)

    with_libyaml = outcome()
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert outcome() == with_libyaml


def test_text_in_a_message_has_no_control_characters() -> None:
    assert shown("a\nb\x1b[31m\u2028c é 名") == "a\\nb\\x1b[31m\\u2028c é 名"
    assert shown("x" * 100) == "x" * 60 + "…"


WORDS = st.one_of(
    st.from_regex(r"[\w/](?:[\w./=,@%+:-]{0,9}[\w./=,@%+-])?", fullmatch=True),
    st.from_regex(r'"[ -~]{0,9}"', fullmatch=True),
    st.sampled_from(["yes", "null", "0600", "0x1f", "1:20", "1e3", "1.", "10.42.0.0/16", "2001-01-01", "a:b", "a#b"]),
)
KEYS = st.one_of(st.from_regex(r"[A-Za-z][\w.+-]{0,9}", fullmatch=True), st.sampled_from(["true", "y", "null"]))
LINES = st.one_of(
    st.builds("{}: {}\n".format, KEYS, WORDS),
    st.builds("{}: {{}}\n".format, KEYS),
    st.builds("{}:\n".format, KEYS),
    st.builds("- {}\n".format, WORDS),
)
BLOCKS = st.one_of(
    LINES,
    st.builds("{}{}".format, st.sampled_from(["  ", "    ", " ", "      "]), LINES),
    st.builds("{}:\n{}".format, KEYS, st.lists(st.builds("  - {}\n".format, WORDS), max_size=3).map("".join)),
    st.builds("{}:\n{}".format, KEYS, st.lists(st.builds("- {}\n".format, WORDS), max_size=3).map("".join)),
    st.builds("{}:\n{}".format, KEYS, st.lists(st.builds("  {}".format, LINES), max_size=3).map("".join)),
    st.sampled_from(["\n", "# a comment: [\n", "---\n", "...\n", "a: b: c\n", "  - a\n", "<<: a\n", "a: b", "a: |\n"]),
)


@given(st.lists(BLOCKS, max_size=6).map("".join))
@example("")
@example("a:\n  b:\n    - c\n  d: {}\ne:\n- f\ng:\n  h:\n    i: 1\n")
@example("a:\n  b:\n")
@example("a:\n  b:\nc: d\n")
@example("a:\n  - b\n  c: d\n")
@example("a: b\n  c: d\n")
@example("a:\n- b\n  - c\n")
@example('# a comment\n\nb+:\n  - 010\n# another\nc: off\nb+:\n  - "x: y # z"\n')
def test_the_simple_reader_agrees_with_pyyaml(text: str) -> None:
    simple = yaml_reader.simple_documents(text)
    if simple is not None:
        assert repr(simple) == repr(tuple(yaml_reader._documents(text, PATH, 100)))
