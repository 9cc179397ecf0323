"""Rules that several components share: TLS, logging, metrics. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.k3s.components import gates, tables
from agent.k3s.components.controllers import SIGNER, runs
from agent.k3s.components.pairs import PASSED, SIGNING
from agent.k3s.components.values import SECOND
from agent.k3s.components.words import SUITES
from agent.model import Component

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.k3s.components.problem import Arguments, Problem

_TLS = "component-base/cli/flag/ciphersuites_flag.go"
_LOGS = "component-base/logs/api/v1/options.go"
_METRICS = "component-base/metrics/options.go"


_FOR_HTTP2 = frozenset({"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"})
"""HTTP/2 requires one of these suites with TLS 1.2 (golang.org/x/net/http2, ConfigureServer)."""


def gate_is_on(a: Arguments, name: str) -> bool:
    """Return whether a feature gate is on. True for an unknown gate, so that nothing is predicted."""
    gate = tables.gate(name, a.minor)
    return a.gates.get(name, True) if gate is None else gates.is_on(name, gate, a.gates)


def as_number(a: Arguments, name: str, default: float) -> float:
    """Return the value of an argument as a number."""
    found = a.value(name, default)
    return found if isinstance(found, (int, float)) else default


def as_bool(a: Arguments, name: str, *, default: bool) -> bool:
    """Return the value of an argument as a boolean."""
    found = a.value(name, default)
    return found if isinstance(found, bool) else default


def problems(a: Arguments) -> Iterator[Problem]:
    """Yield the problems with arguments that several components have."""
    yield from _ends_at_once(a)
    yield from _writes_configuration(a)
    yield from _versions(a)
    yield from _client(a)
    yield from _kubeconfig(a)
    yield from _leader_election(a)
    yield from _request_headers(a)
    yield from _tls(a)
    yield from _certificate(a)
    yield from _pairs(a)
    yield from _allowed_paths(a)
    yield from _logging(a)
    yield from _metrics(a)


def problems_beside_file(a: Arguments) -> Iterator[Problem]:
    """Yield the problems with arguments that count beside a configuration file."""
    yield from _ends_at_once(a)
    yield from _writes_configuration(a)
    yield from _logging(a)


def _versions(a: Arguments) -> Iterator[Problem]:
    for name in ("emulated-version", "min-compatibility-version"):
        for word in a.words(name):
            match = re.fullmatch(r"(?:kube=)?v?1[.]([0-9]{1,3})", word.strip(), re.ASCII)
            if match is None or not a.minor - _EMULATED_MINORS <= int(match[1]) <= a.minor:
                expected = f"1.{a.minor - _EMULATED_MINORS} to 1.{a.minor}"
                source = "component-base/compatibility/registry.go"
                yield a.problem(name, f"rejects {name}={word}", expected, source)


_EMULATED_MINORS = 3
"""How many minors back a component can emulate (component-base/compatibility/version.go)."""


def _client(a: Arguments) -> Iterator[Problem]:
    name, limit = "kube-api-burst", "kube-api-qps"
    if as_number(a, name, 1) <= 0 < as_number(a, limit, 1):
        message = f"rejects {name}={a.by_name[name].text} while {limit} is more than 0"
        yield a.problem(name, message, "at least 1", "client-go/kubernetes/clientset.go")


_AUTHENTICATION = "apiserver/pkg/server/options/authentication.go"


def _request_headers(a: Arguments) -> Iterator[Problem]:
    for name in ("username-headers", "group-headers", "extra-headers-prefix", "allowed-names"):
        header = f"requestheader-{name}"
        if any(not word.strip() for word in a.words(header)):
            yield a.problem(header, f"rejects an empty item in {header}", "items with text", _AUTHENTICATION)
    if a.words("requestheader-uid-headers") and not gate_is_on(a, "RemoteRequestHeaderUID"):
        message = "rejects requestheader-uid-headers without the feature gate RemoteRequestHeaderUID"
        yield a.problem("requestheader-uid-headers", message, "RemoteRequestHeaderUID=true", _AUTHENTICATION)
    elif (headers := a.words("requestheader-uid-headers")) and "x-remote-uid" not in map(str.lower, headers):
        message = "needs X-Remote-Uid in requestheader-uid-headers"
        yield a.problem("requestheader-uid-headers", message, "X-Remote-Uid in the list", _AUTHENTICATION)


def _kubeconfig(a: Arguments) -> Iterator[Problem]:
    if "kubeconfig" in a.by_name and not a.value("kubeconfig"):
        yield a.problem("kubeconfig", "rejects an empty kubeconfig", "a file", "client-go/tools/clientcmd")


_LEADER = "client-go/tools/leaderelection/leaderelection.go"
JITTER = 1.2
"""How much longer than the retry period the renew deadline must be (JitterFactor)."""


def _leader_election(a: Arguments) -> Iterator[Problem]:
    """Yield the rejected values. With SQLite, K3s passes leader-elect=false, and they are not validated."""
    if not as_bool(a, "leader-elect", default="leader-elect" in a.own):
        return
    lock = "leader-elect-resource-lock"
    if a.value(lock, "leases") != "leases":
        yield a.problem(lock, f"rejects {lock}={a.value(lock)}", "leases", _LEADER)
    names = [f"leader-elect-{name}" for name in ("lease-duration", "renew-deadline", "retry-period")]
    periods = zip(names, (15, 10, 2))
    lease, renew, retry = (as_number(a, name, seconds * SECOND) for name, seconds in periods)
    given = [name for name in names if name in a.by_name]
    if given and not (lease > renew > JITTER * retry > 0):
        message = f"needs {names[0]} above {names[1]}, and that above 1.2 times {names[2]}"
        yield a.problem(given[0], message, "15s, 10s and 2s by default", _LEADER)


def _ends_at_once(a: Arguments) -> Iterator[Problem]:
    for name in ("help", "version", "cleanup", "init-only"):
        if name not in a.by_name:
            continue
        argument = a.by_name[name]
        # A version, such as v1.37.2-site, changes only the version that the component reports.
        # The kubelet prints its help whatever the value is.
        always = name == "help" and a.component is Component.KUBELET
        ends = (
            always
            or argument.value is True
            or (name == "version" and str(argument.value).lower() in ("true", "raw", "1", "t"))
        )
        if ends:
            message = f"exits at once if {name} is set"
            yield a.problem(name, message, "no such argument", "component-base/version/verflag/verflag.go")
        elif name == "version" and str(argument.value).startswith("v"):
            yield from _other_version(a)


def _writes_configuration(a: Arguments) -> Iterator[Problem]:
    name = "write-config-to"
    if a.value(name):
        message = f"writes its configuration and exits if {name} is set"
        yield a.problem(name, message, "no such argument", f"cmd/{a.component}/app")


def _other_version(a: Arguments) -> Iterator[Problem]:
    """Yield a version to report that is of another minor; only the suffix may differ."""
    text = str(a.value("version"))
    if not re.match(rf"v1[.]{a.minor}[.][0-9]", text, re.ASCII):
        source = "component-base/version/dynamic.go"
        yield a.problem("version", f"rejects version={text}", "no such argument", source)


def _tls(a: Arguments) -> Iterator[Problem]:
    name = "tls-cipher-suites"
    suites = a.words(name)
    unknown = [suite for suite in suites if suite not in SUITES]
    for suite in unknown:
        message = f"does not support the cipher suite `{suite}`"
        yield a.problem(name, message, "names of cipher suites of Go", _TLS)
    is_newest = a.value("tls-min-version") == "VersionTLS13"
    has_http2 = not as_bool(a, "disable-http2-serving", default=False)
    if suites and not unknown and _FOR_HTTP2.isdisjoint(suites) and has_http2 and not is_newest:
        message = "needs a cipher suite for HTTP/2"
        expected = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 or TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 in the list"
        yield a.problem(name, message, expected, "golang.org/x/net/http2/server.go")


def _certificate(a: Arguments) -> Iterator[Problem]:
    """Yield an empty certificate or key. K3s passes both to each component except the kubelet and kube-proxy."""
    source = "apiserver/pkg/server/options/serving.go"
    for name in ("tls-cert-file", "tls-private-key-file"):
        if name in a.by_name and not a.value(name) and a.component in _WITH_CERTIFICATE:
            yield a.problem(name, f"rejects an empty {name}", "a file", source)
    for curve in a.words("tls-curve-preferences"):
        if int(curve) not in _CURVES:
            message = f"has no curve {curve}"
            yield a.problem("tls-curve-preferences", message, "numbers of curves of Go", _TLS)


_CERTIFICATES_OF_K3S = ("/server/tls/", "/agent/serving-kubelet.")
"""Parts of the paths of the certificates and keys that K3s passes itself."""


def _pairs(a: Arguments) -> Iterator[Problem]:
    """Yield a certificate or key without the other one: K3s passes its own, which does not match."""
    for pair in PASSED.get(a.component, ()):
        for name, other in (pair, pair[::-1]):
            is_own = any(part in str(a.value(name)) for part in _CERTIFICATES_OF_K3S)
            is_read = pair not in SIGNING or runs(a.words("controllers"), *SIGNER)
            if a.value(name) and other not in a.by_name and is_read and not is_own:
                message = f"rejects {name} beside K3s' own {other}, which does not match"
                yield a.problem(name, message, "both or neither", "crypto/tls, X509KeyPair")


def _allowed_paths(a: Arguments) -> Iterator[Problem]:
    name = "authorization-always-allow-paths"
    for path in a.words(name):
        if "*" in path.removeprefix("/")[:-1]:
            message = f"rejects `{path}` in {name}"
            yield a.problem(name, message, "paths with * only at their end", "apiserver/pkg/authorization/path/path.go")


_WITH_CERTIFICATE = (Component.API_SERVER, Component.CONTROLLER_MANAGER, Component.SCHEDULER)
_CURVES = (23, 24, 25, 29, 4587, 4588, 4589)
"""The CurveIDs of Go's crypto/tls."""


def _logging(a: Arguments) -> Iterator[Problem]:
    layout = str(a.value("logging-format", "text"))
    # kube-apiserver, kube-controller-manager, kube-scheduler, kubelet and kube-proxy register the format json.
    if layout not in ("text", "json"):
        yield a.problem("logging-format", f"rejects logging-format={layout}", "text or json", _LOGS)
    if layout == "json" and a.value("vmodule"):
        yield a.problem("vmodule", "rejects vmodule beside logging-format=json", "one of them", _LOGS)
    for name in ("log-text-split-stream", "log-json-split-stream"):
        if as_bool(a, name, default=False) and not gate_is_on(a, "LoggingAlphaOptions"):
            message = f"rejects {name} without the feature gate LoggingAlphaOptions"
            yield a.problem(name, message, "LoggingAlphaOptions=true", _LOGS)
    for name in ("log-text-info-buffer-size", "log-json-info-buffer-size"):
        if a.value(name, "0") not in ("0", "") and not gate_is_on(a, "LoggingAlphaOptions"):
            message = f"rejects {name} without the feature gate LoggingAlphaOptions"
            yield a.problem(name, message, "LoggingAlphaOptions=true", _LOGS)


_CHECKS_DISABLED_METRICS = 36


def _metrics(a: Arguments) -> Iterator[Problem]:
    name = "show-hidden-metrics-for-version"
    shown = a.value(name)
    before = f"1.{a.minor - 1}"
    if shown and shown != before:
        yield a.problem(name, f"rejects {name}={shown}", before, _METRICS)
    for metric in a.words("disabled-metrics") if a.minor >= _CHECKS_DISABLED_METRICS else ():
        if not re.fullmatch("[a-zA-Z_:][a-zA-Z0-9_:]*", metric, re.ASCII):
            yield a.problem("disabled-metrics", f"rejects the metric `{metric}`", "names of metrics", _METRICS)
    labels = a.value("allow-metric-labels", {})
    if isinstance(labels, dict) and a.component is not Component.KUBELET:
        for key in labels:
            if not re.fullmatch("[a-zA-Z_:][a-zA-Z0-9_:]*,[a-zA-Z_][a-zA-Z0-9_]*", key, re.ASCII):
                message = f"rejects the key `{key}` in allow-metric-labels"
                yield a.problem("allow-metric-labels", message, "metric,label=value,value", _METRICS)
