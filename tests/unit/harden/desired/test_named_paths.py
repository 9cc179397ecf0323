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


MANAGER, KUBELET = "kube-controller-manager", "kubelet"
MIGRATION = "leader-migration-config=/a"


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


@pytest.mark.parametrize(
    ("component", "arguments", "role", "expected"),
    [
        (MANAGER, ["pv-recycler-pod-template-filepath-nfs=/a"], Role.SERVER, ["/a"]),
        # It reads the file of a leader migration only if the migration is enabled.
        (MANAGER, [MIGRATION], Role.SERVER, []),
        (MANAGER, [MIGRATION, "enable-leader-migration=false"], Role.SERVER, []),
        (MANAGER, [MIGRATION, "enable-leader-migration=true"], Role.SERVER, ["/a"]),
        # The kubelet creates them, or does without.
        *((KUBELET, [f"{name}=/a"], Role.SERVER, []) for name in ("bootstrap-kubeconfig", "boot-id-file", "lock-file")),
        (KUBELET, ["log-file=/a"], Role.SERVER, []),
        # k3s agent does not change its directory, so a relative path depends on its service.
        (KUBELET, ["client-ca-file=a.pem"], Role.AGENT, []),
        (KUBELET, ["client-ca-file=/a.pem"], Role.AGENT, ["/a.pem"]),
    ],
)
def test_files_of_other_components(component: str, arguments: list[str], role: Role, expected: list[str]) -> None:
    assert paths(*arguments, component=component, role=role) == expected


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
