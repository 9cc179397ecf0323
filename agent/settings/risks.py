"""Risks of settings, and checks to make before the change. Pure.

Sources: kubernetes, plugin/pkg/admission (denyserviceexternalips, eventratelimit, alwayspullimages); client-go,
tools/record/event.go; containerd, contrib/seccomp/seccomp_default.go; Linux, admin-guide/cgroup-v2.rst (PID).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.k3s.paths import DEFAULT_DATA_DIR, NETWORK_LEASES

if TYPE_CHECKING:
    from collections.abc import Mapping


class Risk(NamedTuple):
    """What a setting can break."""

    breaks: str
    preview: str
    """How to check for it before the change."""
    command: str
    """The command of the check, ready to paste."""


RISKS: Mapping[str, Risk] = {
    "deny-service-external-ips": Risk(
        "The API server rejects a Service with externalIPs, and an update that adds an address to them, also from Helm"
        " and GitOps tools. Existing Services keep their addresses and work as before; a Service that is deleted and"
        " created again is rejected. Services of type LoadBalancer, such as those of ServiceLB and MetalLB, do not need"
        " externalIPs.",
        "List the Services that have externalIPs, and replace them by Services of type LoadBalancer or by an ingress.",
        "kubectl get services -A -o"
        " jsonpath='{range .items[?(@.spec.externalIPs)]}{.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}'",
    ),
    "event-rate-limit": Risk(
        "Above the limit the API server answers 429, and the event is lost, because clients do not send it again: what"
        " `kubectl describe`, event exporters and alerts show is then incomplete. Pods run as before. The limit is for"
        " all clients together, so one pod that fails in a loop can use up the events of the others. Clusters with"
        " many short Jobs, CI runners or thousands of pods have the most events.",
        "Run the command twice, 60 seconds apart, in a busy hour. The difference divided by 60 must be far below"
        " `qps`.",
        "kubectl get --raw /metrics | grep '^apiserver_request_total.*resource=\"events\"'",
    ),
    "always-pull-images": Risk(
        "The pull policy of each new container is Always, also if the pod has Never or IfNotPresent. So a container"
        " does not start while its registry is not reachable, rejects the credentials of the pod, or limits the number"
        " of pulls, even if the image is on the node. An image that was only imported or built on the node has no"
        " registry at all. On air-gapped nodes, whose images are archives in agent/images, K3s' own pods such as"
        " CoreDNS do not start again, unless registries.yaml names a mirror that serves all images.",
        "The directory must be missing or empty, unless a mirror serves its images. Then pull the image of each pod on"
        " each node; a private registry also requires the credentials of the pod.",
        f"sudo ls {DEFAULT_DATA_DIR}/agent/images; kubectl get pods -A -o jsonpath='{{..image}}' | tr ' ' '\\n' | sort"
        " -u | xargs -n 1 sudo k3s crictl pull",
    ),
    "pod-max-pids": Risk(
        "Processes and threads count together, over all containers of the pod. At the limit, fork and clone fail with"
        " EAGAIN: Java reports `unable to create native thread`, a shell `fork: Resource temporarily unavailable`. Java"
        " application servers, databases with a process for each connection, and pods that build software or run"
        " containers need the most. Running pods are not affected until they are created again.",
        "Run the command on each node under full load. The largest number, which can be that of all pods together, must"
        " be far below the limit for each pod.",
        "sudo find /sys/fs/cgroup -path '*kubepods*' -name pids.current -exec grep -H . {} + | sort -t: -k2 -n | tail",
    ),
    "seccomp-default": Risk(
        "A container without a profile can no longer make the system calls that the profile RuntimeDefault blocks, such"
        " as mount, unshare, bpf, perf_event_open and, from containerd 2.0 on, io_uring: they fail with EPERM or"
        " ENOSYS. Affected are builds in containers without privileges, profilers and debuggers, eBPF agents, and"
        " sandboxes of browsers. Pods under the Pod Security level restricted have a profile already, and privileged"
        " containers never get one, so the pods of exempt and labelled namespaces are affected.",
        "Look for pods without a profile, and run them with `seccompProfile: {type: RuntimeDefault}` in their security"
        " context first.",
        "kubectl get pods -A -o custom-columns=NAMESPACE:.metadata.namespace,POD:.metadata.name,"
        "PROFILE:.spec.securityContext.seccompProfile.type,"
        "OF_CONTAINERS:'.spec.containers[*].securityContext.seccompProfile.type'",
    ),
    "cni.file-permissions": Risk(
        "A program that reads the files as an ordinary user, such as a monitoring agent, loses access. CNI plugins run"
        " as root and are not affected, and neither are pods. A file system without access control lists cannot have"
        " default permissions: there, only the files that exist when apply runs get the mode.",
        "Find out the file system. ext4, XFS, Btrfs and tmpfs have access control lists unless they are mounted with"
        " noacl.",
        f"findmnt --target {NETWORK_LEASES.parents[1]} --output FSTYPE,OPTIONS",
    ),
    "waivers-must-expire": Risk(
        "A waiver without a date is an error of the settings, and every verb ends with 2. K3s starts with the recorded"
        " settings.",
        "Give each waiver a date, also those of the file that `waivers-file` names.",
        "grep -nE 'control:|expires:' /etc/k3s-harden/config.yaml",
    ),
}
"""By the key of the setting."""
