"""Each row of file_rules.tsv, tried on the real component with a file that does not meet it.

A valid file of each kind, which the component accepts, is changed at the place of the row.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pytest
import yaml

from agent.base import package_data
from agent.k3s.components.files.api_server_files import rejected_content
from agent.k3s.components.files.file_rules import FILE_RULES, FileContext
from agent.k3s.components.relations import is_gate, name_in
from agent.k3s.components.tables import minors_in, syntax
from agent.k3s.roles_and_versions import Component, Version
from tests.k8s import binaries as programs
from tests.k8s.namespaces import NAME
from tests.k8s.outcome import Trials

Content = dict[str, Any]

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("trials")]

MINOR = Version.parse(programs.chosen()).minor
OWN, CONFIG, WEBHOOK = "/etc/own.yaml", "/etc/rancher/k3s/config.yaml", "/etc/webhook.yaml"
VALID = yaml.safe_load((Path(__file__).parents[1] / "data/valid_files.yaml").read_text(encoding="utf-8"))
KUBECONFIG = """\
clusters: [{name: a, cluster: {server: 'https://127.0.0.1:9'}}]
contexts: [{name: a, context: {cluster: a}}]
current-context: a
"""
KMS = {"kms": {"apiVersion": "v2", "name": "own", "endpoint": "unix:///run/own.sock", "timeout": "3s"}}
"""A provider that the API server waits for, so it is in no valid file."""
VALUES: Content = {
    "anonymous": {"enabled": False},
    "cachesize": 5,
    "conditions": [{"path": "/healthz"}],
    "tcp": {"url": "https://127.0.0.1:9"},
    "transport": {},
    "uds": {},
    "webhook": {},
}
"""Values of fields that the valid files do not have."""
OTHER = {
    "KubeConfigFile": "InClusterConfig",
    "List": "System",
    "RequestedToCapacityRatio": "MostAllocated",
    "Webhook": "RBAC",
}
"""Another valid word for a word that a row requires."""


class Row(NamedTuple):
    """A row for one field."""

    kind: str
    mapping: str
    field: str
    relation: str
    operand: str
    when: str

    def __str__(self) -> str:
        return "-".join(filter(None, self))


class Trial(NamedTuple):
    """A file of a component."""

    component: Component
    argument: str
    content: str
    others: tuple[str, ...]
    """Other arguments."""

    def is_rejected(self) -> bool:
        """Return whether the program predicts that the component rejects the file."""
        arguments = dict(argument.split("=", 1) for argument in self.others)
        context = FileContext(MINOR, arguments)
        found = rejected_content(self.component, self.argument, self.content.encode(), PurePosixPath(OWN), context)
        return any(True for _ in found)

    def files(self) -> dict[str, str | None]:
        arguments = (f"{self.argument}={OWN}", *self.others)
        return {
            OWN: self.content,
            WEBHOOK: KUBECONFIG,
            CONFIG: f"{self.component.config_key}:\n" + "".join(f"- {argument}\n" for argument in arguments),
        }


def rows() -> Iterator[Row]:
    for line in package_data.read("k3s", "components", FILE_RULES).decode().splitlines():
        if not line.startswith("#"):
            kind, mapping, fields, relation, operand, when, minors, _ = line.split("\t")
            if MINOR in minors_in(minors):
                yield from (Row(kind, mapping, field, relation, operand, when) for field in fields.split())


def trial(kind: str, content: Content, *others: str) -> Trial:
    """Return the file with the content of a kind, which can be a part of another kind."""
    plugin = VALID[kind].get("plugin")
    whole = {"kind": kind, **content}
    if plugin:
        part = whole if "apiVersion" in content else content
        whole = {"kind": "AdmissionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1"}
        whole["plugins"] = [{"name": plugin, "configuration": part}]
        others = (*others, f"enable-admission-plugins=NodeRestriction,{plugin}")
    component, argument = VALID[kind].get("named", "kube-apiserver admission-control-config-file").split()
    if component == Component.KUBE_PROXY.value:
        whole["hostnameOverride"] = NAME
    others = (*others, *VALID[kind].get("others", ()))
    return Trial(Component(component), argument, yaml.safe_dump(whole), others)


def parent_of(content: Content, path: str) -> tuple[Content, str]:
    """Return the mapping with a field, and its name. Of a list, the first item that has the next part."""
    part, _, rest = path.partition(".")
    if not rest:
        return content, part
    name = part.rstrip("?[]")
    inner = content.setdefault(name, {})
    if isinstance(inner, list):
        following = rest.partition(".")[0].rstrip("?[]")
        inner = next((item for item in inner if following in item), inner[0])
    return parent_of(inner, rest)


def put(content: Content, term: str) -> None:
    """Make a term true or, with `!`, false."""
    name, _, words = term.lstrip("!").partition("=")
    mapping, last = parent_of(content, name)
    if term.startswith("!"):
        mapping.pop(last, None)
    elif words:
        mapping[last] = words.split("|")[0]
    elif not mapping.get(last):
        mapping[last] = VALUES.get(last, "own")
    if name == "type":
        mapping.pop("webhook", None)


def broken(row: Row) -> Trial:
    """Return a file that does not meet a row."""
    whole = copy.deepcopy(VALID[row.kind]["content"])
    if "kms" in row.mapping + row.field:
        whole["resources"][0]["providers"].append(copy.deepcopy(KMS))
    content, last = parent_of(whole, f"{row.mapping}.*" if row.mapping else "*")
    assert last == "*"
    for term in row.when.split():
        if not is_gate(term) and not name_in(term).startswith("--"):
            put(content, term)
    others = _break(row, content)
    return trial(row.kind, whole, *others)


def _break(row: Row, content: Content) -> tuple[str, ...]:
    """Change the field of a row; return arguments that have to be set, too."""
    mapping, last = parent_of(content, name_in(row.field))
    value = mapping.get(last)
    if row.relation == "present":
        mapping.pop(last, None)
    elif row.relation in ("one of", "matches"):
        wrong = syntax(row.operand).invalid if row.relation == "matches" else "own"
        mapping[last] = [wrong] if isinstance(value, list) else wrong
    elif row.relation in ("at least", "more than", "between"):
        low, _, high = row.operand.partition(" ")
        is_duration = low.endswith("s")
        mapping[last] = f"{int(high[:-1]) + 1}s" if is_duration and high else "-1s" if is_duration else int(low) - 1
    elif row.relation == "unique":
        whole, name = parent_of(content, row.field.partition("[]")[0])
        whole[name].append(copy.deepcopy(whole[name][-1 if "kms" in row.field else 0]))
    elif row.relation == "not below":
        other, name = parent_of(content, row.operand)
        mapping[last], other[name] = other[name], value
    elif row.relation == "forbidden":
        mapping[last] = {}
    else:
        return _relate(row, content)
    return ()


def _relate(row: Row, content: Content) -> tuple[str, ...]:
    """Break a relation to another term."""
    put(content, row.field)
    if row.operand.startswith("--"):
        return (f"{row.operand[2:]}=false",) if row.relation == "excludes" else ()
    if row.relation == "excludes":
        put(content, row.operand)
    elif not is_gate(row.operand):
        mapping, last = parent_of(content, name_in(row.operand))
        mapping[last] = OTHER.get(row.operand.partition("=")[2], False)
    return ()


NOT_STARTED = {"CredentialProviderConfig"}
"""A credential provider would be a program on the node."""


@pytest.mark.parametrize("kind", [kind for kind in VALID if kind not in NOT_STARTED])
def test_a_component_accepts_a_valid_file(trials: Trials, kind: str) -> None:
    """It does not exit, and nothing is predicted."""
    found = trial(kind, VALID[kind]["content"])
    assert not found.is_rejected()
    # It need not become ready: the servers that the files name do not answer.
    outcome = trials.outcome(found.component.value, found.files(), seconds=20)
    assert not outcome.exited, outcome.last_words


@pytest.mark.parametrize("row", tuple(rows()), ids=str)
def test_a_component_exits_at_a_file_that_does_not_meet_a_row(trials: Trials, row: Row) -> None:
    found = broken(row)
    assert found.is_rejected()
    outcome = trials.outcome(found.component.value, found.files())
    assert outcome.exited, f"{found.content}: {outcome.last_words}"
