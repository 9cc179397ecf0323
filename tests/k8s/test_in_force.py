"""What is in force, on real components: rules of kube-router, ports, and rows of the datastore."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.k8s import pods
from tests.k8s.assessments import AUDIT_LOG, assessed
from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("server")]

POLICIES = "NetworkPolicies on this node"


def effects(node: Node, *words: str) -> dict[str, dict[str, Any]]:
    return {found["subject"]: found for found in assessed(node, *words).json["in_force"]}


def save(node: Node) -> str:
    return node.run("/usr/sbin/iptables-save", "-t", "filter", check=True).stdout


@pytest.fixture(scope="module")
def policed(server: Node) -> Node:
    """A server with a running pod in `default`, which policy.yaml polices, once its rules are written."""
    server.run_pods(pods.pod("in-force", "default", "tcp:8080"))
    server.until("the pod has rules", lambda: "POD name:in-force" in save(server))
    return server


def test_policies_of_a_hardened_node_are_in_force(policed: Node) -> None:
    found = effects(policed)[POLICIES]
    assert (found["status"], found["controls"]) == ("PASS", ["cni-network-policies"]), found
    assert re.fullmatch(r"the kernel has the rules of all policies for \d+ pods of this node", found["observed"])


def test_a_deleted_rule_fails_until_kube_router_writes_it_again(policed: Node) -> None:
    """kube-router is stopped meanwhile, as if it could not write."""
    before = save(policed)
    jumps = re.findall(r"^-A (KUBE-ROUTER-FORWARD -d .*POD name:in-force.*)$", before, re.MULTILINE)
    (jump,) = [rule for rule in jumps if "physdev" not in rule]
    kube_router = policed.run("pidof", "kube-router", check=True).stdout.strip()
    policed.run("kill", "-STOP", kube_router, check=True)
    try:
        policed.run("sh", "-c", f"iptables -D {jump}", check=True)
        report = assessed(policed)
        assert report.status("cni-network-policies") == "FAIL", report.of("cni-network-policies")
        assert report.of("cni-network-policies")["in_force"] == "FAIL"
    finally:
        policed.run("kill", "-CONT", kube_router, check=True)
    policed.until("the rule is there", lambda: effects(policed)[POLICIES]["status"] == "PASS")


def test_a_policy_without_its_chain_fails(policed: Node) -> None:
    kube_router = policed.run("pidof", "kube-router", check=True).stdout.strip()
    policed.run("kill", "-STOP", kube_router, check=True)
    metadata = {"namespace": "default", "name": "later"}
    later = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata}
    try:
        policed.apply({**later, "spec": {"podSelector": {}, "policyTypes": ["Egress"]}})
        found = effects(policed)[POLICIES]
        assert found["status"] == "FAIL"
        assert "pod default/in-force does not pass NetworkPolicy default/later for egress" in found["observed"]
    finally:
        policed.kubectl("delete", "networkpolicy", "--namespace=default", "later")
        policed.run("kill", "-CONT", kube_router, check=True)


def test_a_request_is_in_the_audit_log_that_the_api_server_has_open(policed: Node) -> None:
    """Its log is moved away, and then is an empty file, or a link to /dev/null."""
    report = assessed(policed)
    subject = "Requests in the audit log"
    found = {effect["subject"]: effect for effect in report.json["in_force"]}
    assert (found[subject]["status"], found["Size of the audit log"]["status"]) == ("PASS", "PASS"), found
    control = report.of("audit-log-path")
    assert (control["configured_status"], control["in_force"], control["status"]) == ("PASS", "PASS", "PASS")
    log = policed.path(AUDIT_LOG)
    log.rename(log.with_suffix(".moved"))
    try:
        log.touch(0o600)
        report = assessed(policed)
        assert report.of("audit-log-path")["found"].endswith(f"was answered, and is not in {AUDIT_LOG}")
        log.unlink()
        log.symlink_to("/dev/null")
        control = assessed(policed).of("audit-log-path")
        assert (control["in_force"], control["status"]) == ("FAIL", "FAIL")
        assert f"Requests in the audit log: {AUDIT_LOG} leads to a character device" in str(control["evidence"])
    finally:
        log.unlink()
        log.with_suffix(".moved").rename(log)


def test_the_rows_of_the_datastore_are_encrypted(policed: Node) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "default", "name": "in-force"}}
    policed.apply({**secret, "stringData": {"password": "of-the-tests"}})
    found = effects(policed)["Encryption of Secrets in the datastore"]
    assert found["status"] == "PASS", found
    assert re.match(r"all \d+ Secrets are encrypted, with aescbckey \(\d+\);", found["observed"])


def test_ports_of_a_hardened_server_refuse_anonymous_clients_and_old_tls(policed: Node) -> None:
    found = effects(policed)
    # The place of K3s has no port of a supervisor, and its API server listens behind it only.
    ports = {subject: effect for subject, effect in found.items() if "port" in subject and "6443" not in subject}
    assert len(ports) == 9, found
    assert {subject: effect["observed"] for subject, effect in ports.items() if effect["status"] != "PASS"} == {}


def test_what_is_configured_openly_is_not_in_force(new_node: Callable[[], Node]) -> None:
    """Anonymous requests, TLS 1.1, a read-only port, and Secrets from before the encryption."""
    node = new_node()
    # Without a suite of CBC, no suite is left for TLS 1.1.
    suites = "tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    arguments = {
        "kube-apiserver-arg": ["anonymous-auth=true", "tls-min-version=VersionTLS10", suites],
        "kubelet-arg": ["anonymous-auth=true", "read-only-port=10255"],
    }
    node.config({"config.yaml": arguments})
    node.start_server()
    node.wait_for_api()
    node.wait_until_ready()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "default", "name": "in-force"}}
    node.apply({**secret, "stringData": {"password": "of-the-tests"}})
    began = time.monotonic()
    report = assessed(node)
    took = time.monotonic() - began
    found = {effect["subject"]: (effect["status"], effect["observed"]) for effect in report.json["in_force"]}
    (kubelet,) = {name for name in found if "10250" in name and name.startswith("No")}
    (read_only,) = {name for name in found if "10255" in name}
    assert found["No anonymous access to the API server, port 6444"][0] == "FAIL", (found, took)
    assert "TLS 1.1 is accepted at 127.0.0.1" in found["TLS of the API server, port 6444"][1]
    assert found[kubelet][1].startswith("127.0.0.1:10250/pods answered 403 without a credential")
    assert found[read_only][1].startswith("127.0.0.1:10255/pods answered 200 without a credential")
    assert found["Encryption of Secrets in the datastore"] == ("FAIL", "1 of 1 Secrets are stored as clear text")
    assert "of-the-tests" not in json.dumps(report.json)


def test_etcd_demands_a_certificate_and_shows_no_values(new_node: Callable[[], Node]) -> None:
    node = new_node()
    node.run_alone()
    node.config({"config.yaml": {"cluster-init": True}})
    node.start_server("--disable-agent")
    node.wait_for_api()
    found = {subject: (effect["status"], effect["observed"]) for subject, effect in effects(node).items()}
    port = "the embedded etcd, for clients, port 2379"
    status, observed = found[f"No anonymous access to {port}"]
    assert (status, observed.partition(",")[0]) == ("PASS", "refused at 127.0.0.1")
    assert found[f"TLS of {port}"][1].startswith("TLS 1.1 is refused at 127.0.0.1, its certificate is valid until 20")
    reason = "the datastore is embedded etcd, which transfers whole values to show their start"
    assert found["Encryption of Secrets in the datastore"] == ("UNKNOWN", reason)
