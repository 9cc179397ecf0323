"""Clients of the API server: by HTTPS with one of K3s' own kubeconfigs, and by kubectl with that of a user."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Protocol, Union

from agent.base import yaml_reader
from agent.base.errors import HostError, InputError, LimitError
from agent.base.host import Host, process
from agent.base.host.https import HttpsClient, Limits, Response
from agent.base.host.process import Runner
from agent.base.model import Location
from agent.base.repair import Instruction, Step
from agent.base.yaml_reader import YamlMapping

KUBECONFIGS = ("server/cred/admin.kubeconfig", "/etc/rancher/k3s/k3s.yaml")
"""K3s' kubeconfigs of an administrator, the preferred one first; a relative path is in the data directory."""
APPLY_PATCH = "application/apply-patch+yaml"
"""The content type of server-side apply."""
JSON = "application/json"
OK, CREATED, NOT_FOUND = 200, 201, 404
_HTTPS_PORT = 443
_KUBECTL_LIMITS = Limits(request=30.0, body=64 << 20)
_LONGER = 5.0
"""Seconds after kubectl's own limit, whose error says more, until a kubectl that hangs is ended."""
_STATUS = {"(NotFound)": NOT_FOUND, "(Forbidden)": 403, "(Unauthorized)": 401}
"""What kubectl prints, with the status of the answer."""

Credential = Union[bytes, PurePosixPath]
"""PEM text, or the file that contains it."""


class StatusError(HostError):
    """The API server answered with an error."""

    def __init__(self, request: str, status: int, *steps: Step) -> None:
        super().__init__(f"cannot {request}: {rejection(status)}", *steps)
        self.status = status


class InvalidAnswerError(HostError):
    """The API server sent an unexpected answer."""


class ApiClient(Protocol):
    """Sends GET requests to one API server."""

    def get(self, path: str, accept: str) -> Response:
        """Return the answer. Raises HostError if there is none."""
        ...


class Kubectl:
    """Runs kubectl: its own commands, and GET requests, for which it cannot ask for another format than JSON."""

    def __init__(
        self,
        run: Runner,
        command: Sequence[str],
        limits: Limits,
        hint: str = "make `kubectl get nodes` work for this user",
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self.command = tuple(command)
        self._run, self._limits, self._hint, self._before = run, limits, hint, before
        self._end = time.monotonic() + limits.total

    @classmethod
    def of_user(cls, options: Sequence[str], environment: Mapping[str, str], total: float = inf) -> Kubectl:
        """Return the kubectl of a user; `total` is in seconds for all requests."""
        limits = _KUBECTL_LIMITS._replace(total=total)
        return cls(partial(process.run, environment=environment), ("kubectl", *options), limits)

    def __call__(self, *arguments: str, what: str = "") -> str:
        """Return the output. Raises HostError with the last line of the error, or if there is no kubectl."""
        what, limit = what or " ".join(arguments[:2]), self._limits.request
        left = round(min(limit + min(limit, _LONGER), self._end - time.monotonic()), 1)
        if left <= 0:
            raise HostError(f"cannot {what}: no complete answer in time")
        self._before()
        words = [*self.command, *arguments, f"--request-timeout={limit:g}s"]
        done = self._run(words, timeout=left, largest_output=self._limits.body)
        if done.code:
            error = (done.stderr.strip().splitlines() or [f"kubectl failed with exit code {done.code}"])[-1]
            raise HostError(f"cannot {what}: {error}", Instruction(self._hint))
        return done.stdout

    def get(self, path: str, accept: str) -> Response:
        """Return the answer. Raises HostError if kubectl reaches no API server."""
        del accept
        try:
            return Response(OK, self("get", "--raw", path, what=f"read {path.partition('?')[0]}").encode())
        except HostError as error:
            status = next((status for words, status in _STATUS.items() if words in error.message), None)
            if status is None:
                raise
            return Response(status, b"")


def read_json(client: ApiClient, path: str, accept: str = JSON, what: str = "") -> Any:  # noqa: ANN401 - any JSON
    """Return an answer as JSON. Raises StatusError for an error of the API server, and HostError."""
    what = what or f"read {path.partition('?')[0]}"
    return decoded(accepted(client.get(path, accept), what, OK), what)


def decoded(body: bytes, what: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the JSON of an answer. Raises InvalidAnswerError, and LimitError if it takes too much memory."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswerError(f"cannot {what}: the answer is not valid JSON") from error
    except MemoryError:
        raise LimitError(f"cannot {what}: the answer takes too much memory") from None


class Kubeconfig(NamedTuple):
    """The server of a kubeconfig, and what a client needs for it."""

    host: str
    port: int
    authority: Credential
    certificate: Credential
    key: Credential


def connect(host: Host, paths: Sequence[PurePosixPath], limits: Limits) -> tuple[HttpsClient, bytes]:
    """Return a client, which connects at its first request, and its certificate in PEM.

    The first of these kubeconfigs that exists is used. Raises HardenError if none can be.
    """
    config = _kubeconfig(host, paths)
    certificate = _content(host, config.certificate)
    pair = certificate + b"\n" + _content(host, config.key)
    return HttpsClient(config.host, config.port, _content(host, config.authority), pair, limits), certificate


def connect_as_admin(host: Host, data_dir: PurePosixPath, limits: Limits) -> HttpsClient:
    """Return a client with the rights of an administrator. Raises HardenError."""
    client, _ = connect(host, [data_dir / path for path in KUBECONFIGS], limits)
    return client


def rejection(status: int) -> str:
    """Return the reason for an error message if the API server answered with this status."""
    from http.client import responses

    meaning = f" ({responses[status]})" if status in responses else ""
    return f"the API server answered with HTTP status {status}{meaning}"


def accepted(answer: Response, request: str, *statuses: int) -> bytes:
    """Return the body of an answer with one of these statuses. Raises StatusError for another one."""
    if answer.status not in statuses:
        raise StatusError(request, answer.status)
    return answer.body


def _kubeconfig(host: Host, paths: Sequence[PurePosixPath]) -> Kubeconfig:
    for path in paths:
        data = host.tree.read(path)
        if data is not None:
            _refuse_distrusted(host, path)
            return _parse_kubeconfig(data, path)
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


def _parse_kubeconfig(data: bytes, path: PurePosixPath) -> Kubeconfig:
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
