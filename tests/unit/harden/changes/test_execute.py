"""Execution of a plan: the journal is written first, and each resource is observed before and after its change."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import HostError, ReadOnlyEnvironmentError
from agent.base.host import Host
from agent.base.model import Absent, Directory, File, FileMode, FilePermissions, State, Sysctl
from agent.base.repair import Cause, Instruction, Repair
from agent.base.report import Item, ItemStatus
from agent.base.value import replace
from agent.harden.changes.execute import carry_out, execute
from agent.harden.changes.journal import Journal
from agent.harden.guide.guide_files import ADMISSION_POLICIES
from agent.harden.plan.plan import Change, Plan, make_plan
from tests.fake import Clock, fake_host, in_memory, names

ETC = PurePosixPath("/etc")
KEY = "vm.panic_on_oom"


_SEE = Instruction("see the test")


def file(name: str = "a", content: bytes = b"new", mode: int = 0o600) -> File:
    return File(path=ETC / name, content=content, mode=FileMode(mode))


def absent(name: str) -> Absent:
    return Absent(ETC / name)


def plan_of(*changes: Change) -> Plan:
    return Plan(changes=changes, refusals=())


@pytest.fixture
def host() -> Iterator[Host]:
    with in_memory("etc", "proc/sys/vm") as root:
        (root / "proc/sys/vm/panic_on_oom").write_text("1\n")
        yield fake_host(root)


class FailingHost(Host):
    """A host that fails at some paths, and whose files another program changes."""

    fails_at: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    undoes: tuple[str, ...] = ()

    @cached_property
    def seen_at_first_change(self) -> list[list[str]]:
        """The content of the journal before the first change."""
        return []

    def put(self, state: State) -> None:
        """Fail, write, or only report success."""
        if state.id in (*self.fails_at, *self.read_only):
            kind = HostError if state.id in self.fails_at else ReadOnlyEnvironmentError
            raise kind(f"cannot write {state.id}: the test forbids it", _SEE)
        if not self.seen_at_first_change:
            journal = Path(self.root, "var/lib/k3s-harden/journal")
            self.seen_at_first_change.append(names(journal) if journal.exists() else [])
        if state.id not in self.undoes:
            super().put(state)


def failing_host(host: Host, **paths: tuple[str, ...]) -> FailingHost:
    return FailingHost(**{**vars(host), **paths})


def test_the_journal_is_written_before_the_first_change(host: Host) -> None:
    strict = failing_host(host)
    journal = Journal(strict)
    changes = (Change(absent("a"), file("a")), Change(absent("b"), file("b")))
    items = execute(plan_of(*changes), strict, journal)
    assert strict.seen_at_first_change == [["000001-1700000000.begun"]]
    assert [entry.finished for entry in journal.runs()] == [True]
    assert journal.changes(journal.runs()[0]) == changes
    assert items == tuple(Item(f"/etc/{name}", ItemStatus.CHANGED, "absent → file, mode 0600") for name in "ab")


def test_a_file_that_its_owner_removed_needs_no_mode(host: Host) -> None:
    """The file belonged to a pod that ended between the plan and the change."""
    before, after = (FilePermissions(path=ETC / "lease", mode=FileMode(mode)) for mode in (0o644, 0o600))
    item = carry_out(Change(before, after), host, Journal(host))
    assert (item.status, item.detail) == (ItemStatus.CHANGED, "the program that owns the file has removed it")


def test_one_failure_does_not_stop_the_others(host: Host) -> None:
    strict = failing_host(host, fails_at=("/etc/a",), read_only=(KEY,))
    journal = Journal(strict)
    changes = (
        Change(absent("a"), file("a")),
        Change(Sysctl(key=KEY, value="1"), Sysctl(key=KEY, value="0")),
        Change(absent("b"), file("b")),
    )
    first, second, third = execute(plan_of(*changes), strict, journal)
    assert first == Item("/etc/a", ItemStatus.FAILED, "cannot write /etc/a: the test forbids it", Repair((_SEE,)))
    assert second == replace(
        first, id=KEY, detail=f"cannot write {KEY}: the test forbids it", blocked_by_environment=True
    )
    assert third.status is ItemStatus.CHANGED
    assert [entry.finished for entry in journal.runs()] == [True]


def test_an_entry_of_a_directory_that_could_not_be_created_fails(host: Host) -> None:
    deep = File(path=ETC / "d/e/f", content=b"x", mode=FileMode(0o600))
    strict = failing_host(host, read_only=("/etc/d",))
    observed = strict.observe_all([deep])
    items = execute(make_plan([deep, file("z")], {**observed, "/etc/z": absent("z")}), strict, Journal(strict))
    assert [item.id for item in items] == ["/etc/d", "/etc/d/e", "/etc/d/e/f", "/etc/z"]
    assert [item.status for item in items] == [*[ItemStatus.FAILED] * 3, ItemStatus.CHANGED]
    assert items[2].detail == "cannot write /etc/d/e/f: its parent directory does not exist"
    assert [item.blocked_by_environment for item in items] == [True, True, True, False]


def test_a_change_that_depends_on_a_failed_one_is_not_made(host: Host) -> None:
    strict = failing_host(host, fails_at=("/etc/a",), read_only=(KEY,))
    value = Change(Sysctl(key=KEY, value="1"), Sysctl(key=KEY, value="0"))
    changes = (
        Change(absent("a"), file("a")),
        value,
        Change(absent("b"), file("b"), needs=("/etc/a", KEY)),
        Change(absent("c"), file("c"), needs=(KEY,)),
        Change(absent("d"), file("d"), needs=("/etc/c",)),
        Change(absent("e"), file("e"), needs=("/etc/f",)),
    )
    items = execute(plan_of(*changes), strict, Journal(strict))
    assert [item.status for item in items] == [*[ItemStatus.FAILED] * 5, ItemStatus.CHANGED]
    assert [item.blocked_by_environment for item in items] == [False, True, False, True, True, False]
    assert items[2].detail == f"not written, because /etc/a and {KEY} failed"
    assert names(Path(host.root, "etc")) == ["e"]


@pytest.mark.parametrize(
    "now", [file(content=b"else"), file(content=b"old", mode=0o644), Directory(path=ETC / "a", mode=FileMode(0o700))]
)
def test_a_resource_that_changed_during_the_run_is_not_written(now: State, host: Host) -> None:
    host.put(now)
    item = carry_out(Change(file(content=b"old"), file()), host, Journal(host))
    assert (item.status, item.cause) == (ItemStatus.FAILED, Cause.LACKING)
    assert item.detail.startswith("changed during this run: ")
    assert host.tree.observe(ETC / "a") == now


def test_a_resource_that_became_compliant_during_the_run_is_not_written(host: Host) -> None:
    host.put(file())
    before = Path(host.root, "etc/a").stat()
    item = carry_out(Change(absent("a"), file()), host, Journal(host))
    assert item == Item("/etc/a", ItemStatus.CHANGED, "absent → file, mode 0600")
    assert Path(host.root, "etc/a").stat() == before


def test_a_change_that_does_not_read_back_fails(host: Host) -> None:
    """A kernel can accept a write and keep its value."""
    strict = failing_host(host, undoes=(KEY,))
    item = carry_out(Change(Sysctl(key=KEY, value="1"), Sysctl(key=KEY, value="0")), strict, Journal(strict))
    assert item == Item(KEY, ItemStatus.FAILED, "written, but it reads back as 1")


def test_a_file_that_cannot_be_backed_up_is_not_replaced(host: Host) -> None:
    before = file(content=b"theirs")
    host.put(before)
    Path(host.root, "var").write_text("a file in the way")
    item = carry_out(Change(before, file(), backup=True), host, Journal(host))
    assert item.status is ItemStatus.FAILED
    assert host.tree.observe(ETC / "a") == before


def test_a_record_that_cannot_be_closed_does_not_hide_the_changes(host: Host) -> None:
    class Stubborn(Journal):
        def finish(self, entry: object) -> None:
            raise HostError(f"cannot rename {entry}")

    items = execute(plan_of(Change(absent("a"), file())), host, Stubborn(host))
    assert [item.status for item in items] == [ItemStatus.CHANGED]
    assert [entry.finished for entry in Journal(host).runs()] == [False]
    assert len(Journal(host).finish_interrupted()) == 1


def test_a_directory_that_is_not_empty_is_kept_and_reported(host: Host) -> None:
    directory = Directory(path=ETC / "d", mode=FileMode(0o755))
    host.put(directory)
    host.put(file("d/theirs"))
    item = carry_out(Change(directory, absent("d")), host, Journal(host))
    assert item == Item("/etc/d", ItemStatus.KEPT, "cannot remove /etc/d: it contains other files, or is a mount point")


POLICIES = f"/data/{ADMISSION_POLICIES['ValidatingAdmissionPolicy'].parent}"


@pytest.mark.parametrize(("path", "is_live", "seconds"), [(POLICIES, True, 2), (POLICIES, False, 0), ("/d", True, 0)])
def test_the_api_server_has_time_to_notice_that_a_policy_directory_is_empty(
    path: str, seconds: int, tmp_path: Path, *, is_live: bool
) -> None:
    """It keeps the policies of a directory that disappears with its files. Not every K3s is known by its process."""
    clock, directory = Clock(), Directory(path=PurePosixPath(path), mode=FileMode(0o700))
    host = fake_host(tmp_path, is_live=is_live, clock=clock)
    Path(f"{tmp_path}{path}").mkdir(parents=True, mode=0o700)
    before = clock.now()
    item = carry_out(Change(directory, Absent(directory.path)), host, Journal(host))
    assert (item.status, clock.now() - before) == (ItemStatus.CHANGED, seconds)
