"""Requests to the API server by kubectl, with the kubeconfig of a user."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agent.base.errors import HostError
from agent.base.host import process
from agent.base.host.https import Response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TIMEOUT = 30
_LONGEST = 120.0
"""Seconds for all requests."""
_LARGEST_ANSWER = 64 << 20
_STATUS = {"(NotFound)": 404, "(Forbidden)": 403, "(Unauthorized)": 401}
"""What kubectl prints, with the status of the answer."""


class KubectlClient:
    """Sends GET requests. It cannot ask for another format than JSON, so `accept` has no effect."""

    def __init__(self, options: Sequence[str], environment: Mapping[str, str], longest: float = _LONGEST) -> None:
        self._options = tuple(options)
        self._environment = environment
        self._end = time.monotonic() + longest

    def get(self, path: str, accept: str) -> Response:
        """Return the answer. Raises HostError if there is no kubectl, or it reaches no API server."""
        del accept
        left = round(min(2 * _TIMEOUT, self._end - time.monotonic()), 1)
        if left <= 0:
            raise HostError(f"cannot read {path.partition('?')[0]}: no complete answer in time")
        command = ("kubectl", *self._options, "get", "--raw", path, f"--request-timeout={_TIMEOUT}s")
        done = process.run(command, timeout=left, largest_output=_LARGEST_ANSWER, environment=self._environment)
        if not done.code:
            return Response(200, done.stdout.encode())
        error = (done.stderr.strip().splitlines() or [f"kubectl failed with exit code {done.code}"])[-1]
        for words, status in _STATUS.items():
            if words in error:
                return Response(status, b"")
        raise HostError(f"cannot read {path.partition('?')[0]}: {error}", "make `kubectl get nodes` work for this user")
