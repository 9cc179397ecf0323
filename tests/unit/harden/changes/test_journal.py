"""The journal: format, limits, merged and damaged records, recovery, and the mark of a gate that observes."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.base import repair
from agent.base.errors import HardenError, HostError
from agent.base.host import Host
from agent.base.model import (
    Absent,
    DefaultPermissions,
    Directory,
    File,
    FileMode,
    FilePermissions,
    Owner,
    State,
    Sysctl,
)
from agent.base.repair import Answer, Decide, Repair, moved_away
from agent.base.report import Level
from agent.harden.changes.journal import BACKUPS, JOURNAL, Journal, Run
from agent.harden.changes.state import STATE
from agent.harden.gate.gate_state import OBSERVES, is_unhardened_cluster, observes_since
from agent.harden.plan.plan import Change, undo_plan
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR
from agent.reports import repair_texts
from agent.verbs import check_and_apply
from agent.verbs.revert import revert
from tests.fake import Clock, fake_host, in_memory, mounted, names

A = PurePosixPath("/etc/a.conf")
KEY = "vm.panic_on_oom"
ABSENT = Absent(A)


@pytest.fixture
def clock() -> Clock:
    return Clock(1_700_000_000.7)


@pytest.fixture
def host(clock: Clock) -> Iterator[Host]:
    with in_memory("etc") as root:
        yield fake_host(root, clock=clock)


@pytest.fixture
def journal(host: Host) -> Journal:
    return Journal(host)


def file(content: bytes, mode: int = 0o600) -> File:
    return File(path=A, content=content, mode=FileMode(mode))


def value(text: str) -> Sysctl:
    return Sysctl(key=KEY, value=text)


def run(journal: Journal, *changes: Change) -> Run:
    entry = journal.begin(changes)
    journal.finish(entry)
    return entry._replace(finished=True)


PATHS = st.from_regex(r"(/[^/\x00]{1,20}){1,4}", fullmatch=True).map(PurePosixPath).filter(lambda path: path.name != "")
ACCESS = {
    "mode": st.integers(0, 0o7777).map(FileMode),
    "owner": st.builds(Owner, uid=st.integers(0, 2**32 - 1), gid=st.integers(0, 2**32 - 1)),
}
STATES: st.SearchStrategy[State] = st.one_of(
    st.builds(File, path=PATHS, content=st.binary(max_size=300), **ACCESS, immutable=st.just(value=False)),
    st.builds(Directory, path=PATHS, **ACCESS),
    st.builds(FilePermissions, path=PATHS, mode=ACCESS["mode"]),
    st.builds(DefaultPermissions, path=PATHS, acl=st.binary(max_size=100)),
    st.builds(
        Sysctl,
        key=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
        value=st.text(),
    ),
    st.builds(Absent, path=PATHS),
)


CHANGES_OF_EACH_TYPE = (
    Change(Absent(A), File(A, "é\n".encode("latin-1"), FileMode(0o600), Owner(0, 7))),
    Change(Directory(A, FileMode(0o755)), Directory(A, FileMode(0o700))),
    Change(FilePermissions(A, FileMode(0o644)), FilePermissions(A, FileMode(0o600))),
    Change(DefaultPermissions(A, b""), DefaultPermissions(A, b"\x02\xff")),
    Change(Sysctl("kernel.panic", "0"), Sysctl("kernel.panic", "10")),
)
RECORDED_CHANGES = [
    {"before": {"absent": str(A)}, "after": {"file": str(A), "content": "é\n", "mode": "0600", "owner": "0:7"}},
    {
        "before": {"directory": str(A), "mode": "0755", "owner": "0:0"},
        "after": {"directory": str(A), "mode": "0700", "owner": "0:0"},
    },
    {"before": {"permissions": str(A), "mode": "0644"}, "after": {"permissions": str(A), "mode": "0600"}},
    {"before": {"default-permissions": str(A), "acl": ""}, "after": {"default-permissions": str(A), "acl": "02ff"}},
    {"before": {"sysctl": "kernel.panic", "value": "0"}, "after": {"sysctl": "kernel.panic", "value": "10"}},
]


@given(changes=st.lists(st.tuples(STATES, STATES), min_size=1, max_size=5))
def test_each_state_is_read_back_unchanged(changes: list[tuple[State, State]]) -> None:
    with in_memory() as root:
        journal = Journal(fake_host(root))
        written = [Change(before, after) for before, after in changes]
        assert journal.changes(journal.begin(written)) == tuple(written)


def test_records_keep_their_format(journal: Journal, host: Host) -> None:
    """Records of earlier versions can be reverted."""
    run = journal.begin(CHANGES_OF_EACH_TYPE)
    assert json.loads(Path(host.root, *run.path.parts[1:]).read_text())["changes"] == RECORDED_CHANGES
    assert journal.changes(run) == CHANGES_OF_EACH_TYPE


def test_the_journal_is_private(journal: Journal, host: Host) -> None:
    run(journal, Change(ABSENT, file(b"x")))
    journal.backup(file(b"secret"))
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in Path(host.root, "var").rglob("*")}
    below = {mode for path, mode in found.items() if str(STATE) in str(path)}
    assert below == {0o700, 0o600}
    assert found[Path(host.root, "var/lib")] == 0o755


def test_an_existing_state_directory_keeps_its_mode(journal: Journal, host: Host) -> None:
    Path(host.root, *STATE.parts[1:]).mkdir(parents=True)
    Path(host.root, *STATE.parts[1:]).chmod(0o755)
    run(journal, Change(ABSENT, file(b"x")))
    assert stat.S_IMODE(Path(host.root, *STATE.parts[1:]).stat().st_mode) == 0o755
    assert stat.S_IMODE(Path(host.root, *JOURNAL.parts[1:]).stat().st_mode) == 0o700


def test_runs_are_numbered_and_sorted(journal: Journal, clock: Clock) -> None:
    for seconds in (50, 10, 30):
        clock.seconds = seconds
        run(journal, Change(value("0"), value("1")))
    assert [(entry.number, entry.started) for entry in journal.runs()] == [(1, 50), (2, 10), (3, 30)]


def test_other_files_in_the_journal_are_ignored(journal: Journal, host: Host) -> None:
    run(journal, Change(value("0"), value("1")))
    directory = Path(host.root, *JOURNAL.parts[1:])
    for name in (
        ".000002-5.begun.k3s-harden",
        "000001-1700000000.json.bak",
        "2-5.json",
        "x-y.json",
        "000003.json",
        "README",
    ):
        (directory / name).touch()
    assert [entry.number for entry in journal.runs()] == [1]


def test_an_interrupted_run_is_closed_by_the_next_one(journal: Journal, host: Host) -> None:
    entry = journal.begin([Change(ABSENT, file(b"x")), Change(value("0"), value("1"))])
    etc = Path(host.root, "etc")
    (etc / ".a.conf.k3s-harden").write_bytes(b"half")
    (etc / ".b.conf.k3s-harden").touch()
    (Path(host.root, *JOURNAL.parts[1:]) / f".{entry.path.name}.k3s-harden").touch()
    assert journal.finish_interrupted() == (entry,)
    assert names(etc) == [".b.conf.k3s-harden"]
    assert names(Path(host.root, *JOURNAL.parts[1:])) == ["000001-1700000000.json"]
    assert journal.finish_interrupted() == ()
    assert journal.history(journal.runs())[0] == {str(A): ABSENT, KEY: value("0")}


def test_the_history_of_a_path_has_its_first_and_all_later_states(journal: Journal) -> None:
    run(journal, Change(value("0"), value("1")))
    run(journal, Change(ABSENT, file(b"first")), Change(value("2"), value("3")))
    run(journal, Change(file(b"first"), file(b"second")))
    before, left = journal.history(journal.runs())
    assert list(before.items()) == [(KEY, value("0")), (str(A), ABSENT)]
    assert left == {KEY: (value("1"), value("3")), str(A): (file(b"first"), file(b"second"))}
    assert journal.history(journal.runs()[-1:]) == ({str(A): file(b"first")}, {str(A): (file(b"second"),)})


def test_a_change_of_mode_does_not_mark_the_content_as_managed(journal: Journal) -> None:
    """Otherwise the next run would overwrite an edit, and revert would remove it."""
    run(journal, Change(ABSENT, file(b"ours")))
    edited = file(b"edited", 0o644), file(b"edited")
    run(journal, Change(*edited))
    assert journal.written(str(A)) == (b"ours",)
    back = undo_plan(*journal.history(journal.runs()), {str(A): edited[1]})
    assert back.changes == ()
    assert [refusal.edited for refusal in back.refusals] == [True]


def test_a_changed_mode_is_reverted(journal: Journal) -> None:
    theirs = Change(file(b"theirs", 0o644), file(b"theirs"))
    run(journal, theirs)
    assert undo_plan(*journal.history(journal.runs()), {str(A): theirs.after}).changes == (
        Change(theirs.after, theirs.before),
    )
    journal.forget(journal.runs())
    run(journal, Change(ABSENT, file(b"ours")))
    run(journal, Change(file(b"ours", 0o666), file(b"ours")))
    assert undo_plan(*journal.history(journal.runs()), {str(A): file(b"ours")}).changes == (
        Change(file(b"ours"), ABSENT),
    )


def test_fifty_records_are_kept_and_older_ones_are_merged(journal: Journal, host: Host) -> None:
    run(journal, Change(ABSENT, file(b"ours")), Change(value("0"), value("1")))
    for number in range(2, 130):
        run(journal, Change(value(f"{number}"), value("1")))
    entries = journal.runs()
    assert len(entries) == 50
    assert entries[-1].number == 129
    before, left = journal.history(entries)
    assert before == {KEY: value("0"), str(A): ABSENT}
    assert left[str(A)] == (file(b"ours"),)
    assert left[KEY][-1] == value("1")
    assert journal.written(str(A)) == (b"ours",)
    sizes = [path.stat().st_size for path in Path(host.root, *JOURNAL.parts[1:]).iterdir()]
    assert max(sizes) < 1000


def test_merging_does_not_mark_content_as_managed(journal: Journal) -> None:
    run(journal, Change(ABSENT, file(b"ours")))
    for number in range(120):
        edited = f"edit {number}".encode()
        run(journal, Change(file(edited, 0o644), file(edited)))
    assert len(journal.runs()) == 50
    assert journal.written(str(A)) == (b"ours",)
    before, left = journal.history(journal.runs())
    assert (before, left) == ({str(A): ABSENT}, {str(A): (file(b"ours"),)})


def test_an_interrupted_merge_changes_nothing(journal: Journal, host: Host) -> None:
    for number in range(50):
        run(journal, Change(value(f"{number}"), value("1")))
    first = Path(host.root, *JOURNAL.parts[1:], "000001-1700000000.json")
    kept = first.read_bytes()
    run(journal, Change(value("50"), value("1")))
    assert not first.exists()
    folded = journal.history(journal.runs())
    first.write_bytes(kept)
    assert journal.history(journal.runs())[0] == folded[0] == {KEY: value("0")}
    assert set(journal.history(journal.runs())[1][KEY]) == set(folded[1][KEY]) == {value("1")}


def test_reverted_runs_are_removed(journal: Journal, host: Host) -> None:
    entries = [run(journal, Change(value("0"), value("1"))) for _ in range(3)]
    journal.forget(entries[-1:])
    assert journal.runs() == tuple(entries[:-1])
    journal.forget(entries[:-1])
    assert names(Path(host.root, "var/lib")) == []
    run(journal, Change(value("0"), value("1")))
    kept = journal.backup(file(b"theirs"))
    journal.forget(journal.runs())
    assert names(Path(host.root, *STATE.parts[1:])) == ["backups"]
    assert host.tree.read(kept) == b"theirs"


def test_each_backup_has_a_unique_name(journal: Journal, host: Host, clock: Clock) -> None:
    paths = [journal.backup(file(content)) for content in (b"1", b"2")]
    paths.append(journal.backup(File(path=A.with_name("a.conf.1700000000.3"), content=b"3", mode=FileMode(0o600))))
    clock.sleep(100)
    paths.append(journal.backup(file(b"4")))
    assert paths[0] == BACKUPS / "etc_a.conf.1700000000.1"
    assert len(set(paths)) == 4
    assert [host.tree.read(path) for path in paths] == [b"1", b"2", b"3", b"4"]


def changing_to(state: object) -> bytes:
    return json.dumps({"schema": 1, "changes": [{"before": {"absent": "/x"}, "after": state}]}).encode()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"{\n", b"\0\0\0\0", b"[]\n", b"\xff\xfe\0", b"{}", b"[]", b"null", b'{"schema": 1}'),
        b'{"schema": 1, "changes": 5}',
        b'{"schema": 1, "changes": [5]}',
        changing_to({}),
        changing_to(None),
        changing_to({"file": 1, "content": "", "mode": "0600", "owner": "0:0"}),
        changing_to({"file": "/x", "content": 5, "mode": "0600", "owner": "0:0"}),
        changing_to({"file": "/x", "content": "\u20ac", "mode": "0600", "owner": "0:0"}),
        changing_to({"directory": "/x", "mode": 5, "owner": "0:0"}),
        changing_to({"directory": "/x", "mode": "9", "owner": "0:0"}),
        changing_to({"directory": "/x", "mode": "77777", "owner": "0:0"}),
        changing_to({"directory": "/x", "mode": "0600", "owner": "0"}),
        changing_to({"directory": "/x", "mode": "0600", "owner": 5}),
    ],
    ids=str,
)
def test_an_invalid_record_is_an_error_with_a_question(content: bytes, journal: Journal, host: Host) -> None:
    """A power failure or a full disk can truncate a record."""
    entry = run(journal, Change(value("0"), value("1")))
    assert journal.damage([entry]) == {}
    Path(host.root, *entry.path.parts[1:]).write_bytes(content)
    with pytest.raises(HostError) as caught:
        journal.history([entry])
    assert caught.value.message.startswith(f"cannot read {entry.path}: not a journal record (")
    loss = "the changes of that run cannot be reverted"
    answers = (Answer("Yes", "restore it", ()), Answer("No", loss, (moved_away(entry.path),)))
    repair = Repair((Decide(f"Does a backup have {entry.path}?", answers),))
    assert caught.value.repair == journal.damage([entry])[entry.path].repair == repair


def test_a_file_in_the_place_of_the_state_directory_is_damage(journal: Journal, host: Host) -> None:
    assert journal.damage([]) == {}
    place = Path(host.root, *STATE.parts[1:])
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("")
    (error,) = journal.damage([]).values()
    assert error.message == f"cannot use {STATE}: it is a regular file, expected a directory"
    assert error.repair.steps == (moved_away(STATE),)


@pytest.mark.parametrize("place", [STATE, JOURNAL])
def test_a_directory_that_others_can_write_is_damage(place: PurePosixPath, journal: Journal, host: Host) -> None:
    """Others could remove or add records; apply restricts only the directory of the records, if it changes anything."""
    run(journal, Change(ABSENT, file(b"x")))
    Path(host.root, *place.parts[1:]).chmod(0o770)
    ((path, error),) = journal.damage(journal.runs()).items()
    assert path == place
    assert "mode 0770, expected a directory that only root can write" in error.message
    commands = ("sudo ls -la", "sudo chown root:root", "sudo chmod go-w")
    assert error.repair.steps == tuple(repair.Run(f"{command} {place}") for command in commands)


def test_an_invalid_record_does_not_affect_others(journal: Journal, host: Host) -> None:
    run(journal, Change(ABSENT, file(b"first")))
    broken = run(journal, Change(file(b"first"), file(b"second")))
    run(journal, Change(file(b"second"), file(b"third")))
    Path(host.root, *broken.path.parts[1:]).write_bytes(b"{")
    assert journal.written(str(A)) == (b"first", b"third")
    assert list(journal.damage(journal.runs())) == [broken.path]


def test_a_record_of_another_schema_is_an_error(journal: Journal, host: Host) -> None:
    entry = run(journal, Change(value("0"), value("1")))
    record = Path(host.root, *entry.path.parts[1:])
    record.write_text(record.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(HostError, match=r"found schema 2, expected 1$") as caught:
        journal.changes(entry)
    assert "newer" in repair_texts.text(caught.value.repair)


def test_a_run_that_cannot_be_recorded_does_not_begin(journal: Journal, host: Host) -> None:
    Path(host.root, "var/lib").mkdir(parents=True)
    Path(host.root, *STATE.parts[1:]).symlink_to("/etc")
    Path(host.root, "var/lib").chmod(0o777)
    with pytest.raises(HostError, match="its parent directory /var/lib is not safe"):
        journal.begin([Change(value("0"), value("1"))])
    assert names(Path(host.root, "etc")) == []


def test_the_backup_of_a_file_with_a_long_path_has_a_short_unique_name(journal: Journal, host: Host) -> None:
    """The data directory can have 250 characters."""
    paths = [PurePosixPath("/srv", letter + "x" * 250, "server/psa.yaml") for letter in "ab"]
    kept = [journal.backup(File(path=path, content=b"x", mode=FileMode(0o600))) for path in paths for _ in range(2)]
    assert len(set(kept)) == 4
    assert all(len(path.name) <= 230 and "psa.yaml" in path.name for path in kept)
    assert sorted(path.name for path in kept) == names(Path(host.root, *BACKUPS.parts[1:]))


@pytest.mark.root
def test_a_state_directory_that_is_a_mount_point_is_kept(journal: Journal, host: Host) -> None:
    state = Path(host.root, *STATE.parts[1:])
    state.mkdir(parents=True)
    with mounted(state, "size=1m,mode=700"):
        entry = run(journal, Change(value("0"), value("1")))
        journal.forget([entry])
        assert names(state) == []


@pytest.mark.parametrize(
    ("mode", "user"), [(0o622, 0), (0o660, 0), (0o606, 0), pytest.param(0o600, 65534, marks=pytest.mark.root)]
)
def test_a_record_that_another_user_could_write_is_not_used(mode: int, user: int, journal: Journal, host: Host) -> None:
    """Revert would write any file that it names. It can be from a time when the directory was open to others."""
    run = journal.begin([Change(ABSENT, File(path=A, content=b"", mode=FileMode(0o644)))])
    record = Path(f"{host.root}{run.path}")
    record.chmod(mode)
    if user:
        os.chown(record, user, 0)
    found = f"found owner {user}:0 and mode {mode:04o}, " if user else ""
    with pytest.raises(HostError, match=f"{found}expected a file that only root can write$"):
        journal.changes(run)
    assert journal.damage([run])[run.path].repair.steps == (moved_away(run.path),)


RECORD = "000001-1700000000.json"
CHANGE = {
    "before": {"absent": "/etc/a.conf"},
    "after": {"file": "/etc/a.conf", "content": "x", "mode": "0600", "owner": "0:0"},
}
VALID = {"schema": 1, "version": "1", "changes": [CHANGE]}


def test_a_record_that_could_not_be_read_back_is_not_written(journal: Journal, host: Host) -> None:
    changes = [Change(ABSENT, File(A / str(number), b"\0" * 16_000, FileMode(0o600))) for number in range(100)]
    with pytest.raises(HostError, match=r"^cannot write /var/lib/k3s-harden/journal/000001-1700000000\.begun: found"):
        journal.begin(changes)
    assert names(Path(host.root, *JOURNAL.parts[1:])) == []


_WORDS = st.sampled_from(["\0", "/\0", "\ud800", "/etc"])
SCALARS: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | _WORDS
ANY = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
KEYS = st.sampled_from(["file", "absent", "sysctl", "permissions", "directory", "mode", "owner", "content", "value"])
FIELDS = (
    ANY
    | st.sampled_from(["/etc/a.conf", "/", "..", "//", "/etc/../x", "0600", "99999", "0:0", "4294967296:0", "0:0:0"])
    | st.integers(min_value=10**18).map(lambda number: f"{number}:0")
)
HOSTILE = ANY | st.dictionaries(KEYS, FIELDS, max_size=5)
RECORDS = st.one_of(
    st.binary(max_size=200),
    ANY.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries({"schema": st.just(1) | ANY, "changes": ANY}).map(lambda value: json.dumps(value).encode()),
    st.lists(st.fixed_dictionaries({"before": HOSTILE, "after": HOSTILE}), max_size=3).map(
        lambda changes: json.dumps({"schema": 1, "changes": changes}).encode()
    ),
    st.integers(0, 300).map(lambda size: json.dumps(VALID, indent=1).encode()[:size]),
    st.sampled_from([b"[" * 100_000, b'{"a":' * 100_000, b'{"schema": 1' + b"0" * 5000 + b"}", b"\xff\xfe{}", b""]),
)


@settings(max_examples=1000, deadline=None)
@given(data=RECORDS, force=st.booleans())
def test_any_record_is_read_or_is_an_error(data: bytes, *, force: bool) -> None:
    """1,000 generated journals: every message names a path, and nothing else is raised."""
    with in_memory("etc", str(JOURNAL)[1:]) as root:
        host = fake_host(root)
        Path(f"{root}{JOURNAL}/{RECORD}").write_bytes(data)
        journal = Journal(host)
        try:
            journal.written("/etc/a.conf")
            journal.history(journal.runs())
        except HostError as error:
            assert error.message.startswith(f"cannot read {JOURNAL / RECORD}")  # noqa: PT017 - some journals are valid
        (run,) = journal.runs()
        journal.damage([run])
        try:
            revert(host, last=False, force=force)
        except HardenError as error:
            assert "\n" not in error.message  # noqa: PT017 - some journals are valid


@pytest.mark.parametrize("kind", ["symlink", "FIFO", "directory"])
def test_a_record_that_is_not_a_regular_file_is_an_error(kind: str, journal: Journal, host: Host) -> None:
    record = Path(f"{host.root}{JOURNAL}/{RECORD}")
    record.parent.mkdir(parents=True)
    if kind == "symlink":
        (record.parent / "real").write_text(json.dumps(VALID))
        record.symlink_to("real")
    elif kind == "FIFO":
        os.mkfifo(record)
    else:
        record.mkdir()
    message = rf"^cannot read {JOURNAL / RECORD}: found .*{kind}.*, expected a regular file$"
    with pytest.raises(HostError, match=message):
        journal.changes(journal.runs()[0])
    assert list(journal.damage(journal.runs())) == [JOURNAL / RECORD]


REQUEST = Request(Overrides(role="server", k3s_version="1.34"))
TODAY = 1_798_761_600.0  # 2027-01-01


@pytest.fixture
def root() -> Iterator[Path]:
    with in_memory("etc", "var/lib") as directory:
        yield directory


def observing(root: Path, text: str = "2026-12-24\n", mode: int = 0o600) -> Host:
    file = root / str(OBSERVES).lstrip("/")
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return fake_host(root, clock=Clock(TODAY), is_live=True)


@pytest.mark.parametrize(
    ("text", "mode"),
    [("", 0o600), ("yes\n", 0o600), ("2026-13-24\n", 0o600), ("2026-12-24\nx", 0o600), ("2026-12-24\n", 0o602)],
)
def test_any_other_file_leaves_the_gate_closed(text: str, mode: int, root: Path) -> None:
    """A file that another user can change counts as absent."""
    assert observes_since(observing(root, text, mode)) == ""


def test_a_gate_that_observes_lets_k3s_start_and_changes_nothing(root: Path) -> None:
    report = check_and_apply.gate(observing(root), REQUEST)
    assert (int(report.exit_code), [finding.id for finding in report.findings]) == (0, ["gate-observes"])
    assert not (root / "var/lib/rancher").exists()


@pytest.mark.parametrize(("since", "level"), [("2026-12-03", Level.WARNING), ("2026-12-02", Level.ERROR)])
def test_from_day_30_on_it_is_an_error_and_k3s_still_starts(since: str, level: Level, root: Path) -> None:
    host = observing(root, f"{since}\n")
    (found,) = (found for found in check_and_apply.check(host, REQUEST).findings if "gate-observes" in found.id)
    assert found.level == level
    assert int(check_and_apply.gate(host, REQUEST).exit_code) == 0


@pytest.mark.parametrize("since", ["2026-12-24", "2026-12-02"])
def test_the_first_successful_apply_ends_it_and_says_nothing_of_it(since: str, root: Path) -> None:
    """Also after day 30, when it was an error."""
    host = observing(root, f"{since}\n")
    (root / "run").mkdir()
    report = check_and_apply.apply(host, REQUEST)
    found = [finding.id for finding in report.findings if "gate-observes" in finding.id]
    assert (found, observes_since(host)) == ([], "")


def test_the_journal_of_a_host_ends_neither_what_it_proves_nor_opens_the_gate(root: Path) -> None:
    """Deleting the journal does not make the gate observe: only the file does."""
    host = fake_host(root, is_live=True)
    (root / "var/lib/rancher/k3s/server/db").mkdir(parents=True)
    assert is_unhardened_cluster(host, DEFAULT_DATA_DIR)
    check_and_apply.apply(host, REQUEST)
    assert not is_unhardened_cluster(host, DEFAULT_DATA_DIR)
    for record in (root / "var/lib/k3s-harden/journal").iterdir():
        record.unlink()
    assert observes_since(host) == ""
