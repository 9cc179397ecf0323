"""Files that the arguments of components name, and that must exist."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.harden.desired.dropin_options import named_paths
from agent.k3s.config_merge import ConfigText, merge_configuration
from agent.k3s.roles_and_versions import Role

DATA_DIR = PurePosixPath("/data")


def paths(*arguments: str, component: str = "kube-apiserver", role: Role = Role.SERVER) -> list[str]:
    text = f"{component}-arg:\n" + "".join(f"- '{argument}'\n" for argument in arguments)
    config = merge_configuration([ConfigText(PurePosixPath("/config.yaml"), text.encode())])
    return [str(path.path) for path in named_paths(config, DATA_DIR, role)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["client-ca-file=/a", "client-ca-file=/b"], ["/b"]),
        (["client-ca-file=a/b.pem"], ["/data/server/a/b.pem"]),
        (["client-ca-file=~/a"], ["/data/server/~/a"]),
        (["client-ca-file="], []),
        (["kubelet-client-certificate=/a", "kubelet-client-key=/b", "allow-metric-labels-manifest=/c"], ["/a", "/b"]),
        (["tls-sni-cert-key=/a,/b:x", "tls-sni-cert-key=/c,d"], ["/a", "/b", "/c", "/data/server/d"]),
        (["runtime-config=batch/v1=true"], []),
        (["audit-webhook-config-file=/w"], []),
        (["audit-webhook-config-file=/w", "audit-policy-file=/p"], ["/w", "/p"]),
        (["client-ca-file=/data/server/tls/client-ca.crt"], []),
    ],
)
def test_files_of_the_api_server(arguments: list[str], expected: list[str]) -> None:
    """The last value of most arguments, relative to the directory of k3s server; not those that K3s creates."""
    assert paths(*arguments) == expected


def test_files_of_the_controller_manager() -> None:
    """It reads the file of a leader migration only if the migration is enabled."""
    name = "kube-controller-manager"
    assert paths("pv-recycler-pod-template-filepath-nfs=/a", component=name) == ["/a"]
    assert paths("leader-migration-config=/a", component=name) == []
    assert paths("leader-migration-config=/a", "enable-leader-migration=false", component=name) == []
    assert paths("leader-migration-config=/a", "enable-leader-migration=true", component=name) == ["/a"]


@pytest.mark.parametrize("argument", ["bootstrap-kubeconfig=/a", "boot-id-file=/a", "lock-file=/a", "log-file=/a"])
def test_files_that_need_not_exist(argument: str) -> None:
    """The kubelet creates them, or does without."""
    assert paths(argument, component="kubelet") == []


def test_a_relative_path_of_an_agent_depends_on_its_service() -> None:
    """k3s agent does not change its directory."""
    assert paths("client-ca-file=a.pem", component="kubelet", role=Role.AGENT) == []
    assert paths("client-ca-file=/a.pem", component="kubelet", role=Role.AGENT) == ["/a.pem"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("resolv-conf: /a", []),
        ("datastore-cafile: /a", []),
        ("datastore-cafile: /a\ndatastore-endpoint: mysql://b", ["/a"]),
        ("token-file: /a", ["/a"]),
    ],
)
def test_files_of_options(text: str, expected: list[str]) -> None:
    """The kubelet starts without resolv.conf, and K3s reads certificates of a datastore only with its endpoint."""
    config = merge_configuration([ConfigText(PurePosixPath("/config.yaml"), text.encode())])
    assert [str(path.path) for path in named_paths(config, DATA_DIR)] == expected
