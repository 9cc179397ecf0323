"""This machine as a pod sees it: its root directory is mounted, and its systemd cannot be asked."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import AccessDeniedError, HardenError, HostError
from agent.base.host import Host
from agent.base.host.systemd import Systemd
from agent.base.linux.file_systems import Mount
from agent.base.model import Unreadable
from agent.harden.node.installed_services import installed_units
from agent.harden.node.machine.program_and_storage_facts import read_storage
from agent.harden.node.platform import detect_platform
from agent.reports import repair_texts
from tests.k3s_tree import put

UNIT = "etc/systemd/system/k3s.service"
LOADED = "run/systemd/systemd-units-load"
MOUNTS = (
    "1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /etc ro - ext4 /dev/b rw\n3 1 0:3 / /data rw,noexec - xfs /dev/c rw\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root directory whose /proc is that of this process."""
    put(tmp_path, "proc/1/mountinfo", MOUNTS)
    put(tmp_path, "proc/sys/kernel/hostname", "the-pod\n")
    (tmp_path / "proc/self").symlink_to(str(os.getpid()))
    return tmp_path


def mounted(root: Path) -> Host:
    return Host.mounted_node(str(root), "Worker-1")


@pytest.mark.parametrize("hidden", ["proc/self", "proc/1/mountinfo"])
def test_a_directory_without_the_processes_of_this_machine_is_refused(hidden: str, root: Path) -> None:
    """It is a host tree, or its /proc hides the processes of other users."""
    (root / hidden).unlink()
    with pytest.raises(HostError, match="its /proc does not list the processes of this machine"):
        mounted(root)


def test_the_name_is_not_that_of_the_pod(root: Path) -> None:
    """The kernel would answer with it, and the file has another one than the kernel on some hosts."""
    put(root, "etc/hostname", "rack-7\n")
    assert mounted(root).name == "worker-1"


def test_mounts_are_those_of_the_node(root: Path) -> None:
    """The mounts of the pod are read-only; the way to the data directory can have an absolute link."""
    (root / "data").mkdir()
    (root / "var/lib").mkdir(parents=True)
    (root / "var/lib/rancher").symlink_to("/data")
    host = mounted(root)
    platform, _ = detect_platform(host)
    assert (platform.etc_is_read_only, platform.kernel_is_read_only) == (True, False)
    (directory,) = read_storage(host, PurePosixPath("/var/lib/rancher/k3s"), frozenset()).directories
    assert directory.mount == Mount("/data", "xfs", frozenset({"rw", "noexec"}), "0:3")


def test_systemd_is_not_asked(root: Path) -> None:
    """Its programs would need the libraries of the node."""
    for path in ("usr/bin/systemctl", "run/systemd/system/x", "usr/lib/systemd/systemd"):
        put(root, path, "")
    assert not Systemd(mounted(root)).is_running
    assert Systemd(mounted(root)).reads_units


def test_a_file_in_dev_cannot_be_read(root: Path) -> None:
    """Something else is mounted there, so it would look missing. A link to the null device masks a file."""
    (root / "dev").mkdir()
    link, mask = root / "etc/config", root / "etc/mask"
    put(root, "etc/other", "")
    link.symlink_to("/dev/mapper/config")
    mask.symlink_to("/dev/null")
    tree = mounted(root).tree
    for path in ("/dev/mapper/config", "/etc/config", "/etc/../dev/other"):
        with pytest.raises(AccessDeniedError, match="/dev of the node is hidden from this pod"):
            tree.read(PurePosixPath(path))
        assert isinstance(tree.stat(PurePosixPath(path)), Unreadable)
    assert tree.read(PurePosixPath("/etc/mask")) is None
    assert tree.names(PurePosixPath("/dev")) == ()


def test_a_program_without_libraries_runs(root: Path) -> None:
    """K3s is one, and prints its version."""
    put(root, "usr/local/bin/k3s", "#!/bin/sh\necho k3s version v1.34.2+k3s1\n")
    (root / "usr/local/bin/k3s").chmod(0o755)
    assert mounted(root).run(["/usr/local/bin/k3s", "--version"], timeout=10).stdout == "k3s version v1.34.2+k3s1\n"


@pytest.mark.parametrize("changed", [UNIT, f"{UNIT}.d/10-site.conf"])
def test_units_that_systemd_has_not_loaded_are_unknown(root: Path, changed: str) -> None:
    """What K3s was started with is only in the memory of systemd then."""
    put(root, UNIT, "[Service]\nExecStart=/usr/local/bin/k3s server\n")
    put(root, changed, "[Service]\nExecStart=/usr/local/bin/k3s server\n")
    put(root, LOADED, "")
    unread: list[HardenError] = []
    installed_units(mounted(root), unread)
    assert unread == []
    os.utime(root / LOADED, (1, 1))
    installed_units(mounted(root), unread)
    assert [repair_texts.text(error.repair) for error in unread] == ["sudo systemctl daemon-reload"]
