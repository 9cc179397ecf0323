"""Stages: parts of the hardening that a site postpones until a day. Pure.

A stage changes what `apply` writes, and it counts as a failure after its day. So a host with a stage is never reported
as compliant without a remark.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from agent.base.model import Location
from agent.base.value import Value
from agent.harden.guide.guide_files import NETWORK_POLICIES, POD_SECURITY_ADMISSION
from agent.harden.settings.schema import PodSecurityStage, Settings
from agent.harden.settings.waivers import SiteWaiver
from agent.k3s.cis.versions import pod_security_standards
from agent.k3s.roles_and_versions import ON_SERVERS, Role, Version


class Stage(Value):
    """A part of the hardening that is not complete yet."""

    setting: str
    """The key in the settings."""
    value: str
    until: str
    """The last day of the stage, YYYY-MM-DD in UTC."""
    controls: tuple[str, ...]
    """IDs of the controls of the benchmarks that it can leave open."""

    def __str__(self) -> str:
        return f"{self.setting}: {self.value}"

    def is_over(self, today: str) -> bool:
        """Return whether the last day has passed. `today` is YYYY-MM-DD in UTC."""
        return self.until < today

    def waivers(self, path: PurePosixPath) -> tuple[SiteWaiver, ...]:
        """Return the waivers of an assessment, with the settings file as their location."""
        return tuple(
            SiteWaiver(control, f"postponed by `{self}`", self.until, location=Location(path), stage=self.setting)
            for control in self.controls
        )


def stages_of(settings: Settings, role: Role, version: Version) -> tuple[Stage, ...]:
    """Return the parts that the settings postpone on a host with this role and K3s version."""
    level = settings.stage_pod_security
    pod_security = "" if level is PodSecurityStage.RESTRICTED else level.value
    by_standard = pod_security_standards().items() if pod_security else ()
    of_level = tuple(control for control, standard in by_standard if standard != level)
    policies = "" if settings.stage_network_policies else "off"
    accounts = "" if settings.stage_service_accounts else "off"
    rows = (
        (POD_SECURITY_ADMISSION.applies, "stages.pod-security", pod_security, of_level),
        (NETWORK_POLICIES.applies, "stages.network-policies", policies, ("namespaces-network-policies",)),
        (ON_SERVERS, "stages.service-accounts", accounts, ("default-service-accounts",)),
    )
    return tuple(
        Stage(key, value, settings.stages_until or "", controls)
        for applies, key, value, controls in rows
        if value and applies.to(role, version)
    )


_LONGEST_RECORDING = 92
"""Days."""


def last_recording_day(today: str) -> str:
    """Return the last day up to which traffic can be recorded. Days are YYYY-MM-DD in UTC."""
    from datetime import date, timedelta

    return (date.fromisoformat(today) + timedelta(days=_LONGEST_RECORDING)).isoformat()
