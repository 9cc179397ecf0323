"""Files below a root: symlinks, special files, untrusted directories, and errors of the machine."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import HostError, ReadOnlyEnvironmentError
from agent.base.host.directories import DirectoryEntry
from agent.base.host.tree import LARGEST_READ
from agent.base.host.writable_tree import WritableTree
from agent.base.model import Absent, Directory, File, FileMode, FilePermissions, Owner, UnexpectedKind, Unreadable
from agent.base.value import replace
from agent.reports import repair_texts
from tests.fake import in_memory, mounted, names

NOBODY = 65534
SITE = PurePosixPath("/etc/site.conf")


@pytest.fixture
def root() -> Iterator[Path]:
    """An empty host below a directory; beside it are files that must not change."""
    with in_memory() as directory:
        (directory / "host/etc").mkdir(parents=True)
        (directory / "outside").mkdir()
        (directory / "outside/precious").write_text("precious\n")
        yield directory / "host"


@pytest.fixture
def tree(root: Path) -> WritableTree:
    return WritableTree(str(root), os.geteuid(), os.getegid())


def file(path: PurePosixPath = SITE, content: bytes = b"new\n", mode: int = 0o640) -> File:
    return File(path=path, content=content, mode=FileMode(mode))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_file_is_observed_with_content_mode_and_owner(root: Path, tree: WritableTree) -> None:
    (root / "etc/site.conf").write_bytes(b"\0\xff\n")
    (root / "etc/site.conf").chmod(0o2751)
    assert tree.observe(SITE) == File(path=SITE, content=b"\0\xff\n", mode=FileMode(0o2751), owner=Owner(0, 0))


def test_only_regular_files_have_permissions(root: Path, tree: WritableTree) -> None:
    (root / "etc/site.conf").touch(mode=0o640)
    (root / "etc/link").symlink_to("site.conf")
    os.mkfifo(root / "etc/fifo")

    def seen(name: str) -> object:
        return tree.permissions(PurePosixPath("/etc") / name)

    assert seen("site.conf") == FilePermissions(path=SITE, mode=FileMode(0o640))
    assert seen("link") == UnexpectedKind(id="mode of /etc/link", kind="symlink")
    assert seen("fifo") == UnexpectedKind(id="mode of /etc/fifo", kind="FIFO")
    assert seen("none") == Absent(PurePosixPath("/etc/none"))
    assert seen("site.conf/x") == UnexpectedKind(
        id="mode of /etc/site.conf/x", kind="path through site.conf, a regular file"
    )


@pytest.mark.parametrize("name", ["link", "fifo", "none"])
def test_permissions_are_set_only_on_regular_files(name: str, root: Path, tree: WritableTree) -> None:
    (root / "etc/link").symlink_to("../../outside/precious")
    os.mkfifo(root / "etc/fifo", 0o640)
    (root / "../outside/precious").chmod(0o640)
    with pytest.raises(HostError, match=f"^cannot change the mode of /etc/{name}: "):
        tree.set_permissions(FilePermissions(path=PurePosixPath("/etc") / name, mode=FileMode(0o600)))
    assert mode_of(root / "../outside/precious") == mode_of(root / "etc/fifo") == 0o640


def test_a_copy_preserves_mtime_but_not_ctime(root: Path, tree: WritableTree) -> None:
    """A package preserves the mtime of its source; the ctime is that of this host."""
    before = time.time() - 1
    (root / "etc/site.conf").touch()
    os.utime(root / "etc/site.conf", (1_000_000, 1_000_000))
    times = tree.times(SITE)
    assert times is not None
    assert times.written == 1_000_000
    assert times.changed > before
    assert tree.times(PurePosixPath("/etc/none")) is None
    assert tree.times(SITE / "x") is None


def symlink(path: Path) -> None:
    path.symlink_to(path.parents[2] / "outside/precious")


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    # A socket's address has a length limit, so it is relative to the directory.
    script = "import os, socket, sys; os.chdir(sys.argv[1]); socket.socket(socket.AF_UNIX).bind(sys.argv[2])"
    subprocess.run([sys.executable, "-c", script, str(path.parent), path.name], check=True)


def device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))


OBSTACLES: list[object] = [
    pytest.param(symlink, "symlink", id="symlink"),
    pytest.param(dangling, "symlink", id="dangling"),
    pytest.param(fifo, "FIFO", id="FIFO"),
    pytest.param(bound_socket, "socket", id="socket"),
    pytest.param(device, "character device", id="device", marks=pytest.mark.root),
]


@pytest.mark.parametrize(("plant", "kind"), OBSTACLES)
def test_another_file_type_is_observed_as_obstacle_with_its_type(
    plant: Callable[[Path], None], kind: str, root: Path, tree: WritableTree
) -> None:
    """It is not opened, because a FIFO blocks, and opening a device can have effects."""
    plant(root / "etc/site.conf")
    assert tree.observe(SITE) == UnexpectedKind(id=str(SITE), kind=kind)
    assert tree.exists(SITE)


def test_a_parent_that_is_a_file_is_an_obstacle(root: Path, tree: WritableTree) -> None:
    (root / "etc/k3s").touch()
    path = PurePosixPath("/etc/k3s/config.yaml")
    assert tree.observe(path) == UnexpectedKind(id=str(path), kind="path through k3s, a regular file")
    with pytest.raises(HostError, match=r"^cannot read /etc/k3s/config\.yaml: k3s, a regular file$"):
        tree.read(path)
    changes: list[Callable[[], None]] = [lambda: tree.write(file(path)), lambda: tree.remove_file(path)]
    for change in changes:
        with pytest.raises(
            HostError, match=r"/etc/k3s/config\.yaml: found k3s, a regular file, in its path, expected a directory"
        ) as caught:
            change()
        assert repair_texts.text(caught.value.repair) == "inspect that file, and move it away if it is not needed"


def test_reading_follows_symlinks_inside_the_root(root: Path, tree: WritableTree) -> None:
    """An absolute symlink of an image leads to a file of the image."""
    (root / "usr/lib").mkdir(parents=True)
    (root / "usr/lib/real.conf").write_text("inside\n")
    (root / "etc/site.conf").symlink_to("/usr/lib/real.conf")
    (root / "etc/relative.conf").symlink_to("../usr/./lib/real.conf")
    assert tree.read(SITE) == b"inside\n"
    assert tree.read(PurePosixPath("/etc/relative.conf")) == b"inside\n"
    assert tree.link_target(SITE) == "/usr/lib/real.conf"
    assert tree.link_target(PurePosixPath("/usr/lib/real.conf")) is None
    assert tree.link_target(PurePosixPath("/none/such")) is None


@pytest.mark.parametrize("target", ["../../../outside/precious", "/../../outside/precious", "../outside/precious"])
def test_no_symlink_leads_outside_the_root(target: str, root: Path, tree: WritableTree) -> None:
    """The parent of the root is the root, as after chroot(2)."""
    (root / "etc/site.conf").symlink_to(target)
    assert tree.read(SITE) is None
    (root / "etc/out").symlink_to(PurePosixPath(target).parent)
    assert isinstance(tree.observe(PurePosixPath("/etc/out/precious")), UnexpectedKind)


@pytest.mark.parametrize("prefix", ["/../..", "//", "/etc/../../..", "/./"])
def test_no_path_leads_outside_the_root(prefix: str, root: Path, tree: WritableTree) -> None:
    (root / "etc/site.conf").write_text("inside\n")
    outside = str(root.parent / "outside/precious").lstrip("/")
    assert tree.read(PurePosixPath(f"{prefix}/etc/site.conf")) == b"inside\n"
    assert tree.read(PurePosixPath(f"{prefix}/{outside}")) is None
    assert isinstance(tree.observe(PurePosixPath(f"//{outside}")), Absent)


def test_a_loop_of_symlinks_is_an_error(root: Path, tree: WritableTree) -> None:
    (root / "etc/site.conf").symlink_to("other")
    (root / "etc/other").symlink_to("site.conf")
    with pytest.raises(HostError, match=r"^cannot read /etc/site\.conf: Too many levels of symbolic links$"):
        tree.read(SITE)
    assert tree.observe(SITE / "x") == Unreadable(id=f"{SITE}/x", reason="Too many levels of symbolic links")


@pytest.mark.parametrize(("plant", "kind"), OBSTACLES[2:])
def test_only_a_regular_file_is_read(plant: Callable[[Path], None], kind: str, root: Path, tree: WritableTree) -> None:
    plant(root / "etc/site.conf")
    with pytest.raises(HostError, match=rf"^cannot read /etc/site\.conf: it is a {kind}, not a regular file$"):
        tree.read(SITE)


def test_a_file_above_the_size_limit_is_not_read(root: Path, tree: WritableTree) -> None:
    path = root / "etc/site.conf"
    path.touch()
    os.truncate(path, LARGEST_READ)
    assert tree.read(SITE) == bytes(LARGEST_READ)
    os.truncate(path, 1 << 40)
    reason = f"it has {1 << 40} bytes; k3s-harden reads at most {LARGEST_READ}"
    with pytest.raises(HostError, match=rf"^cannot read /etc/site\.conf: {reason}$"):
        tree.read(SITE)
    assert tree.observe(SITE) == Unreadable(id=str(SITE), reason=reason)


def test_names_are_sorted_and_empty_for_other_file_types(root: Path, tree: WritableTree) -> None:
    for name in ("b", "a", ".hidden", "10"):
        (root / "etc" / name).touch()
    (root / "link").symlink_to("/etc")
    assert tree.names(PurePosixPath("/link")) == (".hidden", "10", "a", "b")
    assert tree.names(PurePosixPath("/etc/a")) == ()
    assert tree.names(PurePosixPath("/none/such")) == ()


def test_entries_of_a_directory_are_not_opened(root: Path, tree: WritableTree) -> None:
    (root / "etc/b").touch(0o000)
    (root / "etc/b").chmod(0o000)
    (root / "etc/a").mkdir(0o750)
    fifo(root / "etc/c")
    dangling(root / "etc/d")
    found = tree.entries(PurePosixPath("/etc"))
    assert found[:2] == (
        DirectoryEntry("a", "directory", FileMode(0o750), Owner(0, 0)),
        DirectoryEntry("b", "regular file", FileMode(0), Owner(0, 0)),
    )
    assert [entry.kind for entry in found[2:] if isinstance(entry, DirectoryEntry)] == ["FIFO", "symlink"]
    assert tree.entries(PurePosixPath("/none/such")) == ()
    with pytest.raises(HostError, match=r"^cannot list /etc/b: "):
        tree.entries(PurePosixPath("/etc/b"))


def test_stat_follows_symlinks_inside_the_root(root: Path, tree: WritableTree) -> None:
    (root / "etc/real").touch()
    (root / "etc/real").chmod(0o640)
    (root / "etc/link").symlink_to("/etc/real")
    (root / "etc/circle").symlink_to("circle")
    symlink(root / "etc/out")
    real = DirectoryEntry("real", "regular file", FileMode(0o640), Owner(0, 0))
    assert tree.stat(PurePosixPath("/etc/real")) == real
    assert tree.stat(PurePosixPath("/etc/link")) == replace(real, name="link")
    for path in ("/etc/out", "/none/such"):
        assert tree.stat(PurePosixPath(path)) == Absent(PurePosixPath(path))
    for path in ("/etc/circle", "/etc/real/x"):
        assert isinstance(tree.stat(PurePosixPath(path)), Unreadable)


def test_a_file_is_replaced_and_not_overwritten(root: Path, tree: WritableTree) -> None:
    """An open descriptor or a hard link keeps the old content."""
    (root / "etc/site.conf").write_text("old\n")
    os.link(root / "etc/site.conf", root / "etc/kept")
    tree.write(file())
    assert (root / "etc/kept").read_text() == "old\n"
    assert (root / "etc/site.conf").read_text() == "new\n"


@pytest.mark.parametrize("plant", [fifo, symlink, Path.touch])
def test_the_temporary_file_of_a_killed_run_is_replaced(
    plant: Callable[[Path], None], root: Path, tree: WritableTree
) -> None:
    plant(root / "etc/.site.conf.k3s-harden")
    tree.write(file())
    assert names(root / "etc") == ["site.conf"]
    assert (root.parent / "outside/precious").read_text() == "precious\n"


def test_a_parent_that_is_a_broken_link_is_an_obstacle_with_its_cause(root: Path, tree: WritableTree) -> None:
    """As a data directory on a disk that is not mounted: the path can be neither absent nor created."""
    (root / "srv").mkdir()
    (root / "etc/k3s").symlink_to("/srv/disk/k3s")
    path = PurePosixPath("/etc/k3s/server/psa.yaml")
    problem = "/etc/k3s is a symlink to /srv/disk/k3s, which does not exist"
    fix = "mount or create /srv/disk/k3s, or correct the symlink /etc/k3s"
    kind = f"path below a broken link: {problem}"
    assert tree.observe(path) == UnexpectedKind(id=str(path), kind=kind, link="/etc/k3s", target="/srv/disk/k3s")
    with pytest.raises(HostError) as caught:
        tree.write(file(path))
    assert (caught.value.message, repair_texts.text(caught.value.repair)) == (f"cannot write {path}: {problem}", fix)
    assert tree.read(path) is None
    (root / "srv/disk/k3s").mkdir(parents=True)
    assert tree.observe(path) == Absent(path)
    with pytest.raises(HostError, match="its parent directory does not exist"):
        tree.write(file(path))


def test_a_missing_parent_is_an_error_with_the_path(tree: WritableTree) -> None:
    path = PurePosixPath("/none/such")
    for verb, change in (
        ("write", lambda: tree.write(file(path))),
        ("write", lambda: tree.overwrite(path, b"1")),
        ("create", lambda: tree.make_directory(Directory(path=path, mode=FileMode(0o700)))),
        ("rename", lambda: tree.rename(path, "x")),
        ("open", lambda: tree.open_lock(path)),
    ):
        with pytest.raises(HostError, match=rf"^cannot {verb} /none/such: its parent directory does not exist$"):
            change()


def test_overwriting_keeps_the_inode(root: Path, tree: WritableTree) -> None:
    """/proc/sys requires this. A FIFO or a symlink is rejected and does not block."""
    (root / "etc/site.conf").write_text("a longer old value\n")
    before = (root / "etc/site.conf").stat()
    tree.overwrite(SITE, b"1\n")
    after = (root / "etc/site.conf").stat()
    assert (root / "etc/site.conf").read_text() == "1\n"
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    for plant, kind in ((fifo, "FIFO"), (symlink, "symlink")):
        (root / "etc/site.conf").unlink()
        plant(root / "etc/site.conf")
        with pytest.raises(HostError, match=rf"^cannot write /etc/site\.conf: it is a {kind}, not a regular file$"):
            tree.overwrite(SITE, b"1\n")
    with pytest.raises(HostError, match=r"^cannot write /etc/none: No such file or directory$"):
        tree.overwrite(PurePosixPath("/etc/none"), b"1\n")
    assert (root.parent / "outside/precious").read_text() == "precious\n"


@pytest.mark.parametrize(("plant", "kind"), OBSTACLES)
def test_creating_a_directory_does_not_replace_another_file_type(
    plant: Callable[[Path], None], kind: str, root: Path, tree: WritableTree
) -> None:
    plant(root / "etc/site.conf")
    outside = mode_of(root.parent / "outside/precious")
    with pytest.raises(HostError, match=r"^cannot create /etc/site\.conf: Not a directory$"):
        tree.make_directory(Directory(path=SITE, mode=FileMode(0o700)))
    assert tree.observe(SITE) == UnexpectedKind(id=str(SITE), kind=kind)
    assert mode_of(root.parent / "outside/precious") == outside


def test_removing_a_missing_path_succeeds(root: Path, tree: WritableTree) -> None:
    (root / "etc/site.conf").touch()
    (root / "etc/d").mkdir()
    for _ in range(2):
        tree.remove_file(SITE)
        assert tree.remove_directory(PurePosixPath("/etc/d"))
        assert names(root / "etc") == []
    tree.remove_file(PurePosixPath("/none/such"))
    assert tree.remove_directory(PurePosixPath("/none/such"))


def test_removing_a_symlink_keeps_its_target(root: Path, tree: WritableTree) -> None:
    symlink(root / "etc/site.conf")
    tree.remove_file(SITE)
    assert (root.parent / "outside/precious").exists()
    (root / "etc/d").symlink_to("/etc")
    with pytest.raises(HostError, match=r"^cannot remove /etc/d: Not a directory$"):
        tree.remove_directory(PurePosixPath("/etc/d"))
    with pytest.raises(HostError, match=r"^cannot remove /etc: Is a directory$"):
        tree.remove_file(PurePosixPath("/etc"))


@pytest.mark.parametrize(
    ("mode", "is_safe"),
    [(0o755, True), (0o775, True), (0o757, False), (0o777, False), (0o1777, False), (0o2775, True), (0o000, True)],
)
def test_no_file_is_written_to_a_directory_that_others_can_write(
    mode: int, root: Path, tree: WritableTree, *, is_safe: bool
) -> None:
    """The sticky bit makes no difference, as others could create the temporary name. The own group is trusted."""
    if mode == 0o000 and os.geteuid() != 0:
        pytest.skip("an ordinary user cannot enter it")
    (root / "etc").chmod(mode)
    changes: list[Callable[[], object]] = [
        lambda: tree.write(file()),
        lambda: tree.set_permissions(FilePermissions(path=SITE, mode=FileMode(0o600))),
        lambda: tree.remove_temporary(SITE),
        lambda: tree.make_directory(Directory(path=PurePosixPath("/etc/d"), mode=FileMode(0o700))),
        lambda: tree.remove_directory(PurePosixPath("/etc/d")),
        lambda: tree.rename(SITE, "other"),
        lambda: tree.remove_file(PurePosixPath("/etc/other")),
    ]
    for change in changes:
        if is_safe:
            change()
            continue
        with pytest.raises(HostError) as caught:
            change()
        assert f": its parent directory /etc is not safe: others can write to it (mode {mode:04o})" in str(caught.value)
        etc = root / "etc"
        assert (
            repair_texts.text(caught.value.repair)
            == f"run `sudo chown root:root {etc}`; then run `sudo chmod go-w {etc}`"
        )
    (root / "etc").chmod(0o700)
    assert names(root / "etc") == []


def test_a_sticky_parent_directory_is_trusted(root: Path, tree: WritableTree) -> None:
    """In a directory such as /var/tmp, others cannot replace the subdirectories of root."""
    (root / "var/own").mkdir(parents=True)
    path = PurePosixPath("/var/own/site.conf")
    (root / "var").chmod(0o1777)
    tree.write(file(path))
    (root / "var").chmod(0o777)
    with pytest.raises(HostError, match="its parent directory /var is not safe"):
        tree.write(file(path))
    assert tree.read(path) == b"new\n"


def test_nothing_is_written_below_a_root_that_others_can_write(root: Path, tree: WritableTree) -> None:
    root.chmod(0o777)
    with pytest.raises(HostError, match="its parent directory / is not safe: others can write to it"):
        tree.write(file())


def test_a_symlink_of_root_is_followed_inside_the_root(root: Path, tree: WritableTree) -> None:
    """/var/run is such a symlink. An absolute one in an image leads to a directory of the image."""
    (root / "srv/data").mkdir(parents=True)
    (root / "var").mkdir()
    (root / "var/lib").symlink_to("/srv/data")
    (root / "var/relative").symlink_to("../srv/data/../data")
    tree.write(file(PurePosixPath("/var/lib/one")))
    tree.write(file(PurePosixPath("/var/relative/two")))
    assert names(root / "srv/data") == ["one", "two"]


@pytest.mark.parametrize(("plant", "kind"), [*OBSTACLES, (Path.mkdir, "directory")])
def test_a_write_replaces_only_a_regular_file(
    plant: Callable[[Path], None], kind: str, root: Path, tree: WritableTree
) -> None:
    """A rename would also replace a symlink or a device such as /dev/stdout."""
    there = root / "etc/site.conf"
    plant(there)
    before = there.lstat()
    with pytest.raises(HostError, match=rf"^cannot write /etc/site.conf: it is a {kind}$"):
        tree.write(file())
    assert there.lstat() == before
    assert names(root / "etc") == ["site.conf"]


@pytest.mark.parametrize("target", ["{outside}", "../../outside", "/../../outside"])
def test_no_symlink_redirects_a_write_outside_the_root(target: str, root: Path, tree: WritableTree) -> None:
    (root / "etc/way").symlink_to(target.format(outside=root.parent / "outside"))
    path = PurePosixPath("/etc/way/precious")
    changes: list[Callable[[], None]] = [lambda: tree.write(file(path)), lambda: tree.overwrite(path, b"1")]
    for change in changes:
        with pytest.raises(HostError, match=r"/etc/way is a symlink to .*, which does not exist"):
            change()
    tree.remove_file(path)
    assert (root.parent / "outside/precious").read_text() == "precious\n"
    assert names(root.parent / "outside") == ["precious"]


@pytest.mark.root
def test_a_symlink_of_another_user_is_rejected_for_writes(root: Path, tree: WritableTree) -> None:
    (root / "srv").mkdir()
    (root / "etc/way").symlink_to("/srv")
    os.lchown(root / "etc/way", NOBODY, NOBODY)
    with pytest.raises(HostError, match=r"^cannot write /etc/way/x: way in its path is a symlink of user 65534$"):
        tree.write(file(PurePosixPath("/etc/way/x")))
    assert names(root / "srv") == []
    assert tree.observe(PurePosixPath("/etc/way/x")) == Absent(PurePosixPath("/etc/way/x"))


@pytest.mark.root
@pytest.mark.parametrize(
    ("owner", "mode", "reason"),
    [
        (Owner(NOBODY, 0), 0o755, "user 65534 owns it"),
        (Owner(NOBODY, 0), 0o1777, "user 65534 owns it"),
        (Owner(0, NOBODY), 0o775, r"group 65534 can write to it \(mode 0775\)"),
        (Owner(0, NOBODY), 0o755, ""),
    ],
)
def test_no_file_is_written_to_a_directory_of_another_user(
    owner: Owner, mode: int, reason: str, root: Path, tree: WritableTree
) -> None:
    os.chown(root / "etc", owner.uid, owner.gid)
    (root / "etc").chmod(mode)
    if not reason:
        tree.write(file())
        return
    with pytest.raises(HostError, match=rf"its parent directory /etc is not safe: {reason}$"):
        tree.write(file())
    assert names(root / "etc") == []


@pytest.mark.root
def test_owners_are_set_and_observed(root: Path, tree: WritableTree) -> None:
    expected = File(path=SITE, content=b"x", mode=FileMode(0o4711), owner=Owner(NOBODY, 7))
    tree.write(expected)
    assert tree.observe(SITE) == expected
    directory = Directory(path=PurePosixPath("/etc/d"), mode=FileMode(0o2750), owner=Owner(7, NOBODY))
    tree.make_directory(directory)
    assert tree.observe(directory.path) == directory
    tree.make_directory(Directory(path=directory.path, mode=FileMode(0o700)))
    found = (root / "etc/d").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, 0, 0o700)


def test_a_file_is_trusted_only_if_only_root_can_change_it(root: Path, tree: WritableTree) -> None:
    (root / "etc/site.conf").touch()
    (root / "etc/link.conf").symlink_to("/etc/site.conf")
    link = PurePosixPath("/etc/link.conf")
    assert (tree.trust_problem(SITE), tree.trust_problem(link)) == ("", "")
    (root / "etc/site.conf").chmod(0o646)
    assert tree.trust_problem(SITE) == tree.trust_problem(link) == "others can write to it (mode 0646)"
    (root / "etc/site.conf").chmod(0o600)
    (root / "etc").chmod(0o777)
    problem = "its parent directory /etc is not safe: others can write to it (mode 0777)"
    assert tree.trust_problem(SITE) == problem
    (root / "etc").chmod(0o1777)
    assert tree.trust_problem(SITE) == ""
    assert tree.trust_problem(PurePosixPath("/none/such")) == "No such file or directory"
    assert tree.trust_problem(SITE / "x") == "site.conf, a regular file"


@pytest.mark.root
def test_a_file_of_another_user_is_not_trusted(root: Path, tree: WritableTree) -> None:
    (root / "etc/site.conf").touch()
    (root / "etc/link.conf").symlink_to("/etc/site.conf")
    os.lchown(root / "etc/link.conf", NOBODY, NOBODY)
    assert tree.trust_problem(PurePosixPath("/etc/link.conf")) == "link.conf in its path is a symlink of user 65534"
    os.chown(root / "etc/site.conf", NOBODY, NOBODY)
    assert tree.trust_problem(SITE) == "user 65534 owns it"


@pytest.mark.root
def test_a_read_only_file_system_is_an_environment_error(root: Path, tree: WritableTree) -> None:
    with mounted(root / "etc", "mode=755"):
        (root / "etc/site.conf").touch()
        (root / "etc/d").mkdir()
        assert not tree.is_read_only(PurePosixPath("/etc"))
        subprocess.run(["mount", "-o", "remount,ro", str(root / "etc")], check=True)
        assert tree.is_read_only(PurePosixPath("/etc"))
        changes: list[Callable[[], object]] = [
            lambda: tree.write(file()),
            lambda: tree.overwrite(SITE, b"1"),
            lambda: tree.make_directory(Directory(path=PurePosixPath("/etc/e"), mode=FileMode(0o700))),
            lambda: tree.remove_file(SITE),
            lambda: tree.remove_directory(PurePosixPath("/etc/d")),
            lambda: tree.rename(SITE, "other"),
            lambda: tree.open_lock(PurePosixPath("/etc/lock")),
        ]
        for change in changes:
            with pytest.raises(ReadOnlyEnvironmentError, match=r"Read-only file system$"):
                change()
    assert not tree.is_read_only(PurePosixPath("/etc"))
    assert not tree.is_read_only(PurePosixPath("/none/such"))


def test_no_descriptor_is_left_open(root: Path, tree: WritableTree) -> None:
    os.mkfifo(root / "etc/fifo")
    (root / "etc/out").symlink_to("../../outside")
    before = names(Path("/proc/self/fd"))
    tree.write(file())
    tree.observe(SITE)
    tree.names(PurePosixPath("/etc"))
    for path in ("/etc/fifo/x", "/etc/out/x", "/none/such"):
        tree.observe(PurePosixPath(path))
        with pytest.raises(HostError):
            tree.write(file(PurePosixPath(path)))
    with pytest.raises(HostError):
        tree.open_lock(PurePosixPath("/etc/fifo"))
    assert len(names(Path("/proc/self/fd"))) == len(before)
