"""The Kubernetes STIG on real components: each rule that is decided here, met and not met.

tests/stig_states.py has the failing states; the passing one is a server that `apply` has hardened.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.assess.frameworks.references import Decision, stig_rules
from agent.k3s.roles_and_versions import Component
from tests import k3s_tree, stig_states
from tests.k8s import pods
from tests.k8s.assessments import in_cluster
from tests.k8s.binaries import Binaries
from tests.k8s.client import DATA_DIR
from tests.k8s.namespaces import ADDRESS, NAME
from tests.k8s.node import Node
from tests.k8s.outcome import Trials, kill
from tests.stig_states import Effect, WrongArgument, WrongEtcd

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("server")]

CONFIG = "/etc/rancher/k3s/config.yaml"
NOBODY = 65534
STATIC_PODS = "V-242397"
"""K3s sets a directory of static pods, which `apply` does not change."""
CLIENT = DATA_DIR / "server/tls/etcd/client"
ETCD_RULES = {*stig_states.rules(stig_states.ETCD), f"V-{stig_states.ETCD_DATA}"}
ONLY_WITH_ETCD = ETCD_RULES | {"V-242429", "V-242430", "V-242431"}
"""With those about the API server's connection to it; test_secrets.py starts that API server."""


def checklist(node: Node, *words: str) -> dict[str, str]:
    done = node.harden("assess", "--format", "cklb", *words)
    assert done.returncode in (0, 3), done.stderr
    (stig,) = json.loads(done.stdout)["stigs"]
    return {rule["group_id"]: rule["status"] for rule in stig["rules"]}


def test_a_hardened_server_meets_each_rule_that_is_decided_here(server: Node) -> None:
    """Its datastore is SQLite, so the rules about etcd do not apply."""
    found = checklist(server, "--cluster")
    expected = {rule.id: "not_a_finding" for rule in stig_rules() if rule.decision is Decision.HERE}
    expected |= {STATIC_PODS: "open"} | dict.fromkeys(ONLY_WITH_ETCD, "not_applicable")
    assert {rule: found[rule] for rule in expected} == expected


def test_a_kubelet_without_static_pods_meets_its_rule(trials: Trials, server: Node) -> None:
    outcome = trials.outcome("kubelet", {CONFIG: "kubelet-arg: [pod-manifest-path=]\n"})
    assert outcome.ready, outcome.last_words
    server.config({"95-stig.yaml": {"kubelet-arg+": ["pod-manifest-path="]}})
    try:
        assert checklist(server)[STATIC_PODS] == "not_a_finding"
    finally:
        server.path(f"{CONFIG}.d/95-stig.yaml").unlink()


@pytest.mark.parametrize("component", sorted({state.component for state in stig_states.ARGUMENTS}))
def test_a_component_runs_with_values_that_open_rules(trials: Trials, component: Component) -> None:
    """So the verdicts describe states that exist."""
    states = [state for state in stig_states.ARGUMENTS if state.component is component and state.effect is Effect.RUNS]
    files: dict[str, str | None] = {
        CONFIG: yaml.safe_dump(stig_states.configuration(states)),
        stig_states.TOKENS: "token,user,1\n",
    }
    outcome = trials.outcome(component.value, files)
    assert outcome.ready, outcome.last_words
    assert {state.argument for state in states} <= {text.lstrip("-") for text in outcome.arguments}


@pytest.mark.parametrize(
    "state",
    [state for state in stig_states.ARGUMENTS if state.effect is not Effect.RUNS],
    ids=lambda state: state.rules,
)
def test_a_component_does_not_serve_with_a_value_that_opens_a_rule(trials: Trials, state: WrongArgument) -> None:
    files: dict[str, str | None] = {CONFIG: yaml.safe_dump(stig_states.configuration([state]))}
    exits = state.effect is Effect.EXITS
    outcome = trials.outcome(state.component.value, files, seconds=60 if exits else 8)
    assert (outcome.ready, outcome.exited) == (False, exits), outcome.last_words


@contextmanager
def changed(path: Path, mode: int) -> Iterator[None]:
    """Give a file another mode, or another owner if it is 0."""
    before = path.stat()
    if mode:
        path.chmod(mode)
    else:
        os.chown(path, NOBODY, NOBODY)
    try:
        yield
    finally:
        os.chown(path, before.st_uid, before.st_gid)
        path.chmod(before.st_mode)


def test_a_file_that_a_running_component_reads_opens_its_rules(server: Node) -> None:
    """Each with another owner, then each with another mode. The components keep running."""
    for has_mode in (False, True):
        states = [state for state in stig_states.ACCESS if bool(state.mode) is has_mode]
        with ExitStack() as stack:
            for state in states:
                stack.enter_context(changed(server.path(DATA_DIR / state.path), state.mode))
            found = checklist(server)
            assert server.is_ready()
        assert {rule for rule in stig_states.rules(states) if found[rule] != "open"} == set()


def test_a_secret_in_the_environment_of_a_pod_opens_its_rule(server: Node) -> None:
    """Only `--cluster` decides the rule."""
    rule = f"V-{stig_states.POD_ENVIRONMENT}"
    server.create_namespaces("stig")
    secret = {**in_cluster("Secret", "db"), "stringData": {"password": "hunter2hunter2"}}
    pod = pods.pod("reader", "stig")
    (container,) = pod["spec"]["containers"]
    container["env"] = [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]
    try:
        server.apply({**secret, "metadata": {"name": "db", "namespace": "stig"}})
        server.run_pods(pod)
        assert checklist(server, "--cluster")[rule] == "open"
        assert checklist(server)[rule] == "not_reviewed"
    finally:
        server.kubectl("delete", "namespace", "stig", "--wait=false")


ETCD = DATA_DIR / "server/db/etcd"
PORTS = {stig_states.CLIENTS: 2379, stig_states.PEERS: 2380}
CREATE = "from pathlib import Path; from tests.k8s import certificates; certificates.create(Path({!r}), {!r}, {!r})"


@pytest.fixture(scope="module")
def with_etcd(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with K3s' certificates, on which the tests start etcd."""
    with Node(tmp_path_factory.mktemp("etcd"), binaries) as node:
        node.run(sys.executable, "-c", CREATE.format(str(DATA_DIR), NAME, ADDRESS), check=True)
        yield node


def etcd_configuration(wrong: WrongEtcd | None) -> str:
    """Return etcd's configuration as K3s writes it, with the changes of a state."""
    peers = f"https://127.0.0.1:{PORTS[stig_states.PEERS]}"
    found: dict[str, Any] = yaml.safe_load(k3s_tree.ETCD.format(data=k3s_tree.DATA_DIR))
    found |= {"listen-client-urls": found["advertise-client-urls"], "listen-peer-urls": peers}
    found |= {"initial-advertise-peer-urls": peers, "initial-cluster": f"{found['name']}={peers}"}
    if wrong:
        changed = {**found[wrong.section], **wrong.changed}
        found[wrong.section] = {name: value for name, value in changed.items() if value is not None}
    return yaml.safe_dump(found)


@contextmanager
def running_etcd(node: Node, wrong: WrongEtcd | None = None) -> Iterator[subprocess.Popen[str]]:
    """Start etcd with a new datastore, and wait until it serves or exits."""
    node.run("rm", "-rf", ETCD, check=True)
    node.write(ETCD / "config", etcd_configuration(wrong), mode=0o600)
    node.path(ETCD).chmod(0o700)
    process = node.start("etcd", f"--config-file={ETCD}/config", log=node.log.with_name("etcd.log"))
    try:
        deadline = time.monotonic() + 60
        while not (serves(node, stig_states.CLIENTS, CLIENT) or process.poll() is not None):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield process
    finally:
        kill(process)


def serves(node: Node, section: str, certificate: Path | None) -> bool:
    return node.client.get(PORTS[section], "/version", certificate=certificate).status != 0


def test_an_etcd_as_k3s_configures_it_meets_its_rules(with_etcd: Node) -> None:
    with running_etcd(with_etcd) as process:
        assert process.poll() is None
        assert not any(serves(with_etcd, section, None) for section in PORTS)
        found = checklist(with_etcd)
        assert {rule for rule in ONLY_WITH_ETCD if found[rule] != "not_a_finding"} == set()
        with changed(with_etcd.path(ETCD), 0o755):
            assert checklist(with_etcd)[f"V-{stig_states.ETCD_DATA}"] == "open"


@pytest.mark.parametrize("state", stig_states.ETCD, ids=lambda state: state.rules)
def test_a_wrong_key_of_etcd_opens_its_rule(with_etcd: Node, state: WrongEtcd) -> None:
    """Without client-cert-auth, etcd answers a client without a certificate; without a file of a pair, it exits."""
    with running_etcd(with_etcd, state) as process:
        assert (process.poll() is not None) is (state.effect is Effect.EXITS)
        anybody = "client-cert-auth" in state.changed
        assert serves(with_etcd, state.section, None) is anybody
        found = checklist(with_etcd)
        assert {rule for rule in ETCD_RULES if found[rule] == "open"} == set(stig_states.rules([state]))
