"""What else lies in K3s' manifests directory, and what it would do there."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from agent import yaml_reader
from agent.errors import InputError
from agent.findings.registry import APPLY, Trouble, finding, instruction, shell_command
from agent.model import WITHOUT_POD_SECURITY_POLICY, File, Location
from agent.report import Level

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.situation import Situation
    from agent.yaml_reader import Document, Node

_WORTH_PARSING = (b"PodSecurityPolicy", b"namespaceSelector", b"<")
_PLACEHOLDER = r"<[^<>\n]+>"
_LARGEST_MANIFEST = 8 << 20


@finding(Level.ERROR)
def stale_pod_security_policy(seen: Situation) -> Iterator[Trouble]:
    """A manifest has a PodSecurityPolicy, which Kubernetes 1.25 and newer do not know.

    K3s tries to apply the file for ever and logs an error each time. It must be gone before the upgrade: afterwards
    K3s cannot even remove the object.
    """
    if not WITHOUT_POD_SECURITY_POLICY.includes(seen.facts.version):
        return
    planned = {change.id for change in seen.plan.changes}
    lines: dict[PurePosixPath, list[int]] = {}
    for one in _objects(seen):
        if one.kind == "PodSecurityPolicy":
            lines.setdefault(one.path, []).append(one.line)
    for path, found in lines.items():
        yield Trouble(
            f"has {len(found)} of the kind PodSecurityPolicy, which this K3s does not know",
            expected=f"none from v1.{WITHOUT_POD_SECURITY_POLICY.first} on",
            location=Location(path, found[0]),
            remediation=APPLY
            if str(path) in planned
            else instruction("remove them from the file before this K3s starts"),
        )


@finding(Level.WARNING)
def selector_matches_no_namespace(seen: Situation) -> Iterator[Trouble]:
    """A NetworkPolicy selects namespaces by the label `name`, which no namespace has unless somebody gave it one.

    Such a policy lets nothing in, not even from within the namespace. kubernetes.io/metadata.name is the label that
    the API server keeps on every namespace.
    """
    for one in _objects(seen):
        if one.kind == "NetworkPolicy":
            for line in _name_selectors(one.node):
                yield Trouble(
                    "selects namespaces by the label `name`, which none has",
                    expected="kubernetes.io/metadata.name",
                    found="name",
                    location=Location(one.path, line),
                    remediation=instruction(
                        "write kubernetes.io/metadata.name there, unless you label your namespaces yourself"
                    ),
                )


@finding(Level.ERROR, blocks_gate=False)
def manifest_placeholder(seen: Situation) -> Iterator[Trouble]:
    """A manifest still has a placeholder such as <NAMESPACE>. It is no legal name, so the object is never made."""
    for one in _objects(seen):
        for scalar in yaml_reader.scalars(one.node):
            if re.fullmatch(_PLACEHOLDER, scalar.text):
                yield Trouble(
                    "has a placeholder that nobody filled in",
                    found=scalar.text,
                    location=Location(one.path, scalar.line),
                    remediation=instruction("write the real name there"),
                )


@finding(Level.WARNING)
def manifest_broken(seen: Situation) -> Iterator[Trouble]:
    """A manifest is not YAML: K3s applies nothing of that file, not even its whole documents.

    At a link to nothing it applies nothing of the whole directory, our file neither.
    """
    for path, data in _in_need_of_a_look(seen):
        problem = _parsed(path, data)
        if isinstance(problem, InputError) and not isinstance(problem, yaml_reader.BoundsError):
            yield Trouble(
                f"K3s applies nothing of it: {problem.problem}",
                location=problem.location,
                remediation=instruction("repair the file"),
            )
    for link in seen.k3s_files.manifests.broken_links:
        yield Trouble(
            "K3s applies no manifest at all: this one links to nothing",
            location=Location(link),
            remediation=shell_command(f"sudo rm {link}"),
        )


class _Object(NamedTuple):
    """An object that K3s applies, and where it begins."""

    kind: str | None
    node: Node
    path: PurePosixPath
    line: int


def _in_need_of_a_look(seen: Situation) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The manifests that K3s applies, but for ours where it is as we would write it."""
    as_wanted = {one.path: one.content for one in seen.desired if isinstance(one, File)}
    return ((path, data) for path, data in seen.k3s_files.manifests.applied.items() if as_wanted.get(path) != data)


def _objects(seen: Situation) -> Iterator[_Object]:
    for path, data in _in_need_of_a_look(seen):
        parsed = _parsed(path, data)
        for document in () if isinstance(parsed, InputError) else parsed:
            yield from _unpacked(document, path)


def _unpacked(document: Document, path: PurePosixPath) -> Iterator[_Object]:
    """The objects of a document: what has `items` is a list to K3s, whatever its kind (controller.go, toObjects).

    Items of a list such as NetworkPolicyList that do not name their kind get it from the list's.
    """
    node = document.node
    kind = node.text("kind") if isinstance(node, yaml_reader.Mapping) else None
    items = node.get("items") if isinstance(node, yaml_reader.Mapping) else None
    if not isinstance(items, yaml_reader.Sequence):
        yield _Object(kind, node, path, document.line)
        return
    for item in items.items:
        own = item.text("kind") if isinstance(item, yaml_reader.Mapping) else None
        yield _Object(own or (kind or "").removesuffix("List"), item, path, item.line)


@lru_cache(maxsize=256)
def _parsed(path: PurePosixPath, data: bytes) -> tuple[Document, ...] | InputError:
    # Charts and large bundles are passed over unread: none of what is looked for is in them.
    if not any(word in data for word in _WORTH_PARSING):
        return ()
    try:
        return yaml_reader.read(data, path, max_bytes=_LARGEST_MANIFEST)
    except InputError as error:
        return error


def _name_selectors(node: Node) -> Iterator[int]:
    """The lines of `name` keys in a namespaceSelector's matchLabels."""
    if isinstance(node, yaml_reader.Sequence):
        for item in node.items:
            yield from _name_selectors(item)
    elif isinstance(node, yaml_reader.Mapping):
        for entry in node.entries:
            labels = entry.node.get("matchLabels") if isinstance(entry.node, yaml_reader.Mapping) else None
            if entry.key == "namespaceSelector" and isinstance(labels, yaml_reader.Mapping):
                yield from (label.line for label in labels.entries if label.key == "name")
            yield from _name_selectors(entry.node)
