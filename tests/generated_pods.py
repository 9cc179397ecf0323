"""Random pods for the rules of Pod Security: compliant ones with a few changes, most of which some version forbids."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

Json = dict[str, Any]
Change = Callable[[random.Random, Json], None]


def _words(text: str) -> list[str]:
    return text.split()


IMAGE = "registry.example/app:1"

_CAPABILITIES = _words(
    "ALL NET_BIND_SERVICE net_bind_service CHOWN DAC_OVERRIDE KILL MKNOD AUDIT_WRITE FOWNER FSETID SETFCAP SETGID"
    " SETPCAP SETUID SYS_CHROOT NET_RAW NET_ADMIN SYS_TIME SYS_PTRACE CAP_CHOWN all IPC_LOCK BPF PERFMON"
)
_SYSCTLS = _words(
    "kernel.shm_rmid_forced net.ipv4.ip_local_port_range net.ipv4.tcp_syncookies net.ipv4.ping_group_range"
    " net.ipv4.ip_unprivileged_port_start net.ipv4.ip_local_reserved_ports net.ipv4.tcp_keepalive_time"
    " net.ipv4.tcp_fin_timeout net.ipv4.tcp_keepalive_intvl net.ipv4.tcp_keepalive_probes net.ipv4.tcp_rmem"
    " net.ipv4.tcp_wmem net.ipv4.tcp_slow_start_after_idle net.ipv4.tcp_notsent_lowat net.core.somaxconn kernel.msgmax"
    " net/ipv4/tcp_syncookies fs.mqueue.msg_max"
)
_TYPES = ("container_t", "container_init_t", "container_kvm_t", "container_engine_t", "spc_t", "Container_t", "")
_VOLUMES: list[Json] = [
    {"emptyDir": {}},
    {"emptyDir": {"medium": "Memory"}},
    {"configMap": {"name": "a"}},
    {"secret": {"secretName": "a"}},
    {"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    {"projected": {"sources": [{"configMap": {"name": "a"}}]}},
    {"persistentVolumeClaim": {"claimName": "a"}},
    {
        "ephemeral": {
            "volumeClaimTemplate": {
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
            }
        }
    },
    {"csi": {"driver": "csi.example"}},
    {"image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"}},
    {},
    {"hostPath": {"path": "/etc"}},
    {"hostPath": {"path": "/run/a", "type": "Socket"}},
    {"nfs": {"server": "a", "path": "/"}},
    {"iscsi": {"targetPortal": "a", "iqn": "iqn.2020-01.a:b", "lun": 0}},
    {"glusterfs": {"endpoints": "a", "path": "a"}},
    {"rbd": {"monitors": ["a"], "image": "a"}},
    {"flexVolume": {"driver": "a/b"}},
    {"cinder": {"volumeID": "a"}},
    {"cephfs": {"monitors": ["a"]}},
    {"fc": {"targetWWNs": ["a"], "lun": 1}},
    {"azureFile": {"secretName": "a", "shareName": "a"}},
    {"azureDisk": {"diskName": "a", "diskURI": "https://blob/a"}},
    {"vsphereVolume": {"volumePath": "a"}},
    {"gcePersistentDisk": {"pdName": "a"}},
    {"awsElasticBlockStore": {"volumeID": "a"}},
    {"portworxVolume": {"volumeID": "a"}},
    {"gitRepo": {"repository": "a"}},
]
_SECCOMP: list[Json] = [
    {"type": "RuntimeDefault"},
    {"type": "Localhost", "localhostProfile": "a.json"},
    {"type": "Unconfined"},
]
_APPARMOR: list[Json] = [
    {"type": "RuntimeDefault"},
    {"type": "Localhost", "localhostProfile": "a"},
    {"type": "Unconfined"},
]
_ANNOTATED = ("runtime/default", "localhost/a", "unconfined", "")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def pods(seed: int, number: int) -> Iterator[Json]:
    """Yield pods; the same ones for the same seed. An API server finds some of them invalid."""
    source = random.Random(seed)  # noqa: S311 - the same pods each time
    for _ in range(number):
        pod = _compliant(source)
        for _ in range(source.choice((0, 1, 1, 1, 2, 2, 3, 5, 8))):
            source.choice(_CHANGES)(source, pod)
        yield pod


def _compliant(source: random.Random) -> Json:
    """Return a pod that meets `restricted`, by values of the pod or of its containers."""
    names = ["app", "sidecar", "tool"][: source.choice((1, 1, 2, 3))]
    spec: Json = {"automountServiceAccountToken": False, "containers": [], "securityContext": {}}
    for name in names:
        own = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        spec["containers"].append({"name": name, "image": IMAGE, "securityContext": own})
    if len(names) > 1 and source.random() < 0.5:
        moved = spec["containers"].pop()
        spec["initContainers"] = [{**moved, **({"restartPolicy": "Always"} if source.random() < 0.5 else {})}]
    contexts = [spec["securityContext"]] if source.random() < 0.6 else [item["securityContext"] for item in _all(spec)]
    for context in contexts:
        context.update(runAsNonRoot=True, seccompProfile={"type": "RuntimeDefault"})
    return {"metadata": {"name": "generated"}, "spec": spec}


def _all(spec: Json) -> list[Json]:
    return [*spec["containers"], *spec.get("initContainers", [])]


def _of_pod(key: str, values: list[Any]) -> Change:
    def change(source: random.Random, pod: Json) -> None:
        pod["spec"][key] = source.choice(values)

    return change


def _of_context(key: str, values: list[Any]) -> Change:
    """Set a field of the pod, of a container, or of both; None removes it."""

    def change(source: random.Random, pod: Json) -> None:
        contexts = [item.setdefault("securityContext", {}) for item in _all(pod["spec"])]
        for context in source.sample([pod["spec"]["securityContext"], *contexts], k=source.choice((1, 1, 2))):
            value = source.choice(values)
            context.pop(key, None)
            if value is not None:
                context[key] = value

    return change


def _of_container(key: str, values: list[Any]) -> Change:
    def change(source: random.Random, pod: Json) -> None:
        context = source.choice(_all(pod["spec"])).setdefault("securityContext", {})
        value = source.choice(values)
        context.pop(key, None)
        if value is not None:
            context[key] = value
        if context.get("privileged"):
            context.pop("allowPrivilegeEscalation", None)  # false is invalid then

    return change


def _without_context(source: random.Random, pod: Json) -> None:
    source.choice(_all(pod["spec"])).pop("securityContext", None)


def _capabilities(source: random.Random, pod: Json) -> None:
    context = source.choice(_all(pod["spec"])).setdefault("securityContext", {})
    drop = source.choice((["ALL"], ["all"], ["NET_RAW"], ["CHOWN", "ALL"], [], None))
    add = source.choice((None, [], source.sample(_CAPABILITIES, k=source.choice((1, 1, 2)))))
    context["capabilities"] = {key: value for key, value in (("drop", drop), ("add", add)) if value is not None}


def _ports(source: random.Random, pod: Json) -> None:
    port = source.choice((0, 0, 80, 65535))
    source.choice(_all(pod["spec"]))["ports"] = [
        {"containerPort": 80, "protocol": "TCP", "hostPort": port},
        {"containerPort": 81},
    ]


def _handler(source: random.Random) -> Json:
    host = source.choice(({}, {"host": ""}, {"host": "127.0.0.1"}, {"host": "metadata.example"}))
    header = {"httpHeaders": [{"name": "Host", "value": "a.example"}]}
    return source.choice(
        (
            {"httpGet": {"port": 80, "path": "/", **header, **host}},
            {"tcpSocket": {"port": 80, **host}},
            {"exec": {"command": ["true"]}},
        )
    )


def _probes(source: random.Random, pod: Json) -> None:
    container = source.choice(pod["spec"]["containers"])
    container[source.choice(_PROBES)] = source.choice((_handler(source), {"grpc": {"port": 80}}))


def _hooks(source: random.Random, pod: Json) -> None:
    hook = source.choice(("postStart", "preStop"))
    source.choice(pod["spec"]["containers"]).setdefault("lifecycle", {})[hook] = _handler(source)


def _volumes(source: random.Random, pod: Json) -> None:
    chosen = source.sample(_VOLUMES, k=source.choice((1, 1, 2, 3)))
    pod["spec"]["volumes"] = [{"name": f"v{number}", **item} for number, item in enumerate(chosen)]


def _sysctls(source: random.Random, pod: Json) -> None:
    names = source.sample(_SYSCTLS, k=source.choice((1, 1, 2, 4)))
    pod["spec"]["securityContext"]["sysctls"] = [{"name": name, "value": "1"} for name in names]


def _annotations(source: random.Random, pod: Json) -> None:
    name = source.choice(_all(pod["spec"]))["name"]
    keys = (
        f"container.apparmor.security.beta.kubernetes.io/{name}",
        "seccomp.security.alpha.kubernetes.io/pod",
        f"container.seccomp.security.alpha.kubernetes.io/{name}",
        "example.com/note",
    )
    pod["metadata"].setdefault("annotations", {})[source.choice(keys)] = source.choice(_ANNOTATED)


def _selinux(source: random.Random, pod: Json) -> None:
    options = {key: source.choice(("", "", "a")) for key in ("user", "role", "level")}
    options["type"] = source.choice(_TYPES)
    chosen = {key: options[key] for key in source.sample(sorted(options), k=source.choice((1, 2)))}
    _of_context("seLinuxOptions", [chosen])(source, pod)


def _windows(source: random.Random, pod: Json) -> None:
    hides = source.random() < 0.5
    pod["spec"]["os"] = {"name": source.choice(("windows", "windows", "linux"))}
    for item in [pod["spec"], *_all(pod["spec"])]:
        context = item.get("securityContext", {})
        kept = {key: value for key, value in context.items() if key in ("runAsNonRoot", "windowsOptions")}
        item["securityContext"] = kept if hides or pod["spec"]["os"]["name"] == "windows" else context


def _host_process(source: random.Random, pod: Json) -> None:
    pod["spec"]["hostNetwork"] = True
    if source.random() < 0.5:
        pod["spec"]["securityContext"]["windowsOptions"] = {"hostProcess": True}
    else:
        for item in _all(pod["spec"]):
            item.setdefault("securityContext", {})["windowsOptions"] = {"hostProcess": True}


def _user_namespace(source: random.Random, pod: Json) -> None:
    pod["spec"]["hostUsers"] = source.choice((False, False, True))
    source.choice((_of_context("runAsUser", [0, None]), _of_context("runAsNonRoot", [False, None]), _unmasked))(
        source, pod
    )


def _unmasked(source: random.Random, pod: Json) -> None:
    context = source.choice(_all(pod["spec"])).setdefault("securityContext", {})
    context["procMount"] = source.choice(("Unmasked", "Default"))


_CHANGES: tuple[Change, ...] = (
    _of_pod("hostNetwork", [True, False]),
    _of_pod("hostPID", [True, False]),
    _of_pod("hostIPC", [True, False]),
    _of_pod("shareProcessNamespace", [True, False]),
    _of_context("runAsNonRoot", [True, False, None]),
    _of_context("runAsUser", [0, 1000, None]),
    _of_context("runAsGroup", [0, 1000]),
    _of_context("seccompProfile", [*_SECCOMP, None]),
    _of_context("appArmorProfile", [*_APPARMOR, None]),
    _of_container("privileged", [True, False, None]),
    _of_container("allowPrivilegeEscalation", [True, False, None]),
    _of_container("readOnlyRootFilesystem", [True, False]),
    _capabilities,
    _capabilities,
    _ports,
    _probes,
    _hooks,
    _volumes,
    _volumes,
    _sysctls,
    _annotations,
    _selinux,
    _windows,
    _host_process,
    _user_namespace,
    _user_namespace,
    _without_context,
)
