"""Profiles: their settings, and explicit settings that override them."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.assess.benchmark.catalogue import all_controls
from agent.base.value import replace
from agent.harden.settings.loading import load_settings
from agent.harden.settings.profiles import PRESETS, risks
from agent.harden.settings.schema import Profile, Settings, setting_row

PATH = PurePosixPath("/etc/k3s-harden/config.yaml")
STRICT = PRESETS[Profile.STRICT]
OFF = {
    "deny-service-external-ips": "false",
    "event-rate-limit": "off",
    "always-pull-images": "false",
    "pod-max-pids": "off",
    "seccomp-default": "false",
    "admission-policies.pod-security": "off",
    "admission-policies.network-policies": "off",
    "admission-policies.bindings": "off",
    "admission-policies.service-accounts": "off",
    "cni.file-permissions": "leave",
    "waivers-must": "off",
}
"""The setting with which a site disables each preset."""


def loaded(text: str) -> Settings:
    return load_settings(text.encode(), PATH)


def as_file(key: str, value: str) -> str:
    *sections, last = key.split(".")
    return "".join(f"{section}: {{" for section in sections) + f"{last}: {value}" + "}" * len(sections) + "\n"


@pytest.mark.parametrize("preset", STRICT, ids=lambda preset: preset.setting)
@pytest.mark.parametrize("order", [1, -1], ids=["before", "after"])
def test_a_site_can_disable_each_preset(preset: object, order: int) -> None:
    lines = ("profile: strict\n", as_file(preset.setting, OFF[preset.setting]))  # type: ignore[attr-defined]  # a Preset
    settings, strict = loaded("".join(lines[::order])), loaded("profile: strict\n")
    name = preset.row.name  # type: ignore[attr-defined]  # a Preset
    assert settings == replace(
        strict,
        **{name: getattr(Settings(), name)},
        from_profile=tuple(row for row in strict.from_profile if row != name),
    )


def test_a_value_of_the_site_replaces_that_of_the_profile() -> None:
    """The source of the value is then the site, even if both values are equal."""
    settings = loaded("profile: strict\npod-max-pids: 20000\nalways-pull-images: true\n")
    assert (settings.pod_max_pids, settings.always_pull_images) == (20_000, True)
    assert not {"pod_max_pids", "always_pull_images"} & set(settings.from_profile)


def test_each_preset_differs_from_the_default() -> None:
    """A preset with the default value would have no effect. Each preset is valid and occurs once."""
    for presets in PRESETS.values():
        assert len({preset.setting for preset in presets}) == len(presets)
        assert all(preset.read() != getattr(Settings(), preset.row.name) for preset in presets)
    assert PRESETS.keys() == set(Profile)


def test_each_preset_has_a_risk_and_a_command_to_check_it() -> None:
    assert {preset.setting for presets in PRESETS.values() for preset in presets} <= risks().keys()
    for key, risk in risks().items():
        assert setting_row(key).key == key
        assert risk.breaks.endswith(".")
        assert risk.preview.endswith(".")
        assert "\n" not in risk.command


def test_each_preset_is_the_setting_of_a_control() -> None:
    """The profile is for controls that are open with the guide, for the waivers of the others, and for policies."""
    controls = {control.setting for control in all_controls()}
    others = {preset.setting for preset in STRICT} - controls
    assert {setting for setting in others if not setting.startswith("admission-policies.")} == {"waivers-must"}
