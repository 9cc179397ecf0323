"""What would have to change: on a modelled world, a plan leads where it should and its undoing leads back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import (
    Absent,
    Directory,
    File,
    FileMode,
    FilePermissions,
    Observed,
    Obstacle,
    Owner,
    Resource,
    State,
    Sysctl,
    Unreadable,
)
from agent.plan.plan import Change, Need, Plan, Refusal, describe, difference, is_damaged, keep_needed, make, undo

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

A = PurePosixPath("/srv/k3s/a.txt")
B = PurePosixPath("/srv/k3s/b/c.txt")
K3S = PurePosixPath("/srv/k3s")
KEY = "vm.panic_on_oom"
WANTED: tuple[Resource, ...] = (
    Directory(path=K3S, mode=FileMode(0o700)),
    File(path=A, content=b"wanted a\n", mode=FileMode(0o600)),
    File(path=B, content=b"wanted b\n", mode=FileMode(0o644)),
    Sysctl(key=KEY, value="0"),
)
PARENTS = ("/", "/srv", "/srv/k3s", "/srv/k3s/b")


def file(path: PurePosixPath = A, content: bytes = b"wanted a\n", mode: int = 0o600) -> File:
    return File(path=path, content=content, mode=FileMode(mode))


def directory(path: str, mode: int = 0o755) -> Directory:
    return Directory(path=PurePosixPath(path), mode=FileMode(mode))


class World(NamedTuple):
    """A host as a table, and what the journal would know of it."""

    observed: dict[str, Observed]
    ours: frozenset[bytes]

    def written(self, name: str) -> frozenset[bytes]:
        """The contents that runs wrote there."""
        del name
        return self.ours

    def after(self, changes: Iterable[Change]) -> World:
        """The world once these changes were made; each begins where the one before it ended."""
        seen = dict(self.observed)
        for change in changes:
            assert seen[change.id] == change.before, "the plan starts from what is not there"
            if not isinstance(change.after, Absent | Sysctl):
                parent = seen[str(change.after.path.parent)]
                assert isinstance(parent, Directory), f"the parent of {change.id} is not there yet"
            else:
                inside = [
                    i
                    for i, state in seen.items()
                    if i.startswith(f"{change.id}/") and state != Absent(PurePosixPath(i))
                ]
                assert not inside, f"{change.id} is not empty yet"
            seen[change.id] = change.after
        return World(seen, self.ours)


MODES = st.sampled_from([0o600, 0o644, 0o700, 0o755, 0o777]).map(FileMode)
OWNERS = st.sampled_from([Owner(0, 0), Owner(7, 7)])
CONTENTS = st.sampled_from([b"wanted a\n", b"wanted b\n", b"earlier\n", b"edited\n", b"", b"wanted", b"\0\0\0"])
SPECIAL = ("symlink", "FIFO", "socket", "character device")


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any state of each path and value, as far as a file system allows it."""
    seen: dict[str, Observed] = {"/": directory("/")}

    def place(path: PurePosixPath, *, wants_directory: bool) -> None:
        parent = seen[str(path.parent)]
        if isinstance(parent, Directory):
            kinds = ["directory", "directory", "absent", "file", "obstacle", "unreadable"]
            kind = draw(st.sampled_from(kinds if wants_directory else [*kinds, "file", "file"]))
        else:
            kind = "absent" if isinstance(parent, Absent) else "blocked"
        name = str(path)
        states: dict[str, st.SearchStrategy[Observed]] = {
            "directory": st.builds(Directory, path=st.just(path), mode=MODES, owner=OWNERS),
            "file": st.builds(
                File, path=st.just(path), content=CONTENTS, mode=MODES, owner=OWNERS, immutable=st.booleans()
            ),
            "obstacle": st.builds(Obstacle, id=st.just(name), kind=st.sampled_from(SPECIAL)),
            "unreadable": st.just(Unreadable(id=name, reason="Permission denied")),
            "absent": st.just(Absent(PurePosixPath(name))),
            "blocked": st.just(Obstacle(id=name, kind="path through something")),
        }
        seen[name] = draw(states[kind])

    for parent in PARENTS[1:]:
        place(PurePosixPath(parent), wants_directory=True)
    for path in (A, B):
        place(path, wants_directory=False)
    values: list[Observed] = [Sysctl(key=KEY, value="0"), Sysctl(key=KEY, value="1"), Sysctl(key=KEY, value="")]
    seen[KEY] = draw(
        st.sampled_from([*values, Absent(PurePosixPath(KEY)), Unreadable(id=KEY, reason="Permission denied")])
    )
    return World(seen, frozenset(draw(st.sets(st.sampled_from([b"earlier\n", b"wanted a\n"])))))


@given(world=worlds(), force=st.booleans())
def test_a_plan_leads_to_what_is_wanted_but_for_what_it_refuses(world: World, *, force: bool) -> None:
    """Each wanted resource is compliant afterwards, or its refusal is named, and then the content is as it was."""
    plan = make(WANTED, world.observed, world.written, force=force)
    then = world.after(plan.changes)
    refused = {refusal.id for refusal in plan.refusals}
    for wanted in WANTED:
        if wanted.id not in refused:
            assert then.observed[wanted.id] == wanted
            continue
        before, after = world.observed[wanted.id], then.observed[wanted.id]
        if isinstance(wanted, File) and isinstance(before, File) and not before.immutable:
            assert after == replace(before, mode=wanted.mode, owner=wanted.owner)
        else:
            assert after == before


@given(world=worlds(), force=st.booleans())
def test_a_plan_touches_nothing_else(world: World, *, force: bool) -> None:
    """Beside what is wanted only directories that are missing on the way; none that is there changes."""
    plan = make(WANTED, world.observed, world.written, force=force)
    ids = {wanted.id for wanted in WANTED}
    for change in plan.changes:
        if change.id not in ids:
            assert change == Change(Absent(PurePosixPath(change.id)), directory(change.id, 0o755))


@given(world=worlds(), force=st.booleans())
def test_a_second_plan_has_nothing_to_do(world: World, *, force: bool) -> None:
    """What was refused is refused again, in the same words, and nothing else is left."""
    first = make(WANTED, world.observed, world.written, force=force)
    second = make(WANTED, world.after(first.changes).observed, world.written, force=force)
    assert second.changes == ()
    assert second.refusals == first.refusals
    assert second.is_empty == (not first.refusals)


@given(world=worlds())
def test_force_refuses_only_what_it_cannot_replace(world: World) -> None:
    """What somebody wrote is replaced, and marked as a backup; special files, directories and the like stay."""
    plain = make(WANTED, world.observed, world.written)
    forced = make(WANTED, world.observed, world.written, force=True)
    edited = {refusal.id for refusal in plain.refusals if refusal.edited}
    assert {refusal.id for refusal in forced.refusals} == {r.id for r in plain.refusals} - edited
    assert {change.id for change in forced.changes if change.backup} == edited
    assert not any(change.backup for change in plain.changes)


def remembered(changes: Sequence[Change]) -> tuple[dict[str, State], dict[str, tuple[State, ...]]]:
    return {c.id: c.before for c in changes}, {c.id: (c.after,) for c in changes}


@given(world=worlds(), force=st.booleans())
def test_undoing_leads_back_to_the_first_state(world: World, *, force: bool) -> None:
    """Every file, mode, owner and value, and no directory that was made is left."""
    changes = make(WANTED, world.observed, world.written, force=force).changes
    then = world.after(changes)
    back = undo(*remembered(changes), then.observed)
    assert back.refusals == ()
    assert then.after(back.changes) == world


@given(world=worlds(), force=st.booleans(), made=st.integers(0, 10), edit=CONTENTS)
def test_undoing_what_was_cut_off_or_edited(world: World, made: int, edit: bytes, *, force: bool) -> None:
    """What was not yet made is no obstacle; an edit is refused without force, and kept as a backup with it."""
    changes = make(WANTED, world.observed, world.written).changes
    then = world.after(changes[:made])
    now = then.observed[A.as_posix()]
    if isinstance(now, File):
        then.observed[now.id] = replace(now, content=edit)
    back = undo(*remembered(changes), then.observed, force=force)
    if not any(change.id == str(A) for change in changes):
        assert back.refusals == ()
        return
    states = [state for change in changes if change.id == str(A) for state in (change.before, change.after)]
    is_edited = then.observed[str(A)] not in states
    assert {r.id for r in back.refusals if r.edited} == ({str(A)} if is_edited and not force else set())
    assert {c.id for c in back.changes if c.backup} == ({str(A)} if is_edited and force else set())


# --- single steps ---


def planned(*observed: Observed, wanted: Iterable[Resource], force: bool = False, ours: bytes = b"earlier\n") -> Plan:
    seen: dict[str, Observed] = {path: directory(path) for path in PARENTS}
    seen.update({_id(state): state for state in observed})
    return make(wanted, seen, lambda _: [ours], force=force)


def _id(state: Observed) -> str:
    return state.id


def test_missing_directories_are_made_from_above_and_undone_from_below() -> None:
    """With 0755, once each, before what is in them; one that is wanted itself gets its own mode."""
    absent = [Absent(PurePosixPath(name)) for name in (*PARENTS[1:], str(A), str(B))]
    plan = planned(*absent, wanted=[WANTED[2], WANTED[1], WANTED[0]])
    made = ["/srv", "/srv/k3s", "/srv/k3s/b", str(B), str(A)]
    assert [change.id for change in plan.changes] == made
    assert [change.after for change in plan.changes[:3]] == [
        directory("/srv"),
        directory("/srv/k3s", 0o700),
        directory("/srv/k3s/b"),
    ]
    bare: dict[str, Observed] = {"/": directory("/"), **{state.id: state for state in absent}}
    then = World(bare, frozenset()).after(plan.changes)
    assert [change.id for change in undo(*remembered(plan.changes), then.observed).changes] == made[::-1]


def test_no_directory_is_made_for_what_is_refused() -> None:
    """A kernel value has none above it, either."""
    plan = planned(Obstacle(id=str(A), kind="FIFO"), Absent(PurePosixPath(KEY)), wanted=[WANTED[1], WANTED[3]])
    assert plan.changes == ()
    assert [refusal.reason for refusal in plan.refusals] == [
        "is a FIFO, which is not replaced",
        "this kernel does not have the parameter",
    ]


@pytest.mark.parametrize("kind", [*SPECIAL, "block device"])
def test_what_is_no_file_is_refused_by_its_kind(kind: str) -> None:
    """Even by force: what it is for is not known here."""
    obstacle = Obstacle(id=str(A), kind=kind)
    for force in (False, True):
        plan = planned(obstacle, wanted=[WANTED[1]], force=force)
        assert plan.changes == ()
        (refusal,) = plan.refusals
        assert (refusal.id, refusal.reason, refusal.edited) == (str(A), f"is a {kind}, which is not replaced", False)
        assert "move it away" in refusal.hint


@pytest.mark.parametrize(
    ("now", "wanted", "reason"),
    [
        (directory(str(A)), WANTED[1], "is a directory, which is not replaced"),
        (file(K3S), WANTED[0], "is a regular file, which is not replaced"),
        (Unreadable(id=str(A), reason="Permission denied"), WANTED[1], "cannot be read: Permission denied"),
        (Unreadable(id=str(K3S), reason="Permission denied"), WANTED[0], "cannot be read: Permission denied"),
        (Unreadable(id=KEY, reason="Permission denied"), WANTED[3], "cannot be read: Permission denied"),
        (replace(file(content=b"x"), immutable=True), WANTED[1], "is an immutable file (chattr +i or +a)"),
        (replace(file(mode=0o644), immutable=True), WANTED[1], "is an immutable file (chattr +i or +a)"),
    ],
    ids=str,
)
def test_what_cannot_be_changed_is_refused(now: Observed, wanted: Resource, reason: str) -> None:
    """With the reason and what to do; force makes no difference."""
    for force in (False, True):
        (refusal,) = planned(now, wanted=[wanted], force=force).refusals
        assert (refusal.id, refusal.reason, refusal.edited) == (wanted.id, reason, False)
        assert refusal.hint


def test_an_immutable_file_that_is_as_wanted_is_as_wanted() -> None:
    """Somebody protects it; nothing is to be done."""
    assert planned(replace(file(), immutable=True), wanted=[WANTED[1]]).is_empty


def test_zero_is_a_value() -> None:
    """Neither a wanted 0 nor an observed one is taken for nothing."""
    one, zero = Sysctl(key=KEY, value="1"), Sysctl(key=KEY, value="0")
    assert planned(one, wanted=[zero]).changes == (Change(one, zero),)
    assert planned(zero, wanted=[one]).changes == (Change(zero, one),)
    assert planned(zero, wanted=[zero]).is_empty


def test_a_hand_edited_file_is_kept_and_its_mode_repaired() -> None:
    """Who may read it does not depend on who wrote it."""
    now = File(path=A, content=b"edited\n", mode=FileMode(0o666), owner=Owner(7, 7))
    plan = planned(now, wanted=[WANTED[1]])
    assert plan.changes == (Change(now, file(content=b"edited\n")),)
    (refusal,) = plan.refusals
    assert (refusal.id, refusal.edited) == (str(A), True)
    assert "--force" in refusal.hint


def test_a_hand_edited_file_is_replaced_by_force_and_kept_as_a_backup() -> None:
    """The change says so."""
    now = file(content=b"edited\n")
    assert planned(now, wanted=[WANTED[1]], force=True) == Plan(
        changes=(Change(now, file(), backup=True),), refusals=()
    )


@pytest.mark.parametrize("content", [b"", b"wanted", b"wanted a", b"\0\0\0\0", b"wanted a\n\0", b"earlier\n"])
def test_a_damaged_file_and_an_earlier_one_of_ours_are_rewritten(content: bytes) -> None:
    """Nobody writes such a file on purpose, so nothing is lost and nothing has to be forced."""
    now = file(content=content)
    assert planned(now, wanted=[WANTED[1]]).changes == (Change(now, file()),)


@pytest.mark.parametrize(
    ("content", "is_one"),
    [(b"", True), (b"wan", True), (b"want\0\0", True), (b"wanted b\n", False), (b"wanted a\n\n", False)],
)
def test_damage_is_what_a_crash_or_a_full_disk_leaves(content: bytes, *, is_one: bool) -> None:
    """Cut off, empty, or with NUL bytes; a file with more in it than the wanted one is not."""
    assert is_damaged(file(content=content), file()) == is_one


def test_a_file_that_says_the_same_in_other_words_is_left_alone() -> None:
    """But for its mode: the words are somebody's."""
    path = PurePosixPath("/srv/k3s/x.conf")
    wanted = File(path=path, content=b"a.b = 1\n", mode=FileMode(0o644))
    now = File(path=path, content=b"# by hand\na.b=1\n", mode=FileMode(0o644))
    assert planned(now, wanted=[wanted]).is_empty
    loose = replace(now, mode=FileMode(0o666))
    assert planned(loose, wanted=[wanted]) == Plan(changes=(Change(loose, now),), refusals=())


def test_what_somebody_commented_in_a_file_of_ours_is_rewritten_and_kept_as_a_backup() -> None:
    """It says what a run wrote there, so that no edit is lost to the host; one that says more is an edit still."""
    path = PurePosixPath("/srv/k3s/x.yaml")
    wanted = File(path=path, content=b"a: 2\n", mode=FileMode(0o644))
    now = File(path=path, content=b"# why\na: 1\n", mode=FileMode(0o644))
    assert planned(now, wanted=[wanted], ours=b"a: 1\n").changes == (Change(now, wanted, backup=True),)
    edited = replace(now, content=b"# why\na: 1\nb: 1\n")
    assert [refusal.edited for refusal in planned(edited, wanted=[wanted], ours=b"a: 1\n").refusals] == [True]


# --- what a file needs ---


NEEDS: tuple[Need, ...] = (A, Sysctl(key=KEY, value="0"))
NEEDY = file(B)


def with_needs(*observed: Observed, wanted: Iterable[Resource] = WANTED) -> Plan:
    """A plan in which B needs A and a kernel value."""
    seen: dict[str, Observed] = {path: directory(path) for path in PARENTS}
    seen.update({_id(state): state for state in observed})
    return make(wanted, seen, lambda _: [b"old\n"], lambda one: NEEDS if one.path == B else ())


def test_a_file_comes_after_what_it_needs() -> None:
    """The change names the changes that must not fail before it, and no others."""
    plan = with_needs(Absent(A), Sysctl(key=KEY, value="1"), Absent(B), wanted=(*WANTED[1:2], WANTED[3], NEEDY))
    assert [(change.id, change.needs) for change in plan.changes] == [(str(A), ()), (KEY, ()), (str(B), (str(A), KEY))]
    assert plan.refusals == ()


def test_a_file_is_not_written_where_what_it_needs_is_refused() -> None:
    """Nor where a kernel value that nobody sets is another one; what is there already gets its mode, and stays."""
    plan = with_needs(
        Obstacle(id=str(A), kind="FIFO"),
        Sysctl(key=KEY, value="1"),
        file(B, b"old\n", 0o666),
        wanted=[WANTED[1], NEEDY],
    )
    assert plan.changes == (Change(file(B, b"old\n", 0o666), file(B, b"old\n")),)
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
def test_what_is_there_is_enough(needed: File, value: Sysctl) -> None:
    """Whoever wrote it; and where there is no kernel, its values are left to the first boot."""
    plan = with_needs(needed, value, Absent(B), wanted=[WANTED[1], NEEDY])
    assert plan.changes == (Change(Absent(B), NEEDY),)


def test_a_repaired_mode_waits_for_nothing() -> None:
    """What the file says, and so what it needs, does not change; nor is a file that is needed gone while it is."""
    loose = file(B, mode=0o666)
    plan = with_needs(Obstacle(id=str(A), kind="FIFO"), Sysctl(key=KEY, value="1"), loose, wanted=[WANTED[1], file(B)])
    assert plan.changes == (Change(loose, file(B)),)
    plan = with_needs(file(mode=0o666), Sysctl(key=KEY, value="0"), Absent(B), wanted=[WANTED[1], NEEDY])
    assert [change.needs for change in plan.changes] == [(), ()]


def undone(*changes: Change, refusals: tuple[Refusal, ...] = ()) -> Plan:
    return keep_needed(Plan(changes, refusals), NEEDY, lambda one: NEEDS if one.content == NEEDY.content else ())


GONE = Change(file(), Absent(A))
RESET = Change(Sysctl(key=KEY, value="0"), Sysctl(key=KEY, value="1"))


def test_what_a_file_needs_is_kept_if_it_cannot_be_undone() -> None:
    """And nothing else is: what is rewritten is there still."""
    refusal = Refusal(str(B), "was changed", "look", edited=True)
    plan = undone(GONE, RESET, refusals=(refusal,))
    assert plan.changes == ()
    kept = f"is kept: {B} still requires it"
    assert [(one.id, one.reason) for one in plan.refusals[1:]] == [(str(A), kept), (KEY, kept)]
    rewritten = Change(file(), file(content=b"earlier\n"))
    assert undone(rewritten, refusals=(refusal,)) == Plan((rewritten,), (refusal,))


@pytest.mark.parametrize("after", [Absent(B), file(B, b"earlier\n")], ids=["absent", "earlier"])
def test_what_a_file_needed_goes_after_it(after: State) -> None:
    """The file itself comes first, wherever it stood, and if it fails the others must not be made."""
    own = Change(NEEDY, after)
    other = Change(directory("/srv"), directory("/srv", 0o700))
    assert undone(GONE, other, own, RESET).changes == (
        own,
        replace(GONE, needs=(str(B),)),
        other,
        replace(RESET, needs=(str(B),)),
    )


def test_a_host_that_was_so_before_becomes_so_again() -> None:
    """Undo is no opinion: the file may have been there, with its needs unmet, before anything was changed."""
    assert undone(GONE, RESET) == Plan((GONE, RESET), ())
    own = Change(NEEDY, file(B, mode=0o666))
    assert undone(GONE, own) == Plan((own, GONE), ())


# --- the way back ---


def test_only_a_file_is_said_to_be_kept_as_a_backup() -> None:
    """--force has nothing to keep of a kernel value."""
    hints = []
    for ours, now in ((file(), file(content=b"x")), (Sysctl(key=KEY, value="0"), Sysctl(key=KEY, value="9"))):
        (refusal,) = undo({now.id: Absent(PurePosixPath(now.id))}, {now.id: (ours,)}, {now.id: now}).refusals
        hints.append(refusal.hint)
    assert ["backup" in hint for hint in hints] == [True, False]
    assert all("--force" in hint for hint in hints)


def test_undo_takes_each_state_that_a_run_left_for_ours() -> None:
    """A run that was cut off before it wrote leaves what the run before it had written."""
    first, second = file(content=b"first\n"), file(content=b"second\n")
    absent = Absent(A)
    for now in (first, second):
        plan = undo({str(A): absent}, {str(A): (first, second)}, {str(A): now})
        assert plan == Plan(changes=(Change(now, absent),), refusals=())
    edited = file(content=b"edited\n", mode=0o644)
    (refusal,) = undo({str(A): absent}, {str(A): (first, second)}, {str(A): edited}).refusals
    assert refusal.reason == "was changed since k3s-harden wrote it: content, mode 0600 → 0644"


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (Obstacle(id=str(A), kind="symlink"), "is a symlink, which is not replaced"),
        (Unreadable(id=str(A), reason="Permission denied"), "cannot be read: Permission denied"),
        (replace(file(), immutable=True), "is an immutable file (chattr +i or +a)"),
    ],
    ids=str,
)
def test_undo_refuses_what_it_cannot_change(now: Observed, reason: str) -> None:
    """Even by force."""
    for force in (False, True):
        plan = undo({str(A): Absent(A)}, {str(A): (file(),)}, {str(A): now}, force=force)
        assert plan.changes == ()
        assert [(refusal.reason, refusal.edited) for refusal in plan.refusals] == [(reason, False)]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (file(mode=0o644), file(), "mode 0644 → 0600"),
        (file(content=b"x"), file(), "content"),
        (
            File(path=A, content=b"x", mode=FileMode(0), owner=Owner(1, 2)),
            file(),
            "content, mode 0000 → 0600, owner 1:2 → 0:0",
        ),
        (directory("/srv", 0o1777), directory("/srv"), "mode 1777 → 0755"),
        (Sysctl(key=KEY, value="1"), Sysctl(key=KEY, value="0"), "1 → 0"),
        (Absent(A), file(), "absent → file, mode 0600"),
        (file(), directory(str(A)), "file, mode 0600 → directory, mode 0755"),
        (Obstacle(id=str(A), kind="FIFO"), Absent(A), "a FIFO → absent"),
        (Unreadable(id=KEY, reason="x"), Sysctl(key=KEY, value="0"), "unreadable (x) → 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_difference_is_said_in_a_few_words(before: Observed, after: Observed, words: str) -> None:
    """From what is there to what is wanted."""
    assert difference(before, after) == words


def test_an_owner_is_named_only_where_it_is_not_root() -> None:
    """It is root nearly always."""
    assert describe(file()) == "file, mode 0600"
    assert describe(File(path=A, content=b"", mode=FileMode(0o644), owner=Owner(7, 0))) == "file, mode 0644, owner 7:0"


def test_a_refusal_is_not_an_edit_unless_it_says_so() -> None:
    """Only an edit can be forced."""
    assert not Refusal("x", "y", "z").edited


# --- the permissions of files that others own ---


CERTIFICATE = PurePosixPath("/srv/k3s/server/tls/server-ca.crt")


def permissions(mode: int) -> FilePermissions:
    return FilePermissions(path=CERTIFICATE, mode=FileMode(mode))


def guarded(now: Observed) -> Plan:
    wanted = permissions(0o600)
    return make([wanted], {wanted.id: now})


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o601, 0o700, 0o4600])
def test_a_file_of_others_gets_its_permissions_and_nothing_else(mode: int) -> None:
    """The change knows no content, so that carrying it out cannot bring an old certificate back."""
    assert guarded(permissions(mode)) == Plan((Change(permissions(mode), permissions(0o600)),), ())


@pytest.mark.parametrize("mode", [0o600, 0o400, 0])
def test_permissions_that_are_stricter_stay(mode: int) -> None:
    """Nobody is let in who was not."""
    assert guarded(permissions(mode)).is_empty


def test_permissions_of_a_file_that_is_gone_are_nothing_to_make() -> None:
    """K3s makes its certificates, and this program none."""
    assert guarded(Absent(permissions(0).path)).is_empty


@pytest.mark.parametrize(
    "now", [Obstacle(id=permissions(0).id, kind="symlink"), Unreadable(id=permissions(0).id, reason="I/O error")]
)
def test_permissions_of_what_is_no_file_are_refused(now: Observed) -> None:
    """What a link leads to may be anything."""
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
def test_permissions_are_undone_unless_somebody_changed_them_since(
    now: Observed, changes: tuple[Change, ...], *, is_refused: bool
) -> None:
    """A certificate that K3s made anew, or took away, is as it was before."""
    name = permissions(0).id
    back = undo({name: permissions(0o644)}, {name: (permissions(0o600),)}, {name: now})
    assert back.changes == changes
    assert bool(back.refusals) == is_refused


def test_permissions_are_told_apart_in_few_words() -> None:
    """The id says of what."""
    assert difference(permissions(0o644), permissions(0o600)) == "0644 → 0600"
    assert describe(permissions(0o644)) == "0644"
    assert permissions(0).id == f"mode of {CERTIFICATE}"
