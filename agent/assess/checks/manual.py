"""Checks without a test on the host: manual review, and controls that do not apply to K3s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.checks.answer import Answer, ControlStatus
from agent.assess.checks.check import Check
from agent.assess.checks.unmet import complete_steps
from agent.base.model import Instruction

if TYPE_CHECKING:
    from agent.assess.checks.assessed_node import AssessedNode


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

    is_automated = False

    def answer(self, node: AssessedNode) -> Answer:  # noqa: ARG002 - the same on every node
        return Answer(ControlStatus.MANUAL, reason=self.review, unmet=complete_steps(Instruction(self.review)))

    @property
    def description(self) -> str:
        return f"manual review. {self.review}"
