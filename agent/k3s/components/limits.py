"""Ranges and enumerations of single arguments that the components enforce after they parsed them. Pure.

Durations are in nanoseconds. Each table names the upstream file with the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from agent.k3s.components.values import LAST_PORT, MILLISECOND, SECOND
from agent.model import Component

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.k3s.components.problem import Argument, Arguments, Problem

    _Limits = tuple[Optional[float], Optional[float]]
    """The smallest and the largest valid value of an argument; None is unlimited."""


def _limits(low: float | None = None, high: float | None = None) -> _Limits:
    return low, high


_NOT_NEGATIVE = _limits(0)
_POSITIVE = _limits(1)
_PORT = _limits(1, LAST_PORT)
_PORT_OR_ZERO = _limits(0, LAST_PORT)
_HOUR = 3600 * SECOND

_SERVER_RUN = "apiserver/pkg/server/options/server_run_options.go"
_SERVING = "apiserver/pkg/server/options/serving.go"
_CONTROLLERS = "cmd/kube-controller-manager/app/options"
_KUBELET = "pkg/kubelet/apis/config/validation/validation.go"
_PROXY = "pkg/proxy/apis/config/validation/validation.go"
_LOGS = "component-base/logs/api/v1/options.go"

_EVERY: Mapping[str, tuple[_Limits, str]] = {"log-flush-frequency": (_POSITIVE, _LOGS)}

_API_SERVER: Mapping[str, tuple[_Limits, str]] = {
    # A request timeout of zero is accepted, but no request succeeds then, and the API server never becomes ready.
    "request-timeout": (_POSITIVE, _SERVER_RUN),
    **dict.fromkeys(
        (
            "livez-grace-period",
            "max-mutating-requests-inflight",
            "max-requests-inflight",
            "min-request-timeout",
            "shutdown-delay-duration",
            "shutdown-watch-termination-grace-period",
            "storage-initialization-timeout",
        ),
        (_NOT_NEGATIVE, _SERVER_RUN),
    ),
    "goaway-chance": (_limits(0, 0.02), _SERVER_RUN),
    "secure-port": (_PORT, _SERVING),
    "apiserver-count": (_POSITIVE, "cmd/kube-apiserver/app/options/validation.go"),
    "kubernetes-service-node-port": (_PORT_OR_ZERO, "cmd/kube-apiserver/app/options/validation.go"),
}

_CONTROLLER_MANAGER: Mapping[str, tuple[_Limits, str]] = {
    "attach-detach-reconcile-sync-period": (_limits(SECOND), f"{_CONTROLLERS}/attachdetachcontroller.go"),
    **{
        name: (_POSITIVE, f"{_CONTROLLERS}/{file}.go")
        for name, file in (
            ("concurrent-cron-job-syncs", "cronjobcontroller"),
            ("concurrent-daemonset-syncs", "daemonsetcontroller"),
            ("concurrent-device-taint-eviction-syncs", "devicetaintevictioncontroller"),
            ("concurrent-ephemeralvolume-syncs", "ephemeralvolumecontroller"),
            ("concurrent-horizontal-pod-autoscaler-syncs", "hpacontroller"),
            ("concurrent-job-syncs", "jobcontroller"),
            ("concurrent-resourceclaim-syncs", "resourceclaimcontroller"),
            ("concurrent-statefulset-syncs", "statefulsetcontroller"),
        )
    },
    # The controller panics.
    "horizontal-pod-autoscaler-sync-period": (_POSITIVE, "pkg/controller/podautoscaler/horizontal.go"),
    "concurrent-service-endpoint-syncs": (_limits(1, 50), f"{_CONTROLLERS}/endpointslicecontroller.go"),
    "max-endpoints-per-slice": (_limits(1, 1000), f"{_CONTROLLERS}/endpointslicecontroller.go"),
    "mirroring-concurrent-service-endpoint-syncs": (
        _limits(1, 50),
        f"{_CONTROLLERS}/endpointslicemirroringcontroller.go",
    ),
    "mirroring-max-endpoints-per-subset": (_limits(1, 1000), f"{_CONTROLLERS}/endpointslicemirroringcontroller.go"),
    "secure-port": (_PORT_OR_ZERO, _SERVING),
}

_SCHEDULER: Mapping[str, tuple[_Limits, str]] = {
    "secure-port": (_PORT_OR_ZERO, _SERVING),
}

_KUBELET_LIMITS: Mapping[str, tuple[_Limits, str]] = {
    name: (limits, _KUBELET)
    for name, limits in {
        **dict.fromkeys(
            (
                "event-burst",
                "event-qps",
                "kube-api-burst",
                "kube-api-qps",
                "max-open-files",
                "max-pods",
                "pods-per-core",
                "registry-burst",
                "registry-qps",
            ),
            _NOT_NEGATIVE,
        ),
        "container-log-max-files": _limits(2),
        "healthz-port": _PORT_OR_ZERO,
        "image-gc-high-threshold": _limits(0, 100),
        "image-gc-low-threshold": _limits(0, 100),
        "containerLogMaxWorkers": _POSITIVE,
        "containerLogMonitorInterval": _limits(3 * SECOND),
        "iptablesDropBit": _limits(0, 31),
        "iptablesMasqueradeBit": _limits(0, 31),
        "logging.verbosity": _NOT_NEGATIVE,
        "maxParallelImagePulls": _POSITIVE,
        "nodeLeaseDurationSeconds": _POSITIVE,
        "node-status-max-images": _limits(-1),
        "oom-score-adj": _limits(-1000, 1000),
        "port": _PORT,
        "read-only-port": _PORT_OR_ZERO,
        "tracing.samplingRatePerMillion": _limits(0, 1_000_000),
    }.items()
} | {
    "file-check-frequency": (_POSITIVE, "pkg/kubelet/config/file.go"),
    "minimum-container-ttl-duration": (_NOT_NEGATIVE, "pkg/kubelet/container/container_gc.go"),
    "runtime-request-timeout": (_POSITIVE, "cri-client/pkg/remote_runtime.go"),
    "sync-frequency": (_POSITIVE, "pkg/kubelet/kubelet.go"),
}

_KUBE_PROXY: Mapping[str, tuple[_Limits, str]] = {
    name: (limits, _PROXY)
    for name, limits in {
        **dict.fromkeys(
            (
                "conntrack-max-per-core",
                "conntrack-min",
                "conntrack-tcp-timeout-close-wait",
                "conntrack-tcp-timeout-established",
                "conntrack-udp-timeout",
                "conntrack-udp-timeout-stream",
                "kube-api-burst",
            ),
            _NOT_NEGATIVE,
        ),
        "config-sync-period": _POSITIVE,
        "healthz-port": _PORT_OR_ZERO,
        "iptables-masquerade-bit": _limits(0, 31),
        "oom-score-adj": _limits(-1000, 1000),
    }.items()
}

LIMITS: Mapping[Component, Mapping[str, tuple[_Limits, str]]] = {
    Component.API_SERVER: {**_EVERY, **_API_SERVER},
    Component.CONTROLLER_MANAGER: {**_EVERY, **_CONTROLLER_MANAGER},
    Component.SCHEDULER: {**_EVERY, **_SCHEDULER},
    Component.KUBELET: {**_EVERY, **_KUBELET_LIMITS},
    Component.KUBE_PROXY: {**_EVERY, **_KUBE_PROXY},
}

LOCAL_MODES = ("", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")
PROXY_MODES = ("", "iptables", "ipvs", "nftables")
TLS_VERSIONS = ("VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13")
_TLS = "component-base/cli/flag/ciphersuites_flag.go"

_WORDS_OF_SERVERS: Mapping[str, tuple[tuple[str, ...], str]] = {"tls-min-version": (("", *TLS_VERSIONS), _TLS)}

WORDS: Mapping[Component, Mapping[str, tuple[tuple[str, ...], str]]] = {
    Component.API_SERVER: {
        **_WORDS_OF_SERVERS,
        "endpoint-reconciler-type": (("", "master-count", "lease", "none"), "pkg/controlplane/instance.go"),
        "storage-backend": (("", "etcd3"), "apiserver/pkg/server/options/etcd.go"),
        "storage-media-type": (
            ("", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"),
            "apiserver/pkg/server/options/etcd.go",
        ),
    },
    Component.CONTROLLER_MANAGER: {
        **_WORDS_OF_SERVERS,
        "cidr-allocator-type": (("", "RangeAllocator"), f"{_CONTROLLERS}/options.go"),
        "cloud-provider": (("", "external"), f"{_CONTROLLERS}/options.go"),
    },
    Component.SCHEDULER: _WORDS_OF_SERVERS,
    Component.KUBELET: {
        **_WORDS_OF_SERVERS,
        "authorization-mode": (("AlwaysAllow", "Webhook"), "cmd/kubelet/app/auth.go"),
        "cloud-provider": (("", "external"), "cmd/kubelet/app/server.go"),
        "configMapAndSecretChangeDetectionStrategy": (("Get", "Cache", "Watch"), "pkg/kubelet/kubelet.go"),
        "imagePullCredentialsVerificationPolicy": (
            ("NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify"),
            _KUBELET,
        ),
        "logging.format": (("text", "json"), _LOGS),
        "memorySwap.swapBehavior": (("", "NoSwap", "LimitedSwap"), _KUBELET),
        "cpu-manager-policy": (("none", "static"), "pkg/kubelet/cm/cpumanager/cpu_manager.go"),
        "hairpin-mode": (("none", "hairpin-veth", "promiscuous-bridge"), _KUBELET),
        "memory-manager-policy": (("None", "Static"), "pkg/kubelet/cm/memorymanager/memory_manager.go"),
        "topology-manager-policy": (("none", "best-effort", "restricted", "single-numa-node"), _KUBELET),
        "topology-manager-scope": (("container", "pod"), _KUBELET),
    },
    Component.KUBE_PROXY: {
        "detect-local-mode": (LOCAL_MODES, _PROXY),
        "proxy-mode": (PROXY_MODES, _PROXY),
    },
}
"""Arguments with one value out of a list."""


def problems(arguments: Arguments) -> Iterator[Problem]:
    """Yield the arguments of a component whose value is outside its range or enumeration."""
    limits, words = LIMITS[arguments.component], WORDS[arguments.component]
    for name, argument in arguments.by_name.items():
        if name in limits:
            rule, source = limits[name]
            expected = _outside(argument, rule)
            if expected:
                yield arguments.problem(name, f"rejects {name}={argument.text}", expected, source)
        elif name in words and argument.value not in words[name][0]:
            allowed, source = words[name]
            expected = "one of " + ", ".join(filter(None, allowed))
            yield arguments.problem(name, f"rejects {name}={argument.text}", expected, source)


def _outside(argument: Argument, limits: _Limits) -> str:
    """Return what is expected if a number is outside its limits."""
    number = argument.value
    if not isinstance(number, (int, float)):
        return ""
    low, high = limits
    # Not a number is not outside.
    if not ((low is not None and number < low) or (high is not None and number > high)):
        return ""
    show = _as_duration if argument.kind == "duration" else str
    if high is None:
        smallest = low or 0
        return "more than 0" if argument.kind == "duration" and smallest == 1 else f"at least {show(smallest)}"
    return f"from {show(low or 0)} to {show(high)}"


def _as_duration(nanoseconds: float) -> str:
    for unit, size in (("h", _HOUR), ("s", SECOND), ("ms", MILLISECOND)):
        if nanoseconds and not nanoseconds % size:
            return f"{int(nanoseconds // size)}{unit}"
    return f"{int(nanoseconds)}s"
