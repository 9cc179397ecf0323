"""The components under test. `make k8s-test` builds them; K3S=/path/to/k3s runs the tests with a real K3s instead."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.k8s import binaries as programs
from tests.k8s.assessments import hardened_server
from tests.k8s.binaries import Binaries
from tests.k8s.node import Node
from tests.k8s.outcome import Trials


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """Return the programs; they are built if the cache does not contain them."""
    return programs.ready()


_NODES = pytest.StashKey[list[Node]]()


@pytest.fixture(scope="session")
def server(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A running server that `apply` has hardened, with its node Ready. Tests may only add objects to it."""
    with Node(tmp_path_factory.mktemp("server"), binaries) as node:
        done = node.harden("apply")
        assert done.returncode == 0, done.stdout + done.stderr
        node.start_server()
        node.wait_until_ready()
        node.wait_until_deployed()
        yield node


@pytest.fixture(scope="session")
def api(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A hardened server without a kubelet. A test removes the objects that it adds."""
    with hardened_server(tmp_path_factory.mktemp("api"), binaries) as node:
        yield node


@pytest.fixture
def new_node(binaries: Binaries, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Node]]:
    """Return a function that creates a node with K3s installed and not started, which ends with the test."""
    nodes: list[Node] = request.node.stash.setdefault(_NODES, [])
    try:

        def make(*, real_kernel: bool = False) -> Node:
            node = Node(tmp_path / f"node-{len(nodes)}", binaries, real_kernel=real_kernel)
            node.__enter__()
            nodes.append(node)
            return node

        yield make
    finally:
        for node in nodes:
            node.__exit__()


@pytest.fixture(scope="session")
def trials(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    """A node on which single components are started; see tests/k8s/outcome.py."""
    if programs.real_k3s():
        pytest.skip("starts single components, which K3s cannot do: run it without K3S=")
    with Trials(tmp_path_factory.mktemp("trials"), binaries) as shared:
        yield shared


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the last lines of K3s' log to the report of a failed test."""
    report = yield
    if report.failed:
        shared = getattr(item, "funcargs", {}).get("server")
        for node in (*item.stash.get(_NODES, []), *([shared] if shared else [])):
            report.sections.append(("K3s' log", node.last_log()))
    return report
