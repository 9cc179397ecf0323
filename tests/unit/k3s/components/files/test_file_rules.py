"""Valid files of each kind, and each of their fields with values of other types."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from agent.k3s.components.files.file_rules import FileContext, FileKind, rejected_by
from agent.k3s.roles_and_versions import Component

PATH = PurePosixPath("/etc/own.yaml")
VALID = yaml.safe_load((Path(__file__).parents[5] / "tests/data/valid_files.yaml").read_text(encoding="utf-8"))
VALUES: tuple[Any, ...] = (None, "own", -1, 1.5, True, {}, ["own", "own"], [{}])


def rejected(kind: str, content: object) -> list[str]:
    """Return what the component rejects in the content of a kind of file, without its irregular rules."""
    whole = {"kind": kind, **content} if isinstance(content, dict) else content
    found = rejected_by(
        FileKind(kind, Component.API_SERVER), yaml.safe_dump(whole).encode(), PATH, FileContext(minor=37)
    )
    return [error.problem for error in found]


def places(content: object) -> Iterator[tuple[Any, Any]]:
    for key in content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ():
        yield content, key
        yield from places(content[key])  # type: ignore[index]


@pytest.mark.parametrize("kind", VALID)
def test_a_valid_file_meets_all_rules(kind: str) -> None:
    """Real components accept these files (tests/k8s/test_file_rules.py)."""
    assert rejected(kind, VALID[kind]["content"]) == []


@pytest.mark.parametrize("kind", VALID)
def test_a_value_of_any_type_is_judged_in_each_field(kind: str) -> None:
    content = copy.deepcopy(VALID[kind]["content"])
    for holder, key in list(places(content)):
        present = holder[key]
        for value in VALUES:
            holder[key] = value
            problems = rejected(kind, content)
            assert problems or not (isinstance(present, str) and isinstance(value, dict))
        holder[key] = present
