"""Directories with admission policies, tried on the real API server: each that it rejects is foretold, and no other."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from agent.base.model import Component, Version
from agent.base.package_data import read
from agent.k3s.components.files.file_rules import FileContext
from agent.k3s.components.files.named_files import rejected_content
from agent.k3s.components.files.static_policies import ENDINGS, policy_directories, rejected_directory
from tests.k8s import binaries as programs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.k8s.outcome import Trials

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("trials")]

MINOR = Version.parse(programs.chosen()).minor
DIRECTORY, OWN = "/run/policies", "/run/own.yaml"
POLICY = read("harden", "guide", "assets", "admission", "bindings.yaml").decode()
MUTATING = read("harden", "guide", "assets", "admission", "service-accounts.yaml").decode()
FIRST, SECOND = POLICY.split("---\n")[1:]
NAME = "k3s-harden-bindings.static.k8s.io"


def configuration(directory: str = DIRECTORY, plugin: str = "ValidatingAdmissionPolicy", more: str = "") -> str:
    entry = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": f"{plugin}Configuration",
        "staticManifestsDir": directory,
        **json.loads(more or "{}"),
    }
    return json.dumps(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AdmissionConfiguration",
            "plugins": [{"name": plugin, "configuration": entry}],
        }
    )


def in_directory(**files: str) -> dict[str, str]:
    return {f"{DIRECTORY}/{name.replace('_', '.')}": text for name, text in files.items()}


CASES: dict[str, tuple[str, Mapping[str, str]]] = {
    "ours": (configuration(), in_directory(a_yaml=POLICY)),
    "two files": (configuration(), in_directory(b_yml=FIRST, a_yaml=SECOND)),
    "list": (configuration(), {}),
    "empty file": (configuration(), in_directory(a_yaml="")),
    "other files": (configuration(), in_directory(a_txt="[", a_yaml=POLICY)),
    "no binding": (configuration(), in_directory(a_yaml=FIRST)),
    "comment in front": (configuration(), in_directory(a_yaml=f"# comment\n{POLICY}")),
    "comment in the document": (configuration(), in_directory(a_yaml=f"# comment\n{FIRST}---\n{SECOND}")),
    "only a comment": (configuration(), in_directory(a_yaml="# comment\n")),
    "empty documents": (configuration(), in_directory(a_yaml=f"---\n---\n{POLICY}---\n")),
    "no directory named": (configuration(""), {}),
    "relative": (configuration("policies"), in_directory(a_yaml=POLICY)),
    "missing": (configuration("/run/nosuch"), {}),
    "a file": (configuration(f"{DIRECTORY}/a.yaml"), in_directory(a_yaml=POLICY)),
    "unknown field of the configuration": (configuration(more='{"foo": 1}'), in_directory(a_yaml=POLICY)),
    "no YAML": (configuration(), in_directory(a_yaml="a: [")),
    "no object": (configuration(), in_directory(a_yaml="- 1\n")),
    "unknown field": (configuration(), in_directory(a_yaml=POLICY.replace("failurePolicy", "failurePolicie"))),
    "repeated field": (configuration(), in_directory(a_yaml=POLICY.replace("spec:", "spec: {}\nspec:", 1))),
    "wrong type": (configuration(), in_directory(a_yaml=POLICY.replace("[CREATE, UPDATE]", "CREATE"))),
    "wrong kind": (configuration(), in_directory(a_yaml=MUTATING)),
    "another kind": (configuration(), in_directory(a_yaml=POLICY, b_yaml="apiVersion: v1\nkind: ConfigMap\n")),
    "beta": (configuration(), in_directory(a_yaml=POLICY.replace("k8s.io/v1\n", "k8s.io/v1beta1\n"))),
    "suffix": (configuration(), in_directory(a_yaml=POLICY.replace(".static.k8s.io", ""))),
    "no name": (configuration(), in_directory(a_yaml=FIRST.replace("name: k3s-harden", "namespace: k3s-harden", 1))),
    "same name twice": (configuration(), in_directory(a_yaml=POLICY, b_yaml=FIRST)),
    "policy and binding of one name": (configuration(), in_directory(a_yaml=POLICY)),
    "no such policy": (configuration(), in_directory(a_yaml=SECOND)),
    "policyName missing": (configuration(), in_directory(a_yaml=FIRST, b_yaml=SECOND.replace("policyName: ", "x: "))),
    "paramKind": (
        configuration(),
        in_directory(a_yaml=FIRST.replace("spec:\n", "spec:\n  paramKind: {apiVersion: v1, kind: ConfigMap}\n")),
    ),
    "paramRef": (
        configuration(),
        in_directory(
            a_yaml=FIRST,
            b_yaml=SECOND.replace("spec:\n", "spec:\n  paramRef: {name: a, parameterNotFoundAction: Deny}\n"),
        ),
    ),
    "hidden": (configuration(), in_directory(a_yaml=POLICY) | {f"{DIRECTORY}/.bad.yaml": "a: ["}),
    "upper-case ending": (configuration(), in_directory(a_yaml=POLICY) | {f"{DIRECTORY}/bad.YAML": "a: ["}),
    "action unknown": (configuration(), in_directory(a_yaml=POLICY.replace("[Deny]", "[Refuse]"))),
    "deny and warn": (configuration(), in_directory(a_yaml=POLICY.replace("[Deny]", "[Deny, Warn]"))),
    "no action": (configuration(), in_directory(a_yaml=POLICY.replace("  validationActions: [Deny]\n", ""))),
    "no rules": (
        configuration(),
        in_directory(a_yaml="".join(line for line in POLICY.splitlines(keepends=True) if "operations" not in line)),
    ),
    "mutating": (configuration(plugin="MutatingAdmissionPolicy"), in_directory(a_yaml=MUTATING)),
    "mutating, wrong kind": (configuration(plugin="MutatingAdmissionPolicy"), in_directory(a_yaml=POLICY)),
    "mutating, unknown patch": (
        configuration(plugin="MutatingAdmissionPolicy"),
        in_directory(a_yaml=MUTATING.replace("patchType: ApplyConfiguration", "patchType: Other")),
    ),
}
CASES["list"] = (
    configuration(),
    in_directory(
        a_json=json.dumps({"apiVersion": "v1", "kind": "List", "items": []}),
        b_yaml=POLICY,
    ),
)


def foretold(own: str, files: Mapping[str, str]) -> list[str]:
    """Return what the API server is predicted to reject."""
    contents: dict[PurePosixPath, bytes | None] = {PurePosixPath(name): text.encode() for name, text in files.items()}
    path, context = PurePosixPath(OWN), FileContext(MINOR)
    argument = "admission-control-config-file"
    found = [str(error) for error in rejected_content(Component.API_SERVER, argument, own.encode(), path, context)]
    for directory in policy_directories(own.encode(), path, contents):
        inside = {
            file: data
            for file, data in contents.items()
            if file.parent == directory.path and file.suffix.lower() in ENDINGS
        }
        exists = directory.path in {file.parent for file in contents}
        found += map(str, rejected_directory(directory, inside if exists else None, context))
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_directory_is_foretold_as_the_api_server_takes_it(trials: Trials, name: str) -> None:
    own, files = CASES[name]
    config = f"kube-apiserver-arg: [admission-control-config-file={OWN}]\n"
    outcome = trials.outcome("kube-apiserver", {"/etc/rancher/k3s/config.yaml": config, OWN: own, **files})
    found = foretold(own, files)
    assert outcome.exited == bool(found), outcome.last_words
