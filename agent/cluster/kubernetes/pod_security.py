"""Pod Security standards: which is enforced in each namespace, what is exempt, and pods that break one rule each."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple, Union

from agent.base import package_data
from agent.base.model import StrEnum
from agent.cluster.kubernetes.objects import Json, Namespace, as_list, as_mapping
from agent.k3s.admission_configuration import PodSecurity

Step = Union[str, tuple[str, str]]
"""A key, or the key of a list and the name of an item."""

_CONTEXT: Json = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65534,
    "seccompProfile": {"type": "RuntimeDefault"},
}
# For a quota that requires them, and few enough for one that is almost used.
_RESOURCES: Json = {name: {"cpu": "10m", "memory": "16Mi"} for name in ("limits", "requests")}
_PORT: Json = {"containerPort": 8080, "hostPort": 8080}

_BREACHES: Mapping[str, tuple[Json, Json, Json]] = {
    "pods-privileged": ({}, {}, {"privileged": True, "allowPrivilegeEscalation": True}),
    "pods-host-pid": ({"hostPID": True}, {}, {}),
    "pods-host-ipc": ({"hostIPC": True}, {}, {}),
    "pods-host-network": ({"hostNetwork": True}, {}, {}),
    "pods-privilege-escalation": ({}, {}, {"allowPrivilegeEscalation": True}),
    "pods-root": ({}, {}, {"runAsNonRoot": False, "runAsUser": 0}),
    "pods-net-raw": ({}, {}, {"capabilities": {"drop": ["CHOWN"]}}),
    "pods-added-capabilities": ({}, {}, {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}),
    "pods-assigned-capabilities": ({}, {}, {"capabilities": {"drop": ["NET_RAW"]}}),
    # Kubernetes accepts such a container only with the network of the host.
    "pods-windows-host-process": ({"hostNetwork": True}, {}, {"windowsOptions": {"hostProcess": True}}),
    "pods-host-path": ({"volumes": [{"name": "host", "hostPath": {"path": "/etc"}}]}, {}, {}),
    "pods-host-ports": ({}, {"ports": [_PORT]}, {}),
    # Kubernetes accepts it only with a user namespace.
    "pods-proc-mount": ({"hostUsers": False}, {}, {"procMount": "Unmasked"}),
}
"""By control, what differs from a harmless pod: in its specification, in its container, in the security context."""

_HARMLESS: tuple[Json, Json, Json] = ({}, {}, {})

CONTROLS = (*_BREACHES,)
"""The controls with a probe."""
OF_CONTAINERS = frozenset(name for name, (_, *of_container) in _BREACHES.items() if any(of_container))
"""Those whose rule a container breaks."""


def broken_pod(control: str = "", kind: str = "containers") -> Json:
    """Return a pod that breaks the rule of a control, or without one a harmless pod.

    `kind` is the field with the container that breaks it. Names and labels are as a Deployment gives them, because a
    policy can exempt others.
    """
    broken, harmless = broken_container(control), broken_container()
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "web-5b7d8c9f64-", "labels": {"app": "web", "pod-template-hash": "5b7d8c9f64"}},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [harmless],
            **({kind: [broken]} if kind == "containers" else {kind: [{**broken, "name": "setup"}]}),
            **_BREACHES.get(control, _HARMLESS)[0],
        },
    }


def broken_container(control: str = "") -> Json:
    """Return a container that breaks the rule of a control, or without one a harmless container."""
    _, of_container, of_context = _BREACHES.get(control, _HARMLESS)
    container = {"name": "web", "image": "rancher/mirrored-pause:3.6", "resources": _RESOURCES, **of_container}
    return {**container, "securityContext": {**_CONTEXT, **of_context}}


ENFORCE = "pod-security.kubernetes.io/enforce"
ENFORCE_VERSION = "pod-security.kubernetes.io/enforce-version"
FIRST_COMPLETE = 22
"""The minor version from which the standard `restricted` requires that a container drops all capabilities."""


class PodSecurityLevel(StrEnum):
    """A Pod Security standard, or EXEMPT for a namespace that the API server does not check."""

    PRIVILEGED = "privileged"
    BASELINE = "baseline"
    RESTRICTED = "restricted"
    EXEMPT = "exempt"

    def includes(self, other: PodSecurityLevel) -> bool:
        """Return whether this level forbids everything that the other one forbids."""
        return self in _ORDER and _ORDER.index(self) >= _ORDER.index(other)


_ORDER = (PodSecurityLevel.PRIVILEGED, PodSecurityLevel.BASELINE, PodSecurityLevel.RESTRICTED)


class Standard(NamedTuple):
    """A level and its version."""

    level: PodSecurityLevel
    minor: int | None = None
    """The minor version of Kubernetes that it is pinned to; None for the latest."""


class PodSecurityDefaults(NamedTuple):
    """The Pod Security configuration of the API server."""

    level: PodSecurityLevel | None
    """The level of namespaces without a label; None if it could not be determined."""
    exempt: frozenset[str] = frozenset()
    """The namespaces that are not checked."""
    users: tuple[str, ...] = ()
    """The users whose pods are not checked."""
    runtime_classes: tuple[str, ...] = ()
    """The runtime classes whose pods are not checked."""
    is_disabled: bool = False
    """Whether the API server does not run the plugin, so that labels have no effect, too."""
    minor: int | None = None
    """The version of `level`, as in a Standard."""
    has_gate: bool = False
    """Whether the feature gate UserNamespacesPodSecurityStandards is on."""

    @classmethod
    def of(cls, configuration: PodSecurity) -> PodSecurityDefaults:
        """Return the defaults of an admission configuration; the API server exits at an unknown level."""
        level = next((level for level in _ORDER if level.value == configuration.level), PodSecurityLevel.PRIVILEGED)
        return cls(
            level,
            frozenset(configuration.exempt_namespaces),
            configuration.exempt_users,
            configuration.exempt_runtime_classes,
            minor=_minor(configuration.version),
        )


def standard_of(namespace: Namespace, defaults: PodSecurityDefaults) -> Standard | None:
    """Return the standard that is enforced in a namespace; None if it could not be determined."""
    if defaults.is_disabled:
        return Standard(PodSecurityLevel.PRIVILEGED)
    if namespace.name in defaults.exempt:
        return Standard(PodSecurityLevel.EXEMPT)
    label, version = namespace.labels.get(ENFORCE), namespace.labels.get(ENFORCE_VERSION)
    # The API server enforces `restricted` for an unknown value, and the latest version for an invalid one.
    level = (
        defaults.level
        if label is None
        else next((level for level in _ORDER if level.value == label), PodSecurityLevel.RESTRICTED)
    )
    return None if level is None else Standard(level, defaults.minor if version is None else _minor(version))


def level_of(namespace: Namespace, defaults: PodSecurityDefaults) -> PodSecurityLevel | None:
    """Return the level of a namespace; an old version of `restricted` counts as `baseline`."""
    standard = standard_of(namespace, defaults)
    if standard is None:
        return None
    is_old = standard.minor is not None and standard.minor < FIRST_COMPLETE
    return PodSecurityLevel.BASELINE if is_old and standard.level is PodSecurityLevel.RESTRICTED else standard.level


def _minor(version: str) -> int | None:
    found = re.fullmatch(r"v1\.(0|[1-9][0-9]{0,8})", version)
    return int(found[1]) if found else None


LATEST = 1 << 16
"""The minor version of a standard with all rules."""
_NEVER = LATEST + 1

_LITERALS = {"true": True, "false": False, "0": 0, '""': ""}
_USER_NAMESPACE = "user-namespace"
_SECCOMP = "seccomp.security.alpha.kubernetes.io/"
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


class Violation(NamedTuple):
    """A field of a pod template that a standard forbids or requires."""

    rule: str
    """The id of the check in the API server's source."""
    field: str
    found: str
    expected: str
    fix: tuple[tuple[Step, ...], Json] | None
    """Where to set which value, None to remove it; no fix if no value is right for all pods."""
    asks: bool = False
    """Whether only a person knows if the pods do without what the fix removes."""

    @property
    def text(self) -> str:
        """The field and what was found."""
        return f"{self.field.removeprefix('spec.')} is {self.found}"


class _Rule(NamedTuple):
    """A row of the table, for one version of the standard."""

    id: str
    where: str
    paths: tuple[tuple[str, ...], ...]
    values: tuple[Json, ...]
    relation: str
    expected: str
    fix: str
    conditions: frozenset[str]

    def accepts(self, value: Json) -> bool:
        """Return whether a field may have this value."""
        if self.relation == "+":
            return all(expected in as_list(value) for expected in self.values)
        is_listed = value in self.values or any(
            known.endswith("*") and str(value).startswith(known[:-1]) for known in self.values if isinstance(known, str)
        )
        return is_listed != (self.relation == "!")


def violations(
    template: Mapping[str, Json],
    level: PodSecurityLevel,
    minor: int,
    *,
    rules: Collection[str] = (),
    has_gate: bool = False,
) -> tuple[Violation, ...]:
    """Return what a pod template violates; empty if the standard `level` of version 1.`minor` admits its pods.

    `rules` limits the answer. `has_gate` is the feature gate UserNamespacesPodSecurityStandards of the API
    servers 1.29 to 1.34.
    """
    spec = as_mapping(template.get("spec"))
    annotations = as_mapping(as_mapping(template.get("metadata")).get("annotations"))
    containers = [
        ((kind, str(container.get("name"))), container)
        for kind in _CONTAINERS
        for container in map(as_mapping, as_list(spec.get(kind)))
    ]
    pod = {
        _USER_NAMESPACE: spec.get("hostUsers") is False,
        "windows": as_mapping(spec.get("os")).get("name") == "windows",
    }
    return tuple(
        violation
        for rule in _rules(level, minor, has_gate=has_gate)
        if (not rules or rule.id in rules) and not any(pod.get(condition) for condition in rule.conditions)
        for violation in (
            _in_annotations(rule, annotations) if rule.where == "annotations" else _in_spec(rule, spec, containers)
        )
    )


def merged_fix(template: Mapping[str, Json], found: Iterable[Violation]) -> Mapping[str, Json] | None:
    """Return the strategic merge patch of a template that corrects all violations; None if there is none.

    There is none for a container that the template does not have: a webhook adds it to pods. That of a violation that
    asks may only be applied if the pods do without.
    """
    spec, metadata = (as_mapping(template.get(key)) for key in ("spec", "metadata"))
    names = {(kind, str(item.get("name"))) for kind in _CONTAINERS for item in map(as_mapping, as_list(spec.get(kind)))}
    tree: dict[Step, Json] = {}
    for violation in found:
        if violation.fix is None:
            return None
        at, value = violation.fix
        node = tree
        for step in at[:-1]:
            if not isinstance(step, str) and step[0] in _CONTAINERS and step not in names:
                return None
            node = node.setdefault(step, {})
        node[at[-1]] = value
        # The API server rejects a field that differs from the annotation, which has no other effect.
        legacy = [key for key in as_mapping(metadata.get("annotations")) if _SECCOMP in key]
        if legacy and violation.rule.startswith("seccompProfile"):
            tree.setdefault("metadata", {}).setdefault("annotations", {}).update(dict.fromkeys(legacy))
    return _patch(tree)


def _patch(tree: Mapping[Step, Json]) -> dict[str, Json]:
    patch: dict[str, Json] = {}
    for step, value in tree.items():
        below = _patch(value) if isinstance(value, dict) else value
        if isinstance(step, str):
            patch[step] = below
        else:
            patch.setdefault(step[0], []).append({"name": step[1], **below})
    return patch


@cache
def _rules(level: PodSecurityLevel, minor: int, *, has_gate: bool) -> list[_Rule]:
    """Return the rules that this version of the standard has."""
    found = []
    for row in package_data.rows("cluster", "kubernetes", "pod_security_rules.tsv"):
        name, own, where, paths, allowed, fix, since, until, replaced, conditions = row
        is_replaced = level is PodSecurityLevel.RESTRICTED and minor >= int(replaced or _NEVER)
        if is_replaced or not (level.includes(PodSecurityLevel(own)) and int(since) <= minor < int(until or _NEVER)):
            continue
        relation = allowed[0] if allowed[0] in "+!" else ""
        texts = _of_version(allowed.removeprefix(relation), minor)
        gated = {_USER_NAMESPACE} if has_gate and _USER_NAMESPACE in conditions else set()
        shown = " or ".join(text for text in texts if text != '""') or "unset"
        rule = _Rule(
            name,
            where,
            tuple((path,) if where == "annotations" else tuple(path.split(".")) for path in paths.split()),
            tuple(_LITERALS.get(text, text) for text in texts),
            relation,
            {"": shown, "!": f"other than {shown}", "+": f'["{shown}"]'}[relation],
            fix,
            frozenset({*_of_version(conditions, minor), *gated}),
        )
        found.append(rule)
    return found


def _of_version(words: str, minor: int) -> list[str]:
    parts = [word.partition("@") for word in words.split()]
    return [text for text, _, since in parts if minor >= int(since or 0)]


def _in_annotations(rule: _Rule, annotations: Mapping[str, Json]) -> Iterator[Violation]:
    for key, value in annotations.items():
        if any(key.startswith(prefix) for (prefix,) in rule.paths) and not rule.accepts(value):
            yield _violation(rule, ("metadata", "annotations", key), value)


def _in_spec(
    rule: _Rule, spec: Mapping[str, Json], containers: list[tuple[tuple[str, str], Mapping[str, Json]]]
) -> Iterator[Violation]:
    for path in rule.paths:
        of_pod = _values(spec, path, ("spec",)) if rule.where != "containers" else []
        found, without = of_pod[:], []
        if rule.where != "pod":
            for at, container in containers:
                own = _values(container, path, ("spec", at))
                found += own
                if "required" in rule.conditions and not own and not of_pod:
                    without.append(at)
        rest: dict[tuple[Step, ...], list[Json]] = {}
        for place, value in found:
            rest.setdefault(place, []).extend([value] if rule.accepts(value) else [])
        yield from (_violation(rule, at, value, rest=rest[at]) for at, value in found if not rule.accepts(value))
        if without and rule.where == "both":
            names = ", ".join(name for _, name in without)
            yield _violation(rule, ("spec", *path), None, f"unset in {names}")
        else:
            yield from (_violation(rule, ("spec", at, *path), None) for at in without)


def _values(item: Json, path: tuple[str, ...], at: tuple[Step, ...]) -> list[tuple[tuple[Step, ...], Json]]:
    """Return each value at a path with its location."""
    for depth, key in enumerate(path):
        if not isinstance(item, dict):
            return []
        if key == "*":
            # A volume without a source is an emptyDir.
            return [(at, name) for name, value in item.items() if value is not None and name != "name"]
        if key.endswith("[]"):
            inner, rest = (*at, *path[:depth]), path[depth + 1 :]
            items = ((str(as_mapping(value).get("name", "")), value) for value in as_list(item.get(key[:-2])))
            return [found for name, value in items for found in _values(value, rest, (*inner, (key[:-2], name)))]
        item = item.get(key)
        if item is None:
            return []
    return [((*at, *path), item)]


def _violation(
    rule: _Rule, at: tuple[Step, ...], value: Json, missing: str = "unset", rest: Sequence[Json] = ()
) -> Violation:
    """Return a violation; `rest` are the items of a list that the rule allows."""
    texts = (step if isinstance(step, str) else f"{step[0]}[{step[1]}]".replace("[]", "") for step in at)
    found = missing if value is None else value if isinstance(value, str) else json.dumps(value)
    field, asks = ".".join(texts), rule.fix.startswith("?")
    if not rule.fix:
        return Violation(rule.id, field, found, rule.expected, None)
    fix, last = json.loads(rule.fix.removeprefix("?")), at[-1]
    if fix == [] and not isinstance(last, str):
        at, fix = (*at[:-1], last[0]), [*rest]
    return Violation(rule.id, field, found, rule.expected, (at, fix), asks)
