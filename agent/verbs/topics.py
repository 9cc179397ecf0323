"""Topics of `explain`, and the texts that name them: IDs, numbers, paths, kernel parameters, keys and arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.assess.benchmark import catalogue
from agent.base.value import replace
from agent.findings import KINDS
from agent.harden.guide.controls import CONTROLS
from agent.harden.guide.guide_files import DirectoryRow, FileRow
from agent.harden.guide.k3s_options import OptionRow
from agent.harden.node.facts import assumed_facts
from agent.harden.settings import schema as settings
from agent.harden.settings.profiles import PRESETS
from agent.k3s.cis.versions import Benchmark
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, NEWEST_KNOWN, Role
from agent.k3s.services import K3sUnit, ServiceSettings

SETTINGS = "settings"
FINDINGS = "findings"
EXIT_CODES = "exit-codes"
"""The topics that list all settings, findings and exit codes."""

PROFILES = tuple(profile.value for profile, presets in PRESETS.items() if presets)
"""The topics of the profiles that have presets."""

_SHORTEST_PART = 3
"""Characters of a part of a name or title, such as psa; a shorter one is in too many of them."""
_LONGEST = 1000
"""Characters that are compared; every name is shorter."""

_NUMBER = re.compile(r"(?:cis[- ]?)?(?:(\d+\.\d+)[ /])?([1-9](?:\.\d+){1,3})\.?", re.ASCII)
_UNITS = {Role.SERVER: "k3s.service", Role.AGENT: "k3s-agent.service"}


class Topic(NamedTuple):
    """Something that `explain` explains."""

    name: str
    title: str


@cache
def titles() -> Mapping[str, str]:
    """Return the title of each topic by name: controls of the guide, findings, other controls, and settings."""
    lists = {SETTINGS: "All settings", FINDINGS: "All findings", EXIT_CODES: "The meaning of each exit code"}
    profiles = {name: f"Settings of the profile {name}" for name in PROFILES}
    kinds = {kind.id: summary(kind.explanation) for kind in KINDS.values()}
    controls = {row.id: row.title for row in CONTROLS}
    others = {row.id: row.title for row in catalogue.all_controls() if row.id not in controls}
    keys = {row.key: summary(row.description) for row in settings.setting_rows() if row.key not in controls | others}
    return {**controls, **kinds, **others, **lists, **profiles, **keys}


def summary(text: str) -> str:
    """Return the first paragraph on one line."""
    return " ".join(text.split("\n\n", maxsplit=1)[0].split())


def named(text: str) -> tuple[Topic, ...]:
    """Return the topics that a text names, as it is written in a report, a benchmark, a command or a file."""
    text = " ".join(text[:_LONGEST].split()).strip("`'\"")
    by_number = tuple(_by_number(text.lower()))
    if by_number:
        return by_number
    for name in _spellings(text):
        found = (name,) if name in titles() else _by_key().get(name) or _by_path(name)
        if found:
            return _topics(found)
    return ()


def containing(text: str) -> tuple[Topic, ...]:
    """Return the topics of whose names, titles, paths and arguments a text is a part."""
    part = text[:_LONGEST].strip().lower()
    if len(part) < _SHORTEST_PART:
        return ()
    by_key = {name for key, names in _by_key().items() if part in key for name in names}
    return tuple(Topic(*row) for row in titles().items() if row[0] in by_key or part in " ".join(row).lower())


def similar(text: str) -> list[str]:
    """Return names of topics, paths and arguments that are similar to an unknown text."""
    import difflib

    return difflib.get_close_matches(tuple(_spellings(text[:_LONGEST]))[-1], {*titles(), *_by_key()})


def related(name: str) -> tuple[Topic, ...]:
    """Return the other controls of the same argument, parameter or file."""
    return _topics(other for names in _by_key().values() if name in names for other in names if other != name)


def _topics(names: Iterable[str]) -> tuple[Topic, ...]:
    return tuple(Topic(name, titles()[name]) for name in dict.fromkeys(names))


def _spellings(text: str) -> Iterator[str]:
    """Yield the names that a text can mean: the text, a kernel parameter, an argument or key without its value."""
    text = text.rstrip("/")
    yield text
    yield text.lower()
    yield re.sub(r"[ _]", "-", text.lower())
    parameter = text.removeprefix("sysctl ").removeprefix("-w ").partition("=")[0].strip()
    yield parameter.removeprefix("/proc/sys/").replace("/", ".")
    argument = re.sub(r"^[\W_]*[a-z-]+-arg\b[\W_]*", "", text.lower().replace("_", "-")).lstrip("-[ \"'")
    yield re.split(r"[=:\s\]\"'+]", argument)[0]


def _by_number(text: str) -> Iterator[Topic]:
    """Yield the controls with a number of one benchmark or of all, or those of a benchmark."""
    if text in Benchmark.__members__.values():
        for row in catalogue.controls_of(Benchmark(text)):
            if Benchmark(text) in row.numbers:
                yield Topic(row.id, f"{row.numbers[Benchmark(text)].text}: {row.title}")
        return
    match = _NUMBER.fullmatch(text)
    for row in catalogue.all_controls() if match else ():
        known = [
            benchmark
            for benchmark, number in row.numbers.items()
            if match and match[2] in (number.text, number.section) and match[1] in (None, benchmark[len("cis-") :])
        ]
        if known:
            yield Topic(row.id, f"{catalogue.benchmark_range(known)}: {row.title}")


def _by_path(text: str) -> tuple[str, ...]:
    """Return the controls of a file or directory, which can be below any data directory, or be the end of a path."""
    if text == str(settings.DEFAULT_SETTINGS):
        return (SETTINGS,)
    found: list[str] = []
    for pattern, names in _by_key().items():
        anywhere = pattern if pattern.startswith("/") else f"*/{pattern}"
        is_end = text[-1:].isalnum() and pattern.endswith(f"/{text}")
        if "/" in pattern and (is_end or fnmatchcase(text, anywhere.replace("**/", "*"))):
            found += names
    return tuple(found)


@cache
def _by_key() -> Mapping[str, tuple[str, ...]]:
    """Return the controls of each argument, K3s option and path; a path below K3s' data directory is relative."""
    found: dict[str, list[str]] = {}
    for control in CONTROLS:
        if isinstance(control, (FileRow, DirectoryRow)):
            found.setdefault(str(control.path), []).append(control.id)
        if isinstance(control, OptionRow):
            found.setdefault(control.name or control.key, []).append(control.id)
    for row in catalogue.all_controls():
        for name in row.check.names:
            found.setdefault(name.lstrip("-"), []).append(row.id)
    for role, name in _UNITS.items():
        unit = PurePosixPath("/etc/systemd/system", name)
        environment = unit.with_name(f"{name}.env")
        program = PurePosixPath("/usr/local/bin/k3s")
        facts = replace(
            assumed_facts(role, NEWEST_KNOWN),
            units=(K3sUnit(unit, program, role, (), {}, ServiceSettings(()), (environment,)),),
        )
        for row in catalogue.all_controls():
            for query in row.check.files(facts):
                for path in query.paths:
                    found.setdefault(path.removeprefix(f"{DEFAULT_DATA_DIR}/"), []).append(row.id)
    return {key: tuple(dict.fromkeys(names)) for key, names in found.items()}
