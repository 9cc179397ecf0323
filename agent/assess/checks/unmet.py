"""A requirement that a node does not meet: what has to change, where, and who may change it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from agent.assess.checks.evidence import UnknownCause
from agent.base.model import Instruction, OwnCommand, Restart
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePosixPath

    from agent.assess.checks.evidence import UnknownFile
    from agent.base.model import Step


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
    return (OwnCommand("assess"),) if unknown.cause is UnknownCause.DENIED else made_readable(unknown.path)


def made_readable(path: PurePosixPath, kind: str = "file") -> tuple[Step, ...]:
    """Return the steps for a file that could not be read, or that is something else."""
    return Instruction(f"make {path} a {kind} that root can read"), OwnCommand("assess")
