"""Manifests directory: the files that K3s applies, skips and deletes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from agent.harden.node.k3s_manifests import Manifests, read_manifests
from agent.k3s.config_merge import ConfigText, merge_configuration
from tests.fake import fake_host
from tests.tree import Tree

TOP = PurePosixPath("/m")


class Directory(Tree):
    """A host tree with a manifests directory."""

    def put(self, *names: str) -> None:
        for name in names:
            self.write(TOP / name, name)

    def read(self, config: str = "") -> Manifests:
        merged = merge_configuration([ConfigText(PurePosixPath("/c"), config.encode())])
        return read_manifests(fake_host(self.root).tree, TOP, merged)

    def applied(self, config: str = "") -> set[str]:
        return {str(path.relative_to(TOP)) for path in self.read(config).applied}


@pytest.fixture
def manifests(tmp_path: Path) -> Directory:
    (tmp_path / "m").mkdir()
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
    manifests.path("/m/loop").symlink_to(".")
    manifests.path("/m/again").symlink_to("../m")
    manifests.path("/m/sub/out").symlink_to("/m")
    assert manifests.applied() == {
        f"{prefix}{name}" for prefix in ("", "loop/", "again/", "sub/out/") for name in ("a.yaml", "sub/b.yaml")
    }


def test_links_to_files_are_read_and_broken_links_reported(manifests: Directory) -> None:
    """K3s stops its walk at a broken link."""
    manifests.put("a.txt")
    manifests.path("/m/b.yaml").symlink_to("a.txt")
    assert manifests.read().applied == {TOP / "b.yaml": b"a.txt"}
    assert manifests.read().broken_links == ()
    manifests.path("/m/gone").symlink_to("nowhere")
    assert manifests.read().broken_links == (TOP / "gone",)


def test_a_missing_directory_has_no_manifests(manifests: Directory) -> None:
    """K3s creates the directory at its first start."""
    (manifests.root / "m").rmdir()
    assert manifests.read() == Manifests()
