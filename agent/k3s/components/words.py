"""Words that components accept: cipher suites, API groups, controllers, eviction signals and node labels. Pure."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SUITES = _names(
    """
    TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256
    TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 TLS_ECDHE_ECDSA_WITH_RC4_128_SHA
    TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256
    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305
    TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 TLS_ECDHE_RSA_WITH_RC4_128_SHA TLS_RSA_WITH_3DES_EDE_CBC_SHA
    TLS_RSA_WITH_AES_128_CBC_SHA TLS_RSA_WITH_AES_128_CBC_SHA256 TLS_RSA_WITH_AES_128_GCM_SHA256
    TLS_RSA_WITH_AES_256_CBC_SHA TLS_RSA_WITH_AES_256_GCM_SHA384 TLS_RSA_WITH_RC4_128_SHA
    """
)
"""The suites of Go's crypto/tls, and two older names that Kubernetes keeps."""

CONTROLLERS = _names(
    """
    bootstrap-signer-controller certificatesigningrequest-approving-controller
    certificatesigningrequest-cleaner-controller certificatesigningrequest-signing-controller
    cloud-node-lifecycle-controller clusterrole-aggregation-controller cronjob-controller daemonset-controller
    deployment-controller device-taint-eviction-controller disruption-controller endpoints-controller
    endpointslice-controller endpointslice-mirroring-controller ephemeral-volume-controller
    garbage-collector-controller horizontal-pod-autoscaler-controller job-controller
    kube-apiserver-serving-clustertrustbundle-publisher-controller
    legacy-serviceaccount-token-cleaner-controller namespace-controller node-ipam-controller
    node-lifecycle-controller node-route-controller persistentvolume-attach-detach-controller
    persistentvolume-binder-controller persistentvolume-expander-controller
    persistentvolume-protection-controller persistentvolumeclaim-protection-controller
    pod-garbage-collector-controller podcertificaterequest-cleaner-controller podgroup-protection-controller
    replicaset-controller replicationcontroller-controller resourceclaim-controller
    resourcepoolstatusrequest-controller resourcequota-controller root-ca-certificate-publisher-controller
    selinux-warning-controller service-cidr-controller service-lb-controller serviceaccount-controller
    serviceaccount-token-controller statefulset-controller storage-version-migrator-controller
    storageversion-garbage-collector-controller taint-eviction-controller token-cleaner-controller
    ttl-after-finished-controller ttl-controller validatingadmissionpolicy-status-controller
    volumeattributesclass-protection-controller attachdetach bootstrapsigner cloud-node-lifecycle
    clusterrole-aggregation cronjob csrapproving csrcleaner csrsigning daemonset deployment disruption endpoint
    endpointslice endpointslicemirroring ephemeral-volume garbagecollector horizontalpodautoscaling job
    legacy-service-account-token-cleaner namespace nodeipam nodelifecycle persistentvolume-binder
    persistentvolume-expander podgc pv-protection pvc-protection replicaset replicationcontroller
    resource-claim-controller resourcequota root-ca-cert-publisher route selinux-warning service service-lb
    serviceaccount serviceaccount-token statefulset storage-version-gc tokencleaner ttl ttl-after-finished
    device-taint-eviction svm
    """
)
"""Names and older names of the controllers in any minor from 1.34 to 1.37 (cmd/kube-controller-manager/names)."""

SIGNALS = _names(
    """
    memory.available allocatableMemory.available imagefs.available imagefs.inodesFree containerfs.available
    containerfs.inodesFree nodefs.available nodefs.inodesFree pid.available
    """
)

LABELS = _names(
    """
    kubernetes.io/hostname topology.kubernetes.io/zone topology.kubernetes.io/region
    failure-domain.beta.kubernetes.io/zone failure-domain.beta.kubernetes.io/region
    beta.kubernetes.io/instance-type node.kubernetes.io/instance-type kubernetes.io/os kubernetes.io/arch
    beta.kubernetes.io/os beta.kubernetes.io/arch
    """
)
"""The labels in the namespaces of Kubernetes that a kubelet may set (kubelet/pkg/apis/well_known_labels.go)."""

LOCAL_MODES = ("ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")
"""How kube-proxy detects the traffic of the node's own pods."""
PROXY_MODES = ("iptables", "ipvs", "nftables")
