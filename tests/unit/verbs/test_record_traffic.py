"""The record of who connects to the pods of a node, and what `impact` makes of those of all nodes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from agent.base.errors import HardenError, InputError
from agent.base.host import Host
from agent.base.host.connection_tracking import MOST_TRACKED
from agent.base.host.systemd import Systemd
from agent.base.linux.file_systems import TrackedConnection
from agent.base.model import Location
from agent.base.repair import Edit
from agent.base.times import parse_timestamp
from agent.base.value import replace
from agent.harden.changes.state import hash_of_machine
from agent.harden.settings.schema import DEFAULT_SETTINGS
from agent.reports import repair_texts
from agent.verbs.record_traffic import record_traffic, remove_record
from agent.verbs.traffic_records import (
    CONNECTIONS,
    MOST_ROWS,
    Record,
    merged,
    parse_record,
    read_records,
    record_content,
)
from tests.fake import Clock, fake_host
from tests.tree import Tree
from tests.unit.findings.impact.sample_cluster import BASE, Json, impact, node, pod, thing

PROGRAM = PurePosixPath("/usr/local/bin/k3s-harden")
START = parse_timestamp("2026-12-02T00:00:00Z")
SANDBOXES = {"10.42.1.5": "default/db-0", "10.42.1.9": "shop/web-5c-x"}
NETWORK = "/var/lib/cni/networks/cbr0"
BUNDLES = "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io"


def write_pods(tree: Tree, pods: dict[str, str]) -> None:
    for number, (address, name) in enumerate(pods.items()):
        sandbox = f"{number:064x}"
        tree.write(f"{NETWORK}/{address}", f"{sandbox}\r\neth0")
        parts = zip(("namespace", "name"), name.split("/"))
        annotations = {f"io.kubernetes.cri.sandbox-{part}": value for part, value in parts}
        tree.write(f"{BUNDLES}/{sandbox}/config.json", json.dumps({"annotations": annotations}))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path)
    tree.write("/etc/machine-id", "a" * 32)
    tree.write("/etc/hostname", "n1\n")
    tree.write("/etc/k3s-harden/config.yaml", "traffic: {record-until: 2026-12-09}\n")
    tree.write(f"{NETWORK}/last_reserved_ip.0", "10.42.1.9")
    write_pods(tree, SANDBOXES)
    return tree


def host_of(tree: Tree, clock: Clock, *seen: TrackedConnection, **more: Any) -> Host:
    return replace(fake_host(tree.root, clock=clock), connections=lambda: seen, **more)


def sample(host: Host) -> str:
    return "\n".join(record_traffic(host, PROGRAM))


def stored(tree: Tree) -> Record:
    return parse_record(tree.path(CONNECTIONS).read_bytes(), CONNECTIONS)


def to_db(client: str, port: int = 5432) -> TrackedConnection:
    return TrackedConnection("TCP", client, "10.42.1.5", port)


def test_connections_to_pods_of_the_node_are_kept_with_the_first_and_last_time(tree: Tree) -> None:
    clock = Clock(START)
    elsewhere = TrackedConnection("TCP", "10.42.1.9", "198.51.100.7", 443)
    host = host_of(tree, clock, to_db("10.42.1.9"), to_db("10.42.2.7"), elsewhere)
    sample(host)
    for _ in range(3):
        clock.sleep(60)
        sample(replace(host, connections=lambda: (to_db("10.42.2.7"),)))
    record = stored(tree)
    begin, later = int(START), int(START) + 180
    assert record.connections == {
        ("shop/web-5c-x", "default/db-0", 5432, "TCP"): (begin, begin),
        ("10.42.2.7", "default/db-0", 5432, "TCP"): (begin, later),
    }
    named = {(address, name): times for (address, _, name), times in record.pods.items()}
    assert named == dict.fromkeys(SANDBOXES.items(), (begin, later))
    assert (record.node, record.watched, record.is_full) == ("n1", 180, False)
    assert tree.path(CONNECTIONS).stat().st_mode & 0o777 == 0o600


def test_time_between_samples_that_are_far_apart_is_not_watched(tree: Tree) -> None:
    clock = Clock(START)
    host = host_of(tree, clock)
    for pause in (0, 60, 3600, 60):
        clock.sleep(pause)
        sample(host)
    assert stored(tree).watched == 120


def test_without_files_of_the_network_each_connection_is_kept_by_address(tree: Tree) -> None:
    (tree.path("/var/lib/cni")).rename(tree.path("/var/lib/other"))
    sample(host_of(tree, Clock(START), to_db("10.42.2.7"), TrackedConnection("TCP", "127.0.0.1", "127.0.0.1", 80)))
    assert [*stored(tree).connections] == [("10.42.2.7", "10.42.1.5", 5432, "TCP")]


def test_a_pod_without_a_name_is_recorded_by_its_address(tree: Tree) -> None:
    tree.write(f"{NETWORK}/10.42.1.7", "nowhere\r\neth0")
    sample(host_of(tree, Clock(START), TrackedConnection("TCP", "10.42.2.7", "10.42.1.7", 80)))
    assert [*stored(tree).connections] == [("10.42.2.7", "10.42.1.7", 80, "TCP")]


def test_a_clock_that_is_set_back_leaves_a_valid_record(tree: Tree) -> None:
    host = host_of(tree, Clock(START), to_db("10.42.2.7"))
    sample(host)
    sample(replace(host, now=lambda: START - 1000))
    assert stored(tree).connections[("10.42.2.7", "default/db-0", 5432, "TCP")] == (int(START), int(START))


def test_a_full_record_says_so_and_keeps_what_it_has(tree: Tree) -> None:
    clock = Clock(START)
    sample(host_of(tree, clock, to_db("10.42.2.7")))
    many = tuple(to_db(f"10.{number >> 8}.{number & 255}.1", 80) for number in range(MOST_ROWS + 5))
    assert "further connections are left out" in sample(host_of(tree, clock, *many))
    record = stored(tree)
    assert (len(record.connections), record.is_full) == (MOST_ROWS, True)
    assert ("10.42.2.7", "default/db-0", 5432, "TCP") in record.connections


@pytest.mark.parametrize("content", ["", "{}", '{"format": "k3s-harden connections 1",\n"node": "n', "\0" * 100])
def test_a_damaged_record_and_that_of_a_cloned_machine_begin_again(tree: Tree, content: str) -> None:
    host = host_of(tree, Clock(START), to_db("10.42.2.7"))
    tree.write(CONNECTIONS, content, 0o600)
    tree.path(CONNECTIONS).parent.chmod(0o700)
    sample(host)
    assert len(stored(tree).connections) == 1
    tree.write("/etc/machine-id", "b" * 32)
    sample(replace(host, connections=lambda: ()))
    assert not stored(tree).connections


@pytest.mark.parametrize("setting", ["", "traffic: {record-until: 2026-12-01}\n"])
def test_nothing_is_recorded_without_the_setting_and_after_the_day(tree: Tree, setting: str) -> None:
    tree.write("/etc/k3s-harden/config.yaml", setting)
    assert sample(host_of(tree, Clock(START), to_db("10.42.2.7"))).startswith("nothing is recorded")
    assert tree.entry(CONNECTIONS) is None


def test_a_day_that_is_too_far_is_an_error_of_the_settings(tree: Tree) -> None:
    tree.write("/etc/k3s-harden/config.yaml", "traffic: {record-until: 2027-03-05}\n")
    with pytest.raises(InputError, match=r"config.yaml: .*must be a day up to 2027-03-04; found 2027-03-05") as caught:
        sample(host_of(tree, Clock(START)))
    assert caught.value.repair.steps == (Edit(Location(DEFAULT_SETTINGS), "2027-03-05", "2027-03-04"),)


def test_a_kernel_that_refuses_is_an_error(tree: Tree) -> None:
    with pytest.raises(HardenError, match="cannot read the connections"):
        sample(replace(host_of(tree, Clock(START)), connections=lambda: None))


def test_the_record_is_removed_with_its_lock(tree: Tree) -> None:
    host = host_of(tree, Clock(START))
    sample(host)
    tree.write("/var/lib/k3s-harden/connections/n2.json", "{}")
    remove_record(host)
    assert [*tree.path(CONNECTIONS).parent.iterdir()] == []
    remove_record(host)


def test_a_job_of_cron_gets_no_advice_about_cron_and_is_removed_with_the_record(tree: Tree) -> None:
    """It would begin a new record."""
    host, job = host_of(tree, Clock(START)), "/etc/cron.d/k3s-harden-traffic"
    line = sample(host).partition("echo '")[2].partition("'")[0]
    remove_record(host)
    tree.write(job, f"{line}\n")
    assert "cron" not in sample(host)
    remove_record(host)
    assert (tree.entry(job), tree.entry(CONNECTIONS)) == (None, None)
    tree.write(job, "0 3 * * * root /opt/backup\n")
    remove_record(host)
    assert tree.entry(job)


def test_a_sample_that_the_kernel_cut_makes_the_record_incomplete(tree: Tree) -> None:
    elsewhere = TrackedConnection("TCP", "10.42.1.9", "198.51.100.7", 443)
    assert "a record has at most" in sample(host_of(tree, Clock(START), *[elsewhere] * MOST_TRACKED))
    assert (len(stored(tree).connections), stored(tree).is_full) == (0, True)


def test_the_timer_is_started_once_and_otherwise_cron_is_proposed(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    for verb in ("start", "stop"):
        monkeypatch.setattr(Systemd, verb, lambda _, unit, verb=verb: asked.append((verb, unit)))
    clock = Clock(START)
    assert "to repeat it by cron: echo '* * * * * root /usr/local/bin/k3s-harden record-traffic >/dev/null'" in sample(
        host_of(tree, clock)
    )
    monkeypatch.setattr(Systemd, "is_running", True)
    host = host_of(tree, clock)
    for pause, expected in ((60, []), (60, []), (3600, ["start"]), (8 * 86400, ["start", "stop"])):
        clock.sleep(pause)
        sample(host)
        assert [verb for verb, _ in asked] == expected


def _samples(tree: Tree, number: int) -> None:
    host = host_of(tree, Clock(START), to_db(f"10.42.3.{number}"), lock_wait=30.0)
    for _ in range(30):
        sample(host)


def test_two_at_once_lose_nothing_and_a_kill_leaves_a_valid_record(tree: Tree) -> None:
    start = get_context("fork").Process
    both = [start(target=_samples, args=(tree, number)) for number in (1, 2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert {client for client, *_ in stored(tree).connections} == {"10.42.3.1", "10.42.3.2"}
    for _ in range(5):
        process = start(target=_samples, args=(tree, 3))
        process.start()
        process.join(0.02)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join(10)
        assert stored(tree).connections
    sample(host_of(tree, Clock(START)))
    assert sorted(path.name for path in tree.path(CONNECTIONS).parent.iterdir()) == [
        "connections.json",
        "connections.lock",
    ]


# The records of all nodes.

NODES = [node("n1", "10.0.0.1", server=True), node("n2", "10.0.0.2")]
DB = pod("db-0", "default", "10.42.1.5", labels={"app": "db"})
BATCH = thing(
    "CronJob",
    "backup",
    "shop",
    spec={
        "jobTemplate": {"spec": {"template": {"metadata": {"labels": {"app": "backup"}}, "spec": {"containers": []}}}}
    },
)


def machine_of(name: str) -> str:
    return {"n1": "1", "n2": "2"}[name] * 32


def nodes() -> list[Json]:
    for item in NODES:
        item["status"]["nodeInfo"] = {"machineID": machine_of(item["metadata"]["name"])}
    return NODES


def record(name: str, watched: int = 90_000, **more: Any) -> Record:
    begin = int(START)
    return Record(name, hash_of_machine(machine_of(name)), begin, begin + 90_000, watched, **more)


def written(directory: Path, *records: Record) -> dict[PurePosixPath, Record]:
    for one in records:
        (directory / f"{one.node}.json").write_bytes(record_content(one))
    return read_records(Host.tree_at("/").machine_tree, PurePosixPath(directory))


def outcome(
    directory: Path, *records: Record, objects: tuple[Json, ...] = (DB, BATCH), now: float = START + 90_000
) -> Any:
    from agent.cluster.reader import read_running
    from tests.unit.findings.impact.sample_cluster import Api

    base = [item for item in BASE if item["kind"] != "Node"] + nodes()
    found = merged(written(directory, *records), read_running(Api(base)).objects["nodes"], now)
    done = impact(*objects, base=base, connections=found.connections, is_watched=found.is_complete)
    return done, found


T = (int(START) + 10, int(START) + 90)


def test_a_short_lived_client_is_named_by_the_node_that_had_its_address(tmp_path: Path) -> None:
    own = record("n1", connections={("10.42.2.7", "default/db-0", 5432, "TCP"): T})
    other = record("n2", pods={("10.42.2.7", "s1", "shop/backup-2941-x7"): T, ("10.42.2.7", "s2", "shop/late"): (
        T[1] + 900, T[1] + 950)})  # fmt: skip
    done, found = outcome(tmp_path, own, other)
    (entry,) = [entry for entry in done.breaks if entry.is_certain]
    assert str(entry.object) == "default/Pod/db-0"
    assert [rule.setting for rule in entry.allow] == [
        "{namespace: default, pods: {app: db}, ports: [5432], from: {namespace: shop, pods: {app: backup}}}"
    ]
    assert found.is_complete


def test_an_address_of_a_pod_that_no_record_names_is_not_certain(tmp_path: Path) -> None:
    own = record("n1", connections={("10.42.2.9", "default/db-0", 5432, "TCP"): T})
    other = record("n2", pods={("10.42.2.7", "s1", "shop/backup-2941-x7"): T})
    done, _ = outcome(tmp_path, own, other)
    (entry,) = done.breaks
    assert (entry.is_certain, entry.allow) == (False, ())
    assert entry.reasons[0].found == "1 from former pod, 10.42.2.9 to port 5432"


def test_connections_of_a_removed_namespace_and_to_a_removed_pod_do_not_count(tmp_path: Path) -> None:
    gone = {("old/web", "default/db-0", 5432, "TCP"): T, ("shop/backup-1-x", "default/old", 5432, "TCP"): T}
    done, _ = outcome(tmp_path, record("n1", connections=gone), record("n2"))
    assert not done.breaks


def test_ports_without_a_client_are_determined_by_a_day_of_each_node(tmp_path: Path) -> None:
    def undetermined(*records: Record, days: int = 1) -> int:
        for path in tmp_path.iterdir():
            path.unlink()
        done, _ = outcome(
            tmp_path, *records, objects=(pod("web", "default", "10.42.1.6"), BATCH), now=START + days * 86_400
        )
        return sum(not entry.is_certain for entry in done.breaks)

    assert undetermined(record("n1"), record("n2")) == 0
    assert undetermined(record("n1")) == 1
    assert undetermined(record("n1"), record("n2"), days=40) == 1
    assert undetermined(record("n1"), record("n2", watched=3600)) == 1
    assert undetermined(record("n1"), record("n2", is_full=True)) == 1


Spoil = Callable[[Path], object]


def spoiled(change: Callable[[dict[str, Any]], object]) -> Spoil:
    def write(path: Path) -> None:
        shape = json.loads(path.read_bytes())
        change(shape)
        path.write_text(json.dumps(shape))

    return write


def replaced(make: Spoil) -> Spoil:
    def write(path: Path) -> None:
        path.unlink()
        make(path)

    return write


def _row(*values: object) -> Spoil:
    return spoiled(lambda shape: shape["connections"].append([*values]))


HOSTILE: dict[str, tuple[Spoil, str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-20]), r":\d+: it is damaged or incomplete"),
    "empty": (lambda path: path.write_bytes(b""), "it is damaged or incomplete"),
    "NUL bytes": (lambda path: path.write_bytes(b"\0" * 4096), "it is damaged or incomplete"),
    "nested": (lambda path: path.write_bytes(b"[" * 1_000_000), "it is damaged or incomplete"),
    "ten million lines": (lambda path: path.write_bytes(b"\n" * 10_000_000), "10000000 bytes"),
    "a sparse terabyte": (lambda path: os.truncate(path, 1 << 40), "1099511627776 bytes"),
    "symlink": (replaced(lambda path: path.symlink_to("/etc/passwd")), "found a symlink"),
    "FIFO": (replaced(os.mkfifo), "FIFO"),
    "directory": (replaced(Path.mkdir), "directory"),
    "another format": (lambda path: path.write_text('{"format": "x"}'), "found another format"),
    "list": (lambda path: path.write_text("[]"), "found another format"),
    "port": (_row("10.42.1.1", "10.42.1.5", 70_000, "TCP", 1, 2), "found 'port 70000'"),
    "address": (_row("10.42.1", "10.42.1.5", 70, "TCP", 1, 2), "found .*10.42.1"),
    "name": (_row("../..", "10.42.1.5", 70, "TCP", 1, 2), r"found 'pod \.\./\.\.'"),
    "escape": (_row("\x1b[2J/x", "10.42.1.5", 70, "TCP", 1, 2), r"found 'pod \\"),
    "protocol": (_row("10.42.1.1", "10.42.1.5", 70, "x;y", 1, 2), "protocol"),
    "times": (_row("10.42.1.1", "10.42.1.5", 70, "TCP", 2, 1), "times 2 to 1"),
    "infinite": (_row("10.42.1.1", "10.42.1.5", 70, "TCP", float("inf"), float("nan")), "times inf"),
    "columns": (_row("10.42.1.1"), "found"),
    "unknown key": (spoiled(lambda shape: shape.update(more=1)), "more"),
    "watched": (spoiled(lambda shape: shape.update(watched=1 << 30)), "watched"),
    "another machine": (spoiled(lambda shape: shape.update(machine="0" * 16)), "machine ID that no node has"),
    "twice": (lambda path: (path.parent / "n1-copy.json").write_bytes(path.read_bytes()), "second record of node n1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_no_record_of_this_cluster_is_rejected_by_name(tmp_path: Path, name: str) -> None:
    written(tmp_path, record("n1", connections={("10.42.2.7", "default/db-0", 5432, "TCP"): T}), record("n2"))
    spoil, expected = HOSTILE[name]
    spoil(tmp_path / "n1.json")
    with pytest.raises(InputError, match=expected) as raised:
        outcome(tmp_path, record("n2"))
    assert f"{tmp_path}/n1" in raised.value.message
    assert repair_texts.text(raised.value.repair)
    assert raised.value.message.isprintable()


def test_a_directory_without_records_is_an_error(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="found no file; expected the record of each node"):
            read_records(Host.tree_at("/").machine_tree, PurePosixPath(place))
