"""Each finding appears where it should, with file, line and a remedy that works as it is written, and not next door."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

import pytest

from agent.findings import KINDS
from agent.host import Host
from agent.host.probe import K3sProcess
from agent.host.process import run_nothing
from agent.model import Role
from agent.present.remediation import text
from agent.settings.schema import Overrides
from agent.situation import Request
from agent.verbs import converge as verbs
from agent.verbs.explain import explained
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

PACKAGED_GATE = "/usr/lib/systemd/system/k3s-harden.service"

SITE = f"{DROPINS}/99-site.yaml"
"""K3s reads it after ours."""

IDENTITY = '{"kind":"EncryptionConfiguration","resources":[{"resources":["secrets"],"providers":[{"identity":{}}]}]}'
AESCBC = IDENTITY.replace('{"identity"', '{"aescbc":{}},{"identity"')
PSP = "apiVersion: policy/v1beta1\nkind: PodSecurityPolicy\nmetadata:\n  name: own\n"
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
    reason: a database of ours restarts nodes on purpose
"""
ADMISSION = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: []\n"


def written(path: str, content: str) -> Callable[[HostTree], object]:
    return lambda host: host.write(path, content)


def edited(path: str) -> Callable[[HostTree], object]:
    return lambda host: host.edit(path)


def chmod(path: str, mode: int) -> Callable[[HostTree], object]:
    return lambda host: host[path].chmod(mode)


def asked_for(*options: str) -> Callable[[HostTree], object]:
    def change(host: HostTree) -> None:
        host.options = options

    return change


def both(*edits: Callable[[HostTree], object]) -> Callable[[HostTree], object]:
    return lambda host: [edit(host) for edit in edits]


def linked(path: str, target: str) -> Callable[[HostTree], object]:
    def change(host: HostTree) -> None:
        host[path].parent.mkdir(parents=True, exist_ok=True)
        host[path].symlink_to(target)

    return change


def a_fifo(path: str) -> Callable[[HostTree], object]:
    return lambda host: os.mkfifo(host[path])


def cut_in_half(path: str) -> Callable[[HostTree], object]:
    return lambda host: host.write(path, host[path].read_bytes()[: host[path].stat().st_size // 2], 0o600)


def nothing(_: HostTree) -> None: ...


def as_the_remedy_says(host: HostTree, finding: Finding) -> None:
    """Carry out the remedy where it is a command, alone or behind a condition that is met."""
    words = shlex.split(finding.remediation.removeprefix("if it is not needed: ").removeprefix("sudo "))
    if words[0] == "k3s-harden":
        assert host.run(words[1], *words[2:]).code == 0
    elif words[0] == "rm":
        host[words[1]].unlink()
    else:
        raise AssertionError(f"no command: {finding.remediation}")


def line_deleted(host: HostTree, finding: Finding) -> None:
    """Delete the line that the finding names."""
    line_replaced(r".*\n", "")(host, finding)


def line_replaced(pattern: str, replacement: str) -> Callable[[HostTree, Finding], None]:
    """Edit the line that the finding names."""

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
    """A hardened host, what is done to it, what is then found, how that is cured; and what is almost the same."""

    kind: str
    spoil: Callable[[HostTree], object]
    near_miss: Callable[[HostTree], object]
    location: str = ""
    expected: str = ""
    found: str = ""
    remediation: str = ""
    cure: Callable[[HostTree, Finding], object] | None = as_the_remedy_says
    role: str = "server"
    version: str = "1.34"
    name: str = ""


CASES = (
    Case(
        "file-damaged",
        cut_in_half(AUDIT),
        edited(AUDIT),
        location=AUDIT,
        expected="238 bytes",
        found="119 bytes",
        remediation="sudo k3s-harden apply",
    ),
    Case(
        "file-edited",
        edited(POLICY),
        asked_for("--role", "server", "--k3s-version", "1.28"),
        location=POLICY,
        remediation="see k3s-harden diff; put the change into /etc/k3s-harden/config.yaml, or apply --force",
        cure=lambda host, _: host.run("apply", "--force"),
    ),
    Case(
        "mode-loosened",
        chmod(f"{DATA_DIR}/server", 0o755),
        chmod(f"{DATA_DIR}/server", 0o500),
        location=f"{DATA_DIR}/server",
        expected="0700",
        found="0755",
        remediation="sudo k3s-harden apply",
    ),
    Case(
        "mode-loosened",
        chmod(AUDIT, 0o640),
        chmod(KERNEL_FILE, 0o600),
        location=AUDIT,
        expected="0600",
        found="0640",
        remediation="sudo k3s-harden apply",
        name="file",
    ),
    Case(
        "left-over",
        asked_for("--role", "server", "--k3s-version", "1.24"),
        both(written(PSA, ADMISSION), asked_for("--role", "server", "--k3s-version", "1.24")),
        location=PSA,
        found="1387 bytes",
        remediation=f"if it is not needed: rm {PSA}",
    ),
    Case(
        "interrupted-run",
        lambda host: [path.rename(path.with_suffix(".begun")) for path in host[f"{STATE}/journal"].iterdir()],
        nothing,
        remediation="sudo k3s-harden apply",
    ),
    Case(
        "journal-damaged",
        lambda host: [path.write_text("{") for path in host[f"{STATE}/journal"].iterdir()],
        written(f"{STATE}/journal/000001-1.json.bak", "{"),
        remediation="restore it from a backup, or move it away; the changes of that run can then not be reverted",
        cure=lambda host, finding: host[finding.location].unlink(),
    ),
    Case(
        "k3s-config-broken",
        written(CONFIG, "node-name: a\n  node-ip: b\n"),
        written(CONFIG, "# nothing yet\n"),
        location=f"{CONFIG}:2",
        remediation="repair it",
        cure=line_replaced("^ +", ""),
    ),
    Case(
        "k3s-config-broken",
        lambda host: host[CONFIG].mkdir(),
        lambda host: host[SITE].mkdir(),
        location=CONFIG,
        remediation="put a file in its place, or take it away",
        cure=removed(CONFIG),
        name="directory",
    ),
    Case(
        "k3s-config-broken",
        a_fifo(SITE),
        a_fifo(f"{DROPINS}/99-site.txt"),
        location=SITE,
        remediation="put a file in its place, or take it away",
        cure=removed(SITE),
        name="fifo",
    ),
    Case(
        "k3s-config-broken",
        linked(SITE, "/etc/nowhere.yaml"),
        both(linked(SITE, "/dev/null"), linked(CONFIG, "/etc/nowhere.yaml")),
        location=SITE,
        remediation="put a file in its place, or take it away",
        cure=removed(SITE),
        name="link",
    ),
    Case(
        "k3s-config-broken",
        both(lambda host: host[DROPIN].unlink(), lambda host: host[DROPINS].rmdir(), written(DROPINS, "")),
        both(lambda host: host[DROPIN].unlink(), lambda host: host[DROPINS].rmdir()),
        location=DROPINS,
        remediation="put a file in its place, or take it away",
        cure=removed(DROPINS),
        name="drop-ins",
    ),
    Case(
        "server-key-on-agent",
        written(CONFIG, "node-name: a\ndisable: traefik\n"),
        written(CONFIG, "node-name: a\nnode-label: b=c\n"),
        location=f"{CONFIG}:2",
        found="disable",
        remediation="remove it",
        cure=line_deleted,
        role="agent",
    ),
    Case(
        "admission-plugins-refused",
        written(SITE, "kube-apiserver-arg+:\n  - enable-admission-plugins=NodeRestriction,PodSecurityPolicy\n"),
        written(SITE, "kube-apiserver-arg+:\n  - enable-admission-plugins=NodeRestriction,PodSecurity\n"),
        location=f"{SITE}:2",
        found="NodeRestriction,PodSecurityPolicy",
        remediation="take PodSecurityPolicy out there",
        cure=line_replaced(",PodSecurityPolicy", ""),
        version="1.25",
    ),
    Case(
        "admission-plugins-refused",
        written(SITE, "kube-apiserver-arg+: enable-admission-plugins=NodeRestrictions\n"),
        written(SITE, "kube-apiserver-arg+: enable-admission-plugins=NodeRestriction\n"),
        location=f"{SITE}:1",
        found="NodeRestrictions",
        remediation="take NodeRestrictions out there",
        cure=line_replaced("NodeRestrictions", "NodeRestriction"),
        name="misspelt",
    ),
    Case(
        "admission-plugins-refused",
        written(SITE, "kube-apiserver-arg+: disable-admission-plugins=SecurityContextDeny\n"),
        asked_for("--role", "server", "--k3s-version", "1.29"),
        location=f"{SITE}:1",
        found="SecurityContextDeny",
        remediation="take SecurityContextDeny out there",
        cure=line_deleted,
        version="1.30",
        name="removed",
    ),
    Case(
        "admission-plugins-refused",
        written(SITE, "kube-apiserver-arg+: enable-admission-plugins=AlwaysPullImages,\n"),
        written(SITE, "kube-apiserver-arg+: enable-admission-plugins=\n"),
        location=f"{SITE}:1",
        found="AlwaysPullImages,",
        remediation="take the comma too many out there",
        cure=line_replaced(",$", ""),
        name="empty",
    ),
    Case(
        "admission-plugins-refused",
        written(SITE, "kube-apiserver-arg+: disable-admission-plugins=DefaultStorageClass,ServiceAccount\n"),
        written(SITE, "kube-apiserver-arg+: disable-admission-plugins=DefaultStorageClass,LimitRanger\n"),
        location=f"{SITE}:1",
        found="DefaultStorageClass,ServiceAccount",
        remediation="take ServiceAccount out there",
        cure=line_replaced(",ServiceAccount", ""),
        name="overlap",
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
        remediation="take PodSecurity out there",
        cure=line_deleted,
    ),
    Case(
        "audit-policy-unusable",
        lambda host: host[AUDIT].unlink(),
        written(SITE, f"kube-apiserver-arg+: audit-log-path={DATA_DIR}/server/logs/other.log\n"),
        location=f"{DROPIN}:8",
        found=AUDIT,
        remediation="sudo k3s-harden apply",
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
        remediation="repair that file, or take the option out: ours is used then",
        cure=line_replaced(r"\[\]", "[{level: Metadata}]"),
        name="operator",
    ),
    Case(
        "audit-policy-unusable",
        written(AUDIT, "rules: []\n"),
        edited(AUDIT),
        location=f"{AUDIT}:1",
        remediation="sudo k3s-harden apply --force",
        cure=lambda host, _: host.run("apply", "--force"),
        name="edited",
    ),
    Case(
        "admission-configuration-unusable",
        lambda host: host[PSA].unlink(),
        chmod(PSA, 0o400),
        location=f"{DROPIN}:7",
        found=PSA,
        remediation="sudo k3s-harden apply",
    ),
    Case(
        "admission-configuration-unusable",
        written(CONFIG, "kube-apiserver-arg:\n  - admission-control-config-file=/etc/psa.yaml\n"),
        both(
            written("/etc/psa.yaml", ADMISSION),
            written(CONFIG, "kube-apiserver-arg:\n  - admission-control-config-file=/etc/psa.yaml\n"),
        ),
        location=f"{CONFIG}:2",
        found="/etc/psa.yaml",
        remediation="repair that file, or take the option out: ours is used then",
        cure=file_put("/etc/psa.yaml", ADMISSION),
        name="operator",
    ),
    Case(
        "named-file-missing",
        written(CONFIG, "kube-apiserver-arg:\n  - oidc-ca-file=/etc/ssl/oidc.pem\n"),
        written(CONFIG, f"kube-apiserver-arg:\n  - client-ca-file={DATA_DIR}/server/tls/client-ca.crt\n"),
        location=f"{CONFIG}:2",
        found="/etc/ssl/oidc.pem",
        remediation="put the file there, or correct the path",
        cure=file_put("/etc/ssl/oidc.pem", "a certificate\n"),
    ),
    Case(
        "list-dropped",
        written(SITE, "node-name: a\nkubelet-arg:\n  - max-pods=200\n"),
        written(SITE, "node-name: a\nkubelet-arg+:\n  - max-pods=200\n"),
        location=f"{SITE}:2",
        expected="kubelet-arg+:",
        found="kubelet-arg:",
        remediation="write a + behind the key there",
        cure=line_replaced("kubelet-arg", "kubelet-arg+"),
    ),
    Case(
        "option-overridden",
        written(SITE, "kube-apiserver-arg+:\n  - audit-log-maxage=1\n"),
        written(SITE, "kube-apiserver-arg+:\n  - audit-log-maxage=365\n"),
        location=f"{SITE}:2",
        expected="30 or more",
        found="1",
        remediation="remove it there, or give it a value that meets the control",
        cure=line_replaced("=1", "=30"),
    ),
    Case(
        "option-overridden",
        written(f"{DROPINS}/99-site.YAML", "kube-apiserver-arg+:\n  - audit-log-maxage=1\n"),
        written(f"{DROPINS}/99-site.YAML.old", "kube-apiserver-arg+:\n  - audit-log-maxage=1\n"),
        location=f"{DROPINS}/99-site.YAML:2",
        expected="30 or more",
        found="1",
        remediation="remove it there, or give it a value that meets the control",
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
        remediation="remove it there",
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
        remediation="remove it there, or give it a value that meets the control",
        cure=line_deleted,
        role="agent",
        name="scalar",
    ),
    Case(
        "two-admission-configurations",
        both(
            written("/etc/psa.yaml", ADMISSION),
            written(SITE, "kube-apiserver-arg+:\n  - admission-control-config-file=/etc/psa.yaml\n"),
        ),
        written(SITE, f"kube-apiserver-arg+:\n  - admission-control-config-file={PSA}\n"),
        location=f"{DROPIN}:7",
        expected="one file",
        found="2 files",
        remediation="put all into one file, and name that one alone",
        cure=lambda host, _: host[SITE].unlink(),
    ),
    Case(
        "split-admission-plugins",
        written(SITE, "kube-apiserver-arg+:\n  - enable-admission-plugins=AlwaysPullImages\n"),
        written(SITE, "kube-apiserver-arg+:\n  - disable-admission-plugins=DefaultStorageClass\n"),
        location=f"{DROPIN}:6",
        expected="one value, joined by commas",
        found="NodeRestriction,ServiceAccount and AlwaysPullImages",
        remediation="join them",
        cure=lambda host, _: host[SITE].unlink(),
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
        remediation="take your own out: ours has all of them",
        # AlwaysPullImages would be lost with the next apply, unless the settings have it by then.
        cure=None,
        name="operator",
    ),
    Case(
        "network-policies-inert",
        written(CONFIG, "disable-network-policy: 1\n"),
        written(CONFIG, "disable-network-policy: false\n"),
        location=f"{CONFIG}:1",
        found="disable-network-policy: 1",
        remediation="remove it, unless your network plugin enforces NetworkPolicies itself",
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
        remediation="take policy out there",
        cure=line_replaced(", policy", ""),
        name="disable",
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
        remediation="`k3s-harden explain secrets-encryption` has the steps; older releases of K3s have none",
        cure=file_put(f"{DATA_DIR}/server/cred/encryption-config.json", AESCBC),
    ),
    Case(
        "secrets-not-encrypted",
        written(CONFIG, "server: https://10.0.0.1:6443\n"),
        written(CONFIG, "server: https://10.0.0.1:6443\nsecrets-encryption: true\n"),
        remediation="set `secrets-encryption: on` or `off` in the settings, whichever the others have",
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
        remediation="set it to `on` or `auto`; to stop encrypting, first follow k3s secrets-encrypt disable",
        cure=file_put("/etc/k3s-harden/config.yaml", "secrets-encryption: auto\n"),
    ),
    Case(
        "sysctl-overridden",
        written("/etc/sysctl.d/99-site.conf", "# ours\nvm.overcommit_memory = 0\n"),
        written("/etc/sysctl.d/10-site.conf", "# ours\nvm.overcommit_memory = 0\n"),
        location="/etc/sysctl.d/99-site.conf:2",
        expected="1",
        found="0",
        remediation="delete that line, or set it to 1",
        cure=line_deleted,
    ),
    Case(
        "sysctl-overridden",
        written("/etc/sysctl.d/99-site.conf", "kernel/panic=0\n"),
        written("/etc/sysctl.d/99-site.conf", "kernel/panic=10\n"),
        location="/etc/sysctl.d/99-site.conf:1",
        expected="10",
        found="0",
        remediation="delete that line, or set it to 10",
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
        remediation="delete that line, or set it to 0",
        cure=line_deleted,
    ),
    Case(
        "kernel-parameter",
        written("/proc/sys/vm/overcommit_memory", "2\n"),
        written("/proc/sys/vm/overcommit_memory", "1\n"),
        location=f"{DROPIN}:3",
        expected="1",
        found="2",
        remediation="sudo k3s-harden apply",
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
        remediation="sysctl -w kernel.keys.root_maxkeys=1000000, and keep it in a file in /etc/sysctl.d",
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
        remediation="use a kernel that has the parameter",
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
        remediation="sudo k3s-harden apply",
        name="kubelet",
    ),
    Case(
        "no-kernel-here",
        lambda host: host["/proc/sys"].rename(host["/proc/other"]),
        nothing,
        remediation="run k3s-harden apply or check on the booted host",
        cure=lambda host, _: host["/proc/other"].rename(host["/proc/sys"]),
    ),
    Case(
        "stale-pod-security-policy",
        written(f"{MANIFESTS}/own.yaml", f"# two objects\n---\nkind: ConfigMap\n---\n{PSP}"),
        written(f"{MANIFESTS}/own.yaml", "kind: ConfigMap\ndata:\n  kind: PodSecurityPolicy\n"),
        location=f"{MANIFESTS}/own.yaml:4",
        expected="none from v1.25 on",
        remediation="remove them from the file before this K3s starts",
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
        expected="none from v1.25 on",
        remediation="remove them from the file before this K3s starts",
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
        remediation="write kubernetes.io/metadata.name there, unless you label your namespaces yourself",
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
        remediation="write kubernetes.io/metadata.name there, unless you label your namespaces yourself",
        cure=line_replaced("name:", "kubernetes.io/metadata.name:"),
    ),
    Case(
        "manifest-placeholder",
        written(f"{MANIFESTS}/own.yaml", "kind: ConfigMap\nmetadata:\n  namespace: <NAMESPACE>\n"),
        written(f"{MANIFESTS}/own.yaml", "kind: ConfigMap\ndata:\n  page: '<html>a < b</html>'\n"),
        location=f"{MANIFESTS}/own.yaml:3",
        found="<NAMESPACE>",
        remediation="write the real name there",
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
        remediation="repair the file",
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
        remediation="say --k3s-version",
        cure=asked_again("--role", "server", "--k3s-version", "1.24"),
        version="1.24",
    ),
    Case(
        "version-assumed",
        asked_for("--role", "server"),
        nothing,
        remediation="say --k3s-version",
        cure=asked_again("--role", "server", "--k3s-version", "1.34"),
    ),
    Case(
        "version-newer",
        asked_for("--role", "server", "--k3s-version", "1.99"),
        asked_for("--role", "server", "--k3s-version", "1.37"),
        remediation="look for a newer k3s-harden",
        cure=asked_again("--role", "server", "--k3s-version", "1.37"),
    ),
    Case(
        "version-older",
        asked_for("--role", "server", "--k3s-version", "1.3"),
        asked_for("--role", "server", "--k3s-version", "1.23"),
        expected="v1.23 or newer",
        found="v1.3.0",
        remediation="correct --k3s-version, or `k3s-version` in the settings, or upgrade K3s",
        cure=asked_again("--role", "server", "--k3s-version", "1.30"),
    ),
    Case(
        "rancher-managed",
        written(f"{DROPINS}/50-rancher.yaml", '{"node-name": "a"}\n'),
        written(f"{DROPINS}/50-site.yaml", '{"node-name": "a"}\n'),
        remediation="k3s-harden render rancher-cluster --k3s-version 1.34",
        # The remedy is for whoever runs Rancher; on this node nothing changes.
        cure=None,
    ),
    Case(
        "gate-half-missing",
        written("/etc/systemd/system/k3s.service.d/10-k3s-harden.conf", "[Unit]\nAfter=k3s-harden.service\n"),
        written("/etc/systemd/system/k3s.service.d/10-site.conf", "[Unit]\n"),
        location="/etc/systemd/system/k3s.service.d/10-k3s-harden.conf",
        expected="k3s-harden.service",
        remediation="run `sudo k3s-harden install`; or run `sudo k3s-harden uninstall`",
        cure=lambda host, _: host.run("uninstall"),
    ),
    Case(
        "gate-before-mount",
        both(
            written(PACKAGED_GATE, f"[Unit]\nRequiresMountsFor=/etc {DATA_DIR}\n"),
            both(
                lambda host: host.write("/usr/bin/k3s-harden", "#!/bin/sh\n", 0o755),
                written(CONFIG, "data-dir: /srv/k3s\n"),
            ),
        ),
        both(
            written(PACKAGED_GATE, f"[Unit]\nRequiresMountsFor=/etc {DATA_DIR}\n"),
            both(
                written(
                    "/run/systemd/system/k3s-harden.service.d/a.conf", "[Unit]\nRequiresMountsFor=/srv/k3s/server\n"
                ),
                written(CONFIG, "data-dir: /srv/k3s\n"),
            ),
        ),
        location=PACKAGED_GATE,
        expected="RequiresMountsFor=/srv/k3s",
        found=f"RequiresMountsFor=/etc {DATA_DIR}",
        remediation="sudo k3s-harden install",
        cure=lambda host, _: host.run("install", "--program", "/usr/bin/k3s-harden"),
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
        "waiver-expired",
        written(SETTINGS, f"{WAIVER}    expires: 2001-02-03\n"),
        written(SETTINGS, f"{WAIVER}    expires: 2001-02-03\n    host: not-this-one\n"),
        location=f"{SETTINGS}:2",
        found="2001-02-03",
        remediation="take it out, or give it a new date",
        cure=lambda host, _: host[SETTINGS].unlink(),
    ),
    Case(
        "not-readable",
        both(written(CONFIG, "kubelet-arg:\n  - tls-cert-file=/etc/kubelet\n"), written("/etc/kubelet/a", "")),
        both(written(CONFIG, "kubelet-arg:\n  - tls-cert-file=/etc/kubelet\n"), written("/etc/kubelet", "")),
        remediation="look at it",
        cure=lambda host, _: (host["/etc/kubelet"].rename(host["/etc/moved"]), host.write("/etc/kubelet", "")),
    ),
)


def _id(case: Case) -> str:
    return f"{case.kind}-{case.name}" if case.name else case.kind


ELSEWHERE = {
    "read-only-etc": "test_a_read_only_etc_is_found_only_where_something_is_to_be_written",
    "restart-needed": "test_a_restart_is_asked_for_only_after_a_change_of_what_k3s_reads_at_its_start",
    "objects-remain": "test_a_revert_says_that_k3s_keeps_the_objects_of_a_manifest",
    "gate-remains": "test_a_revert_says_that_the_gate_is_still_there",
}
NOT_IN_A_TREE = {"k3s-released"}
"""Only a running systemd has services that wait: the system and vm tests show it."""


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_a_finding_names_the_place_and_goes_by_its_remedy(case: Case, hardened: Hardened) -> None:
    """`check` says what is wrong, where, what is wanted and what to do; done as it says, the finding is gone."""
    host = hardened(case.role, case.version)
    case.spoil(host)
    seen = host.seen("check")
    # One line can be wrong in more than one way: a list without + loses each of our items.
    finding, *others = seen.of(case.kind)
    assert all((one.location, one.remediation) == (finding.location, finding.remediation) for one in others)
    if case.kind in {"interrupted-run", "journal-damaged"}:
        assert re.fullmatch(rf"{STATE}/journal/000001-\d+\.(begun|json)", finding.location)
    else:
        assert finding.location == case.location
    assert (finding.expected, finding.found, finding.remediation) == (case.expected, case.found, case.remediation)
    assert finding.level == str(KINDS[case.kind].level)
    if finding.level == "error":
        assert seen.code == 3
    if case.cure is not None:
        case.cure(host, finding)
        assert host.seen("check").of(case.kind) == ()


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_a_host_that_is_almost_like_it_does_not_have_the_finding(case: Case, hardened: Hardened) -> None:
    """What looks much the same and is harmless is not complained about."""
    host = hardened(case.role, case.version)
    case.near_miss(host)
    assert host.seen("check").of(case.kind) == ()


def test_each_kind_of_finding_has_a_scenario() -> None:
    """A new kind of finding needs a host that has it and one that almost has it."""
    assert all(name in globals() for name in ELSEWHERE.values())
    assert {case.kind for case in CASES} | ELSEWHERE.keys() | NOT_IN_A_TREE == KINDS.keys()


@pytest.mark.parametrize(
    ("role", "version"), [("server", "1.24"), ("server", "1.34"), ("agent", "1.24"), ("agent", "1.34")]
)
def test_a_host_on_which_nothing_is_wrong_has_no_findings(role: str, version: str, hardened: Hardened) -> None:
    """Right after `apply`, `check` has nothing to say but that all is compliant."""
    seen = hardened(role, version).seen("check")
    assert (seen.code, seen.findings) == (0, ())
    assert set(seen.items.values()) == {"compliant"}


def test_six_things_broken_at_once_are_all_in_one_report(hardened: Hardened) -> None:
    """Nothing hides behind the first thing that is wrong; the errors come first."""
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
    levels = [finding.level for finding in seen.findings]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)


def test_a_directory_in_a_file_s_place_is_no_loosened_mode(hardened: Hardened) -> None:
    """Its mode is nobody's concern: what is wrong is that it is there, which the refusal says."""
    host = hardened()
    host[AUDIT].unlink()
    host[AUDIT].mkdir(0o755)
    seen = host.seen("check")
    assert seen.of("mode-loosened") == ()
    assert seen.items[AUDIT] == "refused"


def test_a_plugin_without_its_configuration_is_named_once(hardened: Hardened) -> None:
    """Ours repeats the operator's plugins, so that the value to mend is theirs; nor is a missing file two faults."""
    host = hardened()
    host.write(CONFIG, "kube-apiserver-arg:\n  - enable-admission-plugins=EventRateLimit\n")
    host.run("apply")
    assert "EventRateLimit" in host[DROPIN].read_text()
    assert host.seen("check").only("admission-configuration-unusable").location == f"{CONFIG}:2"
    host[PSA].unlink()
    assert host.seen("check").only("admission-configuration-unusable").found == PSA


def test_a_misspelt_plugin_is_not_repeated_in_our_file(hardened: Hardened) -> None:
    """So that it is gone once the operator has taken it out."""
    host = hardened()
    host.write(CONFIG, "kube-apiserver-arg:\n  - enable-admission-plugins=AlwaysPullImages,NodeRestrictions\n")
    assert host.run("apply").code == 3
    assert "=NodeRestriction,ServiceAccount,AlwaysPullImages\n" in host[DROPIN].read_text()


def test_a_configuration_that_is_too_large_for_us_is_not_called_broken(hardened: Hardened) -> None:
    """K3s may well read it: it is said that nobody here did, and K3s is not held."""
    host = hardened()
    host.write(CONFIG, "# a comment\n" * (1 << 17))
    seen = host.seen("check")
    assert (seen.code, seen.of("k3s-config-broken")) == (0, ())
    assert "k3s-harden reads at most 1048576" in seen.only("not-readable").message
    assert host.run("gate").code == 0


def test_an_apply_for_the_wrong_family_is_not_silent(hardened: Hardened) -> None:
    """Whoever forgets --k3s-version on a host of 1.24 learns it from `apply -q`, and from each run after it."""
    host = hardened("server", "1.24")
    host.options = ("--role", "server")
    for _ in range(2):
        assert "other-family-assumed" in host.run("apply", "-q").stdout
    host.options = ("--role", "server", "--k3s-version", "1.24")
    assert host.run("apply").code == 0
    assert host.seen("check").of("other-family-assumed") == ()


def test_everything_that_is_wrong_with_a_kernel_is_said(hardened: Hardened) -> None:
    """kubelet exits at the first wrong parameter; a person wants all six at once."""
    host = hardened()
    for name in ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"):
        host.write(f"/proc/sys/{name}", "7\n")
    for name in ("root_maxkeys", "root_maxbytes"):
        host.write(f"/proc/sys/kernel/keys/{name}", "7\n")
    assert len(host.seen("check").of("kernel-parameter")) == 6
    assert host.run("apply").code == 3
    assert {finding.found for finding in host.seen("check").of("kernel-parameter")} == {"7"}
    assert len(host.seen("check").of("kernel-parameter")) == 2


def test_a_stale_policy_of_our_own_goes_by_its_remedy(hardened: Hardened) -> None:
    """The file that 1.24 wanted is wrong on 1.25; whoever does what the finding says is rid of it."""
    host = hardened("server", "1.24")
    host.options = ("--role", "server", "--k3s-version", "1.25")
    stale = host.seen("check").of("stale-pod-security-policy")
    assert {finding.location.rpartition(":")[0] for finding in stale} == {POLICY}
    assert {finding.remediation for finding in stale} == {"sudo k3s-harden apply"}
    as_the_remedy_says(host, stale[0])
    assert host.seen("check").findings == ()


@pytest.mark.parametrize("version", ["1.24", "1.34"])
def test_a_revert_says_that_k3s_keeps_the_objects_of_a_manifest(version: str, hardened: Hardened) -> None:
    """On a server it does; an agent had no manifest."""
    seen = hardened("server", version).seen("revert")
    assert seen.code == 0
    assert "kubectl delete" in seen.only("objects-remain").remediation


def test_a_revert_on_an_agent_speaks_of_no_objects(hardened: Hardened) -> None:
    """There was no manifest to make any."""
    assert hardened("agent").seen("revert").findings == ()


def test_a_revert_says_that_the_gate_is_still_there(hardened: Hardened) -> None:
    """An installed gate would harden the host again at K3s' next start."""
    host = hardened()
    host.write("/etc/systemd/system/k3s-harden.service", "[Service]\n")
    finding = host.seen("revert").only("gate-remains")
    assert finding.location == "/etc/systemd/system/k3s-harden.service"
    assert finding.remediation == "sudo k3s-harden uninstall"


def test_a_service_that_starts_without_the_gate_is_found(hardened: Hardened) -> None:
    """With the gate installed, a service of another name needs a drop-in of its own."""
    host = hardened()
    host.write("/etc/systemd/system/k3s-harden.service", "[Service]\n")
    host.unit("server", "--debug", name="k3s-east")
    finding = host.seen("check").only("gate-half-missing")
    assert finding.expected == "k3s-east.service.d/10-k3s-harden.conf"
    assert finding.remediation == "sudo k3s-harden install --unit k3s-east.service"


@pytest.mark.root
def test_a_read_only_etc_is_found_only_where_something_is_to_be_written(host: HostTree, hardened: Hardened) -> None:
    """An image with the files in it is fine as it is; one without them cannot be helped from within."""
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
def test_a_restart_is_asked_for_only_after_a_change_of_what_k3s_reads_at_its_start(
    host: HostTree, started: float, *, changed: bool, asked: bool
) -> None:
    """K3s that runs since before the change still works by the old files; one that started later does not."""
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
    """What `check` prints as the name of a finding is what `explain` takes."""
    assert program.run("explain", "file-edited") == (0, explained("file-edited"), "")
    for kind in KINDS:
        assert explained(kind).startswith(f"{kind} (")
