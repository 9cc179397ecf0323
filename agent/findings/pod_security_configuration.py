"""Evaluation of an admission configuration: whether Pod Security enforces what the guide requires.

Loaded only for a file of the operator, and for an edited psa.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.repair import Answer, Decide, Restart
from agent.base.value import replace
from agent.cluster.kubernetes.pod_security import FIRST_COMPLETE, PodSecurityDefaults
from agent.findings.config_edits import setting_to, without_own_admission
from agent.findings.registry import APPLY, Problem, steps
from agent.harden.desired.dropin_options import ADMISSION_CONFIGURATION_ARGUMENT
from agent.harden.guide.guide_files import POD_SECURITY_ADMISSION
from agent.harden.guide.manifests import exempt_namespaces
from agent.k3s import admission_configuration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.harden.desired.dropin_options import NamedPath
    from agent.harden.situation import Situation
    from agent.k3s.admission_configuration import PodSecurity

_LEVELS = ("privileged", "baseline", "restricted")
"""From the most lenient."""


def pod_security_shortfall(situation: Situation, path: PurePosixPath, data: bytes) -> Problem | None:
    """Return what is insufficient, without its remediation.

    None if the file meets the control, or if the API server exits at it.
    """
    if _is_waived(situation):
        return None
    level = situation.settings.stage_pod_security.level
    expected = f"enforce: {level}"
    try:
        found = _parsed(situation, path, data)
    except yaml_reader.BoundsError as error:
        return Problem("the content cannot be checked", expected, error.problem, error.location)
    except InputError:
        return None
    if _enforces(found, level):
        return None
    if _is_old(found) and level == _LEVELS[-1]:
        message = f"Pod Security admission enforces an old version of the {level} standard, which allows capabilities"
        return Problem(message, "enforce-version: latest", f"enforce-version: {found.version}", found.location)
    message = f"Pod Security admission does not enforce the {level} standard by default"
    return Problem(message, expected, f"enforce: {found.level}" if found.level else "no level", found.location)


def not_enforced(situation: Situation, named: NamedPath, data: bytes) -> Iterator[Problem]:
    """Yield the case of a file of the operator that does not meet the control."""
    found = pod_security_shortfall(situation, named.path, data)
    if found is not None:
        exempt = "move its exemptions to `pod-security.exempt-namespaces` of the settings"
        fix = steps(*without_own_admission(situation), *APPLY.steps, restart=Restart.K3S)
        yield found._replace(repair=replace(fix, risk=exempt))


def unexpected_exemptions(situation: Situation, named: NamedPath, data: bytes) -> Iterator[Problem]:
    """Yield the case of a file that exempts what neither the guide nor the settings exempt."""
    if _is_waived(situation):
        return
    settings = situation.settings
    allowed = {
        *exempt_namespaces(situation.facts.version, with_rancher=settings.exempt_rancher),
        *settings.exempt_namespaces,
    }
    try:
        found = _parsed(situation, named.path, data)
    except InputError:
        return
    namespaces = [name for name in found.exempt_namespaces if name not in allowed]
    exempt = [*dict.fromkeys((*(f"namespace {name}" for name in namespaces), *found.exempt_requests))]
    if exempt and _enforces(found, settings.stage_pod_security.level):
        message = "Pod Security admission does not check all pods"
        expected = "no exemptions but those of the guide and the settings"
        removal = (*without_own_admission(situation), *APPLY.steps)
        names = ", ".join(sorted({*settings.exempt_namespaces, *namespaces}))
        answers = (
            Answer("No", "psa.yaml of the hardening checks their pods", removal),
            Answer("Yes", "it is a setting", (setting_to(situation, "pod-security.exempt-namespaces", f"[{names}]"),)),
        )
        ask = Decide(f"Do pods of {' and '.join(namespaces)} have to stay exempt?", answers)
        fix = (ask,) if exempt == [f"namespace {name}" for name in namespaces] else removal
        yield Problem(message, expected, ", ".join(exempt), found.exemptions, steps(*fix, restart=Restart.K3S))


def _enforces(found: PodSecurity, level: str) -> bool:
    """Return whether a configuration enforces a standard, or a stricter one."""
    is_weaker = _is_old(found) and level == _LEVELS[-1]
    return found.level in _LEVELS[_LEVELS.index(level) :] and not is_weaker


def _is_old(found: PodSecurity) -> bool:
    minor = PodSecurityDefaults.of(found).minor
    return found.level == _LEVELS[-1] and minor is not None and minor < FIRST_COMPLETE


def _is_waived(situation: Situation) -> bool:
    return situation.waivers.covering(POD_SECURITY_ADMISSION.id, ADMISSION_CONFIGURATION_ARGUMENT) is not None


def _parsed(situation: Situation, path: PurePosixPath, data: bytes) -> PodSecurity:
    return admission_configuration.pod_security(data, path, situation.k3s_files.contents.get)
