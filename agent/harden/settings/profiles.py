"""Profiles: presets of settings. Pure.

To add a setting to a profile, add a line to PRESETS. Its text for `explain` and the reference is in
agent/harden/settings/risks.tsv.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.base import yaml_reader
from agent.harden.settings.schema import Profile, setting_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.harden.settings.schema import SettingRow


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
