"""Resources of a host: waived kernel parameters, modes of certificates, and files that arguments name."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.base.linux import file_systems
from agent.base.model import DefaultPermissions, Directory, File, FileMode, FilePermissions, Sysctl
from agent.base.value import replace
from agent.harden.desired.dropin_options import named_paths
from agent.harden.desired.resources import Inputs, desired_resources, k3s_config, sysctl_file
from agent.harden.guide.manifests import EventRateLimit
from agent.harden.guide.sysctls import PARAMETERS_FILE, SYSCTLS
from agent.harden.node.facts import HostFacts, assumed_facts
from agent.harden.node.network_leases import NetworkLeases
from agent.harden.settings.schema import Settings
from agent.k3s.config_merge import ConfigText, merge_configuration
from agent.k3s.roles_and_versions import NETWORK_LEASES, Role, Version

SERVER = assumed_facts(Role.SERVER, Version(1, 34, 0))
AGENT = assumed_facts(Role.AGENT, Version(1, 34, 0))
CERTIFICATES = tuple(SERVER.data_dir / "server/tls" / name for name in ("client-ca.crt", "server-ca.crt"))


@pytest.mark.parametrize("key", [row.key for row in SYSCTLS if row.written])
def test_a_waived_kernel_parameter_is_not_set(key: str) -> None:
    plain, waived = (desired_resources(Settings(), AGENT, Inputs(waived=keys)) for keys in ((), (key,)))
    assert [item.id for item in waived] == [item.id for item in plain if item.id != key]
    (file,) = (item for item in waived if isinstance(item, File) and item.id == PARAMETERS_FILE)
    assert file.content == sysctl_file({key})
    assert f"\n{key}=" not in file.content.decode()
    others = [row for row in SYSCTLS if row.written and row.key != key]
    assert all(f"\n{row.key}={row.value}\n" in file.content.decode() for row in others)
    assert {item.key for item in waived if isinstance(item, Sysctl)} == {row.key for row in others}


def test_certificates_have_the_mode_of_the_settings() -> None:
    """Only the mode of existing certificates is a resource, of a server, and not by default."""
    site = replace(Settings(), certificate_permissions=FileMode(0o600))
    for settings, host in ((Settings(), SERVER), (site, AGENT)):
        resources = desired_resources(settings, host, Inputs(certificates=CERTIFICATES))
        assert not any(isinstance(resource, FilePermissions) for resource in resources)
    resources = desired_resources(site, SERVER, Inputs(certificates=CERTIFICATES))
    modes = [resource for resource in resources if isinstance(resource, FilePermissions)]
    assert modes == [FilePermissions(path=path, mode=FileMode(0o600)) for path in CERTIFICATES]
    assert [resource for resource in resources if resource not in modes] == list(desired_resources(Settings(), SERVER))
    assert desired_resources(site, SERVER) == desired_resources(Settings(), SERVER)


LEASES = Inputs(leases=NetworkLeases((NETWORK_LEASES, NETWORK_LEASES / "cbr0"), (NETWORK_LEASES / "cbr0/10.42.0.2",)))


@pytest.mark.parametrize("host", [SERVER, AGENT], ids=["server", "agent"])
def test_cni_files_have_the_mode_of_the_settings(host: HostFacts) -> None:
    site = replace(Settings(), cni_file_permissions=FileMode(0o600))
    others = desired_resources(Settings(), host, LEASES)
    added = [item for item in desired_resources(site, host, LEASES) if item not in others]
    assert added == [
        Directory(path=NETWORK_LEASES, mode=FileMode(0o700)),
        DefaultPermissions(path=NETWORK_LEASES, acl=file_systems.OWNER_ONLY),
        DefaultPermissions(path=NETWORK_LEASES / "cbr0", acl=file_systems.OWNER_ONLY),
        FilePermissions(path=NETWORK_LEASES / "cbr0/10.42.0.2", mode=FileMode(0o600)),
    ]
    assert desired_resources(site, host) == desired_resources(Settings(), host)


STRICT = replace(
    Settings(),
    deny_service_external_ips=True,
    event_rate_limit=EventRateLimit(5000, 20_000),
    always_pull_images=True,
    audit_webhook=PurePosixPath("/etc/k3s-harden/audit-webhook.yaml"),
    pod_max_pids=4096,
    seccomp_default=True,
)


@pytest.mark.parametrize(
    ("minor", "plugins"),
    [
        (24, ",AlwaysPullImages"),
        (25, ",EventRateLimit,AlwaysPullImages"),
        (26, ",EventRateLimit,AlwaysPullImages"),
        (27, ",EventRateLimit,AlwaysPullImages,DenyServiceExternalIPs"),
    ],
)
def test_plugins_and_arguments_are_those_that_the_version_allows(minor: int, plugins: str) -> None:
    """Up to v1.24 no file has the limits of EventRateLimit, and the kubelet exits at seccomp-default without a gate.

    Up to v1.26 DenyServiceExternalIPs fails a control.
    """
    server, agent = (k3s_config(STRICT, assumed_facts(role, Version(1, minor, 0))).decode() for role in Role)
    (line,) = (line for line in server.splitlines() if "enable-admission-plugins=" in line)
    assert line.endswith(f",ServiceAccount{plugins}")
    assert "  - audit-webhook-config-file=/etc/k3s-harden/audit-webhook.yaml\n  - audit-webhook-mode=batch\n" in server
    assert "enable-admission-plugins" not in agent
    assert "audit-webhook" not in agent
    for text in (server, agent):
        assert "  - pod-max-pids=4096\n" in text
        assert ("  - seccomp-default=true\n" in text) is (minor >= 25)


def paths(*arguments: str, component: str = "kube-apiserver", role: Role = Role.SERVER) -> list[str]:
    text = f"{component}-arg:\n" + "".join(f"- '{argument}'\n" for argument in arguments)
    config = merge_configuration([ConfigText(PurePosixPath("/config.yaml"), text.encode())])
    return [str(path.path) for path in named_paths(config, PurePosixPath("/data"), role)]


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
    assert [str(path.path) for path in named_paths(config, PurePosixPath("/data"))] == expected
