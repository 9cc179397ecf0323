"""The directories and files that the guide has on a host, with their exact modes. What is in them, desired.py says.

Paths are relative to K3s' data directory, or absolute: `data_dir / row.path` is right for both, because joining an
absolute path yields that path.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from agent.guide import headings
from agent.guide.control import Control, Origin
from agent.guide.sysctls import PARAMETERS_FILE
from agent.k3s.paths import DEFAULT_DATA_DIR, K3S_CONFIG_FILE
from agent.model import (
    ON_SERVERS,
    PRIVATE_FILE,
    PUBLIC_FILE,
    SERVERS,
    WITH_POD_SECURITY_POLICY,
    WITHOUT_POD_SECURITY_POLICY,
    Applies,
    FileMode,
)

POLICY_FILE = "server/manifests/policy.yaml"
"""K3s names the Addon after it, so no other file below manifests/ may be called policy.* (pkg/deploy/controller.go)."""

DROPIN_NAME = "90-k3s-harden.yaml"
"""The name of our part of K3s' configuration, in the directory of drop-ins beside the main file."""

_AUDIT_FILE = "server/audit.yaml"
_PSA_FILE = "server/psa.yaml"
_CONFIG_FILE = f"{K3S_CONFIG_FILE}.d/{DROPIN_NAME}"
_OWN_DIRECTORY = FileMode(0o700)
_K3S_NEVER_FIXES = (
    "K3s creates it with 0700 but leaves the mode of an existing one as it is, so one that a provisioning tool or a"
    " 'mkdir -p' made stays open for good."
)
_MKDIR = (
    "The guide's 'mkdir -p -m 700' sets the mode of the last directory alone, and only where it has to create it;"
    " here every level gets the mode, existing or not."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DirectoryRow(Control):
    """A directory that root alone may use; `path` is relative to the data directory."""

    path: PurePosixPath
    mode: FileMode


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileRow(Control):
    """A file, or a part of one: rows with one `path` are parts of the same file, in this order, and agree on `mode`."""

    path: PurePosixPath
    mode: FileMode


def _directory(path: str, *, title: str, why: str, heading: str, risk: str) -> DirectoryRow:
    return DirectoryRow(
        id=path,
        path=PurePosixPath(path),
        mode=_OWN_DIRECTORY,
        title=title,
        why=f"{why} {_K3S_NEVER_FIXES}",
        origin=Origin(heading),
        risk=risk,
        by_hand=f"sudo install -d -o root -g root -m {_OWN_DIRECTORY} {DEFAULT_DATA_DIR}/{path}",
        deviation=_MKDIR,
        applies=ON_SERVERS,
    )


def _render_to(path: str, what: str) -> str:
    # PurePosixPath's `/` keeps an absolute path as it is.
    target = DEFAULT_DATA_DIR / path
    return f"k3s-harden render {what} | sudo install -D -o root -g root -m {PRIVATE_FILE} /dev/stdin {target}"


SERVER_DIRECTORY = _directory(
    "server",
    title="The server's directory is root's alone",
    why=(
        "It holds the datastore, the cluster's private keys, the join token and every kubeconfig of the control plane:"
        " anyone who can list it knows where to look, and one file with loose permissions gives the cluster away."
    ),
    heading=headings.POD_SECURITY,
    risk=(
        "A backup or monitoring program that reads the directory as an ordinary user no longer can; it needs root,"
        " or a copy that root makes for it."
    ),
)

MANIFESTS = _directory(
    "server/manifests",
    title="The manifests directory is root's alone",
    why=(
        "K3s applies whatever lies here with full rights over the cluster, every 15 seconds, so anyone who can write"
        " here is a cluster administrator; and the manifests may hold secrets."
    ),
    heading=headings.POD_SECURITY,
    risk="A deployment tool that drops manifests here as an ordinary user no longer can.",
)

AUDIT_LOGS = _directory(
    "server/logs",
    title="The audit log's directory is root's alone",
    why=(
        "The audit log tells who did what to which object, names of users and of secrets included. Made beforehand,"
        " the directory has a mode that does not depend on what writes the first log."
    ),
    heading=headings.AUDIT,
    risk=(
        "A log shipper that runs as an ordinary user cannot read the audit log; give it the capability or run it"
        " as root."
    ),
)

DIRECTORIES: tuple[DirectoryRow, ...] = (SERVER_DIRECTORY, MANIFESTS, AUDIT_LOGS)
"""Parents before their children, as they have to be made."""

KERNEL_PARAMETERS_FILE = FileRow(
    id="kernel-parameters-file",
    path=PurePosixPath(PARAMETERS_FILE),
    mode=PUBLIC_FILE,
    title="The kernel parameters are set at every boot",
    why=(
        "The running kernel forgets its parameters at a reboot. systemd-sysctl sets them again from this file before"
        " K3s starts; without it the node comes back with the distribution's values and kubelet refuses to run."
    ),
    origin=Origin(headings.KERNEL_PARAMETERS),
    risk=(
        "None of its own: see the parameters. A file that sorts later, or /etc/sysctl.conf, still wins over it at boot."
    ),
    by_hand=(
        f"Write the four lines 'key=value' to {PARAMETERS_FILE}, mode {PUBLIC_FILE}, owner root, and run 'sudo sysctl"
        " --system'."
    ),
    deviation=(
        "The guide loads the file with 'sysctl -p'. Here the same values are written to /proc/sys and read back: that"
        " needs no procps, and reveals at once a value that the kernel did not take."
    ),
)

AUDIT_POLICY = FileRow(
    id="audit-policy",
    path=PurePosixPath(_AUDIT_FILE),
    mode=PRIVATE_FILE,
    title="The API server has an audit policy",
    why=(
        "The policy says which requests the API server logs; the guide's has the metadata of every request (who, what,"
        " when, from where) and no bodies, so that no secret gets into the log. Without a policy nothing is logged,"
        " whatever the other audit arguments say. The mode keeps others from learning what is not logged."
    ),
    origin=Origin(headings.AUDIT, ("3.2.1",)),
    risk=(
        "The API server exits at its start when audit-policy-file names a file that is missing, cannot be decoded or"
        " has no rules, and K3s with it. The log costs disk: audit-log-maxsize, in megabytes, for each of the"
        " audit-log-maxbackup files and the one being written."
    ),
    by_hand=_render_to(_AUDIT_FILE, "audit-policy"),
    applies=ON_SERVERS,
)

POD_SECURITY_POLICIES = FileRow(
    id="pod-security-policies",
    path=PurePosixPath(POLICY_FILE),
    mode=PRIVATE_FILE,
    title="Pods are restricted by PodSecurityPolicies",
    why=(
        "With the PodSecurityPolicy plugin a pod is admitted only if a policy allows it. restricted-psp is for"
        " everyone: no privileges, no host namespaces, not as root. The other two give K3s' own pods in kube-system"
        " and ServiceLB what they need. They must be here before K3s first starts, or CoreDNS and the rest are never"
        " admitted."
    ),
    origin=Origin(
        headings.POD_SECURITY,
        ("5.2.1", "5.2.2", "5.2.3", "5.2.4", "5.2.5", "5.2.6", "5.2.7", "5.2.8", "5.2.9"),
    ),
    risk=(
        "Pods that run as root, privileged or on the host's network outside kube-system are no longer admitted."
        " Kubernetes 1.25 does not know PodSecurityPolicy: if the file still has them after that upgrade, K3s fails to"
        " apply it for ever. Change the file before the new version starts."
    ),
    by_hand=_render_to(POLICY_FILE, "policy --k3s-version 1.24"),
    deviation=(
        "The guide's RoleBinding in cis-operator-system is written only where the settings say that the namespace"
        " exists: in a namespace that does not, it fails, and K3s applies all its manifests anew every 15 seconds."
    ),
    applies=Applies(SERVERS, WITH_POD_SECURITY_POLICY),
)

POD_SECURITY_ADMISSION = FileRow(
    id="pod-security-admission",
    path=PurePosixPath(_PSA_FILE),
    mode=PRIVATE_FILE,
    title="Pods are restricted by Pod Security Admission",
    why=(
        "Without a configuration the PodSecurity plugin, which is on, enforces nothing in a namespace that has no"
        " labels. This one makes the 'restricted' standard the default for every namespace: no privileges, no host"
        " namespaces, not as root, a seccomp profile. The exempt namespaces are those whose pods cannot run under it."
    ),
    origin=Origin(headings.POD_SECURITY),
    risk=(
        "Pods that do not meet the restricted standard are refused, at their next start too; most Helm charts with"
        " their defaults do not meet it. Label such a namespace pod-security.kubernetes.io/enforce=baseline, or exempt"
        " it in the settings. K3s reads the file at its start only."
    ),
    by_hand=f"{_render_to(_PSA_FILE, 'psa')}; then name the file in admission-control-config-file.",
    deviation=(
        "The guide names Rancher's template rancher-restricted, which only Rancher can hand out. A stand-alone server"
        " gets a file with the same defaults and exemptions; on a node that Rancher manages the file is left to"
        " Rancher, because of two admission-control-config-file arguments the last wins, silently."
    ),
    applies=Applies(SERVERS, WITHOUT_POD_SECURITY_POLICY),
)

NETWORK_POLICIES = FileRow(
    id="network-policies",
    path=PurePosixPath(POLICY_FILE),
    mode=PRIVATE_FILE,
    title="The built-in namespaces have NetworkPolicies",
    why=(
        "Without a policy every pod may connect to every other. In kube-system, default and kube-public these allow"
        " traffic from within the namespace, and traffic to DNS, metrics-server, Traefik and its ServiceLB, and"
        " nothing else; K3s' network policy controller enforces them."
    ),
    origin=Origin(headings.NETWORK_POLICIES),
    risk=(
        "A workload in default that takes traffic from an ingress, a NodePort or another namespace is cut off until it"
        " has a policy of its own, and so is a LoadBalancer service other than Traefik's. With disable-network-policy"
        " and no other controller the policies do nothing."
    ),
    by_hand=_render_to(POLICY_FILE, "policy"),
    deviation=(
        "The guide selects namespaces by a label 'name', which no namespace has, so that its policies let nothing in,"
        " not even DNS from within; here it is kubernetes.io/metadata.name, which the API server keeps on every"
        " namespace. The guide leaves the namespace of the DNS policy open; only kube-system has the pods that it"
        " selects."
    ),
    applies=ON_SERVERS,
)

K3S_CONFIG = FileRow(
    id="k3s-config",
    path=PurePosixPath(_CONFIG_FILE),
    mode=PRIVATE_FILE,
    title="K3s starts with the guide's arguments",
    why=(
        "The arguments below take effect only if K3s gets them. K3s reads config.yaml first and then this directory in"
        " the order of names, so a file of our own adds them without touching the operator's; it sorts after the file"
        " that Rancher writes, and its lists carry '+' so that they add to earlier ones. K3s' configuration can hold"
        " the join token, so the mode is that of a secret."
    ),
    origin=Origin(headings.TEMPLATE),
    risk=(
        "K3s reads it at its start: nothing changes until a restart. An argument that only servers know keeps"
        " k3s-agent from starting, so an agent's file has agent arguments alone."
    ),
    by_hand=f"{_render_to(_CONFIG_FILE, 'k3s-config')}; then restart K3s when it suits.",
    deviation=(
        "The guide writes the arguments into Rancher's Cluster object. A host without Rancher has K3s' own"
        " configuration files instead; on a node that Rancher manages nothing is written here."
    ),
)

FILES: tuple[FileRow, ...] = (
    KERNEL_PARAMETERS_FILE,
    POD_SECURITY_ADMISSION,
    POD_SECURITY_POLICIES,
    NETWORK_POLICIES,
    AUDIT_POLICY,
    K3S_CONFIG,
)
"""In the guide's order."""
