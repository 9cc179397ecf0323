"""Result of a check on one node, and what a running node shows beside what its configuration says."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from agent.assess.checks.evidence import UnknownCause, UnknownFile
from agent.base.model import Location, StrEnum
from agent.base.repair import NO_REPAIR, Decide, Repair, Run, RunVerb, Step
from agent.base.repair import Answer as Choice
from agent.base.repair import moved_away as renamed
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import PurePosixPath

    from agent.k3s.components.effective_arguments import GivenBy, UnknownArgument

STAT = "stat --format='%a %U:%G %n'"
UNDETERMINED = "could not be determined"
"""`found` of a check that has no evidence for an answer."""


LISTED_APART = "listed apart: "
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


WORST_FIRST = (ControlStatus.FAIL, ControlStatus.UNKNOWN, ControlStatus.PASS, ControlStatus.NOT_APPLICABLE)
"""The order in which one of several observations decides."""


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
    def origin(self) -> str:
        """Its location, or else its source."""
        return str(self.location or self.source)

    @property
    def line(self) -> str:
        """The evidence as one line."""
        return ": ".join(filter(None, (self.origin, self.observation)))

    @property
    def repeated_by(self) -> str:
        """The command that shows the same on the node; empty if there is none."""
        command = self.repeat_with or kubectl_get(self.cluster_object)
        if command:
            return command
        if self.location is None:
            _, _, path = self.source.partition("://")[2].partition("/")
            return _kubectl_list(path) if path and path != _REVIEWS else ""
        path, line = quote(str(self.location.path)), self.location.line
        if path.startswith("/proc/sys/"):
            return f"cat {path}"
        return f"sudo sed -n {line}p {path}" if line else f"sudo {STAT} {path}"


_IN_NAMESPACE = 2
_WITH_SECRETS = frozenset({"Secret", "ConfigMap"})
_TEMPLATES = {
    "Pod": ".spec",
    "CronJob": ".spec.jobTemplate.spec.template.spec",
    **dict.fromkeys(
        ("Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "ReplicationController", "Job"), ".spec.template.spec"
    ),
}
"""Where the specification of pods is, by the kind of a workload."""
_POD_FIELDS = (
    *("hostNetwork", "hostPID", "hostIPC", "hostUsers", "serviceAccountName", "automountServiceAccountToken"),
    *("securityContext", "volumes"),
)
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def grep_count(name: str, *paths: object) -> str:
    """Return the command that prints 0 if files, or those in directories, do not have a name."""
    return f"sudo grep --recursive --count {quote(name)} {' '.join(quote(str(path)) for path in paths)}"


def _kubectl_list(path: str) -> str:
    """Return the command that prints the list at a path as a table, which has no content of Secrets."""
    words = path.removeprefix("api/v1/").split("/")
    if words[0] == "apis":
        words = words[3:]
    if words[0] == "namespaces" and len(words) > _IN_NAMESPACE:
        return f"sudo k3s kubectl get {words[2]} --namespace={words[1]}"
    if len(words) == 1 and path.startswith("api"):
        return f"sudo k3s kubectl get {words[0]} --all-namespaces"
    return f"sudo k3s kubectl get --raw={quote(f'/{path}')}"


def kubectl_get(title: str) -> str:
    """Return the command that prints an object, by its kind, namespace and name; empty if it is not one.

    Of a Secret, it prints only the type and the number of keys; of a workload, no value of a variable.
    """
    kind, _, path = title.partition(" ")
    namespace, _, name = path.rpartition("/")
    if not (kind.isalpha() and name) or kind in ("Group", "User"):
        return ""
    where = f" --namespace={quote(namespace)}" if namespace else ""
    output = "" if kind in _WITH_SECRETS else " --output=yaml"
    if kind in _TEMPLATES:
        at = _TEMPLATES[kind]
        fields = "".join(f"{name}={{{at}.{name}}} " for name in _POD_FIELDS)
        inner = "{.name}{' '}{.securityContext}{' '}{.ports}{' '}{.env[*].valueFrom}{' '}{.envFrom}{'\\n'}"
        parts = "".join(f"{{range {at}.{name}[*]}}{inner}{{end}}" for name in _CONTAINERS)
        output = " --output=jsonpath=" + quote(f"{fields}{{'\\n'}}{parts}")
    return f"sudo k3s kubectl get {kind.lower()} {quote(name)}{where}{output}"


def determined(unknown: UnknownFile) -> Repair:
    """Return what makes a file known that could not be read. Root has access that this user does not have."""
    if unknown.cause is UnknownCause.DANGLING:
        return Repair((Run(f"sudo rm {quote(str(unknown.path))}"), RunVerb("assess")))
    return Repair((RunVerb("assess"),)) if unknown.cause is UnknownCause.DENIED else moved_away(unknown.path)


def moved_away(path: PurePosixPath) -> Repair:
    """Return what to do about a path that root cannot read, such as one with something else than a file."""
    question = f"Does K3s or another program need what is at {path}?"
    needed = Choice("Yes", "the control stays unknown", ())
    return Repair((Decide(question, (Choice("No", "it is moved away", (renamed(path), RunVerb("assess"))), needed)),))


_REVIEWS = "apis/authorization.k8s.io/v1/subjectaccessreviews"
"""It has no objects to get."""


class Answer(NamedTuple):
    """What a check found on a node."""

    status: ControlStatus
    found: str = ""
    evidence: tuple[Evidence, ...] = ()
    reason: str = ""
    """Why the check is not applicable or has no answer, as a sentence without its period."""
    repair: Repair = NO_REPAIR
    """What to do if the control is open, or needs a person."""
    given_by: GivenBy | None = None
    """Who set the effective value."""
    expected: str = ""
    """The requirement, if the check itself does not define it."""
    awaits_start: bool = False
    """Whether K3s has to start before there is evidence."""
    awaits: Location | None = None
    """What has to be corrected before there is evidence."""


def undetermined(why: UnknownArgument) -> Answer:
    """Return the answer for an argument whose value could not be determined."""
    evidence = (Evidence(why.observation, why.location),) if why.location else ()
    unread = moved_away(why.location.path) if why.location else NO_REPAIR
    repair = Repair(why.steps) if why.steps else unread
    return Answer(ControlStatus.UNKNOWN, UNDETERMINED, evidence, why.reason, repair, awaits=why.awaits)


NO_ANSWER = Answer(ControlStatus.UNKNOWN, UNDETERMINED, reason="the API server did not answer")
"""The answer if the API server was asked about a cluster."""


class Effect(Value):
    """One requirement with what the node shows of it."""

    subject: str
    configured: str
    status: ControlStatus
    """FAIL if it is not in force; UNKNOWN if it could not be looked at here."""
    observed: str
    """With UNKNOWN, the reason."""
    command: str = ""
    """Shows it on the node."""
    controls: tuple[str, ...] = ()
    """The IDs of the controls that it confirms or refutes."""
    steps: tuple[Step, ...] = ()
    """What to do if it is not in force."""


def observed(control: str, answer: Answer, effects: Iterable[Effect]) -> tuple[Answer, ControlStatus | None]:
    """Return the answer of a control with its effects as evidence, and whether they are in force; None without any.

    A control that passes by its configuration fails if an effect is not in force.
    """
    own = [effect for effect in effects if control in effect.controls]
    for effect in own:
        text, source = f"{effect.subject}: {effect.observed}", f"in force: {effect.status}"
        shown = Evidence(text, source=source, repeat_with=effect.command)
        answer = answer._replace(evidence=(*answer.evidence, shown))
        if effect.status is ControlStatus.FAIL and answer.status is ControlStatus.PASS:
            repair = Repair(tuple(effect.steps))
            answer = answer._replace(status=ControlStatus.FAIL, found=effect.observed, repair=repair)
    return answer, min((effect.status for effect in own), key=WORST_FIRST.index, default=None)
