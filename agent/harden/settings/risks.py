"""Risks of settings, and checks to make before the change. Pure.

Sources: kubernetes, plugin/pkg/admission (denyserviceexternalips, eventratelimit, alwayspullimages); client-go,
tools/record/event.go; containerd, contrib/seccomp/seccomp_default.go; Linux, admin-guide/cgroup-v2.rst (PID).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.base import package_data

if TYPE_CHECKING:
    from collections.abc import Mapping


class Risk(NamedTuple):
    """What a setting can break."""

    breaks: str
    preview: str
    """How to check for it before the change."""
    command: str
    """The command of the check, ready to paste."""


RISKS: Mapping[str, Risk] = {
    setting: Risk(*texts) for setting, *texts in package_data.rows("harden", "settings", "risks.tsv")
}
"""By the key of the setting."""
