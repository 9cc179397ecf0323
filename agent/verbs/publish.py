"""The verb publish: sends what the drift check wrote for the Node of this host.

Its unit runs after K3s, every 15 to 30 minutes. It sends what has changed, and otherwise every six hours.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.changes.publication import (
    PUBLICATION,
    SENT,
    Sent,
    digest,
    machine_hash,
    publication_file,
    read_publication,
    read_sent,
)
from agent.changes.state import locked_state
from agent.cluster import own_node
from agent.cluster.node_status import CONDITION, Annotation, PublishedResult
from agent.errors import CommandHint, HardenError, HostError
from agent.present.assessments.common import timestamp

if TYPE_CHECKING:
    from agent.changes.publication import Publication
    from agent.host import Host
    from agent.host.https import Limits

UNIT = "k3s-harden-publish.service"
_PERIOD = 6 * 3600.0
_STALE = 2 * 86400.0
"""Seconds after which an assessment no longer states the result; the drift check runs every day."""
_PAUSE, _ATTEMPTS = 3.0, 20
"""Seconds between two questions to the kubelet, and how many there are."""


def publish(
    host: Host, *, remove: bool = False, health_port: int = own_node.HEALTH_PORT, limits: Limits = own_node.LIMITS
) -> str:
    """Send what has changed to the Node of this host, and return a line about it; empty if nothing is due.

    `remove` removes everything, whatever the settings are. Raises HardenError if that fails. The next run of the unit
    tries it again.
    """
    host.refuse_ordinary_user("publish")
    publication = read_publication(host)
    if publication is None:
        return "nothing is published: no drift check with the setting `publish` has run"
    if remove or not publication.annotations:
        return withdraw(host, publication, limits)
    if publication.annotations.get(Annotation.MACHINE) != machine_hash(host):
        return "nothing is published: the stored assessment is that of another machine, until the next drift check"
    publication = _as_of_now(publication, host.now())
    content = digest(json.dumps(publication).encode())
    sent = read_sent(host)
    # An absolute value, because the clock can have been set back.
    if sent and sent.content == content and abs(host.now() - sent.when) < _PERIOD:
        return ""
    _wait_for_kubelet(host, health_port)
    now, status = timestamp(host.now()), publication.condition["status"]
    since = sent.since if sent and sent.status == status else now
    condition = {**publication.condition, "lastHeartbeatTime": now, "lastTransitionTime": since}
    fields = {"metadata": {"annotations": publication.annotations}, "status": {"conditions": [condition]}}
    node = own_node.apply_node_status(host, PurePosixPath(publication.kubeconfig), fields, limits)
    with locked_state(host):
        host.writable_tree.write(publication_file(SENT, Sent(content, host.now(), node, status, since)))
    return f"published to Node {node}: {CONDITION} is {status}; {condition['message']}"


def withdraw(host: Host, publication: Publication, limits: Limits = own_node.LIMITS) -> str:
    """Remove all that was published, and the files about it, and return a line about it.

    Raises HardenError with the command of an administrator as its hint, and keeps the files.
    """
    sent = read_sent(host)
    try:
        node = own_node.apply_node_status(host, PurePosixPath(publication.kubeconfig), {}, limits)
    except HardenError as error:
        command = _removal(sent.node if sent else host.name)
        raise HostError(f"cannot remove what this node has published: {error.message}", command) from error
    with locked_state(host):
        for path in (PUBLICATION, SENT):
            host.writable_tree.remove_file(path)
    return f"removed the condition and the annotations of k3s-harden from Node {node}"


def _removal(node: str) -> CommandHint:
    """Return the command that removes everything with the rights of an administrator of the cluster."""
    from shlex import quote

    conditions = [{"type": CONDITION, "$patch": "delete"}]
    patch = {"metadata": {"annotations": dict.fromkeys(Annotation)}, "status": {"conditions": conditions}}
    text = quote(json.dumps(patch, separators=(",", ":")))
    return CommandHint(f"kubectl patch node {quote(node)} --subresource=status --type=strategic --patch={text}")


def _as_of_now(publication: Publication, now: float) -> Publication:
    """Return what is true now: an old assessment states nothing."""
    if abs(now - publication.when) < _STALE:
        return publication
    assessed = publication.annotations.get(Annotation.ASSESSED)
    unknown = PublishedResult.UNKNOWN
    message = f"the last drift check that stored an assessment was at {assessed}"
    return publication._replace(
        annotations={**publication.annotations, Annotation.RESULT: unknown},
        condition={
            **publication.condition,
            "status": unknown.condition_status,
            "reason": "NotAssessed",
            "message": message,
        },
    )


def _wait_for_kubelet(host: Host, port: int) -> None:
    for attempt in range(_ATTEMPTS):
        if attempt:
            host.sleep(_PAUSE)
        if own_node.is_kubelet_healthy(port):
            return
    raise HostError(f"cannot publish the state of this node: the kubelet is not healthy on 127.0.0.1:{port}")
