"""Nodes for the tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest

from tests.fake import in_memory
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import CheckedNode, node


class Nodes(Protocol):
    """A factory of nodes."""

    def __call__(self, k3s: K3s | None = None, version: str = "") -> CheckedNode:
        """Create a node; without `k3s` a server on which K3s never ran."""


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with in_memory() as directory:

        def make(k3s: K3s | None = None, version: str = "") -> CheckedNode:
            return node(directory / str(len(list(directory.iterdir()))), k3s, version)

        yield make


@pytest.fixture
def server(nodes: Nodes) -> CheckedNode:
    """Return a server with etcd on which K3s 1.34 has run, without hardening."""
    return nodes(K3s())


@pytest.fixture
def hardened(server: CheckedNode) -> CheckedNode:
    server.harden()
    return server
