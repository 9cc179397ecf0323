"""Admission policies that the API server loads from files: the assets of this package, with the names of a site added.

They are enforced from its first request on, and nobody can see, change or delete them through the API (Kubernetes 1.37,
KEP-5793). The API server does not load a policy with a parameter (`paramKind`), so its expressions contain the names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

from agent.base import package_data
from agent.base.model import StrEnum

_ADMINISTRATORS = """\
    - name: not-an-administrator
      expression: >-
        !('system:masters' in request.userInfo.?groups.orValue([]) ||
        authorizer.group('*').resource('*').check('*').allowed())
"""

_PLUGIN = """\
  - name: {name}
    configuration:
      apiVersion: apiserver.config.k8s.io/v1
      kind: {name}Configuration
      staticManifestsDir: {directory}
"""


class Action(StrEnum):
    """What a validating policy does with a request that it does not admit."""

    OFF = "off"
    AUDIT = "audit"
    WARN = "warn"
    DENY = "deny"

    @property
    def validation_actions(self) -> str:
        """The value of `validationActions` in YAML. What is warned about is in the audit log, too."""
        return "[Warn, Audit]" if self is Action.WARN else f"[{self.value.title()}]"


def pod_security(exempt: Collection[str]) -> str:
    """Return the policy that only administrators create an exempt namespace, or set another level than restricted."""
    return _with_names(_asset("pod-security"), "name: exempt\n      expression: '", exempt)


def network_policies(protected: Collection[str]) -> str:
    """Return the policy that only administrators change or delete NetworkPolicies, each named as NAMESPACE/NAME."""
    return _with_names(_asset("network-policies"), "name: protected\n      expression: '", protected)


def bindings() -> str:
    """Return the policy that only administrators bind cluster-admin, admin or edit to everybody."""
    return _asset("bindings")


def service_accounts(exempt: Collection[str]) -> str:
    """Return the policy that a new default ServiceAccount has no token, except in the exempt namespaces."""
    return _with_names(_asset("service-accounts"), "object.metadata.namespace in ", exempt)


def validating(policies: Mapping[str, Action], managers: Collection[str], *, bind_administrators: bool) -> str:
    """Return the validating policies with their actions. Users in `managers` are exempt, and so are administrators."""
    texts = (
        policy.replace("validationActions: [Deny]", f"validationActions: {action.validation_actions}")
        for policy, action in policies.items()
    )
    text = _with_names("".join(texts), "request.userInfo.username in ", managers)
    return text.replace(_ADMINISTRATORS, "") if bind_administrators else text


def plugin_entry(name: str, directory: PurePosixPath) -> str:
    """Return the entry of an AdmissionConfiguration that makes a plugin load the policies of a directory."""
    return _PLUGIN.format(name=name, directory=directory)


def _with_names(text: str, before: str, names: Collection[str]) -> str:
    import json  # most hosts have no policy

    return text.replace(f"{before}[]", f"{before}{json.dumps(sorted(names))}")


def _asset(name: str) -> str:
    return package_data.read("harden", "guide", "assets", "admission", f"{name}.yaml").decode()
