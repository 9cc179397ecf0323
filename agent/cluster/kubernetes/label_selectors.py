"""Label selectors of Kubernetes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.cluster.kubernetes.parsing import as_list, as_mapping, as_string, at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.cluster.kubernetes.objects import Json


def selects(selector: Json, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector selects an object with these labels; an empty or missing one selects all.

    (apimachinery, pkg/apis/meta/v1/helpers.go)
    """
    wanted = at(selector, "matchLabels")
    expressions = map(as_mapping, as_list(as_mapping(selector).get("matchExpressions")))
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _meets(expression, labels) for expression in expressions
    )


def _meets(expression: Mapping[str, Json], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(as_string(expression.get("key"))), as_list(expression.get("values"))
    return {
        "In": value is not None and value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }.get(as_string(expression.get("operator")), False)
