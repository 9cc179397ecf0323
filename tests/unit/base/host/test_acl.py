"""POSIX access control lists: who can write, lists of an unknown format, and default permissions of directories."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.base.errors import HostError
from agent.base.host import Host, acl
from agent.base.host.writable_tree import WritableTree
from agent.base.linux import file_systems
from agent.base.linux.reach import WRITE, FoundFile, parties, permits
from agent.base.model import Absent, DefaultPermissions, File, FileMode, Owner, UnexpectedKind, Unreadable
from tests.fake import fake_host, in_memory, names

USER_OBJECT, USER, GROUP_OBJECT, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NOBODY = 65534
NONE = 0xFFFFFFFF
SITE = PurePosixPath("/etc/site.conf")


def encoded(*entries: tuple[int, int, int]) -> bytes:
    """Return the attribute that setfacl(1) writes."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def acl_of(user: int = 0, group: int = 0, mask: int = 7, named: tuple[int, int, int] | None = None) -> bytes:
    """Return a list whose owner has all permissions; `named` is an entry for a user or group."""
    users = [named] if named and named[0] == USER else []
    groups = [named] if named and named[0] == GROUP else []
    return encoded(
        (USER_OBJECT, 7, NONE), *users, (GROUP_OBJECT, group, NONE), *groups, (MASK, mask, NONE), (OTHER, user, NONE)
    )


@pytest.mark.parametrize(
    ("data", "writers"),
    [
        (acl_of(named=(USER, 7, NOBODY)), ["user 65534"]),
        (acl_of(named=(GROUP, 6, 100)), ["group 100"]),
        (acl_of(named=(USER, 7, NOBODY), mask=5), []),
        (acl_of(named=(USER, 5, NOBODY)), []),
        (acl_of(group=7), ["group 7"]),
        (acl_of(group=7, mask=4), []),
    ],
)
def test_users_and_groups_that_can_write_are_reported(data: bytes, writers: list[str]) -> None:
    """The mask limits every entry except those of the owner and of others."""
    item = FoundFile(SITE, FileMode(0o670), Owner(0, 7), acl.granted(data))
    assert [str(who) for who in parties(item) if permits(who, item, WRITE)] == writers


@pytest.mark.parametrize(
    "data", [b"", b"\3\0\0\0", encoded((USER, 7, 0))[:-1], encoded((64, 7, 0)), encoded((USER, 8, 0))]
)
def test_a_list_of_an_unknown_format_is_no_list(data: bytes) -> None:
    assert acl.granted(data) is None


@given(data=st.binary(max_size=100))
def test_any_bytes_are_parsed_or_an_unknown_format(data: bytes) -> None:
    assert isinstance(acl.granted(data), (tuple, type(None)))


@pytest.fixture
def root() -> Iterator[Path]:
    with in_memory("etc") as directory:
        (directory / "etc/site.conf").touch()
        probe = acl_of(named=(USER, 7, NOBODY))
        try:
            os.setxattr(directory / "etc/site.conf", "system.posix_acl_access", probe)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                pytest.skip("this file system has no access control lists")
            raise
        os.removexattr(directory / "etc/site.conf", "system.posix_acl_access")
        yield directory


@pytest.fixture
def tree(root: Path) -> WritableTree:
    return WritableTree(str(root), os.geteuid(), os.getegid())


def test_a_file_that_a_user_can_write_by_its_acl_is_not_trusted(root: Path, tree: WritableTree) -> None:
    """Its mode shows only that root's group can write."""
    os.setxattr(root / "etc/site.conf", "system.posix_acl_access", acl_of(named=(USER, 6, NOBODY), mask=6))
    assert tree.trust_problem(SITE) == "user 65534 can write to it by its access control list"
    os.setxattr(root / "etc/site.conf", "system.posix_acl_access", acl_of(named=(USER, 6, NOBODY), mask=4))
    assert tree.trust_problem(SITE) == ""


def test_nothing_is_written_to_a_directory_that_a_user_can_write_by_its_acl(root: Path, tree: WritableTree) -> None:
    os.setxattr(root / "etc", "system.posix_acl_access", acl_of(group=5, named=(GROUP, 7, NOBODY), user=5))
    problem = "its parent directory /etc is not safe: group 65534 can write to it by its access control list"
    assert tree.trust_problem(SITE) == problem
    with pytest.raises(HostError, match=f"^cannot write /etc/site.conf: {problem}$"):
        tree.write(File(SITE, b"x", FileMode(0o600)))
    assert names(root / "etc") == ["site.conf"]
    assert tree.read(SITE) == b""


PATH = PurePosixPath("/var/cni")
PRIVATE = DefaultPermissions(path=PATH, acl=file_systems.OWNER_ONLY)
NOTHING = DefaultPermissions(path=PATH, acl=b"")


@pytest.fixture
def host() -> Iterator[Host]:
    with in_memory("var/cni") as root:
        (root / "var/cni").chmod(0o755)
        yield fake_host(root)


def directory(host: Host) -> Path:
    return Path(host.root, "var/cni")


def created(directory: Path, mode: int) -> int:
    """Create a file with this mode under the umask 022, and return its resulting mode."""
    umask = os.umask(0o022)
    try:
        os.close(os.open(directory / "new", os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode))
    finally:
        os.umask(umask)
    return (directory / "new").stat().st_mode & 0o7777


@pytest.mark.parametrize("mode", [0o644, 0o666, 0o600])
def test_new_files_are_accessible_only_by_their_owner(host: Host, mode: int) -> None:
    """The mode that their program requests has no effect, also in directories that are created later."""
    host.put(PRIVATE)
    assert host.observe(PRIVATE) == PRIVATE
    assert created(directory(host), mode) == 0o600
    (directory(host) / "cbr0").mkdir(mode=0o755)
    assert (directory(host) / "cbr0").stat().st_mode & 0o7777 == 0o700
    assert created(directory(host) / "cbr0", mode) == 0o600


def test_the_default_list_can_be_removed(host: Host) -> None:
    assert host.observe(PRIVATE) == NOTHING
    host.put(PRIVATE)
    for _ in range(2):
        host.put(NOTHING)
        assert host.observe(PRIVATE) == NOTHING
    assert os.listxattr(directory(host)) == []
    assert directory(host).stat().st_mode & 0o7777 == 0o755
    assert created(directory(host), 0o644) == 0o644


def test_an_earlier_list_is_restored(host: Host) -> None:
    theirs = file_systems.OWNER_ONLY[:14] + b"\x04" + file_systems.OWNER_ONLY[15:]  # the group may read
    os.setxattr(directory(host), "system.posix_acl_default", theirs)
    before = host.observe(PRIVATE)
    assert before == DefaultPermissions(path=PATH, acl=theirs)
    host.put(PRIVATE)
    assert isinstance(before, DefaultPermissions)
    host.put(before)
    assert os.getxattr(directory(host), "system.posix_acl_default") == theirs


def test_a_missing_directory_has_no_default_list(host: Host) -> None:
    directory(host).rmdir()
    assert host.observe(PRIVATE) == NOTHING
    with pytest.raises(HostError, match="cannot set the default permissions in /var/cni"):
        host.put(PRIVATE)


def test_a_link_or_a_file_is_an_obstacle(host: Host) -> None:
    directory(host).rename(Path(host.root, "elsewhere"))
    directory(host).symlink_to("/elsewhere")
    assert isinstance(host.observe(PRIVATE), UnexpectedKind)
    with pytest.raises(HostError):
        host.put(PRIVATE)
    assert os.listxattr(Path(host.root, "elsewhere")) == []
    assert not isinstance(host.observe(PRIVATE), Absent)


def test_a_file_system_without_lists_is_reported(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> bytes:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "getxattr", unsupported)
    found = host.observe(PRIVATE)
    assert isinstance(found, Unreadable)
    assert "does not support access control lists" in found.reason


def test_an_unreadable_list_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "getxattr", denied)
    with pytest.raises(PermissionError):
        acl.read_default_acl(0)
