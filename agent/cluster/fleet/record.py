"""The record of a node, for a fleet without access to its cluster: a Node object as text, and its signature."""

from __future__ import annotations

import json
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from agent.cluster.fleet.published import parsed_json
from agent.cluster.kubernetes.parsing import as_mapping, as_string
from agent.cluster.node_status import SERVER_LABEL, parse_node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.cluster.kubernetes.objects import ClusterNode, Json

UNSIGNED = "the record is not signed"
_LONGEST_SIGNATURE = 1 << 14
"""Characters. ssh-keygen parses 8 MiB in 15 seconds."""


class Record(NamedTuple):
    """The content of a file."""

    record: str
    signature: str
    """By ssh-keygen -Y sign; empty without one."""


def record_text(name: str, k3s_version: str, annotations: Mapping[str, str], condition: Mapping[str, str]) -> str:
    """Return the Node of a record as JSON in one line. `annotations` and `condition` are those of a publication."""
    is_server = annotations.get("k3s-harden.internal/role") == "server"
    node = {
        "kind": "Node",
        "metadata": {"name": name, "labels": {SERVER_LABEL: "true"} if is_server else {}, "annotations": annotations},
        "status": {"nodeInfo": {"kubeletVersion": k3s_version}, "conditions": [condition]},
    }
    return json.dumps(node, sort_keys=True, separators=(",", ":"))


def node_of_record(
    found: Record,
    cluster: str,
    keys: Mapping[str, str] | None,
    verified: Mapping[str, str],
    problem_of: Callable[[bytes, bytes, str], str],
) -> ClusterNode:
    """Return the node of a record, marked unknown if its signature is not that of its node or cluster.

    A cluster without a name, as on standard input, has no key.

    `keys` are the allowed keys by name; None if nothing is verified. A record with a digest in `verified` is unchanged.
    """
    node = parse_node(as_mapping(parsed_json(found.record)))._replace(cluster=cluster, uid="")
    if keys is None:
        return node
    names = (f"{cluster}/{node.name}", cluster)
    own = "".join(keys.get(name, "") for name in names)
    # An escape in JSON can be one half of a character.
    encoded = partial(str.encode, errors="surrogatepass")
    digest = sha256(repr((names, own, found)).encode()).hexdigest()
    if not found.signature:
        return node._replace(unknown=UNSIGNED)
    if not cluster:
        return node._replace(unknown="the record has no site: name its file or directory")
    if not own:
        return node._replace(unknown=f"no key is allowed for {names[0]} or {cluster}")
    # A key can expire.
    if verified.get(names[0]) != digest or "valid-before" in own:
        problem = problem_of(encoded(found.record), encoded(found.signature), own)
        if problem:
            return node._replace(unknown=f"the signature is not valid: {problem}")
    return node._replace(verified=digest)


def parse_keys(text: str) -> Mapping[str, str]:
    """Return the keys of ssh-keygen's file of allowed signers, with their options, by name."""
    keys: dict[str, str] = {}
    # Not splitlines: ssh-keygen ends a line only there, so that the comment of a key cannot contain another line.
    for line in text.split("\n"):
        names, _, key = line.strip().partition(" ")
        for name in names.split(",") if key and not names.startswith("#") else ():
            keys[name] = f"{keys.get(name, '')}{key}\n"
    return keys


def as_record(found: Mapping[str, Json]) -> Record | None:
    """Return the record in a JSON object; None if it is something else."""
    signature = as_string(found.get("signature"))[:_LONGEST_SIGNATURE]
    return Record(found["record"], signature) if isinstance(found.get("record"), str) else None
