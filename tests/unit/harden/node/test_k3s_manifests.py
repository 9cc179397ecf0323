"""Manifests directory: the files that K3s applies, skips and deletes."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from agent.base.host.tree import Tree
from agent.harden.node.k3s_manifests import Manifests, read_manifests
from agent.k3s.config_merge import ConfigText, merge_configuration

TOP = PurePosixPath("/m")


class Directory:
    """A manifests directory in a host tree."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "m").mkdir()

    def put(self, *names: str) -> None:
        """Write files and their parent directories."""
        for name in names:
            path = self.root / "m" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)

    def link(self, name: str, target: str) -> None:
        (self.root / "m" / name).symlink_to(target)

    def read(self, config: str = "") -> Manifests:
        tree = Tree(str(self.root), os.geteuid(), os.getegid())
        merged = merge_configuration([ConfigText(PurePosixPath("/c"), config.encode())])
        return read_manifests(tree, TOP, merged)

    def applied(self, config: str = "") -> set[str]:
        return {str(path.relative_to(TOP)) for path in self.read(config).applied}


@pytest.fixture
def manifests(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


def test_files_are_applied_by_their_suffix_in_any_case(manifests: Directory) -> None:
    manifests.put("a.yaml", "b.YML", "c.Json", "sub/deep/d.yaml", ".hidden/e.yaml", "like.yaml/f.yaml")
    manifests.put(".g.yaml", "h.yaml.bak", "i.txt", "yaml")
    names = {"a.yaml", "b.YML", "c.Json", "sub/deep/d.yaml", ".hidden/e.yaml", "like.yaml/f.yaml"}
    assert manifests.applied() == names
    assert manifests.read().unreadable == ()


def test_a_skip_file_applies_to_all_files_of_its_name(manifests: Directory) -> None:
    manifests.put("a.yaml", "sub/a.yaml", "b.yaml", "A.yaml", "other/a.yaml.skip", "b.skip")
    assert manifests.applied() == {"b.yaml", "A.yaml"}
    assert manifests.read().skips["a.yaml"] == TOP / "other/a.yaml.skip"


def test_disabled_names_are_not_applied(manifests: Directory) -> None:
    manifests.put("a.yaml", "sub/a.yml", "b.yaml", "c/d.yaml", "c/e/f.yaml", "g/c/h.yaml")
    assert manifests.applied("disable:\n  - traefik, a\n  - c\n") == {"b.yaml", "g/c/h.yaml"}
    assert str(manifests.read("disable: [traefik, a]\n").disabled["a"]) == "/c:1"
    assert manifests.applied("disable: a.yaml\n") == manifests.applied()
    assert manifests.applied('disable: ""\n') == manifests.applied()


def test_links_to_directories_are_followed_once(manifests: Directory) -> None:
    manifests.put("a.yaml", "sub/b.yaml")
    manifests.link("loop", ".")
    manifests.link("again", "../m")
    manifests.link("sub/out", "/m")
    assert manifests.applied() == {
        f"{prefix}{name}" for prefix in ("", "loop/", "again/", "sub/out/") for name in ("a.yaml", "sub/b.yaml")
    }


def test_links_to_files_are_read_and_broken_links_reported(manifests: Directory) -> None:
    """K3s stops its walk at a broken link."""
    manifests.put("a.txt")
    manifests.link("b.yaml", "a.txt")
    assert manifests.read().applied == {TOP / "b.yaml": b"a.txt"}
    assert manifests.read().broken_links == ()
    manifests.link("gone", "nowhere")
    assert manifests.read().broken_links == (TOP / "gone",)


def test_a_missing_directory_has_no_manifests(manifests: Directory) -> None:
    """K3s creates the directory at its first start."""
    (manifests.root / "m").rmdir()
    assert manifests.read() == Manifests()
