"""Guests for the tests of this tier. A test that fails shows the console and the journal of its guests.

The number in the name of a test is that of the promise that it proves:

1. K3s never starts on a host that is not ready.
2. The repair alone brings K3s up, and nothing that an operator switched off.
3. Every start is covered, and a healthy K3s is never touched.
4. The gate has its place in the boot: in no ordering cycle, before K3s is installed, and beside cloud-init.
5. The gate is shut in, and can still do its work.
6. All of this outlasts what a host goes through: reboots, power cuts, cloning, mounts, a read-only /etc, an odd umask.
"""

from __future__ import annotations

import fcntl
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.dist.build import build
from tests.dist.packages import package
from tests.vm import image as guest_image
from tests.vm.guest import GuestError
from tests.vm.node import Node, put_package, put_stand_in
from tests.vm.suite import SINGLE_FILE_SUITES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from tests.vm.guest import Saved
    from tests.vm.image import Image

OLDER_VERSION = "0.0.1"

_GUESTS = pytest.StashKey[list[Node]]()


@pytest.fixture(scope="session")
def image(worker_id: str, request: pytest.FixtureRequest) -> Image:
    """What guests boot from; made first if its recipe has changed."""
    if worker_id not in ("master", "gw0"):
        request.getfixturevalue("packages")  # meanwhile another worker makes the image, for which this one would wait
    return guest_image.ready()


class Packages(NamedTuple):
    """What the working tree gives out: packages, the same as of an older version, and the program in one file."""

    deb: Path
    rpm: Path
    older_deb: Path
    older_rpm: Path
    single_file: Path


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Packages:
    """Built from the working tree, once for all workers."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    directory, older = shared / "dist", shared / "older"
    with (shared / "dist.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not older.exists():
            build(directory)
            older.mkdir()
            package(next(directory.glob("*.whl")), older, epoch=0, version=OLDER_VERSION)
    return Packages(
        deb=next(directory.glob("*.deb")),
        rpm=next(directory.glob("*.rpm")),
        older_deb=next(older.glob("*.deb")),
        older_rpm=next(older.glob("*.rpm")),
        single_file=next(directory.glob("*.pyz")),
    )


@pytest.fixture(scope="session")
def saved_bare(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """A booted Debian with nothing of ours but the stand-in's files, saved for all tests."""
    directory = tmp_path_factory.mktemp("saved") / "bare"
    with Node(directory, image) as node:
        node.boot()
        put_stand_in(node)
        saved = node.save()
    yield saved
    shutil.rmtree(directory)


def put_program(node: Node, packages: Packages) -> None:
    """Install K3s and the program: the package where its dependencies are new enough, otherwise the single file."""
    if node.suite in SINGLE_FILE_SUITES:
        node.put("/usr/local/bin/k3s-harden", packages.single_file.read_bytes(), "0755")
        node.install_k3s()
        node.harden("install")
    else:
        put_package(node, packages.deb)
        node.install_k3s()


@pytest.fixture(scope="session")
def saved_node(
    image: Image, saved_bare: Saved, packages: Packages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Saved]:
    """A booted server with package and K3s installed, and neither of them ever started; saved for all tests."""
    directory = tmp_path_factory.mktemp("saved") / "node"
    with Node(directory, image, saved_bare) as node:
        node.resume()
        put_program(node, packages)
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
def bare(new_node: Callable[..., Node], saved_bare: Saved) -> Node:
    """A Debian that runs, with nothing of ours."""
    new = new_node("bare", saved_bare)
    new.resume()
    return new


@pytest.fixture
def node(new_node: Callable[..., Node], saved_node: Saved) -> Node:
    """A server that runs, with package and K3s installed, and neither of them ever started."""
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
        return node.run("journalctl -b --no-hostname -o short-monotonic -n 120", timeout=60).out
    except GuestError as error:
        return f"cannot be read: {str(error).splitlines()[0]}"
