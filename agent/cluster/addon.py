"""The Addon object in which K3s' deploy controller records a manifest (k3s, pkg/deploy/controller.go)."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

from agent.base.errors import HardenError
from agent.base.host.https import Limits
from agent.cluster.connection import connect_as_admin
from agent.cluster.kubernetes.parsing import at

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.base.host import Host

_PATH = "/apis/k3s.cattle.io/v1/namespaces/kube-system/addons/"
_PAUSE = 3.0
_LONGEST = 60.0
"""Seconds. The controller reads the manifests every 15 seconds."""


def wait_until_applied(host: Host, data_dir: PurePosixPath, name: str, content: bytes) -> bool:
    """Return whether K3s has applied this content of the manifest `name` within a minute.

    False at once if the API server does not answer.
    """
    wanted = sha256(content).hexdigest()
    end = host.now() + _LONGEST
    try:
        with connect_as_admin(host, data_dir, Limits(request=5.0, total=_LONGEST, body=1 << 20)) as client:
            while True:
                answer = client.get(f"{_PATH}{name}", "application/json")
                if at(json.loads(answer.body), "spec").get("checksum") == wanted:
                    return True
                if host.now() + _PAUSE > end:
                    return False
                host.sleep(_PAUSE)
    except (HardenError, ValueError):
        return False
