"""The check of a control whose answer is in the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.checks.answer import Answer, ControlStatus, Evidence
from agent.assess.checks.manual import Manual

if TYPE_CHECKING:
    from agent.assess.checks.assessed_node import AssessedNode
    from agent.cluster.kubernetes.objects import Cluster


class ClusterCheck(Manual):
    """Objects of the cluster determine the status, or are listed for a review. Without them, the review is manual."""

    rule: str = ""
    """The name of its rule in rules.RULES, which is imported only if the cluster is assessed."""

    def answer(self, node: AssessedNode) -> Answer:
        cluster = node.cluster
        if cluster is None or cluster.problem:
            return super().answer(node)
        from agent.assess.checks.cluster.rule import AssessedCluster
        from agent.assess.checks.cluster.rules import RULES

        rule = RULES[self.rule]
        missing = [query for query in rule.queries if query not in cluster.objects]
        answer = super().answer(node) if missing else rule.decide(AssessedCluster.on(node, cluster))
        if missing:
            problems = (cluster.problems.get(query, f"cannot read {query}") for query in missing)
            return answer._replace(evidence=tuple(Evidence(problem, source=cluster.server) for problem in problems))
        if answer.status is not ControlStatus.MANUAL:
            return answer._replace(expected=rule.passes)
        return answer if answer.reason else answer._replace(reason=self.review)

    def has_no_answer(self, cluster: Cluster) -> bool:
        """Return whether the API server did not answer what the rule needs."""
        from agent.assess.checks.cluster.rules import RULES

        return bool(cluster.problem) or any(query not in cluster.objects for query in RULES[self.rule].queries)
