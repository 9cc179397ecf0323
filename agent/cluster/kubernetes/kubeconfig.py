"""Kubeconfig files as K3s writes them: one server, one client certificate."""

from __future__ import annotations

import base64
import binascii
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, Union

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.model import Location

if TYPE_CHECKING:
    from agent.base.yaml_reader import YamlMapping

_HTTPS_PORT = 443

Credential = Union[bytes, PurePosixPath]
"""PEM text, or the file that contains it."""


class Kubeconfig(NamedTuple):
    """The server of a kubeconfig, and what a client needs for it."""

    host: str
    port: int
    authority: Credential
    certificate: Credential
    key: Credential

    @property
    def url(self) -> str:
        """The address of the server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


def parse_kubeconfig(data: bytes, path: PurePosixPath) -> Kubeconfig:
    """Parse a kubeconfig. Raises InputError for one that K3s did not write, or whose server is not authenticated."""
    documents = yaml_reader.read_documents(data, path)
    root = documents[0].node if documents else None
    if not isinstance(root, yaml_reader.YamlMapping):
        raise InputError(Location(path), "it is not a kubeconfig")
    context = _entry(root, "contexts", root.text("current-context"), "context", path)
    cluster = _entry(root, "clusters", context.text("cluster"), "cluster", path)
    user = _entry(root, "users", context.text("user"), "user", path)
    host, port = _address(cluster.text("server") or "", path)
    return Kubeconfig(
        host,
        port,
        _credential(cluster, "certificate-authority", path),
        _credential(user, "client-certificate", path),
        _credential(user, "client-key", path),
    )


def _address(url: str, path: PurePosixPath) -> tuple[str, int]:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _HTTPS_PORT
        if host and (parts.scheme, parts.path.strip("/"), parts.query, parts.username) == ("https", "", "", None):
            return host, port
    except ValueError:
        pass
    raise InputError(Location(path), "the address of its server is not https://HOST:PORT")


def _entry(root: YamlMapping, section: str, name: str | None, kind: str, path: PurePosixPath) -> YamlMapping:
    for item in yaml_reader.mappings(root.get(section)):
        found = item.get(kind)
        if name and item.text("name") == name and isinstance(found, yaml_reader.YamlMapping):
            return found
    raise InputError(Location(path), f"its current context has no {kind}")


def _credential(node: YamlMapping, key: str, path: PurePosixPath) -> Credential:
    embedded, file = node.text(f"{key}-data"), node.text(key)
    if embedded:
        try:
            return base64.b64decode(embedded, validate=True)
        except (binascii.Error, ValueError):
            raise InputError(Location(path), f"`{key}-data` is not base64") from None
    if not file or not file.startswith("/"):
        raise InputError(Location(path), f"it has neither `{key}-data` nor an absolute path in `{key}`")
    return PurePosixPath(file)
