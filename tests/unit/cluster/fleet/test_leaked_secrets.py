"""Secrets in K3s' annotation: they are a finding, and printed nowhere."""

from __future__ import annotations

import io

import pytest

from agent.cluster.fleet.members import Requirement, make_fleet
from agent.cluster.node_status import parse_node
from agent.reports.fleet_report import present_fleet
from agent.reports.formats import FLEET_FORMATS
from tests.unit.cluster.fleet.sample_nodes import NOW, node

SECRET = "hunter2hunter2"  # noqa: S105 - the test's own


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["-t", SECRET], "--token"),
        ([f"-t={SECRET}"], "--token"),
        (["--token", SECRET], "--token"),
        (["--agent-token", SECRET], "--agent-token"),
        (["--datastore-endpoint", f"postgres://k3s:{SECRET}@db/k3s"], "--datastore-endpoint"),
        (["--etcd-s3-secret-key", SECRET], "--etcd-s3-secret-key"),
        (["--unknown", f"K10abc::server:{SECRET}"], "--unknown"),
        (["--kubelet-arg", f"token={SECRET}"], "--kubelet-arg"),
        (["--token", "********"], ""),
        (["--token", ""], ""),
        (["--token"], ""),
        (["--token-file", "/etc/rancher/k3s/token"], ""),
        (["--datastore-endpoint", "********"], ""),
        (["--etcd-s3-proxy", "http://proxy:3128"], ""),
    ],
)
def test_a_secret_fails_the_node_and_is_never_printed(words: list[str], option: str) -> None:
    """Everybody who can read Nodes has it. Other nodes show the differences, and also not the secret."""
    items = [node("leaky", arguments=words), node("other"), node("third", arguments=["--token", "********"])]
    fleet = make_fleet(map(parse_node, items), NOW.timestamp(), Requirement(1e9, is_compliant=True))
    found = next(row for row in fleet.nodes if row.name == "leaky")
    expected = f"the annotation k3s.io/node-args has the secret of {option}" if option else ""
    assert (found.result, found.reason) == ("failed" if option else "compliant", expected)
    assert bool(fleet.exit_code) is bool(option)
    for output_format in FLEET_FORMATS:
        stream = io.StringIO()
        present_fleet(fleet, output_format, stream)
        assert SECRET not in stream.getvalue()
