"""Files of the API server about its connections at which it exits: egress, tracing, webhooks, tokens. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import InputError
from agent.k3s.components import files, pem, schema, values
from agent.k3s.components.schema import Problem
from agent.yaml_reader import Mapping, Scalar, Sequence, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import PurePosixPath

    from agent.yaml_reader import Node

_HEAD: dict[str, schema.Schema] = {"apiVersion": "string", "kind": "string"}
_EGRESS: schema.Schema = {
    **_HEAD,
    "egressSelections": [
        {
            "name": "string",
            "connection": {
                "proxyProtocol": "string",
                "transport": {
                    "tcp": {
                        "url": "string",
                        "tlsConfig": dict.fromkeys(("caBundle", "clientCert", "clientKey", "tlsServerName"), "string"),
                    },
                    "uds": {"udsName": "string"},
                },
            },
        }
    ],
}
_TRACING: schema.Schema = {**_HEAD, "endpoint": "string", "samplingRatePerMillion": "int32"}
_MOST_SAMPLES = 1_000_000
_TOKEN_COLUMNS = 3


def problems(argument: str, data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield what the API server rejects in the file of an argument about connections; none for other arguments."""
    reader = _READERS.get(argument)
    return files.located(pem.problems(argument, data), path) if reader is None else reader(data, path)


def _egress(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield what the API server rejects in its egress selectors (apiserver, pkg/server/egressselector/config.go)."""
    versions = ("apiserver.k8s.io/v1beta1", "apiserver.k8s.io/v1alpha1")
    root = files.read(data, path, "EgressSelectorConfiguration", versions)
    if isinstance(root, InputError):
        yield root
        return
    yield from files.located(schema.problems(root, _EGRESS), path)
    seen: set[str] = set()
    for one in files.mappings(root.get("egressSelections")):
        name = (one.text("name") or "").lower().replace("master", "controlplane")  # the name before v1beta1
        if name in seen:
            yield files.error(path, Problem(one.line, f"`name` is '{shown(name)}' twice"))
        elif name not in ("controlplane", "cluster", "etcd"):
            yield files.error(path, Problem(one.line, "`name` must be controlplane, cluster or etcd"))
        seen.add(name)
        yield from files.located(_connection(one), path)


def _connection(selection: Mapping) -> Iterator[Problem]:
    connection = selection.get("connection")
    known = connection if isinstance(connection, Mapping) else Mapping((), selection.line)
    protocol, transport = known.text("proxyProtocol"), known.get("transport")
    line = (connection or selection).line
    if protocol not in ("Direct", "HTTPConnect", "GRPC"):
        yield Problem(line, "`proxyProtocol` must be Direct, HTTPConnect or GRPC")
        return
    if (protocol == "Direct") is files.is_set(transport):
        yield Problem(line, "`transport` must be set for HTTPConnect and GRPC, and only for them")
        return
    if not isinstance(transport, Mapping):
        return
    tcp, uds = transport.get("tcp"), transport.get("uds")
    if protocol == "GRPC" and not files.is_set(uds):
        yield Problem(line, "`transport.uds` must be set for GRPC")
    elif protocol == "HTTPConnect" and files.is_set(tcp) is files.is_set(uds):
        yield Problem(line, "either `transport.tcp` or `transport.uds` must be set for HTTPConnect")
    elif isinstance(uds, Mapping) and not uds.text("udsName"):
        yield Problem(uds.line, "`udsName` must be set")
    elif isinstance(tcp, Mapping) and protocol == "HTTPConnect":
        yield from _tcp(tcp)


def _tcp(tcp: Mapping) -> Iterator[Problem]:
    url, config = tcp.text("url") or "", tcp.get("tlsConfig")
    if not url.startswith(("http://", "https://")):
        yield Problem(tcp.line, "`url` must begin with http:// or https://")
    elif url.startswith("http://") is files.is_set(config):
        yield Problem(tcp.line, "`tlsConfig` must be set for https, and only for it")
    elif isinstance(config, Mapping):
        for name in ("clientCert", "clientKey"):
            if not config.text(name):
                yield Problem(config.line, f"`{name}` must be set")


def _tracing(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield what the API server rejects in its tracing configuration (component-base, tracing/api/v1/config.go)."""
    root = files.first(data, path, "kind TracingConfiguration", can_be_empty=True)
    if isinstance(root, InputError):
        yield root
        return
    # Kind and version can be missing, because the API server decodes the file into a TracingConfiguration.
    kinds = ("TracingConfiguration",) if root.get("kind") else ()
    versions = tuple(f"apiserver.config.k8s.io/{one}" for one in ("v1", "v1beta1", "v1alpha1"))
    wrong = list(files.head(root, kinds, versions if root.get("apiVersion") else ()))
    if wrong:
        yield files.error(path, wrong[0])
        return
    yield from files.located(schema.problems(root, _TRACING), path)
    rate, endpoint = root.get("samplingRatePerMillion"), root.text("endpoint")
    samples = rate.value if isinstance(rate, Scalar) else None
    if isinstance(samples, (int, float)) and not 0 <= samples <= _MOST_SAMPLES:
        message = f"`samplingRatePerMillion` must be from 0 to {_MOST_SAMPLES}"
        yield files.error(path, Problem((rate or root).line, message))
    scheme = (endpoint or "").partition("//")
    is_known = not scheme[1] or scheme[0] in ("dns:", "unix:", "unix-abstract:")
    if endpoint and (not is_known or " " in endpoint):
        line = (root.get("endpoint") or root).line
        yield files.error(path, Problem(line, "`endpoint` must be HOST:PORT, or begin with dns:// or unix://"))


def kubeconfig(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield why a kubeconfig names no server of a webhook (client-go, tools/clientcmd/validation.go)."""
    root = files.first(data, path, "kind Config")
    if isinstance(root, InputError):
        yield root
        return
    for key, expected in (("kind", "Config"), ("apiVersion", "v1")):
        if root.text(key) not in (None, expected):
            yield files.error(path, Problem((root.get(key) or root).line, f"`{key}` must be {expected}"))
            return
    chosen = root.text("current-context")
    context = _named(root.get("contexts"), chosen, "context") if chosen else None
    if context is None:
        line = (root.get("current-context") or root).line
        yield files.error(path, Problem(line, "`current-context` must be the name of one of `contexts`"))
        return
    cluster = _named(root.get("clusters"), context.text("cluster"), "cluster")
    if cluster is None or not cluster.text("server"):
        message = f"the context {shown(chosen or '')} must name one of `clusters` that has a `server`"
        yield files.error(path, Problem((cluster or context).line, message))


def _named(items: Node | None, name: str | None, key: str) -> Mapping | None:
    """Return the content of the last item of a kubeconfig with a name."""
    found = [one.get(key) for one in files.mappings(items) if one.text("name") == name]
    return next((one for one in reversed(found) if isinstance(one, Mapping)), None)


def _tokens(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield the lines of a token file with less than three columns (apiserver, pkg/authentication/token/tokenfile)."""
    text = data.decode("utf-8", "replace")
    if '"' in text:
        return  # quoted fields can contain line breaks
    for number, line in enumerate(text.splitlines(), 1):
        if line and len(values.csv_record(line)) < _TOKEN_COLUMNS:
            yield files.error(path, Problem(number, "a line must have three columns: token, user name, user ID"))
            return


def credential_providers(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield what the kubelet rejects in its image credential providers (kubernetes, pkg/credentialprovider/plugin)."""
    versions = tuple(f"kubelet.config.k8s.io/{one}" for one in ("v1", "v1beta1", "v1alpha1"))
    root = files.read(data, path, "CredentialProviderConfig", versions)
    if isinstance(root, InputError):
        yield root
        return
    providers = files.mappings(root.get("providers"))
    if not providers:
        yield files.error(path, Problem(root.line, "`providers` must contain at least one provider"))
    seen: set[str] = set()
    for one in providers:
        yield from files.located(_credential_provider(one, seen), path)


def _credential_provider(provider: Mapping, seen: set[str]) -> Iterator[Problem]:
    line, name = provider.line, provider.text("name") or ""
    if not name or "/" in name or " " in name or name in (".", "..") or name in seen:
        yield Problem(line, "`name` must be the name of a program, different for each provider")
    seen.add(name)
    if provider.text("apiVersion") not in _CREDENTIALS:
        yield Problem(line, f"`apiVersion` must be {_CREDENTIALS[0]}, v1beta1 or v1alpha1")
    images = provider.get("matchImages")
    if not isinstance(images, Sequence) or not images.items:
        yield Problem(line, "`matchImages` must contain at least one image")
    try:
        is_valid = values.duration(provider.text("defaultCacheDuration") or "") >= 0
    except values.InvalidValueError:
        is_valid = False
    if not is_valid:
        yield Problem(line, "`defaultCacheDuration` must be a duration of at least 0s")


_CREDENTIALS = tuple(f"credentialprovider.kubelet.k8s.io/{one}" for one in ("v1", "v1beta1", "v1alpha1"))

_READERS: dict[str, Callable[[bytes, PurePosixPath], Iterator[InputError]]] = {
    "audit-webhook-config-file": kubeconfig,
    "authentication-token-webhook-config-file": kubeconfig,
    "authorization-webhook-config-file": kubeconfig,
    "egress-selector-config-file": _egress,
    "token-auth-file": _tokens,
    "tracing-config-file": _tracing,
}
