"""The interface of all kinds of checks, the combination of several, and checks without a test on the host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from agent.assess.checks.answer import WORST_FIRST, Answer, ControlStatus
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.evidence import FileQuery
from agent.base.repair import Instruction, Repair, Restart, RunVerb
from agent.base.value import Value
from agent.harden.guide.criteria import Criterion
from agent.harden.node.facts import HostFacts
from agent.k3s.roles_and_versions import Component

DATA_DIR = "<data-dir>"
"""Placeholder for K3s' data directory in texts that apply to all hosts."""


class ArgumentRequirement(Value):
    """What a component argument has to be."""

    component: Component
    name: str
    """Without dashes."""
    criterion: Criterion
    setting: str = ""
    """The key of the settings that makes apply set it."""


class Check(Value, ABC):
    """What a control requires of a node."""

    @abstractmethod
    def answer(self, node: AssessedNode) -> Answer:
        """Check this node."""

    @property
    def expected(self) -> str:
        """The requirement in one line, without its subject; empty if no program can check it."""
        return ""

    @property
    def description(self) -> str:
        """The subject and the requirement in one line."""
        return self.expected

    @property
    def subject(self) -> str:
        """The subject of the check, in the same text on every node; empty if the ID of the control states it."""
        return ""

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments and keys that are checked, as CIS titles name them."""
        return tuple(f"--{argument.name}" for argument in self.arguments)

    setting = ""
    """The key of the settings that makes `apply` meet the requirement."""

    shows_effect = False
    """Whether the answer is what the node does and has now, and not only what is configured."""

    @property
    def provider(self) -> str:
        """Who meets the requirement on a host if neither `apply` nor a setting does."""
        return "K3s itself" if self.is_met_by_k3s else "the operator"

    @property
    def is_met_by_k3s(self) -> bool:
        """Whether K3s meets the requirement itself in its default configuration."""
        return False

    @property
    def is_of_directories(self) -> bool:
        """Whether the subject is the directories themselves and not their content."""
        return False

    @property
    def is_decided_by_argument(self) -> bool:
        """Whether the answer follows from an argument that K3s passes to a component."""
        return False

    def files(self, facts: HostFacts) -> tuple[FileQuery, ...]:  # noqa: ARG002 - most checks ask for no files
        """Return the files that have to be collected before this check can answer."""
        return ()

    @property
    def arguments(self) -> tuple[ArgumentRequirement, ...]:
        """The requirements on component arguments that this check consists of."""
        return ()


class AllOf(Check):
    """All of these checks must pass."""

    checks: tuple[Check, ...]

    @property
    def shows_effect(self) -> bool:  # type: ignore[override]
        return all(check.shows_effect for check in self.checks)

    def answer(self, node: AssessedNode) -> Answer:
        answers = [check.answer(node) for check in self.checks]
        status = min((answer.status for answer in answers), key=WORST_FIRST.index)
        deciding = [answer for answer in answers if answer.status is status]
        ordered = [*deciding, *(answer for answer in answers if answer.status is not status)]
        return Answer(
            status,
            found=", ".join(dict.fromkeys(answer.found for answer in deciding if answer.found)),
            evidence=tuple(dict.fromkeys(evidence for answer in ordered for evidence in answer.evidence)),
            reason="; ".join(dict.fromkeys(answer.reason for answer in deciding if answer.reason)),
            repair=_all_of([answer.repair for answer in deciding]),
            given_by=deciding[0].given_by,
            awaits_start=any(answer.awaits_start for answer in deciding),
            awaits=deciding[0].awaits,
        )

    @property
    def expected(self) -> str:
        by_kind: dict[str, list[str]] = {}
        for check in self.checks:
            by_kind.setdefault("directories" if check.is_of_directories else "files", []).append(check.expected)
        texts = {kind: " and ".join(dict.fromkeys(each)) for kind, each in by_kind.items()}
        if len(set(texts.values())) == 1:
            return next(iter(texts.values()))
        return ", and ".join(f"{kind}: {text}" for kind, text in texts.items())

    @property
    def description(self) -> str:
        return "; ".join(check.description for check in self.checks)

    @property
    def subject(self) -> str:
        return ", ".join(check.subject for check in self.checks)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for check in self.checks for name in check.names)

    @property
    def is_met_by_k3s(self) -> bool:
        return all(check.is_met_by_k3s for check in self.checks)

    @property
    def is_decided_by_argument(self) -> bool:
        return all(check.is_decided_by_argument for check in self.checks)

    def files(self, facts: HostFacts) -> tuple[FileQuery, ...]:
        return tuple(file for check in self.checks for file in check.files(facts))

    @property
    def arguments(self) -> tuple[ArgumentRequirement, ...]:
        return tuple(argument for check in self.checks for argument in check.arguments)


def _all_of(repairs: Sequence[Repair]) -> Repair:
    """Return several repairs as one: apply, if any has it, follows the edits."""
    steps = dict.fromkeys(step for repair in repairs for step in repair.steps)
    apply = RunVerb("apply")
    ways = [repair.alternative or repair for repair in repairs]
    return Repair(
        (*(step for step in steps if step != apply), *((apply,) if apply in steps else ())),
        max((repair.restart for repair in repairs), key=list(Restart).index),
        _all_of(ways) if any(repair.alternative for repair in repairs) else None,
    )


class NotInK3s(Check):
    """K3s has nothing that this control could apply to."""

    reason: str
    """A sentence that says why."""

    provider = "nobody, because it is not applicable to K3s"

    def answer(self, node: AssessedNode) -> Answer:  # noqa: ARG002 - the same on every node
        return Answer(ControlStatus.NOT_APPLICABLE, reason=self.reason)

    @property
    def description(self) -> str:
        return f"not applicable. {self.reason}"


class Manual(Check):
    """Only a person, or a query to the API server, can decide."""

    review: str
    """What to review, in one sentence or command."""

    def answer(self, node: AssessedNode) -> Answer:  # noqa: ARG002 - the same on every node
        return Answer(ControlStatus.MANUAL, reason=self.review, repair=Repair((Instruction(self.review),)))

    @property
    def description(self) -> str:
        return f"manual review. {self.review}"
