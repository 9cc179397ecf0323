"""The check of a control whose answer is in the cluster."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from agent.assess.checks.answer import NO_ANSWER, UNDETERMINED, Answer, ControlStatus, Evidence
from agent.assess.checks.check import Manual
from agent.base.repair import Answer as Choice
from agent.base.repair import Decide, Instruction, Repair
from agent.findings.config_edits import settings_path, with_item

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.assess.checks.assessed_node import AssessedNode
    from agent.assess.checks.cluster.rule import ClusterRule
    from agent.cluster.kubernetes.queries import Cluster

_TOO_LARGE = "objects are too large to be read"
_SMALLER = Repair((Instruction("review the objects that are too large, and make them smaller"),))


@cache
def cluster_rules() -> Mapping[str, ClusterRule]:
    """Return all rules for controls whose answer is in the cluster, by the ID of the control."""
    from agent.assess.checks.cluster import access_rules, namespace_rules, workload_rules

    return {**access_rules.RULES, **workload_rules.RULES, **namespace_rules.RULES}


class ClusterCheck(Manual):
    """Objects of the cluster determine the status, or are listed for a review, which is manual if they are not read."""

    shows_effect = True

    rule: str = ""
    """The name of its rule in `cluster_rules`, which are imported only if the cluster is assessed."""

    def answer(self, node: AssessedNode) -> Answer:
        cluster, manual = node.cluster, super().answer(node)
        if cluster is None:
            return manual
        from agent.assess.checks.cluster.rule import AssessedCluster
        from agent.cluster.kubernetes.queries import QUERIES

        rule = cluster_rules()[self.rule]
        missing = [query for query in rule.queries if query not in cluster.objects]
        if missing or cluster.problem:
            problems = (cluster.problem or cluster.problems.get(query, f"cannot read {query}") for query in missing)
            source = cluster.server or "the API server"
            shown = tuple(Evidence(problem, source=source) for problem in dict.fromkeys(problems))
            return NO_ANSWER._replace(expected=rule.passes or self.review, evidence=shown, repair=manual.repair)
        answer = rule.decide(AssessedCluster.on(node, cluster))
        gaps = [query for query in rule.queries if query in cluster.gaps]
        if gaps:
            # Another workload can only add to what fails.
            if answer.status is not ControlStatus.FAIL or not set(gaps) <= set(QUERIES):
                answer = Answer(ControlStatus.UNKNOWN, UNDETERMINED, reason=_TOO_LARGE, repair=_SMALLER)
            unread = (Evidence(cluster.gaps[query], source=cluster.server) for query in gaps)
            answer = answer._replace(evidence=(*answer.evidence, *unread))
        if answer.status is not ControlStatus.MANUAL:
            return answer._replace(expected=rule.passes)
        waiver = f"{{control: {self.rule}, reason: REASON}}"
        accept = with_item(node.situation, settings_path(node.situation), "waivers", waiver)
        found = Choice("REASON", "a waiver records it", (accept,)), Choice("None", "not accepted", answer.repair.steps)
        repair = Repair((Decide("Which reason accepts what was found?", found),))
        return answer._replace(reason=answer.reason or self.review, repair=repair)

    def has_no_answer(self, cluster: Cluster) -> bool:
        """Return whether the API server did not answer what the rule needs."""
        return bool(cluster.problem) or any(
            query not in cluster.objects for query in cluster_rules()[self.rule].queries
        )
