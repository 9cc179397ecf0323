"""Result of a check on one node."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from agent.assess.checks.unmet import UnmetRequirement, complete_steps, made_readable
from agent.base.model import StrEnum

if TYPE_CHECKING:
    from agent.base.model import Location
    from agent.k3s.components.arguments import GivenBy, UnknownArgument

STAT = "stat --format='%a %U:%G %n'"
UNDETERMINED = "could not be determined"
"""`found` of a check that has no evidence for an answer."""


APART = "listed apart: "
"""The start of an observation about an object that is on every K3s."""


class ControlStatus(StrEnum):
    """Status of a control. A control without evidence is UNKNOWN, never PASS."""

    PASS = "PASS"  # noqa: S105 - a status
    FAIL = "FAIL"
    WAIVED = "WAIVED"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    MANUAL = "MANUAL"
    UNKNOWN = "UNKNOWN"

    @property
    def is_open(self) -> bool:
        """Return whether the control still needs a fix, or could not be determined."""
        return self in (ControlStatus.FAIL, ControlStatus.UNKNOWN)


class Evidence(NamedTuple):
    """One observation on the host."""

    observation: str
    location: Location | None = None
    """The file or line that shows it."""
    source: str = ""
    """Where the observation is from, if it is not one file: "default of K3s v1.34.1 (…)", or a pattern of paths."""
    cluster_object: str = ""
    """The observed object of the cluster: its kind, namespace and name."""
    repeat_with: str = ""
    """The command that shows it, if it is not that of the object or file."""

    @property
    def repeated_by(self) -> str:
        """The command that shows the same on the node; empty if there is none."""
        command = self.repeat_with or kubectl_get(self.cluster_object)
        if command:
            return command
        if self.location is None:
            _, _, path = self.source.partition("://")[2].partition("/")
            return f"sudo k3s kubectl get --raw={quote(f'/{path}')}" if path and path != _REVIEWS else ""
        path, line = quote(str(self.location.path)), self.location.line
        if path.startswith("/proc/sys/"):
            return f"cat {path}"
        return f"sudo sed -n {line}p {path}" if line else f"sudo {STAT} {path}"


def grep_count(name: str, *paths: object) -> str:
    """Return the command that prints 0 if files, or those in directories, do not have a name."""
    return f"sudo grep --recursive --count {quote(name)} {' '.join(quote(str(path)) for path in paths)}"


def kubectl_get(title: str) -> str:
    """Return the command that prints an object, by its kind, namespace and name; empty if it is not one."""
    kind, _, path = title.partition(" ")
    namespace, _, name = path.rpartition("/")
    if not (kind.isalpha() and name) or kind in ("Group", "User"):
        return ""
    where = f" --namespace={quote(namespace)}" if namespace else ""
    return f"sudo k3s kubectl get {kind.lower()} {quote(name)}{where} --output=yaml"


_NOTHING = UnmetRequirement()
_REVIEWS = "apis/authorization.k8s.io/v1/subjectaccessreviews"
"""It has no objects to get."""


class Answer(NamedTuple):
    """What a check found on a node."""

    status: ControlStatus
    found: str = ""
    evidence: tuple[Evidence, ...] = ()
    reason: str = ""
    """Why the check is not applicable or has no answer, as a sentence without its period."""
    unmet: UnmetRequirement = _NOTHING
    given_by: GivenBy | None = None
    """Who set the effective value."""
    expected: str = ""
    """The requirement, if the check itself does not define it."""


def undetermined(why: UnknownArgument) -> Answer:
    """Return the answer for an argument whose value could not be determined."""
    evidence = (Evidence(why.observation, why.location),) if why.location else ()
    steps = why.steps or (made_readable(why.location.path) if why.location else ())
    return Answer(ControlStatus.UNKNOWN, UNDETERMINED, evidence, why.reason, complete_steps(*steps))
