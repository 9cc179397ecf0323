"""Configuration files of the API server: the rules that are not rows of file_rules.tsv. Pure.

Source: kubernetes, apiserver/pkg/apis/apiserver/validation. Expressions of CEL are not checked.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath

from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.yaml_reader import BoundsError, Node, YamlMapping, first_object, mappings, part, shown, texts
from agent.k3s.admission_configuration import POD_SECURITY
from agent.k3s.components import prediction
from agent.k3s.components.effective_arguments import EffectiveArgument, EffectiveArguments
from agent.k3s.components.files import static_policies
from agent.k3s.components.files.decoding import FileRejection, FileRejectionError, first_mapping, is_set, located
from agent.k3s.components.files.fields import read_fields
from agent.k3s.components.files.file_rules import FileContext, FileKind, rejected_by, rejected_fields, scopes
from agent.k3s.roles_and_versions import Component

_Reader = Callable[[bytes, PurePosixPath, FileContext], Iterator[InputError]]


def _authentication(root: YamlMapping, _: FileContext) -> Iterator[FileRejection]:
    for jwt, _types in scopes(root, {}, "jwt[]"):
        for issuer, _types in scopes(jwt, {}, "issuer"):
            url, discovery = issuer.text("url") or "", issuer.text("discoveryURL") or ""
            if discovery and discovery.rstrip("/") == url.rstrip("/"):
                yield FileRejection(issuer.line_of("discoveryURL"), "`discoveryURL` must differ from `issuer.url`")
            authority = issuer.text("certificateAuthority")
            if authority and "CERTIFICATE-----" not in authority:
                line = issuer.line_of("certificateAuthority")
                yield FileRejection(line, "`certificateAuthority` must contain a certificate in the PEM format")
            if len(texts(issuer.get("audiences"))) > 1 and not issuer.text("audienceMatchPolicy"):
                line = issuer.line_of("audiences")
                yield FileRejection(line, "several `audiences` require `audienceMatchPolicy: MatchAny`")
        for name in ("username", "groups"):
            for claim, _types in scopes(jwt, {}, f"claimMappings?.{name}?"):
                if claim.text("claim") and not is_set(claim.get("prefix")):
                    yield FileRejection(claim.line, f"`claimMappings.{name}` must contain a prefix, which can be empty")


AUTHENTICATION = FileKind("AuthenticationConfiguration", Component.API_SERVER, _authentication)


def _authorization(root: YamlMapping, context: FileContext) -> Iterator[FileRejection]:
    kinds = [
        authorizer.text("type")
        for authorizer in mappings(root.get("authorizers"))
        if authorizer.text("type") != "Webhook"
    ]
    if len(set(kinds)) != len(kinds):
        yield FileRejection(root.line_of("authorizers"), "`authorizers` contains a type other than Webhook twice")
    for connection, _ in scopes(root, {}, _CONNECTION):
        file = connection.text("kubeConfigFile") or ""
        if file.startswith("/") and context.is_missing(PurePosixPath(file)):
            line = connection.line_of("kubeConfigFile")
            yield FileRejection(line, f"`connectionInfo` requires a file at {shown(file)}")


_CONNECTION = "authorizers[].webhook?.connectionInfo"


def webhook_files(data: bytes, path: PurePosixPath) -> list[PurePosixPath]:
    """Return the kubeconfigs that an authorization configuration names; none if it cannot be decoded."""
    try:
        root = first_mapping(data, path, "kind AuthorizationConfiguration")
    except InputError:
        return []
    files = [connection.text("kubeConfigFile") or "" for connection, _ in scopes(root, {}, _CONNECTION)]
    return [PurePosixPath(file) for file in files if file.startswith("/")]


AUTHORIZATION = FileKind("AuthorizationConfiguration", Component.API_SERVER, _authorization)

_AES = (16, 24, 32)
_KEY_SIZES = {"aescbc": _AES, "aesgcm": _AES, "secretbox": (32,)}


def _decoded_size(text: str) -> int | None:
    """Return the bytes of a text in base64, in which Go ignores line breaks; None if it is not base64."""
    try:
        return len(b64decode(text.replace("\n", "").replace("\r", ""), validate=True))
    except ValueError:
        return None


def _encryption(root: YamlMapping, _: FileContext) -> Iterator[FileRejection]:
    for item in mappings(root.get("resources")):
        names = texts(item.get("resources"))
        if len(names) > 1 and ("*.*" in names or any(_is_masked(name, names) for name in names)):
            yield FileRejection(item.line_of("resources"), "`resources` contains names that overlap")
        for provider in mappings(item.get("providers")):
            chosen = [entry.key for entry in provider.entries if is_set(entry.node)]
            if len(chosen) != 1:
                yield FileRejection(provider.line, "an item of `providers` must contain exactly one provider")
            for kind, sizes in _KEY_SIZES.items():
                for key, _types in scopes(provider, {}, f"{kind}?.keys[]"):
                    # The message omits the text, which is a key.
                    if _decoded_size(key.text("secret") or "") not in sizes:
                        expected = " or ".join(map(str, sizes))
                        problem = f"`secret` of `{kind}` must be base64 of {expected} bytes"
                        yield FileRejection(key.line_of("secret"), problem)


def _is_masked(name: str, names: list[str]) -> bool:
    """Return whether another name is all resources of the group of this one."""
    resource, _, group = name.partition(".")
    return resource != "*" and f"*.{group}" in names


ENCRYPTION = FileKind(
    "EncryptionConfiguration", Component.API_SERVER, _encryption, aliases=(("EncryptionConfig", "v1"),)
)
"""The alias is an old error in the documentation, which is still accepted (apiserver/pkg/apis/apiserver/v1)."""


_ADMISSION = FileKind("AdmissionConfiguration", Component.API_SERVER)
_KUBE_PROXY = FileKind("KubeProxyConfiguration", Component.KUBE_PROXY, is_strict=False)
_PLUGINS = {
    POD_SECURITY: FileKind("PodSecurityConfiguration", Component.API_SERVER),
    "EventRateLimit": FileKind("Configuration", Component.API_SERVER, is_strict=False),
    **{name: FileKind(f"{name}Configuration", Component.API_SERVER) for name in static_policies.PLUGINS},
}


def rejected_content(
    component: Component, argument: str, data: bytes, path: PurePosixPath, context: FileContext
) -> Iterator[InputError]:
    """Yield why a component rejects the content of a file that an argument names."""
    if argument == "config":
        reader = _CONFIGURATIONS.get(component)
    else:
        reader = _READERS.get(argument) if component is not Component.KUBE_PROXY else None
    return reader(data, path, context) if reader else iter(())


def _kube_proxy(data: bytes, path: PurePosixPath, context: FileContext) -> Iterator[InputError]:
    """Yield what kube-proxy rejects in its file. It ignores its arguments beside a file."""
    fields, problems = read_fields(Component.KUBE_PROXY, ((path, data),), context.minor)
    yield from (problem for problem in problems if not isinstance(problem, BoundsError))
    if not problems:
        yield from rejected_by(_KUBE_PROXY, data, path, context)
        found = {field.name: EffectiveArgument(field.name, "", field.given) for field in fields if field.given}
        arguments = EffectiveArguments(Component.KUBE_PROXY, found, {})
        for problem in prediction.rejected_arguments(arguments, context.minor):
            text = f"{Component.KUBE_PROXY} {problem.message}; expected {problem.expected}"
            yield FileRejectionError(problem.location, text, problem.prediction)


def _admission(data: bytes, path: PurePosixPath, context: FileContext) -> Iterator[InputError]:
    """Yield what the API server rejects in its admission configuration, and in the files that it names for plugins.

    It reads the first entry of each plugin that is enabled.
    """
    problems = list(rejected_by(_ADMISSION, data, path, context))
    yield from problems
    root = first_object(data, path) if not problems else None
    seen: set[str | None] = set()
    for plugin in mappings(part(root, "plugins")):
        name, configuration, file = plugin.text("name") or "", plugin.get("configuration"), plugin.text("path")
        if name in seen or name not in _PLUGINS or not context.uses_plugin(name):
            continue
        seen.add(name)
        if name in static_policies.PLUGINS and not static_policies.knows_fields(context.minor):
            continue
        if isinstance(configuration, YamlMapping):
            yield from located(rejected_fields(_PLUGINS[name], configuration, context), path)
        elif file:
            yield from _plugin_file(name, path.parent / file, Location(path, plugin.line_of("path")), context)


def _plugin_file(name: str, path: PurePosixPath, location: Location, context: FileContext) -> Iterator[InputError]:
    data = context.content(path)
    if context.is_missing(path):
        yield InputError(location, f"the plugin {name} requires a file at {shown(str(path))}")
    elif data or (data is not None and name != POD_SECURITY):  # an empty file is the default of PodSecurity
        yield from rejected_by(_PLUGINS[name], data, path, context)


def _kubeconfig(data: bytes, path: PurePosixPath, _: FileContext) -> Iterator[InputError]:
    """Yield why a kubeconfig names no server (client-go, tools/clientcmd/validation.go)."""
    try:
        root = first_mapping(data, path, "kind Config")
    except InputError as error:
        yield error
        return
    for key, expected in (("kind", "Config"), ("apiVersion", "v1")):
        if root.text(key) not in (None, "", expected):  # both can be missing: the component decodes it into this kind
            yield InputError(Location(path, root.line_of(key)), f"`{key}` must be {expected}")
            return
    chosen = root.text("current-context")
    context = _named(root.get("contexts"), chosen, "context") if chosen else None
    if context is None:
        line = root.line_of("current-context")
        yield InputError(Location(path, line), "`current-context` must be the name of one of `contexts`")
        return
    cluster = _named(root.get("clusters"), context.text("cluster"), "cluster")
    if cluster is None or not cluster.text("server"):
        message = f"the context {shown(chosen or '')} must name one of `clusters` that has a `server`"
        yield InputError(Location(path, (cluster or context).line), message)


def _named(items: Node | None, name: str | None, key: str) -> YamlMapping | None:
    """Return the content of the last item of a kubeconfig with a name."""
    found = [item.get(key) for item in mappings(items) if item.text("name") == name]
    return next((content for content in reversed(found) if isinstance(content, YamlMapping)), None)


_CONFIGURATIONS: Mapping[Component, _Reader] = {
    Component.KUBE_PROXY: _kube_proxy,
    Component.SCHEDULER: partial(rejected_by, FileKind("KubeSchedulerConfiguration", Component.SCHEDULER)),
}
"""The files of the argument `config`. That of the kubelet is one of its drop-ins (fields.py)."""

_READERS: Mapping[str, _Reader] = {
    "admission-control-config-file": _admission,
    "authentication-config": partial(rejected_by, AUTHENTICATION),
    "authorization-config": partial(rejected_by, AUTHORIZATION),
    "encryption-provider-config": partial(rejected_by, ENCRYPTION),
    "image-credential-provider-config": partial(rejected_by, FileKind("CredentialProviderConfig", Component.KUBELET)),
    **{f"{name}kubeconfig": _kubeconfig for name in ("", "authentication-", "authorization-")},
    **{f"{name}-webhook-config-file": _kubeconfig for name in ("audit", "authentication-token", "authorization")},
}
