"""`fleet --allowed-signers`: whose key counts for which node of which site, wherever the record is."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path, PurePosixPath
from shutil import rmtree
from typing import NamedTuple

import pytest

from agent.assess.evidence.host_assessment import load_baseline
from agent.base.errors import InputError
from agent.base.host import Host
from agent.base.report import no_progress
from agent.cluster.fleet.members import Fleet, Requirement
from agent.cluster.fleet.snapshot import Record, Snapshot, node_of_record, parse_keys
from agent.reports.fleet_report import present_fleet
from agent.reports.formats import Format, Verbosity
from agent.verbs.fleet import Sources, snapshot
from agent.verbs.fleet import fleet as verb
from tests.unit.cluster.fleet.sites import Sites

SITES = ("berlin", "oslo")
NODES = ("n1", "n2")
KEYS = (*SITES, *("/".join(names) for names in product(SITES, NODES)), "stranger")
"""The names of keys in the file of allowed signers; it does not have the last one."""


class Place(NamedTuple):
    """Where a record is, and the site that it then has; empty for none."""

    path: str
    site: str
    named: str = ""
    """What is passed to fleet, below the directory: all of it if it is empty."""


PLACES = (
    Place("records/{site}.json", "{site}"),
    Place("records/{site}/{node}.json", "{site}"),
    Place("records/{site}/{other}.json", "{site}"),
    Place("records/{site}/{other}/{node}.json", "{site}"),
    Place("records/{site}/{other}/{other}.json", "{site}"),
    Place("records/{site}.json/{other}.json", "{site}"),
    Place("records/{site}/.json", "{site}"),
    Place("records/.json", ""),
    Place("records/.json/{site}.json", ""),
    Place("records/{site}.json", "{site}", "records/{site}.json"),
    Place("records/{site}/{other}.json", "{other}", "records/{site}/{other}.json"),
    Place("records/{site}/{other}.json", "{other}", "records/{site}"),
    Place("records/{site}.json", "", "-"),
)
"""With a site, the other site, and a node."""


class Signed:
    """Signed records of each node by each key, made once."""

    def __init__(self, directory: Path) -> None:
        self.sites = Sites(directory, keys=len(KEYS))
        self.directory = directory
        self.keys = dict(zip(KEYS, self.sites.keys))
        lines = (f"{name} {key.with_suffix('.pub').read_text()}" for name, key in [*self.keys.items()][:-1])
        self.sites.signers.write_text("".join(lines))
        self._made: dict[tuple[str, str], str] = {}

    def record(self, node: str, key: str) -> str:
        if (node, key) not in self._made:
            self._made[node, key] = self.sites.signed(self.sites.text("any", name=node), self.keys[key])
        return self._made[node, key]

    def fleet(self, named: str = "records", text: str = "", lines: str = "", before: Snapshot | None = None) -> Fleet:
        """Read a file or directory, or a text as standard input, with other lines of allowed signers."""
        path, signers = PurePosixPath(self.directory / named), self.sites.signers
        if lines:
            signers = self.directory / "lines"
            signers.write_bytes(lines.encode())
        sources = Sources([io.StringIO(text)]) if named == "-" else Sources(paths=[path])
        return verb({}, sources, Requirement(26 * 3600), no_progress, signers=PurePosixPath(signers), before=before)

    def at(self, path: str, text: str, named: str = "", lines: str = "", before: Snapshot | None = None) -> Fleet:
        """Read a text at a path, where it is alone."""
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        try:
            return self.fleet(named or "records", text, lines, before)
        finally:
            rmtree(self.sites.records)
            self.sites.records.mkdir()


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    """The keys of two sites and four nodes, and that of a stranger."""
    return Signed(tmp_path_factory.mktemp("keys"))


def snapshot_of(fleet: Fleet, directory: Path) -> Snapshot:
    """Return the result as a later run reads it."""
    with (directory / "before").open("w") as file:
        present_fleet(fleet, Format.JSON, Verbosity.NORMAL, file)
    return snapshot(PurePosixPath(directory / "before"))


def compliant(fleet: Fleet) -> list[str]:
    """Return the nodes that count. If others are not read or not verified, the exit code is 3."""
    found = [node.full_name for node in fleet.nodes if node.result == "compliant"]
    is_judged = all(node.verified for node in fleet.nodes)
    assert (is_judged and bool(fleet.nodes)) == (fleet.exit_code == 0)
    return found


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.named or 'all'}:{place.path}")
def test_a_record_counts_only_with_the_key_of_its_site_or_of_its_node_there(signed: Signed, place: Place) -> None:
    for site, node, key in product(SITES, NODES, KEYS):
        names = {"site": site, "other": SITES[site == SITES[0]], "node": node}
        path, expected, named = (text.format(**names) for text in place)
        found = signed.at(path, signed.record(node, key), named)
        counts = bool(expected) and key in (expected, f"{expected}/{node}")
        assert compliant(found) == [f"{expected}/{node}"] * counts, (path, named, key, found.nodes)
        assert [row.cluster for row in found.nodes] == [expected]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.named or 'all'}:{place.path}")
def test_what_has_no_signature_never_counts(signed: Signed, place: Place) -> None:
    for site, node in product(SITES, NODES):
        names = {"site": site, "other": SITES[site == SITES[0]], "node": node}
        path, expected, named = (text.format(**names) for text in place)
        valid = json.loads(signed.record(node, expected or site))
        added = json.loads(valid["record"])
        bare = {"kind": "List", "items": [added]}
        for text in ({"record": valid["record"]}, {"record": valid["record"], "signature": ""}, bare):
            assert compliant(signed.at(path, json.dumps(text), named)) == []
        added["metadata"]["name"] = "added"
        for text in ({**bare, **valid}, {**valid, **bare}):
            found = signed.at(path, json.dumps(text), named)
            assert compliant(found) == [f"{expected}/{node}"] * bool(expected)
            assert {row.name: row.reason for row in found.nodes}["added"] == "the record is not signed"


@pytest.mark.parametrize(
    "name",
    [
        *("n2", "N1", "n1 ", " n1", "n1\0", "n1\n", "n1/", "n1,n2", "./n1", "../oslo/n1", "../berlin/n1", "", "*"),
        *("n?", "\uff4e1", "n1\u200b", "n\u03011", "n1" + "x" * 300, "n1\ud800", "berlin/n1", "oslo/n1"),
    ],
    ids=ascii,
)
def test_a_key_of_a_node_signs_for_no_other_name(signed: Signed, name: str) -> None:
    record = signed.sites.signed(signed.sites.text("any", name=name), signed.keys["berlin/n1"])
    for path in ("records/berlin/n1.json", "records/berlin.json"):
        assert compliant(signed.at(path, record)) == []


def test_the_last_one_of_two_equal_keys_is_verified_and_shown(signed: Signed) -> None:
    """The bytes that are signed are those that are parsed."""
    text = signed.sites.text("any", name="n1")
    twice = text.replace('"name":"n1"', '"name":"n1","name":"n2"')
    found = signed.at("records/berlin/n1.json", signed.sites.signed(twice, signed.keys["berlin/n1"]))
    assert compliant(found) == []
    valid, forged = json.loads(signed.record("n1", "berlin")), json.dumps(signed.sites.text("any", name="n2"))
    both = json.dumps(valid).removesuffix("}") + f', "record": {forged}}}'
    assert compliant(signed.at("records/berlin.json", both)) == []


@pytest.mark.parametrize(
    "path",
    [
        *("Berlin.json", "BERLIN/n1.json", "berlin .json", " berlin.json", "berlin.json.json", "berlin\u200b.json"),
        *("b\u0435rlin.json", "b\u0301erlin.json", "berlin%2Fn1.json", "berlin,oslo.json", "*.json", "!berlin.json"),
        *("oslo\nberlin.json", '"berlin".json', "..json", "...json", "-.json", "~berlin.json", ".berlin.json"),
        *("berlin\\oslo.json", "oslo\\..\\berlin.json", "berl\udcffin.json", "berlin/..json", "berlin/oslo\n.json"),
        *("berlin.json/oslo.json", "berlin/oslo/oslo.json", "berlin/oslo.json/oslo.json"),
    ],
    ids=ascii,
)
def test_a_site_has_exactly_the_name_of_the_first_part_of_the_path(signed: Signed, path: str) -> None:
    assert compliant(signed.at(f"records/{path}", signed.record("n1", "oslo"))) == []


def test_a_link_has_the_site_of_its_own_path_and_a_linked_directory_is_not_read(signed: Signed) -> None:
    """It could lead to the records of another site, or to files of the reader."""
    records, valid = signed.sites.records, signed.record("n1", "oslo")
    (signed.directory / "outside").mkdir()
    (signed.directory / "outside/oslo.json").write_text(valid)
    (records / "berlin.json").symlink_to(signed.directory / "outside/oslo.json")
    (records / "linked").symlink_to(signed.directory / "outside")
    found = signed.at("records/oslo.json", valid)
    assert compliant(found) == ["oslo/n1"]
    assert sorted(row.full_name for row in found.nodes) == ["berlin/n1", "linked/linked", "oslo/n1"]
    assert found.problems == ["not read or not verified: berlin/n1, linked/linked"]


@pytest.mark.parametrize(
    "options",
    [
        *('berlin valid-before="20200101"', 'berlin valid-after="20990101"', 'berlin namespaces="file"'),
        *("# berlin", "#berlin", "*", "b*", "!berlin", '"oslo berlin"', "oslo berlin", "Berlin"),
        *("berlin/n2", "oslo/n1", "berlin cert-authority", ",", "oslo,,", "n1", "/n1"),
        *("oslo ssh-ed25519 AAAA x\u2028berlin", "oslo x\rberlin"),
        *("oslo x\x0bberlin", "oslo x\x0cberlin", "oslo x\x1eberlin", "oslo x\x85berlin"),
    ],
    ids=ascii,
)
def test_only_a_line_of_ssh_keygen_with_the_name_allows_a_key(signed: Signed, options: str) -> None:
    """A site that sends its public key could otherwise add a line in the comment of the key."""
    lines = f"{options} {signed.keys['berlin'].with_suffix('.pub').read_text()}"
    for path, named in (("records/berlin/n1.json", ""), ("records/.json", ""), ("records/n1", "-")):
        assert compliant(signed.at(path, signed.record("n1", "berlin"), named, lines)) == []


@pytest.mark.parametrize("namespace", ["file", "git", "k3s-harden2"])
def test_a_signature_for_something_else_does_not_count(signed: Signed, namespace: str) -> None:
    record = signed.sites.signed(signed.sites.text("any", name="n1"), signed.keys["berlin"], namespace)
    assert compliant(signed.at("records/berlin.json", record)) == []


def test_a_huge_signature_is_cut(signed: Signed) -> None:
    """ssh-keygen would need longer than all other sites."""
    valid = json.loads(signed.record("n1", "berlin"))
    head, _, tail = valid["signature"].partition("\n")
    for signature in (f"{head}\n{'A' * (8 << 20)}", f"{head}\n{'A' * 20_000}\n{tail}"):
        found = signed.at("records/berlin.json", json.dumps({**valid, "signature": signature}))
        assert [row.reason for row in found.nodes] == [
            "the signature is not valid: Couldn't parse signature: missing footer"
        ]


def _open(path: Path) -> None:
    path.chmod(0o666)


def _of_group(path: Path) -> None:
    os.chown(path, 0, 4242)
    path.chmod(0o660)


def _of_user(path: Path) -> None:
    os.chown(path, 4242, 0)


def _in_open_directory(path: Path) -> None:
    path.parent.chmod(0o777)


@pytest.mark.parametrize("change", [_open, _of_group, _of_user, _in_open_directory])
def test_what_decides_about_signatures_is_refused_if_others_can_change_it(
    signed: Signed, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """The allowed signers, and an earlier output, which contains what is not verified again."""
    if change in (_of_group, _of_user) and os.geteuid():
        pytest.skip("only root can give away a file")
    file = tmp_path / "inner/file"
    file.parent.mkdir()
    file.touch()
    change(file)
    for name in ("report", "report.sig"):
        (signed.directory / name).touch()
    path, baseline = PurePosixPath(file), PurePosixPath(signed.directory / "report")
    reads: tuple[Callable[[], object], ...] = (
        lambda: verb({}, Sources([io.StringIO()]), Requirement(1), no_progress, signers=path),
        lambda: snapshot(path),
        lambda: load_baseline(Host.real(), baseline, path),
    )
    for read in reads:
        with pytest.raises(InputError, match=f"cannot use {file}: it decides "):
            read()


def test_an_unsigned_record_neither_leaks_nor_moves_the_time_of_the_last_one(signed: Signed) -> None:
    """Otherwise an older record would count after it, or no later one."""
    old, new = (
        signed.sites.signed(signed.sites.text("any", hours=hours, name="n1"), signed.keys["berlin"]) for hours in (5, 1)
    )
    path = "records/berlin/n1.json"
    first = snapshot_of(signed.at(path, new), signed.directory)
    node = json.loads(signed.sites.text("any", name="n1"))
    for time in ("", "x", "2001-01-01T00:00:00Z", "2099-01-01T00:00:00Z"):
        node["metadata"]["annotations"] |= {
            "k3s.io/node-args": json.dumps(["server", "--token", "secret"]),
            "k3s-harden.internal/assessed": time,
        }
        found = signed.at(path, json.dumps({"record": json.dumps(node)}), before=first)
        assert compliant(found) == []
        after = snapshot_of(found, signed.directory)
        assert after.seen == first.seen
        assert "is older than one seen" in signed.at(path, old, before=after).nodes[0].reason
        assert compliant(signed.at(path, new, before=after)) == ["berlin/n1"]


def test_a_record_with_an_uid_is_a_clone_as_any_other(signed: Signed) -> None:
    """Only the API server gives an object its UID."""
    texts = (signed.sites.text("any", name=name) for name in NODES)
    first, second = (
        signed.sites.signed(text.replace('"metadata":{', '"metadata":{"uid":"one",'), signed.keys["berlin"])
        for text in texts
    )
    (signed.sites.records / "berlin.json").write_text(first)
    found = signed.at("records/berlin/n2.json", second)
    assert compliant(found) == []
    assert {row.reason for row in found.nodes} == {f"the same machine is also berlin/{name}" for name in NODES}


@pytest.mark.parametrize("path", ["records/berlin.json", "records/berlin/n1.json", "records/berlin/deep/oslo.json"])
def test_what_an_earlier_run_has_verified_is_not_verified_again(signed: Signed, path: str) -> None:
    """The digest is that of a signature that is not valid, so that verifying it would be seen."""
    keys = parse_keys(signed.sites.signers.read_text())
    record = Record(signed.sites.text("any", name="n1"), "not valid")
    known = node_of_record(record, "berlin", keys, {}, lambda *_: "").verified
    before = Snapshot("", {}, {"berlin/n1": known}, {})
    assert compliant(signed.at(path, json.dumps(record._asdict()))) == []
    assert compliant(signed.at(path, json.dumps(record._asdict()), before=before)) == ["berlin/n1"]
