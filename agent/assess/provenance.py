"""Provenance of an assessment: who ran what, on which machine, with which settings, and from which files. Pure.

Digests are computed only for reports that contain them: importing hashlib takes longer than reading small files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from agent.base.report import Fact
from agent.base.value import Value
from agent.harden.guide.guide_files import AUDIT_POLICY, POD_SECURITY_ADMISSION
from agent.harden.node.facts import HostFacts
from agent.harden.settings.schema import Settings, setting_rows
from agent.k3s.component_configuration import ETCD_CONFIGURATION
from agent.k3s.redaction import redacted
from agent.k3s.roles_and_versions import Component, Version

APPLICATION = "25d7bb976a3843d496e1aa7a1adee41e"
"""The id of this program, for machine ids; it must never change."""
MACHINE_ID = PurePosixPath("/etc/machine-id")
MACHINE_ID_FACT = "machine id"

_OF_THE_SYSTEM = frozenset(map(PurePosixPath, ("/etc/hostname", "/etc/os-release", "/usr/lib/os-release")))
_BELOW_DATA_DIR = (AUDIT_POLICY.path, POD_SECURITY_ADMISSION.path, ETCD_CONFIGURATION)
_POLICY_ARGUMENTS = ("audit-policy-file", "admission-control-config-file")


class FileContent(Value):
    """A file as it was read."""

    path: PurePosixPath
    content: bytes
    about: str = "as it was read"


class Provenance(Value):
    """Who made an assessment, when, and from what."""

    user: str
    arguments: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    """The profile, and the settings that differ from their defaults, by key."""
    machine: str
    """The content of /etc/machine-id, which must not leave the machine; empty if it has none."""
    started: str
    ended: str
    files: tuple[FileContent, ...]
    """The files that were read and cannot contain a secret, and the baseline."""

    def facts(self) -> tuple[Fact, ...]:
        """Return what reports contain."""
        from shlex import join

        settings = "".join(f"{key}: {value}\n" for key, value in self.settings)
        machine_id = application_specific(self.machine)
        return (
            Fact("user", self.user, "the process"),
            Fact("command", redacted(join(self.arguments)), "the process"),
            *(Fact(f"setting {key}", value, "in effect") for key, value in self.settings),
            Fact("SHA-256 of the settings", sha256(settings.encode()), "a line `key: value` for each setting above"),
            *([Fact(MACHINE_ID_FACT, machine_id, f"HMAC-SHA256 of {MACHINE_ID}")] if machine_id else []),
            Fact("started", self.started, "the clock, in UTC"),
            Fact("ended", self.ended, "the clock, in UTC"),
            *(Fact(f"SHA-256 of {file.path}", sha256(file.content), file.about) for file in self.files),
        )


def application_specific(machine: str) -> str:
    """Return an id of a machine, as sd_id128_get_machine_app_specific(3) computes it; empty if there is none.

    Nobody can compute the machine id from it.
    """
    if not re.fullmatch(r"[0-9a-f]{32}", machine):
        return ""
    import hmac

    digest = bytearray(hmac.digest(bytes.fromhex(machine), bytes.fromhex(APPLICATION), "sha256")[:16])
    digest[6] = digest[6] & 0x0F | 0x40  # a UUID of version 4
    digest[8] = digest[8] & 0x3F | 0x80
    return digest.hex()


def sha256(data: bytes) -> str:
    """Return the SHA-256 in hexadecimal digits."""
    from hashlib import sha256 as digest

    return digest(data).hexdigest()


def sha256_of_report(report: Mapping[str, object]) -> str:
    """Return the SHA-256 of what `jq -aSc 'del(.sha256)'` prints for a JSON report."""
    import json

    shape = {key: value for key, value in report.items() if key != "sha256"}
    return sha256(json.dumps(shape, sort_keys=True, separators=(",", ":")).encode() + b"\n")


def shown_settings(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return the profile and the settings that differ from their defaults, by key, without secrets."""
    rows = (row for row in setting_rows() if row.key == "profile" or row.differs_from_default(settings))
    return tuple((row.key, _shown(row.key, getattr(settings, row.name))) for row in rows)


def _shown(key: str, value: object) -> str:
    if key == "drift.notify" and isinstance(value, tuple):
        return str(value[0])  # an argument can be a secret, such as the address of a webhook
    if isinstance(value, tuple) and not isinstance(value, Version):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def files_without_secrets(
    contents: Mapping[PurePosixPath, bytes], facts: HostFacts, settings: Settings
) -> Iterator[FileContent]:
    """Yield the files that were read and whose format has no place for a secret.

    Others, such as units, manifests, and configurations of K3s and the kubelet, can contain one.
    """
    arguments = facts.merged_config.component_arguments(Component.API_SERVER.config_key)
    named = {PurePosixPath(value.text) for name in _POLICY_ARGUMENTS for value in arguments.get(name, ())}
    named.update(_OF_THE_SYSTEM, (facts.data_dir / path for path in _BELOW_DATA_DIR))
    named.update(filter(None, (settings.audit_policy_file, settings.waivers_file)))
    for path, content in sorted(contents.items()):
        if path in named or path.parent.name == "sysctl.d" or path.name == "sysctl.conf":
            yield FileContent(path, content)
