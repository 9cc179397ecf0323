"""The kubelet's configuration files on a host, in the order in which the kubelet reads them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import HardenError
from agent.harden.node.arguments.effective import KubeletFiles, effective_arguments, read_kubelet_files
from agent.harden.node.facts import HostFacts
from agent.k3s.roles_and_versions import Component
from tests.arguments import DROPINS as KUBELET_DIRECTORY
from tests.arguments import facts
from tests.component_files import KUBELET as HEAD
from tests.fake import fake_host, in_memory
from tests.k3s_tree import put

PLANTS: dict[str, Callable[[Path], object]] = {
    "dangling": lambda place: place.symlink_to("nowhere"),
    "loop": lambda place: place.symlink_to(place.name),
    "FIFO": os.mkfifo,
    "directory": Path.mkdir,
}


@pytest.fixture
def root() -> Iterator[Path]:
    with in_memory() as directory:
        yield directory


def look(root: Path, *, seen: HostFacts | None = None, unreadable: list[HardenError] | None = None) -> KubeletFiles:
    return read_kubelet_files(fake_host(root).tree, seen or facts(), [] if unreadable is None else unreadable)


def kubelet_paths(root: Path, seen: HostFacts) -> list[str]:
    return [str(file.path) for file in look(root, seen=seen).files]


def test_files_of_the_kubelet_are_in_the_order_of_the_kubelet(root: Path) -> None:
    """The kubelet sorts by name, enters subdirectories at their position, and reads only *.conf."""
    for name in ("20-cli-config-dir/b.conf", "10-a.conf", "00-k3s-defaults.conf", "x.yaml", "99-z.conf", "15.conf.bak"):
        put(root, KUBELET_DIRECTORY / name, HEAD)
    order = ["00-k3s-defaults.conf", "10-a.conf", "20-cli-config-dir/b.conf", "99-z.conf"]
    assert kubelet_paths(root, facts()) == [str(KUBELET_DIRECTORY / name) for name in order]


def test_a_file_that_an_argument_names_replaces_its_copy(root: Path) -> None:
    """At its next start K3s replaces the earlier copy by that file."""
    for name in ("10-cli-config.conf", "20-cli-config-dir/a.conf", "20-cli-config-dir/b.conf", "15-site.conf"):
        put(root, KUBELET_DIRECTORY / name, HEAD)
    put(root, PurePosixPath("/etc/kubelet.yaml"), HEAD)
    put(root, PurePosixPath("/etc/kubelet.d/b.conf"), HEAD)
    seen = facts("kubelet-arg: ['config=/etc/kubelet.yaml', 'config-dir=/etc/kubelet.d']\n")
    assert kubelet_paths(root, seen) == [
        "/etc/kubelet.yaml",
        str(KUBELET_DIRECTORY / "15-site.conf"),
        str(KUBELET_DIRECTORY / "20-cli-config-dir/a.conf"),
        "/etc/kubelet.d/b.conf",
    ]


def test_older_versions_read_only_the_file_of_the_operator(root: Path) -> None:
    """K3s has its own directory of kubelet files only from v1.32 on."""
    put(root, KUBELET_DIRECTORY / "50-site.conf", HEAD)
    put(root, PurePosixPath("/etc/kubelet.yaml"), HEAD + "eventRecordQPS: 5\n")
    assert kubelet_paths(root, facts(version="v1.31.4+k3s1")) == []
    seen = facts("kubelet-arg: ['config=/etc/kubelet.yaml']\n", version="v1.31.4+k3s1")
    found = look(root, seen=seen)
    assert [str(file.path) for file in found.files] == ["/etc/kubelet.yaml"]
    argument = effective_arguments(Component.KUBELET, seen, found).get("event-qps")
    assert argument is not None
    assert str(argument.given[0].location) == "/etc/kubelet.yaml:3"


def test_a_named_file_that_is_missing_is_a_problem(root: Path) -> None:
    gone = look(root, seen=facts("kubelet-arg: ['config=/etc/kubelet.yaml']\n"))
    assert "/etc/kubelet.yaml" in gone.files[0].problem
    assert look(root, seen=facts("kubelet-arg: ['config=kubelet.yaml']\n")).problem


@pytest.mark.parametrize("plant", PLANTS)
def test_other_file_types_among_kubelet_files_are_a_problem(plant: str, root: Path) -> None:
    put(root, KUBELET_DIRECTORY / "00-k3s-defaults.conf", HEAD)
    PLANTS[plant](root / KUBELET_DIRECTORY.relative_to("/") / "50-odd.conf")
    found = look(root)
    if plant == "directory":
        assert [file.path.name for file in found.files] == ["00-k3s-defaults.conf"]
        return
    assert found.files[1].problem
    assert effective_arguments(Component.KUBELET, facts(), found).why_unknown("anonymous-auth")


def test_a_kubelet_directory_that_is_a_file_is_a_problem(root: Path) -> None:
    """The kubelet would exit with an error."""
    put(root, KUBELET_DIRECTORY)
    assert look(root).problem
