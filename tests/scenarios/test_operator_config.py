"""K3s configuration of the operator: compliant values are kept, others are overridden."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.scenarios.host_tree import CONFIG, DROPIN, DROPINS, HostTree

BEFORE_OURS = f"{DROPINS}/10-site.yaml"


def dropin(host: HostTree) -> str:
    return host[DROPIN].read_text()


@pytest.mark.parametrize(
    ("own", "ours"),
    [
        ("kube-apiserver-arg: [audit-log-maxage=1, audit-log-maxage=31]", "audit-log-maxage"),
        ("kube-apiserver-arg: audit-log-path=/var/log/k3s/audit.log", "audit-log-path"),
        ("kube-apiserver-arg: service-account-extend-token-expiration=False", "service-account-extend"),
        ("kube-controller-arg: terminated-pod-gc-threshold=500", "terminated-pod-gc-threshold"),
        ("kubelet-arg: [max-pods=200, streaming-connection-idle-timeout=30m]", "streaming-connection"),
        ("kubelet-arg: tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "tls-cipher-suites"),
        ("protect-kernel-defaults: yes", "protect-kernel-defaults"),
        ("secrets-encryption: on", "secrets-encryption"),
        (
            "kube-apiserver-arg: 'enable-admission-plugins=ServiceAccount,NodeRestriction,AlwaysPullImages'",
            "admission-plugins",
        ),
    ],
)
def test_a_compliant_value_of_the_operator_is_not_repeated(own: str, ours: str, host: HostTree) -> None:
    host.write(CONFIG, f"{own}\n")
    seen = host.seen("apply")
    assert (seen.code, seen.findings) == (0, ())
    assert ours not in dropin(host)


@pytest.mark.parametrize(
    ("own", "ours"),
    [
        ("kube-apiserver-arg: audit-log-path=-", "audit-log-path=/var/lib/rancher/k3s/server/logs/audit.log"),
        ("kube-apiserver-arg: [audit-log-maxage=31, audit-log-maxage=1]", "audit-log-maxage=30"),
        ("kubelet-arg: streaming-connection-idle-timeout=0", "streaming-connection-idle-timeout=5m"),
        ("kubelet-arg: tls-cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA", "tls-cipher-suites=TLS_ECDHE_ECDSA"),
        ("protect-kernel-defaults: false", "protect-kernel-defaults: true"),
    ],
)
def test_a_value_that_is_not_compliant_is_overridden(own: str, ours: str, host: HostTree) -> None:
    """K3s reads the drop-in last; the file of the operator is not changed."""
    host.write(CONFIG, f"{own}\n", 0o640)
    before = host.entries()[CONFIG]
    seen = host.seen("apply")
    assert (seen.code, seen.findings) == (0, ())
    assert ours in dropin(host)
    assert host.entries()[CONFIG] == before
    assert host.seen("check").code == 0


@pytest.mark.parametrize("own", ["audit-log-maxage=", "audit-log-maxage"])
def test_an_invalid_value_is_overridden_and_reported(own: str, host: HostTree) -> None:
    """The API server exits at it, because it parses all values of an argument before it uses the last."""
    host.write(CONFIG, f"kube-apiserver-arg: {own}\n")
    assert host.run("apply").code == 3
    assert "audit-log-maxage=30" in dropin(host)
    assert host.seen("check").only("component-argument-invalid").location == f"{CONFIG}:1"


@pytest.mark.parametrize("path", [CONFIG, BEFORE_OURS])
def test_admission_plugins_of_the_operator_are_merged(path: str, host: HostTree) -> None:
    """All plugins are in a single value, because scanners read only the first argument."""
    host.write(path, "kube-apiserver-arg+:\n  - enable-admission-plugins=DenyServiceExternalIPs,AlwaysPullImages\n")
    assert host.run("apply").code == 0
    line = "- enable-admission-plugins=NodeRestriction,ServiceAccount,DenyServiceExternalIPs,AlwaysPullImages\n"
    assert line in dropin(host)


def test_an_argument_of_the_service_that_overrides_the_control_is_reported(host: HostTree) -> None:
    """A file cannot override the command line, so the finding has the location in the unit."""
    host.unit("server", "--kube-apiserver-arg=audit-log-maxage=1")
    seen = host.seen("apply")
    assert seen.code == 3
    finding = seen.only("option-overridden")
    unit = "/etc/systemd/system/k3s.service"
    lines = host[unit].read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "audit-log-maxage" in text)
    assert (finding.location, finding.found, finding.expected) == (f"{unit}:{line}", "1", "30 or more")


def test_another_configuration_file_has_its_own_drop_in_directory(host: HostTree) -> None:
    """K3s reads the directory named after its main file, so the drop-in is written there."""
    host.unit("server", "--config", "/etc/own/k3s.yaml")
    host.write("/etc/own/k3s.yaml", "data-dir: /srv/k3s\n")
    host.write(CONFIG, "data-dir: /not/read\n")
    seen = host.seen("apply")
    assert seen.code == 0
    assert seen.facts["data directory"] == ("/srv/k3s", "/etc/own/k3s.yaml:1")
    assert host["/etc/own/k3s.yaml.d/90-k3s-harden.yaml"].exists()
    assert not host[DROPIN].exists()


def test_a_service_of_another_name_is_read_with_its_environment(host: HostTree) -> None:
    """INSTALL_K3S_NAME=east creates k3s-east.service."""
    host.options = ("--k3s-version", "1.34")
    host.unit("server", "--debug", name="k3s-east")
    place = "/etc/default/k3s-east"
    host.write(place, 'K3S_DATA_DIR="/srv/k3s"\n', 0o600)
    facts = host.seen("apply").facts
    assert facts["role"] == ("server", "/etc/systemd/system/k3s-east.service")
    assert facts["data directory"] == ("/srv/k3s", f"{place}:1")


@pytest.mark.parametrize(
    "directory",
    ["/srv/k3s data", "/srv/k3s=1", "/srv/größe-名", "/srv/a: b #c", "/srv/it's", '/srv/"q"', "/srv/{data_dir}"],
)
def test_a_data_directory_may_have_any_name(directory: str, host: HostTree) -> None:
    """Spaces, quotes and YAML characters reach K3s unchanged."""
    host.write(CONFIG, json.dumps({"data-dir": directory}, ensure_ascii=False))
    assert host.run("apply").code == 0
    seen = host.seen("check")
    assert (seen.code, seen.findings) == (0, ())
    assert seen.facts["data directory"][0] == directory
    arguments = yaml.safe_load(dropin(host))["kube-apiserver-arg+"]
    assert f"audit-policy-file={directory}/server/audit.yaml" in arguments
    assert host[f"{directory}/server/audit.yaml"].exists()


OPENRC = """\
#!/sbin/openrc-run

depend() {{
    after network-online
    want cgroups
}}

supervisor=supervise-daemon
name={name}
command="/usr/local/bin/k3s"
command_args="{role} \\
\t'--debug' \\

    >>/var/log/{name}.log 2>&1"

output_log=/var/log/{name}.log
pidfile="/var/run/{name}.pid"

set -o allexport
if [ -f /etc/environment ]; then source /etc/environment; fi
if [ -f /etc/rancher/k3s/{name}.env ]; then source /etc/rancher/k3s/{name}.env; fi
set +o allexport
"""


def openrc(host: HostTree, name: str, role: str, environment: str) -> None:
    """Write the service as install.sh does on a host without systemd."""
    host.write(f"/etc/init.d/{name}", OPENRC.format(name=name, role=role), 0o755)
    host.write(f"/etc/rancher/k3s/{name}.env", environment, 0o600)


@pytest.mark.parametrize(("name", "role"), [("k3s-agent", "agent"), ("k3s-east", "server")])
def test_an_openrc_service_is_read_with_its_environment(name: str, role: str, host: HostTree) -> None:
    """On Alpine, install.sh writes the environment into /etc/rancher/k3s/SERVICE.env."""
    host.options = ("--k3s-version", "1.34")
    openrc(host, name, role, "K3S_URL='https://10.0.0.1:6443'\nK3S_DATA_DIR='/srv/k3s'\nK3S_TOKEN='t0ken'\n")
    facts = host.seen("check").facts
    assert facts["role"] == (role, f"/etc/init.d/{name}")
    assert facts["sysctl.d read by"][0] == "sysctl --system"
    assert facts["joins a cluster"][0] == "yes"
    assert facts["data directory"][0] == "/srv/k3s"


def test_openrc_uses_the_order_of_procps(host: HostTree) -> None:
    """/etc/sysctl.conf is read last at boot and has the highest precedence."""
    openrc(host, "k3s", "server", "")
    host.write("/etc/sysctl.conf", "kernel.panic = 0\n")
    seen = host.seen("apply")
    assert seen.code == 3
    assert seen.only("sysctl-overridden").location == "/etc/sysctl.conf:1"
