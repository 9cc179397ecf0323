"""Admission policies that the API server loads from directories, in Kubernetes 1.37 and newer. Pure.

Source: kubernetes, staging/src/k8s.io/apiserver/pkg/admission/plugin: manifest, policy/config, policy/manifest/loader.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.report import Prediction
from agent.base.yaml_reader import (
    Node,
    YamlMapping,
    YamlSequence,
    describe_node,
    mappings,
    merged,
    part,
    read_documents,
    shown,
    text_at,
    texts,
)
from agent.k3s import admission_configuration
from agent.k3s.components.files.decoding import FileRejection, is_set, located
from agent.k3s.components.files.file_rules import FileContext, FileKind, rejected_fields, scopes
from agent.k3s.go_values import is_subdomain
from agent.k3s.roles_and_versions import Component

PLUGINS = ("ValidatingAdmissionPolicy", "MutatingAdmissionPolicy")
SUFFIX = ".static.k8s.io"
ENDINGS = (".yaml", ".yml", ".json")
"""The API server ignores other files, and subdirectories."""

_GATE = "ManifestBasedAdmissionControlConfig"
_ALPHA = 36
"""The first minor version with the feature gate, which is off there by default."""
_BINDING = "Binding"
_METADATA = {
    *("annotations", "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers"),
    *("generateName", "generation", "labels", "managedFields", "name", "namespace", "ownerReferences"),
    *("resourceVersion", "selfLink", "uid"),
}
"""The fields of ObjectMeta."""
_RULES = "spec.matchConstraints.resourceRules[]"
_CONDITIONS = {"spec.matchConditions[]": "name expression", "spec.variables[]": "name expression"}
_REQUIRED = {
    "ValidatingAdmissionPolicy": {
        "spec": "matchConstraints",
        "spec.matchConstraints": "resourceRules",
        _RULES: "apiGroups apiVersions operations resources",
        "spec.validations[]": "expression",
        **_CONDITIONS,
    },
    "ValidatingAdmissionPolicyBinding": {"spec": "validationActions"},
    "MutatingAdmissionPolicy": {
        "spec": "matchConstraints mutations reinvocationPolicy",
        "spec.matchConstraints": "resourceRules",
        _RULES: "apiGroups apiVersions operations resources",
        "spec.mutations[]": "patchType",
        **_CONDITIONS,
    },
}
"""Fields that must not be empty, by kind and mapping (kubernetes, pkg/apis/admissionregistration/validation)."""

_RULE = Prediction("agent/k3s/components/files/static_policies.py", "Kubernetes, manifest-admission-control")


class PolicyDirectory(NamedTuple):
    """A directory that an admission configuration names."""

    plugin: str
    path: PurePosixPath
    location: Location
    """The line that names it."""


class PolicyObject(NamedTuple):
    """A policy or a binding."""

    node: YamlMapping
    path: PurePosixPath

    @property
    def name(self) -> str:
        """Its name; empty without one."""
        return text_at(self.node, "metadata", "name")

    @property
    def policy(self) -> str:
        """The policy that a binding binds; empty if it names none."""
        return text_at(self.node, "spec", "policyName")

    @property
    def is_binding(self) -> bool:
        """Whether it is a binding."""
        return (self.node.text("kind") or "").endswith(_BINDING)


def ignores_configurations(minor: int) -> bool:
    """Return whether the API server of a minor version ignores the configurations of the plugins; 0 is unknown."""
    return 0 < minor < _ALPHA


def knows_fields(minor: int) -> bool:
    """Return whether the fields of these configurations are known for a minor version; 0 is unknown."""
    return not 0 < minor <= _ALPHA


def policy_directories(
    data: bytes, path: PurePosixPath, contents: Mapping[PurePosixPath, bytes | None]
) -> list[PolicyDirectory]:
    """Return the directories that an admission configuration names. Those that cannot be decoded are not among them."""
    found = []
    for plugin in PLUGINS:
        try:
            configured = admission_configuration.plugin_configuration(plugin, data, path, contents.get)
        except InputError:
            continue  # named_files.py has the reason
        node = configured[2] if configured else None
        if configured and isinstance(node, YamlMapping) and node.text("staticManifestsDir"):
            directory = PurePosixPath(node.text("staticManifestsDir") or "")
            location = Location(configured[0], node.line_of("staticManifestsDir"))
            found.append(PolicyDirectory(plugin, directory, location))
    return found


def objects_of(data: bytes, path: PurePosixPath) -> Iterator[PolicyObject]:
    """Yield the objects of a file. Raises InputError if a document is no object, such as a comment."""
    for part_of_file in re.split(rb"^---", data, flags=re.MULTILINE):
        lines = [line.lstrip() for line in part_of_file.splitlines() if line.strip()]
        if lines and all(line.startswith(b"#") for line in lines):
            raise InputError(Location(path), "a document has only comments; write them inside the next one")
    for document in read_documents(data, path):
        node = merged(document.node)
        if not isinstance(node, YamlMapping):
            raise InputError(Location(path, document.line), f"expected an object; found {describe_node(node)}")
        is_list = (node.text("kind"), node.text("apiVersion")) == ("List", "v1")
        yield from (PolicyObject(item, path) for item in (mappings(node.get("items")) if is_list else [node]))


def digest(files: Mapping[PurePosixPath, bytes | None]) -> str:
    """Return the digest of a directory that the API server shows in its metrics after it has loaded these files."""
    found = [files[path] or b"" for path in sorted(files)]
    return f"sha256:{sha256(b''.join(data + bytes(1) for data in found if data)).hexdigest()}" if any(found) else ""


def rejected_directory(
    directory: PolicyDirectory, files: Mapping[PurePosixPath, bytes | None] | None, context: FileContext
) -> Iterator[InputError]:
    """Yield why the API server does not start with a directory; `files` is None if there is no such directory.

    An invalid expression (CEL) is not found.
    """
    if ignores_configurations(context.minor):
        return
    gate_is_off = f"{_GATE}=false" in context.arguments.get("feature-gates", "")
    unusable = (
        (gate_is_off or (context.minor == _ALPHA and _GATE not in context.gates), f"the feature gate {_GATE} is off"),
        (not directory.path.is_absolute(), "the path is not absolute"),
        (files is None, "there is no such directory"),
    )
    reason = next((text for applies, text in unusable if applies), "")
    if reason:
        text = f"cannot load policies from {shown(str(directory.path))}: {reason}"
        yield from located([FileRejection(directory.location.line or 1, text, _RULE)], directory.location.path)
        return
    objects: list[PolicyObject] = []
    for path, data in (files or {}).items():
        if data is None:
            yield InputError(Location(path), "the file cannot be read")
            continue
        try:
            objects += objects_of(data, path)
        except InputError as error:
            yield error
    # The table has the fields from 1.37 on; those of all versions are used for an unknown one.
    described = context if knows_fields(context.minor) else context._replace(minor=0)
    for item in objects:
        yield from located(_rejected(directory.plugin, item, objects, described), item.path)


def _rejected(
    plugin: str, item: PolicyObject, objects: Iterable[PolicyObject], context: FileContext
) -> Iterator[FileRejection]:
    kind = item.node.text("kind")
    if kind not in (plugin, plugin + _BINDING):
        found = describe_node(item.node.get("kind"))
        yield FileRejection(item.node.line, f"expected the kind {plugin} or {plugin}{_BINDING}; found {found}", _RULE)
        return
    yield from rejected_fields(FileKind(kind, Component.API_SERVER), item.node, context)
    same = [other for other in objects if other.node.text("kind") == kind and other.name == item.name]
    policies = {other.name for other in objects if not other.is_binding}
    metadata = part(item.node, "metadata")
    unknown = sorted({entry.key for entry in metadata.entries} - _METADATA) if isinstance(metadata, YamlMapping) else []
    reacts = part(item.node, "spec", "validations"), part(item.node, "spec", "auditAnnotations")
    problems = (
        (bool(unknown), f"metadata has no field {shown(', '.join(unknown))}"),
        (not is_subdomain(item.name), f"its name is not a DNS subdomain; found {shown(item.name) or 'none'}"),
        (kind == PLUGINS[0] and all(map(_is_empty, reacts)), "spec.validations and spec.auditAnnotations are empty"),
        (not item.name.endswith(SUFFIX), f"its name must end with {SUFFIX}; found {shown(item.name) or 'none'}"),
        (same[0] is not item, f"the name {shown(item.name)} is not unique"),
        (bool(part(item.node, "spec", "paramKind") or part(item.node, "spec", "paramRef")), "it has parameters"),
        (
            item.is_binding and item.policy not in policies,
            f"there is no policy {shown(item.policy) or 'in policyName'}",
        ),
    )
    unset = (
        (_is_empty(node.get(name)), f"{scope}.{name} is empty")
        for scope, names in _REQUIRED.get(kind, {}).items()
        for node, _ in scopes(item.node, {}, scope)
        for name in names.split()
    )
    actions = texts(part(item.node, "spec", "validationActions"))
    contradict = {"Deny", "Warn"} <= {*actions} or len({*actions}) < len(actions)
    all_problems = (*problems, *unset, (contradict, f"it has the actions {', '.join(actions)}"))
    yield from (
        FileRejection(item.node.line, f"cannot load the {kind}: {text}", _RULE) for bad, text in all_problems if bad
    )


def _is_empty(node: Node | None) -> bool:
    return not is_set(node) or (isinstance(node, YamlSequence) and not node.items)
