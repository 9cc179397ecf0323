"""One machine or a tree: what it shows of resources, and how it makes them so."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from agent.errors import HostError, NotEmptyError
from agent.host import Host
from agent.host.process import Completed
from agent.model import Absent, Directory, File, FileMode, FilePermissions, Obstacle, State, Sysctl, Unreadable
from tests.fake import Programs, fake_host, names

ETC = PurePosixPath("/etc")
MODE = FileMode(0o600)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with an /etc and a few kernel values."""
    for path, value in {"vm/overcommit_memory": "1\n", "kernel/printk": "4\t4\t1\t7\n", "kernel/none": ""}.items():
        file = tmp_path / "proc/sys" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)
    (tmp_path / "etc").mkdir()
    return fake_host(tmp_path)


def test_a_kernel_value_is_text_with_white_space_folded(host: Host) -> None:
    """A key with dots is a path below /proc/sys; nothing there is absent, and 0 is a value."""
    assert host.sysctl("vm.overcommit_memory") == Sysctl(key="vm.overcommit_memory", value="1")
    assert host.sysctl("kernel.printk") == Sysctl(key="kernel.printk", value="4 4 1 7")
    assert host.sysctl("kernel.none") == Sysctl(key="kernel.none", value="")
    assert host.sysctl("vm.no_such") == Absent(PurePosixPath("/proc/sys/vm/no_such"))
    assert host.sysctl("no.such.directory") == Absent(PurePosixPath("/proc/sys/no/such/directory"))


def test_a_kernel_value_that_cannot_be_told_is_unreadable(host: Host) -> None:
    """A directory of values is no value."""
    seen = host.sysctl("vm")
    assert seen == Unreadable(id="vm", reason="cannot read /proc/sys/vm: it is a directory, not a regular file")


def test_a_kernel_value_is_written_as_sysctl_writes_it(host: Host) -> None:
    """Text and a line break, into the file that is there; one that is not there is not made."""
    host.put(Sysctl(key="vm.overcommit_memory", value="0"))
    assert Path(host.root, "proc/sys/vm/overcommit_memory").read_bytes() == b"0\n"
    with pytest.raises(HostError, match=r"^cannot write /proc/sys/vm/panic_on_oom: No such file or directory$"):
        host.put(Sysctl(key="vm.panic_on_oom", value="0"))
    assert names(Path(host.root, "proc/sys/vm")) == ["overcommit_memory"]


def test_an_image_that_is_being_built_has_no_kernel(host: Host, tmp_path: Path) -> None:
    """It has no /proc/sys."""
    assert host.has_kernel
    assert not fake_host(tmp_path / "etc").has_kernel


def test_all_resources_are_seen_with_the_directories_above_them(host: Host) -> None:
    """Each by its id; a kernel value has none."""
    path = ETC / "sysctl.d/90-kubelet.conf"
    seen = host.observe_all([File(path=path, content=b"", mode=MODE), Sysctl(key="kernel.printk", value="1")])
    assert seen.keys() == {str(path), "/etc/sysctl.d", "/etc", "/", "kernel.printk"}
    assert seen[str(path)] == Absent(path)
    assert isinstance(seen["/etc"], Directory)


@pytest.mark.parametrize(
    "state",
    [
        Directory(path=ETC / "d", mode=FileMode(0o750)),
        File(path=ETC / "f", content=b"x\0y", mode=FileMode(0o640)),
        Sysctl(key="kernel.printk", value="1 2 3 4"),
        Absent(PurePosixPath("/etc/f")),
        Absent(PurePosixPath("/etc/d")),
    ],
    ids=str,
)
def test_what_was_put_is_what_is_seen(state: State, host: Host) -> None:
    """For each kind of state, from nothing and from something else."""
    for before in (None, File(path=ETC / "f", content=b"old", mode=MODE), Directory(path=ETC / "d", mode=MODE)):
        if before is not None:
            host.put(before)
        host.put(state)
        assert host.observe(state) == state


def test_the_permissions_of_a_file_are_seen_and_set_without_its_content(host: Host) -> None:
    """Whoever writes the file meanwhile keeps what was written."""
    path = ETC / "ca.crt"
    wanted = FilePermissions(path=path, mode=MODE)
    host.put(File(path=path, content=b"one", mode=FileMode(0o644)))
    assert host.observe(wanted) == FilePermissions(path=path, mode=FileMode(0o644))
    inode = Path(host.root, "etc/ca.crt").stat().st_ino
    Path(host.root, "etc/ca.crt").write_bytes(b"two")
    host.put(wanted)
    assert host.observe(wanted) == wanted
    assert host.tree.observe(path) == File(path=path, content=b"two", mode=MODE)
    assert Path(host.root, "etc/ca.crt").stat().st_ino == inode
    assert host.observe_all([wanted]) == {wanted.id: wanted}


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"proc/sys/kernel/hostname": "Node-1\n", "etc/hostname": "other\n"}, "node-1"),
        ({"etc/hostname": "# of the image\n\nNode-2.example.org\n"}, "node-2.example.org"),
        ({"etc/hostname": "\n"}, ""),
        ({}, ""),
    ],
)
def test_a_host_has_the_name_that_its_kernel_has_or_will_have(files: dict[str, str], name: str, host: Host) -> None:
    """K3s names the node after it, in small letters."""
    for path, text in files.items():
        Path(host.root, path).write_text(text)
    assert host.name == name


def test_a_directory_with_something_in_it_is_kept(host: Host) -> None:
    """What it holds is not ours to remove."""
    host.put(Directory(path=ETC / "d", mode=FileMode(0o700)))
    host.put(File(path=ETC / "d/theirs", content=b"", mode=MODE))
    with pytest.raises(NotEmptyError, match=r"^cannot remove /etc/d: it contains other files$"):
        host.put(Absent(PurePosixPath("/etc/d")))
    assert host.tree.exists(ETC / "d/theirs")


def test_a_tool_is_found_in_one_of_the_usual_places(host: Host) -> None:
    """/usr/local/bin, where K3s' installer puts it, included: sudo's own path lacks it on some systems."""
    assert host.tool("k3s") is None
    Path(host.root, "usr/local/bin").mkdir(parents=True)
    Path(host.root, "usr/local/bin/k3s").touch()
    assert host.tool("k3s") == PurePosixPath("/usr/local/bin/k3s")


def test_only_the_owner_of_a_tree_stands_for_root_in_it(tmp_path: Path) -> None:
    """Whoever rehearses may do all there, without being root, and runs none of its programs."""
    host = Host.tree_at(str(tmp_path))
    host.refuse_ordinary_user("apply")
    host.put(File(path=PurePosixPath("/f"), content=b"", mode=MODE))
    found = (tmp_path / "f").stat()
    assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())
    assert not host.is_live
    assert host.probe() == ()
    with pytest.raises(HostError, match="programs of a --root tree are not run"):
        host.run(["/bin/true"], timeout=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root is not refused")
def test_an_ordinary_user_is_told_how_to_change_this_machine() -> None:
    """Before anything is tried."""
    with pytest.raises(HostError, match=r"^cannot revert: changing the host requires root$") as caught:
        Host.real().refuse_ordinary_user("revert")
    assert caught.value.hint == "sudo k3s-harden revert"


def test_the_real_host_is_this_machine() -> None:
    """Its kernel is the running one."""
    host = Host.real()
    assert (host.root, host.is_live, host.has_kernel) == ("/", True, True)
    release = Path("/proc/sys/kernel/osrelease").read_text(encoding="ascii").strip()
    assert host.sysctl("kernel.osrelease") == Sysctl(key="kernel.osrelease", value=release)
    assert isinstance(host.tree.observe(PurePosixPath("/proc/self/exe")), Obstacle)


def test_no_program_is_run_for_a_file_without_selinux(tmp_path: Path) -> None:
    """Nor in a tree, on a machine with SELinux: its labels are that machine's business."""
    (tmp_path / "usr/sbin").mkdir(parents=True)
    (tmp_path / "usr/sbin/restorecon").touch()
    programs = Programs({("/usr/sbin/restorecon", "/f"): Completed(0, "", "")})
    fake_host(tmp_path, programs=programs).put(File(path=PurePosixPath("/f"), content=b"", mode=MODE))
    assert programs.asked == []
