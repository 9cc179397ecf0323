"""secrets-encryption: on where a cluster begins, kept where it is on, never switched under a live datastore."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.scenarios.host_tree import CONFIG, DATA_DIR, DROPIN, SETTINGS, HostTree

if TYPE_CHECKING:
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
