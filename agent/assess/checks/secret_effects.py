"""Encryption of Secrets on a running node: the datastore, the rotation of the keys, and their age."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from agent.assess.checks.answer import ControlStatus, Effect
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.evidence import EncryptionConfiguration
from agent.base.repair import Run
from agent.base.times import parse_timestamp
from agent.cluster.kubernetes.objects import ClusterNode
from agent.cluster.node_status import ENCRYPTION_HASH
from agent.harden.node.facts import HostFacts

PASS, FAIL, UNKNOWN = ControlStatus.PASS, ControlStatus.FAIL, ControlStatus.UNKNOWN
QUERY = """\
SELECT CAST(substr(value, 1, 96) AS BLOB) FROM kine AS own
WHERE name >= '/registry/secrets/' AND name < '/registry/secrets0' AND deleted = 0
AND id = (SELECT max(id) FROM kine AS latest WHERE latest.name = own.name)"""
"""The start of the latest row of each Secret that was not deleted (k3s-io/kine, pkg/drivers/sqlite)."""
MOST_SECRETS = 100_000
_PREFIX = re.compile(rb"k8s:enc:[a-z]+:v\d:((?:aescbckey|secretboxkey)-\d{4}-\d\d-\d\dT[\d:]{8}[^:]*(?::\d\d)?|[^:]+):")
"""What the API server writes before a value. K3s' own later keys have a time in their names."""
_MADE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_WITH_ROTATE_KEYS = (30, 5)
"""The first minor and patch in which this command is no experiment (k3s-io/docs, docs/cli/secrets-encrypt.md)."""
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
    status, observed = PASS, f"all {len(found)} Secrets are encrypted"
    if isinstance(rows, str):
        status, observed = UNKNOWN, rows
    elif not found:
        status, observed = UNKNOWN, "the datastore has no Secret"
    elif clear:
        status, observed = FAIL, f"{clear} of {len(found)} Secrets are stored as clear text"
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
    status, observed = PASS, f"no rotation is in progress on {len(stages)} servers"
    steps: tuple[Run, ...] = (_STATUS,)
    if running:
        shown = ", ".join(f"{name}: {stage}" for name, stage in sorted(running.items()))
        status, observed = FAIL, f"a rotation is not finished ({shown})"
        lines = dict.fromkeys(line for stage in running.values() for line in _STAGES[stage])
        steps += tuple(Run(line.replace("restart", f"sudo systemctl restart {facts.service}")) for line in lines)
    elif len({digest for _, _, digest in stages.values()}) > 1:
        status, observed = FAIL, f"the servers have different keys: {', '.join(sorted(stages))}"
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


def key_age_effects(node: AssessedNode, now: float) -> Iterator[Effect]:
    """Yield whether the key of Secrets is as old as the site permits, by its name, if the settings state an age.

    `now` is in seconds since 1970.
    """
    most, found = node.situation.settings.secrets_key_max_age, node.evidence.encryption
    if most is None or not isinstance(found, EncryptionConfiguration) or not found.key:
        return
    made = _MADE.search(found.key)
    try:
        days = int(now - parse_timestamp(f"{made[0] if made else ''}Z")) // 86_400
        status = FAIL if days > most else PASS
        observed = f"the key {found.key} is {days} days old"
    except ValueError:
        status, observed = UNKNOWN, f"the name of the key {found.key} has no date"
    rotate = "rotate-keys" if (node.facts.version.minor, node.facts.version.patch) >= _WITH_ROTATE_KEYS else "prepare"
    yield Effect(
        subject="Age of the key of Secrets",
        configured=f"at most {most} days (secrets-key-max-age)",
        status=status,
        observed=observed,
        command=_STATUS.line,
        controls=("secrets-encryption",),
        steps=(_STATUS, Run(f"sudo k3s secrets-encrypt {rotate}", where="on one server")),
    )
