"""Host: observation and changes of resources."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import HostError
from agent.base.host import Host
from agent.base.host.process import Completed
from agent.base.model import Absent, Directory, File, FileMode, FilePermissions, State, Sysctl, Unreadable
from tests.fake import Programs, fake_host, names

ETC = PurePosixPath("/etc")
MODE = FileMode(0o600)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with /etc and a few kernel values."""
    for path, value in {"vm/overcommit_memory": "1\n", "kernel/printk": "4\t4\t1\t7\n", "kernel/none": ""}.items():
        file = tmp_path / "proc/sys" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)
    (tmp_path / "etc").mkdir()
    return fake_host(tmp_path)


def test_white_space_in_a_kernel_value_is_reduced_to_single_blanks(host: Host) -> None:
    assert host.sysctl("vm.overcommit_memory") == Sysctl(key="vm.overcommit_memory", value="1")
    assert host.sysctl("kernel.printk") == Sysctl(key="kernel.printk", value="4 4 1 7")
    assert host.sysctl("kernel.none") == Sysctl(key="kernel.none", value="")
    assert host.sysctl("vm.no_such") == Absent(PurePosixPath("/proc/sys/vm/no_such"))
    assert host.sysctl("no.such.directory") == Absent(PurePosixPath("/proc/sys/no/such/directory"))


def test_a_directory_below_proc_sys_is_an_unreadable_value(host: Host) -> None:
    seen = host.sysctl("vm")
    assert seen == Unreadable(id="vm", reason="cannot read /proc/sys/vm: it is a directory, not a regular file")


def test_a_kernel_value_is_written_as_sysctl_writes_it(host: Host) -> None:
    host.put(Sysctl(key="vm.overcommit_memory", value="0"))
    assert Path(host.root, "proc/sys/vm/overcommit_memory").read_bytes() == b"0\n"
    with pytest.raises(HostError, match=r"^cannot write /proc/sys/vm/panic_on_oom: No such file or directory$"):
        host.put(Sysctl(key="vm.panic_on_oom", value="0"))
    assert names(Path(host.root, "proc/sys/vm")) == ["overcommit_memory"]


def test_resources_are_observed_with_their_parent_directories(host: Host) -> None:
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
def test_observe_returns_the_state_that_put_wrote(state: State, host: Host) -> None:
    for before in (None, File(path=ETC / "f", content=b"old", mode=MODE), Directory(path=ETC / "d", mode=MODE)):
        if before is not None:
            host.put(before)
        host.put(state)
        assert host.observe(state) == state


def test_permissions_are_observed_and_set_without_the_content(host: Host) -> None:
    path = ETC / "ca.crt"
    expected = FilePermissions(path=path, mode=MODE)
    host.put(File(path=path, content=b"one", mode=FileMode(0o644)))
    assert host.observe(expected) == FilePermissions(path=path, mode=FileMode(0o644))
    inode = Path(host.root, "etc/ca.crt").stat().st_ino
    Path(host.root, "etc/ca.crt").write_bytes(b"two")
    host.put(expected)
    assert host.observe(expected) == expected
    assert host.tree.observe(path) == File(path=path, content=b"two", mode=MODE)
    assert Path(host.root, "etc/ca.crt").stat().st_ino == inode
    assert host.observe_all([expected]) == {expected.id: expected}


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"proc/sys/kernel/hostname": "Node-1\n", "etc/hostname": "other\n"}, "node-1"),
        ({"etc/hostname": "# of the image\n\nNode-2.example.org\n"}, "node-2.example.org"),
        ({"etc/hostname": "\n"}, ""),
        ({}, ""),
    ],
)
def test_the_host_name_is_from_the_kernel_or_from_etc_hostname(files: dict[str, str], name: str, host: Host) -> None:
    for path, text in files.items():
        Path(host.root, path).write_text(text)
    assert host.name == name


def test_a_tool_that_another_user_can_change_is_not_trusted(host: Host) -> None:
    """Root runs a program only from a path that no other user can change."""
    for directory in ("usr/local/sbin", "usr/bin"):
        Path(host.root, directory).mkdir(parents=True)
        Path(host.root, directory, "systemctl").touch(mode=0o755)
    Path(host.root, "usr/local/sbin").chmod(0o777)
    assert host.tool("systemctl") == PurePosixPath("/usr/local/sbin/systemctl")
    assert host.trusted_tool("systemctl") == PurePosixPath("/usr/bin/systemctl")
    Path(host.root, "usr/bin/systemctl").chmod(0o777)
    assert host.trusted_tool("systemctl") is None


def test_the_owner_of_a_tree_is_shown_as_root(tmp_path: Path) -> None:
    """Ordinary users can change their own --root tree. Its programs are not run."""
    host = Host.tree_at(str(tmp_path))
    host.refuse_ordinary_user("apply")
    host.put(File(path=PurePosixPath("/f"), content=b"", mode=MODE))
    found = (tmp_path / "f").stat()
    assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())
    assert not host.is_live
    assert host.probe() == ()
    with pytest.raises(HostError, match="programs of a --root tree are not run"):
        host.run(["/bin/true"], timeout=1)


def test_without_selinux_no_program_sets_a_label(tmp_path: Path) -> None:
    (tmp_path / "usr/sbin").mkdir(parents=True)
    (tmp_path / "usr/sbin/restorecon").touch()
    programs = Programs({("/usr/sbin/restorecon", "/f"): Completed(0, "", "")})
    fake_host(tmp_path, programs=programs).put(File(path=PurePosixPath("/f"), content=b"", mode=MODE))
    assert programs.asked == []


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image whose parent directory belongs to this user."""
    (tmp_path / "home/image/etc").mkdir(parents=True)
    (tmp_path / "victim/etc").mkdir(parents=True)
    return tmp_path / "home/image"


SITE = File(ETC / "site.conf", b"x", MODE)


def test_a_root_directory_that_is_exchanged_does_not_redirect_a_write(image: Path) -> None:
    """The directory is opened once, so a symlink that replaces it has no effect."""
    host = Host.tree_at(str(image))
    image.rename(image.parent / "moved")
    image.symlink_to(image.parents[1] / "victim")
    host.put(SITE)
    assert names(image.parents[1] / "victim/etc") == []
    assert names(image.parent / "moved/etc") == ["site.conf"]


@pytest.mark.root
def test_nothing_is_written_below_a_root_whose_parent_belongs_to_another_user(image: Path) -> None:
    os.chown(image.parent, 65534, 65534)
    host = Host.tree_at(str(image))
    assert host.observe(SITE) == Absent(SITE.path)
    problem = f"its parent directory {image.parent} is not safe: user 65534 owns it"
    with pytest.raises(HostError, match=f"^cannot write /etc/site.conf: {problem}$"):
        host.put(SITE)
    with pytest.raises(HostError, match=problem), host.lock():
        pass
    assert names(image / "etc") == []


@pytest.mark.root
@pytest.mark.parametrize("owner", [0, 65534])
def test_a_symlink_to_the_root_directory_is_followed_for_writes_if_root_owns_it(owner: int, image: Path) -> None:
    (image.parent / "link").symlink_to("image")
    os.lchown(image.parent / "link", owner, owner)
    host = Host.tree_at(str(image.parent / "link"))
    if owner:
        with pytest.raises(HostError, match="link in its path is a symlink of user 65534"):
            host.put(SITE)
    else:
        host.put(SITE)
    assert names(image / "etc") == ([] if owner else ["site.conf"])
