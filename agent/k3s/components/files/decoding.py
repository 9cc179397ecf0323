"""Configuration files, decoded as the components of Kubernetes decode them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import yaml_reader
from agent.errors import InputError
from agent.k3s.components.files.schema import Problem
from agent.k3s.components.values import InvalidValueError, duration
from agent.yaml_reader import Mapping, Scalar, Sequence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.k3s.components.files.schema import Schema
    from agent.yaml_reader import Node


HEAD: dict[str, Schema] = {"apiVersion": "string", "kind": "string"}
"""The fields that every configuration file has."""

CONFIG_GROUP = "apiserver.config.k8s.io"
"""The group of most configuration files of the API server."""


def duration_of(node: Mapping, key: str) -> int | None:
    """Return a duration in nanoseconds; None if it is not set or not a duration, which the schema reports."""
    text = node.text(key)
    try:
        return None if text is None else duration(text)
    except InvalidValueError:
        return None


def read(data: bytes, path: PurePosixPath, kind: str, versions: tuple[str, ...]) -> Mapping | InputError:
    """Return the first document, or why the component cannot decode it."""
    node = first(data, path, f"kind {kind}")
    if isinstance(node, InputError):
        return node
    wrong = next(head(node, (kind,), versions), None)
    return node if wrong is None else error(path, wrong)


def first(data: bytes, path: PurePosixPath, expected: str, *, can_be_empty: bool = False) -> Mapping | InputError:
    """Return the first document as a mapping, or why the component cannot decode it."""
    problem = yaml_reader.json_problem(data)
    if problem:
        return error(path, Problem(0, problem))
    try:
        document = yaml_reader.read_first_document(data, path)
    except InputError as invalid:
        return invalid
    node = document and yaml_reader.merged(document)
    if can_be_empty and not is_set(node):
        return Mapping((), 1)
    return node if isinstance(node, Mapping) else error(path, Problem(0, f"expected the {expected}"))


def head(node: Mapping, kinds: tuple[str, ...], versions: tuple[str, ...]) -> Iterator[Problem]:
    """Yield a kind or version that is not one of these; none of each accepts any."""
    for key, allowed in (("kind", kinds), ("apiVersion", versions)):
        if allowed and node.text(key) not in allowed:
            found = node.get(key)
            described = yaml_reader.describe_node(found)
            yield Problem((found or node).line, f"expected the {key} {allowed[0]}; found {described}")


def located(problems: Iterator[Problem], path: PurePosixPath) -> Iterator[InputError]:
    """Return problems of a file with its path."""
    return (error(path, problem) for problem in problems)


def error(path: PurePosixPath, problem: Problem) -> InputError:
    """Return a problem of a file with its path."""
    from agent.model import Location

    return InputError(Location(path, problem.line), problem.problem)


def is_set(node: Node | None) -> bool:
    """Return whether a node exists and is not null."""
    return node is not None and not (isinstance(node, Scalar) and node.value is None)


def items(node: Mapping, key: str) -> list[Scalar]:
    """Return the values of a list in a field; none if it is null or not set."""
    found = node.get(key)
    return list(yaml_reader.scalars(found)) if isinstance(found, Sequence) else []


def part(node: Mapping, key: str) -> Mapping:
    """Return the mapping in a field; an empty one, with its line, if the field is null, not set or no mapping."""
    found = node.get(key)
    return found if isinstance(found, Mapping) else Mapping((), node.line_of(key))


def mappings(node: Node | None) -> list[Mapping]:
    """Return the mappings in a list; none if the node is not a list."""
    items = node.items if isinstance(node, Sequence) else ()
    return [item for item in items if isinstance(item, Mapping)]
