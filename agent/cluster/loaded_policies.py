"""The admission policies that the running API server has loaded from files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.base.errors import HardenError
from agent.base.host.https import Limits
from agent.base.host.memory import limited_memory
from agent.cluster.connection import connect_as_admin
from agent.cluster.reader import MEMORY, StatusError

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.base.host import Host
    from agent.cluster.kubernetes.objects import Cluster

METRICS = "/metrics"
_LIMITS = Limits(request=10.0, total=10.0, body=48 << 20)
"""The metrics of a server without workloads have 2.4 MB."""
_OK = 200
_LOADED = re.compile(
    rb'^apiserver_manifest_admission_config_controller_last_config_info\{.*\bhash="([^"]*)".*\bplugin="(\w+)"',
    re.MULTILINE,
)


def with_loaded_policies(host: Host, data_dir: PurePosixPath, cluster: Cluster) -> Cluster:
    """Return the cluster with the digest of the files that each plugin has loaded, or with the reason without them."""
    try:
        client, _ = connect_as_admin(host, data_dir, _LIMITS)
        with client, limited_memory(MEMORY):
            answer = client.get(METRICS, "text/plain")
            if answer.status != _OK:
                raise StatusError(METRICS, answer.status)
            found = {plugin.decode(): digest.decode() for digest, plugin in _LOADED.findall(answer.body)}
    except (HardenError, MemoryError) as error:
        reason = error.message if isinstance(error, HardenError) else f"cannot read {METRICS}: it is too large"
        return cluster._replace(problems={**cluster.problems, METRICS: reason})
    return cluster._replace(policies=found)
