"""Result of a check on one node, and what has to change if a requirement is not met: where, and who may change it."""

from __future__ import annotations

from enum import Enum
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from agent.assess.checks.evidence import UnknownCause
from agent.base.model import StrEnum
from agent.base.repair import Instruction, Restart, RunVerb
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePosixPath

    from agent.assess.checks.evidence import UnknownFile
    from agent.base.model import Location
    from agent.base.repair import Step
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


class ChangedBy(Enum):
    """Who may change what does not meet a requirement."""

    APPLY = "apply, which changes it in its next run"
    SITE = "the site, by the setting of the control or by hand"
    OPERATOR = "the operator by hand, because no setting overrides the value"
    RANCHER = "Rancher, by the Cluster object"
    K3S = "K3s, when it starts"


class UnmetRequirement(Value):
    """A requirement that is not met. `assess.verdict` makes its remediation from this value and the control alone."""

    edits: tuple[Step, ...] = ()
    """What has to change, and where; empty if only the control knows."""
    changed_by: ChangedBy = ChangedBy.SITE
    before_apply: tuple[Instruction, ...] = ()
    """Edits without which `apply` and a setting have no effect."""
    then: tuple[Step, ...] = ()
    """Steps after the edits, or after the steps of the control."""
    restart: Restart = Restart.NOT_NEEDED
    is_complete: bool = False
    """Whether the edits are the whole remediation, without the caution and the setting of the control."""


def complete_steps(*edits: Step, restart: Restart = Restart.NOT_NEEDED) -> UnmetRequirement:
    """Return the whole remediation of what is broken, could not be determined, or needs a person."""
    return UnmetRequirement(edits, ChangedBy.OPERATOR, restart=restart, is_complete=True)


def all_of(unmet: Sequence[UnmetRequirement]) -> UnmetRequirement:
    """Return several requirements of one control as one."""
    parties = {requirement.changed_by for requirement in unmet}
    mixed = ChangedBy.RANCHER if ChangedBy.RANCHER in parties else ChangedBy.OPERATOR
    return UnmetRequirement(
        tuple(dict.fromkeys(step for requirement in unmet for step in requirement.edits)),
        parties.pop() if len(parties) == 1 else mixed,
        tuple(dict.fromkeys(step for requirement in unmet for step in requirement.before_apply)),
        tuple(dict.fromkeys(step for requirement in unmet for step in requirement.then)),
        max((requirement.restart for requirement in unmet), key=list(Restart).index),
        any(requirement.is_complete for requirement in unmet),
    )


def determined(unknown: UnknownFile) -> tuple[Step, ...]:
    """Return the steps for a file that could not be read. Root has access that this user does not have."""
    if unknown.cause is UnknownCause.DANGLING:
        return Instruction(f"create the target of the symlink {unknown.path}, or remove it"), RunVerb("assess")
    return (RunVerb("assess"),) if unknown.cause is UnknownCause.DENIED else made_readable(unknown.path)


def made_readable(path: PurePosixPath, kind: str = "file") -> tuple[Step, ...]:
    """Return the steps for a file that could not be read, or that is something else."""
    return Instruction(f"make {path} a {kind} that root can read"), RunVerb("assess")


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


NO_ANSWER = Answer(ControlStatus.UNKNOWN, UNDETERMINED, reason="the API server did not answer")
"""The answer if the API server was asked about a cluster."""
