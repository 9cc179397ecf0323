"""Profiles: presets of settings, and what they can break. Pure.

To add a setting to a profile, add a line to PRESETS, and its risk to risks.tsv. Sources of the risks: kubernetes,
plugin/pkg/admission (denyserviceexternalips, eventratelimit, alwayspullimages); client-go, tools/record/event.go;
containerd, contrib/seccomp/seccomp_default.go; Linux, admin-guide/cgroup-v2.rst (PID).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.base import package_data, yaml_reader
from agent.harden.settings.schema import Profile, SettingRow, setting_row


class Preset(NamedTuple):
    """A setting of a profile."""

    setting: str
    """The key in the settings file."""
    value: str
    """In YAML."""

    @property
    def row(self) -> SettingRow:
        """The setting."""
        return setting_row(self.setting)

    def read(self) -> object:
        """Return the value as loading does. Raises InvalidValue."""
        (document,) = yaml_reader.read_documents(self.value.encode(), PurePosixPath(self.setting))
        return self.row.kind.read(document.node)


PRESETS: Mapping[Profile, tuple[Preset, ...]] = {
    Profile.GUIDE: (),
    Profile.STRICT: (
        Preset("deny-service-external-ips", "true"),
        Preset("event-rate-limit", "{qps: 5000, burst: 20000}"),
        Preset("always-pull-images", "true"),
        Preset("pod-max-pids", "4096"),
        Preset("seccomp-default", "true"),
        Preset("admission-policies.pod-security", "deny"),
        Preset("admission-policies.network-policies", "deny"),
        Preset("admission-policies.bindings", "deny"),
        Preset("admission-policies.service-accounts", "on"),
        Preset("network-policies.new-namespaces", "true"),
        Preset("cni.file-permissions", '"0600"'),
        Preset("waivers-must", "{expire-within: 366, approver: true}"),
    ),
}
"""The settings of each profile, in the order of the reference."""


def with_profile(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values of a settings file with those of its profile. A value of the file takes precedence."""
    profile = Profile(str(values["profile"]))
    added = {preset.row.name: preset.read() for preset in PRESETS[profile] if preset.row.name not in values}
    return {**values, **added, "from_profile": tuple(added)}


class Risk(NamedTuple):
    """What a setting can break."""

    breaks: str
    preview: str
    """How to check for it before the change."""
    command: str
    """The command of the check, ready to paste."""


@cache
def risks() -> Mapping[str, Risk]:
    """Return the risks of settings by key."""
    return {setting: Risk(*texts) for setting, *texts in package_data.rows("harden", "settings", "risks.tsv")}
