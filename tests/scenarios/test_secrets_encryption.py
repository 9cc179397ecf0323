"""secrets-encryption: on where a cluster begins, kept where it is on, never switched under a live datastore."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.scenarios.host_tree import CONFIG, DATA_DIR, DROPIN, PSA, SETTINGS, STATE, HostTree, copied

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scenarios.conftest import Hardened

STATE_DB = f"{DATA_DIR}/server/db/state.db"
ETCD = f"{DATA_DIR}/server/db/etcd/member/wal"
CREDENTIALS = f"{DATA_DIR}/server/cred/encryption-config.json"
ENCRYPTED = '{"resources":[{"resources":["secrets"],"providers":[{"aescbc":{"keys":[]}},{"identity":{}}]}]}'
SECRETBOX = '{"resources":[{"resources":["secrets"],"providers":[{"secretbox":{"keys":[]}},{"identity":{}}]}]}'
AFTER_OTHERS = ENCRYPTED.replace('[{"res', '[{"resources":["configmaps"],"providers":[{"identity":{}}]},{"res', 1)
NOT_ENCRYPTED = '{"resources":[{"resources":["secrets"],"providers":[{"identity":{}},{"aescbc":{"keys":[]}}]}]}'

BEGINS: dict[str, str] = {}
JOINS = {CONFIG: "server: https://10.0.0.1:6443\n"}
JOINED = {**JOINS, ETCD: ""}
SQLITE = {STATE_DB: ""}
EXTERNAL = {CONFIG: "datastore-endpoint: mysql://k3s@10.0.0.9/k3s\n"}


class Case(NamedTuple):
    """A server and its settings; whether our drop-in then turns encryption on, and whether `check` warns."""

    name: str
    files: dict[str, str]
    setting: str
    turned_on: bool
    warned: bool


def _settled(files: dict[str, str], credentials: str) -> dict[str, str]:
    return {**files, CREDENTIALS: credentials}


CASES = (
    Case("begins", BEGINS, "auto", turned_on=True, warned=False),
    Case("begins-off", BEGINS, "off", turned_on=False, warned=False),
    Case("begins-leave", BEGINS, "leave", turned_on=False, warned=False),
    Case("begins-on", BEGINS, "on", turned_on=True, warned=False),
    Case("begins-with-cluster-init", {CONFIG: "cluster-init: true\n"}, "auto", turned_on=True, warned=False),
    Case("joins", JOINS, "auto", turned_on=False, warned=True),
    Case("joins-on", JOINS, "on", turned_on=True, warned=False),
    Case("joins-off", JOINS, "off", turned_on=False, warned=False),
    Case("joins-leave", JOINS, "leave", turned_on=False, warned=False),
    Case("joined-encrypted", _settled(JOINED, ENCRYPTED), "auto", turned_on=True, warned=False),
    Case("joined-not-encrypted", _settled(JOINED, NOT_ENCRYPTED), "auto", turned_on=False, warned=True),
    Case("sqlite-not-encrypted", SQLITE, "auto", turned_on=False, warned=True),
    Case("sqlite-identity", _settled(SQLITE, NOT_ENCRYPTED), "auto", turned_on=False, warned=True),
    Case("sqlite-encrypted", _settled(SQLITE, ENCRYPTED), "auto", turned_on=True, warned=False),
    Case("sqlite-encrypted-after-others", _settled(SQLITE, AFTER_OTHERS), "auto", turned_on=True, warned=False),
    Case("sqlite-secretbox", _settled(SQLITE, SECRETBOX), "auto", turned_on=True, warned=False),
    Case("sqlite-on", SQLITE, "on", turned_on=True, warned=False),
    Case("etcd-not-encrypted", {ETCD: ""}, "auto", turned_on=False, warned=True),
    Case("etcd-encrypted", _settled({ETCD: ""}, ENCRYPTED), "auto", turned_on=True, warned=False),
    Case("external", EXTERNAL, "auto", turned_on=False, warned=True),
    Case("external-encrypted", _settled(EXTERNAL, ENCRYPTED), "auto", turned_on=True, warned=False),
    Case("operator-on", {CONFIG: "secrets-encryption: true\n"}, "auto", turned_on=False, warned=False),
    Case(
        "operator-on-joins",
        {CONFIG: "server: https://10.0.0.1:6443\nsecrets-encryption: true\n"},
        "auto",
        turned_on=False,
        warned=False,
    ),
    Case("operator-off", {CONFIG: "secrets-encryption: false\n"}, "auto", turned_on=True, warned=False),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_secrets_encryption_is_turned_on_only_where_that_is_safe(case: Case, host: HostTree) -> None:
    """`auto` never switches it under data that is there; `on`, `off` and `leave` are the operator's word."""
    for path, content in case.files.items():
        host.write(path, content, 0o600)
    if case.setting != "auto":
        host.write(SETTINGS, f"secrets-encryption: {case.setting}\n")
    seen = host.seen("apply")
    assert seen.code == 0
    assert ("secrets-encryption: true" in host[DROPIN].read_text()) == case.turned_on
    assert bool(seen.of("secrets-not-encrypted")) == case.warned
    assert "secrets-encryption: false" not in host[DROPIN].read_text()
    assert host.seen("apply").with_status("changed") == set()


@pytest.mark.parametrize("provider", [ENCRYPTED, SECRETBOX])
def test_once_on_it_stays_on(provider: str, hardened: Hardened) -> None:
    """K3s has started since, with data and a key on disk: nothing changes, whatever the version is by then."""
    host = hardened("server", "1.24")
    host.write(STATE_DB, "data", 0o600)
    host.write(CREDENTIALS, provider, 0o600)
    for version in ("1.24", "1.25", "1.34"):
        host.options = ("--role", "server", "--k3s-version", version)
        assert host.run("apply").code == 0
        assert "secrets-encryption: true" in host[DROPIN].read_text()


@pytest.mark.parametrize("state", ["", "{", '{"resources": []}', "[]", "null"])
def test_it_stays_on_while_the_state_cannot_be_told(state: str, hardened: Hardened) -> None:
    """A file of K3s' that is empty or half-written is no reason to switch anything."""
    host = hardened()
    host.write(STATE_DB, "data", 0o600)
    host.write(CREDENTIALS, state, 0o600)
    assert host.run("apply").code == 0
    assert "secrets-encryption: true" in host[DROPIN].read_text()


def test_it_stays_on_when_k3s_was_cut_off_in_its_first_start(hardened: Hardened) -> None:
    """The datastore can be on disk before the file that tells of encryption: the second start must be as the first."""
    host = hardened()
    host.write(STATE_DB, "data", 0o600)
    assert host.run("apply").code == 0
    assert "secrets-encryption: true" in host[DROPIN].read_text()


@pytest.mark.parametrize("setting", ["off", "leave"])
def test_it_is_not_taken_from_encrypted_data_without_a_word(setting: str, hardened: Hardened) -> None:
    """Without it the API server has no key, and no Secret can be read any more."""
    host = hardened()
    host.write(STATE_DB, "data", 0o600)
    host.write(CREDENTIALS, ENCRYPTED, 0o600)
    host.write(SETTINGS, f"secrets-encryption: {setting}\n")
    done = host.run("apply")
    assert done.code != 0
    assert "secrets-encryption" in done.stdout + done.stderr


def test_a_server_that_is_made_to_join_before_its_first_start_is_told_what_must_match(hardened: Hardened) -> None:
    """What was right for a new cluster would keep it out of an old one, so it is taken back and said."""
    host = hardened()
    host.write(CONFIG, JOINS[CONFIG])
    seen = host.seen("apply")
    assert seen.code == 0
    assert "secrets-encryption" not in host[DROPIN].read_text()
    assert "must be as on its other servers" in seen.only("secrets-not-encrypted").message


@pytest.mark.parametrize("setting", ["auto", "on", "off", "leave"])
def test_an_agent_never_has_the_key(setting: str, host: HostTree) -> None:
    """k3s agent exits at it."""
    host.options = ("--role", "agent", "--k3s-version", "1.34")
    host.write(SETTINGS, f"secrets-encryption: {setting}\n")
    seen = host.seen("apply")
    assert (seen.code, seen.findings) == (0, ())
    assert "secrets-encryption" not in host[DROPIN].read_text()


# --- revert ---


ALONE = b"secrets-encryption: true\n"


def started(host: HostTree) -> HostTree:
    """K3s has run there once, and encrypts."""
    host.write(STATE_DB, "data", 0o600)
    host.write(CREDENTIALS, ENCRYPTED, 0o600)
    return host


def said(host: HostTree) -> bytes:
    """The drop-in without its comments."""
    return b"".join(line for line in host[DROPIN].read_bytes().splitlines(keepends=True) if line[:1] != b"#")


def left_of_us(host: HostTree, pristine: HostTree) -> set[str]:
    """The files that are there beyond those of K3s and of the host as it was, and the values that are not as before."""
    before = pristine.entries()
    now = {path: entry for path, entry in host.entries().items() if entry.kind == "file"}
    return {path for path, entry in now.items() if before.get(path) != entry} - {STATE_DB, CREDENTIALS}


@pytest.mark.parametrize("version", ["1.24", "1.34"])
@pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "forced"])
def test_revert_leaves_encryption_alone_to_a_k3s_that_encrypts(
    version: str, force: tuple[str, ...], hardened: Hardened, pristine: HostTree
) -> None:
    """The drop-in names nothing that is gone, and all else is as it was: K3s starts, and reads its Secrets."""
    host = started(hardened("server", version))
    seen = host.seen("revert", *force)
    assert (seen.code, seen.items[DROPIN]) == (0, "changed")
    assert "`secrets-encryption: true` alone" in seen.details[DROPIN]
    assert said(host) == ALONE
    assert host.entries()[DROPIN].mode == 0o600
    assert left_of_us(host, pristine) == {DROPIN}


@pytest.mark.parametrize(
    ("path", "content"), [(CREDENTIALS, NOT_ENCRYPTED), (CONFIG, "secrets-encryption: true\n")], ids=["off", "own word"]
)
def test_a_revert_after_that_does_nothing_until_k3s_no_longer_needs_it(
    path: str, content: str, hardened: Hardened, pristine: HostTree
) -> None:
    """Then the drop-in goes as well, and the journal with it: decrypted, or said in a file of the operator's own."""
    host = started(hardened())
    assert host.run("revert").code == 0
    before = host.entries()
    seen = host.seen("revert")
    assert (seen.code, seen.with_status("changed"), seen.items[DROPIN]) == (0, set(), "kept")
    assert host.entries() == before
    host.write(path, content)
    assert host.run("revert").code == 0
    assert left_of_us(host, pristine) == {path} - {CREDENTIALS}
    assert STATE not in host.entries(with_state=True)


def test_a_revert_that_was_cut_off_is_gone_on_with(hardened: Hardened, pristine: HostTree, tmp_path: Path) -> None:
    """The drop-in that it left is in the journal before it is on the disk, and nobody's edit."""
    host = started(hardened())
    through = copied(host, tmp_path / "through")
    assert through.run("revert").code == 0
    (record,) = through[f"{STATE}/journal"].iterdir()
    shutil.copy(record, host[f"{STATE}/journal/{record.with_suffix('.begun').name}"])
    shutil.copy(through[DROPIN], host[DROPIN])
    assert host.seen("check").ids >= {"interrupted-run"}
    assert host.run("revert").code == 0
    assert said(host) == ALONE
    assert left_of_us(host, pristine) == {DROPIN}
    assert [path.suffix for path in host[f"{STATE}/journal"].iterdir()] == [".json"]


def test_what_revert_left_is_ours_to_apply_and_to_revert_again(hardened: Hardened, pristine: HostTree) -> None:
    """No edit is seen in it, and no second revert finds less than the first."""
    host = started(hardened())
    wanted = host.entries()
    for _ in range(2):
        assert host.run("revert").code == 0
        assert left_of_us(host, pristine) == {DROPIN}
        assert host.run("apply").code == 0
        assert host.entries() == wanted
    assert list(host[STATE].iterdir()) == [host[f"{STATE}/journal"]]


@pytest.mark.parametrize("state", ["", "{", "[]"])
def test_revert_leaves_the_drop_in_whole_while_it_cannot_be_told(state: str, hardened: Hardened) -> None:
    """With all that it needs; it goes once the file of K3s' can be read."""
    host = started(hardened())
    host.write(CREDENTIALS, state, 0o600)
    before = host.entries()[DROPIN]
    seen = host.seen("revert", "--force")
    assert (seen.code, seen.items[DROPIN], seen.items[PSA]) == (4, "refused", "refused")
    assert f"{CREDENTIALS} does not tell" in seen.details[DROPIN]
    assert host.entries()[DROPIN] == before
    host.write(CREDENTIALS, NOT_ENCRYPTED, 0o600)
    assert host.run("revert").code == 0
    assert DROPIN not in host.entries()


def test_a_forced_revert_keeps_an_edited_drop_in_as_a_backup(hardened: Hardened, pristine: HostTree) -> None:
    """And leaves encryption alone there, too."""
    host = started(hardened())
    host.edit(DROPIN)
    edited = host[DROPIN].read_bytes()
    assert host.run("revert", "--force").code == 0
    assert said(host) == ALONE
    assert left_of_us(host, pristine) == {DROPIN}
    assert [path.read_bytes() for path in host[f"{STATE}/backups"].iterdir()] == [edited]


def test_an_earlier_drop_in_without_encryption_does_not_come_back(host: HostTree) -> None:
    """To undo the run that switched it on is refused, and what the drop-in names stays with it."""
    host.write(SETTINGS, "secrets-encryption: leave\nprotect-kernel-defaults: false\n")
    assert host.run("apply").code == 0
    host[SETTINGS].unlink()
    host[PSA].unlink()
    assert host.run("apply").code == 0
    started(host)
    before = host.entries()
    seen = host.seen("revert", "--last")
    assert seen.items[DROPIN] == seen.items[PSA] == "refused"
    assert "config.yaml" in seen.hints[DROPIN]
    assert host.entries() == before
