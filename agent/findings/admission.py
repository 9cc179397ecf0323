"""Findings about the admission plugins of the API server."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.model import Location
from agent.base.repair import Restart, RunVerb
from agent.base.value import replace
from agent.findings.config_edits import plugins_joined, setting_to, without_argument, without_name
from agent.findings.registry import (
    Problem,
    correction,
    edit_of_k3s_config,
    error,
    k3s_exits,
    no,
    of_file,
    steps,
    warning,
    yes,
)
from agent.harden.desired.dropin_options import (
    ADMISSION_CONFIGURATION_ARGUMENT,
    ADMISSION_PLUGINS_ARGUMENT,
    DISABLED_PLUGINS_ARGUMENT,
    all_plugins,
    options_to_set,
)
from agent.harden.guide.guide_files import POD_SECURITY_ADMISSION
from agent.k3s import admission_configuration
from agent.k3s.config import string_slice
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.base.repair import Repair
    from agent.harden.situation import Situation
    from agent.k3s.config import ConfigValue


@k3s_exits(
    "The API server exits at an unknown plugin, and at one that is both enabled and disabled.",
    repair="remove the plugin or the extra comma from the list; then restart K3s",
)
def admission_plugins_refused(situation: Situation) -> Iterator[Problem]:
    """An admission plugin is unknown to this K3s version, or is both enabled and disabled.

    PodSecurityPolicy was removed in v1.25. The API server reads an extra comma, such as at the end of the list, as a
    plugin without a name, which is unknown, too.
    """
    for argument in (ADMISSION_PLUGINS_ARGUMENT, DISABLED_PLUGINS_ARGUMENT):
        for plugin, values in listed_plugins(situation, argument).items():
            if admission_configuration.is_unknown(plugin, situation.facts.version):
                what = f"an unknown plugin, {plugin}" if plugin else "an extra comma"
                message = f"K3s does not start: {argument} contains {what}"
                for value in of_the_operator(situation, values):
                    expected, fix = (
                        f"plugins of K3s {situation.facts.version}",
                        _unlisted(situation, argument, plugin, value),
                    )
                    yield Problem(message, expected, value.text, value.location, fix)
    enabled = _enabled_now(situation)
    for plugin, values in listed_plugins(situation, DISABLED_PLUGINS_ARGUMENT).items():
        if plugin in enabled:
            message = f"K3s does not start: the admission plugin {plugin} is both enabled and disabled"
            yield from (_disabled(situation, plugin, value, message) for value in values)


@error(
    blocks_gate=no("Once apply enables the plugin, the API server exits, so nothing runs without it."),
    prevents_start=no("The API server starts until apply enables the plugin."),
    repair="remove the plugin from disable-admission-plugins before apply; then restart K3s",
)
def admission_plugins_conflict(situation: Situation) -> Iterator[Problem]:
    """An admission plugin that apply will enable is disabled. K3s starts now, and exits at both after apply."""
    conflicting = set(_enabled_by_apply(situation)) - _enabled_now(situation)
    for plugin, values in listed_plugins(situation, DISABLED_PLUGINS_ARGUMENT).items():
        message = f"K3s will not start after apply, which enables the admission plugin {plugin}"
        for value in values if plugin in conflicting else ():
            expected = f"{DISABLED_PLUGINS_ARGUMENT} without {plugin}"
            fix = _unlisted(situation, DISABLED_PLUGINS_ARGUMENT, plugin, value)
            fix_and_apply = replace(fix, steps=(*fix.steps, RunVerb("apply")))
            yield Problem(message, expected, value.text, value.location, fix_and_apply)


@error(
    blocks_gate=yes("The API server starts without Pod Security admission."),
    prevents_start=no("The API server supports disabling the plugin."),
    repair="remove PodSecurity from the list; then restart K3s",
)
def pod_security_disabled(situation: Situation) -> Iterator[Problem]:
    """The admission plugin PodSecurity is disabled, so psa.yaml has no effect. K3s does not log that."""
    facts = situation.facts
    if POD_SECURITY_ADMISSION.applies.to(facts.role, facts.version) and not facts.rancher_managed:
        message = f"{facts.data_dir / POD_SECURITY_ADMISSION.path} has no effect: the plugin PodSecurity is disabled"
        for value in listed_plugins(situation, DISABLED_PLUGINS_ARGUMENT).get(admission_configuration.POD_SECURITY, ()):
            yield _disabled(situation, admission_configuration.POD_SECURITY, value, message)


@error(
    blocks_gate=yes("The API server starts without the configuration of the other file, which can be psa.yaml."),
    prevents_start=no("The API server reads the last file only."),
    repair="merge the files into one, and remove the argument; then restart K3s",
)
def two_admission_configurations(situation: Situation) -> Iterator[Problem]:
    """The API server has two different files as its admission configuration, and reads only the operator's, the last.

    If the last one is psa.yaml, admission-configuration-ignored reports the others.
    """
    values = _admission_configurations(situation)
    if values and values[-1].location.path != situation.facts.dropin_path:
        yield from (_not_read(situation, value, values) for value in values[:-1])


@warning(repair="merge the files into one, and remove the argument; then restart K3s")
def admission_configuration_ignored(situation: Situation) -> Iterator[Problem]:
    """The API server ignores the operator's admission configuration, because a later drop-in sets another file.

    The plugins that only the operator's file configures have their defaults.
    """
    values = _admission_configurations(situation)
    if values and values[-1].location.path == situation.facts.dropin_path:
        usable = (value for value in values[:-1] if value.text not in situation.facts.unusable_files)
        yield from (_not_read(situation, value, values) for value in usable)


@warning(repair="join the plugins into one argument; then run `sudo k3s-harden apply`, and restart K3s")
def split_admission_plugins(situation: Situation) -> Iterator[Problem]:
    """Several arguments enable admission plugins. The API server enables all; scanners read only the first argument."""
    values = situation.facts.merged_config.argument(Component.API_SERVER, ADMISSION_PLUGINS_ARGUMENT)
    if len(values) > 1:
        joined = plugins_joined(situation, all_plugins(situation.settings, situation.facts))
        has_ours = any(value.location.path == situation.facts.dropin_path for value in values)
        message = f"{ADMISSION_PLUGINS_ARGUMENT} is set {len(values)} times; kube-bench reads only the first value"
        expected = "one value, joined by commas"
        fix = steps(*joined, *((RunVerb("apply"),) if has_ours else ()), restart=Restart.K3S)
        yield Problem(message, expected, " and ".join(value.text for value in values), values[0].location, fix)


@warning(repair="name a mirror that serves the images, or set `always-pull-images: false`")
def images_without_registry(situation: Situation) -> Iterator[Problem]:
    """AlwaysPullImages is enabled on an air-gapped node: its images are archives, and no mirror is configured.

    The plugin makes each new container pull its image, also if K3s has imported it. Without a registry, new pods do not
    start, including those of K3s such as CoreDNS.
    """
    archives = situation.k3s_files.image_archives
    enabled = {*_enabled_now(situation), *_enabled_by_apply(situation)}
    if archives and admission_configuration.ALWAYS_PULL_IMAGES in enabled:
        message = "new pods do not use imported images, because AlwaysPullImages makes them pull each image"
        found = f"{len(archives)} archive{'s' if len(archives) > 1 else ''}, no mirror"
        fix = steps(setting_to(situation, "always-pull-images", "false"), RunVerb("apply"), restart=Restart.K3S)
        yield Problem(message, "a mirror in registries.yaml, or no archives", found, Location(archives[0]), fix)


def _admission_configurations(situation: Situation) -> tuple[ConfigValue, ...]:
    """Return the values of the argument if they name different files; the API server reads the last one."""
    values = situation.facts.merged_config.argument(Component.API_SERVER, ADMISSION_CONFIGURATION_ARGUMENT)
    return values if len({value.text for value in values}) > 1 else ()


def _not_read(situation: Situation, value: ConfigValue, values: tuple[ConfigValue, ...]) -> Problem:
    extra = values[-1] if value.location.path == situation.facts.dropin_path else value
    message = f"{value.text} is not read: {values[-1].location} sets {ADMISSION_CONFIGURATION_ARGUMENT} again"
    removal = without_argument(
        situation, Component.API_SERVER.config_key, ADMISSION_CONFIGURATION_ARGUMENT, extra.location
    )
    fix = edit_of_k3s_config(*of_file(Location(PurePosixPath(extra.text)), *removal))
    return Problem(message, expected="one file", found=f"{len(values)} files", location=value.location, repair=fix)


def listed_plugins(situation: Situation, argument: str) -> dict[str, list[ConfigValue]]:
    """Return the admission plugins that an argument of the API server lists, each with the values that list it."""
    found: dict[str, list[ConfigValue]] = {}
    for value in situation.facts.merged_config.argument(Component.API_SERVER, argument):
        for plugin in dict.fromkeys(string_slice(value.text) if value.text else ()):
            found.setdefault(plugin, []).append(value)
    return found


def of_the_operator(situation: Situation, values: list[ConfigValue]) -> list[ConfigValue]:
    """Return the values that do not come from k3s-harden's drop-in, which repeats them; all if there are no others."""
    return [value for value in values if value.location.path != situation.facts.dropin_path] or values


def _enabled_now(situation: Situation) -> set[str]:
    """Return the admission plugins that K3s' configuration enables, with the one that K3s enables by default."""
    enabled = set(listed_plugins(situation, ADMISSION_PLUGINS_ARGUMENT))
    if situation.facts.merged_config.keeps_default(Component.API_SERVER.config_key, ADMISSION_PLUGINS_ARGUMENT):
        enabled.add(admission_configuration.K3S_DEFAULT)
    return enabled


def _enabled_by_apply(situation: Situation) -> Iterator[str]:
    """Yield the admission plugins that k3s-harden's drop-in enables."""
    for option in options_to_set(situation.settings, situation.facts):
        if option.row.name == ADMISSION_PLUGINS_ARGUMENT:
            yield from option.value.split(",")


def _disabled(situation: Situation, plugin: str, value: ConfigValue, message: str) -> Problem:
    """Return the case of a plugin that a value must not disable."""
    fix = _unlisted(situation, DISABLED_PLUGINS_ARGUMENT, plugin, value)
    return Problem(message, "", value.text, value.location, fix)


def _unlisted(situation: Situation, argument: str, plugin: str, value: ConfigValue) -> Repair:
    """Return what removes a plugin from the list in a value, or without a name a superfluous comma."""
    key, at = Component.API_SERVER.config_key, value.location
    return correction(situation, at.path, *without_name(situation, key, plugin, at, argument))
