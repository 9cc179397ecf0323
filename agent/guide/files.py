"""The directories and files of the guide with their exact modes. agent/desired adds their contents.

Paths are relative to K3s' data directory, or absolute. `data_dir / row.path` is correct for both, because pathlib
returns an absolute right operand unchanged.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from agent.guide import headings
from agent.guide.control import GuideControl, Origin
from agent.guide.sysctls import PARAMETERS_FILE
from agent.k3s.paths import DEFAULT_DATA_DIR, K3S_CONFIG_FILE
from agent.model import (
    EVERYWHERE,
    ON_SERVERS,
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    PUBLIC_FILE,
    SERVERS,
    WITH_POD_SECURITY_POLICY,
    WITHOUT_POD_SECURITY_POLICY,
    Applies,
    FileMode,
)

POLICY_FILE = "server/manifests/policy.yaml"
"""K3s names the Addon after the file, so no other manifest can be named policy.* (k3s, pkg/deploy/controller.go)."""

DROPIN_NAME = "90-k3s-harden.yaml"
"""The name of this program's file in the drop-in directory of K3s' configuration."""

_AUDIT_FILE = "server/audit.yaml"
_PSA_FILE = "server/psa.yaml"
_CONFIG_FILE = f"{K3S_CONFIG_FILE}.d/{DROPIN_NAME}"
_K3S_NEVER_FIXES = (
    "K3s creates the directory with 0700 but does not change the mode of an existing one, such as one that a"
    " provisioning tool or 'mkdir -p' created."
)
_MKDIR = (
    "The guide's 'mkdir -p -m 700' sets the mode of the last directory only, and only if it creates it. This program"
    " sets the mode of every level, whether it exists or not."
)


class DirectoryRow(GuideControl):
    """A directory to which only root has access."""

    path: PurePosixPath
    """Relative to the data directory."""
    mode: FileMode


class FileRow(GuideControl):
    """A file or a part of one. Rows with the same path are parts of one file, in this order, with the same mode."""

    path: PurePosixPath
    mode: FileMode


def _directory(path: str, *, title: str, why: str, heading: str, risk: str) -> DirectoryRow:
    return DirectoryRow(
        id=path,
        path=PurePosixPath(path),
        mode=PRIVATE_DIRECTORY,
        title=title,
        why=f"{why} {_K3S_NEVER_FIXES}",
        origin=Origin(heading),
        risk=risk,
        by_hand=f"sudo install -d -o root -g root -m {PRIVATE_DIRECTORY} {DEFAULT_DATA_DIR}/{path}",
        deviation=_MKDIR,
        applies=ON_SERVERS,
    )


def _render_to(path: str, what: str) -> str:
    target = DEFAULT_DATA_DIR / path
    return f"k3s-harden render {what} | sudo install -D -o root -g root -m {PRIVATE_FILE} /dev/stdin {target}"


SERVER_DIRECTORY = _directory(
    "server",
    title="Only root has access to the server directory",
    why=(
        "It contains the datastore, the cluster's private keys, the join token and every kubeconfig of the control"
        " plane. A single file in it with open permissions gives control of the cluster to other users."
    ),
    heading=headings.POD_SECURITY,
    risk=(
        "A backup or monitoring program that reads the directory as an ordinary user loses access. It must run as root,"
        " or read a copy that root creates."
    ),
)

MANIFESTS = _directory(
    "server/manifests",
    title="Only root has access to the manifests directory",
    why=(
        "K3s applies each file in it with full cluster rights every 15 seconds, so write access to it is equivalent to"
        " cluster administration. The manifests can also contain secrets."
    ),
    heading=headings.POD_SECURITY,
    risk="A deployment tool that writes manifests as an ordinary user loses access.",
)

AUDIT_LOGS = _directory(
    "server/logs",
    title="Only root has access to the audit log directory",
    why=(
        "The audit log contains names of users, secrets and other objects. If the directory exists beforehand, its mode"
        " does not depend on the program that writes the first log."
    ),
    heading=headings.AUDIT,
    risk=(
        "A log shipper that runs as an ordinary user cannot read the audit log. Give it CAP_DAC_READ_SEARCH, or run it"
        " as root."
    ),
)

DIRECTORIES: tuple[DirectoryRow, ...] = (SERVER_DIRECTORY, MANIFESTS, AUDIT_LOGS)
"""Parents before their children, in the order of creation."""

KERNEL_PARAMETERS_FILE = FileRow(
    id="kernel-parameters-file",
    path=PurePosixPath(PARAMETERS_FILE),
    mode=PUBLIC_FILE,
    title="Kernel parameters are set at every boot",
    why=(
        "Kernel parameters are lost at a reboot. systemd-sysctl sets them again from this file before K3s starts."
        " Without the file, the node has the distribution's values after a reboot, and kubelet exits."
    ),
    origin=Origin(headings.KERNEL_PARAMETERS),
    risk=("None in itself; see the parameters. A file that sorts later, or /etc/sysctl.conf, overrides it at boot."),
    by_hand=(
        f"Write the four lines 'key=value' to {PARAMETERS_FILE}, mode {PUBLIC_FILE}, owner root, and run 'sudo sysctl"
        " --system'."
    ),
    deviation=(
        "The guide loads the file with 'sysctl -p'. This program writes the same values to /proc/sys and reads them"
        " back. That does not require procps, and it detects a value that the kernel did not accept."
    ),
    applies=EVERYWHERE,
)

AUDIT_POLICY = FileRow(
    id="audit-policy",
    path=PurePosixPath(_AUDIT_FILE),
    mode=PRIVATE_FILE,
    title="The API server has an audit policy",
    why=(
        "The policy defines which requests the API server logs. The guide's policy logs the metadata of every request"
        " (who, what, when, from where) without bodies, so that the log contains no secrets. Without a policy nothing"
        " is logged, regardless of the other audit arguments. The mode hides from other users what is not logged."
    ),
    origin=Origin(headings.AUDIT, ("3.2.1",)),
    risk=(
        "The API server, and K3s with it, exits at its start if audit-policy-file names a file that is missing,"
        " cannot be decoded or has no rules. The log uses up to audit-log-maxsize megabytes for each of the"
        " audit-log-maxbackup files and the current one."
    ),
    by_hand=_render_to(_AUDIT_FILE, "audit-policy"),
    deviation="",
    applies=ON_SERVERS,
)

POD_SECURITY_POLICIES = FileRow(
    id="pod-security-policies",
    path=PurePosixPath(POLICY_FILE),
    mode=PRIVATE_FILE,
    title="Pods are restricted by PodSecurityPolicies",
    why=(
        "With the PodSecurityPolicy plugin, a pod is admitted only if a policy allows it. restricted-psp applies to"
        " all pods: no privileges, no host namespaces, not as root. The other two policies allow what K3s' own pods"
        " in kube-system and ServiceLB require. The policies must exist before the first start of K3s; otherwise"
        " CoreDNS and other system pods are not admitted."
    ),
    origin=Origin(
        headings.POD_SECURITY,
        ("5.2.1", "5.2.2", "5.2.3", "5.2.4", "5.2.5", "5.2.6", "5.2.7", "5.2.8", "5.2.9"),
    ),
    risk=(
        "Pods outside kube-system that run as root, privileged or in the host's network are no longer admitted."
        " Kubernetes 1.25 has no PodSecurityPolicy: if the file still contains the policies after that upgrade, K3s"
        " fails to apply it at each attempt. Change the file before the new version starts."
    ),
    by_hand=_render_to(POLICY_FILE, "policy --k3s-version 1.24"),
    deviation=(
        "The guide's RoleBinding in cis-operator-system is written only if the settings state that the namespace"
        " exists. Without the namespace it fails, and K3s applies all manifests again every 15 seconds."
    ),
    applies=Applies(SERVERS, WITH_POD_SECURITY_POLICY),
)

POD_SECURITY_ADMISSION = FileRow(
    id="pod-security-admission",
    path=PurePosixPath(_PSA_FILE),
    mode=PRIVATE_FILE,
    title="Pods are restricted by Pod Security Admission",
    why=(
        "Without a configuration, the PodSecurity plugin, which is enabled, enforces nothing in a namespace without"
        " labels. This configuration makes the 'restricted' standard the default of every namespace: no privileges, no"
        " host namespaces, not as root, a seccomp profile. Namespaces whose pods cannot run under it are exempt."
    ),
    origin=Origin(headings.POD_SECURITY),
    risk=(
        "Pods that do not meet the restricted standard are rejected, existing ones at their next start. Most Helm"
        " charts do not meet it with their default values. Label such a namespace"
        " pod-security.kubernetes.io/enforce=baseline, or exempt it in the settings. K3s reads the file only at its"
        " start."
    ),
    by_hand=f"{_render_to(_PSA_FILE, 'psa')}; then set admission-control-config-file to the file.",
    deviation=(
        "The guide names Rancher's template rancher-restricted, which only Rancher can distribute. A stand-alone server"
        " gets a file with the same defaults, and the exemptions of Rancher's sample for the K3s version. On a node"
        " that Rancher manages, Rancher provides the file, because the last of two admission-control-config-file"
        " arguments silently overrides the other."
    ),
    applies=Applies(SERVERS, WITHOUT_POD_SECURITY_POLICY),
)

NETWORK_POLICIES = FileRow(
    id="network-policies",
    path=PurePosixPath(POLICY_FILE),
    mode=PRIVATE_FILE,
    title="The built-in namespaces have NetworkPolicies",
    why=(
        "Without a policy, every pod can connect to every other pod. In kube-system, default and kube-public these"
        " policies allow only traffic from within the namespace, and traffic to DNS, metrics-server, Traefik and its"
        " ServiceLB. K3s' network policy controller enforces them."
    ),
    origin=Origin(headings.NETWORK_POLICIES),
    risk=(
        "A workload in default that receives traffic from an ingress, a NodePort or another namespace is unreachable"
        " until it has its own policy. The same applies to a LoadBalancer service other than Traefik's. With"
        " disable-network-policy and no other controller, the policies have no effect."
    ),
    by_hand=_render_to(POLICY_FILE, "policy"),
    deviation=(
        "The guide selects namespaces by the label 'name', which no namespace has, so its policies allow no traffic,"
        " not even DNS from within. This program uses kubernetes.io/metadata.name, which the API server sets on every"
        " namespace. The guide does not name the namespace of the DNS policy; only kube-system has the pods that the"
        " policy selects."
    ),
    applies=ON_SERVERS,
)

K3S_CONFIG = FileRow(
    id="k3s-config",
    path=PurePosixPath(_CONFIG_FILE),
    mode=PRIVATE_FILE,
    title="K3s starts with the guide's options",
    why=(
        "The file contains the options below that the operator's configuration does not set. K3s reads config.yaml"
        " first, and then this directory in the order of names, so a separate file adds options without changing the"
        " operator's files. It sorts after the file that Rancher writes, and its lists have '+', so they add to"
        " earlier lists. K3s' configuration can contain the join token, so only root can read the file."
    ),
    origin=Origin(headings.TEMPLATE),
    risk=(
        "K3s reads the file at its start, so nothing changes until a restart. k3s-agent does not start with an option"
        " that only servers support, so the file of an agent contains only agent options."
    ),
    by_hand=f"{_render_to(_CONFIG_FILE, 'k3s-config')}; then restart K3s.",
    deviation=(
        "The guide sets the options in Rancher's Cluster object. A host without Rancher has K3s' own configuration"
        " files instead. On a node that Rancher manages, this program does not write the file."
    ),
    applies=EVERYWHERE,
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
