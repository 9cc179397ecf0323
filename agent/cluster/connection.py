"""Connections to the API server with one of K3s' own kubeconfigs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.errors import HostError
from agent.base.host.https import HttpsClient
from agent.cluster.kubernetes import kubeconfig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePosixPath

    from agent.base.host import Host
    from agent.base.host.https import Limits
    from agent.cluster.kubernetes.kubeconfig import Credential, Kubeconfig

KUBECONFIGS = ("server/cred/admin.kubeconfig", "/etc/rancher/k3s/k3s.yaml")
"""K3s' kubeconfigs of an administrator, the preferred one first; a relative path is in the data directory."""
APPLY_PATCH = "application/apply-patch+yaml"
"""The content type of server-side apply."""


def connect(host: Host, paths: Sequence[PurePosixPath], limits: Limits) -> tuple[HttpsClient, str, bytes]:
    """Return a client, which connects at its first request, the URL of its server, and its certificate in PEM.

    The first of these kubeconfigs that exists is used. Raises HardenError if none can be.
    """
    config = _kubeconfig(host, paths)
    certificate = _content(host, config.certificate)
    pair = certificate + b"\n" + _content(host, config.key)
    return (
        HttpsClient(config.host, config.port, _content(host, config.authority), pair, limits),
        config.url,
        certificate,
    )


def connect_as_admin(host: Host, data_dir: PurePosixPath, limits: Limits) -> tuple[HttpsClient, str]:
    """Return a client with the rights of an administrator, and the URL of its server. Raises HardenError."""
    return connect(host, [data_dir / path for path in KUBECONFIGS], limits)[:2]


def rejection(status: int) -> str:
    """Return the reason for an error message if the API server answered with this status."""
    from http.client import responses

    meaning = f" ({responses[status]})" if status in responses else ""
    return f"the API server answered with HTTP status {status}{meaning}"


def _kubeconfig(host: Host, paths: Sequence[PurePosixPath]) -> Kubeconfig:
    for path in paths:
        data = host.tree.read(path)
        if data is not None:
            _refuse_distrusted(host, path)
            return kubeconfig.parse_kubeconfig(data, path)
    raise HostError(f"cannot reach the API server: {paths[0]} does not exist")


def _content(host: Host, credential: Credential) -> bytes:
    if isinstance(credential, bytes):
        return credential
    data = host.tree.read(credential)
    if data is None:
        raise HostError(f"cannot reach the API server: {credential} does not exist")
    _refuse_distrusted(host, credential)
    return data


def _refuse_distrusted(host: Host, path: PurePosixPath) -> None:
    problem = host.tree.trust_problem(path)
    if problem:
        raise HostError(f"cannot use {path} to reach the API server: {problem}")
