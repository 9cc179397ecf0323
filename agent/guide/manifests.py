"""The files that the guide has on a server, as bytes: the assets beside this module, with a site's own names put in.

Pure: the same arguments give the same bytes, on every server of a cluster. K3s does not copy manifests between
servers, and servers whose copies differ undo each other's (k3s, pkg/deploy/controller.go). That is why names are
sorted and said once, and why no YAML library, whose layout could change, has a hand in the output.

Each document begins with its own `---`, so pieces can be joined, and a comment can go before the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent import package_data

if TYPE_CHECKING:
    from collections.abc import Sequence


class EventRateLimit(NamedTuple):
    """How many events the API server takes, over all clients together; both must be above 0.

    `qps` is per second, once the `burst` is used up
    (kubernetes, plugin/pkg/admission/eventratelimit/apis/eventratelimit/v1alpha1/types.go).
    """

    qps: int
    burst: int


_MODEL_NAMESPACE = "default"

_EVENT_RATE_LIMIT = """\
  - name: EventRateLimit
    configuration:
      apiVersion: eventratelimit.admission.k8s.io/v1alpha1
      kind: Configuration
      limits:
        - type: Server
          qps: {qps}
          burst: {burst}
"""


def network_policies(extra_namespaces: Sequence[str] = ()) -> bytes:
    """The NetworkPolicies for policy.yaml, for every version (guide: Network Policies).

    `extra_namespaces` are legal namespace names; each that the guide does not name itself gets the policy that the
    guide has for `default`: traffic from within the namespace, and no other, comes in.
    """
    text = _asset("network-policies.yaml")
    model = next(document for document in text.split("---\n") if f"  namespace: {_MODEL_NAMESPACE}\n" in document)
    # Quoted, since a namespace may be called 123 or null, which YAML would not read as text.
    text += "".join(
        "---\n" + model.replace(f": {_MODEL_NAMESPACE}\n", f': "{namespace}"\n')
        for namespace in _others(extra_namespaces, text, "  namespace: ")
    )
    return text.encode()


def pod_security_policies(*, cis_operator_namespace: bool = False) -> bytes:
    """The PodSecurityPolicies for policy.yaml with their RBAC, for v1.24 and older (guide: Pod Security).

    With `cis_operator_namespace` the RoleBinding in cis-operator-system is among them. Only a cluster that has this
    namespace can take it; elsewhere K3s would apply all of its manifests anew every 15 seconds.
    """
    text = _asset("pod-security-policies.yaml")
    if cis_operator_namespace:
        text += _asset("cis-operator.yaml")
    return text.encode()


def pod_security_admission(extra_exempt: Sequence[str] = (), event_rate_limit: EventRateLimit | None = None) -> bytes:
    """The AdmissionConfiguration for v1.25 and newer (guide: Pod Security; Rancher's rancher-restricted template).

    `extra_exempt` are legal namespace names that PodSecurity leaves alone beside those of the template.
    `event_rate_limit` adds the configuration without which the plugin EventRateLimit stops the API server.
    """
    # The template's namespaces are the last lines of the asset, so that more of them, or a plugin, can follow.
    text = _asset("psa.yaml")
    item = "          - "
    text += "".join(f'{item}"{namespace}"\n' for namespace in _others(extra_exempt, text, item))
    if event_rate_limit is not None:
        text += _EVENT_RATE_LIMIT.format(**event_rate_limit._asdict())
    return text.encode()


def audit_policy() -> bytes:
    """The audit policy: the metadata of every request (guide: API Server audit configuration)."""
    return _asset("audit.yaml").encode()


def account_update() -> bytes:
    """The patch for a default ServiceAccount (guide: Configure `default` Service Account)."""
    return _asset("account_update.yaml").encode()


def account_update_script() -> bytes:
    """The Bash script that puts account_update.yaml on every namespace (guide: Configure `default` Service Account).

    Unlike the guide's it does not stop at the first namespace that fails, and finds its YAML file from any directory.
    """
    return _asset("account_update.sh").encode()


def _others(names: Sequence[str], text: str, prefix: str) -> list[str]:
    """`names` once each and sorted, without those that have a line of their own, after `prefix`, in `text`."""
    return sorted(set(names) - {line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix)})


def _asset(name: str) -> str:
    return package_data.read("guide", "assets", name).decode()
