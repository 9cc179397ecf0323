"""Reasons on the host for which components exit: the real component exits, and check predicted it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest

from agent.findings.machine.reason import REASONS
from tests.k8s.binaries import real_k3s
from tests.k8s.namespaces import NAME, Namespaces
from tests.k8s.node import Node
from tests.k8s.outcome import Trials

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("trials")]

LISTEN = (
    "import os, socket, sys, time; server = socket.create_server(('', int(sys.argv[1])));"
    " print(os.getpid(), flush=True); time.sleep(120)"
)


def reasons(node: Namespaces) -> list[str]:
    """Return the reasons on the host that check reports as preventing the start."""
    run = node.harden("check", "--role", "server", "--format", "json")
    return [found["id"] for found in json.loads(run.stdout)["findings"] if found["id"] in REASONS]


def test_a_ready_node_has_no_reason(server: Node) -> None:
    """No false alarm while all components run, or else the components would be right and check wrong."""
    assert server.is_ready()
    assert server.check_problems() == []
    assert set(reasons(server)) <= (set() if real_k3s() else {"port-in-use"})


@pytest.mark.parametrize(("component", "port"), [("kube-controller-manager", 10257), ("kube-scheduler", 10259)])
def test_a_component_exits_if_its_port_is_in_use(trials: Trials, component: str, port: int) -> None:
    """The finding names the port and the program."""
    node = trials._node
    log = node.place / f"listener-{port}.log"
    listener = node.start(sys.executable, "-c", LISTEN, str(port), log=log)
    try:
        while not log.read_text():
            assert listener.poll() is None
        assert "port-in-use" in reasons(node)
        outcome = trials.outcome(component, {})
    finally:
        node.run("kill", log.read_text().strip(), check=True)
        listener.wait()
    assert outcome.exited
    assert "address already in use" in outcome.output


@pytest.mark.parametrize("name", ["my_node", "-node", "node."])
def test_the_api_server_rejects_a_node_with_an_invalid_name(
    server: Node, new_node: Callable[..., Node], name: str
) -> None:
    """The kubelet creates its Node with this name, so it never registers. In upper case, K3s lowers it."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    answer = server.try_kubectl("create", "--filename=-", text=json.dumps(node))
    assert "metadata.name: Invalid value" in answer.stderr
    other = new_node()
    other.config({"config.yaml": {"node-name": name}})
    assert "node-name-invalid" in reasons(other)
    other.config({"config.yaml": {"node-name": NAME.upper()}})
    assert "node-name-invalid" not in reasons(other)
