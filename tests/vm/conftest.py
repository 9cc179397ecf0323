"""Guests for the tests of this tier. A test that fails shows the console and the journal of its guests."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.vm import image as guest_image
from tests.vm.guest import GuestError
from tests.vm.node import Node, put_program, put_stand_in

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from tests.vm.guest import Saved
    from tests.vm.image import Image

_GUESTS = pytest.StashKey[list[Node]]()


@pytest.fixture(scope="session")
def image() -> Image:
    """What guests boot from; made first if its recipe has changed."""
    return guest_image.ready()


@pytest.fixture(scope="session")
def saved_node(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """A booted server with program, gate and K3s installed, and none of them ever started; saved once for all tests."""
    directory = tmp_path_factory.mktemp("saved") / "node"
    with Node(directory, image) as node:
        node.boot()
        put_program(node)
        put_stand_in(node)
        node.harden("install")
        node.install_k3s()
        saved = node.save()
    yield saved
    shutil.rmtree(directory)


@pytest.fixture
def new_node(image: Image, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Node]]:
    """Makes guests that are switched off, and takes them away at the end of the test."""
    nodes: list[Node] = request.node.stash.setdefault(_GUESTS, [])

    def make(name: str, saved: Saved | None = None) -> Node:
        nodes.append(Node(tmp_path / name, image, saved))
        return nodes[-1]

    yield make
    for node in nodes:
        node.cut_power()
        node.disk.unlink()


@pytest.fixture
def node(new_node: Callable[..., Node], saved_node: Saved) -> Node:
    """A server that runs, with program, gate and K3s installed, and none of them ever started."""
    new = new_node("node", saved_node)
    new.resume()
    return new


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failed test what its guests have to say, while they can."""
    report = yield
    if report.failed:
        for node in item.stash.get(_GUESTS, []):
            console = "\n".join(node.console.splitlines()[-60:])
            report.sections.append((f"console of {node.name}", console))
            report.sections.append((f"journal of {node.name}", _journal(node)))
    return report


def _journal(node: Node) -> str:
    if not node.is_on:
        return "it is off"
    try:
        # The test may have ended in the middle of an answer.
        node.wait_for_agent(10)
        return node.run(
            "journalctl -b --no-hostname -o short-monotonic | grep -v ' qemu-ga' | tail -n 120", timeout=20
        ).out
    except GuestError as error:
        return f"cannot be read: {str(error).splitlines()[0]}"
