"""The table of the fields of configuration files, tried on the real decoders: each field in one file of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from agent.k3s.components.files.decoding import FieldType, fields_of, nested_types, words_of
from agent.k3s.components.tables import FLAGS
from agent.k3s.roles_and_versions import Component, Version
from tests.k8s import binaries as programs
from tests.k8s.outcome import Trials
from tests.tools.generate_tables import MADE, TABLES, Built

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("trials")]

MINOR = Version.parse(programs.chosen()).minor
OWN = "/etc/own.yaml"
KINDS = {
    "AuthenticationConfiguration": (Component.API_SERVER, "authentication-config"),
    "AuthorizationConfiguration": (Component.API_SERVER, "authorization-config"),
    "EncryptionConfiguration": (Component.API_SERVER, "encryption-provider-config"),
    "Policy": (Component.API_SERVER, "audit-policy-file"),
    "KubeSchedulerConfiguration": (Component.SCHEDULER, "config"),
    "CredentialProviderConfig": (Component.KUBELET, "image-credential-provider-config"),
    "KubeProxyConfiguration": (Component.KUBE_PROXY, "config"),
}
NEEDED = {"CredentialProviderConfig": "image-credential-provider-bin-dir=/usr/bin"}
"""Arguments without which the file is not read."""
SAMPLES: dict[str, object] = {"any": None, "bool": True, "duration": "1s", "float": 1.5, "object": {}, "string": "YQ=="}
NOT_DECODED = ("unknown field", "cannot unmarshal", "strict decoding")


def sample(types: FieldType) -> object:
    """Return a value of a type, with all fields."""
    if isinstance(types, dict):
        return {name: sample(inner) for name, inner in types.items()}
    if isinstance(types, list):
        return [sample(types[0])]
    if types.startswith("map[string]"):
        return {"a": sample(types[len("map[string]") :])}
    return words_of(types)[0] if words_of(types) else SAMPLES.get(types, 1)


def every_field(kind: str) -> dict[str, object]:
    """Return a file with all fields of the newest version of a kind."""
    version = words_of(fields_of(kind, MINOR)["apiVersion"].type_name)[0]
    found = sample(nested_types(fields_of(kind, MINOR, version)))
    return {**found, "apiVersion": version, "kind": kind} if isinstance(found, dict) else {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_component_decodes_a_file_with_all_fields_of_the_table(trials: Trials, kind: str) -> None:
    """It may reject their values, but each field exists and has the type of the table."""
    component, argument = KINDS[kind]
    content = every_field(kind)
    config = f"{component.config_key}: [{argument}={OWN}, {NEEDED.get(kind, 'v=2')}]\n"
    files: dict[str, str | None] = {OWN: yaml.safe_dump(content), "/etc/rancher/k3s/config.yaml": config}
    outcome = trials.outcome(component.value, files, seconds=20)
    assert [words for words in NOT_DECODED if words in outcome.output] == [], outcome.last_words


@pytest.mark.parametrize("name", [name for name in MADE if name != FLAGS])
@pytest.mark.parametrize("version", programs.pinned())
def test_the_tables_match_the_sources(version: str, name: str) -> None:
    """If this fails, run `make tables`.

    The sources of each version that was built once are in Go's module cache.
    """
    if programs.built(version) is None:
        pytest.skip(f"{version} is not built: make k8s-test K8S_VERSION={version}")
    table = (TABLES / name).read_text(encoding="utf-8")
    assert MADE[name]([Built(version.removeprefix("1."), Path())], table) == table
