"""Which records are verified, and how a large list is read."""

from __future__ import annotations

import io
import json
from itertools import chain
from typing import Any

import pytest

from agent.cluster.fleet import snapshot
from agent.cluster.fleet.snapshot import Record, members, node_of_record, parse_keys, record_text

TEXT = record_text("cp-0", "v1.37.3+k3s1", {"k3s-harden.internal/role": "server"}, {"type": "X"})
KEYS = parse_keys('# a comment\n\na,b ssh-ed25519 AAAA\nb/cp-0 namespaces="k3s-harden" ssh-rsa BBBB c\nalone\n')


def test_a_key_belongs_to_each_of_its_names() -> None:
    assert KEYS == {
        "a": "ssh-ed25519 AAAA\n",
        "b": "ssh-ed25519 AAAA\n",
        "b/cp-0": 'namespaces="k3s-harden" ssh-rsa BBBB c\n',
    }


def test_an_unchanged_record_is_not_verified_again() -> None:
    """Another text, signature, key or cluster is."""
    calls: list[str] = []

    def problem(_data: bytes, _signed: bytes, keys: str) -> str:
        calls.append(keys)
        return ""

    first = node_of_record(Record(TEXT, "s"), "a", KEYS, {}, problem)
    known = {"a/cp-0": first.verified, "b/cp-0": first.verified}
    assert (first.name, first.is_server, first.cluster, first.unknown, len(calls)) == ("cp-0", True, "a", "", 1)
    assert node_of_record(Record(TEXT, "s"), "a", KEYS, known, problem) == first
    assert len(calls) == 1
    for found, cluster, keys in (
        (Record(TEXT + " ", "s"), "a", KEYS),
        (Record(TEXT, "t"), "a", KEYS),
        (Record(TEXT, "s"), "b", KEYS),
        (Record(TEXT, "s"), "a", {**KEYS, "a": "other\n"}),
    ):
        node_of_record(found, cluster, keys, known, problem)
    assert calls[1:] == [KEYS["a"], KEYS["a"], KEYS["b/cp-0"] + KEYS["b"], "other\n"]


def test_an_invalid_signature_is_never_remembered() -> None:
    node = node_of_record(Record(TEXT, "s"), "a", KEYS, {}, lambda *_: "incorrect signature")
    assert (node.verified, node.unknown) == ("", "the signature is not valid: incorrect signature")


def test_half_a_character_is_part_of_the_verified_bytes() -> None:
    seen: list[tuple[bytes, bytes]] = []

    def problem(data: bytes, signed: bytes, _keys: str) -> str:
        seen.append((data, signed))
        return "incorrect signature"

    assert node_of_record(Record("\ud800", "\udfff"), "a", KEYS, {}, problem).unknown.endswith("incorrect signature")
    assert seen == [(b"\xed\xa0\x80", b"\xed\xbf\xbf")]


DOCUMENTS: tuple[dict[str, Any], ...] = (
    {"apiVersion": "v1", "items": [{"a": [1, {"b": "]}"}]}, 2, "x", None, []], "kind": "List", "n": 12.5},
    {},
    {"items": []},
    {"n": 1},
)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("indent", [None, 200])
def test_a_stream_has_the_values_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, chunk: int, document: dict[str, object], indent: int | None
) -> None:
    """Wherever a piece of it ends."""
    monkeypatch.setattr(snapshot, "_CHUNK", chunk)
    expected = chain.from_iterable(
        [(key, []), *((f"{key}[]", item) for item in value)] if isinstance(value, list) else [(key, value)]
        for key, value in document.items()
    )
    assert list(members(io.StringIO(json.dumps(document, indent=indent)))) == list(expected)


@pytest.mark.parametrize(
    "text", ["", "x", "[]", '{"a"', '{"a":', '{"a": 1', '{"a": 1,}', '{"a": [1,]}', '{"a": [1}', "{} {}"]
)
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(members(io.StringIO(text)))
