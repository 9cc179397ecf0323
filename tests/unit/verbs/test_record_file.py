"""The signed record that the drift check writes, read by `fleet` as it is collected."""

from __future__ import annotations

import json
import stat
from pathlib import Path, PurePosixPath

import pytest

from agent.assess.assessment import ControlStatus
from agent.base.report import no_progress
from agent.base.times import timestamp
from agent.cluster.fleet.members import Requirement
from agent.cluster.fleet.published import FleetNode
from agent.harden.changes.state import PUBLICATION
from agent.verbs.fleet import Sources
from agent.verbs.fleet import fleet as read_fleet
from tests.ssh_key import new_key
from tests.unit.assessed import CERTIFICATES, KEYS, verdict
from tests.unit.verbs.test_publish import FAILED, Node
from tests.unit.verbs.test_publish import node as node  # noqa: PLC0414 - a fixture

RECORD = "/var/lib/k3s-harden/record.json"


@pytest.fixture
def key(tmp_path: Path, node: Node) -> Path:
    """A key, and beside it the file of allowed signers."""
    node.put("/usr/bin/ssh-keygen", "", 0o755)
    path = new_key(tmp_path / "key")
    (tmp_path / "signers").write_text(f"berlin {path.with_suffix('.pub').read_text()}")
    return path


def settings(key: object, more: str = "") -> str:
    return f"drift: {{record-file: {RECORD}, record-key: {key}}}\n{more}"


def collected(node: Node, key: Path) -> FleetNode:
    """Return the node of the record, which a site collects as berlin.json."""
    directory = key.parent / "collected"
    directory.mkdir(exist_ok=True)
    (directory / "berlin.json").write_bytes(node.root.joinpath(RECORD[1:]).read_bytes())
    signers = PurePosixPath(key.with_name("signers"))
    (found,) = read_fleet(
        {}, Sources(paths=[PurePosixPath(directory)]), Requirement(1e12), no_progress, signers=signers
    ).nodes
    return found


def test_the_record_has_the_result_of_the_check_and_a_valid_signature(node: Node, key: Path) -> None:
    """It is public, and nothing is sent to the Node."""
    assert [line for line in node.check(verdict(KEYS), FAILED, settings=settings(key)) if "record" in line] == []
    found = collected(node, key)
    assert (found.full_name, found.role, found.verified != "") == (f"berlin/{found.name}", "server", True)
    assert found.failed_controls == (CERTIFICATES.id,)
    assert found.assessed == timestamp(node.clock.seconds)
    assert stat.S_IMODE((node.root / RECORD[1:]).stat().st_mode) == 0o644
    assert node.publish().startswith("nothing is published")
    assert node.api.asked == []


def test_drift_is_in_each_later_record(node: Node, key: Path) -> None:
    """Until the control passes again."""
    node.check(verdict(CERTIFICATES), settings=settings(key))
    node.check(FAILED, settings=settings(key))
    since = timestamp(node.clock.seconds)
    node.check(FAILED, settings=settings(key))
    record = json.loads(json.loads((node.root / RECORD[1:]).read_bytes())["record"])
    assert record["metadata"]["annotations"]["k3s-harden.internal/drifting-since"] == since
    node.check(verdict(CERTIFICATES), settings=settings(key))
    assert "drifting-since" not in (node.root / RECORD[1:]).read_text()


@pytest.mark.parametrize("key_of_settings", ["null", "/nonexistent/key"])
def test_a_record_that_cannot_be_signed_is_written_and_does_not_count(
    node: Node, key: Path, key_of_settings: str
) -> None:
    """The log has the reason, unless the settings want no signature."""
    lines = node.check(verdict(KEYS), settings=settings(key_of_settings))
    expected = 0 if key_of_settings == "null" else 1
    assert sum(line.startswith("the record is not signed: cannot sign ") for line in lines) == expected
    assert collected(node, key).reason == "the record is not signed"


def test_a_record_and_the_node_are_written_independently(node: Node, key: Path) -> None:
    """A directory that does not exist stops no publication. A node without a Node has a record."""
    lines = node.check(verdict(KEYS), settings="drift: {record-file: /var/lib/none/r.json}\npublish: node\n")
    assert sum("cannot write /var/lib/none/r.json" in line for line in lines) == 1
    assert node.publish().startswith("published to Node node-1")
    node.put("/etc/rancher/k3s/config.yaml", "disable-agent: true\n")
    lines = node.check(verdict(KEYS), settings=settings(key, "publish: node\n"))
    assert any("it has no Node" in line for line in lines)
    assert collected(node, key).verified
    assert not (node.root / str(PUBLICATION)[1:]).exists()


def test_publish_none_removes_what_was_published_although_a_record_is_written(node: Node, key: Path) -> None:
    node.check(verdict(KEYS), settings="publish: node\n")
    node.publish()
    node.check(verdict(KEYS, ControlStatus.FAIL), settings=settings(key))
    assert node.publish().startswith("removed the condition")
    assert collected(node, key).verified
