"""Notes for an upgrade of K3s, by version. They do not depend on files of the host. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.model import BOTH_ROLES, SERVERS, Role

if TYPE_CHECKING:
    from agent.model import Version


class UpgradeNote(NamedTuple):
    """A note for upgrades to one minor version from an older one."""

    id: str
    minor: int
    """The first minor version with it."""
    text: str
    source: str
    roles: frozenset[Role] = BOTH_ROLES
    etcd_only: bool = False
    """Whether it is only for servers whose datastore is embedded etcd."""
    first: str = ""
    """The step before the upgrade; empty if the note is only information."""


NOTES: tuple[UpgradeNote, ...] = (
    UpgradeNote(
        "pod-security-policies-removed",
        25,
        "Kubernetes 1.25 has no PodSecurityPolicy. Pod Security Admission replaces it and is stricter: see"
        " docs/howto/upgrade-1.24-to-1.25.md for the pods that it would reject.",
        "kubernetes/kubernetes CHANGELOG-1.25, urgent upgrade notes",
        SERVERS,
    ),
    UpgradeNote(
        "nodes-of-several-versions-1-32",
        32,
        "While nodes of v1.32 and of older versions are in one cluster, the older ones must be releases of January 2025"
        " or newer: v1.32 restricts what a node can read.",
        "k3s-io/k3s release notes of v1.32.0+k3s1",
    ),
    UpgradeNote(
        "containerd-2",
        32,
        "containerd 2.0 has another configuration format. If K3s has a template for it (config.toml.tmpl), migrate it"
        " to config-v3.toml.tmpl.",
        "k3s-io/k3s release notes of v1.32.2+k3s1",
    ),
    UpgradeNote(
        "etcd-3-5-26-before-1-34",
        34,
        "v1.34 has etcd 3.6. First upgrade every server to a release with etcd 3.5.26 (v1.32.11+k3s3, v1.33.7+k3s3 or"
        " newer), or members that were removed from the cluster can come back and stop it.",
        "k3s-io/k3s #13485, #13493 and #13494; etcd.io/blog/2025/zombie_members_upgrade",
        SERVERS,
        etcd_only=True,
        first="upgrade every server to a release with etcd 3.5.26 (v1.32.11+k3s3, v1.33.7+k3s3 or newer), unless it"
        " has one of them",
    ),
    UpgradeNote(
        "ingress-nginx-not-exempt",
        34,
        "From v1.34 on, psa.yaml does not exempt ingress-nginx, like Rancher's sample. If the cluster runs it, add it"
        " to `pod-security.exempt-namespaces` in the settings first.",
        "rancher/rancher-docs psa-restricted-exemptions.md of v2.13 and newer",
        SERVERS,
    ),
    UpgradeNote(
        "cgroup-v1-not-supported",
        35,
        "The kubelet of v1.35 exits on a host with cgroup v1. Boot with cgroup v2, or set"
        " `kubelet-arg: fail-cgroupv1=false`.",
        "kubernetes/kubernetes CHANGELOG-1.35, urgent upgrade notes",
    ),
    UpgradeNote(
        "pod-infra-container-image-removed",
        35,
        "The kubelet of v1.35 exits at `pod-infra-container-image`. Remove it from `kubelet-arg`; K3s has the option"
        " `pause-image`.",
        "kubernetes/kubernetes CHANGELOG-1.35, urgent upgrade notes",
    ),
    UpgradeNote(
        "traefik-chart-40",
        36,
        "v1.36.2 has the Traefik chart 40: its provider for ingress-nginx is now named `kubernetesIngressNGINX`."
        " Correct a HelmChartConfig that names `kubernetesIngressNginx`.",
        "k3s-io/k3s release notes of v1.36.2+k3s1",
        SERVERS,
    ),
    UpgradeNote(
        "etcd-3-6-before-1-37",
        37,
        "v1.37 has etcd 3.7, which continues only from etcd 3.6: first upgrade every server to v1.34, v1.35 or v1.36.",
        "k3s-io/k3s release notes of v1.37.0+k3s1; etcd upgrade guides, one minor version at a time",
        SERVERS,
        etcd_only=True,
        first="upgrade every server to v1.34, v1.35 or v1.36, unless it has one of them",
    ),
    UpgradeNote(
        "event-qps-unlimited",
        37,
        "The kubelet of v1.37 records events without a limit if `event-qps` is 0; before, that meant 5 per second.",
        "kubernetes/kubernetes #117119, CHANGELOG-1.37, urgent upgrade notes",
    ),
)
"""By version."""

SNAPSHOT_FIRST = "snapshot-first"
"""The note whose step depends on the datastore."""

_SNAPSHOT = UpgradeNote(
    SNAPSHOT_FIRST,
    0,
    "Save the datastore and the server's token first: K3s cannot go back to an older minor version.",
    "docs.k3s.io, upgrades and backup",
    SERVERS,
)
_SERVERS_FIRST = UpgradeNote(
    "servers-first",
    0,
    "Upgrade all servers before this agent: a kubelet must not be newer than the API server.",
    "kubernetes.io, version skew policy",
    frozenset({Role.AGENT}),
    first="upgrade all servers of the cluster before this agent",
)
ONE_AT_A_TIME = "one-minor-at-a-time"
"""The note for an upgrade of a server that skips a minor version."""

_ONE_AT_A_TIME = UpgradeNote(
    ONE_AT_A_TIME,
    0,
    "Upgrade one minor version at a time: {steps}. Run preflight for each.",
    "docs.k3s.io, upgrades; kubernetes.io, version skew policy",
    SERVERS,
)


def notes_for_upgrade(
    current: Version | None, target: Version, role: Role, *, has_etcd: bool
) -> tuple[UpgradeNote, ...]:
    """Return the notes for an upgrade. An unknown current version counts as the previous minor version."""
    oldest = target.minor - 1 if current is None else current.minor
    if oldest == target.minor:
        return ()
    notes = [_SNAPSHOT, _SERVERS_FIRST]
    if target.minor - oldest > 1:
        steps = ", ".join(f"v1.{minor}" for minor in range(oldest + 1, target.minor + 1))
        notes.append(_ONE_AT_A_TIME._replace(text=_ONE_AT_A_TIME.text.format(steps=steps)))
    notes += [note for note in NOTES if oldest < note.minor <= target.minor and (has_etcd or not note.etcd_only)]
    return tuple(note for note in notes if role in note.roles)
