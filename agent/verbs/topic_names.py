"""Topics of `explain`, and what a person can name them by: an ID, a number, a path, a key, a flag or a setting."""

from __future__ import annotations

import fnmatch
import re
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.benchmark import catalogue, descriptions
from agent.benchmark.versions import Benchmark
from agent.findings import KINDS
from agent.guide.controls import CONTROLS
from agent.guide.files import DirectoryRow, FileRow
from agent.guide.k3s_options import OptionRow
from agent.guide.sysctls import SYSCTLS
from agent.k3s.paths import DEFAULT_DATA_DIR
from agent.k3s.services import K3sUnit
from agent.model import NEWEST_KNOWN, Role
from agent.node.facts import assumed_facts
from agent.settings import schema as settings
from agent.settings.profiles import PRESETS
from agent.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent.benchmark.control import BenchmarkControl
    from agent.node.facts import HostFacts

SETTINGS = "settings"
"""The topic of all settings."""

PROFILES = tuple(profile.value for profile, presets in PRESETS.items() if presets)
"""The topics of the profiles that have presets."""

_SHORTEST_PART = 3
"""Characters of a part of an ID, such as psa; a shorter one is in too many of them."""
_LONGEST = 1000
"""Characters that are compared; every name is shorter."""

_NUMBER = re.compile(
    r"(?:cis[- ]?)?(?:(?P<benchmark>\d+\.\d+)[ /])?\s*(?P<number>[1-9](?:\.\d+){1,3})\.?", re.ASCII | re.IGNORECASE
)
_BENCHMARK = re.compile(r"(?:cis[- ]?)?(\d+\.\d+)", re.ASCII | re.IGNORECASE)
_COMPONENT_KEY = re.compile(r"(?:-\s+)?-{0,2}(?P<component>[a-z][a-z-]*)-arg(?:\s*[:=+]+\s*|\s+|$)(?P<argument>.*)")
_BELOW_DATA_DIR = ("server", "agent")
"""First parts of the paths below K3s' data directory."""
_UNITS = ("k3s.service", "k3s-agent.service")
_AGE = tuple(Benchmark)
"""The benchmarks, the oldest first."""


class Topic(NamedTuple):
    """Something that `explain` explains."""

    name: str
    title: str


def named(text: str) -> tuple[Topic, ...]:
    """Return the topics that a text names, the most likely ones if it is ambiguous.

    Those of a number begin with the one of the newest benchmark.
    """
    text = " ".join(text[:_LONGEST].split()).strip("`'\"")
    for way in _WAYS:
        found = tuple(dict.fromkeys(way(text)))
        if found:
            return found
    return ()


def with_benchmark(text: str) -> str:
    """Return a number that several benchmarks have with the newest of them; empty if the text is no such number."""
    match = _NUMBER.fullmatch(" ".join(text[:_LONGEST].split()))
    if not match or match["benchmark"]:
        return ""
    numbers = (
        benchmark
        for benchmark in reversed(_AGE)
        for row in catalogue.CATALOGUE
        if (known := row.numbers.get(benchmark)) and known.text == match["number"]
    )
    newest = next(numbers, None)
    return f"{newest}/{match['number']}" if newest else ""


def similar(text: str) -> list[str]:
    """Return names of topics, parameters and arguments that are similar to an unknown text."""
    import difflib

    part = re.split(r"[:=\s]", text.strip()[:_LONGEST].lstrip("-"))[0].lower().replace("_", "-")
    if not part:
        return []
    known = {name.lower().replace("_", "-"): name for name in (*titles(), *sorted(_arguments()), *sorted(_paths()))}
    # A part of an ID ("psa", "maxage") is more likely than a misspelling.
    inside = [name for key, name in known.items() if part in key][:3] if len(part) >= _SHORTEST_PART else []
    return inside or [known[key] for key in difflib.get_close_matches(part, known)]


@cache
def titles() -> Mapping[str, str]:
    """Return the title of each topic by name: controls of the guide, findings, other controls, and settings."""
    found = {SETTINGS: "All settings", **{name: f"Settings of the profile {name}" for name in PROFILES}}
    found |= {control.id: control.title for control in CONTROLS}
    found |= {kind.id: summary(kind.explanation) for kind in KINDS.values()}
    found |= {row.id: row.title for row in catalogue.CATALOGUE if row.id not in found}
    return {**{row.key: summary(row.description) for row in settings.setting_rows()}, **found}


def summary(text: str) -> str:
    """Return the first paragraph on one line."""
    return " ".join(text.split("\n\n", maxsplit=1)[0].split())


def related(name: str) -> tuple[Topic, ...]:
    """Return the other controls of the same argument, parameter or file."""
    arguments = {argument for argument, names in _arguments().items() if name in names}
    patterns = {pattern for pattern, names in _paths().items() if name in names}
    others = [other for argument in sorted(arguments) for other in _arguments()[argument]]
    others += [other for pattern in sorted(patterns) for other in _paths()[pattern]]
    return _topics(other for other in others if other != name)


def _topics(names: Iterable[str]) -> tuple[Topic, ...]:
    return tuple(Topic(name, titles()[name]) for name in dict.fromkeys(names))


def _by_name(text: str) -> Iterable[Topic]:
    return _topics(name for name in dict.fromkeys((text, text.lower(), text.lower().rstrip("/"))) if name in titles())[
        :1
    ]


def _by_number(text: str) -> Iterator[Topic]:
    match = _NUMBER.fullmatch(text)
    if match:
        number, benchmark = match["number"], f"cis-{match['benchmark'] or ''}"
        topics: list[tuple[Benchmark, Topic]] = []
        for row in catalogue.CATALOGUE:
            found = {
                at: known
                for at, known in row.numbers.items()
                if benchmark in ("cis-", at) and number in (known.text, known.section)
            }
            if found:
                by_number: dict[str, list[Benchmark]] = {}
                for at, known in found.items():
                    by_number.setdefault(known.text, []).append(at)
                where = "; ".join(f"{known} in {descriptions.benchmark_range(at)}" for known, at in by_number.items())
                topics.append((max(found, key=_AGE.index), Topic(row.id, f"{where}: {row.title}")))
        yield from (topic for _, topic in sorted(topics, key=lambda one: -_AGE.index(one[0])))


def _by_name_of_benchmark(text: str) -> Iterable[Topic]:
    return _by_benchmark(text) if text.lower().startswith("cis") else ()


def _by_benchmark(text: str) -> Iterator[Topic]:
    """Yield the controls of a benchmark."""
    match = _BENCHMARK.fullmatch(text)
    for benchmark in Benchmark:
        if match and benchmark == f"cis-{match[1]}":
            rows = (row for row in catalogue.controls_of(benchmark) if benchmark in row.numbers)
            yield from (Topic(row.id, f"{row.numbers[benchmark].text}: {row.title}") for row in rows)


def _by_component_argument(text: str) -> Iterable[Topic]:
    """Return the controls of `kube-apiserver-arg: name=value`, also as an option or an entry of a list."""
    match = _COMPONENT_KEY.fullmatch(text.replace("_", "-"))
    if not match:
        return ()
    name = _argument(match["argument"])
    of_component = _arguments(match["component"])
    return _topics(of_component.get(name, ()) if name else (one for names in of_component.values() for one in names))


def _by_parameter(text: str) -> Iterable[Topic]:
    """Return kernel parameters, as sysctl(8) or /proc/sys names them, or all below a part of their names."""
    key = text.removeprefix("sysctl ").removeprefix("-w ").partition("=")[0].strip().removeprefix("/proc/sys/")
    key = key.replace("/", ".").strip(".")
    keys = [row.key for row in SYSCTLS]
    return _topics(one for one in keys if one == key or one.startswith(f"{key}.") or one.endswith(f".{key}"))


def _by_setting(text: str) -> Iterable[Topic]:
    key = re.split(r"[:=\s]", text)[0].replace("_", "-").lower()
    keys = [row.key for row in settings.setting_rows()]
    return _topics(one for one in keys if one == key or one.startswith(f"{key}."))


def _by_argument(text: str) -> Iterable[Topic]:
    return _topics(_arguments().get(_argument(text), ()))


def _argument(text: str) -> str:
    """Return the name of an argument: without dashes before it, underscores, a value, or the signs of YAML."""
    return re.split(r"[=:\s]", text.lstrip("-[ \"'"))[0].rstrip("]\"'+").replace("_", "-").lower()


@cache
def _arguments(component: str = "") -> Mapping[str, tuple[str, ...]]:
    """Return the controls of each argument, K3s option and key, of one component or of all."""
    found: dict[str, list[str]] = {}
    for control in CONTROLS:
        if isinstance(control, OptionRow) and component in ("", control.key.removesuffix("-arg")):
            found.setdefault(control.name or control.key, []).append(control.id)
    for row in catalogue.CATALOGUE:
        components = {one.component.value for one in row.check.arguments}
        if not component or component in components:
            for name in row.check.names:
                found.setdefault(name.lstrip("-"), []).append(row.id)
    return {name: tuple(dict.fromkeys(ids)) for name, ids in found.items()}


def _by_path(text: str) -> Iterable[Topic]:
    """Return the controls of a file or directory, of those below it, and the settings for their file."""
    path = PurePosixPath(text)
    if path == settings.DEFAULT_SETTINGS:
        return _topics([SETTINGS])
    found = {pattern: names for pattern, names in _paths().items() if _matches(path, pattern)}
    # Without its directory, a name such as 90-kubelet.conf also matches patterns for other directories.
    exact = [] if path.is_absolute() else [names for pattern, names in found.items() if "*" not in pattern]
    matching = exact or list(found.values())
    if not matching and path.is_absolute():
        above = tuple(f"{one}/" for one in _tails(path))
        matching = [names for pattern, names in _paths().items() if pattern.startswith(above)]
    return _topics(name for names in matching for name in names)


def _matches(path: PurePosixPath, pattern: str) -> bool:
    if path.is_absolute():
        return any(re.fullmatch(_expression(pattern), one) for one in _tails(path))
    # A file name, or the end of a path.
    parts, of_pattern = path.parts, PurePosixPath(pattern).parts
    if not parts or len(parts) > len(of_pattern) or of_pattern[-1].strip("*") == "":
        return False
    return all(fnmatch.fnmatchcase(one, other) for one, other in zip(reversed(parts), reversed(of_pattern)))


def _tails(path: PurePosixPath) -> tuple[str, ...]:
    """Return a path, and what it is relative to any directory that can be K3s' data directory."""
    parts = path.parts
    starts = (at for at, part in enumerate(parts) if part in _BELOW_DATA_DIR)
    return (str(path), *("/".join(parts[at:]) for at in starts))


def _expression(pattern: str) -> str:
    """Return a regular expression for a pattern of checks.files.FileCheck."""
    expression = ""
    for part in re.split(r"(\*\*/|\*\*|\*)", pattern):
        expression += {"**/": "(?:[^/]+/)*", "**": ".+", "*": "[^/]*"}.get(part, re.escape(part))
    return expression


@cache
def _paths() -> Mapping[str, tuple[str, ...]]:
    """Return the controls of each path or pattern: absolute, or relative to K3s' data directory."""
    found: dict[str, list[str]] = {}
    for control in CONTROLS:
        if isinstance(control, (FileRow, DirectoryRow)):
            found.setdefault(str(control.path), []).append(control.id)
    units = {Role.SERVER: _UNITS[0], Role.AGENT: _UNITS[1]}
    for role, name in units.items():
        facts = assumed_facts(role, NEWEST_KNOWN)
        unit = PurePosixPath("/etc/systemd/system", name)
        environment = unit.with_name(f"{name}.env")
        facts = replace(
            facts,
            units=(K3sUnit(unit, PurePosixPath("/usr/local/bin/k3s"), role, (), {}, environment_files=(environment,)),),
        )
        for row in catalogue.CATALOGUE:
            for path in _files_of(row, facts):
                found.setdefault(path, []).append(row.id)
    return {path: tuple(dict.fromkeys(ids)) for path, ids in found.items()}


def _files_of(row: BenchmarkControl, facts: HostFacts) -> Iterator[str]:
    for query in row.check.files(facts):
        for path in query.paths:
            yield path.removeprefix(f"{DEFAULT_DATA_DIR}/")


_WAYS = (
    _by_name,
    _by_name_of_benchmark,
    _by_number,
    _by_benchmark,
    _by_component_argument,
    _by_parameter,
    _by_setting,
    _by_path,
    _by_argument,
)
"""From the most to the least certain; the first that finds a topic counts."""
