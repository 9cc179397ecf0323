"""Values and combinations of arguments that the API server rejects after it parsed them. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.k3s.components import tables, values
from agent.k3s.components.common import as_bool, as_number, gate_is_on
from agent.k3s.go_values import FALSE, TRUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.k3s.components.problem import Arguments, Problem

_OPTIONS = "pkg/kubeapiserver/options"
_AUDIT = "apiserver/pkg/server/options/audit.go"
_SERVER_RUN = "apiserver/pkg/server/options/server_run_options.go"
_ETCD = "apiserver/pkg/server/options/etcd.go"
_CONTROL_PLANE = "pkg/controlplane/apiserver/options"

_MODES = ("AlwaysAllow", "AlwaysDeny", "ABAC", "Webhook", "RBAC", "Node")
_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
_DEFAULT_NODE_PORTS = (30000, 32767)


def problems(a: Arguments) -> Iterator[Problem]:
    """Yield the rejected values and combinations."""
    for rule in _RULES:
        yield from rule(a)


def _authorization(a: Arguments) -> Iterator[Problem]:
    source = f"{_OPTIONS}/authorization.go"
    config = "authorization-config"
    legacy = [name for name in a.by_name if name == "authorization-mode" or name.startswith("authorization-webhook-")]
    if a.value(config):
        for name in legacy:
            yield a.problem(name, f"rejects {name} beside {config}", f"only one of {name} and {config}", source)
        return
    modes = a.words("authorization-mode") if "authorization-mode" in a.by_name else ("Node", "RBAC")
    for mode in dict.fromkeys(modes):
        if mode not in _MODES:
            message = f"has no authorization mode `{mode}`"
            yield a.problem("authorization-mode", message, f"modes out of {', '.join(_MODES)}", source)
    if len(set(modes)) != len(modes):
        yield a.problem("authorization-mode", "rejects a repeated authorization mode", "each mode once", source)
    if "Webhook" in modes:
        yield from _webhook_version(a, "authorization-webhook-version")
    for mode, file in (("ABAC", "authorization-policy-file"), ("Webhook", "authorization-webhook-config-file")):
        if mode in modes and not a.value(file):
            yield a.problem("authorization-mode", f"needs {file} for the mode {mode}", f"{file}=FILE", source)
        if mode not in modes and a.value(file):
            yield a.problem(file, f"rejects {file} without the mode {mode}", f"authorization-mode={mode},...", source)


def _webhook_version(a: Arguments, name: str) -> Iterator[Problem]:
    if a.value(name, "v1") not in ("v1", "v1beta1"):
        source = "apiserver/plugin/pkg/authorizer/webhook"
        yield a.problem(name, f"rejects {name}={a.value(name)}", "v1 or v1beta1", source)


def _authentication(a: Arguments) -> Iterator[Problem]:
    source = f"{_OPTIONS}/authentication.go"
    if a.value("authentication-token-webhook-config-file"):
        yield from _webhook_version(a, "authentication-token-webhook-version")
    oidc = [name for name in a.by_name if name.startswith("oidc-")]
    if oidc and a.value("authentication-config"):
        name = oidc[0]
        message = f"rejects {name} beside authentication-config"
        yield a.problem(name, message, "only one of them", source)
    elif oidc and not (a.value("oidc-issuer-url") and a.value("oidc-client-id")):
        message = "needs both oidc-issuer-url and oidc-client-id"
        yield a.problem(oidc[0], message, "both, or no argument oidc-*", source)
    elif oidc:
        yield from _issuer(a)
        if "oidc-username-claim" in a.by_name and not a.value("oidc-username-claim"):
            yield a.problem("oidc-username-claim", "rejects an empty oidc-username-claim", "a claim", source)
    for algorithm in a.words("oidc-signing-algs"):
        if algorithm not in _ALGORITHMS and a.value("oidc-issuer-url"):
            message = f"does not support the signing algorithm `{algorithm}`"
            yield a.problem("oidc-signing-algs", message, f"algorithms out of {', '.join(_ALGORITHMS)}", source)


def _issuer(a: Arguments) -> Iterator[Problem]:
    source = "apiserver/pkg/apis/apiserver/validation/validation.go"
    url = str(a.value("oidc-issuer-url"))
    if not url.lower().startswith("https://"):
        yield a.problem("oidc-issuer-url", "requires an https URL in oidc-issuer-url", "https://...", source)
    elif not values.is_url(url):
        yield a.problem("oidc-issuer-url", "cannot parse oidc-issuer-url", "https://HOST/PATH", source)
    elif "?" in url or "#" in url or "@" in url:
        message = "rejects a query, fragment or user name in oidc-issuer-url"
        yield a.problem("oidc-issuer-url", message, "https://HOST/PATH", source)


def _service_accounts(a: Arguments) -> Iterator[Problem]:
    source = f"{_OPTIONS}/authentication.go"
    issuers = a.words("service-account-issuer")
    if "service-account-issuer" in a.by_name:
        if "" in issuers:
            yield a.problem("service-account-issuer", "rejects an empty service-account-issuer", "a text", source)
        for issuer in issuers:
            if ":" in issuer and not values.is_url(issuer):
                message = f"rejects service-account-issuer={issuer}"
                yield a.problem("service-account-issuer", message, "a name without a colon, or a URL", source)
        if len(set(issuers)) != len(issuers):
            message = "rejects a repeated service-account-issuer"
            yield a.problem("service-account-issuer", message, "each issuer once", source)
    uri = str(a.value("service-account-jwks-uri"))
    if uri and not uri.startswith("https://"):
        message = "requires an https URL in service-account-jwks-uri"
        yield a.problem("service-account-jwks-uri", message, "https://...", source)
    longest = as_number(a, "service-account-max-token-expiration", 0)
    if longest and not 3600 * values.SECOND <= longest <= 2**32 * values.SECOND:
        name = "service-account-max-token-expiration"
        yield a.problem(name, f"rejects {name}={a.by_name[name].text}", "1h to 2^32 seconds", _CONTROL_PLANE)
    name = "service-account-signing-key-file"
    if name in a.by_name and not a.value(name):
        yield a.problem(name, f"rejects an empty {name}", "a file", f"{_CONTROL_PLANE}/validation.go")
    if a.value("service-account-signing-endpoint"):
        message = "rejects service-account-signing-endpoint, because K3s passes service-account-signing-key-file"
        yield a.problem("service-account-signing-endpoint", message, "no such argument", _CONTROL_PLANE)


def _empty_files(a: Arguments) -> Iterator[Problem]:
    name = "service-account-key-file"
    if name in a.by_name and not all(one.text for one in a.by_name[name].given):
        yield a.problem(name, f"rejects an empty {name}", "a file", f"{_OPTIONS}/authentication.go")


def _audit(a: Arguments) -> Iterator[Problem]:
    for kind, enabled, mode in (
        ("log", "audit-log-path", "blocking"),
        ("webhook", "audit-webhook-config-file", "batch"),
    ):
        if a.value(enabled):
            yield from _audit_backend(a, kind, str(a.value(f"audit-{kind}-mode", mode)))
    if str(a.value("audit-log-path")).endswith("/"):
        yield a.problem("audit-log-path", "rejects a directory as audit-log-path", "the path of a file", _AUDIT)
    if a.value("audit-log-path"):
        for name in ("audit-log-maxage", "audit-log-maxbackup", "audit-log-maxsize"):
            if as_number(a, name, 0) < 0:
                yield a.problem(name, f"rejects {name}={a.by_name[name].text}", "at least 0", _AUDIT)
        layout = a.value("audit-log-format", "json")
        if layout not in ("json", "legacy"):
            yield a.problem("audit-log-format", f"rejects audit-log-format={layout}", "json or legacy", _AUDIT)


def _audit_backend(a: Arguments, kind: str, mode: str) -> Iterator[Problem]:
    name = f"audit-{kind}-mode"
    if mode not in ("batch", "blocking", "blocking-strict"):
        yield a.problem(name, f"rejects {name}={mode}", "batch, blocking or blocking-strict", _AUDIT)
    elif mode == "batch":
        throttles = as_bool(a, f"audit-{kind}-batch-throttle-enable", default=kind == "webhook")
        limited = ("throttle-burst", "throttle-qps") if throttles else ()
        for part in ("buffer-size", "max-size", *limited):
            one = f"audit-{kind}-batch-{part}"
            # The log has no throttle by default, and therefore no values for it.
            default = 0 if kind == "log" and part in limited else 1
            if as_number(a, one, default) <= 0:
                name = one if one in a.by_name else f"audit-{kind}-batch-throttle-enable"
                yield a.problem(name, f"rejects {one}={as_number(a, one, default):.0f}", "more than 0", _AUDIT)
    event, batch = f"audit-{kind}-truncate-max-event-size", f"audit-{kind}-truncate-max-batch-size"
    largest = as_number(a, event, 102400)
    if largest <= 0:
        yield a.problem(event, f"rejects {event}={a.by_name[event].text}", "more than 0", _AUDIT)
    if as_number(a, batch, 10485760) < largest:
        one = batch if batch in a.by_name else event
        yield a.problem(one, f"rejects {batch} below {event}", f"at least {event}", _AUDIT)
    version = f"audit-{kind}-version"
    if a.value(version, "audit.k8s.io/v1") != "audit.k8s.io/v1":
        yield a.problem(version, f"rejects {version}={a.by_name[version].text}", "audit.k8s.io/v1", _AUDIT)


def _admission(a: Arguments) -> Iterator[Problem]:
    if "admission-control" in a.by_name:
        message = "rejects admission-control, because K3s passes enable-admission-plugins"
        yield a.problem("admission-control", message, "enable-admission-plugins=...", f"{_OPTIONS}/admission.go")


_EVERYTHING = ("api/all", "api/ga", "api/beta", "api/alpha")


def _runtime_config(a: Arguments) -> Iterator[Problem]:
    name = "runtime-config"
    found = a.value(name, {})
    if not isinstance(found, dict) or not found:
        return
    if found == {"api/all": "false"}:
        message = "rejects api/all=false alone"
        yield a.problem(name, message, "at least one API that is on", "apiserver/pkg/server/options/api_enablement.go")
        return
    for key, value in found.items():
        problem = _api_problem(key, value, a.minor)
        if problem:
            yield a.problem(name, *problem, "apiserver/pkg/server/resourceconfig/helpers.go")
    priority = as_bool(a, "enable-priority-and-fairness", default=True)
    first = next((key for key in ("flowcontrol.apiserver.k8s.io/v1", "api/ga", "api/all") if key in found), "")
    if priority and first and found[first] == "false":
        message = f"rejects {first}=false while enable-priority-and-fairness is true"
        yield a.problem(name, message, "enable-priority-and-fairness=false", f"{_CONTROL_PLANE}/validation.go")


def _api_problem(key: str, value: str, minor: int) -> tuple[str, str] | None:
    """Return what is wrong with an item of runtime-config, and what is expected."""
    if key in _EVERYTHING:
        return None if value in ("true", "false") else (f"rejects {key}={value}", f"{key}=true or {key}=false")
    if key in ("v1", "api/v1", "api/legacy") or key.startswith(("v1/", "api/v1/")):
        return None  # the core group, and a key of old versions
    group, _, rest = key.partition("/")
    version, _, resource = rest.partition("/")
    if not rest or "/" in resource:
        return f"rejects the key {key} in runtime-config", "group/version or api/all"
    return _absent_api(group, version, minor) or _wrong_switch(key, value, resource)


def _absent_api(group: str, version: str, minor: int) -> tuple[str, str] | None:
    if not tables.has_api(group, "", minor):
        return f"has no API group `{group}`", f"a group of Kubernetes 1.{minor}"
    if not tables.has_api(group, version, minor):
        return f"has no version `{version}` of the API group `{group}`", f"a version of Kubernetes 1.{minor}"
    return None


def _wrong_switch(key: str, value: str, resource: str) -> tuple[str, str] | None:
    if value not in ("", *TRUE, *FALSE):
        return f"rejects {key}={value}", f"{key}=true or {key}=false"
    if resource != resource.lower():
        return f"rejects the resource {resource}", "a resource in lower case"
    return None


def _cors_and_hsts(a: Arguments) -> Iterator[Problem]:
    for pattern in a.words("cors-allowed-origins"):
        pinned = ("^" in pattern or "//" in pattern) and ("$" in pattern or ":" in pattern)
        if not pattern or not pinned:
            message = "requires expressions in cors-allowed-origins that match the whole host"
            yield a.problem("cors-allowed-origins", message, "for example ^https://example[.]com$", _SERVER_RUN)
        elif invalid := _invalid_expression(pattern):
            message = f"rejects the expression {pattern}: {invalid}"
            yield a.problem("cors-allowed-origins", message, "a regular expression of Go", _SERVER_RUN)
    for directive in a.words("strict-transport-security-directives"):
        parts = directive.split("=")
        if directive not in ("includeSubDomains", "preload") and (len(parts) != 2 or parts[0] != "max-age"):  # noqa: PLR2004
            name = "strict-transport-security-directives"
            yield a.problem(
                name, f"rejects `{directive}`", "max-age=SECONDS, includeSubDomains or preload", _SERVER_RUN
            )


def _invalid_expression(pattern: str) -> str:
    """Return why a regular expression of Go is invalid; empty if it can be valid (Go, regexp/syntax/parse.go)."""
    if "\\Q" in pattern:  # starts a literal text
        return ""
    groups, can_repeat = 0, False
    for one in _syntax(pattern):
        if one == "[":
            return "a [ has no ]"
        if one in "*+?" and not can_repeat:
            return f"nothing precedes {one}"
        groups += (one == "(") - (one == ")")
        if groups < 0:
            return "a ) has no ("
        can_repeat = one not in "(|"
    return "a ( has no )" if groups else ""


def _syntax(pattern: str) -> Iterator[str]:
    """Yield the characters of a regular expression; for each class and each escaped character, a letter.

    A class without an end is `[`. The `?` after a `(` belongs to it.
    """
    position = 0
    while position < len(pattern):
        one = pattern[position]
        position += 1
        if one == "[":
            position = _end_of_class(pattern, position)
            one = "[" if position > len(pattern) else "c"
        elif one == "\\":
            position, one = position + 1, "e"
        elif one == "(":
            position += pattern.startswith("?", position)
        yield one


def _end_of_class(pattern: str, start: int) -> int:
    """Return the position after the class of characters whose content starts there; beyond the end if it is open."""
    position = start + pattern.startswith("^", start)
    position += pattern.startswith("]", position)
    while position < len(pattern) and pattern[position] != "]":
        named = pattern.find(":]", position + 2) if pattern.startswith("[:", position) else -1
        position = named + 2 if named >= 0 else position + 1 + (pattern[position] == "\\")
    return position + 1


def _etcd(a: Arguments) -> Iterator[Problem]:
    if "etcd-servers" in a.by_name and not a.words("etcd-servers"):
        yield a.problem("etcd-servers", "needs the address of a datastore", "no such argument", _ETCD)
    pair = ("etcd-certfile", "etcd-keyfile")
    for name, other in (pair, pair[::-1]):
        if a.value(name) and not a.value(other) and other not in a.own:
            yield a.problem(name, f"needs {other} beside {name}", "both or neither", "etcd's client/pkg/transport")
    reload, config = "encryption-provider-config-automatic-reload", "encryption-provider-config"
    if as_bool(a, reload, default=False) and not a.value(config) and config not in a.own:
        yield a.problem(reload, f"needs {config} beside {reload}", "secrets-encryption: true", _ETCD)
    for override in a.words("etcd-servers-overrides"):
        resource, hash_sign, servers = override.partition("#")
        if not hash_sign or "#" in servers or resource.count("/") != 1 or "" in servers.split(";"):
            name = "etcd-servers-overrides"
            yield a.problem(name, f"rejects `{override}`", "group/resource#server;server", _ETCD)
    for size in a.words("watch-cache-sizes"):
        _, hash_sign, number = size.partition("#")
        # Without the watch cache the argument is not read.
        is_read = as_bool(a, "watch-cache", default=True)
        if is_read and not (hash_sign and re.fullmatch("[+]?[0-9]+|-0+", number, re.ASCII)):
            yield a.problem("watch-cache-sizes", f"rejects `{size}`", "resource#size", _ETCD)


_CHECKS_ADDRESS = 37
"""The first minor that rejects an address that cannot be an endpoint. Older ones only log that."""


def _ports_and_addresses(a: Arguments) -> Iterator[Problem]:
    port = as_number(a, "kubernetes-service-node-port", 0)
    low, high = _node_ports(a)
    if port and 0 < port <= values.LAST_PORT and not low <= port <= high:
        name = "kubernetes-service-node-port"
        yield a.problem(name, f"rejects {name}={port:.0f}", f"{low} to {high}", "cmd/kube-apiserver/app/options")
    name = "advertise-address"
    is_local = str(a.value(name)).startswith(("127.", "169.254."))
    if is_local and a.minor >= _CHECKS_ADDRESS and "endpoint-reconciler-type" not in a.by_name:
        source = "pkg/controlplane/instance.go"
        yield a.problem(name, f"rejects {name}={a.value(name)}", "an address that other nodes can reach", source)
    name = "service-cluster-ip-range"
    ranges = str(a.value(name)).split(",") if a.value(name) else []
    sizes = [values.cidr(one) for one in ranges]
    source = "cmd/kube-apiserver/app/options/completion.go"
    if None in sizes[:2]:
        yield a.problem(name, f"rejects {name}={a.by_name[name].text}", "one or two CIDRs", source)
    elif any(size and size[0] - size[1] < 3 for size in sizes):  # noqa: PLR2004 - 8 addresses
        yield a.problem(name, f"rejects a range of less than 8 addresses in {name}", "a prefix up to /29", source)
    elif len(sizes) > 2:  # noqa: PLR2004 - IPv4 and IPv6
        yield a.problem(name, f"rejects more than two ranges in {name}", "one or two CIDRs", source)
    elif len(sizes) == 2 and sizes[0] and sizes[1] and sizes[0][0] == sizes[1][0]:  # noqa: PLR2004
        yield a.problem(name, f"rejects two ranges of one IP family in {name}", "one of each family", source)


def _node_ports(a: Arguments) -> tuple[int, int]:
    text = str(a.value("service-node-port-range"))
    match = re.fullmatch("([0-9]+)-([0-9]+)", text) if text else None
    return (int(match[1]), int(match[2])) if match else _DEFAULT_NODE_PORTS


def _requests_in_flight(a: Arguments) -> Iterator[Problem]:
    pair = ("max-requests-inflight", "max-mutating-requests-inflight")
    if as_bool(a, "enable-priority-and-fairness", default=True) and all(
        name in a.by_name and as_number(a, name, 1) == 0 for name in pair
    ):
        message = f"rejects 0 for both {pair[0]} and {pair[1]}"
        yield a.problem(pair[0], message, "more than 0 in total", "apiserver/pkg/server/config.go")


def _coordinated_leadership(a: Arguments) -> Iterator[Problem]:
    prefix = "coordinated-leadership"
    lease = as_number(a, f"{prefix}-lease-duration", 15 * values.SECOND)
    renew = as_number(a, f"{prefix}-renew-deadline", 10 * values.SECOND)
    retry = as_number(a, f"{prefix}-retry-period", 2 * values.SECOND)
    set_names = [name for name in a.by_name if name.startswith(prefix)]
    if set_names and not lease > renew > retry:
        message = f"needs {prefix}-lease-duration above {prefix}-renew-deadline above {prefix}-retry-period"
        yield a.problem(set_names[0], message, "15s, 10s and 2s by default", f"{_CONTROL_PLANE}/validation.go")


def _peers(a: Arguments) -> Iterator[Problem]:
    for name in ("peer-ca-file", "peer-advertise-ip", "peer-advertise-port"):
        if a.value(name) and not gate_is_on(a, "UnknownVersionInteroperabilityProxy"):
            message = f"rejects {name} without the feature gate UnknownVersionInteroperabilityProxy"
            expected = "UnknownVersionInteroperabilityProxy=true"
            yield a.problem(name, message, expected, f"{_CONTROL_PLANE}/validation.go")


def _versions(a: Arguments) -> Iterator[Problem]:
    for name in ("emulation-forward-compatible", "runtime-config-emulation-forward-compatible"):
        if as_bool(a, name, default=False) and not a.words("emulated-version"):
            message = f"rejects {name} without an older emulated-version"
            yield a.problem(name, message, "emulated-version=...", _SERVER_RUN)


_RULES: tuple[Callable[[Arguments], Iterator[Problem]], ...] = (
    _authorization,
    _authentication,
    _service_accounts,
    _empty_files,
    _audit,
    _admission,
    _runtime_config,
    _cors_and_hsts,
    _etcd,
    _ports_and_addresses,
    _coordinated_leadership,
    _requests_in_flight,
    _peers,
    _versions,
)
