"""The verb publish: sends what the drift check wrote for the Node of this host.

Its unit runs after K3s, every 15 to 30 minutes. It sends what has changed, here or on the Node, and otherwise every six
hours.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import HardenError, HostError
from agent.base.model import PRIVATE_FILE, File
from agent.base.repair import Run
from agent.base.times import timestamp
from agent.cluster.node_status import CONDITION, Annotation
from agent.harden.changes.state import PUBLICATION, SENT, locked_state, machine_hash, read_publication

if TYPE_CHECKING:
    from agent.base.host import Host
    from agent.base.host.https import Limits
    from agent.harden.changes.state import Publication

HEALTH_PORT = 10248
"""The kubelet's own port on the loopback interface, without TLS."""
_PERIOD = 6 * 3600.0
_STALE = 2 * 86400.0
"""Seconds after which an assessment states nothing; the drift check runs every day."""


def publish(host: Host, *, remove: bool = False, health_port: int = HEALTH_PORT, limits: Limits | None = None) -> str:
    """Send what has changed to the Node of this host, and return a line about it; empty if nothing is due.

    `remove` removes everything, whatever the settings are. Raises HardenError if that fails. The next run of the unit
    tries it again.
    """
    host.refuse_ordinary_user("publish")
    publication = read_publication(host)
    if publication is None or not publication.kubeconfig:
        return "nothing is published: no drift check with the setting `publish` has run"
    if remove or not publication.annotations:
        return withdraw(host, publication, limits)
    if publication.annotations.get(Annotation.MACHINE) != machine_hash(host):
        return "nothing is published: the stored assessment is that of another machine, until the next drift check"
    # Absolute values, because the clock can have been set back.
    now, content = host.now(), json.dumps(publication).encode()
    if abs(now - publication.when) > _STALE:
        raise HostError(f"cannot publish the state of this node: it was assessed at {timestamp(publication.when)}")
    when, _, sent = (host.tree.read(SENT) or b"").partition(b"\n")
    is_sent = sent == content and when.isdigit() and abs(now - int(when)) < _PERIOD
    from agent.cluster import own_objects

    if not own_objects.is_kubelet_healthy(health_port):
        if is_sent:
            return ""
        raise HostError(f"cannot publish the state of this node: no healthy kubelet on port {health_port}")
    kubeconfig, expected = PurePosixPath(publication.kubeconfig), (publication.annotations, publication.condition)
    if is_sent and own_objects.has_node_status(host, kubeconfig, *expected, limits):
        return ""
    condition = {**publication.condition, "lastHeartbeatTime": timestamp(now)}
    fields = {"metadata": {"annotations": publication.annotations}, "status": {"conditions": [condition]}}
    node = own_objects.apply_node_status(host, kubeconfig, fields, limits)
    with locked_state(host):
        record = b"%.0f\n%b" % (now, content)
        host.writable_tree.write(File(path=SENT, content=record, mode=PRIVATE_FILE))
    return f"published to Node {node}: {CONDITION} is {condition['status']}; {condition['message']}"


def withdraw(host: Host, publication: Publication, limits: Limits | None = None) -> str:
    """Remove all that was published, and the files about it, and return a line about it.

    Raises HardenError with the command of an administrator as its hint, and keeps the files.
    """
    from shlex import quote

    from agent.cluster import own_objects

    try:
        node = own_objects.apply_node_status(host, PurePosixPath(publication.kubeconfig), {}, limits)
    except HardenError as error:
        # What an administrator of the cluster may do.
        conditions = [{"type": CONDITION, "$patch": "delete"}]
        patch = {"metadata": {"annotations": dict.fromkeys(Annotation)}, "status": {"conditions": conditions}}
        words = f"kubectl patch node {quote(publication.node)} --subresource=status --type=strategic"
        command = Run(f"{words} --patch={quote(json.dumps(patch, separators=(',', ':')))}")
        raise HostError(f"cannot remove what this node has published: {error.message}", command) from error
    with locked_state(host):
        for path in (PUBLICATION, SENT):
            host.writable_tree.remove_file(path)
    return f"removed the condition and the annotations of k3s-harden from Node {node}"
