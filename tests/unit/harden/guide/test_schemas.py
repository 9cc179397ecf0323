"""Written manifests validated with the schemas of every covered version of Kubernetes."""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.validators import Draft7Validator, validator_for
from referencing import Registry
from referencing.jsonschema import DRAFT7

from agent.harden.guide import manifests
from agent.k3s.roles_and_versions import NEWEST_KNOWN, OLDEST_COVERED

MINORS = range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1)


@cache
def schemas(minor: int) -> Path:
    """Return the schemas of a version that reject unknown fields.

    They are in kubernetes-validate: in its newest release from 1.25 on, before that in its release 1.28.
    """
    homes = [Path(sys.prefix, "schemas-1.28", "kubernetes_validate")]
    if (spec := find_spec("kubernetes_validate")) is not None:
        homes += map(Path, spec.submodule_search_locations or ())
    for home in homes:
        directory = home / "kubernetes-json-schema" / f"v1.{minor}.0-local-strict"
        if directory.is_dir():
            return directory
    pytest.skip(f"no schemas of Kubernetes 1.{minor} here: make test installs them")


@cache
def registry(minor: int) -> Registry[Any]:
    """Load the types that the schemas of the version refer to."""
    types = DRAFT7.create_resource(json.loads((schemas(minor) / "_definitions.json").read_text()))
    names = ["_definitions.json", types.contents.get("$id", "_definitions.json")]
    return Registry().with_resources((name, types) for name in names)


def complaints(minor: int, text: bytes) -> list[str]:
    found = []
    for thing in yaml.safe_load_all(text):
        group, _, version = thing["apiVersion"].rpartition("/")
        name = "-".join(filter(None, (thing["kind"].lower(), group.partition(".")[0], version)))
        file = schemas(minor) / f"{name}.json"
        if not file.is_file():
            found.append(f"{thing['kind']} is unknown")
            continue
        schema = json.loads(file.read_text())
        validator = validator_for(schema, Draft7Validator)(schema, registry=registry(minor))
        found += [f"{thing['metadata']['name']}: {error.message}" for error in validator.iter_errors(thing)]
    return found


@pytest.mark.parametrize("minor", MINORS)
def test_network_policies_and_service_accounts_are_valid(minor: int) -> None:
    text = manifests.network_policies() + manifests.network_policies(["web", "123"]) + manifests.account_update()
    assert complaints(minor, text) == []


@pytest.mark.parametrize("minor", [minor for minor in MINORS if minor <= 24])
def test_pod_security_policies_are_valid_up_to_1_24(minor: int) -> None:
    assert complaints(minor, manifests.pod_security_policies(cis_operator_namespace=True)) == []


@pytest.mark.parametrize("minor", [minor for minor in MINORS if minor >= 25])
def test_pod_security_policies_are_unknown_from_1_25(minor: int) -> None:
    """They must be removed from policy.yaml before that version starts. Their RBAC objects are still valid."""
    assert complaints(minor, manifests.pod_security_policies()) == ["PodSecurityPolicy is unknown"] * 3


@pytest.mark.parametrize("minor", MINORS)
def test_the_schemas_detect_errors(minor: int) -> None:
    text = manifests.network_policies()
    for right, wrong in (
        (b"k8s-app: kube-dns", b"k8s-app: 53"),
        (b"policyTypes:", b"policyType:"),
        (b"podSelector: {}", b"podSelector: []"),
    ):
        assert complaints(minor, text.replace(right, wrong))
