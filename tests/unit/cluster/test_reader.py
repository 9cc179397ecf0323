"""The reader of a cluster: requests, pages, trust, and hostile answers of an HTTPS server."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from agent.base.errors import HostError
from agent.base.host import Host
from agent.base.host.https import Limits
from agent.cluster import reader
from agent.cluster.connection import Kubectl
from agent.cluster.kubernetes.queries import EVERYBODY, FLAGS, METADATA, REQUESTS, TABLE, AccessReview, Cluster, Query
from agent.cluster.reader import Reader
from tests.fake import fake_host, in_memory
from tests.scenarios.loaded_program import CHECKOUT
from tests.unit.cluster.api_server import TLS, ApiServer, Handler, answering, drop_connection
from tests.unit.cluster.kubernetes import samples

PATIENT = Limits(request=60.0, total=120.0, body=1 << 20)
QUICK = PATIENT._replace(request=1.0, total=8.0)
"""For answers that take longer."""
ADMIN = "var/lib/rancher/k3s/server/cred/admin.kubeconfig"
USER = "etc/rancher/k3s/k3s.yaml"
PODS = REQUESTS[Query.PODS].path


@pytest.fixture
def root() -> Iterator[Path]:
    with in_memory() as directory:
        yield directory


@contextmanager
def serving(root: Path, api: ApiServer, text: str = "", name: str = ADMIN) -> Iterator[Host]:
    with api.running():
        write(root, text or api.kubeconfig(embedded=True), name)
        yield fake_host(root, is_live=True)


def write(root: Path, text: str, name: str = ADMIN) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o600)
    return file


def read_from(root: Path, api: ApiServer, limits: Limits = PATIENT) -> Cluster:
    with serving(root, api) as host:
        return read(host, limits)


def read(
    host: Host, limits: Limits = PATIENT, reviews: Callable[[Cluster], list[AccessReview]] = lambda _: []
) -> Cluster:
    from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR

    return reader.read_cluster(host, DEFAULT_DATA_DIR, limits, reviews)


def test_each_list_is_read_once_over_one_connection(root: Path) -> None:
    api = ApiServer({**samples.NEW, Query.PODS: [samples.pod("web")]})
    cluster = read_from(root, api)
    assert cluster.problem == ""
    assert cluster.problems == {"kubelet of node-1": cluster.problems["kubelet of node-1"]}
    assert {method for method, _, _ in api.asked} == {"GET"}
    assert len(api.connections) == 1
    accepted = {path.partition("?")[0]: accept for _, path, accept in api.asked if "fieldSelector" not in path}
    assert accepted.keys() == {
        *(request.path for request in REQUESTS.values()),
        FLAGS.path,
        "/api/v1/nodes/node-1/proxy/configz",
    }
    assert accepted["/api/v1/secrets"] == TABLE
    assert {accepted[REQUESTS[query].path] for query in (Query.NAMESPACES, Query.DEFAULT_SERVICES)} == {METADATA}
    assert [pod.name for pod in cluster.objects[Query.PODS]] == ["web"]


def test_the_content_of_a_secret_is_not_requested(root: Path) -> None:
    """The table columns contain neither data nor annotations, into which `kubectl apply` copies the data."""
    secret = {**samples.metadata("db"), "type": "Opaque", "data": {"password": "aHVudGVyMg=="}}
    api = ApiServer({**samples.NEW, Query.SECRETS: [secret]})
    cluster = read_from(root, api)
    requests = [(path, accept) for _, path, accept in api.asked if "/secrets" in path]
    tokens = [
        accept for path, accept in requests if "fieldSelector=type%3Dkubernetes.io%2Fservice-account-token" in path
    ]
    assert tokens == [METADATA]
    assert [accept for path, accept in requests if "includeObject=None" in path] == [TABLE, TABLE]
    assert len(requests) == len(("all", "tokens", "default"))
    assert cluster.objects[Query.SECRETS] == (("", "db", "Opaque"),)


def test_a_long_list_has_several_pages(root: Path) -> None:
    api = ApiServer({**samples.NEW, Query.PODS: [samples.pod(f"pod-{number}") for number in range(601)]})
    cluster = read_from(root, api)
    assert [pod.name for pod in cluster.objects[Query.PODS]] == [f"pod-{number}" for number in range(601)]
    assert [path for _, path, _ in api.asked if path.startswith(PODS)] == [
        f"{PODS}?limit=250",
        f"{PODS}?limit=250&continue=250",
        f"{PODS}?limit=250&continue=500",
    ]


def test_flags_and_kubelets_are_read(root: Path) -> None:
    """The kubelet of a node that is not ready is not queried, because the request would take seconds."""
    node = {**samples.metadata("node-2"), "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    api = ApiServer(
        {**samples.NEW, Query.NODES: [*samples.NEW[Query.NODES], node]},
        {
            FLAGS.path: answering({"kind": "Flagz", "flags": {"profiling": "false"}}),
            "/api/v1/nodes/node-1/proxy/configz": answering(
                {"kubeletconfig": {"readOnlyPort": 1, "seccompDefault": False}}
            ),
            "/api/v1/nodes/node-1/proxy/flagz": answering(
                {"kind": "Flagz", "flags": {"seccomp-default": "true", "anonymous-auth": "true"}}
            ),
        },
    )
    cluster = read_from(root, api)
    assert cluster.flags == {"profiling": "false"}
    assert cluster.kubelets == {"node-1": {"readOnlyPort": 1, "seccompDefault": True}}
    assert cluster.problems == {
        "kubelet of node-2": "cannot read the configuration of node node-2: the node is not ready"
    }


def test_an_api_server_without_flagz_has_no_flags(root: Path) -> None:
    """Kubernetes has the endpoint since 1.36, and admission policies since 1.30."""
    missing = REQUESTS[Query.ADMISSION_POLICIES].path
    api = ApiServer(samples.NEW, {missing: answering({}, 404)})
    cluster = read_from(root, api)
    assert cluster.flags is None
    assert cluster.objects[Query.ADMISSION_POLICIES] == ()
    assert "/flagz" not in cluster.problems


REVIEW = AccessReview(EVERYBODY[0], "get", "", "pods/log", "shop")


def test_reviews_are_asked_over_the_same_connection(root: Path) -> None:
    """These are the only requests that are not GET."""
    api = ApiServer(samples.NEW)
    with serving(root, api) as host:
        cluster = read(host, PATIENT, lambda _: [REVIEW])
    assert cluster.reviews == {REVIEW: False}
    assert [path for method, path, _ in api.asked if method != "GET"] == [Query.ACCESS_REVIEWS.request.path]
    assert len(api.connections) == 1
    assert api.posts[0]["spec"] == {
        "user": "k3s-harden-unbound",
        "groups": ["system:authenticated"],
        "resourceAttributes": {
            "verb": "get",
            "group": "",
            "resource": "pods",
            "subresource": "log",
            "namespace": "shop",
            "name": "",
        },
    }


@pytest.mark.parametrize("answer", ["forbidden", "not JSON", "closed", "hang"])
def test_without_all_answers_the_reviews_are_missing(root: Path, answer: str) -> None:
    api = ApiServer(samples.NEW, {Query.ACCESS_REVIEWS.request.path: HOSTILE[answer]})
    with serving(root, api) as host:
        cluster = read(host, QUICK, lambda _: [REVIEW])
    assert Query.ACCESS_REVIEWS not in cluster.objects
    assert Query.ACCESS_REVIEWS.request.path in cluster.problems["subjectaccessreviews"]
    assert cluster.objects[Query.NAMESPACES]


@pytest.mark.parametrize("answer", [b"{}", b"[]", b'{"status": {"allowed": "yes"}}', b'{"status": {"denied": true}}'])
def test_only_true_is_yes(root: Path, answer: bytes) -> None:
    api = ApiServer(samples.NEW, {Query.ACCESS_REVIEWS.request.path: answering(answer, 201)})
    with serving(root, api) as host:
        assert read(host, PATIENT, lambda _: [REVIEW]).reviews == {REVIEW: False}


def drip(handler: Handler) -> None:
    """Send a byte at a time, each one before the timeout of a read."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(40):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def endless(handler: Handler) -> None:
    """Send more than the limit, without a length."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    for _ in range(20):
        handler.wfile.write(bytes(1 << 20))


def never_final(handler: Handler) -> None:
    """Announce an answer without end."""
    with suppress(OSError):
        while True:
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def endless_header(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(40):
        handler.wfile.write(b"x")
        time.sleep(0.05)


def hang(handler: Handler) -> None:
    """Send nothing."""
    time.sleep(2)
    handler.close_connection = True


HOSTILE = {
    "not JSON": answering(b"<html>"),
    "not UTF-8": answering(b"\xff\xfe\x00"),
    "compressed": answering(gzip.compress(b"{}")),
    "deep": answering(b"[" * 500_000),
    "a huge number": answering(b'{"items": ' + b"9" * 5000 + b"}"),
    "another type": answering(b'{"items": "pods"}'),
    "a list": answering(b"[1, 2]"),
    "null": answering(b"null"),
    "forbidden": answering(b"{}", 403),
    "a redirect": answering(b"", 302),
    "an error": answering(b"{}", 500),
    "endless pages": answering({"metadata": {"continue": "again"}, "items": []}),
    "many objects": answering(b'{"items": [' + b"0," * 100_000 + b"0]}"),
    "too large": endless,
    "drip": drip,
    "never final": never_final,
    "endless header": endless_header,
    "hang": hang,
    "closed": drop_connection,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_answer_is_a_problem_of_its_list(root: Path, kind: str) -> None:
    is_slow = HOSTILE[kind] in {drip, endless_header, hang, never_final}
    cluster = read_from(root, ApiServer(samples.NEW, {PODS: HOSTILE[kind]}), QUICK if is_slow else PATIENT)
    assert cluster.problem == ""
    assert Query.PODS not in cluster.objects
    assert cluster.problems["pods"].startswith(f"cannot read {PODS}: ")
    assert Query.NAMESPACES in cluster.objects
    assert "\n" not in cluster.problems["pods"]


def test_pages_that_are_too_large_are_read_in_smaller_ones(root: Path) -> None:
    """A tenant can make 250 pods so large that a page of them exceeds the limit, and hide a privileged one."""
    pods = [pod_of(number, 140_000) for number in range(250)]
    cluster = read_from(root, ApiServer({**samples.NEW, Query.PODS: pods}), Limits(5.0, 1 << 20))
    assert [pod.name for pod in cluster.objects[Query.PODS]] == [f"p{number}" for number in range(250)]
    assert cluster.gaps == {}


def test_an_object_that_is_too_large_is_named_and_the_others_are_read(root: Path) -> None:
    pods = [pod_of(number, 2 << 20 if number in {3, 4} else 10) for number in range(9)]
    cluster = read_from(root, ApiServer({**samples.NEW, Query.PODS: pods}), Limits(5.0, 1 << 20))
    assert [pod.name for pod in cluster.objects[Query.PODS]] == [f"p{number}" for number in (0, 1, 2, 5, 6, 7, 8)]
    assert cluster.gaps == {Query.PODS: f"cannot read 2 of {PODS}, too large: a/p3, a/p4"}


def pod_of(number: int, size: int) -> dict[str, Any]:
    metadata = {"namespace": "a", "name": f"p{number}"}
    return {"metadata": metadata, "spec": {"containers": [{"name": "c", "args": ["x" * size]}]}}


MANY_CONTAINERS = b'{"spec":{"containers":[' + b'{"name":"a"},' * 900 + b"{}]}},"


@pytest.mark.parametrize(("item", "size"), [(b"{},", 31 << 20), (b'{"":[]},', 8_000_000), (MANY_CONTAINERS, 8_000_000)])
def test_an_answer_takes_limited_memory(root: Path, item: bytes, size: int) -> None:
    """The size of what JSON and the reader make of it is limited, too."""
    answer = answering(b'{"items": [' + item * (size // len(item)) + b"{}]}")
    with serving(root, ApiServer(samples.NEW, {PODS: answer})):
        words = [sys.executable, "-c", _READ, str(root)]
        found = subprocess.run(words, capture_output=True, text=True, check=True, cwd=CHECKOUT).stdout
    assert int(found) < 256 << 10


_READ = """
import gc, sys
from pathlib import Path, PurePosixPath
gc.disable()
from agent.cluster import reader
from agent.cluster.kubernetes.queries import Query
from tests.fake import fake_host
cluster = reader.read_cluster(fake_host(Path(sys.argv[1]), is_live=True), PurePosixPath("/var/lib/rancher/k3s"))
assert Query.PODS not in cluster.objects
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.parametrize(
    "items",
    [
        b'[null, 1, "a", [], {}]',
        b'[{"metadata": 1, "spec": []}]',
        b'[{"metadata": {"name": {}, "namespace": 7, "ownerReferences": {}}, "spec": {"containers": {"a": 1}}}]',
        b'[{"spec": {"containers": [null, {"securityContext": [], "ports": [1], "env": [{"valueFrom": 1}]}]}}]',
        b'[{"spec": {"volumes": [null, {"hostPath": 1}], "securityContext": "x", "hostPID": "true"}}]',
        b'[{"rules": [null, {"verbs": "*", "resources": [1]}], "subjects": [null], "roleRef": []}]',
        b'[{"webhooks": [null, {"rules": [1]}], "status": {"conditions": [null]}}]',
    ],
)
def test_objects_of_any_form_are_accepted(root: Path, items: bytes) -> None:
    answers = {
        request.path: answering(b'{"items": ' + items + b"}")
        for request in REQUESTS.values()
        if request.path != "/api/v1/nodes"
    }
    cluster = read_from(root, ApiServer(samples.NEW, answers))
    assert set(cluster.objects) == set(Query) - {Query.SECRETS, Query.DEFAULT_SECRETS}


def test_after_a_first_request_that_hangs_no_other_is_sent(root: Path) -> None:
    api = ApiServer(samples.NEW, {REQUESTS[Query.NAMESPACES].path: hang})
    cluster = read_from(root, api, QUICK)
    assert cluster.problem == "cannot read /api/v1/namespaces: no complete answer in time"
    assert len(api.asked) == 1


def test_after_three_requests_without_an_answer_no_other_is_sent(root: Path) -> None:
    paths = [REQUESTS[query].path for query in (Query.PODS, Query.ROLES, Query.SECRETS)]
    api = ApiServer(samples.NEW, dict.fromkeys(paths, hang))
    cluster = read_from(root, api, QUICK)
    assert cluster.problem.endswith(": no complete answer in time")
    assert cluster.objects == {}
    assert len(api.asked) <= [*REQUESTS].index(Query.SECRETS) + 1


def test_all_requests_together_have_a_time_limit(root: Path) -> None:
    def slow(handler: Handler) -> None:
        time.sleep(0.2)
        handler.send(200, b'{"items": []}')

    cluster = read_from(
        root, ApiServer(samples.NEW, {request.path: slow for request in REQUESTS.values()}), QUICK._replace(total=0.7)
    )
    assert "no complete answer in time" in cluster.problem


@pytest.mark.parametrize("embedded", [True, False])
def test_both_kubeconfigs_of_k3s_are_accepted(root: Path, embedded: bool) -> None:
    """The internal one of K3s has paths, the one for users has certificates as data. The former is preferred."""
    api = ApiServer(samples.NEW)
    with serving(root, api, name=USER) as host:
        assert read(host).problem == ""
        if embedded:
            text = api.kubeconfig(embedded=True)
        else:
            text = api.kubeconfig()
            for name in ("ca.crt", "client.crt", "client.key"):
                source = TLS / name
                write(root, source.read_text(), f"pki/{name}")
                text = text.replace(str(source), f"/pki/{name}")
        write(root, text)
        assert read(host).problem == ""
        write(root, "other: 1\n")
        assert read(host).problem.startswith("cannot use /var/lib/rancher/k3s/server/cred/admin.kubeconfig: ")


def test_a_kubeconfig_that_others_can_write_is_rejected(root: Path) -> None:
    """Its server would receive a connection with the client certificate, and its answers would be in the report."""
    with serving(root, ApiServer(samples.NEW)) as host:
        (root / ADMIN).chmod(0o666)
        problem = read(host).problem
    assert problem.startswith("cannot use /var/lib/rancher/k3s/server/cred/admin.kubeconfig to reach the API server: ")


@pytest.mark.parametrize(
    ("certificate", "authority", "problem"),
    [
        ("server", "other-ca.crt", r"TLS failed: .* certificate( chain)?"),
        ("expired", "expired.crt", "TLS failed: certificate has expired"),
    ],
)
def test_a_server_that_cannot_be_trusted_gets_no_request(
    root: Path, certificate: str, authority: str, problem: str
) -> None:
    """Another authority signed its certificate, or K3s, which renews it at a start only, runs for too long."""
    api = ApiServer(samples.NEW, certificate=certificate)
    with api.running():
        write(root, api.kubeconfig(embedded=True, authority=authority))
        found = read(fake_host(root, is_live=True)).problem
    assert re.fullmatch(f"cannot read /api/v1/namespaces: {problem}", found)
    assert api.asked == []


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(401, "Unauthorized"), (403, "Forbidden"), (404, "Not Found"), (500, "Internal Server Error")],
)
def test_the_same_error_for_each_request_is_one_problem(root: Path, status: int, meaning: str) -> None:
    paths = (*(request.path for request in REQUESTS.values()), FLAGS.path)
    cluster = read_from(root, ApiServer({}, dict.fromkeys(paths, answering(b"{}", status))))
    assert (cluster.objects, cluster.problems) == ({}, {})
    assert cluster.problem == (
        f"cannot read /api/v1/namespaces: the API server answered with HTTP status {status} ({meaning})"
    )


@pytest.mark.parametrize(
    "server",
    [
        "http://127.0.0.1:6443",
        "https://",
        "https://user@127.0.0.1:1",
        "127.0.0.1:6443",
        "https://127.0.0.1:x",
        "https://a/b",
    ],
)
def test_an_invalid_address_of_the_server_is_rejected(root: Path, server: str) -> None:
    write(root, ApiServer().kubeconfig(embedded=True, server=server))
    problem = read(fake_host(root, is_live=True)).problem
    assert problem.endswith("the address of its server is not https://HOST:PORT")


def test_a_missing_kubeconfig_or_server_is_reported_with_a_reason(root: Path) -> None:
    host = fake_host(root, is_live=True)
    missing = "cannot reach the API server: /var/lib/rancher/k3s/server/cred/admin.kubeconfig does not exist"
    assert read(host).problem == missing
    write(root, ApiServer(port=1).kubeconfig(embedded=True))
    assert read(host).problem == "cannot read /api/v1/namespaces: the connection was refused"


def test_no_proxy_of_the_environment_is_used(root: Path) -> None:
    names = ("https_proxy", "HTTPS_PROXY", "ALL_PROXY")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "http://127.0.0.1:1"))
    try:
        with serving(root, ApiServer(samples.NEW)) as host:
            assert read(host).problem == ""
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@pytest.mark.parametrize("answer", ["sleep 1000", """echo '{"items": [{}], "metadata": {"continue": "next"}}'"""])
def test_a_list_without_an_end_has_a_limit(tmp_path: Path, answer: str) -> None:
    """An API server can hang, or name another page again and again."""
    (tmp_path / "kubectl").write_text(f"#!/bin/sh\n{answer}\n")
    (tmp_path / "kubectl").chmod(0o755)
    client = Kubectl.of_user((), {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, 2)
    start = time.monotonic()
    with pytest.raises(HostError, match=r"cannot (run kubectl: it did not finish|read /api/v1/pods: no complete)"):
        Reader(client).listed(REQUESTS[Query.PODS], dict)
    assert time.monotonic() - start < 20
