"""Configuration files of the API server: the rules that are not rows of file_rules.tsv. Pure.

Source: kubernetes, apiserver/pkg/apis/apiserver/validation. Expressions of CEL are not checked.
"""

from __future__ import annotations

from base64 import b64decode
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import InputError
from agent.base.yaml_reader import YamlMapping, mappings, shown, texts
from agent.k3s.components.files.decoding import FileRejection, first_mapping, is_set
from agent.k3s.components.files.file_rules import FileKind, scopes
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.k3s.components.files.file_rules import FileContext


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
