"""Directories with admission policies, tried on the real API server: each that it rejects is foretold, and no other."""

from __future__ import annotations

import copy
import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from agent.base.package_data import read
from agent.k3s.components.files.api_server_files import rejected_content
from agent.k3s.components.files.file_rules import FileContext
from agent.k3s.components.files.static_policies import ENDINGS, policy_directories, rejected_directory
from agent.k3s.roles_and_versions import Component, Version
from tests.k8s import binaries as programs
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
    in_directory(a_json=json.dumps({"apiVersion": "v1", "kind": "List", "items": []}), b_yaml=POLICY),
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


VARIANTS = int(os.environ.get("POLICY_VARIANTS", "60"))
"""Generated directories; `make release-test` sets 300."""
_FAILED = 'manifest config" err='
_OTHER: tuple[Any, ...] = ("", "other", 1, None, [], {}, ["other"], {"other": 1})


def variant(number: int) -> list[dict[str, Any]]:
    """Return the objects of the policies with one or two changes, the same for each number."""
    chosen = random.Random(number)  # noqa: S311 - not a secret
    objects: list[dict[str, Any]] = [item for item in yaml.safe_load_all(POLICY) if item]
    for _ in range(chosen.choice((0, 1, 1, 1, 2))):
        kind = chosen.choice(("remove", "set", "add", "repeat", "drop", "rename"))
        item = chosen.choice(objects)
        parents = [found for found in _mappings(item) if found]
        parent = chosen.choice(parents)
        key = chosen.choice(sorted(parent))
        if kind == "repeat":
            objects.append(copy.deepcopy(item))
        elif kind == "drop" and len(objects) > 1:
            objects.remove(item)
        elif kind == "add":
            parent[chosen.choice(("foo", "paramKind", "paramRef", "namespace", "variables"))] = chosen.choice(_OTHER)
        elif kind == "rename":
            item["metadata"] = {"name": chosen.choice(("a", "b.static.k8s.io", ".static.k8s.io", NAME))}
        elif key != "expression":
            # Whether an expression is valid is not foretold.
            if kind == "remove":
                del parent[key]
            else:
                parent[key] = chosen.choice(_OTHER)
    return objects


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _mappings(item)


def test_generated_directories_are_foretold_as_a_running_api_server_takes_them(trials: Trials) -> None:
    """It loads a directory again with the function with which it loads it when it starts, and logs the reason."""
    files = {"/etc/rancher/k3s/config.yaml": f"kube-apiserver-arg: [admission-control-config-file={OWN}]\n"}
    with trials.running("kube-apiserver", {**files, OWN: configuration(), **in_directory(a_yaml=POLICY)}) as (
        root,
        log,
    ):
        differences = {}
        for number in range(VARIANTS):
            text = f"# {number}\n" + "---\n".join(json.dumps(item) + "\n" for item in variant(number))
            before = log.stat().st_size
            new = root("/run/new")
            new.write_text(text)
            new.rename(root(f"{DIRECTORY}/a.yaml"))
            answer = _next_load(log, before)
            found = foretold(configuration(), in_directory(a_yaml=text))
            if answer.startswith(_FAILED) != bool(found) and "compilation failed" not in answer:
                differences[number] = (answer, found)
        assert differences == {}, "\n".join(map(repr, differences.items()))


def _next_load(log: Path, start: int) -> str:
    deadline, found, size = time.monotonic() + 60, "", start
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if log.stat().st_size == size and found:
            return found
        size = log.stat().st_size
        text = log.read_bytes()[start:size].decode(errors="replace")
        found = text[text.rfind("manifest config") :] if "manifest config" in text else ""
    pytest.fail("the API server has not loaded the directory")
