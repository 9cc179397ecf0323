"""What a settings file means, and a sample of one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from agent.assess.provenance import shown_settings
from agent.base.host import Host
from agent.harden.node.site_files import read_site
from agent.harden.settings.schema import DEFAULT_SETTINGS, Overrides, example_settings, setting_row, stage_rows
from agent.reports.text import count_of

_SAMPLE = f"""\
# {DEFAULT_SETTINGS}: the settings of k3s-harden. All are optional.
# Each value is an example. Remove the # before a key, and before the key of its section, to set it.
# `k3s-harden settings check FILE` says what a file means.

"""


def meaning(host: Host, path: PurePosixPath) -> Iterator[str]:
    """Yield the profile, changed settings, waivers and stages of a settings file, and of the files that it names.

    Raises InputError if one of them is invalid.
    """
    site = read_site(host, path, Overrides())
    settings = site.settings
    stages = {row.key for row in stage_rows() if row.differs_from_default(settings)}
    own = {"profile", "waivers", "stages.until", *stages}
    yield f"profile {settings.profile}"
    changed = dict(shown_settings(settings))
    rows = [(setting_row(key), value) for key, value in changed.items() if key not in own]
    for row, value in rows:
        source = f"by the profile {settings.profile}" if row.name in settings.from_profile else f"default {row.default}"
        yield f"set {row.key}: {value} ({source})"
    for waiver in site.waivers:
        where = (f"role {waiver.role}" if waiver.role else "", f"hosts {waiver.host}" if waiver.host else "")
        yield f"waived {'; '.join(filter(None, (str(waiver), *where)))}"
    for key in sorted(stages):
        yield f"postponed {key}: {changed[key]}; until {settings.stages_until}"
    counts = (count_of(len(rows), "changed setting"), count_of(len(site.waivers), "waiver"))
    yield f"result 0: {path} is valid; {', '.join((*counts, count_of(len(stages), 'stage')))}"


def sample() -> str:
    """Return a settings file with every setting and its meaning, each as a comment."""
    return _SAMPLE + example_settings(commented=True)
