"""Findings about edited managed files: whether their content still meets the control."""

from __future__ import annotations

from agent.findings.registry import finding, no, yes
from agent.report import Level

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.findings.registry import Trouble
    from agent.situation import Situation


@finding(
    Level.ERROR,
    blocks_gate=yes("K3s starts with a policy or an option that does not meet the control."),
    prevents_start=no("K3s accepts the file."),
)
def edited_file_insufficient(situation: Situation) -> Iterator[Trouble]:
    """A managed file was edited, and its content does not meet the control any more.

    psa.yaml must enforce the restricted standard. audit.yaml must log requests. policy.yaml must restrict the incoming
    traffic of the guide's namespaces, and contain the guide's PodSecurityPolicy for K3s v1.24 and older. Our drop-in
    must set the options that the operator's configuration files do not set. Stricter values, more exempt namespaces and
    more objects are sufficient. A waiver with the ID of the control accepts the edit.
    """
    edited = [refusal.id for refusal in situation.plan.refusals if refusal.edited]
    if edited:
        from agent.findings.edited_content import judged

        yield from judged(situation, edited)
