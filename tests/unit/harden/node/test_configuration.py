"""K3s' configuration files on a host: their order, and other file types."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from agent.harden.node.configuration import Configuration, read_configuration
from agent.harden.node.installed_services import installed_units
from tests.fake import fake_host
from tests.k3s_tree import put

MAIN = "etc/rancher/k3s/config.yaml"
DROPINS = f"{MAIN}.d"


def configuration_of(root: Path) -> Configuration:
    return read_configuration(fake_host(root), None)


def test_files_are_in_the_order_in_which_k3s_reads_them(tmp_path: Path) -> None:
    for name in (MAIN, f"{DROPINS}/b.yaml", f"{DROPINS}/a.yml", f"{DROPINS}/c.yaml.bak"):
        put(tmp_path, name, "debug: true\n")
    (tmp_path / DROPINS / "d.yaml").symlink_to("/dev/null")
    found = configuration_of(tmp_path)
    assert [str(path) for path in found.files] == [f"/{MAIN}", f"/{DROPINS}/a.yml", f"/{DROPINS}/b.yaml"]
    assert (found.invalid_files, found.broken_links, found.unreadable) == ((), (), ())


@pytest.mark.parametrize(
    ("link", "target"), [(f"{DROPINS}/z.yaml", "/srv/z"), (DROPINS, "/proc/self/cwd"), (MAIN, "/srv/z")]
)
def test_a_file_that_leads_to_where_each_process_sees_another_one_is_named(
    tmp_path: Path, link: str, target: str
) -> None:
    """K3s has another current directory than this program."""
    put(tmp_path, "srv/z.yaml", "debug: true\n")
    put(tmp_path, f"{DROPINS}/a.yaml", "debug: true\n")
    (tmp_path / "srv/z").symlink_to("/proc/self/cwd/z.yaml")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cwd").symlink_to("/srv")
    assert configuration_of(tmp_path).differing == ()
    if link == DROPINS:
        (tmp_path / DROPINS).rename(tmp_path / "away")
    (tmp_path / link).symlink_to(target)
    assert PurePosixPath(f"/{link}") in configuration_of(tmp_path).differing


def test_the_drop_in_of_k3s_harden_is_only_in_the_merged_configuration(tmp_path: Path) -> None:
    """The operator's configuration is the same before and after apply."""
    put(tmp_path, MAIN, "debug: true\n")
    put(tmp_path, f"{DROPINS}/90-k3s-harden.yaml", "protect-kernel-defaults: true\n")
    found = configuration_of(tmp_path)
    assert found.operator_config.values.keys() == {"debug"}
    assert found.merged_config.values.keys() == {"debug", "protect-kernel-defaults"}


def loop(path: Path) -> None:
    path.symlink_to(path.name)


LOOP = "Too many levels of symbolic links"


@pytest.mark.parametrize(
    ("path", "make", "problem"),
    [
        (MAIN, os.mkdir, "it is a directory, expected a regular file"),
        (f"{DROPINS}/a.yaml", os.mkfifo, "it is a FIFO, expected a regular file"),
        (DROPINS, os.mkfifo, "it is a FIFO, expected a directory"),
        (MAIN, loop, LOOP),
        (DROPINS, loop, LOOP),
        (f"{DROPINS}/a.yaml", loop, LOOP),
    ],
)
def test_other_file_types_are_invalid(path: str, make: Callable[[Path], object], problem: str, tmp_path: Path) -> None:
    """K3s waits for the writer of a FIFO, and exits at others (stat(2) in k3s, pkg/configfilearg/parser.go)."""
    (tmp_path / path).parent.mkdir(parents=True)
    make(tmp_path / path)
    found = configuration_of(tmp_path)
    (error,) = found.invalid_files
    assert (str(error.location), error.problem) == (f"/{path}", problem)
    assert (found.unreadable, found.broken_links) == ((), ())


def test_a_configuration_below_a_file_is_invalid(tmp_path: Path) -> None:
    put(tmp_path, "etc/rancher/k3s", "")
    problems = {str(error.location): error.problem for error in configuration_of(tmp_path).invalid_files}
    assert problems == dict.fromkeys((f"/{MAIN}", f"/{DROPINS}"), "k3s, a regular file")


def test_a_broken_link_is_a_problem_only_as_drop_in(tmp_path: Path) -> None:
    put(tmp_path, f"{DROPINS}/a.yaml", "debug: true\n")
    (tmp_path / MAIN).symlink_to("missing")
    (tmp_path / DROPINS / "b.yaml").symlink_to("missing")
    assert [str(path) for path in configuration_of(tmp_path).broken_links] == [f"/{DROPINS}/b.yaml"]


def test_a_given_file_counts_only_if_the_service_does_not_show_it(tmp_path: Path) -> None:
    host, given = fake_host(tmp_path), PurePosixPath("/srv/k3s.yaml")
    put(tmp_path, "etc/systemd/system/k3s.service", "[Service]\nExecStart=/usr/local/bin/k3s server -c /etc/own.yaml\n")
    (unit,) = installed_units(host, [])
    assert read_configuration(host, unit, given).path == PurePosixPath("/etc/own.yaml")
    assert read_configuration(host, None, given).path == given
