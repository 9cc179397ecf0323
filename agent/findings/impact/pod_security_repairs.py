"""What to do about a workload that Pod Security rejects: first what keeps it running, then what makes it compliant."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, NamedTuple

from agent.base.repair import Answer, Decide, Instruction, Patch, Repair, Run, Set
from agent.base.value import Value
from agent.cluster.kubernetes.objects import as_list, as_mapping
from agent.cluster.kubernetes.pod_security import ENFORCE, PodSecurityLevel, merged_fix
from agent.harden.settings.schema import STAGES_UNTIL, PodSecurityStage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agent.base.model import Location
    from agent.base.repair import Step
    from agent.cluster.kubernetes.objects import Json, Workload
    from agent.cluster.kubernetes.pod_security import Violation
    from agent.cluster.kubernetes.rejected_workloads import RejectedWorkload
    from agent.harden.settings.schema import Settings

_USER = "Do the images of {} run as another user than root?"
_ADDRESS = "Does {} answer its probes and hooks at the address of the pod?"
_REQUIRED = "Does {} require {}?"
_QUESTIONS = {
    "runAsNonRoot": _USER,
    "runAsUser": _USER,
    "capabilities_restricted": _USER,
    "hostProbesAndHostLifecycle": _ADDRESS,
}
"""By rule, what has to be known before its fix: it can stop an image. The other fixes cannot."""
_CONSEQUENCES = {
    _USER: (
        "they start with these fields; a user that the image has by name also needs its number as runAsUser",
        "with these fields they do not start",
    ),
    _ADDRESS: ("the kubelet then asks that address", "the container would be restarted"),
}
_PATHS = {"CronJob": "spec.jobTemplate.spec.template", "Job": "", "Pod": ""}
"""Where the template of a kind is, by default spec.template; empty if it cannot change."""


class Otherwise(NamedTuple):
    """What to do about pods that need what a standard forbids."""

    consequence: str
    step: Step

    def answer(self, text: str, why: str = "") -> Answer:
        """Return the answer to a question after which this is done."""
        return Answer(text, f"{why}{self.consequence}", (self.step,))


class Stage(Value):
    """How the settings postpone the level of namespaces without a label."""

    settings: Settings
    until: str
    """The last day that is proposed, YYYY-MM-DD."""
    location: Location
    """The settings file."""
    level: PodSecurityStage = PodSecurityStage.WARN
    """A level that admits all workloads for which it is proposed."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The settings of the stage."""
        days = () if self.settings.stages_until else (Set(STAGES_UNTIL, self.until, self.location),)
        return (Set("stages.pod-security", self.level.value, self.location), *days)


def stage_level(found: Iterable[RejectedWorkload]) -> PodSecurityStage:
    """Return the strictest level that admits all workloads that patches correct later."""
    levels = {item.level for item in found if item.fix is not None}
    return PodSecurityStage.BASELINE if levels <= {PodSecurityLevel.BASELINE} else PodSecurityStage.WARN


def repair_of(found: RejectedWorkload, stage: Stage | None, users: Mapping[str, int]) -> Repair:
    """Return the steps, of which none stops a container.

    `stage` is None if the level is in effect already. `users` are those of the running containers, by name.
    """
    namespace = found.workload.namespace
    name = shlex.quote(namespace)
    undo = f"kubectl label namespace {name} {ENFORCE}-" if stage else ""
    label = Run(f"kubectl label --overwrite namespace {name} {ENFORCE}={found.label}", undo)
    otherwise = Otherwise("their namespace needs a level that admits them", label)
    steps = () if found.fix is None else corrections(found.title, found.workload, found.violations, otherwise, users)
    if stage is None:
        return Repair((label, *steps))
    if found.fix is None:
        names = ", ".join(dict.fromkeys((*stage.settings.exempt_namespaces, namespace)))
        exempt = Set("pod-security.exempt-namespaces", f"[{names}]", stage.location)
        return Repair((label,), alternative=Repair((exempt,)))
    return Repair((*stage.steps, *steps), alternative=Repair((label,)))


def corrections(
    title: str, workload: Workload, found: Sequence[Violation], otherwise: Otherwise, users: Mapping[str, int]
) -> Iterator[Step]:
    """Yield the steps that correct what a workload violates.

    `title` is the object that a person edits, and `workload` a controller, or a pod without one that is listed.
    """
    kind, _, name = workload.controller.partition(" ")
    if (workload.kind, kind) == ("ReplicaSet", "Deployment"):
        words = ("kubectl", "rollout", "status", f"deployment/{name}", "--namespace", workload.namespace)
        yield Run(" ".join(map(shlex.quote, words)))
        return
    path = _PATHS.get(workload.kind, "spec.template")
    numbers = _known_users(workload.template, users)
    asked = _by_question(found, is_user_known=numbers is not None)
    fixes = {question: merged_fix(workload.template, violations) for question, violations in asked.items()}
    if None in fixes.values():
        removed = Answer("No", "its pods start without", (Instruction(f"remove it from the manifest of {title}"),))
        yield Decide(_REQUIRED.format(title, _needed(found)), (otherwise.answer("Yes"), removed))
        return
    if not path:
        yield from _of_pods(title, workload, merged_fix(workload.template, found) or {}, otherwise)
        return
    owner = workload.owner or (workload.title if workload.controller else "")
    for question, violations in sorted(asked.items()):
        fields = dict(_fields(fixes[question] or {}, path))
        if not question and any(violation.rule == "runAsNonRoot" for violation in violations):
            # The kubelet cannot verify a user that the image has by name.
            fields.update({f"{path}.{key}": number for key, number in (numbers or {}).items()})
        patch = Patch(title, tuple(fields.items()), owner)
        if not question:
            yield patch
        elif question == _REQUIRED:
            without = Answer("No", "its pods start without", (patch,))
            yield Decide(question.format(title, _needed(violations)), (otherwise.answer("Yes"), without))
        else:
            yes, no = _CONSEQUENCES[question]
            yield Decide(question.format(title), (Answer("Yes", yes, (patch,)), otherwise.answer("No", f"{no}, so ")))


def _by_question(found: Iterable[Violation], *, is_user_known: bool) -> dict[str, list[Violation]]:
    """Return the violations by what has to be known before their fixes; empty if nothing has."""
    asked: dict[str, list[Violation]] = {}
    for violation in found:
        is_other = violation.asks and violation.rule != "runAsUser"
        question = _REQUIRED if is_other else _QUESTIONS.get(violation.rule, "")
        asked.setdefault("" if question == _USER and is_user_known else question, []).append(violation)
    if _REQUIRED in asked:
        # The API server rejects allowPrivilegeEscalation: false in a privileged container.
        asked[_REQUIRED] += asked.pop("", [])
    return asked


def _needed(found: Sequence[Violation]) -> str:
    """Return the fields that only a person can do without."""
    asked = [violation for violation in found if violation.asks or violation.fix is None] or found
    texts = ((violation.field.removeprefix("spec."), violation.found) for violation in asked)
    named = (f"{value} in {field}" if field.endswith((".add", "]")) else field for field, value in texts)
    return " and ".join(dict.fromkeys(named))


def _of_pods(title: str, workload: Workload, fix: Json, otherwise: Otherwise) -> Iterator[Step]:
    """Yield the steps for pods whose template cannot change.

    None deletes what an operator owns or what has a volume of its own: that can be deleted with it.
    """
    fields = tuple(_fields(fix, ""))
    keeps = otherwise.answer("No")
    if workload.controller:
        sets = Answer("Yes", "its operator creates the pods again", (Patch(f"pods of {title}", fields),))
        yield Decide(f"Does {title} have settings for these fields of its pods?", (sets, keeps))
    elif not workload.claims:
        ends = Answer("Yes", "what it has written is lost", (Patch(f"manifest of {title}", fields),))
        yield Decide(f"May {title} end, and be created again from a changed manifest?", (ends, keeps))


def _known_users(template: Mapping[str, Json], users: Mapping[str, int]) -> dict[str, str] | None:
    """Return the fields with the users of containers that have none; None unless all are known not to be root."""
    spec = as_mapping(template.get("spec"))
    found: dict[str, str] = {}
    for kind in ("containers", "initContainers"):
        for container in map(as_mapping, as_list(spec.get(kind))):
            contexts = (container.get("securityContext"), spec.get("securityContext"))
            given = [as_mapping(context).get("runAsUser") for context in contexts]
            number = next((user for user in given if user is not None), None)
            name = str(container.get("name"))
            if not (number or users.get(name)):
                return None
            if number is None:
                found[f"spec.{kind}[{name}].securityContext.runAsUser"] = str(users[name])
    return found


def _fields(patch: Json, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and value of each field of a strategic merge patch."""
    for key, value in as_mapping(patch).items():
        is_name = "." in key or "/" in key
        below = f"{path}[{key}]" if is_name else ".".join(filter(None, (path, key)))
        items = [as_mapping(item) for item in as_list(value)]
        if value and isinstance(value, dict):
            yield from _fields(value, below)
        elif items and all("name" in item for item in items):
            for item in items:
                rest = {name: inner for name, inner in item.items() if name != "name"}
                yield from _fields(rest, f"{below}[{item['name']}]")
        else:
            yield below, json.dumps(value)
