"""Findings about manifests of the site."""

from __future__ import annotations

from tests.scenarios.conftest import Hardened
from tests.scenarios.findings.case import PSP, Case, Seen, as_described, both, linked, written
from tests.scenarios.host_tree import MANIFESTS, POLICY

CRON_JOB = "apiVersion: {version}\nkind: CronJob\nmetadata:\n  name: own\n"
IN_DEFAULT = "kind: NetworkPolicy\nmetadata: {{name: {name}, namespace: default}}\nspec: {{podSelector: {{}}}}\n"
NETWORK_POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: own
  namespace: shop
spec:
  podSelector: {{}}
  ingress:
    - from:
        - namespaceSelector:
            matchLabels:
              {label}: shop
"""


CASES = (
    Case("manifest-api-removed", written(f"{MANIFESTS}/own.yaml", f"---\n\n{CRON_JOB.format(version='batch/v1beta1')}"),
         both(written(f"{MANIFESTS}/own.yaml", CRON_JOB.format(version="batch/v1")),
             written(f"{MANIFESTS}/other.yaml", CRON_JOB.format(version="example.org/v1beta1")),
             written(f"{MANIFESTS}/traefik.yaml", CRON_JOB.format(version="batch/v1beta1")),
             written(f"{MANIFESTS}/metrics-server/a.yaml", CRON_JOB.format(version="batch/v1beta1"))),
         Seen(f"{MANIFESTS}/own.yaml:3", "", expected="batch/v1",
             found="batch/v1beta1")),
    Case("stale-pod-security-policy",
         written(f"{MANIFESTS}/own.yaml", f"# two objects\n---\nkind: ConfigMap\n---\n{PSP}"),
         written(f"{MANIFESTS}/own.yaml", "kind: ConfigMap\ndata:\n  kind: PodSecurityPolicy\n"),
         Seen(f"{MANIFESTS}/own.yaml:4", "before this K3s version starts, remove the PodSecurityPolicies at {location}",
             expected="none since v1.25")),
    Case("stale-pod-security-policy", written(f"{MANIFESTS}/own.yaml", PSP),
         written(f"{MANIFESTS}/own.yaml.moved", PSP),
         Seen(f"{MANIFESTS}/own.yaml:1", "", expected="none since v1.25"), name="nothing else"),
    Case("selector-matches-no-namespace", written(f"{MANIFESTS}/shop/own.yml", NETWORK_POLICY.format(label="name")),
         written(f"{MANIFESTS}/shop/own.yml", NETWORK_POLICY.format(label="kubernetes.io/metadata.name")),
         Seen(f"{MANIFESTS}/shop/own.yml:12", "", expected="kubernetes.io/metadata.name", found="name")),
    Case("network-policy-name-taken", written(f"{MANIFESTS}/own.yaml", IN_DEFAULT.format(name="intra-namespace")),
         written(f"{MANIFESTS}/own.yaml", IN_DEFAULT.format(name="own")),
         Seen(f"{MANIFESTS}/own.yaml:1", "", expected="another name", found="intra-namespace")),
    Case("manifest-placeholder",
         written(f"{MANIFESTS}/own.yaml", "kind: ConfigMap\nmetadata:\n  namespace: <NAMESPACE>\n"),
         written(f"{MANIFESTS}/own.yaml", "kind: ConfigMap\ndata:\n  page: '<html>a < b</html>'\n"),
         Seen(f"{MANIFESTS}/own.yaml:3", "replace the placeholder with the name at {location}", found="<NAMESPACE>")),
    Case("manifest-broken", written(f"{MANIFESTS}/own.yaml", "kind: NetworkPolicy\nspec: {namespaceSelector: [}\n"),
         both(written(f"{MANIFESTS}/own.yaml", "kind: NetworkPolicy\nspec: {namespaceSelector: [}\n"),
             written(f"{MANIFESTS}/own.yaml.skip", "")),
         Seen(f"{MANIFESTS}/own.yaml:2", "add the value, or close the bracket or brace at {location}")),
    Case("manifest-broken", linked(f"{MANIFESTS}/own.yaml", "/etc/nowhere.yaml"),
         both(linked(f"{MANIFESTS}/own.yaml", "/etc/own.yaml"), written("/etc/own.yaml", "kind: ConfigMap\n")),
         Seen(f"{MANIFESTS}/own.yaml", f"sudo rm {MANIFESTS}/own.yaml"), cure=as_described, name="link"),
)  # fmt: skip


def test_apply_removes_the_pod_security_policies_of_k3s_harden(hardened: Hardened) -> None:
    """The removal follows an upgrade from v1.24 to v1.25."""
    host = hardened("server", "1.24")
    host.options = ("--role", "server", "--k3s-version", "1.25")
    stale = host.seen("check").of("stale-pod-security-policy")
    assert {finding.location.rpartition(":")[0] for finding in stale} == {POLICY}
    assert {finding.repair for finding in stale} == {"k3s-harden apply"}
    as_described(host, stale[0])
    assert host.seen("check").findings == ()
