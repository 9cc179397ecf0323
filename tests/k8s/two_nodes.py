"""A cluster of two nodes whose pods reach each other, and a client outside of it.

Each node and the client have a network namespace; veth pairs connect them. As with flannel, connections between pods
keep their addresses, and those to other addresses get that of the node.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.k8s.binaries import Binaries
from tests.k8s.node import DATA_DIR, Node

OUTSIDE = "192.0.2.9"
"""The address of the client."""
NETWORK = "/var/lib/rancher/k3s/agent/etc/cni/net.d/10-bridge.conflist"
_OPEN = {"kube-apiserver-arg": ["bind-address=0.0.0.0"]}


class TwoNodes:
    """A server and an agent, as a context manager. K3s of both runs; nothing is hardened."""

    def __init__(self, place: Path, binaries: Binaries) -> None:
        self.server = Node(place / "server", binaries)
        self.agent = Node(place / "agent", binaries, name="node-2", ip="10.99.0.2")
        self._place = place
        self._tools = binaries.path("tools")

    def __enter__(self) -> TwoNodes:
        self.server.__enter__()
        self.agent.__enter__()
        self._client = subprocess.Popen(("unshare", "--net", "sleep", "900"), start_new_session=True)
        self._connect()
        self.server.config({"30-open.yaml": _OPEN})
        self.server.start_server()
        self.server.wait_until_ready()
        self._join()
        return self

    def __exit__(self, *words: object) -> None:
        self._client.kill()
        self._client.wait(20)
        self.agent.__exit__(*words)
        self.server.__exit__(*words)

    def connect_from_outside(self, addresses: Iterable[str]) -> str:
        command = ("nsenter", f"--net=/proc/{self._client.pid}/ns/net", str(self._tools), "connect", *addresses)
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    def _connect(self) -> None:
        """Connect the three network namespaces, and route addresses of pods to their nodes."""
        one, two, client = self.server.number, self.agent.number, self._client.pid
        _link(one, "peer", two, "peer")
        _link(one, "out", client, "one")
        _link(two, "out", client, "two")
        for own, other, pods in ((self.server, self.agent, "10.42.1.0/24"), (self.agent, self.server, "10.42.0.0/24")):
            _ip(own.number, f"route add {other.ip} dev peer src {own.ip}")
            _ip(own.number, f"route add {pods} via {other.ip} dev peer onlink")
            _ip(own.number, f"route add {OUTSIDE} dev out src {own.ip}")
            masquerade = "iptables -t nat -A POSTROUTING -s 10.42.0.0/16 ! -d 10.42.0.0/16 -j MASQUERADE"
            own.run(*masquerade.split(), check=True)
        _ip(client, f"address add {OUTSIDE}/32 dev lo")
        _ip(client, "link set lo up")
        for address, device in ((self.server.ip, "one"), (self.agent.ip, "two")):
            _ip(client, f"route add {address} dev {device} src {OUTSIDE}")
        # Addresses that kube-proxy serves, and that no interface has.
        _ip(client, f"route add 203.0.113.0/24 via {self.server.ip} dev one src {OUTSIDE}")

    def _join(self) -> None:
        """Start the agent with certificates of the server's authorities."""
        source, target = (node.path(f"{DATA_DIR}/server/tls") for node in (self.server, self.agent))
        for path in (*source.glob("*-ca.*"), *source.glob("service*.key"), *source.glob("etcd/server-ca.*")):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        url = f"https://{self.server.ip}:6444"
        own = ("--node-name=node-2", f"--node-ip={self.agent.ip}", f"--api-server={url}")
        self.agent.start_server(*own, verb="agent")
        self.server.until("node-2 is Ready", lambda: self.server.is_ready("node-2"))
        for node in (self.server, self.agent):
            # The bridge would masquerade connections to pods of the other node.
            node.until("the network is configured", node.path(NETWORK).exists)
            node.write(NETWORK, node.path(NETWORK).read_text().replace('"ipMasq": true', '"ipMasq": false'), mode=0o600)


def _link(one: int, first: str, two: int, second: str) -> None:
    """Create a veth pair between two network namespaces."""
    _ip(one, f"link add {first} type veth peer name {second} netns {two}")
    _ip(one, f"link set {first} up")
    _ip(two, f"link set {second} up")


def _ip(process: int, words: str) -> None:
    command = ("nsenter", f"--net=/proc/{process}/ns/net", "ip", *words.split())
    subprocess.run(command, check=True, capture_output=True, timeout=20)
