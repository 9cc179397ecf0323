"""Files about connections: each problem with a similar valid file."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from agent.base.model import Component
from agent.k3s.components.files.file_rules import FileContext
from agent.k3s.components.files.named_files import rejected_content

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = PurePosixPath("/etc/own")
KUBECONFIG = """\
clusters: [{name: a, cluster: {server: 'https://127.0.0.1'}}]
contexts: [{name: b, context: {cluster: a}}]
current-context: b
"""


def replaced(text: str, *edits: tuple[str, str]) -> list[tuple[str, str]]:
    return [(text.replace(old, new), text) for old, new in edits]


def found(argument: str, text: str, component: Component = Component.API_SERVER) -> Iterator[object]:
    """Yield what a component of 1.37 rejects in the file of an argument."""
    return rejected_content(component, argument, text.encode(), PATH, FileContext(minor=37))


PAIRS = [
    *(
        ("audit-webhook-config-file", stops, near)
        for stops, near in (
            *replaced(
                KUBECONFIG,
                ("current-context: b", "current-context: c"),
                ("current-context: b\n", ""),
                ("cluster: a}", "cluster: c}"),
                ("server:", "servers:"),
            ),
            ("kind: Foo\n" + KUBECONFIG, "kind: Config\napiVersion: v1\nfoo: bar\n" + KUBECONFIG),
            ("", KUBECONFIG),
            ("garbage", KUBECONFIG),
        )
    ),
]
"""An argument, the content of its file that stops the API server, and a similar one that does not. Seen at 1.37.2."""


@pytest.mark.parametrize(("argument", "stops", "near"), PAIRS)
def test_a_file_that_stops_the_api_server_is_predicted_and_a_similar_one_is_not(
    argument: str, stops: str, near: str
) -> None:
    assert stops != near
    assert list(found(argument, stops))
    assert list(found(argument, near)) == []


CREDENTIALS = """\
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: own
  matchImages: ['*.example.com']
  defaultCacheDuration: 12h
  apiVersion: credentialprovider.kubelet.k8s.io/v1
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: CredentialProviderConfig\n", ""),
        ("name: own", "name: a/b"),
        ("['*.example.com']", "[]"),
        ("12h", "-1h"),
        ("defaultCacheDuration", "cacheDuration"),
        ("credentialprovider.kubelet.k8s.io/v1", "v1"),
        ("providers:", "provider:"),
    ],
)
def test_a_credential_provider_that_stops_the_kubelet_is_predicted(old: str, new: str) -> None:
    """The kubelet reads the file before it starts. Seen at 1.37.2."""
    argument = "image-credential-provider-config"
    twice = CREDENTIALS + CREDENTIALS.split("providers:\n")[1]
    for text, stops in ((CREDENTIALS, False), (CREDENTIALS.replace(old, new), True), (twice, True)):
        assert bool(list(found(argument, text, Component.KUBELET))) is stops


def test_the_files_of_other_arguments_are_not_checked() -> None:
    assert list(found("kubelet-client-key", "text")) == []
