"""service-accounts, through a stand-in for kubectl that keeps a cluster in files.

It answers the three requests that the program makes, in kubectl's forms, and refuses any other.
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

# One file a namespace in /srv/cluster: what automountServiceAccountToken is, `unset` where the account has no such
# field, `missing` where there is no account. A file in /srv/trouble says how requests for that namespace end.
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
    """The stand-in's cluster."""

    def __init__(self, machine: Machine, program: str = K3S) -> None:
        self.machine = machine
        machine.write(program, STAND_IN, mode=0o755)
        machine.write("/srv/requests", "")
        for directory in ("/srv/cluster", "/srv/trouble"):
            machine.path(directory).mkdir()

    def have(self, namespaces: Mapping[str, str]) -> None:
        """Add namespaces, or change them."""
        for name, value in namespaces.items():
            self._file(name).write_text(f"{value}\n")

    def trouble(self, name: str, script: str) -> None:
        """Let requests for the namespace, or for `api` all of them, run into this."""
        self.machine.write(f"/srv/trouble/{name}", script)

    @property
    def values(self) -> dict[str, str]:
        """What each namespace has now."""
        return {path.name: path.read_text().strip() for path in self._file(".").iterdir()}

    @property
    def requests(self) -> list[str]:
        """All that was asked of it, a line each."""
        return self.machine.path("/srv/requests").read_text().splitlines()

    def _file(self, name: str) -> Path:
        return self.machine.path(f"/srv/cluster/{name}")


@pytest.fixture
def cluster(machine: Machine) -> Cluster:
    new = Cluster(machine)
    new.have({"default": "unset", "kube-system": "true", "done": "false"})
    return new


def protect(machine: Machine, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run it; the exit code, and what became of each namespace."""
    run = machine.harden("service-accounts", "--format", "json", *words)
    assert run.stderr == ""
    items = json.loads(run.stdout)["items"]
    return run.returncode, {item["id"].removesuffix("/default"): item for item in items}


def test_every_namespace_is_protected_once(machine: Machine, cluster: Cluster) -> None:
    """What is unset or true becomes false; what is false is not patched; the second run patches nothing."""
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
    """A namespace without its account yet is no error; once it has one, the next run protects it."""
    cluster.have({"new": "missing"})
    code, items = protect(machine)
    assert (code, items["new"]["status"]) == (0, "kept")
    cluster.have({"new": "unset"})
    code, items = protect(machine)
    assert (code, items["new"]["status"]) == (0, "changed")


def test_one_failing_namespace_does_not_stop_the_others(machine: Machine, cluster: Cluster) -> None:
    """A refusal is reported with the API's reason, exit 4, and all others are done."""
    reason = 'Error from server (Forbidden): serviceaccounts "default" is forbidden: admission webhook says no'
    cluster.trouble("default", f"echo 'warning: deprecated' >&2; echo '{reason}' >&2; exit 1")
    code, items = protect(machine)
    assert code == 4
    assert items["default"]["status"] == "failed"
    assert reason in items["default"]["detail"]
    assert cluster.values == {"default": "unset", "kube-system": "false", "done": "false"}


def test_a_call_that_hangs_is_given_up(machine: Machine, cluster: Cluster) -> None:
    """A kubectl that neither answers nor keeps its own limit costs one namespace, and leaves no process behind."""
    cluster.trouble("default", "exec sleep 300")
    code, items = protect(machine, "--timeout", "1")
    assert code == 4
    assert "did not finish within" in items["default"]["detail"]
    assert cluster.values["kube-system"] == "false"
    assert machine.run("pgrep", "-x", "sleep").returncode == 1


def test_a_patch_that_does_not_last_is_no_success(machine: Machine, cluster: Cluster) -> None:
    """What kubectl calls patched is looked at again: a controller that sets it back is found out."""
    cluster.trouble("default", "echo 'serviceaccount/default patched'; exit 0")
    code, items = protect(machine)
    assert code == 4
    assert items["default"]["status"] == "failed"
    assert "still automounts its token" in items["default"]["detail"]


def test_a_namespace_that_goes_meanwhile_is_no_error(machine: Machine, cluster: Cluster) -> None:
    """A namespace that was deleted between the look and the patch is not missed."""
    cluster.trouble(
        "default", "rm default; echo 'Error from server (NotFound): namespaces \"default\" not found' >&2; exit 1"
    )
    code, items = protect(machine)
    assert code == 0, items
    assert items["default"]["status"] == "kept"


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("echo 'The connection to the server 127.0.0.1:6443 was refused' >&2; exit 1", "127.0.0.1:6443 was refused"),
        ("exit 1", "kubectl failed with exit code 1"),
        ("echo nonsense; exit 0", "expected a list of ServiceAccounts"),
        ("kill -KILL $$", "cannot get namespaces"),
    ],
)
def test_an_api_that_does_not_answer_exits_1(machine: Machine, cluster: Cluster, trouble: str, told: str) -> None:
    """Without an API nothing can be done: exit 1 with kubectl's reason, and nothing was patched."""
    cluster.trouble("api", trouble)
    run = machine.harden("service-accounts")
    assert run.returncode == 1
    assert told in run.stderr
    assert not [line for line in cluster.requests if " patch " in line]


def test_an_api_that_goes_away_half_way_is_no_total_failure(machine: Machine, cluster: Cluster) -> None:
    """What was patched before the API went is reported: exit 4 says partly, not 1 that nothing was changed."""
    cluster.trouble("kube-system", "echo 'echo refused >&2; exit 1' >/srv/trouble/api; echo refused >&2; exit 1")
    run = machine.harden("service-accounts")
    assert cluster.values["default"] == "false"
    assert run.returncode == 4, run.stderr
    assert "kube-system/default" in run.stdout


def test_without_kubectl_it_says_so(machine: Machine) -> None:
    """On a host with neither program it exits 1 and names both."""
    run = machine.harden("service-accounts")
    assert run.returncode == 1
    assert "neither k3s nor kubectl is installed" in run.stderr


def test_a_kubectl_of_its_own_takes_a_kubeconfig(machine: Machine) -> None:
    """Where only kubectl is installed that is used, with the kubeconfig that was named."""
    cluster = Cluster(machine, KUBECTL)
    cluster.have({"default": "unset"})
    code, _ = protect(machine, "--kubeconfig", "/etc/rancher/k3s/k3s.yaml")
    assert code == 0
    assert all(line.startswith("--kubeconfig=/etc/rancher/k3s/k3s.yaml ") for line in cluster.requests)
    assert cluster.values == {"default": "false"}


def test_a_program_that_others_can_change_is_not_run(machine: Machine, cluster: Cluster) -> None:
    """What root runs must be root's: a k3s that somebody else could have written is not asked."""
    path = machine.path(K3S)
    path.chmod(0o777)
    run = machine.harden("service-accounts")
    assert cluster.requests == []
    assert run.returncode == 1
    assert "others can write to it" in run.stderr
    machine.write(K3S, STAND_IN, mode=0o755, uid=NOBODY)
    assert machine.harden("service-accounts").returncode == 1
    assert cluster.requests == []


def test_the_cost_grows_with_what_is_to_be_patched(machine: Machine, cluster: Cluster) -> None:
    """One request a namespace that needs it, and four lists for the whole, of several hundred namespaces, too."""
    cluster.have({f"team-{number:03d}": "unset" for number in range(300)})
    code, items = protect(machine)
    assert code == 0
    assert len(items) == 303
    assert len([line for line in cluster.requests if " patch " in line]) == 302
    assert len(cluster.requests) == 302 + 4
    protect(machine)
    assert len(cluster.requests) == 302 + 4 + 2
