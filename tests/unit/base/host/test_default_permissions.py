"""Default permissions of directories: set, read back and removed on a real file system."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import HostError
from agent.base.host import Host, acl
from agent.base.linux import file_systems
from agent.base.model import Absent, DefaultPermissions, UnexpectedKind, Unreadable
from tests.fake import fake_host, in_memory

PATH = PurePosixPath("/var/cni")
PRIVATE = DefaultPermissions(path=PATH, acl=file_systems.OWNER_ONLY)
NONE = DefaultPermissions(path=PATH, acl=b"")


@pytest.fixture
def host() -> Iterator[Host]:
    with in_memory() as root:
        (root / "var/cni").mkdir(parents=True)
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
    assert host.observe(PRIVATE) == NONE
    host.put(PRIVATE)
    for _ in range(2):
        host.put(NONE)
        assert host.observe(PRIVATE) == NONE
    assert os.listxattr(directory(host)) == []
    assert directory(host).stat().st_mode & 0o7777 == 0o755
    assert created(directory(host), 0o644) == 0o644


def test_an_earlier_list_is_restored(host: Host) -> None:
    theirs = replace_group(file_systems.OWNER_ONLY)
    os.setxattr(directory(host), "system.posix_acl_default", theirs)
    before = host.observe(PRIVATE)
    assert before == DefaultPermissions(path=PATH, acl=theirs)
    host.put(PRIVATE)
    assert isinstance(before, DefaultPermissions)
    host.put(before)
    assert os.getxattr(directory(host), "system.posix_acl_default") == theirs


def replace_group(data: bytes) -> bytes:
    """Return the list with read permission for the group."""
    return data[:14] + b"\x04" + data[15:]


def test_a_missing_directory_has_no_default_list(host: Host) -> None:
    directory(host).rmdir()
    assert host.observe(PRIVATE) == NONE
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
