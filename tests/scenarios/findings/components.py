"""Findings about arguments of components, K3s' options and the files that they name."""

from __future__ import annotations

from tests.component_files import ADMISSION, KUBELET
from tests.scenarios.findings.case import (
    OWN_PSA,
    SITE,
    Case,
    Seen,
    both,
    file_put,
    line_replaced,
    of_version,
    unchanged,
    written,
)
from tests.scenarios.host_tree import CONFIG, DATA_DIR, SETTINGS

ENCRYPTION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aescbc:
      keys: [{name: a, secret: UlJSUlJSUlJSUlJSUlJSUg==}]
"""
AUTHORIZATION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Webhook
  name: own
  webhook:
    timeout: 3s
    subjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: /etc/webhook.yaml}
"""
EXEMPTIONS = "    exemptions: {{namespaces: [kube-system, {}]}}\n"
PLUGIN_PATH = (
    '{"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration",'
    ' "plugins": [{"name": "PodSecurity", "path": "psa.yaml"}]}'
)
POD_SECURITY = (
    "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n"
    "defaults: {enforce: restricted}\n"
)
OWN_ADMISSION = "kube-apiserver-arg+:\n  - admission-control-config-file=/etc/own.yaml\n"
LOGS_NOTHING = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n"
OWN_AUDIT = "kube-apiserver-arg+:\n  - audit-policy-file=/etc/own.yaml\n"

CASES = (
    Case("component-argument-unknown", written(CONFIG, "kube-apiserver-arg:\n  - enable-swagger-ui=true\n"),
         written(CONFIG, "kube-apiserver-arg:\n  - advertise_port=6443\n"),
         Seen(f"{CONFIG}:2", "",
             expected="an argument of kube-apiserver 1.37", found="enable-swagger-ui=true"), version="1.37"),
    Case("component-argument-underscored", written(CONFIG, "kube-apiserver-arg:\n  - event_ttl=2h\n"),
         written(CONFIG, "kubelet-arg:\n  - max_pods=100\nkube-proxy-arg:\n  - log_dir=/var/log\n"),
         Seen(f"{CONFIG}:2", "", expected="event-ttl", found="event_ttl")),
    Case("component-argument-invalid", written(CONFIG, "node-label:\n  - kubernetes.io/role=a\n"),
         written(CONFIG, "node-label:\n  - node.kubernetes.io/role=a\n"),
         Seen(f"{CONFIG}:2", "",
             expected="a label of Kubernetes' syntax; of kubernetes.io and k8s.io only a few",
             found="kubernetes.io/role=a"), role="agent", version="1.36", name="node-label"),
    Case("component-argument-invalid", written(CONFIG, "kube-apiserver-arg:\n  - request-timeout=300\n"),
         written(CONFIG, "kube-apiserver-arg:\n  - request-timeout=300s\n"),
         Seen(f"{CONFIG}:2", "",
             expected="a duration with its unit, such as 30s, 5m or 1h30m", found="300"), version="1.37"),
    Case("component-argument-invalid",
         written(CONFIG, "kube-scheduler-arg:\n  - leader-elect-lease-duration=10s\ncluster-init: true\n"),
         written(CONFIG, "kube-scheduler-arg:\n  - leader-elect-lease-duration=10s\n"),
         Seen(f"{CONFIG}:2", "",
             expected="more than 10s", found="10s"), version="1.37", name="etcd"),
    Case("feature-gate-invalid",
         written(CONFIG, "kube-apiserver-arg:\n  - feature-gates=NodeSwap=true,APIServerTracing=true\n"),
         written(CONFIG, "kube-apiserver-arg:\n  - feature-gates=NodeSwap=true,APIServerIdentity=true\n"),
         Seen(f"{CONFIG}:2", "",
             expected="a feature gate of Kubernetes 1.37", found="APIServerTracing=true"), version="1.37"),
    Case("component-file-invalid",
         both(written("/etc/own.yaml", ENCRYPTION.replace("Ug==", "UlJS")),
             written(CONFIG, "kube-apiserver-arg:\n  - encryption-provider-config=/etc/own.yaml\n")),
         both(written("/etc/own.yaml", ENCRYPTION),
             written(CONFIG, "kube-apiserver-arg:\n  - encryption-provider-config=/etc/own.yaml\n")),
         Seen("/etc/own.yaml:7", "")),
    Case("component-file-invalid",
         both(lambda host: host["/var/log/audit"].mkdir(parents=True),
             written(SITE, "kube-apiserver-arg+:\n  - audit-log-path=/var/log/audit\n")),
         written(SITE, "kube-apiserver-arg+:\n  - audit-log-path=/var/log/audit\n"),
         Seen(f"{SITE}:2", "", expected="a file",
             found="a directory"), cure=line_replaced("/var/log/audit", "/var/log/audit/log"), name="directory"),
    Case("component-file-invalid",
         both(written("/etc/scheduler.yaml", "kind: KubeSchedulerConfiguration\n"),
             written(CONFIG, "kube-scheduler-arg:\n  - config=/etc/scheduler.yaml\n")),
         both(written("/etc/scheduler.yaml", "kind: KubeSchedulerConfiguration\n"),
             written(CONFIG, "kube-scheduler-arg:\n  - config=/etc/scheduler.yaml\ndisable-scheduler: true\n")),
         Seen("/etc/scheduler.yaml:1", ""), name="scheduler"),
    Case("component-file-invalid",
         both(written("/etc/own.yaml", PLUGIN_PATH), written("/etc/psa.yaml", "kind: PodSecurityConfiguration\n"),
             written(SITE, OWN_ADMISSION)),
         both(written("/etc/own.yaml", PLUGIN_PATH), written("/etc/psa.yaml", POD_SECURITY),
             written(SITE, OWN_ADMISSION)),
         Seen("/etc/psa.yaml:1", ""), name="plugin"),
    Case("component-file-invalid",
         both(written("/etc/own.yaml", AUTHORIZATION),
             written(CONFIG, "kube-apiserver-arg:\n  - authorization-config=/etc/own.yaml\n")),
         both(written("/etc/own.yaml", AUTHORIZATION), written("/etc/webhook.yaml", ""),
             written(CONFIG, "kube-apiserver-arg:\n  - authorization-config=/etc/own.yaml\n")),
         Seen("/etc/own.yaml:10", ""), name="authorizer"),
    Case("component-file-invalid",
         written(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf", f"{KUBELET}maxPods: many\n"),
         written(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf", f"{KUBELET}maxPod: many\n"),
         Seen(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf:3", ""),
         role="agent", version="1.37", name="kubelet"),
    Case("component-argument-invalid",
         both(written(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf", f"{KUBELET}maxPods: -1\n"),
             written(CONFIG, "node-label: a=b\n")),
         both(written(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf", f"{KUBELET}maxPods: -1\n"),
             written(CONFIG, "kubelet-arg: max-pods=100\n")),
         Seen(f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-own.conf:3", "",
             expected="at least 0", found="-1"), role="agent", version="1.37", name="kubelet-file"),
    Case("cgroup-v1-refused", lambda host: host["/sys/fs/cgroup/memory"].mkdir(parents=True),
         both(lambda host: host["/sys/fs/cgroup/memory"].mkdir(parents=True),
             written(CONFIG, "kubelet-arg: fail-cgroupv1=false\n")),
         Seen("/sys/fs/cgroup",
             "",
             expected="control groups of version 2, or kubelet-arg: fail-cgroupv1=false", found="version 1"),
         cure=file_put("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n"), role="agent", version="1.35"),
    Case("k3s-option-refused", written(CONFIG, "node-nam: a\n"), written(CONFIG, "node-name: a\n"),
         Seen(f"{CONFIG}:1", "", expected="node-name",
             found="node-nam"), role="agent"),
    Case("k3s-option-refused", written(CONFIG, "no-deploy: traefik\n"), written(CONFIG, "disable: traefik\n"),
         Seen(f"{CONFIG}:1", "", found="no-deploy"), version="1.25",
         name="fatal"),
    Case("k3s-option-invalid", written(CONFIG, "selinux: maybe\n"), written(CONFIG, "selinux: t\n"),
         Seen(f"{CONFIG}:1", "", expected="true or false", found="maybe")),
    Case("k3s-option-ignored", written(CONFIG, "secret-encryption: true\n"),
         written(CONFIG, "secrets-encryption: true\n"),
         Seen(f"{CONFIG}:1", "",
             expected="secrets-encryption", found="secret-encryption")),
    Case("pod-security-not-enforced", both(written("/etc/own.yaml", ADMISSION), written(CONFIG, OWN_ADMISSION)),
         both(written("/etc/own.yaml", OWN_PSA), written(CONFIG, OWN_ADMISSION)),
         Seen("/etc/own.yaml:1", "",
             expected="enforce: restricted", found="no level")),
    Case("pod-security-not-enforced",
         both(written("/etc/own.yaml", OWN_PSA.replace("restricted", "privileged")), written(SITE, OWN_ADMISSION)),
         both(written("/etc/own.yaml", OWN_PSA.replace("restricted", "privileged")), written(SITE, OWN_ADMISSION),
             of_version("1.24")),
         Seen("/etc/own.yaml:8", "",
             expected="enforce: restricted", found="enforce: privileged"), name="privileged"),
    Case("pod-security-not-enforced",
         both(written("/etc/own.yaml", OWN_PSA.replace("restricted", "restricted, enforce-version: v1.20")),
             written(CONFIG, OWN_ADMISSION)),
         both(written("/etc/own.yaml", OWN_PSA.replace("restricted", "restricted, enforce-version: v1.22")),
             written(CONFIG, OWN_ADMISSION)),
         Seen("/etc/own.yaml:8", "",
             expected="enforce-version: latest", found="enforce-version: v1.20"), name="old version"),
    *(Case("pod-security-exempts",
           both(written("/etc/own.yaml", OWN_PSA + EXEMPTIONS.format("default, shop")), written(CONFIG, OWN_ADMISSION),
               written(SETTINGS, "pod-security:\n  exempt-namespaces: [shop]\n")),
           both(written("/etc/own.yaml", OWN_PSA + EXEMPTIONS.format("longhorn-system, shop")),
               written(CONFIG, OWN_ADMISSION), written(SETTINGS, "pod-security: {exempt-namespaces: [shop]}\n")),
           Seen("/etc/own.yaml:9", "", expected="no exemptions but those of the guide and the settings",
               found="namespace default"), answer=answer, name=name)
      for answer, name in enumerate(("not needed", "needed"))),
    Case("audit-policy-logs-nothing", both(written("/etc/own.yaml", LOGS_NOTHING), written(SITE, OWN_AUDIT)),
         both(written("/etc/own.yaml", LOGS_NOTHING.replace("None", "Metadata")), written(SITE, OWN_AUDIT)),
         Seen("/etc/own.yaml:4", "",
             expected="a rule with the level Metadata or higher", found="no rule that logs")),
    Case("component-arguments-not-checked", written(CONFIG, "kube-apiserver-arg:\n  - request-timeout=300\n"),
         written(CONFIG, "kubelet-arg+: []\nnode-label: a=b\n"),
         Seen("",
             "k3s-harden checks arguments of v1.34 to v1.37; compare these with the reference of the component for"
                 " Kubernetes v1.28"), cure=unchanged, version="1.28"),
)  # fmt: skip
