"""The page about a cluster that runs, followed literally on real components with 22 workloads, and all the way back.

Before each step, `impact` names what breaks. After it, exactly that is broken. Each way back restores the host's files.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.verbs.traffic_records import CONNECTIONS, parse_record
from tests.k8s import pods
from tests.k8s.components import CONTAINERD
from tests.k8s.deploy import DeployController
from tests.k8s.namespaces import REQUIRED
from tests.k8s.node import DATA_DIR, Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("server")]

PAGE, REVERT = (
    (Path(__file__).parents[2] / f"docs/howto/{name}.md").read_text() for name in ("running-cluster", "revert")
)
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
RECORDS = "/root/connections"
UNTIL = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 100 * 86_400))
SETTINGS = "/etc/k3s-harden/config.yaml"
NAMESPACES = ("default", "kube-system", "kube-public", "shop", "team")
CLIENT = "client"
KINDS = ("restricted", "other", "root", "host")
"""Deployments of each namespace by what their pods do."""
EVERYWHERE = set(NAMESPACES)
CLIENTS = ("shop", "team")
UNKNOWN_CLIENTS = "unknown clients"
POLICED = {"default", "kube-system", "kube-public"}
EXEMPT = {"kube-system", "kube-public"}
RESTRICTED_PODS = "/api/v1/pods?labelSelector=app%3Drestricted"
DEFAULT_ACCOUNTS = "/api/v1/serviceaccounts?fieldSelector=metadata.name%3Ddefault"
OUR_NAME: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "intra-namespace", "namespace": "default"},
    "spec": {"podSelector": {"matchLabels": {"app": "nothing"}}},
}
"""A policy of the site with the name of one in policy.yaml."""


def commands(heading: str) -> list[str]:
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
        self.owns = [(name, own) for own in NAMESPACES for name in KINDS] + [(CLIENT, own) for own in CLIENTS]
        self.broken: set[str] = set()
        """The Deployments without pods, as NAMESPACE/NAME."""
        self.before: dict[tuple[str, ...], dict[str, tuple[int, bytes]]] = {}
        """The files after the step with these stages."""

    def start(self) -> None:
        self.node.write("/run/k3s-server", Path("/bin/sleep").read_bytes(), mode=0o755)
        self.show_process()
        self.node.create_namespaces("shop", "team")
        self.node.apply(*map(service, NAMESPACES))
        self.node.apply(*(deployment(name, own, at) for at, (name, own) in enumerate(self.owns)))
        # K3s writes it; `impact` sees from it that K3s enforces NetworkPolicies.
        self.node.kubectl("annotate", "node", self.node.name, 'k3s.io/node-args=["server"]')
        self.until_only(set())

    def show_process(self) -> None:
        """Start a process with the name of K3s', which the stand-in does not have."""
        self._process = self.node.start(
            "bash", "-c", 'exec -a "k3s server" /run/k3s-server infinity', log=self.node.log.with_name("process.log")
        )

    def settings(self, text: str) -> None:
        self.node.write(SETTINGS, text)

    def run(self, command: str) -> dict[str, Any]:
        assert command in PAGE + REVERT
        words = command.removeprefix("sudo ").split()
        if words[0] == "k3s-harden":
            places = [RECORDS if word == "connections" else word for word in words[1:]]
            done = self.node.harden(*places, "--format", "json", timeout=120)
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
        self.node.run("pkill", "-TERM", "-f", "^k3s server")
        self._process.wait(20)

    def restart(self) -> None:
        self.node.run("pkill", "-TERM", "-f", "tests.k8s.k3s server")
        self.hide_process()
        self.node.until_exit()
        self.node.path(CONTAINERD).unlink(missing_ok=True)
        self.node.start_server()
        self.show_process()
        self.node.wait_for_api()

    def broken_now(self, when: str = "now") -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for item in self.run("sudo k3s-harden impact")["breaks"]:
            if item["when"] == when and item["determined"]:
                found.setdefault(item["topic"], set()).add(f"{item['namespace']}/{item['kind']}/{item['name']}")
        return found

    def announced(self) -> dict[str, set[str]]:
        """Return what breaks by topic, as `impact` names it, without what is broken already.

        What unknown clients could use has a topic of its own.
        """
        found: dict[str, set[str]] = {}
        for item in self.run("sudo k3s-harden impact")["breaks"]:
            if item["when"] != "now":
                topic = item["topic"] if item["reasons"][0]["field"] != "ports" else UNKNOWN_CLIENTS
                found.setdefault(topic, set()).add(f"{item['namespace']}/{item['kind']}/{item['name']}")
        return found

    def create_pods_again(self, *names: str) -> None:
        """Create the pods of these Deployments again, by default of all."""
        for own in NAMESPACES:
            which = [f"deployment/{name}" for name in names] or ["deployment"]
            self.node.kubectl("rollout", "restart", *which, f"--namespace={own}")

    def until_only(self, broken: set[str]) -> None:
        """Wait until these Deployments have no pod, and all others are ready with their newest pods."""

        def states() -> set[str]:
            found = set()
            for item in self.listed("/apis/apps/v1/deployments"):
                status, metadata = item["status"], item["metadata"]
                is_seen = status.get("observedGeneration") == metadata["generation"]
                if not (is_seen and status.get("readyReplicas") == status.get("updatedReplicas") == 1):
                    found.add(f"{metadata['namespace']}/{metadata['name']}")
            return found

        self.node.until(f"only these are broken: {sorted(broken)}", lambda: states() == broken, seconds=150)
        self.broken = broken

    def reached(self) -> dict[str, set[str]]:
        items = self.listed(RESTRICTED_PODS)
        by_address = {f"tcp:{item['status']['podIP']}:8080": item["metadata"]["namespace"] for item in items}
        found = {}
        for own in CLIENTS:
            words = (f"--namespace={own}", f"deployment/{CLIENT}", "--", *pods.connect(*by_address))
            lines = self.node.kubectl("exec", *words).splitlines()
            found[own] = {by_address[address] for address, answer in map(str.split, lines) if answer == "true"}
        return found

    def until_reached(self, namespaces: set[str]) -> None:
        """Wait until the clients reach these namespaces, and no other."""
        expected = dict.fromkeys(CLIENTS, namespaces)
        self.node.until(f"the clients reach {sorted(namespaces)}", lambda: self.reached() == expected)

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Return modes and content of what `apply` can write, except directories that K3s fills."""
        found = {}
        for top in ("/etc/rancher", "/etc/sysctl.d", f"{DATA_DIR}/server"):
            for path in sorted(self.node.path(top).rglob("*")):
                if not {"db", "logs", "tls", "cred"} & {*path.parts}:
                    content = path.read_bytes() if path.is_file() else b""
                    found[str(path.relative_to(self.node.path("/")))] = path.stat().st_mode, content
        for key in REQUIRED:
            path = self.node.path(f"/proc/sys/{key.replace('.', '/')}")
            found[key] = 0, path.read_bytes()
        return found

    def objects(self) -> dict[str, Any]:
        """Return the default accounts and the NetworkPolicies, without what changes with each write."""
        found = {}
        for path in (DEFAULT_ACCOUNTS, "/apis/networking.k8s.io/v1/networkpolicies"):
            for item in self.listed(path):
                metadata = item.pop("metadata")
                kept = {name: metadata.get(name) for name in ("annotations", "labels")}
                found[f"{path} {metadata['namespace']}/{metadata['name']}"] = {**item, **kept}
        return found

    def listed(self, path: str) -> list[dict[str, Any]]:
        return list(self.node.client.get(6444, path).json["items"])

    def with_token(self) -> set[str]:
        found = set()
        for item in self.listed(RESTRICTED_PODS):
            if any(volume["name"].startswith("kube-api-access") for volume in item["spec"].get("volumes", ())):
                found.add(item["metadata"]["namespace"])
        return found

    def step(self, *parts: str, restart: bool = False) -> dict[str, set[str]]:
        """Do the next step as the page says; return what breaks by topic, as announced before."""
        self.settings(stages(*parts))
        see, harden, check, accepting = commands("5. The next step")
        assert [command.split()[2] for command in (see, harden, check)] == ["impact", "apply", "check"]
        named = self.announced()
        if named.keys() - {"default ServiceAccounts"}:
            files = self.files()
            assert {found["id"] for found in self.run(harden)["findings"]} >= {"breaks-at-once"}
            assert self.files() == files
            harden = accepting
        self.harden(harden, parts, restart=restart)
        return named

    def go_back(self, *parts: str, restart: bool = False) -> None:
        """Set an earlier value, as the page says; the files are those of the step with it."""
        self.settings(stages(*parts))
        self.harden("sudo k3s-harden apply", parts, restart=restart)
        assert self.files() == self.before[parts]

    def harden(self, command: str, parts: tuple[str, ...], *, restart: bool) -> None:
        report = self.run(command)
        assert {item["id"] for item in report["items"] if item["status"] == "POSTPONED"} == {
            f"stages.{part.partition(':')[0]}" for part in parts
        }
        findings = {found["id"] for found in self.run("sudo k3s-harden check")["findings"]}
        assert ("restart-needed" in findings) is restart
        if restart:
            self.restart()
        self.controller.until_applied()
        self.before.setdefault(parts, self.files())


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


POLICIES, ACCOUNTS = "network-policies: off", "service-accounts: off"
WARN, BASELINE = "pod-security: warn", "pod-security: baseline"


def test_the_page_hardens_a_running_cluster_step_by_step_and_goes_all_the_way_back(cluster: Cluster) -> None:
    watch(cluster)
    for command in (*commands("2. Take a snapshot"), *commands("3. See what breaks")):
        cluster.run(command)
    cluster.node.apply(OUR_NAME)
    files, objects = cluster.files(), cluster.objects()
    postpone_everything(cluster)
    harden_pods(cluster)
    enforce_policies(cluster)
    take_tokens(cluster)
    go_back(cluster, objects)
    revert(cluster)
    assert (cluster.files(), cluster.objects()) == (files, objects)


def watch(cluster: Cluster) -> None:
    """The record has the names of both ends of each connection that the clients made."""
    cluster.settings(BLOCKS[0].replace("2027-03-31", time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86_400))))
    assert cluster.reached() == dict.fromkeys(CLIENTS, EVERYWHERE)
    command, *_ = commands("1. Watch for a week")
    done = cluster.node.harden(*command.split()[2:])
    assert (done.returncode, "this was one sample: systemd does not run" in done.stdout) == (0, True), done
    content = cluster.node.path(CONNECTIONS).read_bytes()
    connections = parse_record(content, CONNECTIONS).connections
    seen = {(title(client), title(target)) for client, target, port, _ in connections if port == 8080}
    between = {(f"{own}/{CLIENT}", f"{other}/restricted") for own in CLIENTS for other in EVERYWHERE}
    assert {ends for ends in seen if ends[0].endswith(CLIENT)} == between
    cluster.node.write(f"{RECORDS}/node-1.json", content, mode=0o600)
    cluster.settings("")


def title(pod: str) -> str:
    """Return the Deployment of a pod."""
    return pod.rsplit("-", 2)[0]


def postpone_everything(cluster: Cluster) -> None:
    """Nothing breaks."""
    cluster.settings(BLOCKS[1].replace("2027-03-31", UNTIL))
    *_, report = map(cluster.run, commands("4. Harden the first server"))
    assert sorted(item["id"] for item in report["items"] if item["status"] == "POSTPONED") == [
        "stages.network-policies",
        "stages.pod-security",
        "stages.service-accounts",
    ]
    cluster.create_pods_again()
    cluster.until_only(set())
    cluster.until_reached(EVERYWHERE)
    assert cluster.with_token() == EVERYWHERE


def harden_pods(cluster: Cluster) -> None:
    cluster.before[WARN, POLICIES, ACCOUNTS] = cluster.files()
    for level, kinds in ((BASELINE, {"host"}), ("", {"host", "root"})):
        named = cluster.step(*filter(None, [level]), POLICIES, ACCOUNTS, restart=True)
        broken = {f"{own}/{kind}" for own in EVERYWHERE - EXEMPT for kind in kinds}
        new = {title.replace("/", "/Deployment/") for title in broken - cluster.broken}
        assert named == {"Pod Security": new}
        # They run, and cannot come back.
        assert cluster.broken_now("when its pods are created again") == {"Pod Security": new}
        cluster.create_pods_again()
        cluster.until_only(broken)
        assert cluster.broken_now() == {"Pod Security": {title.replace("/", "/Deployment/") for title in broken}}
    cluster.until_reached(EVERYWHERE)
    assert cluster.with_token() == EVERYWHERE


def enforce_policies(cluster: Cluster) -> None:
    named = cluster.step(ACCOUNTS)
    assert named == {
        "NetworkPolicies": {f"{own}/Deployment/{CLIENT}" for own in CLIENTS}
        | {"default/NetworkPolicy/intra-namespace"},
        # Their Services have ports that the pods do not declare.
        UNKNOWN_CLIENTS: {f"{own}/Deployment/restricted" for own in POLICED},
    }
    cluster.until_reached(EVERYWHERE - POLICED)
    cluster.until_only(cluster.broken)
    assert cluster.broken_now()["NetworkPolicies"] == {f"{own}/Deployment/{CLIENT}" for own in CLIENTS}


def take_tokens(cluster: Cluster) -> None:
    named = cluster.step()
    assert named == {"default ServiceAccounts": {f"{own}/ServiceAccount/default" for own in EVERYWHERE}}
    unchanged = cluster.objects()
    cluster.run("sudo k3s-harden service-accounts --dry-run")
    assert cluster.objects() == unchanged
    cluster.run("sudo k3s-harden service-accounts")
    cluster.create_pods_again("restricted")
    cluster.until_only(cluster.broken)
    assert cluster.with_token() == set()


def go_back(cluster: Cluster, objects: Mapping[str, Any]) -> None:
    """Each step back, and the pods that it brings back."""
    cluster.go_back(ACCOUNTS)
    cluster.run("sudo k3s-harden service-accounts --undo")
    cluster.go_back(POLICIES, ACCOUNTS)
    cluster.until_reached(EVERYWHERE)
    assert cluster.objects() == objects
    for level, kind, broken in ((BASELINE, "root", {"host"}), (WARN, "host", set())):
        cluster.go_back(level, POLICIES, ACCOUNTS, restart=True)
        cluster.create_pods_again(kind, "restricted")
        cluster.until_only({f"{own}/{left}" for own in EVERYWHERE - EXEMPT for left in broken})
    assert cluster.with_token() == EVERYWHERE


def revert(cluster: Cluster) -> None:
    """Also from policies that are enforced."""
    cluster.step(WARN, ACCOUNTS)
    cluster.until_reached(EVERYWHERE - POLICED)
    report = cluster.run("sudo k3s-harden revert")
    logs = f"{DATA_DIR}/server/logs"
    assert {item["id"] for item in report["items"] if item["status"] not in ("changed", "compliant")} == {logs}
    assert "objects-remain" not in {found["id"] for found in report["findings"]}
    cluster.until_reached(EVERYWHERE)
