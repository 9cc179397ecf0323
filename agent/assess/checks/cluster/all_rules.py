"""All rules for controls whose answer is in the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.checks.cluster import access_rules, namespace_rules, workload_rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.assess.checks.cluster.rule import ClusterRule

RULES: Mapping[str, ClusterRule] = {**access_rules.RULES, **workload_rules.RULES, **namespace_rules.RULES}
"""By the id of the control."""
