"""Plans: changes and refusals, requirements of files, and undo. test_properties.py tests random hosts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

import pytest

from agent.base.model import (
    Absent,
    Directory,
    File,
    FileMode,
    FilePermissions,
    Observed,
    Owner,
    Resource,
    State,
    Sysctl,
    UnexpectedKind,
    Unreadable,
)
from agent.base.repair import Cause, Instruction, RunVerb
from agent.base.value import replace
from agent.harden.plan.plan import Change, Plan, Refusal, difference, keep_needed, make_plan, undo_plan

A = PurePosixPath("/srv/k3s/a.txt")
B = PurePosixPath("/srv/k3s/b/c.txt")
K3S = PurePosixPath("/srv/k3s")
KEY = "vm.panic_on_oom"
DESIRED: tuple[Resource, ...] = (
    Directory(path=K3S, mode=FileMode(0o700)),
    File(path=A, content=b"expected a\n", mode=FileMode(0o600)),
    File(path=B, content=b"expected b\n", mode=FileMode(0o644)),
    Sysctl(key=KEY, value="0"),
)
PARENTS = ("/", "/srv", "/srv/k3s", "/srv/k3s/b")


def file(path: PurePosixPath = A, content: bytes = b"expected a\n", mode: int = 0o600) -> File:
    return File(path=path, content=content, mode=FileMode(mode))


def directory(path: str, mode: int = 0o755) -> Directory:
    return Directory(path=PurePosixPath(path), mode=FileMode(mode))


def permissions(mode: int) -> FilePermissions:
    return FilePermissions(path=K3S / "server/tls/server-ca.crt", mode=FileMode(mode))


NEEDS: tuple[PurePosixPath | Sysctl, ...] = (A, Sysctl(key=KEY, value="0"))
NEEDY = file(B)


def planned(*observed: Observed, desired: Iterable[Resource], force: bool = False) -> Plan:
    """Return a plan in which NEEDY requires A and a kernel value."""
    seen: dict[str, Observed] = {path: directory(path) for path in PARENTS}
    seen.update({state.id: state for state in observed})
    return make_plan(desired, seen, lambda _: [b"earlier\n"], lambda file: NEEDS if file == NEEDY else (), force=force)


def test_missing_directories_are_created_top_down_and_removed_bottom_up() -> None:
    absent = [Absent(PurePosixPath(name)) for name in (*PARENTS[1:], str(A), str(B))]
    plan = planned(*absent, desired=[DESIRED[2], DESIRED[1], DESIRED[0]])
    made = ["/srv", "/srv/k3s", "/srv/k3s/b", str(B), str(A)]
    assert [change.id for change in plan.changes] == made
    expected = [directory("/srv"), directory("/srv/k3s", 0o700), directory("/srv/k3s/b")]
    assert [change.after for change in plan.changes[:3]] == expected
    bare: dict[str, Observed] = {"/": directory("/"), **{state.id: state for state in absent}}
    then = {**bare, **{change.id: change.after for change in plan.changes}}
    before, left = ({c.id: c.before for c in plan.changes}, {c.id: (c.after,) for c in plan.changes})
    assert [change.id for change in undo_plan(before, left, then).changes] == made[::-1]


@pytest.mark.parametrize(
    ("now", "desired", "reason"),
    [
        (UnexpectedKind(id=str(A), kind="FIFO"), DESIRED[1], "is a FIFO, which is not replaced"),
        (Absent(PurePosixPath(KEY)), DESIRED[3], "this kernel does not have the parameter"),
        (directory(str(A)), DESIRED[1], "is a directory, which is not replaced"),
        (file(K3S), DESIRED[0], "is a regular file, which is not replaced"),
        (Unreadable(id=str(A), reason="Permission denied"), DESIRED[1], "cannot be read: Permission denied"),
        (Unreadable(id=str(K3S), reason="Permission denied"), DESIRED[0], "cannot be read: Permission denied"),
        (Unreadable(id=KEY, reason="Permission denied"), DESIRED[3], "cannot be read: Permission denied"),
        (replace(file(content=b"x"), immutable=True), DESIRED[1], "is an immutable file (chattr +i or +a)"),
        (replace(file(mode=0o644), immutable=True), DESIRED[1], "is an immutable file (chattr +i or +a)"),
    ],
    ids=str,
)
def test_resources_that_cannot_be_changed_are_refused(now: Observed, desired: Resource, reason: str) -> None:
    for force in (False, True):
        plan = planned(now, desired=[desired], force=force)
        assert plan.changes == ()
        (refusal,) = plan.refusals
        assert (refusal.id, refusal.reason, refusal.edited) == (desired.id, reason, False)
        assert refusal.repair.steps or refusal.cause is Cause.NOT_READABLE
        assert any(isinstance(step, Instruction) for step in refusal.repair.steps) == isinstance(now, Absent)


def test_an_immutable_file_can_be_compliant() -> None:
    assert planned(replace(file(), immutable=True), desired=[DESIRED[1]]).is_empty


def test_an_edited_file_is_kept_and_its_mode_is_set() -> None:
    now = File(path=A, content=b"edited\n", mode=FileMode(0o666), owner=Owner(7, 7))
    plan = planned(now, desired=[DESIRED[1]])
    assert plan.changes == (Change(now, file(content=b"edited\n")),)
    (refusal,) = plan.refusals
    assert (refusal.id, refusal.edited) == (str(A), True)
    assert refusal.repair.steps == (RunVerb("apply", ("--force",)),)


def test_an_equivalent_file_is_not_rewritten() -> None:
    path = PurePosixPath("/srv/k3s/x.conf")
    desired = File(path=path, content=b"a.b = 1\n", mode=FileMode(0o644))
    now = File(path=path, content=b"# by hand\na.b=1\n", mode=FileMode(0o644))
    assert planned(now, desired=[desired]).is_empty
    loose = replace(now, mode=FileMode(0o666))
    assert planned(loose, desired=[desired]) == Plan(changes=(Change(loose, now),), refusals=())


def test_a_file_is_written_after_what_it_requires() -> None:
    plan = planned(Absent(A), Sysctl(key=KEY, value="1"), Absent(B), desired=(*DESIRED[1:2], DESIRED[3], NEEDY))
    assert [(change.id, change.needs) for change in plan.changes] == [(str(A), ()), (KEY, ()), (str(B), (str(A), KEY))]
    assert plan.refusals == ()


def test_a_file_is_refused_if_what_it_requires_is_refused() -> None:
    loose = file(B, b"earlier\n", 0o666)
    fifo, value = UnexpectedKind(id=str(A), kind="FIFO"), Sysctl(key=KEY, value="1")
    plan = planned(fifo, value, loose, desired=[DESIRED[1], NEEDY])
    assert plan.changes == (Change(loose, file(B, b"earlier\n")),)
    reason = f"not written: it requires {A}, which is refused, and it requires {KEY} = 0, found 1"
    assert [(refusal.id, refusal.reason) for refusal in plan.refusals][1:] == [(str(B), reason)]
    assert not plan.refusals[1].edited


@pytest.mark.parametrize(
    ("needed", "value"),
    [
        (file(content=b"edited\n"), Sysctl(key=KEY, value="0")),
        (file(), Sysctl(key=KEY, value=" 00")),
        (file(), Sysctl(key="other", value="1")),
    ],
    ids=["edited", "the same number", "no kernel"],
)
def test_an_existing_requirement_is_sufficient(needed: File, value: Sysctl) -> None:
    """In a tree without a kernel, kernel values are not required before the first boot."""
    plan = planned(needed, value, Absent(B), desired=[DESIRED[1], NEEDY])
    assert plan.changes == (Change(Absent(B), NEEDY),)


def test_a_change_of_mode_has_no_dependencies() -> None:
    loose = file(B, mode=0o666)
    plan = planned(
        UnexpectedKind(id=str(A), kind="FIFO"), Sysctl(key=KEY, value="1"), loose, desired=[DESIRED[1], file(B)]
    )
    assert plan.changes == (Change(loose, file(B)),)
    plan = planned(file(mode=0o666), Sysctl(key=KEY, value="0"), Absent(B), desired=[DESIRED[1], NEEDY])
    assert [change.needs for change in plan.changes] == [(), ()]


def undone(*changes: Change, refusals: tuple[Refusal, ...] = ()) -> Plan:
    return keep_needed(
        Plan(changes, refusals), NEEDY, lambda resource: NEEDS if resource.content == NEEDY.content else ()
    )


GONE = Change(file(), Absent(A))
RESET = Change(Sysctl(key=KEY, value="0"), Sysctl(key=KEY, value="1"))


def test_requirements_of_a_file_that_cannot_be_reverted_are_kept() -> None:
    refusal = Refusal(str(B), "was changed", cause=Cause.EDITED)
    plan = undone(GONE, RESET, refusals=(refusal,))
    assert plan.changes == ()
    kept = f"is kept: {B} still requires it"
    assert [(refusal.id, refusal.reason) for refusal in plan.refusals[1:]] == [(str(A), kept), (KEY, kept)]
    rewritten = Change(file(), file(content=b"earlier\n"))
    assert undone(rewritten, refusals=(refusal,)) == Plan((rewritten,), (refusal,))


@pytest.mark.parametrize("after", [Absent(B), file(B, b"earlier\n")], ids=["absent", "earlier"])
def test_requirements_are_removed_after_the_file(after: State) -> None:
    own = Change(NEEDY, after)
    other = Change(directory("/srv"), directory("/srv", 0o700))
    gone, reset = (replace(change, needs=(str(B),)) for change in (GONE, RESET))
    assert undone(GONE, other, own, RESET).changes == (own, gone, other, reset)


def test_undo_restores_unmet_requirements() -> None:
    """The file may have existed with unmet requirements before the first run."""
    assert undone(GONE, RESET) == Plan((GONE, RESET), ())
    own = Change(NEEDY, file(B, mode=0o666))
    assert undone(GONE, own) == Plan((own, GONE), ())


def test_only_files_are_backed_up() -> None:
    reasons = []
    for ours, now in ((file(), file(content=b"x")), (Sysctl(key=KEY, value="0"), Sysctl(key=KEY, value="9"))):
        (refusal,) = undo_plan({now.id: Absent(PurePosixPath(now.id))}, {now.id: (ours,)}, {now.id: now}).refusals
        reasons.append(refusal.reason)
        assert refusal.repair.steps == (RunVerb("revert", ("--force",)),)
    assert ["backup" in reason for reason in reasons] == [True, False]


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (Absent(A), "removes it if it is empty"),
        (Directory(path=A, mode=FileMode(0o755)), "restores it: directory, mode 0755"),
    ],
)
def test_the_reason_says_what_force_does_to_a_directory(before: State, words: str) -> None:
    """The mode of the directory was changed after the run."""
    ours, now = (Directory(path=A, mode=FileMode(mode)) for mode in (0o700, 0o711))
    (refusal,) = undo_plan({str(A): before}, {str(A): (ours,)}, {str(A): now}).refusals
    assert refusal.reason.endswith(f"; --force {words}")


def test_undo_accepts_each_state_that_a_run_left() -> None:
    """An interrupted run leaves the state of the run before it."""
    first, second = file(content=b"first\n"), file(content=b"second\n")
    absent = Absent(A)
    for now in (first, second):
        plan = undo_plan({str(A): absent}, {str(A): (first, second)}, {str(A): now})
        assert plan == Plan(changes=(Change(now, absent),), refusals=())
    edited = file(content=b"edited\n", mode=0o644)
    (refusal,) = undo_plan({str(A): absent}, {str(A): (first, second)}, {str(A): edited}).refusals
    kept = "was edited after k3s-harden wrote it, so it was kept: content, mode 0600 → 0644"
    assert refusal.reason == f"{kept}; --force keeps the file as a backup"


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (UnexpectedKind(id=str(A), kind="symlink"), "is a symlink, which is not replaced"),
        (Unreadable(id=str(A), reason="Permission denied"), "cannot be read: Permission denied"),
        (replace(file(), immutable=True), "is an immutable file (chattr +i or +a)"),
    ],
    ids=str,
)
def test_undo_refuses_what_it_cannot_change(now: Observed, reason: str) -> None:
    for force in (False, True):
        plan = undo_plan({str(A): Absent(A)}, {str(A): (file(),)}, {str(A): now}, force=force)
        assert plan.changes == ()
        assert [(refusal.reason, refusal.edited) for refusal in plan.refusals] == [(reason, False)]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (file(mode=0o644), file(), "mode 0644 → 0600"),
        (file(content=b"x"), file(), "content"),
        (replace(file(content=b"x", mode=0), owner=Owner(1, 2)), file(), "content, mode 0000 → 0600, owner 1:2 → 0:0"),
        (directory("/srv", 0o1777), directory("/srv"), "mode 1777 → 0755"),
        (Sysctl(key=KEY, value="1"), Sysctl(key=KEY, value="0"), "1 → 0"),
        (Absent(A), file(), "absent → file, mode 0600"),
        (Absent(A), replace(file(), owner=Owner(7, 0)), "absent → file, mode 0600, owner 7:0"),
        (permissions(0o644), permissions(0o600), "0644 → 0600"),
        (file(), directory(str(A)), "file, mode 0600 → directory, mode 0755"),
        (UnexpectedKind(id=str(A), kind="FIFO"), Absent(A), "a FIFO → absent"),
        (Unreadable(id=KEY, reason="x"), Sysctl(key=KEY, value="0"), "unreadable (x) → 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_difference_is_described(before: Observed, after: Observed, words: str) -> None:
    """The description has the form found → expected. The owner root is omitted."""
    assert difference(before, after) == words


def guarded(now: Observed) -> Plan:
    desired = permissions(0o600)
    return make_plan([desired], {desired.id: now})


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o601, 0o700, 0o4600])
def test_only_the_permissions_of_a_file_change(mode: int) -> None:
    """The change has no content, so it cannot restore an old certificate."""
    assert guarded(permissions(mode)) == Plan((Change(permissions(mode), permissions(0o600)),), ())


@pytest.mark.parametrize("now", [*map(permissions, (0o600, 0o400, 0)), Absent(permissions(0).path)], ids=str)
def test_stricter_permissions_and_a_missing_file_are_compliant(now: Observed) -> None:
    """apply does not add permissions, and K3s creates its certificates."""
    assert guarded(now).is_empty


@pytest.mark.parametrize(
    "now", [UnexpectedKind(id=permissions(0).id, kind="symlink"), Unreadable(id=permissions(0).id, reason="I/O error")]
)
def test_permissions_of_another_kind_of_file_are_refused(now: Observed) -> None:
    """A symlink could lead to any file."""
    plan = guarded(now)
    assert plan.changes == ()
    assert [refusal.id for refusal in plan.refusals] == [permissions(0).id]


@pytest.mark.parametrize(
    ("now", "changes", "is_refused"),
    [
        (permissions(0o600), (Change(permissions(0o600), permissions(0o644)),), False),
        (permissions(0o644), (), False),
        (Absent(permissions(0).path), (), False),
        (permissions(0o640), (), True),
    ],
)
def test_permissions_are_reverted_unless_they_changed(
    now: Observed, changes: tuple[Change, ...], *, is_refused: bool
) -> None:
    """A certificate that K3s renewed or removed is not changed."""
    name = permissions(0).id
    back = undo_plan({name: permissions(0o644)}, {name: (permissions(0o600),)}, {name: now})
    assert back.changes == changes
    assert bool(back.refusals) == is_refused
