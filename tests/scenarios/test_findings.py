"""Scenarios for each kind of finding: a host that has it, its remediation, and a similar host without the finding."""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from agent.findings import KINDS
from agent.findings.gate import GATE_FINDINGS
from agent.host import Host
from agent.host.probe import K3sProcess
from agent.host.process import run_nothing
from agent.model import Role
from agent.present.remediation import text
from agent.settings.schema import Overrides
from agent.situation import Request
from agent.verbs import converge as verbs
from agent.verbs.explain import explained
from tests.der import pem, rsa_certificate, rsa_key
from tests.scenarios.follower import Follower
from tests.scenarios.host_tree import (
    AUDIT,
    CONFIG,
    DATA_DIR,
    DROPIN,
    DROPINS,
    KERNEL_FILE,
    MANIFESTS,
    POLICY,
    PSA,
    SETTINGS,
    STATE,
    Finding,
    HostTree,
    parsed,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scenarios.conftest import Hardened
    from tests.scenarios.loaded_program import LoadedProgram

PACKAGED_GATE = "/usr/lib/systemd/system/k3s-harden@.service"

SERVICE_DROPIN = "/etc/systemd/system/k3s.service.d/50-{}.conf"
GATE_UNIT = (Path(__file__).parents[2] / "systemd/k3s-harden@.service").read_text()
GATE_DROPIN = (Path(__file__).parents[2] / "systemd/k3s.service.d/10-k3s-harden.conf").read_text()

SITE = f"{DROPINS}/99-site.yaml"
"""K3s reads this file after the drop-in of k3s-harden."""

CLOSED_ENDPOINT = (
    "remove the option, or allow only the cluster's nodes to connect to port 6443 at {location}; restart K3s"
)
IDENTITY = '{"kind":"EncryptionConfiguration","resources":[{"resources":["secrets"],"providers":[{"identity":{}}]}]}'
AESCBC = IDENTITY.replace('{"identity"', '{"aescbc":{}},{"identity"')
PSP = "apiVersion: policy/v1beta1\nkind: PodSecurityPolicy\nmetadata:\n  name: own\n"
CRON_JOB = "apiVersion: {version}\nkind: CronJob\nmetadata:\n  name: own\n"
NETWORK_POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: own
  namespace: shop
spec:
  podSelector: {{}}
  ingress:
    - from:
        - namespaceSelector:
            matchLabels:
              {label}: shop
"""
INDENTED = NETWORK_POLICY.replace("\n", "\n  ").rstrip(" ")
WAIVER = """\
waivers:
  - control: vm.panic_on_oom
    reason: a database restarts nodes on purpose
"""
ADMISSION = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: []\n"

ENCRYPTION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aescbc:
      keys: [{name: a, secret: UlJSUlJSUlJSUlJSUlJSUg==}]
"""
KUBECONFIG = """\
clusters: [{name: a, cluster: {server: 'https://127.0.0.1'}}]
contexts: [{name: b, context: {cluster: a}}]
current-context: b
"""
AUTHORIZATION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Webhook
  name: own
  webhook:
    timeout: 3s
    subjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: /etc/webhook.yaml}
"""
SCHEDULER_FILE = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: /var/lib/rancher/k3s/server/cred/scheduler.kubeconfig}
leaderElection: {leaseDuration: 10s}
"""
IMAGE_POLICY = """\
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ImagePolicyWebhook
  configuration: {imagePolicy: {kubeConfigFile: /etc/webhook.yaml}}
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {enforce: restricted}
"""
IMAGE_POLICY_ARGUMENTS = (
    "kube-apiserver-arg:\n  - admission-control-config-file=/etc/own.yaml\n"
    "  - enable-admission-plugins=NodeRestriction,ImagePolicyWebhook\n"
)
MISSPELT = """\
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurty
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {enforce: restricted}
"""
OWN_PSA = MISSPELT.replace("Securty", "Security")
EXEMPTIONS = "    exemptions: {{namespaces: [kube-system, {}]}}\n"
PLUGIN_PATH = (
    '{"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration",'
    ' "plugins": [{"name": "PodSecurity", "path": "psa.yaml"}]}'
)
POD_SECURITY = (
    "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n"
    "defaults: {enforce: restricted}\n"
)
KUBELET_FILE = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
KUBELET_DROPIN = f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-site.conf"
OWN_ADMISSION = "kube-apiserver-arg+:\n  - admission-control-config-file=/etc/own.yaml\n"
LOGS_NOTHING = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n"
OWN_AUDIT = "kube-apiserver-arg+:\n  - audit-policy-file=/etc/own.yaml\n"


def written(path: str, content: str) -> Callable[[HostTree], object]:
    return lambda host: host.write(path, content)


def edited(path: str) -> Callable[[HostTree], object]:
    return lambda host: host.edit(path)


def deleted(path: str) -> Callable[[HostTree], object]:
    return lambda host: host[path].unlink()


def chmod(path: str, mode: int) -> Callable[[HostTree], object]:
    return lambda host: host[path].chmod(mode)


def asked_for(*options: str) -> Callable[[HostTree], object]:
    def change(host: HostTree) -> None:
        host.options = options

    return change


_NOTIFY = "drift:\n  notify: /opt/notify\n"
_COMMAND = "/opt/notify"
_WAITING = f"{STATE}/notify/1.json"


def waits(seconds: int) -> Callable[[HostTree], object]:
    """Put a notification there that was written so long ago."""

    def change(host: HostTree) -> None:
        host.write(_WAITING, "{}")
        written_at = time.time() - seconds
        os.utime(host[_WAITING], (written_at, written_at))

    return change


def both(*edits: Callable[[HostTree], object]) -> Callable[[HostTree], object]:
    return lambda host: [edit(host) for edit in edits]


def linked(path: str, target: str) -> Callable[[HostTree], object]:
    def change(host: HostTree) -> None:
        host[path].parent.mkdir(parents=True, exist_ok=True)
        host[path].symlink_to(target)

    return change


def dated(path: str, seconds: int) -> Callable[[HostTree], object]:
    return lambda host: os.utime(host[path], (seconds, seconds))


def many(pattern: str, number: int) -> Callable[[HostTree], object]:
    return lambda host: [host.write(pattern.format(one), "") for one in range(number)]


def with_service(*dropins: str) -> Callable[[HostTree], object]:
    """Install the service of K3s, the gate, and drop-ins `50-0.conf`, `50-1.conf`."""

    def change(host: HostTree) -> None:
        host.write("/etc/systemd/system/k3s.service", "[Service]\nExecStart=/usr/local/bin/k3s server\n")
        host.write("/etc/systemd/system/k3s-harden@.service", f"[Unit]\nRequiresMountsFor={DATA_DIR}\n")
        host.write("/etc/systemd/system/k3s.service.d/10-k3s-harden.conf", GATE_DROPIN)
        for number, content in enumerate(dropins):
            host.write(SERVICE_DROPIN.format(number), content)

    return change


def installed_gate(change: Callable[[HostTree], object]) -> Callable[[HostTree], object]:
    """Install the gate of a program, and change the host."""
    return both(
        written("/usr/lib/systemd/systemd", ""),
        lambda host: host.write("/opt/k3s-harden", "#!/bin/sh\n", 0o755),
        lambda host: host.run("install", "--program", "/opt/k3s-harden"),
        change,
    )


def line_of_unit(line: str, other: str) -> Callable[[HostTree], object]:
    """Replace a line in the unit of the gate."""

    def change(host: HostTree) -> None:
        unit = host["/etc/systemd/system/k3s-harden@.service"]
        unit.write_text(unit.read_text().replace(f"{line}\n", f"{other}\n"))

    return change


def a_fifo(path: str) -> Callable[[HostTree], object]:
    return lambda host: os.mkfifo(host[path])


def unprotected(edit: Callable[[HostTree], object]) -> Callable[[HostTree], object]:
    return lambda host: [host.write(SETTINGS, "protect-kernel-defaults: false\n"), host.run("apply"), edit(host)]


def emptied(path: str) -> Callable[[HostTree], object]:
    return lambda host: host.write(path, "", 0o600)


def nothing(_: HostTree) -> None: ...


def as_described(host: HostTree, finding: Finding) -> None:
    """Run the last command of the remediation."""
    command = finding.remediation.rpartition("run `")[2].removesuffix("`")
    words = shlex.split(command.removeprefix("sudo "))
    if words[0] == "k3s-harden":
        assert host.run(words[1], *words[2:]).code == 0
    elif words[0] == "rm":
        host[words[1]].unlink()
    else:
        raise AssertionError(f"unexpected command: {finding.remediation}")


def line_deleted(host: HostTree, finding: Finding) -> None:
    """Delete the line of the finding's location."""
    line_replaced(r".*\n", "")(host, finding)


def line_replaced(pattern: str, replacement: str) -> Callable[[HostTree, Finding], None]:
    """Edit the line of the finding's location."""

    def cure(host: HostTree, finding: Finding) -> None:
        path, _, number = finding.location.rpartition(":")
        lines = host[path].read_text().splitlines(keepends=True)
        edited = re.sub(pattern, replacement, lines[int(number) - 1])
        assert edited != lines[int(number) - 1]
        lines[int(number) - 1] = edited
        host[path].write_text("".join(lines))

    return cure


def file_put(path: str, content: str) -> Callable[[HostTree, Finding], object]:
    return lambda host, _: host.write(path, content)


def removed(path: str) -> Callable[[HostTree, Finding], object]:
    return lambda host, _: host[path].rmdir() if host[path].is_dir() else host[path].unlink()


def asked_again(*options: str) -> Callable[[HostTree, Finding], object]:
    return lambda host, _: asked_for(*options)(host)


class Case(NamedTuple):
    """A hardened host that gets a finding."""

    kind: str
    spoil: Callable[[HostTree], object]
    """The change that causes the finding."""
    near_miss: Callable[[HostTree], object]
    """A similar change that does not cause it."""
    location: str = ""
    expected: str = ""
    found: str = ""
    remediation: str = ""
    """`{location}` stands for the location."""
    cure: Callable[[HostTree, Finding], object] | None = as_described
    role: str = "server"
    version: str = "1.34"
    name: str = ""


CERTIFICATE = rsa_certificate(1).decode()
KEY, OTHER_KEY = (pem("RSA PRIVATE KEY", rsa_key(seed)).decode() for seed in (1, 2))
SIGNED = """\
kube-controller-manager-arg:
  - cluster-signing-kubelet-client-cert-file=/etc/ca.crt
  - cluster-signing-kubelet-client-key-file=/etc/ca.key
"""


def own_files(**files: str) -> Callable[[HostTree], None]:
    """Return an edit after which the operator names an audit policy and an admission configuration."""

    def edit(host: HostTree) -> None:
        arguments = "[audit-policy-file=/srv/audit.yaml, admission-control-config-file=/srv/psa.yaml]"
        host.write(CONFIG, f"kube-apiserver-arg: {arguments}\n", 0o600)
        for name, source in {"audit": AUDIT, "psa": PSA}.items():
            text = files.get(name, host[source].read_text())
            if text:
                host.write(f"/srv/{name}.yaml", text, 0o600)

    return edit


CASES = (
    Case(
        "file-damaged",
        emptied(AUDIT),
        edited(AUDIT),
        location=AUDIT,
        expected="238 bytes",
        found="0 bytes",
        remediation="k3s-harden apply",
    ),
    Case(
        "file-edited",
        edited(POLICY),
        asked_for("--role", "server", "--k3s-version", "1.28"),
        location=POLICY,
        remediation="run `k3s-harden diff`; then move an intended change to /etc/k3s-harden/config.yaml;"
        " or run `k3s-harden apply --force`",
        cure=lambda host, _: host.run("apply", "--force"),
    ),
    Case(
        "edited-file-insufficient",
        written(AUDIT, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n"),
        edited(AUDIT),
        location=f"{AUDIT}:4",
        expected="a rule with the level Metadata or higher",
        found="no rule that logs",
        remediation="run `k3s-harden apply --force`; restart K3s; or correct the edit at {location}; restart K3s",
        cure=lambda host, _: host.run("apply", "--force"),
    ),
    Case(
        "mode-loosened",
        chmod(f"{DATA_DIR}/server", 0o755),
        chmod(f"{DATA_DIR}/server", 0o500),
        location=f"{DATA_DIR}/server",
        expected="0700",
        found="0755",
        remediation="k3s-harden apply",
    ),
    Case(
        "mode-loosened",
        chmod(AUDIT, 0o640),
        chmod(KERNEL_FILE, 0o600),
        location=AUDIT,
        expected="0600",
        found="0640",
        remediation="k3s-harden apply",
        name="file",
    ),
    Case(
        "left-over",
        asked_for("--role", "server", "--k3s-version", "1.24"),
        both(written(PSA, ADMISSION), asked_for("--role", "server", "--k3s-version", "1.24")),
        location=PSA,
        found="2044 bytes",
        remediation=f"make sure that role and version are correct; then run `sudo rm {PSA}`",
    ),
    Case(
        "interrupted-run",
        lambda host: [path.rename(path.with_suffix(".begun")) for path in host[f"{STATE}/journal"].iterdir()],
        nothing,
        remediation="k3s-harden apply",
    ),
    Case(
        "journal-damaged",
        lambda host: [path.write_text("{") for path in host[f"{STATE}/journal"].iterdir()],
        written(f"{STATE}/journal/000001-1.json.bak", "{"),
        remediation=(
            "restore {location} from a backup, or move it away; the changes of that run can then not be reverted"
        ),
        cure=lambda host, finding: host[finding.location].unlink(),
    ),
    Case(
        "k3s-config-broken",
        written(CONFIG, "node-name: a\n  node-ip: b\n"),
        written(CONFIG, "# nothing yet\n"),
        location=f"{CONFIG}:2",
        remediation="correct the indentation, or put a value that contains `: ` in quotes at {location}",
        cure=line_replaced("^ +", ""),
    ),
    Case(
        "k3s-config-broken",
        written(CONFIG, "kubelet-arg:\n  - max-pods: 200\n"),
        written(CONFIG, "not-an-option:\n  a: b\n"),
        location=f"{CONFIG}:2",
        remediation="quote an item that contains a colon followed by a space at {location}",
        cure=line_replaced(": ", "="),
        name="mapping",
    ),
    Case(
        "k3s-config-broken",
        written(CONFIG, "not-an-option:\n  a: b\n"),
        written(CONFIG, "node-label:\n  - a=b\n"),
        location=f"{CONFIG}:2",
        remediation="quote an item that contains a colon followed by a space at {location}",
        cure=removed(CONFIG),
        role="agent",
        name="agent",
    ),
    Case(
        "k3s-config-broken",
        lambda host: host[CONFIG].mkdir(),
        lambda host: host[SITE].mkdir(),
        location=CONFIG,
        remediation="remove {location}, or replace it",
        cure=removed(CONFIG),
        name="directory",
    ),
    Case(
        "k3s-config-broken",
        a_fifo(SITE),
        a_fifo(f"{DROPINS}/99-site.txt"),
        location=SITE,
        remediation="remove {location}, or replace it",
        cure=removed(SITE),
        name="fifo",
    ),
    Case(
        "k3s-config-ignored",
        linked(SITE, "/etc/nowhere.yaml"),
        both(linked(SITE, "/dev/null"), linked(CONFIG, "/etc/nowhere.yaml")),
        location=SITE,
        remediation=f"sudo rm {SITE}",
    ),
    *(
        Case(
            "k3s-config-not-read",
            spoil,
            near_miss,
            location=location,
            remediation="make it smaller, or merge the files",
            cure=None,
            name=name,
        )
        for name, spoil, near_miss, location in (
            ("large", written(SITE, "#" * (1 << 20) + "\n"), written(SITE, "#" * 1000 + "\n"), SITE),
            ("deep", written(SITE, "kubelet-arg: " + "[" * 70 + "]" * 70), written(SITE, "a: [[[]]]\n"), f"{SITE}:1"),
            ("many", many(f"{DROPINS}/{{}}.yaml", 501), many(f"{DROPINS}/{{}}.yaml", 400), ""),
            ("unit", with_service("", "#" * ((1 << 18) + 1)), with_service(""), ""),
            ("drop-ins of the unit", both(with_service(""), many(SERVICE_DROPIN, 501)), with_service(""), ""),
        )
    ),
    Case(
        "k3s-config-broken",
        both(lambda host: host[DROPIN].unlink(), lambda host: host[DROPINS].rmdir(), written(DROPINS, "")),
        both(lambda host: host[DROPIN].unlink(), lambda host: host[DROPINS].rmdir()),
        location=DROPINS,
        remediation="remove {location}, or replace it",
        cure=removed(DROPINS),
        name="drop-ins",
    ),
    Case(
        "server-key-on-agent",
        written(CONFIG, "node-name: a\ndisable: traefik\n"),
        written(CONFIG, "node-name: a\nnode-label: b=c\n"),
        location=f"{CONFIG}:2",
        found="disable",
        remediation="remove `disable` at {location}",
        cure=line_deleted,
        role="agent",
    ),
    Case(
        "admission-plugins-refused",
        written(SITE, "kube-apiserver-arg+:\n  - enable-admission-plugins=NodeRestriction,PodSecurityPolicy\n"),
        written(SITE, "kube-apiserver-arg+:\n  - enable-admission-plugins=NodeRestriction,PodSecurity\n"),
        location=f"{SITE}:2",
        expected="plugins of K3s v1.25.0",
        found="NodeRestriction,PodSecurityPolicy",
        remediation="remove PodSecurityPolicy from the list at {location}; restart K3s",
        cure=line_replaced(",PodSecurityPolicy", ""),
        version="1.25",
    ),
    Case(
        "admission-plugins-refused",
        written(SITE, "kube-apiserver-arg+: enable-admission-plugins=NodeRestrictions\n"),
        written(SITE, "kube-apiserver-arg+: enable-admission-plugins=NodeRestriction\n"),
        location=f"{SITE}:1",
        expected="plugins of K3s v1.34.0",
        found="NodeRestrictions",
        remediation="remove NodeRestrictions from the list at {location}; restart K3s",
        cure=line_replaced("NodeRestrictions", "NodeRestriction"),
        name="misspelt",
    ),
    Case(
        "admission-plugins-refused",
        written(SITE, "kube-apiserver-arg+: disable-admission-plugins=SecurityContextDeny\n"),
        asked_for("--role", "server", "--k3s-version", "1.29"),
        location=f"{SITE}:1",
        expected="plugins of K3s v1.30.0",
        found="SecurityContextDeny",
        remediation="remove SecurityContextDeny from the list at {location}; restart K3s",
        cure=line_deleted,
        version="1.30",
        name="removed",
    ),
    Case(
        "admission-plugins-refused",
        written(SITE, "kube-apiserver-arg+: enable-admission-plugins=AlwaysPullImages,\n"),
        written(SITE, "kube-apiserver-arg+: enable-admission-plugins=\n"),
        location=f"{SITE}:1",
        expected="plugins of K3s v1.34.0",
        found="AlwaysPullImages,",
        remediation="remove the extra comma at {location}; restart K3s",
        cure=line_replaced(",$", ""),
        name="empty",
    ),
    Case(
        "admission-plugins-refused",
        written(SITE, "kube-apiserver-arg+: disable-admission-plugins=DefaultStorageClass,ServiceAccount\n"),
        written(SITE, "kube-apiserver-arg+: disable-admission-plugins=DefaultStorageClass,LimitRanger\n"),
        location=f"{SITE}:1",
        found="DefaultStorageClass,ServiceAccount",
        remediation="remove ServiceAccount from the list at {location}; restart K3s",
        cure=line_replaced(",ServiceAccount", ""),
        name="overlap",
    ),
    Case(
        "admission-plugins-refused",
        both(deleted(DROPIN), written(SITE, "kube-apiserver-arg: disable-admission-plugins=NodeRestriction\n")),
        both(deleted(DROPIN), written(SITE, "kube-apiserver-arg: disable-admission-plugins=ServiceAccount\n")),
        location=f"{SITE}:1",
        found="NodeRestriction",
        remediation="remove NodeRestriction from the list at {location}; restart K3s",
        cure=line_deleted,
        name="default",
    ),
    Case(
        "admission-plugins-conflict",
        both(deleted(DROPIN), written(SITE, "kube-apiserver-arg: disable-admission-plugins=ServiceAccount\n")),
        both(deleted(DROPIN), written(SITE, "kube-apiserver-arg: disable-admission-plugins=NamespaceLifecycle\n")),
        location=f"{SITE}:1",
        expected="disable-admission-plugins without ServiceAccount",
        found="ServiceAccount",
        remediation="remove ServiceAccount from the list at {location}; restart K3s",
        cure=line_deleted,
    ),
    Case(
        "pod-security-disabled",
        written(SITE, "kube-apiserver-arg+: disable-admission-plugins=PodSecurity\n"),
        both(
            written(SITE, "kube-apiserver-arg+: disable-admission-plugins=PodSecurity\n"),
            asked_for("--role", "server", "--k3s-version", "1.24"),
        ),
        location=f"{SITE}:1",
        found="PodSecurity",
        remediation="remove PodSecurity from the list at {location}; restart K3s",
        cure=line_deleted,
    ),
    Case(
        "pod-security-disabled",
        written(SITE, 'kube-apiserver-arg+: disable-admission-plugins="PodSecurity"\n'),
        written(SITE, 'kube-apiserver-arg+: disable-admission-plugins="LimitRanger"\n'),
        location=f"{SITE}:1",
        found='"PodSecurity"',
        remediation="remove PodSecurity from the list at {location}; restart K3s",
        cure=line_deleted,
        name="quoted",
    ),
    Case(
        "audit-policy-unusable",
        lambda host: host[AUDIT].unlink(),
        written(SITE, f"kube-apiserver-arg+: audit-log-path={DATA_DIR}/server/logs/other.log\n"),
        location=f"{DROPIN}:8",
        found=AUDIT,
        remediation="k3s-harden apply",
    ),
    Case(
        "audit-policy-unusable",
        both(
            written("/etc/audit.yaml", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n"),
            written(SITE, "kube-apiserver-arg+: audit-policy-file=/etc/audit.yaml\n"),
        ),
        both(
            written("/etc/audit.yaml", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"),
            written(SITE, "kube-apiserver-arg+: audit-policy-file=/etc/audit.yaml\n"),
        ),
        location="/etc/audit.yaml:3",
        remediation=f"correct /etc/audit.yaml; or remove the option at {SITE}:1; then run `k3s-harden apply`;"
        " restart K3s",
        cure=line_replaced(r"\[\]", "[{level: Metadata}]"),
        name="operator",
    ),
    Case(
        "audit-policy-unusable",
        written(AUDIT, "rules: []\n"),
        edited(AUDIT),
        location=f"{AUDIT}:1",
        remediation="k3s-harden apply --force",
        cure=lambda host, _: host.run("apply", "--force"),
        name="edited",
    ),
    Case(
        "admission-configuration-unusable",
        lambda host: host[PSA].unlink(),
        chmod(PSA, 0o400),
        location=f"{DROPIN}:7",
        remediation="k3s-harden apply",
    ),
    Case(
        "admission-configuration-unusable",
        written(SITE, "kube-apiserver-arg+:\n  - admission-control-config-file=/etc/psa.yaml\n"),
        written(CONFIG, "kube-apiserver-arg:\n  - admission-control-config-file=/etc/psa.yaml\n"),
        location=f"{SITE}:2",
        remediation="create /etc/psa.yaml; or remove the option at {location}; then run `k3s-harden apply`;"
        " restart K3s",
        cure=file_put("/etc/psa.yaml", OWN_PSA),
        name="operator",
    ),
    Case(
        "component-argument-unknown",
        written(CONFIG, "kube-apiserver-arg:\n  - enable-swagger-ui=true\n"),
        written(CONFIG, "kube-apiserver-arg:\n  - advertise_port=6443\n"),
        location=f"{CONFIG}:2",
        expected="an argument of kube-apiserver 1.37",
        found="enable-swagger-ui=true",
        remediation="remove `enable-swagger-ui` at {location}; restart K3s",
        cure=line_replaced("enable-swagger-ui=true", "profiling=false"),
        version="1.37",
    ),
    Case(
        "component-argument-unknown",
        written(CONFIG, "kubelet-arg:\n  - max-podz=50\n"),
        written(CONFIG, "kubelet-arg:\n  - max-pods=50\n"),
        location=f"{CONFIG}:2",
        expected="max-pods",
        found="max-podz=50",
        remediation="write `max-pods` instead of `max-podz` at {location}; restart K3s",
        cure=line_replaced("max-podz", "max-pods"),
        version="1.37",
        name="misspelt",
    ),
    Case(
        "component-argument-underscored",
        written(CONFIG, "kube-apiserver-arg:\n  - event_ttl=2h\n"),
        written(CONFIG, "kubelet-arg:\n  - max_pods=100\nkube-proxy-arg:\n  - log_dir=/var/log\n"),
        location=f"{CONFIG}:2",
        expected="event-ttl",
        found="event_ttl",
        remediation="write `event-ttl` at {location}; restart K3s",
        cure=line_replaced("event_ttl", "event-ttl"),
    ),
    Case(
        "component-argument-invalid",
        written(CONFIG, "node-label:\n  - kubernetes.io/role=a\n"),
        written(CONFIG, "node-label:\n  - node.kubernetes.io/role=a\n"),
        location=f"{CONFIG}:2",
        expected="no label of kubernetes.io or k8s.io, except a few",
        found="kubernetes.io/role=a",
        remediation="correct `node-label` at {location}; restart K3s",
        cure=line_replaced("kubernetes.io", "example.com"),
        role="agent",
        version="1.36",
        name="node-label",
    ),
    Case(
        "component-argument-invalid",
        written(CONFIG, "kube-apiserver-arg:\n  - request-timeout=300\n"),
        written(CONFIG, "kube-apiserver-arg:\n  - request-timeout=300s\n"),
        location=f"{CONFIG}:2",
        expected="a duration with its unit, such as 30s, 5m or 1h30m",
        found="300",
        remediation="correct `request-timeout` at {location}; restart K3s",
        cure=line_replaced("300", "5m"),
        version="1.37",
    ),
    Case(
        "component-argument-invalid",
        written(CONFIG, "kube-scheduler-arg:\n  - leader-elect-lease-duration=10s\ncluster-init: true\n"),
        written(CONFIG, "kube-scheduler-arg:\n  - leader-elect-lease-duration=10s\n"),
        location=f"{CONFIG}:2",
        expected="15s, 10s and 2s by default",
        found="10s",
        remediation="correct `leader-elect-lease-duration` at {location}; restart K3s",
        cure=line_replaced("10s", "11s"),
        version="1.37",
        name="etcd",
    ),
    Case(
        "component-file-invalid",
        both(
            written("/etc/own.yaml", SCHEDULER_FILE),
            written(CONFIG, "kube-scheduler-arg:\n  - config=/etc/own.yaml\ncluster-init: true\n"),
        ),
        both(
            written("/etc/own.yaml", SCHEDULER_FILE),
            written(CONFIG, "kube-scheduler-arg:\n  - config=/etc/own.yaml\n"),
        ),
        location="/etc/own.yaml:4",
        remediation="correct /etc/own.yaml at {location}; restart K3s",
        cure=file_put("/etc/own.yaml", SCHEDULER_FILE.replace("10s", "11s")),
        name="etcd",
    ),
    Case(
        "component-argument-invalid",
        written(CONFIG, "kube-apiserver-arg:\n  - authorization-mode+=RBAC\n"),
        written(CONFIG, "kube-apiserver-arg:\n  - authorization-mode+=AlwaysDeny\n"),
        location=f"{CONFIG}:2",
        expected="each mode once",
        found="RBAC",
        remediation="correct `authorization-mode` at {location}; restart K3s",
        cure=line_replaced("RBAC", "AlwaysDeny"),
        version="1.37",
        name="added",
    ),
    Case(
        "feature-gate-invalid",
        written(CONFIG, "kube-apiserver-arg:\n  - feature-gates=NodeSwap=true,APIServerTracing=true\n"),
        written(CONFIG, "kube-apiserver-arg:\n  - feature-gates=NodeSwap=true,APIServerIdentity=true\n"),
        location=f"{CONFIG}:2",
        expected="a feature gate of Kubernetes 1.37",
        found="APIServerTracing=true",
        remediation="correct `APIServerTracing=true` at {location}; restart K3s",
        cure=line_replaced(",APIServerTracing=true", ""),
        version="1.37",
    ),
    Case(
        "feature-gate-invalid",
        written(CONFIG, "kubelet-arg:\n  - feature-gates=NodeSwop=true\n"),
        written(CONFIG, "kubelet-arg:\n  - feature-gates=NodeSwap=true\n"),
        location=f"{CONFIG}:2",
        expected="NodeSwap=true",
        found="NodeSwop=true",
        remediation="write `NodeSwap=true` instead of `NodeSwop=true` at {location}; restart K3s",
        cure=line_replaced("NodeSwop", "NodeSwap"),
        version="1.37",
        name="misspelt",
    ),
    Case(
        "component-file-invalid",
        both(
            written("/etc/own.yaml", ENCRYPTION.replace("Ug==", "UlJS")),
            written(CONFIG, "kube-apiserver-arg:\n  - encryption-provider-config=/etc/own.yaml\n"),
        ),
        both(
            written("/etc/own.yaml", ENCRYPTION),
            written(CONFIG, "kube-apiserver-arg:\n  - encryption-provider-config=/etc/own.yaml\n"),
        ),
        location="/etc/own.yaml:7",
        remediation="correct /etc/own.yaml at {location}; restart K3s",
        cure=file_put("/etc/own.yaml", ENCRYPTION),
    ),
    Case(
        "component-file-invalid",
        both(
            lambda host: host["/var/log/audit"].mkdir(parents=True),
            written(SITE, "kube-apiserver-arg+:\n  - audit-log-path=/var/log/audit\n"),
        ),
        written(SITE, "kube-apiserver-arg+:\n  - audit-log-path=/var/log/audit\n"),
        location=f"{SITE}:2",
        expected="a file",
        found="a directory",
        remediation="correct the path, or remove /var/log/audit at {location}; restart K3s",
        cure=line_replaced("/var/log/audit", "/var/log/audit/log"),
        name="directory",
    ),
    Case(
        "component-file-invalid",
        both(
            written("/var/log/audit", ""),
            written(SITE, "kube-apiserver-arg+:\n  - audit-log-path=/var/log/audit/log\n"),
        ),
        written(SITE, "kube-apiserver-arg+:\n  - audit-log-path=/var/log/audit/log\n"),
        location=f"{SITE}:2",
        expected="a file",
        found="a path through a file",
        remediation="correct the path, or remove /var/log/audit/log at {location}; restart K3s",
        cure=line_replaced("/audit/", "/audit-of-k3s/"),
        name="path",
    ),
    Case(
        "component-file-invalid",
        both(
            written("/etc/scheduler.yaml", "kind: KubeSchedulerConfiguration\n"),
            written(CONFIG, "kube-scheduler-arg:\n  - config=/etc/scheduler.yaml\n"),
        ),
        both(
            written("/etc/scheduler.yaml", "kind: KubeSchedulerConfiguration\n"),
            written(CONFIG, "kube-scheduler-arg:\n  - config=/etc/scheduler.yaml\ndisable-scheduler: true\n"),
        ),
        location="/etc/scheduler.yaml:1",
        remediation="correct /etc/scheduler.yaml at {location}; restart K3s",
        cure=file_put(
            "/etc/scheduler.yaml",
            "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
            "clientConnection: {kubeconfig: /var/lib/rancher/k3s/server/cred/scheduler.kubeconfig}\n",
        ),
        name="scheduler",
    ),
    Case(
        "component-file-invalid",
        both(
            written("/etc/own.yaml", PLUGIN_PATH),
            written("/etc/psa.yaml", "kind: PodSecurityConfiguration\n"),
            written(SITE, OWN_ADMISSION),
        ),
        both(
            written("/etc/own.yaml", PLUGIN_PATH),
            written("/etc/psa.yaml", POD_SECURITY),
            written(SITE, OWN_ADMISSION),
        ),
        location="/etc/psa.yaml:1",
        remediation="correct /etc/psa.yaml at {location}; restart K3s",
        cure=file_put("/etc/psa.yaml", POD_SECURITY),
        name="plugin",
    ),
    Case(
        "component-argument-invalid",
        written(CONFIG, "node-taint: ['a=b:NoExecute', 'a=c:NoExecute']\n"),
        written(CONFIG, "node-taint: ['a=b:NoExecute', 'a=c:NoSchedule']\n"),
        location=f"{CONFIG}:1",
        expected="key=value:NoSchedule, separated by commas",
        found="a=b:NoExecute,a=c:NoExecute",
        remediation="correct `node-taint` at {location}; restart K3s",
        cure=line_deleted,
        name="taints",
    ),
    Case(
        "component-file-invalid",
        both(
            written("/etc/own.yaml", "kind: Config\n"),
            written(CONFIG, "kubelet-arg:\n  - kubeconfig=/etc/own.yaml\n"),
        ),
        both(
            written("/etc/own.yaml", KUBECONFIG),
            written(CONFIG, "kubelet-arg:\n  - kubeconfig=/etc/own.yaml\n"),
        ),
        location="/etc/own.yaml:1",
        remediation="correct /etc/own.yaml at {location}; restart K3s",
        cure=file_put("/etc/own.yaml", KUBECONFIG),
        role="agent",
        name="kubeconfig",
    ),
    Case(
        "component-file-invalid",
        both(
            written("/etc/ca.crt", CERTIFICATE),
            written("/etc/ca.key", OTHER_KEY),
            written(CONFIG, SIGNED),
        ),
        both(
            written("/etc/ca.crt", CERTIFICATE),
            written("/etc/ca.key", OTHER_KEY),
            written(CONFIG, f"{SIGNED}  - controllers=*,tokencleaner,-csrsigning\n"),
        ),
        location="/etc/ca.crt",
        remediation="correct /etc/ca.crt; restart K3s",
        cure=file_put("/etc/ca.key", KEY),
        name="pair",
    ),
    Case(
        "component-file-invalid",
        both(
            written("/etc/own.crt", CERTIFICATE),
            written("/etc/own.key", OTHER_KEY),
            written(CONFIG, "kube-apiserver-arg:\n  - tls-sni-cert-key=/etc/own.crt,/etc/own.key:a.com\n"),
        ),
        both(
            written("/etc/own.crt", CERTIFICATE),
            written("/etc/own.key", KEY),
            written(CONFIG, "kube-apiserver-arg:\n  - tls-sni-cert-key=/etc/own.crt,/etc/own.key:a.com\n"),
        ),
        location="/etc/own.crt",
        remediation="correct /etc/own.crt; restart K3s",
        cure=file_put("/etc/own.key", KEY),
        name="names",
    ),
    Case(
        "component-file-invalid",
        both(
            written("/etc/own.yaml", AUTHORIZATION),
            written(CONFIG, "kube-apiserver-arg:\n  - authorization-config=/etc/own.yaml\n"),
        ),
        both(
            written("/etc/own.yaml", AUTHORIZATION),
            written("/etc/webhook.yaml", ""),
            written(CONFIG, "kube-apiserver-arg:\n  - authorization-config=/etc/own.yaml\n"),
        ),
        location="/etc/own.yaml:7",
        remediation="correct /etc/own.yaml at {location}; restart K3s",
        cure=lambda host, _: host.write("/etc/webhook.yaml", ""),
        name="authorizer",
    ),
    Case(
        "component-file-invalid",
        both(written("/etc/own.yaml", IMAGE_POLICY), written(CONFIG, IMAGE_POLICY_ARGUMENTS)),
        both(
            written("/etc/own.yaml", IMAGE_POLICY),
            written("/etc/webhook.yaml", KUBECONFIG),
            written(CONFIG, IMAGE_POLICY_ARGUMENTS),
        ),
        location="/etc/own.yaml:5",
        remediation="correct /etc/own.yaml at {location}; restart K3s",
        cure=file_put("/etc/webhook.yaml", KUBECONFIG),
        name="image-policy",
    ),
    Case(
        "component-file-invalid",
        linked(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf", "/etc/missing.conf"),
        linked(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.yaml", "/etc/missing.conf"),
        location=f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf",
        expected="a file",
        found="a link to a missing file",
        remediation="sudo rm {location}",
        cure=removed(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf"),
        role="agent",
        version="1.36",
        name="kubelet-link",
    ),
    Case(
        "component-file-invalid",
        written(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf", f"{KUBELET_FILE}maxPods: many\n"),
        written(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf", f"{KUBELET_FILE}maxPod: many\n"),
        location=f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf:3",
        remediation="correct the file at {location}; restart K3s",
        cure=line_replaced("many", "200"),
        role="agent",
        version="1.37",
        name="kubelet",
    ),
    Case(
        "component-argument-invalid",
        both(
            written(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf", f"{KUBELET_FILE}maxPods: -1\n"),
            written(CONFIG, "node-label: a=b\n"),
        ),
        both(
            written(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf", f"{KUBELET_FILE}maxPods: -1\n"),
            written(CONFIG, "kubelet-arg: max-pods=100\n"),
        ),
        location=f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf:3",
        expected="at least 0",
        found="-1",
        remediation="correct `max-pods` at {location}; restart K3s",
        cure=line_replaced("-1", "200"),
        role="agent",
        version="1.37",
        name="kubelet-file",
    ),
    Case(
        "cgroup-v1-refused",
        lambda host: host["/sys/fs/cgroup/memory"].mkdir(parents=True),
        both(
            lambda host: host["/sys/fs/cgroup/memory"].mkdir(parents=True),
            written(CONFIG, "kubelet-arg: fail-cgroupv1=false\n"),
        ),
        location="/sys/fs/cgroup",
        expected="control groups of version 2, or kubelet-arg: fail-cgroupv1=false",
        found="version 1",
        remediation="boot with systemd.unified_cgroup_hierarchy=1, or add `fail-cgroupv1=false` to the list"
        " `kubelet-arg`; restart K3s",
        cure=file_put("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
        role="agent",
        version="1.35",
    ),
    Case(
        "cgroup-v1-refused",
        both(
            lambda host: host["/sys/fs/cgroup/memory"].mkdir(parents=True),
            written(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf", f"{KUBELET_FILE}failCgroupV1: true\n"),
        ),
        both(
            lambda host: host["/sys/fs/cgroup/memory"].mkdir(parents=True),
            written(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf", f"{KUBELET_FILE}failCgroupV1: false\n"),
        ),
        location="/sys/fs/cgroup",
        expected="control groups of version 2, or kubelet-arg: fail-cgroupv1=false",
        found="version 1",
        remediation="boot with systemd.unified_cgroup_hierarchy=1, or add `fail-cgroupv1=false` to the list"
        " `kubelet-arg`; restart K3s",
        cure=file_put(
            f"{DATA_DIR}/agent/etc/kubelet.conf.d/60-own.conf",
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nfailCgroupV1: false\n",
        ),
        role="agent",
        version="1.37",
        name="file",
    ),
    Case(
        "k3s-option-refused",
        written(CONFIG, "node-nam: a\n"),
        written(CONFIG, "node-name: a\n"),
        location=f"{CONFIG}:1",
        expected="node-name",
        found="node-nam",
        remediation="write `node-name` instead of `node-nam` at {location}; restart K3s",
        cure=line_replaced("node-nam", "node-name"),
        role="agent",
    ),
    Case(
        "k3s-option-refused",
        written(CONFIG, "no-deploy: traefik\n"),
        written(CONFIG, "disable: traefik\n"),
        location=f"{CONFIG}:1",
        found="no-deploy",
        remediation="remove `no-deploy` at {location}; restart K3s",
        cure=line_deleted,
        version="1.25",
        name="fatal",
    ),
    Case(
        "k3s-option-invalid",
        written(CONFIG, "selinux: maybe\n"),
        written(CONFIG, "selinux: t\n"),
        location=f"{CONFIG}:1",
        expected="true or false",
        found="maybe",
        remediation="correct the value at {location}; restart K3s",
        cure=line_deleted,
    ),
    Case(
        "k3s-option-invalid",
        written(CONFIG, "flannel-backend: ipsec\n"),
        both(written(CONFIG, "flannel-backend: ipsec\n"), asked_for("--role", "server", "--k3s-version", "1.26")),
        location=f"{CONFIG}:1",
        expected="one of none, vxlan, host-gw, tailscale, wireguard-native",
        found="ipsec",
        remediation="correct the value at {location}; restart K3s",
        cure=line_deleted,
        name="version",
    ),
    Case(
        "k3s-option-ignored",
        written(CONFIG, "secret-encryption: true\n"),
        written(CONFIG, "secrets-encryption: true\n"),
        location=f"{CONFIG}:1",
        expected="secrets-encryption",
        found="secret-encryption",
        remediation="write `secrets-encryption` instead of `secret-encryption` at {location}; restart K3s",
        cure=line_replaced("secret-", "secrets-"),
    ),
    Case(
        "pod-security-misspelt",
        both(written("/etc/own.yaml", MISSPELT), written(SITE, OWN_ADMISSION)),
        both(written("/etc/own.yaml", MISSPELT.replace("Securty", "Security")), written(SITE, OWN_ADMISSION)),
        location="/etc/own.yaml:4",
        expected="PodSecurity",
        found="PodSecurty",
        remediation="correct `PodSecurty` at {location}; restart K3s",
        cure=line_replaced("Securty", "Security"),
    ),
    Case(
        "pod-security-not-enforced",
        both(written("/etc/own.yaml", ADMISSION), written(CONFIG, OWN_ADMISSION)),
        both(written("/etc/own.yaml", OWN_PSA), written(CONFIG, OWN_ADMISSION)),
        location="/etc/own.yaml:1",
        expected="enforce: restricted",
        found="no level",
        remediation="set `enforce: restricted` in the defaults of PodSecurity at {location}; restart K3s; or remove"
        f" `admission-control-config-file` at {CONFIG}:2; then run `k3s-harden apply`; restart K3s",
        cure=file_put("/etc/own.yaml", OWN_PSA),
    ),
    Case(
        "pod-security-not-enforced",
        both(written("/etc/own.yaml", OWN_PSA.replace("restricted", "privileged")), written(SITE, OWN_ADMISSION)),
        both(
            written("/etc/own.yaml", OWN_PSA.replace("restricted", "privileged")),
            written(SITE, OWN_ADMISSION),
            asked_for("--role", "server", "--k3s-version", "1.24"),
        ),
        location="/etc/own.yaml:8",
        expected="enforce: restricted",
        found="enforce: privileged",
        remediation="set `enforce: restricted` in the defaults of PodSecurity at {location}; restart K3s; or remove"
        f" `admission-control-config-file` at {SITE}:2; then run `k3s-harden apply`; restart K3s",
        cure=lambda host, _: both(deleted(SITE), lambda host: host.run("apply"))(host),
        name="privileged",
    ),
    Case(
        "pod-security-exempts",
        both(written("/etc/own.yaml", OWN_PSA + EXEMPTIONS.format("default, shop")), written(CONFIG, OWN_ADMISSION)),
        both(
            written("/etc/own.yaml", OWN_PSA + EXEMPTIONS.format("longhorn-system, shop")),
            written(CONFIG, OWN_ADMISSION),
            written(SETTINGS, "pod-security: {exempt-namespaces: [shop]}\n"),
        ),
        location="/etc/own.yaml:9",
        expected="no exemptions but those of the guide and the settings",
        found="namespace default, namespace shop",
        remediation="remove these exemptions at {location}; restart K3s; or list the namespaces in"
        " `pod-security.exempt-namespaces` of the settings",
        cure=file_put("/etc/own.yaml", OWN_PSA),
    ),
    Case(
        "pod-security-exempts",
        both(
            written("/etc/own.yaml", OWN_PSA + "    exemptions:\n      usernames: [admin]\n"),
            written(CONFIG, OWN_ADMISSION),
        ),
        both(
            written("/etc/own.yaml", OWN_PSA + "    exemptions:\n      usernames: [admin]\n"),
            written(CONFIG, OWN_ADMISSION),
            written(SETTINGS, "waivers: [{control: pod-security-admission, reason: the admin's tool}]\n"),
        ),
        location="/etc/own.yaml:10",
        expected="no exemptions but those of the guide and the settings",
        found="user admin",
        remediation="remove these exemptions at {location}; restart K3s",
        cure=file_put("/etc/own.yaml", OWN_PSA),
        name="user",
    ),
    Case(
        "audit-policy-logs-nothing",
        both(written("/etc/own.yaml", LOGS_NOTHING), written(SITE, OWN_AUDIT)),
        both(written("/etc/own.yaml", LOGS_NOTHING.replace("None", "Metadata")), written(SITE, OWN_AUDIT)),
        location="/etc/own.yaml:4",
        expected="a rule with the level Metadata or higher",
        found="no rule that logs",
        remediation="correct the rules at {location}; restart K3s",
        cure=line_replaced("None", "Metadata"),
    ),
    Case(
        "component-arguments-not-checked",
        written(CONFIG, "kube-apiserver-arg:\n  - request-timeout=300\n"),
        written(CONFIG, "kubelet-arg+: []\nnode-label: a=b\n"),
        remediation=(
            "k3s-harden checks arguments of v1.34 to v1.37; compare these with the reference of the component for"
            " Kubernetes v1.28"
        ),
        cure=None,
        version="1.28",
    ),
    Case(
        "named-file-missing",
        written(CONFIG, "kube-apiserver-arg:\n  - oidc-ca-file=/etc/ssl/oidc.pem\n"),
        written(CONFIG, f"kube-apiserver-arg:\n  - client-ca-file={DATA_DIR}/server/tls/client-ca.crt\n"),
        location=f"{CONFIG}:2",
        found="/etc/ssl/oidc.pem",
        remediation="create /etc/ssl/oidc.pem, or correct the path at {location}",
        cure=file_put("/etc/ssl/oidc.pem", "a certificate\n"),
    ),
    Case(
        "named-file-missing",
        written(CONFIG, "kubelet-arg:\n  - tls-cert-file=/etc/a.pem\n  - tls-cert-file=/etc/b.pem\n"),
        both(
            written("/etc/b.pem", "a certificate\n"),
            written(CONFIG, "kubelet-arg:\n  - tls-cert-file=/etc/a.pem\n  - tls-cert-file=/etc/b.pem\n"),
        ),
        location=f"{CONFIG}:3",
        found="/etc/b.pem",
        remediation="create /etc/b.pem, or correct the path at {location}",
        cure=file_put("/etc/b.pem", "a certificate\n"),
        name="last-value",
    ),
    Case(
        "named-file-missing",
        written(
            CONFIG,
            "kube-apiserver-arg:\n  - service-account-key-file=/etc/a.pem\n"
            f"  - service-account-key-file={DATA_DIR}/server/tls/service.key\n",
        ),
        written(CONFIG, "kubelet-arg:\n  - lock-file=/run/kubelet.lock\n  - log-file=/var/log/kubelet.log\n"),
        location=f"{CONFIG}:2",
        found="/etc/a.pem",
        remediation="create /etc/a.pem, or correct the path at {location}",
        cure=file_put("/etc/a.pem", "a key\n"),
        name="all-values",
    ),
    Case(
        "named-file-missing",
        written(CONFIG, "kube-apiserver-arg:\n  - oidc-ca-file=oidc.pem\n"),
        both(
            written(f"{DATA_DIR}/server/oidc.pem", "a certificate\n"),
            written(CONFIG, "kube-apiserver-arg:\n  - oidc-ca-file=oidc.pem\n  - runtime-config=batch/v1=true\n"),
        ),
        location=f"{CONFIG}:2",
        found=f"{DATA_DIR}/server/oidc.pem",
        remediation=f"create {DATA_DIR}/server/oidc.pem, or correct the path at {{location}}",
        cure=file_put(f"{DATA_DIR}/server/oidc.pem", "a certificate\n"),
        name="relative",
    ),
    Case(
        "token-file-awaited",
        written(CONFIG, "token-file: /run/secrets/token\n"),
        both(written("/run/secrets/token", "a\n"), written(CONFIG, "token-file: /run/secrets/token\n")),
        location=f"{CONFIG}:1",
        found="/run/secrets/token",
        remediation="make sure that /run/secrets/token is created before K3s starts",
        cure=file_put("/run/secrets/token", "a\n"),
    ),
    Case(
        "list-dropped",
        written(SITE, "node-name: a\nkubelet-arg:\n  - max-pods=200\n"),
        written(SITE, "node-name: a\nkubelet-arg+:\n  - max-pods=200\n"),
        location=f"{SITE}:2",
        expected="kubelet-arg+:",
        found="kubelet-arg:, which drops streaming-connection-idle-timeout, tls-cipher-suites",
        remediation="write `kubelet-arg+:` instead of `kubelet-arg:` at {location}; restart K3s",
        cure=line_replaced("kubelet-arg", "kubelet-arg+"),
    ),
    Case(
        "option-overridden",
        written(SITE, "kube-apiserver-arg+:\n  - audit-log-maxage=1\n"),
        written(SITE, "kube-apiserver-arg+:\n  - audit-log-maxage=365\n"),
        location=f"{SITE}:2",
        expected="30 or more",
        found="1",
        remediation="correct or remove `audit-log-maxage` at {location}; restart K3s",
        cure=line_replaced("=1", "=30"),
    ),
    Case(
        "option-overridden",
        written(CONFIG, "kube-apiserver-arg:\n  - audit_log_maxage=1\n"),
        written(CONFIG, "kube-apiserver-arg:\n  - audit_log_maxage=365\n"),
        location=f"{CONFIG}:2",
        expected="30 or more",
        found="1",
        remediation="correct or remove `audit-log-maxage` at {location}; restart K3s",
        cure=line_replaced("=1", "=30"),
        name="underscore",
    ),
    Case(
        "option-overridden",
        written(f"{DROPINS}/99-site.YAML", "kube-apiserver-arg+:\n  - audit-log-maxage=1\n"),
        written(f"{DROPINS}/99-site.YAML.old", "kube-apiserver-arg+:\n  - audit-log-maxage=1\n"),
        location=f"{DROPINS}/99-site.YAML:2",
        expected="30 or more",
        found="1",
        remediation="correct or remove `audit-log-maxage` at {location}; restart K3s",
        cure=line_replaced("=1", "=30"),
        name="upper-case",
    ),
    Case(
        "option-overridden",
        written(CONFIG, "kubelet-arg:\n  - protect-kernel-defaults=false\n"),
        written(CONFIG, "kubelet-arg:\n  - protect-kernel-defaults\n"),
        location=f"{CONFIG}:2",
        expected="true",
        found="false",
        remediation="remove `protect-kernel-defaults` at {location}; restart K3s",
        cure=line_deleted,
        name="kubelet",
    ),
    Case(
        "option-overridden",
        written(SITE, "protect-kernel-defaults: false\n"),
        written(SITE, "protect-kernel-defaults: yes\n"),
        location=f"{SITE}:1",
        expected="true",
        found="false",
        remediation="correct or remove `protect-kernel-defaults` at {location}; restart K3s",
        cure=line_deleted,
        role="agent",
        name="scalar",
    ),
    Case(
        "secure-default-replaced",
        written(CONFIG, "kube-apiserver-arg:\n  - anonymous-auth=true\n"),
        written(CONFIG, "kube-apiserver-arg:\n  - anonymous-auth=false\n"),
        location=f"{CONFIG}:2",
        expected="anonymous-auth=false, K3s' default",
        found="anonymous-auth=true",
        remediation="remove `anonymous-auth` at {location}; restart K3s",
        cure=lambda host, _: host[CONFIG].unlink(),
    ),
    Case(
        "secure-default-replaced",
        written(KUBELET_DROPIN, f"{KUBELET_FILE}authorization:\n  mode: AlwaysAllow\n"),
        written(KUBELET_DROPIN, f"{KUBELET_FILE}authorization:\n  mode: Webhook\n"),
        location=f"{KUBELET_DROPIN}:4",
        expected="authorization-mode=Webhook, K3s' default",
        found="authorization.mode: AlwaysAllow",
        remediation="remove `authorization.mode` at {location}; restart K3s",
        cure=lambda host, _: host[KUBELET_DROPIN].unlink(),
        role="agent",
        name="kubelet-file",
    ),
    Case(
        "two-admission-configurations",
        both(
            written("/etc/psa.yaml", OWN_PSA),
            written(SITE, "kube-apiserver-arg+:\n  - admission-control-config-file=/etc/psa.yaml\n"),
        ),
        written(SITE, f"kube-apiserver-arg+:\n  - admission-control-config-file={PSA}\n"),
        location=f"{DROPIN}:7",
        expected="one file",
        found="2 files",
        remediation=f"merge the files into one, and remove the argument at {SITE}:2; restart K3s",
        cure=lambda host, _: host[SITE].unlink(),
    ),
    Case(
        "admission-configuration-ignored",
        both(
            written("/etc/psa.yaml", OWN_PSA),
            written(CONFIG, "kube-apiserver-arg:\n  - admission-control-config-file=/etc/psa.yaml\n"),
        ),
        written(CONFIG, f"kube-apiserver-arg:\n  - admission-control-config-file={PSA}\n"),
        location=f"{CONFIG}:2",
        expected="one file",
        found="2 files",
        remediation=f"merge the files into one, and remove the argument at {CONFIG}:2; restart K3s",
        cure=lambda host, _: host[CONFIG].unlink(),
    ),
    Case(
        "images-without-registry",
        both(written(SETTINGS, "profile: strict\n"), written(f"{DATA_DIR}/agent/images/k3s.tar.zst", "")),
        both(
            written(SETTINGS, "profile: strict\nalways-pull-images: false\n"),
            written(f"{DATA_DIR}/agent/images/k3s.tar.zst", ""),
        ),
        location=f"{DATA_DIR}/agent/images/k3s.tar.zst",
        expected="a mirror in registries.yaml, or no archives",
        found="1 archive, no mirror",
        remediation="name a mirror that serves the images, or set `always-pull-images: false`",
        cure=lambda host, _: host.write("/etc/rancher/k3s/registries.yaml", "mirrors:\n  docker.io: {}\n", 0o600),
    ),
    Case(
        "split-admission-plugins",
        written(SITE, "kube-apiserver-arg+:\n  - enable-admission-plugins=AlwaysPullImages\n"),
        written(SITE, "kube-apiserver-arg+:\n  - disable-admission-plugins=DefaultStorageClass\n"),
        location=f"{DROPIN}:6",
        expected="one value, joined by commas",
        found="NodeRestriction,ServiceAccount and AlwaysPullImages",
        remediation=(
            "add `NodeRestriction` and `ServiceAccount` to `enable-admission-plugins`, in quotes,"
            f" at {SITE}:2; then run `k3s-harden apply`; restart K3s"
        ),
        cure=lambda host, finding: Follower(host).follow(finding.remediation),
    ),
    Case(
        "admission-configuration-ignored",
        both(
            written("/etc/psa.yaml", OWN_PSA),
            written(CONFIG, "kube-apiserver-arg:\n  - admission-control-config-file=/etc/psa.yaml\n"),
        ),
        written(CONFIG, f"kube-apiserver-arg:\n  - admission-control-config-file={PSA}\n"),
        location=f"{CONFIG}:2",
        expected="one file",
        found="2 files",
        remediation=f"merge the files into one, and remove the argument at {CONFIG}:2; restart K3s",
        cure=lambda host, _: host[CONFIG].unlink(),
    ),
    Case(
        "split-admission-plugins",
        both(
            written(CONFIG, "kube-apiserver-arg:\n  - enable-admission-plugins=AlwaysPullImages\n"),
            lambda host: host.run("apply"),
        ),
        both(
            written(CONFIG, "kube-apiserver-arg:\n  - enable-admission-plugins=AlwaysPullImages,NodeRestriction\n"),
            lambda host: host.run("apply"),
        ),
        location=f"{CONFIG}:2",
        expected="one value, joined by commas",
        found="AlwaysPullImages and NodeRestriction,ServiceAccount,AlwaysPullImages",
        remediation=(
            "add `NodeRestriction` and `ServiceAccount` to `enable-admission-plugins`, in quotes,"
            " at {location}; then run `k3s-harden apply`; restart K3s"
        ),
        cure=lambda host, finding: Follower(host).follow(finding.remediation),
        name="operator",
    ),
    Case(
        "network-policies-inert",
        written(CONFIG, "disable-network-policy: 1\n"),
        written(CONFIG, "disable-network-policy: false\n"),
        location=f"{CONFIG}:1",
        found="disable-network-policy: 1",
        remediation="unless your network plugin enforces NetworkPolicies, remove the option at {location}; restart K3s",
        cure=line_deleted,
    ),
    Case(
        "network-policies-inert",
        written(f"{MANIFESTS}/shop/policy.yaml.skip", ""),
        both(written(f"{MANIFESTS}/policy.skip", ""), written(f"{MANIFESTS}/policy.yaml.SKIP", "")),
        location=f"{MANIFESTS}/shop/policy.yaml.skip",
        found="policy.yaml.skip",
        remediation=f"sudo rm {MANIFESTS}/shop/policy.yaml.skip",
        name="skip",
    ),
    Case(
        "network-policies-inert",
        written(CONFIG, "disable:\n  - traefik, policy\n"),
        written(CONFIG, "disable:\n  - traefik, policy.yaml\n"),
        location=f"{CONFIG}:2",
        found="disable: policy",
        remediation="remove policy from the list at {location}; restart K3s",
        cure=line_replaced(", policy", ""),
        name="disable",
    ),
    Case(
        "supervisor-endpoint-anonymous",
        written(CONFIG, "debug: true\nenable-pprof: true\n"),
        both(
            written(CONFIG, "enable-pprof: true\n"),
            asked_for("--role", "server", "--k3s-version", "v1.37.1+k3s1"),
        ),
        location=f"{CONFIG}:2",
        expected="v1.37.1 or newer, or the option is not set",
        found="enable-pprof: true",
        remediation=CLOSED_ENDPOINT,
        cure=line_deleted,
        version="v1.37.0+k3s1",
    ),
    Case(
        "supervisor-endpoint-anonymous",
        written(CONFIG, "embedded-registry: true\n"),
        written(CONFIG, "embedded-registry: false\n"),
        location=f"{CONFIG}:1",
        expected="v1.37.1 or newer, or the option is not set",
        found="embedded-registry: true",
        remediation=CLOSED_ENDPOINT,
        cure=line_deleted,
        name="registry",
    ),
    Case(
        "event-qps-lowers-limit",
        written(CONFIG, "kubelet-arg:\n  - event-qps=0\n"),
        both(written(CONFIG, "kubelet-arg:\n  - event-qps=0\n"), asked_for("--k3s-version", "1.37", "--role", "agent")),
        location=f"{CONFIG}:2",
        expected="event-qps=50, the default",
        found="event-qps=0",
        remediation="remove the argument, or set it to 50 at {location}; restart K3s",
        cure=line_replaced("=0", "=50"),
        role="agent",
    ),
    Case(
        "event-qps-lowers-limit",
        written(CONFIG, "kubelet-arg:\n  - event-qps=0\n"),
        both(written(CONFIG, "kubelet-arg:\n  - event-qps=0\n"), asked_for("--k3s-version", "1.26", "--role", "agent")),
        location=f"{CONFIG}:2",
        expected="event-qps=50, the default",
        found="event-qps=0",
        remediation="remove the argument, or set it to 50 at {location}; restart K3s",
        cure=line_deleted,
        role="agent",
        version="1.27",
        name="first-version",
    ),
    Case(
        "data-dir-not-absolute",
        written(CONFIG, "debug: true\ndata-dir: k3s\n"),
        written(CONFIG, "debug: true\ndata-dir: /k3s\n"),
        location=f"{CONFIG}:2",
        expected="an absolute path",
        found="k3s",
        remediation="write an absolute path at {location}; restart K3s;"
        " or set `data-dir` in /etc/k3s-harden/config.yaml to the directory that K3s uses",
        cure=line_deleted,
    ),
    Case(
        "data-dir-of-rootless",
        written(CONFIG, "debug: true\nrootless: true\n"),
        written(CONFIG, "debug: true\nrootless: true\ndata-dir: /k3s\n"),
        location=f"{CONFIG}:2",
        expected="an absolute path in `data-dir`",
        found="rootless: true",
        remediation="remove `rootless`, or add `data-dir` with an absolute path at {location}; restart K3s;"
        " or set `data-dir` in /etc/k3s-harden/config.yaml to the directory that K3s uses",
        cure=line_deleted,
    ),
    Case(
        "k3s-command-unknown",
        written("/etc/systemd/system/k3s.service", "[Service]\nExecStart=-/usr/local/bin/start-k3s.sh --token=abc\n"),
        both(
            written("/etc/systemd/system/k3s.service", "[Service]\nExecStart=/bin/sh -c 'exec k3s server'\n"),
            written("/etc/systemd/system/k3s-snapshot.service", "[Service]\nExecStart=/usr/local/bin/snapshot.sh\n"),
        ),
        location="/etc/systemd/system/k3s.service:2",
        expected="ExecStart=/usr/local/bin/k3s server",
        found="/usr/local/bin/start-k3s.sh",
        remediation=f"move the options of K3s from /usr/local/bin/start-k3s.sh to {CONFIG}; then set"
        " `ExecStart=/usr/local/bin/k3s server` at {location}; run `sudo systemctl daemon-reload`; restart K3s",
        cure=lambda host, _: host.unit("server"),
    ),
    Case(
        "datastore-endpoint-ignored",
        both(
            written(CONFIG, "debug: true\ndatastore-endpoint: etcd://db\n"),
            written(f"{DATA_DIR}/server/db/etcd/member/wal/0.wal", ""),
        ),
        both(
            written(CONFIG, "datastore-endpoint: etcd://db\n"),
            written(f"{DATA_DIR}/server/db/etcd/name", ""),
        ),
        location=f"{CONFIG}:2",
        remediation="remove the option; if the data is in that datastore, move"
        f" {DATA_DIR}/server/db/etcd away at {{location}}; restart K3s",
        cure=line_deleted,
    ),
    Case(
        "manifest-api-removed",
        written(f"{MANIFESTS}/own.yaml", f"---\n\n{CRON_JOB.format(version='batch/v1beta1')}"),
        both(
            written(f"{MANIFESTS}/own.yaml", CRON_JOB.format(version="batch/v1")),
            written(f"{MANIFESTS}/other.yaml", CRON_JOB.format(version="example.org/v1beta1")),
            written(f"{MANIFESTS}/traefik.yaml", CRON_JOB.format(version="batch/v1beta1")),
            written(f"{MANIFESTS}/metrics-server/a.yaml", CRON_JOB.format(version="batch/v1beta1")),
        ),
        location=f"{MANIFESTS}/own.yaml:3",
        expected="batch/v1",
        found="batch/v1beta1",
        remediation="change the object to batch/v1 at {location}",
        cure=line_replaced("v1beta1", "v1"),
    ),
    Case(
        "manifest-api-removed",
        written(f"{MANIFESTS}/own.json", '{"kind":"CronJob","apiVersion":"batch/v1beta1"}'),
        both(
            written(f"{MANIFESTS}/own.yaml", CRON_JOB.format(version="batch/v1beta1")),
            asked_for("--role", "server", "--k3s-version", "1.24"),
        ),
        location=f"{MANIFESTS}/own.json:1",
        expected="batch/v1",
        found="batch/v1beta1",
        remediation="change the object to batch/v1 at {location}",
        cure=line_replaced("v1beta1", "v1"),
        version="1.25",
        name="first-version",
    ),
    Case(
        "manifest-changes-ignored",
        both(written(f"{MANIFESTS}/own.yaml", "kind: ConfigMap\n"), dated(f"{MANIFESTS}/own.yaml", 0)),
        both(written(f"{MANIFESTS}/own.yaml", "kind: ConfigMap\n"), dated(f"{MANIFESTS}/own.yaml", 2)),
        location=f"{MANIFESTS}/own.yaml",
        remediation="restart K3s after each change; or upgrade to K3s v1.37.1 or newer",
        cure=None,
    ),
    Case(
        "manifest-changes-ignored",
        both(
            written("/nix/store/own.yaml", "kind: ConfigMap\n"),
            dated("/nix/store/own.yaml", 1),
            linked(f"{MANIFESTS}/own.yaml", "/nix/store/own.yaml"),
        ),
        both(
            written(f"{MANIFESTS}/own.yaml", "kind: ConfigMap\n"),
            dated(f"{MANIFESTS}/own.yaml", 1),
            asked_for("--role", "server", "--k3s-version", "v1.37.1+k3s1"),
        ),
        location=f"{MANIFESTS}/own.yaml",
        remediation="restart K3s after each change; or upgrade to K3s v1.37.1 or newer",
        cure=None,
        name="nix-store",
    ),
    Case(
        "secrets-not-encrypted",
        both(
            lambda host: host[DROPIN].write_text(host[DROPIN].read_text().replace("secrets-encryption: true\n", "")),
            written(f"{DATA_DIR}/server/db/state.db", "data"),
            written(f"{DATA_DIR}/server/cred/encryption-config.json", IDENTITY),
        ),
        both(
            written(f"{DATA_DIR}/server/db/state.db", "data"),
            written(f"{DATA_DIR}/server/cred/encryption-config.json", AESCBC),
        ),
        expected="secrets-encryption: true",
        remediation="run `k3s-harden explain secrets-encryption`; then follow the steps for this K3s version",
        cure=file_put(f"{DATA_DIR}/server/cred/encryption-config.json", AESCBC),
    ),
    Case(
        "secrets-not-encrypted",
        written(CONFIG, "server: https://10.0.0.1:6443\n"),
        written(CONFIG, "server: https://10.0.0.1:6443\nsecrets-encryption: true\n"),
        remediation="set `secrets-encryption` in the settings to `on` or `off`, as on the others",
        cure=file_put("/etc/k3s-harden/config.yaml", "secrets-encryption: off\n"),
        name="joining",
    ),
    Case(
        "secrets-encryption-kept",
        both(
            written(f"{DATA_DIR}/server/cred/encryption-config.json", AESCBC),
            written("/etc/k3s-harden/config.yaml", "secrets-encryption: leave\n"),
        ),
        both(
            written(f"{DATA_DIR}/server/cred/encryption-config.json", AESCBC),
            written("/etc/k3s-harden/config.yaml", "secrets-encryption: on\n"),
        ),
        location=DROPIN,
        expected="leave",
        found="true",
        remediation="set `secrets-encryption` in the settings to `on` or `auto`;"
        " or first decrypt the secrets with k3s secrets-encrypt disable",
        cure=file_put("/etc/k3s-harden/config.yaml", "secrets-encryption: auto\n"),
    ),
    Case(
        "sysctl-overridden",
        written("/etc/sysctl.d/99-site.conf", "# ours\nvm.overcommit_memory = 0\n"),
        written("/etc/sysctl.d/10-site.conf", "# ours\nvm.overcommit_memory = 0\n"),
        location="/etc/sysctl.d/99-site.conf:2",
        expected="1",
        found="0",
        remediation="set vm.overcommit_memory to 1, or delete the line at {location}",
        cure=line_deleted,
    ),
    Case(
        "sysctl-overridden",
        written("/etc/sysctl.d/99-site.conf", "kernel/panic=0\n"),
        written("/etc/sysctl.d/99-site.conf", "kernel/panic=10\n"),
        location="/etc/sysctl.d/99-site.conf:1",
        expected="10",
        found="0",
        remediation="set kernel.panic to 10, or delete the line at {location}",
        cure=line_replaced("=0", "=10"),
        role="agent",
        name="agent",
    ),
    Case(
        "sysctl-conf-disagrees",
        written("/etc/sysctl.conf", "\nvm.panic_on_oom=1\n"),
        written("/etc/sysctl.conf", "\nvm.panic_on_oom=0\nvm.swappiness=1\n"),
        location="/etc/sysctl.conf:2",
        expected="0",
        found="1",
        remediation="set vm.panic_on_oom to 0, or delete the line at {location}",
        cure=line_deleted,
    ),
    Case(
        "kernel-parameter",
        written("/proc/sys/vm/overcommit_memory", "2\n"),
        written("/proc/sys/vm/overcommit_memory", "1\n"),
        location=f"{DROPIN}:3",
        expected="1",
        found="2",
        remediation="k3s-harden apply",
    ),
    Case(
        "kernel-parameter",
        written("/proc/sys/kernel/keys/root_maxkeys", "200\n"),
        both(
            written("/proc/sys/vm/overcommit_memory", "0\n"),
            written("/etc/k3s-harden/config.yaml", "protect-kernel-defaults: false\n"),
            lambda host: host[DROPIN].write_text(
                host[DROPIN].read_text().replace("protect-kernel-defaults: true\n", "")
            ),
        ),
        location=f"{DROPIN}:3",
        expected="1000000",
        found="200",
        remediation="run `sudo sysctl -w kernel.keys.root_maxkeys=1000000`,"
        " and put that line in a file in /etc/sysctl.d",
        cure=file_put("/proc/sys/kernel/keys/root_maxkeys", "1000000\n"),
        name="only-verified",
    ),
    Case(
        "kernel-parameter",
        lambda host: host["/proc/sys/vm/panic_on_oom"].unlink(),
        both(
            lambda host: host["/proc/sys/vm/panic_on_oom"].unlink(),
            written(CONFIG, "kubelet-arg: protect-kernel-defaults=false\n"),
        ),
        location=f"{DROPIN}:3",
        expected="0",
        found="absent",
        remediation="boot a kernel that has vm.panic_on_oom",
        cure=file_put("/proc/sys/vm/panic_on_oom", "0\n"),
        name="absent",
    ),
    Case(
        "kernel-parameter",
        both(
            written(SETTINGS, "protect-kernel-defaults: false\n"),
            both(
                lambda host: host.run("apply"),
                both(
                    written(CONFIG, "kubelet-arg: protect-kernel-defaults=true\n"),
                    written("/proc/sys/vm/panic_on_oom", "1\n"),
                ),
            ),
        ),
        both(
            written(SETTINGS, "protect-kernel-defaults: false\n"),
            both(lambda host: host.run("apply"), written("/proc/sys/vm/panic_on_oom", "1\n")),
        ),
        location=f"{CONFIG}:1",
        expected="0",
        found="1",
        remediation="k3s-harden apply",
        name="kubelet",
    ),
    Case(
        "kernel-default-changed",
        unprotected(written("/proc/sys/kernel/keys/root_maxkeys", "200\n")),
        unprotected(written("/proc/sys/kernel/keys/root_maxkeys", "1000000\n")),
        expected="1000000",
        found="200",
        remediation="run `sudo sysctl -w kernel.keys.root_maxkeys=1000000`,"
        " and put that line in a file in /etc/sysctl.d",
        cure=file_put("/proc/sys/kernel/keys/root_maxkeys", "1000000\n"),
    ),
    Case(
        "no-kernel-here",
        lambda host: host["/proc/sys"].rename(host["/proc/other"]),
        nothing,
        remediation="boot the host; then run `k3s-harden apply`",
        cure=lambda host, _: host["/proc/other"].rename(host["/proc/sys"]),
    ),
    Case(
        "stale-pod-security-policy",
        written(f"{MANIFESTS}/own.yaml", f"# two objects\n---\nkind: ConfigMap\n---\n{PSP}"),
        written(f"{MANIFESTS}/own.yaml", "kind: ConfigMap\ndata:\n  kind: PodSecurityPolicy\n"),
        location=f"{MANIFESTS}/own.yaml:4",
        expected="none since v1.25",
        remediation="before this K3s version starts, remove the PodSecurityPolicies at {location}",
        cure=lambda host, _: host[f"{MANIFESTS}/own.yaml"].unlink(),
    ),
    Case(
        "stale-pod-security-policy",
        written(
            f"{MANIFESTS}/own.JSON", '{"kind": "PodSecurityPolicyList", "items": [\n{"metadata": {"name": "own"}}]}'
        ),
        written(
            f"{MANIFESTS}/own.JSON", '{"kind": "ConfigMapList", "items": [\n{"data": {"kind": "PodSecurityPolicy"}}]}'
        ),
        location=f"{MANIFESTS}/own.JSON:2",
        expected="none since v1.25",
        remediation="before this K3s version starts, remove the PodSecurityPolicies at {location}",
        cure=removed(f"{MANIFESTS}/own.JSON"),
        name="list",
    ),
    Case(
        "selector-matches-no-namespace",
        written(f"{MANIFESTS}/own.yaml", f"kind: List\nitems:\n- {INDENTED.format(label='name')}"),
        written(
            f"{MANIFESTS}/own.yaml", f"kind: List\nitems:\n- {INDENTED.format(label='kubernetes.io/metadata.name')}"
        ),
        location=f"{MANIFESTS}/own.yaml:14",
        expected="kubernetes.io/metadata.name",
        found="name",
        remediation="unless you label your namespaces, replace `name` with kubernetes.io/metadata.name at {location}",
        cure=line_replaced("name:", "kubernetes.io/metadata.name:"),
        name="list",
    ),
    Case(
        "selector-matches-no-namespace",
        written(f"{MANIFESTS}/shop/own.yml", NETWORK_POLICY.format(label="name")),
        written(f"{MANIFESTS}/shop/own.yml", NETWORK_POLICY.format(label="kubernetes.io/metadata.name")),
        location=f"{MANIFESTS}/shop/own.yml:12",
        expected="kubernetes.io/metadata.name",
        found="name",
        remediation="unless you label your namespaces, replace `name` with kubernetes.io/metadata.name at {location}",
        cure=line_replaced("name:", "kubernetes.io/metadata.name:"),
    ),
    Case(
        "manifest-placeholder",
        written(f"{MANIFESTS}/own.yaml", "kind: ConfigMap\nmetadata:\n  namespace: <NAMESPACE>\n"),
        written(f"{MANIFESTS}/own.yaml", "kind: ConfigMap\ndata:\n  page: '<html>a < b</html>'\n"),
        location=f"{MANIFESTS}/own.yaml:3",
        found="<NAMESPACE>",
        remediation="replace the placeholder with the name at {location}",
        cure=line_replaced("<NAMESPACE>", "shop"),
    ),
    Case(
        "manifest-broken",
        written(f"{MANIFESTS}/own.yaml", "kind: NetworkPolicy\nspec: {namespaceSelector: [}\n"),
        both(
            written(f"{MANIFESTS}/own.yaml", "kind: NetworkPolicy\nspec: {namespaceSelector: [}\n"),
            written(f"{MANIFESTS}/own.yaml.skip", ""),
        ),
        location=f"{MANIFESTS}/own.yaml:2",
        remediation="add the value, or close the bracket or brace at {location}",
        cure=line_replaced(r"\[\}", "[]}"),
    ),
    Case(
        "manifest-broken",
        linked(f"{MANIFESTS}/own.yaml", "/etc/nowhere.yaml"),
        both(linked(f"{MANIFESTS}/own.yaml", "/etc/own.yaml"), written("/etc/own.yaml", "kind: ConfigMap\n")),
        location=f"{MANIFESTS}/own.yaml",
        remediation=f"sudo rm {MANIFESTS}/own.yaml",
        name="link",
    ),
    Case(
        "other-family-assumed",
        asked_for("--role", "server"),
        asked_for("--role", "server", "--k3s-version", "1.25"),
        location=POLICY,
        expected="v1.24 or older",
        found="v1.37.0 assumed",
        remediation=(
            "find out the version of K3s, such as 1.34, and replace VERSION by it; then run"
            " `k3s-harden apply`; or set `k3s-version: VERSION` in /etc/k3s-harden/config.yaml"
        ),
        cure=asked_again("--role", "server", "--k3s-version", "1.24"),
        version="1.24",
    ),
    Case(
        "operator-file-replaced",
        own_files(audit=""),
        own_files(),
        found="/srv/audit.yaml",
        location=f"{CONFIG}:1",
        remediation=(
            f"create or correct /srv/audit.yaml, or remove `audit-policy-file` at {CONFIG}:1; then run"
            " `k3s-harden apply`; restart K3s"
        ),
        cure=lambda host, _: own_files()(host),
    ),
    Case(
        "version-assumed",
        asked_for("--role", "server"),
        nothing,
        remediation=(
            "make `k3s --version` work, or pass --k3s-version VERSION; or set `k3s-version: VERSION` in"
            " /etc/k3s-harden/config.yaml, and change it before each upgrade to another minor version"
        ),
        cure=asked_again("--role", "server", "--k3s-version", "1.34"),
    ),
    Case(
        "version-newer",
        asked_for("--role", "server", "--k3s-version", "1.99"),
        asked_for("--role", "server", "--k3s-version", "1.37"),
        remediation="upgrade k3s-harden if a newer release exists",
        cure=asked_again("--role", "server", "--k3s-version", "1.37"),
    ),
    Case(
        "version-older",
        asked_for("--role", "server", "--k3s-version", "1.3"),
        asked_for("--role", "server", "--k3s-version", "1.23"),
        expected="v1.23 or newer",
        found="v1.3.0",
        remediation="correct --k3s-version or `k3s-version` in the settings, or upgrade K3s",
        cure=asked_again("--role", "server", "--k3s-version", "1.30"),
    ),
    Case(
        "rancher-managed",
        written(f"{DROPINS}/50-rancher.yaml", '{"node-name": "a"}\n'),
        written(f"{DROPINS}/50-site.yaml", '{"node-name": "a"}\n'),
        remediation="k3s-harden render rancher-cluster --k3s-version 1.34",
        # The remediation is in Rancher; nothing changes on this node.
        cure=None,
    ),
    Case(
        "gate-half-missing",
        written("/etc/systemd/system/k3s.service.d/10-k3s-harden.conf", "[Service]\n# k3s-harden@k3s.service\n"),
        written("/etc/systemd/system/k3s.service.d/10-site.conf", "[Unit]\n"),
        location="/etc/systemd/system/k3s.service.d/10-k3s-harden.conf",
        expected="k3s-harden@.service",
        remediation="run `k3s-harden install`; or run `k3s-harden uninstall`",
        cure=lambda host, _: host.run("uninstall"),
    ),
    Case(
        "gate-outdated",
        both(
            written("/etc/systemd/system/k3s-harden@.service", f"[Unit]\nRequiresMountsFor={DATA_DIR}\n"),
            written("/etc/systemd/system/k3s.service.d/10-k3s-harden.conf", "[Unit]\nWants=k3s-harden.service\n"),
        ),
        both(
            written("/etc/systemd/system/k3s-harden@.service", f"[Unit]\nRequiresMountsFor={DATA_DIR}\n"),
            written("/etc/systemd/system/k3s.service.d/10-k3s-harden.conf", "[Service]\n# k3s-harden@k3s.service\n"),
        ),
        location="/etc/systemd/system/k3s.service.d/10-k3s-harden.conf",
        expected="a drop-in that starts k3s-harden@k3s.service",
        remediation="k3s-harden install",
        cure=lambda host, _: host["/etc/systemd/system/k3s.service.d/10-k3s-harden.conf"].unlink(),
    ),
    Case(
        "gate-bypassed",
        with_service("[Service]\nExecStartPre=\nExecStartPre=-/sbin/modprobe overlay\n"),
        both(
            with_service("[Service]\nExecStartPre=-/sbin/modprobe overlay\n"),
            written("/etc/systemd/system/k3s.service.d/05-site.conf", "[Service]\nExecStartPre=\n"),
        ),
        location=f"{SERVICE_DROPIN.format(0)}:2",
        expected="systemctl start k3s-harden@k3s.service",
        remediation=(
            "name the drop-in so that it sorts before 10-k3s-harden.conf at {location};"
            " run `sudo systemctl daemon-reload`"
        ),
        cure=lambda host, _: host[SERVICE_DROPIN.format(0)].rename(host["/etc/systemd/system/k3s.service.d/05-a.conf"]),
    ),
    Case(
        "gate-bypassed",
        both(
            with_service(), written("/etc/systemd/system/k3s.service.d/10-k3s-harden.conf", "# k3s-harden@%N.service\n")
        ),
        with_service(),
        location="/etc/systemd/system/k3s.service.d/10-k3s-harden.conf",
        expected="systemctl start k3s-harden@k3s.service",
        remediation="k3s-harden install",
        cure=None,
        name="edited",
    ),
    *(
        Case(
            "gate-bypassed",
            both(with_service(), written(f"/etc/systemd/system/{path}", text)),
            both(with_service(), written(f"/etc/systemd/system/{path}", near_miss)),
            location=f"/etc/systemd/system/{path}{line}",
            expected=expected,
            found=found,
            remediation=remediation,
            cure=None,
            name=path.partition("/")[0],
        )
        for path, line, text, near_miss, expected, found, remediation in (
            (
                "k3s.service.d/10-k3s-harden.conf",
                "",
                GATE_DROPIN.replace("ExecStartPre=", "ExecStartPre=-"),
                GATE_DROPIN.replace("ExecStartPre=", "# A comment \\\nExecStartPre="),
                "systemctl start k3s-harden@k3s.service",
                "",
                "k3s-harden install",
            ),
            *(
                (
                    f"{directory}/override.conf",
                    ":3",
                    "[Service]\nExecStart=\nExecStart=/bin/true\n",
                    "[Service]\nExecStart=\nExecStart=/usr/bin/k3s-harden gate --verbose\n",
                    "k3s-harden gate",
                    "/bin/true",
                    f"sudo rm /etc/systemd/system/{directory}/override.conf",
                )
                for directory in ("k3s-harden@.service.d", "k3s-harden@k3s.service.d")
            ),
            (
                "k3s-harden@.service.d/override.conf",
                ":2",
                "[Service]\nSuccessExitStatus=3\n",
                "[Service]\nSuccessExitStatus=\n",
                "k3s-harden gate",
                "SuccessExitStatus=3",
                "sudo rm /etc/systemd/system/k3s-harden@.service.d/override.conf",
            ),
            (
                "k3s-harden@.service",
                ":19",
                GATE_UNIT.replace("ExecStart=/usr/bin/k3s-harden gate", "ExecStart=/bin/true"),
                GATE_UNIT.replace("ExecStart=/usr/bin/k3s-harden gate", "ExecStart=/opt/k3s-harden gate"),
                "k3s-harden gate",
                "/bin/true",
                "k3s-harden install",
            ),
        )
    ),
    Case(
        "gate-program-unusable",
        installed_gate(lambda host: host["/opt/k3s-harden"].unlink()),
        installed_gate(nothing),
        location="/opt/k3s-harden",
        remediation="run `k3s-harden install`; or run `k3s-harden uninstall`",
        cure=lambda host, _: host.write("/opt/k3s-harden", "#!/bin/sh\n", 0o755),
    ),
    Case(
        "gate-unit-differs",
        installed_gate(line_of_unit("TimeoutStartSec=120", "TimeoutStartSec=5")),
        installed_gate(written("/etc/systemd/system/k3s-harden@.service.d/a.conf", "[Service]\nTimeoutStartSec=5\n")),
        location="/etc/systemd/system/k3s-harden@.service:22",
        expected="TimeoutStartSec=120",
        found="TimeoutStartSec=5",
        remediation="k3s-harden install",
        cure=lambda host, _: host.run("install", "--program", "/opt/k3s-harden"),
    ),
    Case(
        "gate-half-missing",
        both(with_service(), linked("/etc/systemd/system/k3s-harden@k3s.service", "/dev/null")),
        both(with_service(), linked("/etc/systemd/system/k3s-harden@none.service", "/dev/null")),
        location="/etc/systemd/system/k3s.service.d/10-k3s-harden.conf",
        expected="k3s-harden@.service",
        remediation="run `sudo systemctl unmask k3s-harden@k3s.service`; or run `k3s-harden uninstall`",
        cure=lambda host, _: host["/etc/systemd/system/k3s-harden@k3s.service"].unlink(),
        name="masked",
    ),
    Case(
        "start-blocked",
        written("/run/k3s-harden/blocked.k3s", ""),
        written("/run/k3s-harden/passed.k3s", ""),
        location="/run/k3s-harden/blocked.k3s",
        remediation="systemctl status k3s-harden@k3s.service",
        cure=lambda host, _: host["/run/k3s-harden/blocked.k3s"].unlink(),
    ),
    Case(
        "started-without-gate",
        written("/run/k3s-harden/released.k3s", "alice, by sudo, 2026-11-26T03:00:00Z\n"),
        written("/run/k3s-harden/release.k3s", ""),
        location="/run/k3s-harden/released.k3s",
        found="released by alice, by sudo, 2026-11-26T03:00:00Z",
        remediation="k3s-harden apply",
        cure=lambda host, _: host["/run/k3s-harden/released.k3s"].unlink(),
    ),
    Case(
        "gate-before-mount",
        both(
            both(
                written("/usr/lib/systemd/systemd", ""),
                written(PACKAGED_GATE, f"[Unit]\nRequiresMountsFor=/etc {DATA_DIR}\n"),
            ),
            both(
                lambda host: host.write("/usr/bin/k3s-harden", "#!/bin/sh\n", 0o755),
                written(CONFIG, "data-dir: /srv/k3s\n"),
            ),
        ),
        both(
            written(PACKAGED_GATE, f"[Unit]\nRequiresMountsFor=/etc {DATA_DIR}\n"),
            both(
                written(
                    "/run/systemd/system/k3s-harden@.service.d/a.conf", "[Unit]\nRequiresMountsFor=/srv/k3s/server\n"
                ),
                written(CONFIG, "data-dir: /srv/k3s\n"),
            ),
        ),
        location=PACKAGED_GATE,
        expected="RequiresMountsFor=/srv/k3s",
        found=f"RequiresMountsFor=/etc {DATA_DIR}",
        remediation="k3s-harden install",
        cure=lambda host, _: host.run("install", "--program", "/usr/bin/k3s-harden"),
    ),
    Case(
        "waived-parameter-at-boot",
        both(written(SETTINGS, WAIVER), written("/etc/sysctl.d/99-database.conf", "vm.panic_on_oom = 2\n")),
        both(written(SETTINGS, WAIVER), written("/etc/sysctl.d/99-database.conf", "vm.panic_on_oom = 0\n")),
        location="/etc/sysctl.d/99-database.conf:1",
        expected="0",
        found="2 after the next boot",
        remediation="set `protect-kernel-defaults: false` in the settings; then run `k3s-harden apply`;"
        f" or remove the waiver at {SETTINGS}:2; then run `k3s-harden apply`",
        cure=lambda host, _: [host.write(SETTINGS, f"protect-kernel-defaults: false\n{WAIVER}"), host.run("apply")],
    ),
    Case(
        "kernel-parameter-waived",
        written(SETTINGS, WAIVER),
        written(SETTINGS, f"{WAIVER}    role: agent\n"),
        location=f"{SETTINGS}:2",
        expected="0",
        found="0",
        cure=lambda host, _: host[SETTINGS].unlink(),
    ),
    Case(
        "notify-command-unusable",
        both(written(SETTINGS, _NOTIFY), lambda host: host.write(_COMMAND, "#!/bin/sh\n", 0o757)),
        both(written(SETTINGS, _NOTIFY), lambda host: host.write(_COMMAND, "#!/bin/sh\n", 0o755)),
        location=_COMMAND,
        remediation="put the program below a directory that only root can change, with mode 0755,"
        " or correct `drift.notify`",
        cure=lambda host, _: host[_COMMAND].chmod(0o755),
    ),
    Case(
        "notification-undelivered",
        both(written(SETTINGS, _NOTIFY), lambda host: host.write(_COMMAND, "#!/bin/sh\n", 0o755), waits(3600)),
        both(written(SETTINGS, _NOTIFY), lambda host: host.write(_COMMAND, "#!/bin/sh\n", 0o755), waits(1)),
        location=_WAITING,
        remediation="sudo journalctl -u 'k3s-harden-notify@*'",
        cure=lambda host, _: host[_WAITING].unlink(),
    ),
    Case(
        "waiver-expired",
        written(SETTINGS, f"{WAIVER}    expires: 2001-02-03\n"),
        written(SETTINGS, f"{WAIVER}    expires: 2001-02-03\n    host: not-this-one\n"),
        location=f"{SETTINGS}:2",
        found="2001-02-03",
        remediation="remove or extend the waiver at {location}",
        cure=lambda host, _: host[SETTINGS].unlink(),
    ),
    Case(
        "not-readable",
        both(written(CONFIG, "kubelet-arg:\n  - tls-cert-file=/etc/kubelet\n"), written("/etc/kubelet/a", "")),
        both(written(CONFIG, "kubelet-arg:\n  - tls-cert-file=/etc/kubelet\n"), written("/etc/kubelet", "")),
        remediation=(
            "remove the cause, or move the file away: cannot read /etc/kubelet: it is a directory, not a regular file"
        ),
        cure=lambda host, _: (host["/etc/kubelet"].rename(host["/etc/moved"]), host.write("/etc/kubelet", "")),
    ),
    Case(
        "k3s-config-writable",
        chmod(DROPINS, 0o777),
        chmod(DROPINS, 0o700),
        location=DROPINS,
        expected="only root can write it",
        found=f"{DROPINS} (0777: others can write it)",
        remediation=f"sudo chmod go-w {DROPINS}",
        cure=lambda host, _: host[DROPINS].chmod(0o755),
    ),
    Case(
        "k3s-config-writable",
        both(written(SITE, "node-name: a\n"), chmod(SITE, 0o666)),
        both(written(SITE, "node-name: a\n"), chmod(SITE, 0o666), chmod(DROPINS, 0o700)),
        location=SITE,
        expected="only root can write it",
        found=f"{SITE} (0666: others can write it)",
        remediation=f"sudo chmod go-w {SITE}",
        cure=lambda host, _: host[SITE].chmod(0o644),
        name="file",
    ),
)


def _id(case: Case) -> str:
    return f"{case.kind}-{case.name}" if case.name else case.kind


ELSEWHERE = {
    "read-only-etc": "test_a_read_only_etc_is_reported_if_files_are_missing",
    "restart-needed": "test_a_restart_is_needed_if_a_file_changed_after_k3s_started",
    "objects-remain": "test_a_revert_on_a_server_reports_remaining_objects",
    "hardening-not-recorded": "test_a_revert_without_the_journal_reports_the_remaining_hardening",
    "gate-remains": "test_a_revert_reports_the_installed_gate",
}
NOT_IN_A_TREE = {
    "k3s-released",
    "gate-not-loaded",
    "clock-implausible",
    "expired-waiver-applied",
    "recorded-settings-used",
    "recorded-version-used",
    "version-differs",
    "waiver-expires-soon",
}
"""Kinds that need a running systemd, a record or a clock, which a host tree does not have; other tests cover them."""


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_a_finding_has_a_remediation_that_fixes_it(case: Case, hardened: Hardened) -> None:
    """`check` reports the values, the location and the remediation; after the remediation the finding is gone."""
    host = hardened(case.role, case.version)
    case.spoil(host)
    seen = host.seen("check")
    # One line can have several problems: a list without `+` drops each item of the k3s-harden drop-in.
    finding, *others = seen.of(case.kind)
    assert all((one.location, one.remediation) == (finding.location, finding.remediation) for one in others)
    if case.kind in {"interrupted-run", "journal-damaged"}:
        assert re.fullmatch(rf"{STATE}/journal/000001-\d+\.(begun|json)", finding.location)
    else:
        assert finding.location == case.location
    assert (finding.expected, finding.found, finding.remediation) == (
        case.expected,
        case.found,
        case.remediation.replace("{location}", finding.location),
    )
    kind = KINDS[case.kind]
    assert finding.level == str(kind.level)
    assert (finding.blocks_gate, finding.prevents_start) == (kind.blocks_gate.holds, kind.prevents_start.holds)
    if finding.level == "error":
        assert seen.code == 3
    if case.cure is not None:
        case.cure(host, finding)
        assert host.seen("check").of(case.kind) == ()


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_a_similar_host_does_not_have_the_finding(case: Case, hardened: Hardened) -> None:
    """The similar change of each scenario causes no finding of that kind."""
    host = hardened(case.role, case.version)
    case.near_miss(host)
    assert host.seen("check").of(case.kind) == ()


def test_each_kind_of_finding_has_a_scenario() -> None:
    """Add a Case for each new kind of finding, with a host that has the finding and one that does not."""
    assert all(name in globals() for name in ELSEWHERE.values())
    assert {case.kind for case in CASES} | ELSEWHERE.keys() | NOT_IN_A_TREE == KINDS.keys()


@pytest.mark.parametrize(
    ("role", "version"), [("server", "1.24"), ("server", "1.34"), ("agent", "1.24"), ("agent", "1.34")]
)
def test_a_compliant_host_has_no_findings(role: str, version: str, hardened: Hardened) -> None:
    """After `apply`, `check` reports compliant items only."""
    seen = hardened(role, version).seen("check")
    assert (seen.code, seen.findings) == (0, ())
    assert set(seen.items.values()) == {"compliant"}


@pytest.mark.parametrize("name", ["audit", "psa"])
@pytest.mark.parametrize("text", ["", "a: [\n", "apiVersion: v1\nkind: ConfigMap\n", "directory"])
def test_k3s_keeps_the_file_of_the_hardening_while_that_of_the_operator_is_unusable(
    name: str, text: str, hardened: Hardened
) -> None:
    """K3s starts with it, and would not start with the operator's. apply changes that when the file is usable."""
    host = hardened()
    own_files(**{name: "" if text == "directory" else text})(host)
    file = f"/srv/{name}.yaml"
    if text == "directory":
        host[file].mkdir(parents=True)
    option = "audit-policy-file" if name == "audit" else "admission-control-config-file"
    source = AUDIT if name == "audit" else PSA
    assert host.run("apply").code == 0
    assert f"{option}={source}" in host[DROPIN].read_text()
    for verb in ("check", "diff", "apply"):
        seen = host.seen(verb)
        assert (seen.code, [one.id for one in seen.findings]) == (0, ["operator-file-replaced"])
    assert "result 0: K3s may start (" in host.run("gate").stdout
    if text == "directory":
        host[file].rmdir()
    host.write(file, host[source].read_text(), 0o600)
    assert host.run("apply").code == 0
    assert option not in host[DROPIN].read_text()
    assert host.seen("check").findings == ()


def test_a_new_host_starts_with_the_files_of_the_hardening(host: HostTree) -> None:
    """The operator's file does not exist yet. Before apply, K3s does not start."""
    host.write(CONFIG, "kube-apiserver-arg: [audit-policy-file=/srv/audit.yaml]\n", 0o600)
    assert host.seen("check").only("audit-policy-unusable").prevents_start
    seen = host.seen("apply")
    assert (seen.code, [one.id for one in seen.findings]) == (0, ["operator-file-replaced"])


def test_an_unusable_file_of_a_later_file_of_the_operator_is_not_replaced(hardened: Hardened) -> None:
    """The argument of the drop-in would have no effect."""
    host = hardened()
    host.write(f"{DROPINS}/95-ops.yaml", "kube-apiserver-arg+: [audit-policy-file=/srv/audit.yaml]\n", 0o600)
    assert host.seen("check").of("operator-file-replaced") == ()
    assert host.seen("check").only("audit-policy-unusable").prevents_start


LATER_LIST = "kube-apiserver-arg:\n- profiling=false\n"


@pytest.mark.parametrize("verb", ["check", "diff"])
def test_a_problem_that_apply_causes_is_reported_before(verb: str, host: HostTree) -> None:
    """A later file drops the arguments of the drop-in that apply will write. After apply the same problem is there."""
    host.write(f"{DROPINS}/95-ops.yaml", LATER_LIST, 0o600)
    before = host.seen(verb).only("list-dropped")
    assert before.message == "after apply: a later file replaces the list `kube-apiserver-arg`"
    host.run("apply")
    after = host.seen(verb).only("list-dropped")
    assert before == after._replace(message=before.message)


def test_a_problem_at_one_line_is_reported_once_before_apply(hardened: Hardened) -> None:
    """It is there already, and apply adds an argument to the list."""
    host = hardened()
    host.write(f"{DROPINS}/95-ops.yaml", LATER_LIST, 0o600)
    host.write(SETTINGS, "always-pull-images: true\n")
    assert not host.seen("check").only("list-dropped").message.startswith("after apply")


def test_nothing_is_predicted_that_apply_cannot_change(host: HostTree) -> None:
    """Rancher writes the configuration of K3s, so apply writes no drop-in."""
    host.write(f"{DROPINS}/95-ops.yaml", LATER_LIST, 0o600)
    host.write(SETTINGS, "rancher-managed: true\n")
    assert host.seen("check").of("list-dropped") == ()


@pytest.mark.parametrize(
    ("config", "version", "found"),
    [
        ("kube-apiserver-arg: [anonymous-auth]", "1.34", ["anonymous-auth=true"]),
        ("kube-apiserver-arg: [authorization-mode+=AlwaysAllow]", "1.34", ["authorization-mode=AlwaysAllow"]),
        (
            "kube-apiserver-arg: ['authorization-mode=RBAC,AlwaysAllow']",
            "1.24",
            ["authorization-mode=RBAC,AlwaysAllow"],
        ),
        (
            "kubelet-arg+: [anonymous_auth=T, read_only_port=10255]",
            "1.31",
            ["anonymous_auth=T", "read_only_port=10255"],
        ),
        ("kubelet-arg: [authorization-mode-=AlwaysAllow]", "1.34", ["authorization-mode=AlwaysAllow"]),
        # The value of K3s follows, and the last one counts. Later versions have theirs in a file.
        ("kubelet-arg: [authorization-mode-=AlwaysAllow]", "1.31", []),
        ("kubelet-arg: [anonymous-auth=true, anonymous-auth=false]", "1.34", []),
        ("kube-apiserver-arg: ['authorization-mode=Node,RBAC,Webhook', profiling=true]", "1.34", []),
        # K3s does not close the port in these versions (k3s-io/k3s #12164).
        ("kubelet-arg: [read-only-port=10255]", "v1.32.1+k3s1", []),
        ("disable-agent: true\nkubelet-arg: [anonymous-auth=true]", "1.34", []),
    ],
)
def test_a_replaced_secure_default_is_found_in_each_spelling(
    config: str, version: str, found: list[str], hardened: Hardened
) -> None:
    """The host is compliant with the guide, so K3s starts with the warning."""
    host = hardened("server", version)
    host.write(f"{DROPINS}/10-site.yaml", f"{config}\n")
    host.write(SETTINGS, f"role: server\nk3s-version: {version!r}\n")
    seen = host.seen("gate")
    assert [finding.found for finding in seen.of("secure-default-replaced")] == found
    assert not any(finding.blocks_gate for finding in seen.of("secure-default-replaced"))


def test_a_replaced_secure_default_of_the_service_is_found(hardened: Hardened) -> None:
    """A waiver with the ID of the control of assess accepts it."""
    host = hardened()
    host.unit("server", "--kubelet-arg", "anonymous-auth=true", name="k3s")
    assert host.seen("check").only("secure-default-replaced").location.startswith("/etc/systemd/system/k3s.service:")
    host.write(SETTINGS, "waivers: [{control: kubelet-anonymous-auth, reason: probes of the site}]\n")
    assert host.seen("check").of("secure-default-replaced") == ()


def test_the_gate_starts_k3s_with_a_configuration_that_others_can_change(hardened: Hardened) -> None:
    """One finding names the directory, not each file in it. A waiver for the control of assess accepts it."""
    host = hardened()
    host.write(SITE, "node-name: a\n", 0o600)
    host[DROPINS].chmod(0o775)
    seen = host.seen("gate")
    assert (seen.code, seen.only("k3s-config-writable").location) == (0, DROPINS)
    host.write(SETTINGS, "waivers: [{control: k3s-config-drop-ins-access, reason: of the image}]\n")
    assert host.seen("check").of("k3s-config-writable") == ()


def test_others_who_can_replace_the_configuration_behind_a_symlink_are_found(hardened: Hardened) -> None:
    """The modes of the file and of its own directory are right; the directory of the symlink's target decides."""
    host = hardened()
    host.write("/srv/k3s/site.yaml", "node-name: a\n", 0o600)
    host["/srv/k3s"].chmod(0o777)
    host[SITE].symlink_to("/srv/k3s/site.yaml")
    assert host.seen("check").only("k3s-config-writable").location == "/srv/k3s"


def test_a_configuration_that_others_can_only_read_is_left_to_assess(hardened: Hardened) -> None:
    """Whether it has a secret is another question than who controls K3s."""
    host = hardened()
    host.write(CONFIG, "token: secret\n", 0o644)
    assert host.seen("check").of("k3s-config-writable") == ()


def test_all_problems_are_in_one_report(hardened: Hardened) -> None:
    """The order is: findings that prevent the start of K3s, errors, warnings, notes."""
    host = hardened()
    host.write("/etc/sysctl.conf", "kernel.panic=0\n")
    host.write("/etc/sysctl.d/zz.conf", "kernel.panic_on_oops=0\n")
    host.write("/proc/sys/vm/panic_on_oom", "1\n")
    host.write(SITE, "kube-apiserver-arg:\n  - audit-log-maxage=90\n")
    host.write(f"{MANIFESTS}/own.yaml", PSP)
    host[f"{DATA_DIR}/server"].chmod(0o755)
    host.edit(AUDIT)
    seen = host.seen("check")
    assert seen.code == 3
    assert seen.ids == {
        "sysctl-conf-disagrees",
        "sysctl-overridden",
        "kernel-parameter",
        "list-dropped",
        "stale-pod-security-policy",
        "mode-loosened",
        "file-edited",
    }
    assert seen.findings[0].prevents_start
    levels = [finding.level for finding in seen.findings]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)


def test_a_directory_in_place_of_a_file_is_reported_without_its_mode(hardened: Hardened) -> None:
    """The item reports that the path is a directory; no finding reports its mode."""
    host = hardened()
    host[AUDIT].unlink()
    host[AUDIT].mkdir(0o755)
    seen = host.seen("check")
    assert seen.of("mode-loosened") == ()
    assert seen.items[AUDIT] == "refused"


def test_a_plugin_without_its_configuration_is_reported_once(hardened: Hardened) -> None:
    """The k3s-harden drop-in repeats the operator's plugins; only the operator's line is reported, and only once."""
    host = hardened()
    host.write(CONFIG, "kube-apiserver-arg:\n  - enable-admission-plugins=EventRateLimit\n")
    host.run("apply")
    assert "EventRateLimit" in host[DROPIN].read_text()
    assert host.seen("check").only("admission-configuration-unusable").location == f"{CONFIG}:2"
    host[PSA].unlink()
    assert PSA in host.seen("check").only("admission-configuration-unusable").message


def test_the_drop_in_does_not_repeat_an_unknown_plugin(hardened: Hardened) -> None:
    """After the operator removes the plugin, the drop-in does not contain it either."""
    host = hardened()
    host.write(CONFIG, "kube-apiserver-arg:\n  - enable-admission-plugins=AlwaysPullImages,NodeRestrictions\n")
    assert host.run("apply").code == 3
    assert "=NodeRestriction,ServiceAccount,AlwaysPullImages\n" in host[DROPIN].read_text()


def test_a_configuration_above_the_size_limit_blocks_the_gate(hardened: Hardened) -> None:
    """K3s can read it, and could start unhardened. It is not reported as invalid YAML."""
    host = hardened()
    host.write(CONFIG, "# a comment\n" * (1 << 17))
    seen = host.seen("check")
    assert (seen.code, seen.of("k3s-config-broken")) == (3, ())
    assert "k3s-harden reads at most 1048576" in seen.only("k3s-config-not-read").message
    assert host.run("gate").code == 3


def test_an_apply_for_another_version_family_changes_nothing(hardened: Hardened) -> None:
    """Without --k3s-version, a host of v1.24 keeps its PodSecurityPolicies, and the gate blocks K3s."""
    host = hardened("server", "1.24")
    before = host.entries()
    host.options = ("--role", "server")
    for verb, code in (("apply", 1), ("gate", 1), ("check", 3)):
        seen = host.seen(verb)
        assert seen.code == code
        assert seen.only("other-family-assumed").blocks_gate
        assert seen.with_status("refused") >= {POLICY, DROPIN}
        assert host.entries() == before
    host.options = ("--role", "server", "--k3s-version", "1.24")
    assert host.run("apply").code == 0
    assert host.seen("check").of("other-family-assumed") == ()


def test_all_kernel_parameters_that_differ_are_reported(hardened: Hardened) -> None:
    """The kubelet exits at the first one."""
    host = hardened()
    for name in ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"):
        host.write(f"/proc/sys/{name}", "7\n")
    for name in ("root_maxkeys", "root_maxbytes"):
        host.write(f"/proc/sys/kernel/keys/{name}", "7\n")
    assert len(host.seen("check").of("kernel-parameter")) == 6
    assert host.run("apply").code == 3
    assert {finding.found for finding in host.seen("check").of("kernel-parameter")} == {"7"}
    assert len(host.seen("check").of("kernel-parameter")) == 2


def test_apply_removes_the_pod_security_policies_of_k3s_harden(hardened: Hardened) -> None:
    """The removal follows an upgrade from v1.24 to v1.25."""
    host = hardened("server", "1.24")
    host.options = ("--role", "server", "--k3s-version", "1.25")
    stale = host.seen("check").of("stale-pod-security-policy")
    assert {finding.location.rpartition(":")[0] for finding in stale} == {POLICY}
    assert {finding.remediation for finding in stale} == {"k3s-harden apply"}
    as_described(host, stale[0])
    assert host.seen("check").findings == ()


@pytest.mark.parametrize("version", ["1.24", "1.34"])
def test_a_revert_on_a_server_reports_remaining_objects(version: str, hardened: Hardened) -> None:
    """K3s does not delete them with their manifest. The command has the settings, which can list namespaces."""
    host = hardened("server", version)
    host.write("/etc/k3s-harden/config.yaml", "network-policies: {namespaces: [apps]}\n")
    host.seen("apply")
    seen = host.seen("revert")
    assert seen.code == 0
    assert seen.only("objects-remain").remediation == (
        "k3s-harden render policy --k3s-version $(k3s --version | awk 'NR == 1 {print $3}')"
        " --config /etc/k3s-harden/config.yaml | sudo k3s kubectl delete --ignore-not-found -f -"
    )


def test_a_revert_without_the_journal_reports_the_remaining_hardening(hardened: Hardened) -> None:
    """Otherwise the result reads as if the host had never been hardened."""
    host = hardened()
    for record in host[f"{STATE}/journal"].iterdir():
        record.unlink()
    seen = host.seen("revert")
    assert (seen.code, seen.items) == (0, {})
    found = seen.only("hardening-not-recorded")
    assert (found.level, found.location) == ("warning", DROPIN)
    host[DROPIN].unlink()
    assert host.seen("revert").of("hardening-not-recorded") == ()


def test_a_revert_on_an_agent_reports_no_objects(hardened: Hardened) -> None:
    """Only servers apply manifests."""
    assert hardened("agent").seen("revert").findings == ()


def test_a_revert_reports_the_installed_gate(hardened: Hardened) -> None:
    """The gate hardens the host again at the next start of K3s."""
    host = hardened()
    host.write("/etc/systemd/system/k3s-harden@.service", "[Service]\n")
    finding = host.seen("revert").only("gate-remains")
    assert finding.location == "/etc/systemd/system/k3s-harden@.service"
    assert finding.remediation == "k3s-harden uninstall"


def test_a_service_without_the_drop_in_of_the_gate_is_reported(hardened: Hardened) -> None:
    """A service of another name needs its own drop-in."""
    host = hardened()
    host.write("/etc/systemd/system/k3s-harden@.service", "[Service]\n")
    host.unit("server", "--debug", name="k3s-east")
    finding = host.seen("check").only("gate-half-missing")
    assert finding.expected == "k3s-east.service.d/10-k3s-harden.conf"
    assert finding.remediation == "k3s-harden install --unit k3s-east.service"


@pytest.mark.root
def test_a_read_only_etc_is_reported_if_files_are_missing(host: HostTree, hardened: Hardened) -> None:
    """An image that contains the files is compliant."""
    done = hardened()
    for tree, there in ((host, True), (done, False)):
        etc = str(tree["/etc"])
        script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
        prefix = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", etc)
        seen = parsed(run("check", "--root", str(tree.root), "--format", "json", *tree.options, prefix=prefix))
        assert bool(seen.of("read-only-etc")) == there
        assert seen.facts["/etc"][0] == "read-only"
        assert seen.code == (3 if there else 0)


@pytest.mark.parametrize(
    ("started", "changed", "asked"), [(-3600, True, True), (3600, True, False), (-3600, False, False)]
)
def test_a_restart_is_needed_if_a_file_changed_after_k3s_started(
    host: HostTree, started: float, *, changed: bool, asked: bool
) -> None:
    """A K3s that started after the change has read the files."""
    clock = 1_800_000_000.0
    running = (K3sProcess(pid=4711, role=Role.SERVER, started=clock + started),)
    tree = Host.tree_at(str(host.root))
    machine = Host(
        root=tree.root, run=run_nothing, probe=lambda: running, now=lambda: clock, uid=tree.uid, gid=tree.gid
    )
    request = Request(Overrides(role="server", k3s_version="1.34"))
    verbs.apply(machine if changed else tree, request)
    if not changed:
        host[f"{STATE}/journal"].rename(host["/var/lib/elsewhere"])
    found = {finding.id: finding for finding in verbs.check(machine, request).findings}
    assert ("restart-needed" in found) == asked
    if asked:
        assert text(found["restart-needed"].remediation) == "sudo systemctl restart k3s"
        assert DROPIN in found["restart-needed"].message


def test_each_finding_is_explained_by_its_name(program: LoadedProgram) -> None:
    """`explain` accepts the id that `check` prints, and prints both properties."""
    assert program.run("explain", "file-edited") == (0, explained("file-edited"), "")
    for kind in KINDS:
        assert explained(kind).startswith(f"{kind} (")
        assert "\nBlocks the gate\n" in explained(kind)
        assert "\nPrevents K3s from starting\n" in explained(kind)


@pytest.mark.parametrize(
    "case", [case for case in CASES if KINDS[case.kind].prevents_start.holds and not case.name], ids=_id
)
def test_the_gate_does_not_block_k3s_if_k3s_fails_by_itself(case: Case, hardened: Hardened) -> None:
    """The gate logs the finding and exits with 0; `check` and `diff` exit with 3."""
    host = hardened(case.role, case.version)
    case.spoil(host)
    assert {host.seen(verb).code for verb in ("check", "diff")} == {3}
    host.write(SETTINGS, f"role: {case.role}\nk3s-version: '{case.version}'\n")
    done = host.run("gate")
    assert done.code == 0
    repaired = case.remediation == "k3s-harden apply"
    assert (f"error {case.kind}: K3s does not start: " in done.stdout) is not repaired
    result = "K3s may start" if repaired else "The gate does not block K3s, but K3s will not start"
    assert f"result 0: {result} (" in done.stdout


@pytest.mark.parametrize(
    "kind",
    [
        "k3s-config-ignored",
        "k3s-config-not-read",
        "pod-security-disabled",
        "pod-security-not-enforced",
        "list-dropped",
        "option-overridden",
        "edited-file-insufficient",
    ],
)
def test_the_gate_blocks_k3s_if_it_would_run_unhardened(kind: str, hardened: Hardened) -> None:
    """apply cannot change the operator's files."""
    case = next(case for case in CASES if case.kind == kind)
    host = hardened(case.role, case.version)
    case.spoil(host)
    host.write(SETTINGS, f"k3s-version: '{case.version}'\n")
    assert host.run("gate").code == 3


@pytest.mark.parametrize("kind", sorted({*GATE_FINDINGS} - NOT_IN_A_TREE))
def test_assess_and_drift_report_an_incomplete_gate(kind: str, hardened: Hardened) -> None:
    """They report it at each run until it is fixed, because no control covers the gate."""
    host = hardened()
    next(case for case in CASES if case.kind == kind).spoil(host)
    assert f"({kind})" in host.run("assess", "--format", "plain").stdout
    for _ in range(2):
        done = host.run("drift")
        assert (done.code, done.stdout.count(f"({kind})")) == (0, 1)


def test_no_finding_both_blocks_the_gate_and_prevents_the_start() -> None:
    """If K3s fails by itself, it does not run unhardened, so the gate does not need to block it."""
    assert [kind.id for kind in KINDS.values() if kind.blocks_gate.holds and kind.prevents_start.holds] == []
    assert all(kind.blocks_gate.reason and kind.prevents_start.reason for kind in KINDS.values())
