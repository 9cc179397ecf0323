"""Objects that the admission policies of the settings would reject if they were created again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.cluster.kubernetes.built_in_objects import OWN_NAMESPACES
from agent.cluster.kubernetes.running_objects import ObjectName
from agent.findings.impact import Break, Reason, Topic, When, advice
from agent.harden.desired.resources import pod_security_action
from agent.harden.guide.policy_files import Action

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from agent.cluster.kubernetes.objects import Binding, Namespace
    from agent.cluster.kubernetes.running_objects import Running
    from agent.harden.settings.schema import Settings

_LABELS = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}
"""The values that anybody may set."""
_EVERYBODY = ("system:anonymous", "system:authenticated", "system:serviceaccounts", "system:unauthenticated")
_WIDE_ROLES = ("admin", "cluster-admin", "edit")


def rejected_again(running: Running, settings: Settings, exempt: Collection[str]) -> Iterator[Break]:
    """Yield namespaces and bindings that only administrators may create. Pod Security exempts those of `exempt`."""
    action = pod_security_action(settings)
    for namespace in running.objects.get("namespaces", ()) if action is not Action.OFF else ():
        name = ObjectName("", "Namespace", namespace.name)
        yield from _break(name, [*_of_namespace(namespace, exempt)], settings, f"pod-security: {action}")
    action = settings.binding_policy
    for kind in ("RoleBinding", "ClusterRoleBinding") if action is not Action.OFF else ():
        for binding in running.objects.get(f"{kind.lower()}s", ()):
            name = ObjectName(binding.namespace, kind, binding.name)
            yield from _break(name, [*_of_binding(binding)], settings, f"bindings: {action}")


def _of_namespace(namespace: Namespace, exempt: Collection[str]) -> Iterator[Reason]:
    # The API server creates its own namespaces, and the policies admit its requests.
    if namespace.name not in {*OWN_NAMESPACES, "default"}:
        if namespace.name in exempt:
            yield Reason("metadata.name", namespace.name, "a name that Pod Security does not exempt")
        for label, expected in _LABELS.items():
            if (found := namespace.labels.get(label, expected)) != expected:
                yield Reason(f"metadata.labels[{label}]", found or "no value", expected)


def _of_binding(binding: Binding) -> Iterator[Reason]:
    is_wide = binding.role_kind == "ClusterRole" and binding.role in _WIDE_ROLES
    for subject in binding.subjects if is_wide else ():
        if subject.kind != "ServiceAccount" and subject.name in _EVERYBODY:
            yield Reason("subjects", f"{subject} with {binding.role}", "no user or group that is everybody")


def _break(name: ObjectName, reasons: Sequence[Reason], settings: Settings, setting: str) -> Iterator[Break]:
    managers = "a user in `admission-policies.managers`"
    who = managers if settings.policies_bind_administrators else f"an administrator or {managers}"
    if reasons:
        condition = f"unless {who} creates it (admission-policies.{setting})"
        yield Break(name, Topic.POLICIES, When.CREATED, tuple(reasons), advice(f"create it as {who}"), (), condition)
