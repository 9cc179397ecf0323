"""service-accounts with a stand-in for kubectl that stores a cluster in files.

It answers the three requests of the program like kubectl and rejects all others.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.machine import NOBODY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.system.machine import Machine

pytestmark = pytest.mark.root

K3S = "/usr/local/bin/k3s"
KUBECTL = "/usr/bin/kubectl"

# /srv/cluster has one file per namespace: the value of automountServiceAccountToken, `unset` if the account has no such
# field, `missing` if there is no account. A file in /srv/trouble states how requests for that namespace fail.
STAND_IN = r"""#!/bin/sh
echo "$*" >>/srv/requests
[ "${0##*/}" = kubectl ] || { [ "$1" = kubectl ] || exit 64; shift; }
case $1 in --kubeconfig=*) shift ;; esac
trouble() { [ -e "/srv/trouble/$1" ] || return 0; . "/srv/trouble/$1"; }
for last; do :; done
case $last in --request-timeout=*s) ;; *) echo 'error: no time limit' >&2; exit 64 ;; esac
trouble api
cd /srv/cluster
case "$1 $2 $3" in
'get namespaces --output=name')
    printf 'namespace/%s\n' * ;;
'get serviceaccounts --all-namespaces')
    printf '{"kind": "List", "items": ['
    comma=
    for name in *; do
        read -r value <"$name"
        case $value in
        missing) continue ;;
        unset) field= ;;
        *) field=", \"automountServiceAccountToken\": $value" ;;
        esac
        printf '%s{"metadata": {"name": "default", "namespace": "%s"}%s}' "$comma" "$name" "$field"
        comma=,
    done
    echo ']}' ;;
'patch serviceaccount default')
    name=${4#--namespace=}
    trouble "$name"
    [ "$5" = '--patch={"automountServiceAccountToken":false}' ] || { echo "error: $5" >&2; exit 64; }
    echo false >"$name"
    echo 'serviceaccount/default patched' ;;
*)
    echo "error: unknown request $*" >&2
    exit 64 ;;
esac
"""


class Cluster:
    """The cluster of the stand-in."""

    def __init__(self, machine: Machine, program: str = K3S) -> None:
        self.machine = machine
        machine.write(program, STAND_IN, mode=0o755)
        machine.write("/srv/requests", "")
        for directory in ("/srv/cluster", "/srv/trouble"):
            machine.path(directory).mkdir()

    def have(self, namespaces: Mapping[str, str]) -> None:
        """Add or change namespaces."""
        for name, value in namespaces.items():
            self._file(name).write_text(f"{value}\n")

    def trouble(self, name: str, script: str) -> None:
        """Make requests for a namespace, or all requests (`api`), fail in this way."""
        self.machine.write(f"/srv/trouble/{name}", script)

    @property
    def values(self) -> dict[str, str]:
        """Return the value of each namespace."""
        return {path.name: path.read_text().strip() for path in self._file(".").iterdir()}

    @property
    def requests(self) -> list[str]:
        """Return all requests, one per line."""
        return self.machine.path("/srv/requests").read_text().splitlines()

    def _file(self, name: str) -> Path:
        return self.machine.path(f"/srv/cluster/{name}")


@pytest.fixture
def cluster(machine: Machine) -> Cluster:
    new = Cluster(machine)
    new.have({"default": "unset", "kube-system": "true", "done": "false"})
    return new


def protect(machine: Machine, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run the verb, and return its exit code and the result of each namespace."""
    run = machine.harden("service-accounts", "--format", "json", *words)
    assert run.stderr == ""
    items = json.loads(run.stdout)["items"]
    return run.returncode, {item["id"].removesuffix("/default"): item for item in items}


def test_every_namespace_is_patched_at_most_once(machine: Machine, cluster: Cluster) -> None:
    """Unset and true become false, false is not patched, and a second run patches nothing."""
    code, items = protect(machine)
    assert code == 0
    assert set(cluster.values.values()) == {"false"}
    assert {name: item["status"] for name, item in items.items()} == {
        "default": "changed",
        "kube-system": "changed",
        "done": "compliant",
    }
    patches = [line for line in cluster.requests if " patch " in line]
    assert len(patches) == 2
    code, items = protect(machine)
    assert code == 0
    assert {item["status"] for item in items.values()} == {"compliant"}
    assert [line for line in cluster.requests if " patch " in line] == patches


def test_new_namespaces_are_found_by_the_next_run(machine: Machine, cluster: Cluster) -> None:
    """A namespace without its account is no error; the next run protects it."""
    cluster.have({"new": "missing"})
    code, items = protect(machine)
    assert (code, items["new"]["status"]) == (0, "kept")
    cluster.have({"new": "unset"})
    code, items = protect(machine)
    assert (code, items["new"]["status"]) == (0, "changed")


def test_a_failing_namespace_does_not_stop_the_others(machine: Machine, cluster: Cluster) -> None:
    """The namespace is reported with the API server's reason; the exit code is 4."""
    reason = 'Error from server (Forbidden): serviceaccounts "default" is forbidden: admission webhook says no'
    cluster.trouble("default", f"echo 'warning: deprecated' >&2; echo '{reason}' >&2; exit 1")
    code, items = protect(machine)
    assert code == 4
    assert items["default"]["status"] == "failed"
    assert reason in items["default"]["detail"]
    assert cluster.values == {"default": "unset", "kube-system": "false", "done": "false"}


def test_a_call_that_hangs_is_killed(machine: Machine, cluster: Cluster) -> None:
    """Only its namespace fails, and no process is left."""
    cluster.trouble("default", "exec sleep 300")
    code, items = protect(machine, "--timeout", "1")
    assert code == 4
    assert "did not finish within" in items["default"]["detail"]
    assert cluster.values["kube-system"] == "false"
    assert machine.run("pgrep", "-x", "sleep").returncode == 1


def test_a_patch_that_a_controller_undoes_is_not_a_success(machine: Machine, cluster: Cluster) -> None:
    """The account is read again after the patch."""
    cluster.trouble("default", "echo 'serviceaccount/default patched'; exit 0")
    code, items = protect(machine)
    assert code == 4
    assert items["default"]["status"] == "failed"
    assert "still automounts its token" in items["default"]["detail"]


def test_a_namespace_deleted_during_the_run_is_not_an_error(machine: Machine, cluster: Cluster) -> None:
    """The namespace is deleted between the list and the patch."""
    cluster.trouble(
        "default", "rm default; echo 'Error from server (NotFound): namespaces \"default\" not found' >&2; exit 1"
    )
    code, items = protect(machine)
    assert code == 0, items
    assert items["default"]["status"] == "kept"


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("echo 'The connection to the server 127.0.0.1:6443 was refused' >&2; exit 1", "127.0.0.1:6443 was refused"),
        ("exit 1", "kubectl failed with exit code 1"),
        ("echo nonsense; exit 0", "expected a list of ServiceAccounts"),
        ("kill -KILL $$", "cannot get namespaces"),
    ],
)
def test_an_api_that_does_not_answer_exits_1(machine: Machine, cluster: Cluster, trouble: str, message: str) -> None:
    """The error contains kubectl's reason; nothing is patched."""
    cluster.trouble("api", trouble)
    run = machine.harden("service-accounts")
    assert run.returncode == 1
    assert message in run.stderr
    assert not [line for line in cluster.requests if " patch " in line]


def test_an_api_that_stops_halfway_exits_4(machine: Machine, cluster: Cluster) -> None:
    """The namespaces patched before are reported."""
    cluster.trouble("kube-system", "echo 'echo refused >&2; exit 1' >/srv/trouble/api; echo refused >&2; exit 1")
    run = machine.harden("service-accounts")
    assert cluster.values["default"] == "false"
    assert run.returncode == 4, run.stderr
    assert "kube-system/default" in run.stdout


def test_without_kubectl_and_k3s_it_exits_1(machine: Machine) -> None:
    """The error names both programs."""
    run = machine.harden("service-accounts")
    assert run.returncode == 1
    assert "neither k3s nor kubectl is installed" in run.stderr


def test_kubectl_is_used_with_a_kubeconfig(machine: Machine) -> None:
    """kubectl replaces `k3s kubectl` if k3s is not installed."""
    cluster = Cluster(machine, KUBECTL)
    cluster.have({"default": "unset"})
    code, _ = protect(machine, "--kubeconfig", "/etc/rancher/k3s/k3s.yaml")
    assert code == 0
    assert all(line.startswith("--kubeconfig=/etc/rancher/k3s/k3s.yaml ") for line in cluster.requests)
    assert cluster.values == {"default": "false"}


def test_a_k3s_that_others_can_write_is_not_run(machine: Machine, cluster: Cluster) -> None:
    """The verb runs as root and fails instead."""
    path = machine.path(K3S)
    path.chmod(0o777)
    run = machine.harden("service-accounts")
    assert cluster.requests == []
    assert run.returncode == 1
    assert "others can write to it" in run.stderr
    machine.write(K3S, STAND_IN, mode=0o755, uid=NOBODY)
    assert machine.harden("service-accounts").returncode == 1
    assert cluster.requests == []


def test_the_number_of_requests_depends_on_the_patches(machine: Machine, cluster: Cluster) -> None:
    """One request per patched namespace and four lists in total, also with several hundred namespaces."""
    cluster.have({f"team-{number:03d}": "unset" for number in range(300)})
    code, items = protect(machine)
    assert code == 0
    assert len(items) == 303
    assert len([line for line in cluster.requests if " patch " in line]) == 302
    assert len(cluster.requests) == 302 + 4
    protect(machine)
    assert len(cluster.requests) == 302 + 4 + 2
