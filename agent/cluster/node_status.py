"""Node objects: the names and limits of what a node publishes, and what of a Node is compared."""

from __future__ import annotations

from agent.base.model import StrEnum
from agent.cluster.kubernetes.objects import ClusterNode, Json, as_list, as_mapping, as_string, at

PREFIX = "k3s-harden.internal/"
"""The domain .internal is reserved for private use, so nobody else can own it."""

CONDITION = f"{PREFIX}Hardened"
"""The type of the condition; its status is True, False or Unknown."""

FIELD_MANAGER = "k3s-harden"
"""The entry of managedFields that has the server's time of the last change."""

MESSAGE_LIMIT = 256
"""Characters of the condition's message."""
ANNOTATIONS_LIMIT = 4096
"""Bytes of all annotations, with their names."""


class Annotation(StrEnum):
    """The annotations."""

    RESULT = f"{PREFIX}result"
    """A PublishedResult."""
    EVALUATED = f"{PREFIX}evaluated"
    """Decimal number of controls that passed, failed, are waived or could not be determined."""
    PASSED = f"{PREFIX}passed"
    FAILED = f"{PREFIX}failed"
    UNDETERMINED = f"{PREFIX}undetermined"
    LEFT_OPEN = f"{PREFIX}left-open"
    """Decimal number of failed controls that the settings of the site do not choose. They are not in `failed`."""
    WAIVED = f"{PREFIX}waived"
    """Decimal number of waivers that apply to the node."""
    WAIVED_UNTIL = f"{PREFIX}waived-until"
    """The last day of the waiver that ends first, YYYY-MM-DD; absent if none ends."""
    WAIVERS = f"{PREFIX}waivers"
    """The first 16 hexadecimal digits of a SHA-256 of all waivers in the settings."""
    POSTPONED = f"{PREFIX}postponed"
    """Decimal number of parts that a stage postpones."""
    POSTPONED_UNTIL = f"{PREFIX}postponed-until"
    """YYYY-MM-DD; absent without a stage."""
    BROKEN = f"{PREFIX}broken"
    """Decimal number of objects of the cluster that the hardening breaks; absent if it is not known."""
    STAGES = f"{PREFIX}stages"
    """As WAIVERS, of the stages."""
    OBSERVING_SINCE = f"{PREFIX}observing-since"
    """YYYY-MM-DD; absent unless the gate observes."""
    BENCHMARK = f"{PREFIX}benchmark"
    VERSION = f"{PREFIX}version"
    """The version of this program."""
    ROLE = f"{PREFIX}role"
    PROFILE = f"{PREFIX}profile"
    ASSESSED = f"{PREFIX}assessed"
    """RFC 3339 in UTC, by the clock of the node."""
    DRIFTING_SINCE = f"{PREFIX}drifting-since"
    """RFC 3339 in UTC; absent if the node has not drifted."""
    FILE_DIGESTS = f"{PREFIX}file-digests"
    """A JSON object: absolute path of a file that apply wrote, and the first 16 hexadecimal digits of its SHA-256."""
    MACHINE = f"{PREFIX}machine"
    """A hash of the machine ID."""
    FAILED_CONTROLS = f"{PREFIX}failed-controls"
    """IDs separated by commas, only with `publish: details`; the last one is `...` if some are left out."""


class PublishedResult(StrEnum):
    """The result by what the site chose, and the status of the condition."""

    COMPLIANT = "compliant"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def condition_status(self) -> str:
        """The status of the condition with this result."""
        return {"compliant": "True", "failed": "False"}.get(self.value, "Unknown")


NODE_ARGUMENTS = "k3s.io/node-args"
"""K3s' annotation with its arguments, those of its configuration files included (k3s, pkg/nodeconfig)."""

ENCRYPTION_HASH = "k3s.io/encryption-config-hash"
"""K3s' annotation of a server: the stage of the rotation of keys, and a hash of its encryption configuration."""

SERVER_LABEL = "node-role.kubernetes.io/control-plane"
_SERVER_LABELS = {SERVER_LABEL, *(f"node-role.kubernetes.io/{name}" for name in ("etcd", "master"))}
"""A kubelet cannot set these labels on its own node (kubernetes, NodeRestriction)."""
_LIMITS = {**dict.fromkeys(map(str, Annotation), ANNOTATIONS_LIMIT), NODE_ARGUMENTS: 65_536, ENCRYPTION_HASH: 256}
"""Characters of each annotation that is kept. A longer one counts as missing."""


def parse_node(item: Json) -> ClusterNode:
    """Return a node. Any JSON is accepted, and each text is bounded: a node writes its own object."""
    metadata, status, annotations = at(item, "metadata"), at(item, "status"), at(item, "metadata", "annotations")
    conditions = {as_string(found.get("type")): found for found in map(as_mapping, as_list(status.get("conditions")))}
    entries = map(as_mapping, as_list(metadata.get("managedFields")))
    kept = {name: text for name in _LIMITS if isinstance(text := annotations.get(name), str)}
    own = conditions.get(CONDITION, {})
    return ClusterNode(
        name=as_string(metadata.get("name"))[:MESSAGE_LIMIT],
        is_ready=conditions.get("Ready", {}).get("status") == "True",
        uid=as_string(metadata.get("uid"))[:MESSAGE_LIMIT],
        k3s_version=as_string(at(status, "nodeInfo").get("kubeletVersion"))[:MESSAGE_LIMIT],
        is_server=not _SERVER_LABELS.isdisjoint(as_mapping(metadata.get("labels"))),
        annotations={name: text for name, text in kept.items() if len(text) <= _LIMITS[name]},
        condition={key: as_string(own.get(key))[:MESSAGE_LIMIT] for key in ("status", "message", "lastHeartbeatTime")},
        written=max((as_string(at.get("time")) for at in entries if at.get("manager") == FIELD_MANAGER), default=""),
    )
