"""The providers for Secrets in K3s' encryption configuration."""

from __future__ import annotations

import json

import pytest

from agent.k3s.component_configuration import providers_of_secrets

KEY = "c2VjcmV0LWtleS1vZi10aGlydHktdHdvLWJ5dGVzISE="
AESCBC = {"aescbc": {"keys": [{"name": "aescbckey", "secret": KEY}]}}
IDENTITY: dict[str, object] = {"identity": {}}


def configuration(*providers: object, resources: object = ("secrets",)) -> bytes:
    return json.dumps(
        {
            "kind": "EncryptionConfiguration",
            "apiVersion": "apiserver.config.k8s.io/v1",
            "resources": [{"resources": resources, "providers": providers}],
        }
    ).encode()


@pytest.mark.parametrize(
    ("providers", "expected"),
    [((AESCBC, IDENTITY), ("aescbc", "identity")), ((IDENTITY, AESCBC), ("identity", "aescbc")), ((), ())],
)
def test_providers_are_returned_in_order(providers: tuple[object, ...], expected: tuple[str, ...]) -> None:
    assert providers_of_secrets(configuration(*providers)) == expected


@pytest.mark.parametrize("name", ["secrets", "secrets.", "*.", "*.*"])
def test_the_first_entry_for_secrets_applies(name: str) -> None:
    others = {"resources": ["configmaps"], "providers": [IDENTITY]}
    ours = {"resources": ["events", name], "providers": [AESCBC]}
    later = {"resources": ["*.*"], "providers": [IDENTITY]}
    assert providers_of_secrets(json.dumps({"resources": [others, ours, later]}).encode()) == ("aescbc",)
    assert providers_of_secrets(json.dumps({"resources": [others]}).encode()) == ()


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b"{}", b"\xff", b"[" * 100_000),
        configuration(AESCBC, IDENTITY)[:-5],
        configuration(AESCBC, resources="secrets"),
        configuration("aescbc"),
        configuration({}),
        configuration({**AESCBC, "identity": {}}),
        configuration({KEY: {}}),
        configuration({"aescbc": KEY}),
        json.dumps({"resources": {"secrets": [AESCBC]}}).encode(),
    ],
    ids=range(13),
)
def test_an_invalid_file_is_rejected_without_quoting_it(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(it|a provider|the list) ") as error:
        providers_of_secrets(data)
    assert KEY not in repr(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None
