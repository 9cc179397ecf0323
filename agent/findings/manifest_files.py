"""Findings about the manifests in K3s' manifests directory."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.model import File, Location
from agent.base.repair import Answer, Decide, Edit, Instruction, moved_away
from agent.base.value import Value
from agent.findings.registry import APPLY, Problem, error, file_removal, no, steps, warning
from agent.harden.guide.guide_files import POLICY_FILE
from agent.harden.guide.manifests import network_policies
from agent.k3s.redaction import HIDDEN
from agent.k3s.roles_and_versions import WITHOUT_POD_SECURITY_POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.base.yaml_reader import Document, Node
    from agent.harden.situation import Situation

_WORDS_OF_PROBLEMS = (b"PodSecurityPolicy", b"NetworkPolicy", b"<")
_OLD_API = rb"/v[12](alpha|beta)[123]\b"
_PACKAGED = frozenset({"ccm", "coredns", "local-storage", "metrics-server", "rolebindings", "runtimes", "traefik"})
"""Manifests and directories that K3s writes again at each start (k3s, pkg/deploy)."""
_PLACEHOLDER = r"<[^<>\n]+>"
_LARGEST_MANIFEST = 8 << 20
_MOST_PARSED = 1 << 20
"""Bytes of manifests after which no further file is parsed."""
_NAME_LABEL = "kubernetes.io/metadata.name"


@error(
    blocks_gate=no("Pod Security admission has replaced these policies, so K3s is not less protected."),
    prevents_start=no("K3s starts, and logs an error each time that it tries to apply the file."),
    repair="run `sudo k3s-harden apply`, or remove the PodSecurityPolicies before this K3s version starts",
)
def stale_pod_security_policy(situation: Situation) -> Iterator[Problem]:
    """A manifest contains a PodSecurityPolicy, which Kubernetes 1.25 and newer do not support.

    K3s tries to apply the file forever and logs an error each time. Remove the policy before the upgrade: afterwards
    K3s cannot delete the object.
    """
    if not WITHOUT_POD_SECURITY_POLICY.includes(situation.facts.version):
        return
    planned = {change.id for change in situation.plan.changes}
    lines: dict[PurePosixPath, list[int]] = {}
    others = set()
    for entry in _objects(situation):
        if entry.kind == "PodSecurityPolicy":
            lines.setdefault(entry.path, []).append(entry.line)
        else:
            others.add(entry.path)
    for path, found in lines.items():
        objects = "1 PodSecurityPolicy" if len(found) == 1 else f"{len(found)} PodSecurityPolicies"
        location = Location(path, found[0])
        message = f"manifest contains {objects}, which K3s {situation.facts.version} does not support"
        expected = f"none since v1.{WITHOUT_POD_SECURITY_POLICY.first}"
        remove = Instruction("before this K3s version starts, remove the PodSecurityPolicies", location)
        fix = APPLY if str(path) in planned else steps(remove if path in others else moved_away(path))
        yield Problem(message, expected, location=location, repair=fix)


@error(
    blocks_gate=no("The object of earlier starts remains. Other controls are not affected."),
    prevents_start=no("K3s starts, and logs an error each time that it tries to apply the file."),
    repair="change the objects to the API version that replaces it",
)
def manifest_api_removed(situation: Situation) -> Iterator[Problem]:
    """A manifest has an API version that Kubernetes of this version does not have any more.

    K3s tries to apply the file every 15 seconds, forever; until the first pass without errors after a start, it applies
    all files each time. K3s' own manifests are not reported: K3s writes them again when it starts.
    """
    applied = situation.k3s_files.manifests.applied
    if not any(re.search(_OLD_API, data) for data in applied.values()):
        return
    from agent.k3s.roles_and_versions import removal_of  # only few hosts have such a manifest

    directory = (situation.facts.data_dir / POLICY_FILE).parent
    for entry in _objects(situation):
        removal = removal_of(entry.api_version, entry.kind, situation.facts.version)
        if removal is not None and entry.path.relative_to(directory).parts[0].partition(".")[0] not in _PACKAGED:
            location = Location(entry.path, (yaml_reader.part(entry.node, "apiVersion") or entry.node).line)
            what = f"a {entry.kind} of {entry.api_version}"
            message = f"manifest contains {what}, which K3s {situation.facts.version} does not support"
            fix = steps(Edit(location, entry.api_version, removal.instead))
            yield Problem(message, removal.instead, entry.api_version, location, fix)


@warning(repair="unless you label your namespaces, use the label kubernetes.io/metadata.name")
def selector_matches_no_namespace(situation: Situation) -> Iterator[Problem]:
    """A NetworkPolicy selects namespaces by the label `name`, which Kubernetes does not set.

    Such a policy allows no traffic, not even from its own namespace. The API server sets the label
    kubernetes.io/metadata.name on every namespace.
    """
    for entry in _objects(situation):
        if entry.kind == "NetworkPolicy":
            for line in _name_selectors(entry.node):
                location = Location(entry.path, line)
                message = "NetworkPolicy selects namespaces by a label that Kubernetes does not set"
                answers = (
                    Answer("Yes", "the policy selects these", ()),
                    Answer("No", "the policy selects by the name", (Edit(location, "name", _NAME_LABEL),)),
                )
                fix = steps(Decide("Do you label your namespaces with `name`?", answers))
                yield Problem(message, _NAME_LABEL, "name", location, fix)


@warning(repair="before apply, create the policy again with another name, and delete this one")
def network_policy_name_taken(situation: Situation) -> Iterator[Problem]:
    """A NetworkPolicy of the site has the name of one in policy.yaml, which replaces it, and later deletes it."""
    own = situation.facts.data_dir / POLICY_FILE
    policies = [entry for entry in _objects(situation) if entry.kind == "NetworkPolicy" and entry.path != own]
    if policies:
        data = network_policies(situation.settings.network_policy_namespaces)
        objects = (unpacked_objects(document, own) for document in yaml_reader.read_documents(data, own))
        names = {(ours.namespace, ours.name) for found in objects for ours in found}
        for entry in policies:
            if (entry.namespace, entry.name) in names:
                located = yaml_reader.part(entry.node, "metadata", "name") or entry.node
                rename = Edit(Location(entry.path, located.line), entry.name, f"{entry.name}-site")
                taken = name_taken(entry.namespace, entry.name)
                yield taken._replace(location=Location(entry.path, entry.line), repair=steps(rename))


def name_taken(namespace: str, name: str) -> Problem:
    """Return the case of a policy in the cluster."""
    message = f"policy.yaml replaces the NetworkPolicy {namespace}/{name} of the site, which has the same name"
    return Problem(message, expected="another name", found=name)


@error(
    blocks_gate=no("Only that object is missing. Other controls are not affected."),
    prevents_start=no("K3s logs an error for the manifest and continues."),
    repair="replace the placeholder with the name",
)
def manifest_placeholder(situation: Situation) -> Iterator[Problem]:
    """A manifest contains a placeholder such as <NAMESPACE>, so K3s cannot create the object."""
    for entry in _objects(situation):
        for scalar in yaml_reader.scalars(entry.node):
            if re.fullmatch(_PLACEHOLDER, scalar.text):
                message = "manifest contains a placeholder"
                found = HIDDEN if entry.kind == "Secret" else scalar.text
                yield Problem(message, found=found, location=Location(entry.path, scalar.line))


@warning(repair="correct the YAML, or remove the symbolic link")
def manifest_broken(situation: Situation) -> Iterator[Problem]:
    """A manifest is not valid YAML. K3s applies nothing of it, not even its valid documents.

    If a manifest is a symbolic link to a missing file, K3s applies no manifest of the directory, not even policy.yaml.
    """
    for path, data in _unmanaged(situation):
        problem = _parsed(path, data)
        if isinstance(problem, InputError) and not isinstance(problem, yaml_reader.BoundsError):
            message = f"K3s does not apply this manifest: {problem.problem}"
            yield Problem(message, location=problem.location, repair=problem.repair)
    for link in situation.k3s_files.manifests.broken_links:
        message = "K3s applies no manifest: this one is a symbolic link to a missing file"
        yield Problem(message, location=Location(link), repair=file_removal(link))


def beyond_limits(situation: Situation) -> Iterator[InputError]:
    """Yield the errors of manifests that are too deep or too large for this program, one by one or together."""
    parsed = (_parsed(path, data) for path, data in _unmanaged(situation))
    yield from (error for error in parsed if isinstance(error, yaml_reader.BoundsError))
    left = len(dict(_worth_parsing(situation))) - len(dict(_unmanaged(situation)))
    if left:
        directory = Location((situation.facts.data_dir / POLICY_FILE).parent)
        problem = f"{left} manifests are not checked, because all have more than {_MOST_PARSED} bytes"
        yield InputError(directory, problem, Instruction("remove manifests that are not needed"))


class ManifestObject(Value):
    """An object that K3s applies."""

    kind: str
    node: Node
    path: PurePosixPath
    line: int

    @property
    def api_version(self) -> str:
        """The version of its API, such as `batch/v1`; empty if it has none."""
        return yaml_reader.text_at(self.node, "apiVersion")

    @property
    def name(self) -> str:
        """The name in its metadata; empty if it has none."""
        return yaml_reader.text_at(self.node, "metadata", "name")

    @property
    def namespace(self) -> str:
        """The namespace in its metadata; empty if it has none."""
        return yaml_reader.text_at(self.node, "metadata", "namespace")


def _unmanaged(situation: Situation) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the manifests that are parsed."""
    total = 0
    for path, data in _worth_parsing(situation):
        if total <= _MOST_PARSED:
            yield path, data
        total += len(data)


def _worth_parsing(situation: Situation) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the manifests that K3s applies and that can have a problem. Charts and large bundles have none.

    Those with the content that apply writes are left out.
    """
    expected = {file.path: file.content for file in situation.desired if isinstance(file, File)}
    for path, data in situation.k3s_files.manifests.applied.items():
        has_word = any(word in data for word in _WORDS_OF_PROBLEMS) or re.search(_OLD_API, data)
        if has_word and expected.get(path) != data:
            yield path, data


def _objects(situation: Situation) -> Iterator[ManifestObject]:
    for path, data in _unmanaged(situation):
        parsed = _parsed(path, data)
        for document in () if isinstance(parsed, InputError) else parsed:
            yield from unpacked_objects(document, path)


def unpacked_objects(document: Document, path: PurePosixPath) -> Iterator[ManifestObject]:
    """Yield the objects of a document. K3s treats every object with `items` as a list (controller.go, toObjects).

    Items of a list such as NetworkPolicyList that do not have a kind get it from the list.
    """
    node = document.node
    kind, items = yaml_reader.text_at(node, "kind"), yaml_reader.part(node, "items")
    if not isinstance(items, yaml_reader.YamlSequence):
        yield ManifestObject(kind, node, path, document.line)
        return
    for item in items.items:
        yield ManifestObject(yaml_reader.text_at(item, "kind") or kind.removesuffix("List"), item, path, item.line)


@lru_cache(maxsize=512)
def _parsed(path: PurePosixPath, data: bytes) -> tuple[Document, ...] | InputError:
    try:
        return yaml_reader.read_documents(data, path, max_bytes=_LARGEST_MANIFEST)
    except InputError as error:
        return error


def _name_selectors(node: Node) -> Iterator[int]:
    """Yield the lines of `name` keys in a namespaceSelector's matchLabels."""
    if isinstance(node, yaml_reader.YamlSequence):
        for item in node.items:
            yield from _name_selectors(item)
    elif isinstance(node, yaml_reader.YamlMapping):
        for entry in node.entries:
            labels = yaml_reader.part(entry.node, "matchLabels")
            if entry.key == "namespaceSelector" and isinstance(labels, yaml_reader.YamlMapping):
                yield from (label.line for label in labels.entries if label.key == "name")
            yield from _name_selectors(entry.node)
