"""secrets-encryption: enabled for new clusters, kept if enabled, never changed for an existing datastore."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.k3s_tree import encryption
from tests.scenarios.conftest import Hardened
from tests.scenarios.host_tree import CONFIG, DATA_DIR, DROPIN, PSA, SETTINGS, STATE, HostTree, copied

STATE_DB = f"{DATA_DIR}/server/db/state.db"
ETCD = f"{DATA_DIR}/server/db/etcd/member/wal"
CREDENTIALS = f"{DATA_DIR}/server/cred/encryption-config.json"
ENCRYPTED = encryption("aescbc", "identity")
SECRETBOX = encryption("secretbox", "identity")
AFTER_OTHERS = ENCRYPTED.replace('[{"res', '[{"resources":["configmaps"],"providers":[{"identity":{}}]},{"res', 1)
NOT_ENCRYPTED = encryption("identity", "aescbc")

NEW: dict[str, str] = {}
JOINS = {CONFIG: "server: https://10.0.0.1:6443\n"}
JOINED = {**JOINS, ETCD: ""}
SQLITE = {STATE_DB: ""}
EXTERNAL = {CONFIG: "datastore-endpoint: mysql://k3s@10.0.0.9/k3s\n"}


class Case(NamedTuple):
    """A server and its settings, with the expected result."""

    name: str
    files: dict[str, str]
    setting: str
    turned_on: bool
    """Whether the drop-in of k3s-harden enables encryption."""
    warned: bool
    """Whether `check` reports secrets-not-encrypted."""


def _encrypting(files: dict[str, str], credentials: str) -> dict[str, str]:
    return {**files, CREDENTIALS: credentials}


CASES = (
    Case("new", NEW, "auto", turned_on=True, warned=False),
    Case("new-off", NEW, "off", turned_on=False, warned=False),
    Case("new-leave", NEW, "leave", turned_on=False, warned=False),
    Case("new-on", NEW, "on", turned_on=True, warned=False),
    Case("new-with-cluster-init", {CONFIG: "cluster-init: true\n"}, "auto", turned_on=True, warned=False),
    Case("joins", JOINS, "auto", turned_on=False, warned=True),
    Case("joins-on", JOINS, "on", turned_on=True, warned=False),
    Case("joins-off", JOINS, "off", turned_on=False, warned=False),
    Case("joins-leave", JOINS, "leave", turned_on=False, warned=False),
    Case("joined-encrypted", _encrypting(JOINED, ENCRYPTED), "auto", turned_on=True, warned=False),
    Case("joined-not-encrypted", _encrypting(JOINED, NOT_ENCRYPTED), "auto", turned_on=False, warned=True),
    Case("sqlite-not-encrypted", SQLITE, "auto", turned_on=False, warned=True),
    Case("sqlite-identity", _encrypting(SQLITE, NOT_ENCRYPTED), "auto", turned_on=False, warned=True),
    Case("sqlite-encrypted", _encrypting(SQLITE, ENCRYPTED), "auto", turned_on=True, warned=False),
    Case("sqlite-encrypted-after-others", _encrypting(SQLITE, AFTER_OTHERS), "auto", turned_on=True, warned=False),
    Case("sqlite-secretbox", _encrypting(SQLITE, SECRETBOX), "auto", turned_on=True, warned=False),
    Case("sqlite-on", SQLITE, "on", turned_on=True, warned=True),
    Case("sqlite-identity-on", _encrypting(SQLITE, NOT_ENCRYPTED), "on", turned_on=True, warned=True),
    Case("sqlite-encrypted-on", _encrypting(SQLITE, ENCRYPTED), "on", turned_on=True, warned=False),
    Case("external-on", EXTERNAL, "on", turned_on=True, warned=False),
    Case("etcd-not-encrypted", {ETCD: ""}, "auto", turned_on=False, warned=True),
    Case("etcd-encrypted", _encrypting({ETCD: ""}, ENCRYPTED), "auto", turned_on=True, warned=False),
    Case("external", EXTERNAL, "auto", turned_on=False, warned=True),
    Case("external-encrypted", _encrypting(EXTERNAL, ENCRYPTED), "auto", turned_on=True, warned=False),
    Case("operator-on", {CONFIG: "secrets-encryption: true\n"}, "auto", turned_on=False, warned=False),
    Case(
        "operator-on-joins",
        {CONFIG: "server: https://10.0.0.1:6443\nsecrets-encryption: true\n"},
        "auto",
        turned_on=False,
        warned=False,
    ),
    Case(
        "operator-on-identity",
        _encrypting({**SQLITE, CONFIG: "secrets-encryption: true\n"}, NOT_ENCRYPTED),
        "auto",
        turned_on=False,
        warned=True,
    ),
    Case("operator-off", {CONFIG: "secrets-encryption: false\n"}, "auto", turned_on=True, warned=False),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_encryption_is_enabled_only_if_that_is_safe(case: Case, host: HostTree) -> None:
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


@pytest.mark.parametrize(
    ("version", "turned_on"),
    [
        ("v1.24.17+k3s1", False),
        ("v1.34.2+k3s1", False),
        ("v1.34.3+k3s1", False),
        ("v1.34.3+k3s3", True),
        ("v1.34.4+k3s1", True),
        ("v1.35.0+k3s1", False),
        ("v1.36.0+k3s1", True),
    ],
)
def test_on_does_not_enable_what_this_version_does_not_support(
    version: str, host: HostTree, *, turned_on: bool
) -> None:
    """A K3s that starts with its data keeps its configuration, and the warning names the first release."""
    host.write(SETTINGS, "secrets-encryption: on\n")
    host.write(STATE_DB, "data", 0o600)
    host.options = ("--role", "server", "--k3s-version", version)
    found = host.seen("apply").only("secrets-not-encrypted")
    assert ("secrets-encryption: true" in host[DROPIN].read_text()) == turned_on
    assert (f"K3s {version} cannot encrypt" in found.message) != turned_on
    assert host.seen("check").only("secrets-not-encrypted") == found


def test_on_does_not_remove_the_option_from_the_first_start(host: HostTree) -> None:
    """The datastore of a new cluster can be on disk before the encryption configuration."""
    host.write(SETTINGS, "secrets-encryption: on\n")
    host.options = ("--role", "server", "--k3s-version", "v1.34.2+k3s1")
    assert host.seen("apply").findings == ()
    host.write(STATE_DB, "data", 0o600)
    assert host.seen("apply").with_status("changed") == set()
    assert "secrets-encryption: true" in host[DROPIN].read_text()


@pytest.mark.parametrize("provider", [ENCRYPTED, SECRETBOX])
def test_encryption_stays_enabled(provider: str, hardened: Hardened) -> None:
    host = hardened("server", "1.24")
    host.write(STATE_DB, "data", 0o600)
    host.write(CREDENTIALS, provider, 0o600)
    for version in ("1.24", "1.25", "1.34"):
        host.options = ("--role", "server", "--k3s-version", version)
        assert host.run("apply").code == 0
        assert "secrets-encryption: true" in host[DROPIN].read_text()


@pytest.mark.parametrize("state", [None, "", "{", '{"resources": []}', "[]", "null"])
def test_encryption_stays_enabled_if_its_state_could_not_be_determined(state: str | None, hardened: Hardened) -> None:
    """After an interrupted first start, the datastore can be on disk before the encryption configuration.

    The API server exits at such a file, which `apply` predicts.
    """
    host = hardened()
    host.write(STATE_DB, "data", 0o600)
    if state is not None:
        host.write(CREDENTIALS, state, 0o600)
    assert host.run("apply").code == (0 if state is None else 3)
    assert "secrets-encryption: true" in host[DROPIN].read_text()


@pytest.mark.parametrize("setting", ["off", "leave"])
def test_apply_reports_encryption_that_it_cannot_disable(setting: str, hardened: Hardened) -> None:
    """Without the option the API server has no key and can read no Secret."""
    host = hardened()
    host.write(STATE_DB, "data", 0o600)
    host.write(CREDENTIALS, ENCRYPTED, 0o600)
    host.write(SETTINGS, f"secrets-encryption: {setting}\n")
    done = host.run("apply")
    assert done.code != 0
    assert "secrets-encryption" in done.stdout + done.stderr


def test_a_server_that_joins_before_its_first_start_gets_a_warning(hardened: Hardened) -> None:
    """The option for a new cluster can contradict the existing one, so apply removes it and reports that."""
    host = hardened()
    host.write(CONFIG, JOINS[CONFIG])
    seen = host.seen("apply")
    assert seen.code == 0
    assert "secrets-encryption" not in host[DROPIN].read_text()
    assert "must be the same on all of its servers" in seen.only("secrets-not-encrypted").message


@pytest.mark.parametrize("setting", ["auto", "on", "off", "leave"])
def test_an_agent_never_has_the_option(setting: str, host: HostTree) -> None:
    """`k3s agent` rejects this option and exits."""
    host.options = ("--role", "agent", "--k3s-version", "1.34")
    host.write(SETTINGS, f"secrets-encryption: {setting}\n")
    seen = host.seen("apply")
    assert (seen.code, seen.findings) == (0, ())
    assert "secrets-encryption" not in host[DROPIN].read_text()


# --- revert ---


ONLY_ENCRYPTION = b"secrets-encryption: true\n"


def started(host: HostTree) -> HostTree:
    """Add the files of a K3s that ran once and encrypts."""
    host.write(STATE_DB, "data", 0o600)
    host.write(CREDENTIALS, ENCRYPTED, 0o600)
    return host


def without_comments(host: HostTree) -> bytes:
    """Return the drop-in without its comments."""
    return b"".join(line for line in host[DROPIN].read_bytes().splitlines(keepends=True) if line[:1] != b"#")


def differences(host: HostTree, pristine: HostTree) -> set[str]:
    """Return the paths that differ from the pristine host, except the files of K3s."""
    before = pristine.entries()
    now = {path: entry for path, entry in host.entries().items() if entry.kind == "file"}
    return {path for path, entry in now.items() if before.get(path) != entry} - {STATE_DB, CREDENTIALS}


@pytest.mark.parametrize("version", ["1.24", "1.34"])
@pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "forced"])
def test_revert_keeps_only_encryption_if_k3s_encrypts(
    version: str, force: tuple[str, ...], hardened: Hardened, pristine: HostTree
) -> None:
    """The drop-in names no deleted file and everything else is restored: K3s starts and reads its Secrets."""
    host = started(hardened("server", version))
    seen = host.seen("revert", *force)
    assert (seen.code, seen.items[DROPIN]) == (0, "changed")
    assert "only `secrets-encryption: true`" in seen.details[DROPIN]
    assert without_comments(host) == ONLY_ENCRYPTION
    assert host.entries()[DROPIN].mode == 0o600
    assert differences(host, pristine) == {DROPIN}


@pytest.mark.parametrize(
    ("path", "content"), [(CREDENTIALS, NOT_ENCRYPTED), (CONFIG, "secrets-encryption: true\n")], ids=["off", "operator"]
)
def test_revert_removes_the_rest_when_k3s_no_longer_needs_it(
    path: str, content: str, hardened: Hardened, pristine: HostTree
) -> None:
    """Revert deletes drop-in and journal after decryption, or if the operator's own file sets the option."""
    host = started(hardened())
    assert host.run("revert").code == 0
    before = host.entries()
    seen = host.seen("revert")
    assert (seen.code, seen.with_status("changed"), seen.items[DROPIN]) == (0, set(), "kept")
    assert host.entries() == before
    host.write(path, content)
    assert host.run("revert").code == 0
    assert differences(host, pristine) == {path} - {CREDENTIALS}
    assert STATE not in host.entries(with_state=True)


def test_an_interrupted_revert_is_completed(hardened: Hardened, pristine: HostTree, tmp_path: Path) -> None:
    """The journal has the remaining drop-in before the disk has it, so it is not an edit."""
    host = started(hardened())
    through = copied(host, tmp_path / "through")
    assert through.run("revert").code == 0
    (record,) = through[f"{STATE}/journal"].iterdir()
    shutil.copy(record, host[f"{STATE}/journal/{record.with_suffix('.begun').name}"])
    shutil.copy(through[DROPIN], host[DROPIN])
    assert host.seen("check").ids >= {"interrupted-run"}
    assert host.run("revert").code == 0
    assert without_comments(host) == ONLY_ENCRYPTION
    assert differences(host, pristine) == {DROPIN}
    assert [path.suffix for path in host[f"{STATE}/journal"].iterdir()] == [".json"]


@pytest.mark.parametrize("state", ["", "{", "[]"])
def test_revert_keeps_the_whole_drop_in_if_the_state_could_not_be_determined(state: str, hardened: Hardened) -> None:
    """Files that it names are also kept until the encryption configuration is readable."""
    host = started(hardened())
    host.write(CREDENTIALS, state, 0o600)
    before = host.entries()[DROPIN]
    seen = host.seen("revert", "--force")
    assert (seen.code, seen.items[DROPIN], seen.items[PSA]) == (4, "refused", "refused")
    assert f"{CREDENTIALS} does not show" in seen.details[DROPIN]
    assert host.entries()[DROPIN] == before
    host.write(CREDENTIALS, NOT_ENCRYPTED, 0o600)
    assert host.run("revert").code == 0
    assert DROPIN not in host.entries()


def test_a_forced_revert_keeps_an_edited_drop_in_as_a_backup(hardened: Hardened, pristine: HostTree) -> None:
    host = started(hardened())
    host.edit(DROPIN)
    edited = host[DROPIN].read_bytes()
    assert host.run("revert", "--force").code == 0
    assert without_comments(host) == ONLY_ENCRYPTION
    assert differences(host, pristine) == {DROPIN}
    assert [path.read_bytes() for path in host[f"{STATE}/backups"].iterdir()] == [edited]


def test_revert_does_not_restore_a_drop_in_without_encryption(host: HostTree) -> None:
    """Revert refuses to undo the run that enabled it, and keeps the files that the drop-in names."""
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
