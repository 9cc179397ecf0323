"""K3s version on this host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from agent.base.errors import HostError, UsageError
from agent.base.host import Host
from agent.base.model import Location
from agent.base.repair import Answer, Decide, RunVerb, Step
from agent.base.value import Value, replace
from agent.k3s.roles_and_versions import NEWEST_KNOWN, OLDEST_COVERED, Version
from agent.k3s.services import K3sUnit

_TIMEOUT = 3.0
"""Seconds for a program whose version a setting or a record has, too."""
_PATIENCE = 15.0
"""Seconds for another program. It prints its version without unpacking itself, but a slow disk has to load it."""


def require_covered(version: Version) -> None:
    """Raise UsageError for a version that is older than the guide."""
    if version.minor < OLDEST_COVERED.minor:
        raise UsageError(
            f"cannot use K3s {version}: k3s-harden requires v{OLDEST_COVERED.family} or newer",
            "upgrade K3s; if it is newer, correct the version, which needs quotes in YAML: there 1.30 is 1.3",
        )


def question(verb: str, setting: Callable[[str], Step] | None = None) -> Decide:
    """Return the question for a version that is not known, with the run of a verb that records the answer.

    No run on a host tree records it, so there it is a setting.
    """
    newest = f"v{NEWEST_KNOWN.family}"
    minors = ((newest, "it has no PodSecurityPolicies"), ("v1.24", "it keeps its PodSecurityPolicies"))

    def given(minor: str) -> tuple[Step, ...]:
        return (setting(minor), RunVerb(verb)) if setting else (RunVerb(verb, (f"--k3s-version {minor}",)),)

    answers = (Answer(minor, why, given(minor)) for minor, why in minors)
    return Decide(f"Which version of K3s starts on this host, of v{OLDEST_COVERED.family} to {newest}?", tuple(answers))


class RecordedVersion(Value):
    """The K3s version that a successful run recorded."""

    version: Version
    day: str
    """The day of that run, YYYY-MM-DD in UTC."""
    program: str
    """The identity of the program that printed the version; empty if it is not known."""


class GivenVersion(Value):
    """The K3s version of the settings or of `--k3s-version`."""

    version: Version
    name: str
    """What gives it, as a reader knows it."""
    location: Location | None
    """The settings file; None for the command line."""
    decides: bool
    """Whether it overrides the version of the program, as for an upgrade that follows."""


class PrintedVersion(Value):
    """The version that the program of K3s' service prints, or printed before it was recorded."""

    version: Version
    program: PurePosixPath
    identity: str
    """The identity of the program; empty if it cannot be identified."""


class KnownVersion(Value):
    """The K3s version of this host."""

    version: Version | None
    """None if it is unknown."""
    source: str
    recorded: str = ""
    """The day of the run that recorded it, if K3s did not answer."""
    printed: PrintedVersion | None = None
    """None if no program prints it. It differs from `version` if a given version decides."""
    unanswered: bool = False
    """Whether K3s is installed and printed no version, and nothing else has it."""
    given: GivenVersion | None = None
    """That of the settings or of the command line; None if there is none."""


def detect_version(
    host: Host, unit: K3sUnit | None, last: RecordedVersion | None, given: GivenVersion | None
) -> KnownVersion:
    """Return the version of the program that K3s' service starts, or else the given or the recorded one.

    The file on disk counts, not the running process: it is what starts next. A setting can be older than an upgrade, so
    it counts only if no program printed a version, now or before the last successful run.
    """
    timeout = _PATIENCE if last is None and given is None else _TIMEOUT
    installed = replace(_installed(host, unit, last, timeout), given=given)
    if given is None:
        return installed
    was_printed = last is not None and last.program != "" and installed.recorded != ""
    if not given.decides and (installed.printed is not None or was_printed):
        return installed
    return KnownVersion(given.version, "given", printed=installed.printed, given=given)


def _installed(host: Host, unit: K3sUnit | None, last: RecordedVersion | None, timeout: float) -> KnownVersion:
    if not host.is_live:
        return KnownVersion(None, "programs in a host tree are not run")
    binary = unit.binary if unit and unit.binary.is_absolute() else host.tool("k3s")
    if binary is None and last is not None and not last.program:
        return KnownVersion(last.version, f"last successful run, {last.day}; K3s is not installed")
    if binary is None:
        return KnownVersion(None, "K3s is not installed")
    return _of_program(host, binary, last, timeout)


def _of_program(host: Host, binary: PurePosixPath, last: RecordedVersion | None, timeout: float) -> KnownVersion:
    """Return the version of the program, which does not run if it is the one whose version was recorded."""
    problem = _distrust(host, binary)
    # Read before the program runs: a program that is replaced in the meantime is asked again by the next run.
    identity = "" if problem else host.tree.program_identity(binary)
    if last is not None and identity and identity == last.program:
        source = f"{binary} --version, recorded on {last.day}; the program has not changed since"
        return KnownVersion(last.version, source, printed=PrintedVersion(last.version, binary, identity))
    answer = problem or _ask(host, binary, timeout)
    if isinstance(answer, Version):
        return KnownVersion(answer, f"{binary} --version", printed=PrintedVersion(answer, binary, identity))
    if last is None:
        is_there = host.tree.exists(binary)
        return KnownVersion(None, answer, unanswered=is_there)
    return KnownVersion(last.version, f"last successful run, {last.day}; {answer}", last.day)


def _distrust(host: Host, binary: PurePosixPath) -> str:
    """Return why the program is not run; empty if it can be."""
    if not host.tree.exists(binary):
        return f"{binary} does not exist"
    problem = host.tree.trust_problem(binary)
    return problem and f"{binary} is not run, because {problem}"


def _ask(host: Host, binary: PurePosixPath, timeout: float) -> Version | str:
    """Return the version that the program prints, or why it has none."""
    try:
        # `k3s version v1.36.5+k3s1 (3dd98cc5)`, then a line with Go's version.
        return Version.parse(host.ask_once([str(binary), "--version"], timeout=timeout).stdout.split()[2])
    except HostError as error:
        return error.message
    except (ValueError, IndexError):
        return f"{binary} --version printed no valid version"
