"""Whether Secrets are encrypted in the datastore, and the state of the rotation of their keys."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from agent.assess.checks.answer import ControlStatus
from agent.assess.checks.effect import Effect
from agent.base.repair import Run
from agent.cluster.node_status import ENCRYPTION_HASH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agent.cluster.kubernetes.objects import ClusterNode
    from agent.harden.node.facts import HostFacts

QUERY = """\
SELECT CAST(substr(value, 1, 96) AS BLOB) FROM kine AS own
WHERE name >= '/registry/secrets/' AND name < '/registry/secrets0' AND deleted = 0
AND id = (SELECT max(id) FROM kine AS latest WHERE latest.name = own.name)"""
"""The start of the latest row of each Secret that was not deleted (k3s-io/kine, pkg/drivers/sqlite)."""
MOST_SECRETS = 100_000
_PREFIX = re.compile(rb"k8s:enc:[a-z]+:v\d:((?:aescbckey|secretboxkey)-\d{4}-\d\d-\d\dT[\d:]{8}[^:]*(?::\d\d)?|[^:]+):")
"""What the API server writes before a value. K3s' own later keys have a time in their names."""
_STATUS = Run("sudo k3s secrets-encrypt status")
_STAGES: Mapping[str, Sequence[str]] = {
    "prepare": ("restart", "sudo k3s secrets-encrypt rotate"),
    "rotate": ("restart", "sudo k3s secrets-encrypt reencrypt"),
    "rotate_keys": (),
    "reencrypt_request": (),
    "reencrypt_active": (),
}
"""The stages of a rotation that is not finished, and what follows (k3s, pkg/secretsencrypt/config.go)."""


def encryption_effect(facts: HostFacts, rows: Iterable[bytes] | str) -> Effect:
    """Return whether each Secret is encrypted; `rows` are the starts of their values, or why they are not known."""
    found = [] if isinstance(rows, str) else [_PREFIX.match(row) for row in rows]
    keys = Counter(match[1].decode(errors="replace") if match else "" for match in found)
    clear = keys.pop("", 0)
    status, observed = ControlStatus.PASS, f"all {len(found)} Secrets are encrypted"
    if isinstance(rows, str):
        status, observed = ControlStatus.UNKNOWN, rows
    elif not found:
        status, observed = ControlStatus.UNKNOWN, "the datastore has no Secret"
    elif clear:
        status, observed = ControlStatus.FAIL, f"{clear} of {len(found)} Secrets are stored as clear text"
    if keys:
        observed += f", with {', '.join(f'{name} ({number})' for name, number in sorted(keys.items()))}"
        observed += "; old revisions, the write-ahead log and snapshots may still have clear text"
    return Effect(
        subject="Encryption of Secrets in the datastore",
        configured="secrets-encryption is set" if facts.encrypts_secrets else "K3s does not encrypt Secrets",
        status=status,
        observed=observed,
        command=_STATUS.line,
        controls=("secrets-encryption", "apiserver-encryption-providers"),
        steps=(_STATUS, Run("sudo k3s secrets-encrypt reencrypt --force --skip")),
    )


def rotation_effects(facts: HostFacts, nodes: Iterable[ClusterNode]) -> Iterator[Effect]:
    """Yield whether the rotation of the keys is finished on all servers, as they publish it."""
    stages = {
        node.name: node.annotations[ENCRYPTION_HASH].rpartition("-")
        for node in nodes
        if node.is_server and ENCRYPTION_HASH in node.annotations
    }
    if not stages:
        return
    running = {name: stage for name, (stage, _, _) in stages.items() if stage in _STAGES}
    status, observed = ControlStatus.PASS, f"no rotation is in progress on {len(stages)} servers"
    steps: tuple[Run, ...] = (_STATUS,)
    if running:
        shown = ", ".join(f"{name}: {stage}" for name, stage in sorted(running.items()))
        status, observed = ControlStatus.FAIL, f"a rotation is not finished ({shown})"
        lines = dict.fromkeys(line for stage in running.values() for line in _STAGES[stage])
        steps += tuple(Run(line.replace("restart", f"sudo systemctl restart {facts.service}")) for line in lines)
    elif len({digest for _, _, digest in stages.values()}) > 1:
        status, observed = ControlStatus.FAIL, f"the servers have different keys: {', '.join(sorted(stages))}"
        steps += (Run(f"sudo systemctl restart {facts.service}"),)
    yield Effect(
        subject="Rotation of the keys of Secrets",
        configured="finished on all servers",
        status=status,
        observed=observed,
        command=_STATUS.line,
        controls=("secrets-encryption",),
        steps=steps,
    )
