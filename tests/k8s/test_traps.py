"""Configurations that look compliant and are not, each beside a harmless one, on real components.

One server runs with all of them, and what it then does is tested beside the verdict.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.cluster.kubernetes.pod_security import broken_pod
from tests.component_files import POD_SECURITY_ADMISSION
from tests.k8s import certificates, pods
from tests.k8s.assessments import AUDIT_LOG, assessed, in_cluster
from tests.k8s.binaries import Binaries
from tests.k8s.client import DATA_DIR, Response
from tests.k8s.namespaces import ADDRESS, NAME
from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("cluster")]

PSA = "/etc/rancher/k3s/own-psa.yaml"
NETWORKING = "networking.k8s.io"
TLS = DATA_DIR / "server/tls"
CIPHERS = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"
"""With those of K3s, no older version of TLS can be used."""
ARGUMENTS = [
    "audit-log-path=/dev/null",
    "audit-log-maxsize=1_00",
    "token-auth-file=",
    "tls-min-version=VersionTLS10",
    f"tls-cipher-suites={CIPHERS}",
    f"admission-control-config-file={PSA}",
]


@pytest.fixture(scope="module")
def careless(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A hardened server with etcd whose operator changed what `apply` had set."""
    with Node(tmp_path_factory.mktemp("careless"), binaries) as node:
        node.run_alone()
        node.config({"30-etcd.yaml": {"cluster-init": True}})
        assert node.harden("apply").returncode == 0
        node.config({"99-own.yaml": {"kube-apiserver-arg+": ARGUMENTS}})
        old = POD_SECURITY_ADMISSION.replace("restricted}", "restricted, enforce-version: v1.20}")
        node.write(PSA, old, mode=0o600)
        tls = node.path(TLS)
        certificates.create(node.path(DATA_DIR), NAME, ADDRESS)
        for suffix in ("crt", "key"):
            shutil.copyfile(tls / f"client-ca.{suffix}", tls / f"etcd/server-ca.{suffix}")
            for name in ("client", "server-client"):
                (tls / f"etcd/{name}.{suffix}").unlink()
        for name in ("service", "service.current"):
            openssl("ec", "-in", str(tls / "serving-kube-apiserver.key"), "-out", str(tls / f"{name}.key"))
        node.start_server("--disable-agent")
        node.wait_until_deployed()
        assert node.harden("service-accounts", "--wait", "30").returncode == 0
        yield node


def admission_of(node: Node, control: str) -> Response:
    path = "/api/v1/namespaces/default/pods?dryRun=All"
    return node.client.request("POST", 6444, path, body=broken_pod(control))


def accepts_tls_1_1(node: Node) -> bool:
    words = ("-connect", "127.0.0.1:6444", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    return "Cipher is ECDHE" in node.run("openssl", "s_client", *words, text="").stdout


def test_an_old_version_of_a_pod_security_standard_lacks_rules(careless: Node, api: Node) -> None:
    careless.apply(pods.pod("web", "default"))
    report = assessed(careless)
    assert admission_of(careless, "pods-net-raw").status == 201
    assert admission_of(api, "pods-net-raw").status == 403
    assert (report.status("pods-net-raw"), assessed(api).status("pods-net-raw")) == ("FAIL", "PASS")
    assert admission_of(careless, "pods-privileged").status == 403
    assert report.status("pods-privileged") == "PASS"


def test_an_audit_log_at_dev_null_keeps_nothing(careless: Node, api: Node) -> None:
    assert not careless.path(AUDIT_LOG).exists()
    assert api.path(AUDIT_LOG).stat().st_size
    assert (assessed(careless).status("audit-log-path"), assessed(api).status("audit-log-path")) == ("FAIL", "PASS")


def test_an_older_version_of_tls(careless: Node, api: Node) -> None:
    assert (accepts_tls_1_1(careless), accepts_tls_1_1(api)) == (True, False)
    verdicts = [assessed(node).status("apiserver-tls-min-version") for node in (careless, api)]
    assert verdicts == ["FAIL", "PASS"]


def test_other_spellings_of_compliant_values_pass(careless: Node) -> None:
    """The API server runs with them: 1_00 is 100, and an empty file name is none."""
    report = assessed(careless)
    assert (report.status("audit-log-maxsize"), report.status("apiserver-token-auth-file")) == ("PASS", "PASS")


def test_an_authority_of_etcd_with_the_key_of_the_cluster_s_clients(careless: Node, tmp_path: Path) -> None:
    """Each node's certificate then opens the datastore. An authority with an own key and the same name does not."""
    node_certificate = DATA_DIR / "agent/client-kubelet"
    assert careless.client.get(2379, "/version", certificate=node_certificate).status == 200
    found = assessed(careless).observations("etcd-unique-ca")
    assert found[0] == "server/tls/etcd/server-ca.crt has the key of server/tls/client-ca.crt"
    authority = careless.path(TLS) / "etcd/server-ca.crt"
    before = authority.read_bytes()
    new = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-subj", "/CN=k3s-client-ca")
    openssl("req", *new, "-keyout", str(tmp_path / "key"), "-out", str(authority))
    assert not any("has the key of" in item for item in assessed(careless).observations("etcd-unique-ca"))
    authority.write_bytes(before)


def openssl(*words: str) -> None:
    subprocess.run(("openssl", *words), check=True, capture_output=True, stdin=subprocess.DEVNULL)


def test_a_key_of_tokens_that_is_also_a_tls_key(careless: Node, api: Node) -> None:
    """The API server signs tokens with it, and everything that has the key of its certificate can do so, too."""
    token = careless.kubectl("create", "token", "default")
    answer = careless.client.get(6444, "/api", certificate=None, headers={"Authorization": f"Bearer {token.strip()}"})
    assert answer.status != 401
    control = "apiserver-service-account-key-file"
    assert (assessed(careless).status(control), assessed(api).status(control)) == ("FAIL", "PASS")


def network_policy(name: str, **spec: object) -> dict[str, object]:
    found = in_cluster("NetworkPolicy", name, NETWORKING, spec=spec)
    return {**found, "metadata": {"name": name, "namespace": "shop"}}


ALL_PODS: dict[str, Any] = {}
POLICIES: dict[str, tuple[dict[str, Any], str]] = {
    "allows all": ({"podSelector": ALL_PODS, "ingress": [{}]}, "has only NetworkPolicies that allow everything"),
    "selects none": ({"podSelector": {"matchLabels": {"app": "none"}}}, "has only NetworkPolicies that select no pod"),
    "limits": ({"podSelector": ALL_PODS, "ingress": [{"from": [{"podSelector": ALL_PODS}]}]}, ""),
}


def test_network_policies_that_limit_nothing(careless: Node) -> None:
    careless.create_namespaces("shop")
    for name, (spec, problem) in POLICIES.items():
        careless.apply(network_policy("own", policyTypes=["Ingress"], **spec))
        found = [
            item for item in assessed(careless).observations("namespaces-network-policies") if "Namespace shop" in item
        ]
        assert found == ([f"Namespace shop: {problem}"] if problem else []), name


def with_volume(name: str, source: dict[str, Any]) -> dict[str, Any]:
    """Return a pod without automatic token that mounts a projected volume."""
    pod = pods.pod(name, "default")
    volume = {"name": "projected", "projected": {"sources": [source]}}
    pod["spec"] |= {"automountServiceAccountToken": False, "volumes": [volume]}
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "projected", "mountPath": "/projected"}]
    return pod


def test_a_token_in_a_projected_volume_needs_no_automount(careless: Node) -> None:
    label = {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}
    token, other = {"serviceAccountToken": {"path": "token"}}, {"downwardAPI": label}
    careless.apply(with_volume("token", token), with_volume("label", other))
    found = assessed(careless).observations("service-account-token-mounts")
    assert "Pod default/token: mounts the token of default, as its specification says" in found
    assert not any("default/label" in item for item in found)


def test_an_expired_certificate(careless: Node, tmp_path: Path) -> None:
    """The API server rejects it, and `check` reports it. The others are valid for a year."""
    tls = careless.path(TLS)
    request = tmp_path / "request"
    openssl("req", "-new", "-key", str(tls / "client-scheduler.key"), "-subj", "/CN=old", "-out", str(request))
    signed_by = ("-CA", str(tls / "client-ca.crt"), "-CAkey", str(tls / "client-ca.key"), "-CAcreateserial")
    openssl("x509", "-req", "-in", str(request), *signed_by, "-days", "0", "-out", str(tls / "client-scheduler.crt"))
    time.sleep(1.1)
    assert careless.client.get(6444, "/version", certificate=TLS / "client-scheduler").status == 401
    problems = [line for line in careless.harden("check").stdout.splitlines() if "has expired" in line]
    assert len(problems) == 1
    assert str(TLS / "client-scheduler.crt") in problems[0]


def test_an_audit_log_that_stopped_growing(api: Node) -> None:
    """As if another program rotated the log: the API server writes to the renamed file."""
    log = api.path(AUDIT_LOG)
    assert assessed(api).status("audit-log-path") == "PASS"
    away = log.rename(log.with_name("away.log"))
    try:
        log.write_text("{}\n")
        os.utime(log, (time.time() - 600,) * 2)
        report = assessed(api)
        assert report.status("audit-log-path") == "FAIL"
        assert report.of("audit-log-path")["found"].endswith(f"was answered, and is not in {AUDIT_LOG}")
    finally:
        away.rename(log)
