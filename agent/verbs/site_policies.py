"""NetworkPolicies of a site with the names of those in policy.yaml: a copy, and their way back.

K3s replaces such a policy when it applies policy.yaml, and deletes it with the other objects of that file. The copy is
a list that `kubectl create -f` reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from agent.base.errors import HardenError
from agent.base.host import Host
from agent.base.model import PRIVATE_FILE, File
from agent.base.repair import Repair, Run
from agent.base.report import Item, ItemStatus
from agent.cluster.connection import connect_as_admin, rejection
from agent.cluster.kubernetes.network_policies import parse_policy
from agent.cluster.kubernetes.objects import as_list, as_mapping
from agent.cluster.kubernetes.queries import REQUESTS, Query
from agent.cluster.own_objects import wait_until_applied
from agent.cluster.reader import LIMITS, Reader
from agent.findings.impact.traffic import expected_policies
from agent.harden.changes.state import STATE, locked_state, make_directory
from agent.harden.guide.guide_files import POLICY_FILE
from agent.harden.settings.schema import Settings

SAVED = STATE / "replaced-policies.json"

_API = "/apis/networking.k8s.io/v1/namespaces"
_ADDON = PurePosixPath(POLICY_FILE).stem
_KEPT = ("name", "namespace", "labels", "annotations")
"""Fields of the metadata that the API server does not set."""
_CREATED, _CONFLICT = 201, 409
_BY_HAND = Repair((Run(f"sudo k3s kubectl create -f {SAVED}"),))


def save(host: Host, settings: Settings, data_dir: PurePosixPath) -> tuple[Item, ...]:
    """Copy the policies of the site that K3s will replace, and return an item for each.

    Without an answer of the API server, there is one item.
    """
    ours = {(policy.namespace, policy.name) for policy in expected_policies(settings)}
    if not ours:
        return ()
    saved = {_title(item): item for item in _saved(host)}
    try:
        with connect_as_admin(host, data_dir, LIMITS) as client:
            listed = Reader(client).listed(REQUESTS[Query.NETWORK_POLICIES], as_mapping)
        policies = ((parse_policy(item), item) for item in listed)
        found = [item for own, item in policies if (own.namespace, own.name) in ours and own.addon != _ADDON]
        if found:
            about = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
            for item in found:
                metadata = {key: value for key, value in as_mapping(item["metadata"]).items() if key in _KEPT}
                saved[_title(item)] = {**about, "metadata": metadata, "spec": item.get("spec", {})}
            _write(host, list(saved.values()))
    except HardenError as error:
        detail = f"policies of the site that have the names of policy.yaml are not saved: {error.message}"
        return (Item("NetworkPolicies", ItemStatus.KEPT, detail),)
    return tuple(Item(_title(item), ItemStatus.CHANGED, f"saved in {SAVED}, because K3s replaces it") for item in found)


def restore(host: Host, data_dir: PurePosixPath, *, content: bytes | None = None) -> Iterator[Item]:
    """Create the saved policies again, and yield an item for each. Those that cannot be created stay in SAVED.

    With `content`, a policy.yaml without policies, wait until K3s has applied it.
    """
    saved = _saved(host)
    if not saved:
        return
    if content is not None and not wait_until_applied(host, data_dir, _ADDON, content):
        yield from not_restored(host)
        return
    left = []
    try:
        with connect_as_admin(host, data_dir, LIMITS) as client:
            for item in saved:
                namespace = quote(str(as_mapping(item.get("metadata")).get("namespace")), safe="")
                status = client.post(f"{_API}/{namespace}/networkpolicies", json.dumps(item).encode()).status
                if status == _CREATED:
                    yield Item(_title(item), ItemStatus.CHANGED, "created again, as it was before policy.yaml")
                elif status == _CONFLICT:
                    yield Item(_title(item), ItemStatus.KEPT, "exists again")
                else:
                    left.append(item)
                    yield _left(item, rejection(status))
        _write(host, left)
    except HardenError as error:
        yield Item(str(SAVED), ItemStatus.KEPT, f"contains NetworkPolicies of the site: {error.message}", _BY_HAND)


def not_restored(host: Host) -> Iterator[Item]:
    """Yield an item for each saved policy, while K3s keeps the one of policy.yaml."""
    yield from (
        _left(item, "K3s still has that of policy.yaml, which has to be deleted first") for item in _saved(host)
    )


def _left(item: Any, reason: str) -> Item:  # noqa: ANN401 - any JSON
    return Item(_title(item), ItemStatus.KEPT, f"stays in {SAVED}: {reason}", _BY_HAND)


def _saved(host: Host) -> list[Any]:
    """Return the saved objects; none from a file that is damaged or that another user can change."""
    if not host.tree.exists(SAVED) or host.tree.trust_problem(SAVED):
        return []
    try:
        return [item for item in as_list(as_mapping(json.loads(host.tree.read(SAVED) or b"")).get("items")) if item]
    except (ValueError, RecursionError, HardenError):
        return []


def _write(host: Host, items: list[Any]) -> None:
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1).encode() + b"\n"
    with locked_state(host):
        make_directory(host.writable_tree, STATE)
        if items:
            host.writable_tree.write(File(path=SAVED, content=content, mode=PRIVATE_FILE))
        else:
            host.writable_tree.remove_file(SAVED)


def _title(item: Any) -> str:  # noqa: ANN401 - any JSON
    policy = parse_policy(item)
    return f"NetworkPolicy {policy.namespace}/{policy.name}"
