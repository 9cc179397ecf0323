"""The page about a cluster that runs, followed literally on real components with 22 workloads, up to restricted pods.

Before each step, `impact` names what breaks. After it, all pods are created again, and exactly that is broken.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.k8s import pods
from tests.k8s.components import CONTAINERD
from tests.k8s.deploy import DeployController
from tests.k8s.node import DATA_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("server")]

PAGE = (Path(__file__).parents[2] / "docs/howto/running-cluster.md").read_text()
UNTIL = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 100 * 86_400))
SETTINGS = "/etc/k3s-harden/config.yaml"
NAMESPACES = ("default", "kube-system", "kube-public", "shop", "team")
CLIENT = "client"
KINDS = ("restricted", "other", "root", "host")
"""Deployments of each namespace by what their pods do."""
EVERYWHERE = set(NAMESPACES)
OUR_NAME: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "intra-namespace", "namespace": "default"},
    "spec": {"podSelector": {"matchLabels": {"app": "nothing"}}},
}
"""A policy of the site with the name of one in policy.yaml."""


def commands(heading: str) -> list[str]:
    """Return the commands of all shell blocks below a heading of the page."""
    section = PAGE.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    return "".join(re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)).splitlines()


def deployment(name: str, own: str, at: int) -> dict[str, Any]:
    """Return a Deployment, whose pods end before others are created."""
    template = pods.pod(name, own, f"tcp:{8080 if name != 'host' else 9000 + at}", as_root=name == "root")
    if name == "host":
        template["spec"]["hostNetwork"] = True
    if name == CLIENT:
        targets = " ".join(f"http://restricted.{target}:8080" for target in NAMESPACES)
        template["spec"]["containers"][0]["env"] = [{"name": "TARGETS", "value": targets}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": own},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"type": "Recreate"},
            "template": {"metadata": template["metadata"], "spec": template["spec"]},
        },
    }


def service(own: str) -> dict[str, Any]:
    metadata = {"name": "restricted", "namespace": own}
    spec = {"selector": {"app": "restricted"}, "ports": [{"port": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


class Cluster:
    """A server with workloads, and what the page does with it."""

    def __init__(self, node: Node, controller: DeployController) -> None:
        self.node = node
        self.controller = controller
        self.owns = [(name, own) for own in NAMESPACES for name in KINDS] + [(CLIENT, "shop"), (CLIENT, "team")]
        self.broken: set[str] = set()
        """The Deployments without pods, as NAMESPACE/NAME."""

    def start(self) -> None:
        self.node.write("/run/k3s-server", Path("/bin/sleep").read_bytes(), mode=0o755)
        self.show_process()
        self.node.create_namespaces("shop", "team")
        self.node.apply(*map(service, NAMESPACES))
        self.node.apply(*(deployment(name, own, at) for at, (name, own) in enumerate(self.owns)))
        self.until_only(set())

    def show_process(self) -> None:
        """Start a process with the name of K3s', which the stand-in does not have."""
        self._process = self.node.start(
            "bash", "-c", 'exec -a "k3s server" /run/k3s-server infinity', log=self.node.log.with_name("process.log")
        )

    def settings(self, text: str) -> None:
        self.node.write(SETTINGS, text)

    def run(self, command: str) -> dict[str, Any]:
        """Run a command of the page; return the report of this program."""
        words = command.removeprefix("sudo ").split()
        if words[0] == "k3s-harden":
            done = self.node.harden(*words[1:], "--format", "json", timeout=120)
            assert done.returncode in (0, 3), done.stdout + done.stderr
            report: dict[str, Any] = json.loads(done.stdout)
            return report
        others: dict[str, Callable[[], None]] = {
            "systemctl restart k3s": self.restart,
            "k3s etcd-snapshot save": lambda: None,  # the stand-in has SQLite
            f'sqlite3 {DATA_DIR}/server/db/state.db ".backup /root/state.db"': self.snapshot,
        }
        others[command.removeprefix("sudo ")]()
        return {}

    def snapshot(self) -> None:
        # The program sqlite3 is not on each machine that runs the tests. It does the same.
        script = (
            "import sqlite3, sys; copy = sqlite3.connect('/root/state.db'); sqlite3.connect(sys.argv[1]).backup(copy);"
            " print(copy.execute('SELECT count(*) FROM kine').fetchone()[0])"
        )
        done = self.node.run(sys.executable, "-c", script, f"{DATA_DIR}/server/db/state.db", check=True)
        assert int(done.stdout) > 100

    def hide_process(self) -> None:
        """End that process."""
        self.node.run("pkill", "-TERM", "-f", "^k3s server")
        self._process.wait(20)

    def restart(self) -> None:
        self.node.run("pkill", "-TERM", "-f", "tests.k8s.k3s server")
        self.hide_process()
        self.node.until_exit(60)
        self.node.path(CONTAINERD).unlink(missing_ok=True)
        self.node.start_server()
        self.show_process()
        self.node.wait_for_api()

    def announced(self) -> list[dict[str, Any]]:
        """Return what breaks, as `impact` names it, without what is broken already."""
        return [item for item in self.run("sudo k3s-harden impact")["breaks"] if item["when"] != "now"]

    def create_pods_again(self) -> None:
        for own in NAMESPACES:
            self.node.kubectl("rollout", "restart", "deployment", f"--namespace={own}")

    def until_only(self, broken: set[str]) -> None:
        """Wait until these Deployments have no pod, and all others are ready with their newest pods."""

        def states() -> set[str]:
            found = set()
            for item in self.node.get("deployments", "--all-namespaces")["items"]:
                status, metadata = item["status"], item["metadata"]
                is_seen = status.get("observedGeneration") == metadata["generation"]
                if not (is_seen and status.get("readyReplicas") == status.get("updatedReplicas") == 1):
                    found.add(f"{metadata['namespace']}/{metadata['name']}")
            return found

        self.node.until(f"only these are broken: {sorted(broken)}", lambda: states() == broken, seconds=150)
        self.broken = broken

    def reached(self) -> set[str]:
        """Return the namespaces whose pod a client in shop reaches."""
        items = self.node.get("pods", "--all-namespaces", "--selector=app=restricted")["items"]
        by_address = {f"tcp:{item['status']['podIP']}:8080": item["metadata"]["namespace"] for item in items}
        words = ("--namespace=shop", f"deployment/{CLIENT}", "--", *pods.connect(*by_address))
        lines = self.node.kubectl("exec", *words).splitlines()
        return {by_address[address] for address, answer in map(str.split, lines) if answer == "true"}

    def with_token(self) -> set[str]:
        """Return the namespaces whose newest pods have a token."""
        found = set()
        for item in self.node.get("pods", "--all-namespaces", "--selector=app=restricted")["items"]:
            if any(volume["name"].startswith("kube-api-access") for volume in item["spec"].get("volumes", ())):
                found.add(item["metadata"]["namespace"])
        return found

    def step(self, stages: str, *, restart: bool) -> set[str]:
        """Do the next step as the page says; return the Deployments that break, as announced before."""
        self.settings(stages)
        see, harden, check = commands("4. The next step")
        assert [command.split()[2] for command in (see, harden, check)] == ["impact", "apply", "check"]
        items = [item for item in self.announced() if item["topic"] == "Pod Security" and item["determined"]]
        named = {f"{item['namespace']}/{item['name']}" for item in items}
        postponed = {item["id"] for item in self.run(harden)["items"] if item["status"] == "POSTPONED"}
        assert postponed == {
            f"stages.{key}" for key in re.findall(r"(pod-security|network-policies|service-accounts): \w", stages)
        }
        findings = {found["id"] for found in self.run(check)["findings"]}
        assert ("restart-needed" in findings) is restart
        if restart:
            self.restart()
        return named


def stages(*parts: str) -> str:
    return f"stages: {{until: {UNTIL}, {', '.join(parts)}}}\n" if parts else ""


@pytest.fixture
def cluster(new_node: Callable[..., Node]) -> Iterator[Cluster]:
    node = new_node()
    node.start_server()
    node.wait_until_ready()
    with DeployController(node) as controller:
        found = Cluster(node, controller)
        found.start()
        yield found
        found.hide_process()


ON_OFF = ("network-policies: off", "service-accounts: off")


def test_the_page_hardens_the_pods_of_a_running_cluster_step_by_step(cluster: Cluster) -> None:
    for command in (*commands("1. Take a snapshot"), *commands("2. See what breaks")):
        cluster.run(command)
    cluster.node.apply(OUR_NAME)
    postpone_everything(cluster)
    harden_pods(cluster)


def postpone_everything(cluster: Cluster) -> None:
    """Nothing breaks."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    cluster.settings(block.replace("2027-03-31", UNTIL))
    *_, report = map(cluster.run, commands("3. Harden the first server"))
    assert sorted(item["id"] for item in report["items"] if item["status"] == "POSTPONED") == [
        "stages.network-policies",
        "stages.pod-security",
        "stages.service-accounts",
    ]
    cluster.create_pods_again()
    cluster.until_only(set())
    assert (cluster.reached(), cluster.with_token()) == (EVERYWHERE, EVERYWHERE)


def harden_pods(cluster: Cluster) -> None:
    exempt = {"kube-system", "kube-public"}
    for level, kinds in (("baseline", {"host"}), ("restricted", {"host", "root"})):
        parts = [f"pod-security: {level}"] * (level == "baseline")
        named = cluster.step(stages(*parts, *ON_OFF), restart=True)
        broken = {f"{name}/{kind}" for name in EVERYWHERE - exempt for kind in kinds}
        assert named == broken - cluster.broken
        cluster.create_pods_again()
        cluster.until_only(broken)
    assert (cluster.reached(), cluster.with_token()) == (EVERYWHERE, EVERYWHERE)
