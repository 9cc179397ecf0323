"""Values and combinations of arguments that the kubelet rejects after it parsed them. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.k3s.components import tables, values
from agent.k3s.components.common import as_bool, as_number, gate_is_on
from agent.k3s.components.names import is_label_value, is_qualified_name
from agent.k3s.components.problem import Cause
from agent.k3s.components.values import InvalidValueError
from agent.k3s.components.words import LABELS, SIGNALS
from agent.k3s.go_values import FALSE, TRUE
from agent.value import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from fractions import Fraction

    from agent.k3s.components.problem import Arguments, Problem

_VALIDATION = "pkg/kubelet/apis/config/validation/validation.go"
_SERVER = "cmd/kubelet/app/server.go"
_EVICTION = "pkg/kubelet/eviction/helpers.go"
_FLAGS = "cmd/kubelet/app/options/options.go"


_ENFORCEMENTS = (
    "pods",
    "none",
    "system-reserved",
    "system-reserved-compressible",
    "kube-reserved",
    "kube-reserved-compressible",
)
_RESERVABLE = ("cpu", "memory", "ephemeral-storage", "pid")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def problems(a: Arguments) -> Iterator[Problem]:
    """Yield the rejected values and combinations."""
    for rule in _RULES:
        yield from rule(a)


def label_problem(key: str, value: str) -> tuple[str, str] | None:
    """Return what is wrong with a label of a node, and what is expected."""
    namespace = key.partition("/")[0] if "/" in key else ""
    is_reserved = namespace in ("kubernetes.io", "k8s.io") or namespace.endswith((".kubernetes.io", ".k8s.io"))
    is_own = any(
        namespace == one or namespace.endswith(f".{one}") for one in ("kubelet.kubernetes.io", "node.kubernetes.io")
    )
    if is_reserved and not is_own and key not in LABELS:
        return f"may not set the label `{key}`", "no label of kubernetes.io or k8s.io, except a few"
    if not is_qualified_name(key):
        return f"rejects the label key `{key}`", "letters, digits, - _ and ."
    if not is_label_value(value):
        return f"rejects the label value `{value}`", "letters, digits, - _ and ."
    return None


def taint_problem(taint: str, seen: set[tuple[str, str]]) -> str:
    """Return what is wrong with a taint; empty if nothing (pkg/util/taints)."""
    is_removal = taint.endswith("-")
    spec, colon, effect = taint.removesuffix("-").partition(":")
    key, _, value = spec.partition("=")
    if colon and effect not in _EFFECTS:
        return f"has no taint effect `{effect}`"
    if (not colon and not is_removal) or (colon and "=" in value) or (colon and not is_label_value(value)):
        return f"rejects the taint `{taint}`"
    if not is_qualified_name(key if colon else spec):
        return f"rejects the taint `{taint}`"
    if not is_removal:
        if (key, effect) in seen:
            return f"rejects the repeated taint `{taint}`"
        seen.add((key, effect))
    return ""


_GATES_WITH_DEFAULTS = ("KubeletCrashLoopBackOffMax", "KubeletEnsureSecretPulledImages")
"""Gates for which the kubelet fills in a field by default, and then rejects the field if the gate is off."""


def _gates(a: Arguments) -> Iterator[Problem]:
    for name in _GATES_WITH_DEFAULTS if "feature-gates" in a.by_name else ():
        gate = tables.gate(name, a.minor)
        if gate is not None and gate.default and not gate_is_on(a, name):
            message = f"rejects {name}=false, because it sets a field that needs the gate"
            problem = a.problem("feature-gates", message, f"{name}=true, or no setting", _VALIDATION)
            yield replace(problem, cause=Cause.FEATURE_GATE)


def _labels(a: Arguments) -> Iterator[Problem]:
    labels = a.value("node-labels", {})
    for key, value in labels.items() if isinstance(labels, dict) else ():
        problem = label_problem(key, value)
        if problem:
            yield a.problem("node-labels", *problem, _FLAGS)


def _taints(a: Arguments) -> Iterator[Problem]:
    name = "register-with-taints"
    if name in a.by_name:
        for given in a.by_name[name].given:
            seen: set[tuple[str, str]] = set()
            for taint in given.text.split(",") if given.text else ():
                problem = taint_problem(taint, seen)
                if problem:
                    yield a.problem(name, problem, "key=value:NoSchedule, separated by commas", "pkg/util/taints")


def _image_collection(a: Arguments) -> Iterator[Problem]:
    high, low = "image-gc-high-threshold", "image-gc-low-threshold"
    if as_number(a, low, 80) >= as_number(a, high, 85):
        name = low if low in a.by_name else high
        if name in a.by_name:
            yield a.problem(name, f"needs {low} below {high}", "80 and 85 by default", _VALIDATION)
    age = "minimum-image-ttl-duration"
    if a.minor >= 37 and as_number(a, age, 0) < 0:  # noqa: PLR2004 - the rule is new in 1.37
        yield a.problem(age, f"rejects {age}={a.by_name[age].text}", "at least 0s", _VALIDATION)


def _cgroups(a: Arguments) -> Iterator[Problem]:
    if a.value("system-cgroups") and not a.value("cgroup-root"):
        yield a.problem("system-cgroups", "needs cgroup-root beside system-cgroups", "cgroup-root=/", _VALIDATION)
    for kind in ("system", "kube"):
        if a.value(f"{kind}-reserved-cgroup") and a.value("reserved-cpus"):
            message = f"rejects {kind}-reserved-cgroup beside reserved-cpus"
            yield a.problem("reserved-cpus", message, "one of them", _VALIDATION)


def _enforcement(a: Arguments) -> Iterator[Problem]:
    levels = a.words("enforce-node-allocatable") if "enforce-node-allocatable" in a.by_name else ("pods",)
    name = "enforce-node-allocatable"
    for level in levels:
        if level not in _ENFORCEMENTS:
            yield a.problem(name, f"rejects {name}={level}", f"out of {', '.join(_ENFORCEMENTS)}", _VALIDATION)
    if len(set(levels)) != len(levels):
        yield a.problem(name, f"rejects a repeated word in {name}", "each word once", _VALIDATION)
    if "none" in levels and len(levels) > 1:
        yield a.problem(name, f"rejects none beside other words in {name}", "none alone", _VALIDATION)
    for kind in ("system", "kube"):
        used = [level for level in levels if level.startswith(f"{kind}-reserved")]
        if used and not a.value(f"{kind}-reserved-cgroup"):
            message = f"needs {kind}-reserved-cgroup for {used[0]}"
            yield a.problem(name, message, f"{kind}-reserved-cgroup=CGROUP", _VALIDATION)
        if len(set(used)) > 1:
            yield a.problem(name, f"rejects {used[0]} beside {used[1]}", "one of them", _VALIDATION)
    if not as_bool(a, "cgroups-per-qos", default=True) and set(levels) - {"none"}:
        yield a.problem(
            "cgroups-per-qos", f"needs {name}=none beside cgroups-per-qos=false", f"{name}=none", _VALIDATION
        )


def _cpus(a: Arguments) -> Iterator[Problem]:
    cpus = str(a.value("reserved-cpus"))
    if cpus and not all(_is_cpu_range(one.strip()) for one in cpus.split(",")):
        yield a.problem("reserved-cpus", f"rejects reserved-cpus={cpus}", "a list such as 0-1,3", _VALIDATION)
    name = "cpu-cfs-quota-period"
    period = as_number(a, name, 100 * values.MILLISECOND)
    if gate_is_on(a, "CustomCPUCFSQuotaPeriod"):
        if not values.MILLISECOND <= period <= values.SECOND:
            yield a.problem(name, f"rejects {name}={a.by_name[name].text}", "from 1ms to 1s", _VALIDATION)
    elif period != 100 * values.MILLISECOND:
        message = f"rejects {name} without the feature gate CustomCPUCFSQuotaPeriod"
        yield a.problem(name, message, "CustomCPUCFSQuotaPeriod=true", _VALIDATION)
    reserved = [a.value(f"{kind}-reserved", {}) for kind in ("kube", "system")]
    has_cpu = any(isinstance(one, dict) and one.get("cpu") not in (None, "0") for one in reserved)
    if a.value("cpu-manager-policy") == "static" and not has_cpu and not cpus:
        message = "needs kube-reserved, system-reserved or reserved-cpus for cpu-manager-policy=static"
        yield a.problem("cpu-manager-policy", message, "kube-reserved=cpu=...", "pkg/kubelet/cm/cpumanager")


_CPU_OPTIONS = (
    "align-by-socket",
    "distribute-cpus-across-cores",
    "distribute-cpus-across-numa",
    "full-pcpus-only",
    "prefer-align-cpus-by-uncorecache",
    "strict-cpu-reservation",
)
_TOPOLOGY_OPTIONS = ("max-allowable-numa-nodes", "prefer-closest-numa-nodes")


def _policies(a: Arguments) -> Iterator[Problem]:
    name = "cpu-manager-policy-options"
    if a.value(name, {}) and a.value("cpu-manager-policy", "none") == "none":
        message = f"rejects {name} without cpu-manager-policy=static"
        yield a.problem(name, message, "cpu-manager-policy=static", "pkg/kubelet/cm/cpumanager/policy_none.go")
    elif a.value("cpu-manager-policy") == "static":
        yield from _options(a, name, _CPU_OPTIONS)
        yield from _gated_options(a, name)
    if a.value("topology-manager-policy", "none") != "none":
        yield from _options(a, "topology-manager-policy-options", _TOPOLOGY_OPTIONS)


_DEFAULT_THRESHOLD = "100Mi"
"""The kubelet's default of memory.available, which it has unless eviction-hard is set."""


def _memory(a: Arguments) -> Iterator[Problem]:
    """Yield the reservations of memory that are repeated or zero, or that differ from the rest of the configuration."""
    name, source = "reserved-memory", "pkg/kubelet/cm/memorymanager/memory_manager.go"
    is_static = a.value("memory-manager-policy") == "Static"
    if name not in a.by_name:
        if is_static:
            message = "needs reserved-memory for memory-manager-policy=Static"
            yield a.problem("memory-manager-policy", message, "reserved-memory=...", source)
        return
    reservations = [one for given in a.by_name[name].given for one in values.memory_reservations(given.text)]
    amounts = {(node, kind): values.amount(size) for node, kind, size in reservations}
    if len(amounts) < len(reservations):
        message = "rejects two reservations of the same memory of a NUMA node"
        yield a.problem(name, message, "one of each", _VALIDATION)
    elif not all(amounts.values()):
        yield a.problem(name, f"rejects a reservation of 0 in {name}", "more than 0", _VALIDATION)
    elif is_static and (totals := _reserved_memory(a)):
        total = sum(size for (_, kind), size in amounts.items() if kind == "memory")
        if total not in totals:
            message = f"needs in {name} the sum of kube-reserved, system-reserved and eviction-hard"
            yield a.problem(name, message, f"{_mebibytes(totals[0])} in total", source)


def _reserved_memory(a: Arguments) -> list[Fraction]:
    """Return the memory that the node reserves, in bytes. Empty if it depends on the node's memory.

    Without a threshold in eviction-hard, it can be that of the kubelet or none, which is K3s' default.
    """
    thresholds = a.value("eviction-hard", {})
    threshold = thresholds.get("memory.available") if isinstance(thresholds, dict) else None
    reserved = [a.value(one, {}) for one in ("kube-reserved", "system-reserved")]
    sizes = [one.get("memory", "0") for one in reserved if isinstance(one, dict)]
    ends = ["0", _DEFAULT_THRESHOLD] if threshold is None else [threshold]
    if not all(map(values.is_quantity, (*sizes, *ends))):
        return []
    return [sum(map(values.amount, sizes), values.amount(end)) for end in ends]


def _mebibytes(size: Fraction) -> str:
    return f"{float(size / 1024**2):g}Mi"


def _options(a: Arguments, name: str, known: tuple[str, ...]) -> Iterator[Problem]:
    options = a.value(name, {})
    for option, value in options.items() if isinstance(options, dict) else ():
        if option not in known:
            yield a.problem(name, f"has no option `{option}` in {name}", ", ".join(known), "pkg/kubelet/cm")
        elif option == _MOST_NODES:
            if not re.fullmatch("[0-9]{1,9}", value, re.ASCII) or int(value) < _FEWEST_NODES:
                yield a.problem(name, f"rejects {option}={value}", f"at least {_FEWEST_NODES}", "pkg/kubelet/cm")
        elif value not in TRUE | FALSE:
            yield a.problem(name, f"rejects {option}={value}", f"{option}=true or {option}=false", "pkg/kubelet/cm")


_GATES_OF_OPTIONS = {
    **dict.fromkeys(("align-by-socket", "distribute-cpus-across-cores"), ("CPUManagerPolicyAlphaOptions", 37)),
    "distribute-cpus-across-numa": ("CPUManagerPolicyBetaOptions", 37),
    "prefer-align-cpus-by-uncorecache": ("CPUManagerPolicyBetaOptions", 35),
    "strict-cpu-reservation": ("CPUManagerPolicyBetaOptions", 34),
}
"""The gates of options of the CPU manager, each with the last minor in which the option needs it."""


def _gated_options(a: Arguments, name: str) -> Iterator[Problem]:
    options = a.value(name, {})
    for option in options if isinstance(options, dict) else ():
        gate, last = _GATES_OF_OPTIONS.get(option, ("", 0))
        if a.minor <= last and not gate_is_on(a, gate):
            message = f"rejects {option} in {name} without the feature gate {gate}"
            yield a.problem(name, message, f"{gate}=true", "pkg/kubelet/cm/cpumanager/policy_options.go")


_MOST_NODES = "max-allowable-numa-nodes"
_FEWEST_NODES = 8


def _sysctls(a: Arguments) -> Iterator[Problem]:
    for pattern in a.words("allowed-unsafe-sysctls"):
        name = pattern.replace("/", ".").partition("*")[0]
        is_known = name in _SYSCTLS or name.startswith(_SYSCTL_PREFIXES)
        if not is_known or not re.fullmatch(_SYSCTL_PATTERN, pattern, re.ASCII):
            message = f"rejects `{pattern}` in allowed-unsafe-sysctls"
            expected = "parameters such as net.*, kernel.msg*, kernel.shm* or kernel.sem"
            yield a.problem("allowed-unsafe-sysctls", message, expected, "pkg/kubelet/sysctl/allowlist.go")


_SYSCTL_PATTERN = r"(?:[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?[./])*(?:[a-z0-9][-_a-z0-9]*)?[a-z0-9*]"
_SYSCTLS = frozenset(
    (
        *("kernel.domainname", "kernel.sem"),
        *(f"kernel.shm{one}" for one in ("", "all", "max", "mni", "_rmid_forced")),
        *(f"kernel.msg{one}" for one in ("", "max", "mnb", "mni")),
    )
)
_SYSCTL_PREFIXES = ("net.", "fs.mqueue.", "user.")
"""The namespaced parameters (component-helpers/node/util/sysctl/namespace.go)."""


def _is_cpu_range(text: str) -> bool:
    match = re.fullmatch("([0-9]{1,6})(?:-([0-9]{1,6}))?", text, re.ASCII)
    return match is not None and (match[2] is None or int(match[1]) <= int(match[2]))


def _reservations(a: Arguments) -> Iterator[Problem]:
    for name in ("kube-reserved", "system-reserved"):
        found = a.value(name, {})
        for resource, quantity in found.items() if isinstance(found, dict) else ():
            if resource not in _RESERVABLE:
                expected = ", ".join(_RESERVABLE)
                yield a.problem(name, f"cannot reserve `{resource}`", expected, _SERVER)
            elif not values.is_quantity(quantity) or quantity.startswith("-"):
                yield a.problem(name, f"rejects {resource}={quantity}", "a quantity such as 500Mi or 200m", _SERVER)
    reserved = a.value("qos-reserved", {})
    for resource, share in reserved.items() if isinstance(reserved, dict) else ():
        match = re.fullmatch("([0-9]+)%", share, re.ASCII)
        if resource != "memory" or not match or int(match[1]) > 100:  # noqa: PLR2004 - percent
            yield a.problem("qos-reserved", f"rejects {resource}={share}", "memory=PERCENT%", _SERVER)


def _eviction(a: Arguments) -> Iterator[Problem]:
    soft, grace = a.value("eviction-soft", {}), a.value("eviction-soft-grace-period", {})
    for name in ("eviction-hard", "eviction-soft", "eviction-minimum-reclaim"):
        found = a.value(name, {})
        for signal, amount in found.items() if isinstance(found, dict) else ():
            problem = eviction_problem(signal, amount, is_reclaim=name == "eviction-minimum-reclaim")
            if problem:
                yield a.problem(name, problem, "a signal and an amount, such as memory.available<1Gi", _EVICTION)
    for signal, period in grace.items() if isinstance(grace, dict) else ():
        name = "eviction-soft-grace-period"
        if signal not in SIGNALS:
            yield a.problem(name, f"has no eviction signal `{signal}`", "such as memory.available", _EVICTION)
        elif _grace(period) < 0:
            yield a.problem(name, f"rejects {signal}={period}", "a duration such as 1m30s", _EVICTION)
    if isinstance(soft, dict) and isinstance(grace, dict):
        for signal, amount in soft.items():
            if signal in SIGNALS and signal not in grace and amount not in ("0%", "100%"):
                message = f"needs eviction-soft-grace-period for {signal}"
                yield a.problem("eviction-soft", message, f"eviction-soft-grace-period={signal}=1m", _EVICTION)


def _grace(text: str) -> int:
    try:
        return values.duration(text)
    except InvalidValueError:
        return -1


def eviction_problem(signal: str, amount: str, *, is_reclaim: bool) -> str:
    """Return what is wrong with an eviction threshold; empty if nothing."""
    if signal not in SIGNALS:
        return f"has no eviction signal `{signal}`"
    if amount.endswith("%"):
        if not is_reclaim and amount in ("0%", "100%"):
            return ""
        try:
            share = values.number(amount.rstrip("%"))
        except InvalidValueError:
            return f"rejects the amount {amount} of {signal}"
        is_valid = share > 0 if is_reclaim else 0 <= share <= 100  # noqa: PLR2004 - percent
        return "" if is_valid else f"rejects the amount {amount} of {signal}"
    is_zero = re.fullmatch("[-+]?0*[.]?0*[A-Za-z]*", amount, re.ASCII) is not None
    if not values.is_quantity(amount) or amount.startswith("-") or (is_zero and not is_reclaim):
        return f"rejects the amount {amount} of {signal}"
    return ""


def _switches(a: Arguments) -> Iterator[Problem]:
    if as_bool(a, "runonce", default=False):
        yield a.problem("runonce", "rejects runonce=true", "no such argument", _VALIDATION)
    if as_bool(a, "exit-on-lock-contention", default=False) and not a.value("lock-file"):
        name = "exit-on-lock-contention"
        yield a.problem(name, "needs lock-file beside exit-on-lock-contention", "lock-file=FILE", _SERVER)
    if as_bool(a, "rotate-server-certificates", default=False) and not gate_is_on(a, "RotateKubeletServerCertificate"):
        message = "rejects rotate-server-certificates without the feature gate RotateKubeletServerCertificate"
        name = "rotate-server-certificates"
        yield a.problem(name, message, "RotateKubeletServerCertificate=true", _VALIDATION)
    name = "container-runtime-endpoint"
    if name in a.by_name and not a.value(name):
        yield a.problem(name, f"rejects an empty {name}", "no such argument", _VALIDATION)
    name = "root-dir"
    if name in a.by_name and not str(a.value(name)).startswith("/"):
        yield a.problem(name, f"rejects {name}={a.value(name)}", "an absolute path", "pkg/kubelet/kubelet.go")
    name = "container-log-max-size"
    if name in a.by_name and not values.is_whole_quantity(size := str(a.value(name))):
        yield a.problem(name, f"rejects {name}={size}", "a quantity such as 10Mi", "pkg/kubelet/logs")


_GATED_FIELDS = {
    "crashLoopBackOff.maxContainerRestartPeriod": "KubeletCrashLoopBackOffMax",
    "enableSystemLogQuery": "NodeLogQuery",
    "imagePullCredentialsVerificationPolicy": "KubeletEnsureSecretPulledImages",
}
"""Fields that need a feature gate."""

_WITH_ALLOWLIST = "NeverVerifyAllowlistedImages"
_IDS = 65536
"""The smallest number of user IDs for a pod."""


def _shutdown(a: Arguments) -> Iterator[Problem]:
    total, critical = "shutdownGracePeriod", "shutdownGracePeriodCriticalPods"
    for name in (total, critical):
        period = as_number(a, name, 0)
        if period < 0 or 0 < period < values.SECOND:
            yield a.problem(name, f"rejects {name}: {a.by_name[name].text}", "0s, or at least 1s", _VALIDATION)
    by_priority = "shutdownGracePeriodByPodPriority"
    if a.words(by_priority) and as_number(a, total, 0) > 0:
        yield a.problem(by_priority, f"rejects {by_priority} beside {total}", "one of them", _VALIDATION)
    if as_number(a, critical, 0) > as_number(a, total, 0):
        yield a.problem(critical, f"needs {critical} of at most {total}", f"at most {total}", _VALIDATION)


def _values_of_fields(a: Arguments) -> Iterator[Problem]:
    """Yield the fields without an argument whose own value is rejected."""
    name = "crashLoopBackOff.maxContainerRestartPeriod"
    if not values.SECOND <= as_number(a, name, 10 * values.SECOND) <= 300 * values.SECOND:
        yield a.problem(name, f"rejects {name}: {a.by_name[name].text}", "1s to 300s", _VALIDATION)
    name = "memoryThrottlingFactor"
    factor = as_number(a, name, 1)
    if not 0 < factor <= 1:
        yield a.problem(name, f"rejects {name}: {factor}", "more than 0, and at most 1", _VALIDATION)
    name = "podLogsDir"
    directory = str(a.value(name, "/var/log/pods"))
    if not directory.startswith("/") or (directory.endswith("/") and directory != "/") or "//" in directory:
        yield a.problem(
            name, f"rejects {name}: {directory}", "an absolute path without a slash at its end", _VALIDATION
        )
    name = "userNamespaces.idsPerPod"
    ids = as_number(a, name, _IDS)
    if ids < _IDS or ids % _IDS:
        yield a.problem(name, f"rejects {name}: {ids:.0f}", f"a multiple of {_IDS}", _VALIDATION)
    name, before = "showHiddenMetricsForVersion", f"1.{a.minor - 1}"
    shown = a.value(name)
    if shown and shown != before:
        yield a.problem(name, f"rejects {name}: {shown}", before, _VALIDATION)
    name = "tracing.endpoint"
    if a.value(name) and not values.is_endpoint(str(a.value(name))):
        expected = "HOST:PORT, or an address that begins with dns:// or unix://"
        yield a.problem(name, f"rejects {name}: {a.value(name)}", expected, "component-base/tracing/api/v1/config.go")


def _dependent_fields(a: Arguments) -> Iterator[Problem]:
    """Yield the fields without an argument that need a feature gate or another field."""
    for name, gate in _GATED_FIELDS.items():
        if a.value(name) and not gate_is_on(a, gate):
            message = f"rejects {name} without the feature gate {gate}"
            yield a.problem(name, message, f"{gate}: true, or no such field", _VALIDATION)
    name, handler = "enableSystemLogQuery", "enableSystemLogHandler"
    if a.value(name) and not as_bool(a, handler, default=True):
        yield a.problem(name, f"rejects {name} without {handler}", f"{handler}: true", _VALIDATION)


def _images(a: Arguments) -> Iterator[Problem]:
    name = "imageMaximumGCAge"
    age = as_number(a, name, 0)
    if age < 0 or 0 < age <= as_number(a, "minimum-image-ttl-duration", 120 * values.SECOND):
        message = f"rejects {name}: {a.by_name[name].text}"
        yield a.problem(name, message, "more than imageMinimumGCAge, or 0s", _VALIDATION)
    name = "maxParallelImagePulls"
    if as_number(a, name, 1) > 1 and as_bool(a, "serialize-image-pulls", default=False):
        message = f"rejects {name} above 1 beside serializeImagePulls"
        yield a.problem(name, message, "serializeImagePulls: false", _VALIDATION)
    name, policy = "preloadedImagesVerificationAllowlist", "imagePullCredentialsVerificationPolicy"
    if a.words(name) and a.value(policy) != _WITH_ALLOWLIST:
        message = f"rejects {name} without {policy}: {_WITH_ALLOWLIST}"
        yield a.problem(name, message, f"{policy}: {_WITH_ALLOWLIST}", _VALIDATION)


_RULES: tuple[Callable[[Arguments], Iterator[Problem]], ...] = (
    _gates,
    _labels,
    _taints,
    _image_collection,
    _cgroups,
    _enforcement,
    _cpus,
    _policies,
    _sysctls,
    _memory,
    _reservations,
    _eviction,
    _switches,
    _shutdown,
    _values_of_fields,
    _dependent_fields,
    _images,
)
