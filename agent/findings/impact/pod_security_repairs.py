"""What to do about a workload that Pod Security rejects: first what keeps it running, then what makes it compliant."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from agent.base.repair import Answer, Decide, Patch, Repair, Run, Set
from agent.base.value import Value
from agent.cluster.kubernetes.objects import as_list, as_mapping
from agent.cluster.kubernetes.pod_security import ENFORCE, PodSecurityLevel, merged_fix
from agent.harden.settings.schema import STAGES_UNTIL, PodSecurityStage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent.base.model import Location
    from agent.base.repair import Step
    from agent.cluster.kubernetes.objects import Json
    from agent.cluster.kubernetes.pod_security import Violation
    from agent.cluster.kubernetes.rejected_workloads import RejectedWorkload
    from agent.harden.settings.schema import Settings

_USER = "Do the images of {} run as another user than root?"
_ADDRESS = "Does {} answer its probes and hooks at the address of the pod?"
_QUESTIONS = {"runAsNonRoot": _USER, "capabilities_restricted": _USER, "hostProbesAndHostLifecycle": _ADDRESS}
"""By rule, what has to be known before its fix: it can stop an image. The other fixes cannot."""
_CONSEQUENCES = {
    _USER: (
        "they start with these fields; a user that the image has by name also needs its number as runAsUser",
        "with these fields they do not start, so their namespace needs a level below restricted",
    ),
    _ADDRESS: ("the kubelet then asks that address", "the container would be restarted"),
}
_PATHS = {"CronJob": "spec.jobTemplate.spec.template", "Job": "", "Pod": ""}
"""Where the template of a kind is, by default spec.template; empty if it cannot change."""


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


def repair_of(found: RejectedWorkload, stage: Stage | None, owner: str, users: Mapping[str, int]) -> Repair:
    """Return the steps, of which none stops a container.

    `stage` is None if the level is in effect already. `owner` would undo a patch. `users` are those of the running
    containers, by name.
    """
    namespace = found.workload.namespace
    name = shlex.quote(namespace)
    undo = f"kubectl label namespace {name} {ENFORCE}-" if stage else ""
    label = Run(f"kubectl label --overwrite namespace {name} {ENFORCE}={found.label}", undo)
    fix = found.fix
    corrections = () if fix is None else _corrections(found, fix, label, owner, users)
    if stage is None:
        return Repair((label, *corrections))
    if fix is None:
        names = ", ".join(dict.fromkeys((*stage.settings.exempt_namespaces, namespace)))
        exempt = Set("pod-security.exempt-namespaces", f"[{names}]", stage.location)
        return Repair((label,), alternative=Repair((exempt,)))
    return Repair((*stage.steps, *corrections), alternative=Repair((label,)))


def _corrections(
    found: RejectedWorkload, fix: Json, label: Run, owner: str, users: Mapping[str, int]
) -> Iterator[Step]:
    """Yield the steps that make the pods compliant; `fix` has all fields."""
    workload, title = found.workload, found.title
    kind, _, name = workload.controller.partition(" ")
    if (workload.kind, kind) == ("ReplicaSet", "Deployment"):
        words = ("kubectl", "rollout", "status", f"deployment/{name}", "--namespace", workload.namespace)
        yield Run(" ".join(map(shlex.quote, words)))
        return
    path = _PATHS.get(workload.kind, "spec.template")
    if not path:
        yield from _of_pods(found, fix, label)
        return
    numbers = _known_users(workload.template, users)
    asked: dict[str, list[Violation]] = {}
    for violation in found.violations:
        question = _QUESTIONS.get(violation.rule, "")
        asked.setdefault("" if question == _USER and numbers is not None else question, []).append(violation)
    for question, violations in sorted(asked.items()):
        fields = dict(_fields(merged_fix(workload.template, violations) or {}, path))
        if not question and any(violation.rule == "runAsNonRoot" for violation in violations):
            # The kubelet cannot verify a user that the image has by name.
            fields.update({f"{path}.{key}": number for key, number in (numbers or {}).items()})
        patch = Patch(title, tuple(fields.items()), owner)
        if not question:
            yield patch
            continue
        yes, no = _CONSEQUENCES[question]
        yield Decide(question.format(title), (Answer("Yes", yes, (patch,)), Answer("No", no, (label,))))


def _of_pods(found: RejectedWorkload, fix: Json, label: Run) -> Iterator[Step]:
    """Yield the steps for pods whose template cannot change.

    None deletes what an operator owns or what has a volume of its own: that can be deleted with it.
    """
    workload, title = found.workload, found.title
    fields = tuple(_fields(fix, ""))
    keeps = Answer("No", "their namespace keeps a level below restricted", (label,))
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
        if isinstance(value, dict):
            yield from _fields(value, below)
        elif items and all("name" in item for item in items):
            for item in items:
                rest = {name: inner for name, inner in item.items() if name != "name"}
                yield from _fields(rest, f"{below}[{item['name']}]")
        else:
            yield below, json.dumps(value)
