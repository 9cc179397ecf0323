"""Pod Security in the impact: objects, and answers of the API server that were not predicted."""

from __future__ import annotations

import pytest

from agent.cluster.kubernetes.running_objects import ObjectName
from agent.cluster.pod_security_probe import UnexpectedAnswer
from agent.findings.impact import Reason, When
from agent.findings.impact.rejected_pods import answered_otherwise


@pytest.mark.parametrize(
    ("predicted", "answer", "found", "expected"),
    [
        (True, "", "admitted", "rejected"),
        (False, "would violate PodSecurity", "would violate PodSecurity", "admitted"),
    ],
)
def test_an_answer_that_was_not_predicted_is_not_certain(
    predicted: bool,  # noqa: FBT001 - a fact
    answer: str,
    found: str,
    expected: str,
) -> None:
    entry = answered_otherwise(UnexpectedAnswer("Deployment shop/web", predicted, answer))
    assert (entry.object, entry.when, entry.is_certain) == (
        ObjectName("shop", "Deployment", "web"),
        When.NEXT_PODS,
        False,
    )
    assert entry.reasons == (Reason("dry run of the pod template", found, expected),)
