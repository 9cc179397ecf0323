"""Each step of hardening a running cluster has a way back: the bytes are those before, and check names the restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.base.host import Host
from agent.base.host.probe import K3sProcess
from agent.base.report import ItemStatus
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.k3s.roles_and_versions import Role
from agent.verbs import check_and_apply
from agent.verbs.revert import revert
from tests.fake import Clock, fake_host, in_memory

REQUEST = Request(Overrides(role="server", k3s_version="1.34"))
STEPS = (
    "pod-security: warn, network-policies: off, service-accounts: off",
    "pod-security: baseline, network-policies: off, service-accounts: off",
    "network-policies: off, service-accounts: off",
    "service-accounts: off",
    "",
)
"""The stages of docs/howto/running-cluster.md, one after the other."""
CALM = (ItemStatus.CHANGED, ItemStatus.COMPLIANT, ItemStatus.POSTPONED)
NOON = 1_800_000_000.0


class Server:
    """A server on which K3s runs since NOON, without an API server."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock(NOON)

    def at(self, step: str) -> None:
        """Set the stages, and apply an hour later."""
        path = self.root / "etc/k3s-harden/config.yaml"
        path.write_text(f"stages: {{until: 2027-03-31, {step}}}\n" if step else "")
        self.clock.seconds += 3600
        report = check_and_apply.apply(self.host(), REQUEST, accept_impact=True)
        assert {item.status for item in report.items} <= {*CALM}, report.items

    def host(self, *, since: float | None = None) -> Host:
        running = () if since is None else (K3sProcess(1, Role.SERVER, since),)
        return fake_host(self.root, processes=running, clock=self.clock, is_live=True)

    def files(self) -> dict[str, bytes]:
        """Return the content of each file but those of this program's own directory."""
        paths = (path for path in self.root.rglob("*") if path.is_file())
        relative = {str(path.relative_to(self.root)): path.read_bytes() for path in paths}
        return {name: data for name, data in relative.items() if not name.startswith(("var/lib/k3s-harden", "run"))}


@pytest.fixture
def server() -> Iterator[Server]:
    with in_memory() as root:
        (root / "etc/k3s-harden").mkdir(parents=True)
        (root / "etc/k3s-harden/config.yaml").write_text("")
        (root / "etc/rancher/k3s").mkdir(parents=True)
        (root / "etc/rancher/k3s/config.yaml").write_text("node-name: a\n")
        (root / "var/lib").mkdir(parents=True)
        yield Server(root)


def test_the_bytes_after_each_way_back_are_those_before(server: Server) -> None:
    unhardened = server.files()
    seen = []
    for step in STEPS:
        server.at(step)
        seen.append(server.files())
    assert all(one != other for one, other in zip(seen[:3], seen[1:4]))
    for step, before in zip(STEPS[-2::-1], seen[-2::-1]):
        server.at(step)
        assert server.files() == before, step
    server.at(STEPS[-1])
    assert server.files() == seen[-1]
    assert int(revert(server.host(), last=False, force=False).exit_code) == 0
    assert server.files() == unhardened


@pytest.mark.parametrize(("earlier", "later"), [(1, 0), (2, 1), (2, 0), (0, 1)])
def test_another_pod_security_stage_needs_a_restart(server: Server, earlier: int, later: int) -> None:
    """K3s reads psa.yaml when it starts, also one that is lowered."""
    server.at(STEPS[earlier])
    started = server.clock.seconds + 60
    server.at(STEPS[later])
    for since, is_needed in ((started, True), (server.clock.seconds + 60, False)):
        found = [
            f for f in check_and_apply.check(server.host(since=since), REQUEST).findings if f.id == "restart-needed"
        ]
        assert [("psa.yaml" in finding.message) for finding in found] == [True] * is_needed
