"""What K3s makes of its manifests directory: which files it applies, passes over and deletes."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from agent.host.tree import Tree
from agent.k3s.config import ConfigText, merge
from agent.node.k3s_manifests import Manifests, read

if TYPE_CHECKING:
    from pathlib import Path

TOP = PurePosixPath("/m")


class Directory:
    """A manifests directory in a tree of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "m").mkdir()

    def put(self, *names: str) -> None:
        """Put files there, and the directories above them."""
        for name in names:
            path = self.root / "m" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)

    def link(self, name: str, target: str) -> None:
        """Put a symlink there."""
        (self.root / "m" / name).symlink_to(target)

    def read(self, config: str = "") -> Manifests:
        """What K3s with this configuration makes of it."""
        tree = Tree(str(self.root), os.geteuid(), os.getegid())
        return read(tree, TOP, merge([ConfigText(PurePosixPath("/c"), config.encode())]))

    def applied(self, config: str = "") -> set[str]:
        """The names of what it applies."""
        return {str(path.relative_to(TOP)) for path in self.read(config).applied}


@pytest.fixture
def manifests(tmp_path: Path) -> Directory:
    """An empty one."""
    return Directory(tmp_path)


def test_files_count_by_their_suffix_in_whatever_case(manifests: Directory) -> None:
    """At any depth, below hidden directories and such as look like files, too; hidden files do not."""
    manifests.put("a.yaml", "b.YML", "c.Json", "sub/deep/d.yaml", ".hidden/e.yaml", "like.yaml/f.yaml")
    manifests.put(".g.yaml", "h.yaml.bak", "i.txt", "yaml")
    names = {"a.yaml", "b.YML", "c.Json", "sub/deep/d.yaml", ".hidden/e.yaml", "like.yaml/f.yaml"}
    assert manifests.applied() == names
    assert manifests.read().unreadable == ()


def test_a_skip_file_counts_for_all_files_of_that_name_wherever_it_lies(manifests: Directory) -> None:
    """And for no other: K3s compares whole names, with their case."""
    manifests.put("a.yaml", "sub/a.yaml", "b.yaml", "A.yaml", "other/a.yaml.skip", "b.skip")
    assert manifests.applied() == {"b.yaml", "A.yaml"}
    assert manifests.read().skips["a.yaml"] == TOP / "other/a.yaml.skip"


def test_what_is_disabled_is_not_applied(manifests: Directory) -> None:
    """A file by its name without suffix, a directory by its path; several in one value."""
    manifests.put("a.yaml", "sub/a.yml", "b.yaml", "c/d.yaml", "c/e/f.yaml", "g/c/h.yaml")
    assert manifests.applied("disable:\n  - traefik, a\n  - c\n") == {"b.yaml", "g/c/h.yaml"}
    assert str(manifests.read("disable: [traefik, a]\n").disabled["a"]) == "/c:1"
    assert manifests.applied("disable: a.yaml\n") == manifests.applied()
    assert manifests.applied('disable: ""\n') == manifests.applied()


def test_links_to_directories_are_followed_but_none_in_those(manifests: Directory) -> None:
    """So that a link to the directory that it lies in is no trap."""
    manifests.put("a.yaml", "sub/b.yaml")
    manifests.link("loop", ".")
    manifests.link("again", "../m")
    manifests.link("sub/out", "/m")
    assert manifests.applied() == {
        f"{way}{name}" for way in ("", "loop/", "again/", "sub/out/") for name in ("a.yaml", "sub/b.yaml")
    }


def test_a_link_to_a_file_is_read_and_one_to_nothing_is_told(manifests: Directory) -> None:
    """At the latter K3s' walk ends."""
    manifests.put("a.txt")
    manifests.link("b.yaml", "a.txt")
    assert manifests.read().applied == {TOP / "b.yaml": b"a.txt"}
    assert manifests.read().broken_links == ()
    manifests.link("gone", "nowhere")
    assert manifests.read().broken_links == (TOP / "gone",)


def test_where_there_is_no_directory_there_is_nothing(manifests: Directory) -> None:
    """As before K3s' first start."""
    (manifests.root / "m").rmdir()
    assert manifests.read() == Manifests({}, {}, {}, (), ())
