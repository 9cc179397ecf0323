"""Nodes for the tests of this tier. A failed test shows the console and the journal of its nodes.

A test runs in a container, or in a virtual machine if it has the marker `own_kernel`. With GUESTS=all each test runs in
a virtual machine.

The number in the name of a test is that of the guarantee that it tests:

1. K3s never starts on a host that is not hardened.
2. A blocked K3s starts after the repair, unless its operator stopped or disabled it.
3. The gate covers every start, and never stops or restarts a running K3s.
4. The gate is ordered correctly at boot: no ordering cycle, before K3s is installed, and with cloud-init.
5. The gate is sandboxed and can still write what it has to.
6. All of this holds after reboots, power cuts and cloning, and with mounts, a read-only /etc and a strict umask.
7. An operator can release a blocked K3s for one start, and this is reported.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.tools.dist.build import build
from tests.tools.dist.bundle import bundle as build_bundle
from tests.tools.dist.packages import package
from tests.vm import image as guest_image
from tests.vm import openrc
from tests.vm.guest import Saved
from tests.vm.image import Image
from tests.vm.instance import GuestError
from tests.vm.node import ContainerNode, GuestNode, Node, put_package, put_stand_in
from tests.vm.openrc import OpenrcNode
from tests.vm.suite import SINGLE_FILE_SUITES, is_emulated, machine

OLDER_VERSION = "0.0.1"

_NODES = pytest.StashKey[list[Node]]()


@pytest.fixture(scope="session")
def image(worker_id: str, request: pytest.FixtureRequest) -> Image:
    """Return the image that guests boot from; it is built first if its inputs have changed."""
    if worker_id not in ("master", "gw0"):
        request.getfixturevalue("packages")  # another worker builds the image meanwhile
    return guest_image.ready()


class Packages(NamedTuple):
    """The packages of the working tree, the same packages with an older version, and the single file."""

    deb: Path
    rpm: Path
    older_deb: Path
    older_rpm: Path
    single_file: Path


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Packages:
    """Build the packages from the working tree, once for all workers."""
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


class Bundle(NamedTuple):
    """The bundle of the working tree for this machine: the archive and the system extension."""

    archive: Path
    extension: Path


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Bundle:
    """Build the bundle from the working tree, once for all workers."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    directory = shared / "bundle"
    with (shared / "bundle.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            build_bundle(directory, machine())
    return Bundle(*(next(directory.glob(pattern)) for pattern in ("*.tar.gz", "*.raw")))


def put_program(node: Node, packages: Packages) -> None:
    """Install K3s and the program: the package if its dependencies are new enough, otherwise the single file."""
    if node.suite in SINGLE_FILE_SUITES:
        node.put("/usr/local/bin/k3s-harden", packages.single_file.read_bytes(), "0755")
        node.install_k3s()
        node.harden("install")
    else:
        put_package(node, packages.deb)
        node.install_k3s()


@pytest.fixture(scope="session")
def saved_bare(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """A booted Debian with only the stand-in's files, saved for all tests."""
    directory = tmp_path_factory.mktemp("saved") / "bare"
    with GuestNode(directory, image) as node:
        node.boot()
        put_stand_in(node)
        saved = node.save()
    yield saved
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def saved_node(
    image: Image, saved_bare: Saved, packages: Packages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Saved]:
    """A booted server with package and K3s, neither of them started so far; saved for all tests."""
    directory = tmp_path_factory.mktemp("saved") / "node"
    with GuestNode(directory, image, saved_bare) as node:
        node.resume()
        put_program(node, packages)
        saved = node.save()
    yield saved
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def bare_layers(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, ...]]:
    """The same as `saved_bare`, as layers of containers."""
    with ContainerNode(tmp_path_factory.mktemp("layers") / "bare", image) as node:
        node.boot()
        put_stand_in(node)
        node.shut_down()
    yield node.layers
    node.remove_disk()


@pytest.fixture(scope="session")
def node_layers(
    image: Image, bare_layers: tuple[Path, ...], packages: Packages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, ...]]:
    """The same as `saved_node`, as layers of containers."""
    with ContainerNode(tmp_path_factory.mktemp("layers") / "node", image, bare_layers) as node:
        node.boot()
        put_program(node, packages)
        node.shut_down()
    yield node.layers
    node.remove_disk()


def _has_own_kernel(request: pytest.FixtureRequest) -> bool:
    return os.environ.get("GUESTS") == "all" or request.node.get_closest_marker("own_kernel") is not None


@pytest.fixture
def new_node(image: Image, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Node]]:
    """Return a function that creates powered-off nodes; they are removed at the end of the test."""
    nodes: list[Node] = request.node.stash.setdefault(_NODES, [])
    if _has_own_kernel(request) and is_emulated():
        pytest.skip("needs a virtual machine of this architecture")
    kind: Callable[..., Node] = GuestNode if _has_own_kernel(request) else ContainerNode

    def make(name: str, *saved: object) -> Node:
        nodes.append(kind(tmp_path / name, image, *saved))
        return nodes[-1]

    yield make
    for node in nodes:
        node.cut_power()
        node.remove_disk()


def _running(name: str, request: pytest.FixtureRequest) -> Node:
    saved = request.getfixturevalue(f"saved_{name}" if _has_own_kernel(request) else f"{name}_layers")
    node: Node = request.getfixturevalue("new_node")(name, saved)
    node.resume()
    return node


@pytest.fixture
def bare(request: pytest.FixtureRequest) -> Node:
    """A running Debian without package and K3s."""
    return _running("bare", request)


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Node:
    """A running server with package and K3s, neither of them started so far."""
    return _running("node", request)


@pytest.fixture
def openrc_node(packages: Packages, tmp_path: Path) -> Iterator[OpenrcNode]:
    """A booted server with OpenRC, program and gate, on which K3s has not started so far."""
    with OpenrcNode(tmp_path / "node", openrc.image()) as booted:
        booted.boot()
        put_stand_in(booted)
        booted.put("/usr/local/bin/k3s-harden", packages.single_file.read_bytes(), "0755")
        booted.install_k3s()
        booted.harden("install")
        yield booted
        booted.cut_power()
        booted.remove_disk()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add console and journal of the nodes to the report of a failed test."""
    report = yield
    if report.failed:
        for node in item.stash.get(_NODES, []):
            console = "\n".join(node.console.splitlines()[-60:])
            report.sections.append((f"console of {node.name}", console))
            report.sections.append((f"journal of {node.name}", _journal(node)))
    return report


def _journal(node: Node) -> str:
    if not node.is_on:
        return "the guest is off"
    try:
        if isinstance(node, GuestNode):
            # The test may have ended while the agent was answering.
            node.wait_for_agent(10)
        return node.run("journalctl -b --no-hostname -o short-monotonic -n 120", timeout=60).out
    except GuestError as error:
        return f"cannot be read: {str(error).splitlines()[0]}"
