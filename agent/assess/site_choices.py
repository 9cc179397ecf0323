"""What a site chose instead of the whole benchmark: waivers, stages, and settings that leave controls open. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.harden.settings.profiles import PRESETS
from agent.harden.settings.schema import Profile, setting_rows

if TYPE_CHECKING:
    from agent.harden.situation import Situation


class SiteChoices(NamedTuple):
    """What a site chose for a host."""

    profile: str = Profile.GUIDE.value
    waived: int = 0
    """Waivers that apply to this host."""
    postponed: int = 0
    """Parts that a stage postpones on this host."""
    until: str = ""
    """The last day of the stages, YYYY-MM-DD in UTC; empty without a stage."""
    waivers: tuple[str, ...] = ()
    """All waivers of the settings, also those of other hosts: the servers of a cluster need the same."""
    stages: tuple[str, ...] = ()
    not_chosen: frozenset[str] = frozenset()
    """Keys of the settings with their default values, which leave their controls open."""
    set_by_strict: frozenset[str] = frozenset()
    """Those of them that the profile strict sets; empty with that profile."""
    waived_until: str = ""
    """The last day of the applying waiver that ends first; empty if none ends."""
    observes_since: str = ""
    """The day since which the gate observes; empty if it blocks an unhardened K3s."""

    def digests(self) -> dict[str, str]:
        """Return the first 16 digits of the SHA-256 of all waivers, and of all stages."""
        from hashlib import sha256

        texts = {"waivers": self.waivers, "stages": self.stages}
        return {name: sha256("\n".join(lines).encode()).hexdigest()[:16] for name, lines in texts.items()}


def choices_of(situation: Situation) -> SiteChoices:
    """Return what the settings of a host chose."""
    settings, waivers, stages = situation.settings, situation.waivers, situation.stages
    not_chosen = frozenset(row.key for row in setting_rows() if not row.differs_from_default(settings))
    stricter = PRESETS[Profile.STRICT] if settings.profile is not Profile.STRICT else ()
    applying = [waiver for waiver in waivers.all if waivers.scope.applies(waiver)]
    return SiteChoices(
        settings.profile.value,
        len(applying),
        len(stages),
        settings.stages_until or "" if stages else "",
        tuple(sorted(f"{waiver}; {waiver.role or 'all'}; {waiver.host}" for waiver in waivers.all)),
        tuple(f"{stage}; {stage.until}" for stage in stages),
        not_chosen,
        not_chosen.intersection(preset.setting for preset in stricter),
        min((waiver.expires for waiver in applying if waiver.expires), default=""),
        situation.gate_observes_since,
    )
