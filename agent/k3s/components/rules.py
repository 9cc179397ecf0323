"""What the components require of their arguments after they parsed them: one row for each rule. Pure.

Names in camelCase are fields of the kubelet's files that have no argument. What is no row is in irregular_rules.py.
`make k8s-test` starts the component of each row with a value that meets it and with one that does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.k3s.components import syntaxes
from agent.k3s.components.certificate_pairs import SIGNING, SIGNING_ALL
from agent.k3s.components.relations import (
    Alone,
    Between,
    Exceeds,
    Excludes,
    Forbidden,
    Includes,
    Matches,
    NotEmpty,
    OneOf,
    Requires,
    Unique,
    at_least,
    more_than,
)
from agent.k3s.components.rule import Rule
from agent.k3s.components.words import LOCAL_MODES, PROXY_MODES
from agent.model import Component

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORT = Between(1, 65535)
_PORT_OR_NONE = Between(0, 65535)
_FORMAT = OneOf("text json")
_EXTERNAL = OneOf("external")
_WEBHOOK_VERSION = OneOf("v1 v1beta1")

_ADMISSION = "pkg/kubeapiserver/options/admission.go"
_API_OPTIONS = "cmd/kube-apiserver/app/options"
_AUDIT = "apiserver/pkg/server/options/audit.go"
_AUTHENTICATION = "pkg/kubeapiserver/options/authentication.go"
_AUTHORIZATION = "pkg/kubeapiserver/options/authorization.go"
_CONTROLLERS = "cmd/kube-controller-manager/app/options"
_CONTROL_PLANE = "pkg/controlplane/apiserver/options/validation.go"
_CPU_MANAGER = "pkg/kubelet/cm/cpumanager"
_ETCD = "apiserver/pkg/server/options/etcd.go"
_EVICTION = "pkg/kubelet/eviction/helpers.go"
_HEADERS = "apiserver/pkg/server/options/authentication.go"
_JWT = "apiserver/pkg/apis/apiserver/validation/validation.go"
_KUBELET = "pkg/kubelet/apis/config/validation/validation.go"
_KUBELET_SERVER = "cmd/kubelet/app/server.go"
_LEADER = "client-go/tools/leaderelection/leaderelection.go"
_LOGS = "component-base/logs/api/v1/options.go"
_METRICS = "component-base/metrics/options.go"
_PROXY = "pkg/proxy/apis/config/validation/validation.go"
_SERVER_RUN = "apiserver/pkg/server/options/server_run_options.go"
_SERVING = "apiserver/pkg/server/options/serving.go"
_SIGNING = f"{_CONTROLLERS}/csrsigningcontroller.go"
_SLICES = f"{_CONTROLLERS}/endpointslicecontroller.go"
_MIRRORING = f"{_CONTROLLERS}/endpointslicemirroringcontroller.go"
_TLS = "component-base/cli/flag/ciphersuites_flag.go"
_VERFLAG = "component-base/version/verflag/verflag.go"

BESIDE_FILE = (
    Rule("help cleanup init-only", Forbidden(), _VERFLAG),
    Rule("write-config-to", Forbidden(), "cmd/COMPONENT/app"),
    Rule("logging-format", _FORMAT, _LOGS),
    Rule("vmodule", Excludes("logging-format=json"), _LOGS),
    Rule("log-text-split-stream log-json-split-stream", Requires("LoggingAlphaOptions"), _LOGS),
    *(
        Rule(name, Requires("LoggingAlphaOptions"), _LOGS, when=f"!{name}=0")
        for name in ("log-text-info-buffer-size", "log-json-info-buffer-size")
    ),
)
"""Rules of all components, also of kube-proxy if it has a configuration file."""

_ALL = (
    *BESIDE_FILE,
    Rule("log-flush-frequency", more_than("0s"), _LOGS),
    Rule("kubeconfig", NotEmpty(), "client-go/tools/clientcmd"),
    Rule("kube-api-burst", more_than(0), "client-go/kubernetes/clientset.go", when="kube-api-qps"),
    Rule("tls-cipher-suites", Matches(syntaxes.CIPHER_SUITE), _TLS),
    Rule(
        "tls-cipher-suites",
        Includes("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        "golang.org/x/net/http2/server.go",
        when="!tls-min-version=VersionTLS13 !disable-http2-serving",
    ),
    Rule("tls-min-version", OneOf("VersionTLS10 VersionTLS11 VersionTLS12 VersionTLS13"), _TLS),
    Rule("tls-curve-preferences", OneOf("23 24 25 29 4587 4588 4589"), _TLS),
    Rule("disabled-metrics", Matches(syntaxes.METRIC), _METRICS, since=36),
)

_CONTROL_PLANE_COMPONENTS = (
    Rule("tls-cert-file tls-private-key-file", NotEmpty(), _SERVING),
    Rule("requestheader-username-headers requestheader-group-headers", NotEmpty(), _HEADERS),
    Rule("requestheader-extra-headers-prefix requestheader-allowed-names", NotEmpty(), _HEADERS),
    Rule("requestheader-uid-headers", Requires("RemoteRequestHeaderUID"), _HEADERS),
    Rule("requestheader-uid-headers", Includes("X-Remote-Uid"), _HEADERS),
    Rule("authorization-always-allow-paths", Matches(syntaxes.PATH_PREFIX), "apiserver/pkg/authorization/path/path.go"),
    Rule("allow-metric-labels", Matches(syntaxes.METRIC_LABELS), _METRICS),
)

_ELECTION = (
    Rule("leader-elect-resource-lock", OneOf("leases"), _LEADER, when="leader-elect"),
    Rule("leader-elect-lease-duration", Exceeds("leader-elect-renew-deadline"), _LEADER, when="leader-elect"),
    Rule("leader-elect-renew-deadline", Exceeds("leader-elect-retry-period", 1.2), _LEADER, when="leader-elect"),
    Rule("leader-elect-retry-period", more_than("0s"), _LEADER, when="leader-elect"),
)

_OIDC = (
    "oidc-ca-file oidc-client-id oidc-groups-claim oidc-groups-prefix oidc-issuer-url oidc-required-claim"
    " oidc-signing-algs oidc-username-claim oidc-username-prefix"
)
_AUTHORIZATION_WEBHOOK = (
    "authorization-webhook-cache-authorized-ttl authorization-webhook-cache-unauthorized-ttl"
    " authorization-webhook-config-file authorization-webhook-version"
)
_AUDIT_LOG_BATCH = "audit-log-path audit-log-mode=batch"
_AUDIT_WEBHOOK_BATCH = "audit-webhook-config-file audit-webhook-mode=batch"

_API_SERVER = (
    # A request timeout of zero is accepted, but no request succeeds then, and the API server never becomes ready.
    Rule("request-timeout", more_than("0s"), _SERVER_RUN),
    Rule("livez-grace-period shutdown-delay-duration", at_least("0s"), _SERVER_RUN),
    Rule("shutdown-watch-termination-grace-period storage-initialization-timeout", at_least("0s"), _SERVER_RUN),
    Rule("max-requests-inflight max-mutating-requests-inflight min-request-timeout", at_least(0), _SERVER_RUN),
    Rule("goaway-chance", Between(0, 0.02), _SERVER_RUN),
    Rule(
        "max-requests-inflight=0",
        Excludes("max-mutating-requests-inflight=0"),
        "apiserver/pkg/server/config.go",
        when="enable-priority-and-fairness",
    ),
    Rule("cors-allowed-origins", Matches(syntaxes.ORIGIN), _SERVER_RUN),
    Rule("strict-transport-security-directives", Matches(syntaxes.HSTS_DIRECTIVE), _SERVER_RUN),
    Rule("emulation-forward-compatible", Requires("emulated-version"), _SERVER_RUN),
    Rule("runtime-config-emulation-forward-compatible", Requires("emulated-version"), _SERVER_RUN),
    Rule("secure-port", _PORT, _SERVING),
    Rule("apiserver-count", at_least(1), f"{_API_OPTIONS}/validation.go"),
    Rule("kubernetes-service-node-port", _PORT_OR_NONE, f"{_API_OPTIONS}/validation.go"),
    Rule(
        "kubernetes-service-node-port",
        Between(30000, 32767, or_zero=True),
        f"{_API_OPTIONS}/completion.go",
        when="service-node-port-range=30000-32767",
    ),
    Rule("service-cluster-ip-range", Matches(syntaxes.SERVICE_CIDRS), f"{_API_OPTIONS}/completion.go"),
    Rule(
        "advertise-address",
        Matches(syntaxes.REACHABLE_ADDRESS),
        "pkg/controlplane/instance.go",
        when="!endpoint-reconciler-type",
        since=37,
    ),
    Rule("endpoint-reconciler-type", OneOf("master-count lease none"), "pkg/controlplane/instance.go"),
    Rule("admission-control", Excludes("enable-admission-plugins"), _ADMISSION),
    # Authorization and authentication
    Rule(f"authorization-mode {_AUTHORIZATION_WEBHOOK}", Excludes("authorization-config"), _AUTHORIZATION),
    Rule("authorization-mode", OneOf("AlwaysAllow AlwaysDeny ABAC Webhook RBAC Node"), _AUTHORIZATION),
    Rule("authorization-mode", Unique(), _AUTHORIZATION),
    Rule("authorization-mode=ABAC", Requires("authorization-policy-file"), _AUTHORIZATION),
    Rule("authorization-mode=Webhook", Requires("authorization-webhook-config-file"), _AUTHORIZATION),
    Rule(
        "authorization-policy-file",
        Requires("authorization-mode=ABAC"),
        _AUTHORIZATION,
        when="!authorization-config",
    ),
    Rule(
        "authorization-webhook-config-file",
        Requires("authorization-mode=Webhook"),
        _AUTHORIZATION,
        when="!authorization-config",
    ),
    Rule("authorization-webhook-version", _WEBHOOK_VERSION, _AUTHORIZATION, when="authorization-mode=Webhook"),
    Rule(
        "authentication-token-webhook-version",
        _WEBHOOK_VERSION,
        _AUTHENTICATION,
        when="authentication-token-webhook-config-file",
    ),
    Rule(_OIDC, Excludes("authentication-config"), _AUTHENTICATION),
    Rule(_OIDC, Requires("oidc-issuer-url oidc-client-id"), _AUTHENTICATION, when="!authentication-config"),
    Rule("oidc-issuer-url", Matches(syntaxes.HTTPS_ISSUER), _JWT, when="oidc-issuer-url oidc-client-id"),
    Rule("oidc-username-claim", NotEmpty(), _JWT, when="oidc-issuer-url"),
    Rule(
        "oidc-signing-algs",
        OneOf("RS256 RS384 RS512 ES256 ES384 ES512 PS256 PS384 PS512"),
        _AUTHENTICATION,
        when="oidc-issuer-url",
    ),
    Rule("service-account-issuer", NotEmpty(), _AUTHENTICATION),
    Rule("service-account-issuer", Matches(syntaxes.SERVICE_ISSUER), _AUTHENTICATION),
    Rule("service-account-issuer", Unique(), _AUTHENTICATION),
    Rule("service-account-jwks-uri", Matches(syntaxes.HTTPS_URL), _AUTHENTICATION),
    Rule("service-account-key-file", NotEmpty(), _AUTHENTICATION),
    Rule("service-account-signing-key-file", NotEmpty(), _CONTROL_PLANE),
    Rule("service-account-signing-endpoint", Excludes("service-account-signing-key-file"), _CONTROL_PLANE),
    Rule("service-account-max-token-expiration", Between("1h", "4294967296s", or_zero=True), _CONTROL_PLANE),
    # Audit
    Rule("audit-log-path", Matches(syntaxes.FILE_PATH), _AUDIT),
    Rule("audit-log-maxage audit-log-maxbackup audit-log-maxsize", at_least(0), _AUDIT, when="audit-log-path"),
    Rule("audit-log-format", OneOf("json legacy"), _AUDIT, when="audit-log-path"),
    Rule("audit-log-mode", OneOf("batch blocking blocking-strict"), _AUDIT, when="audit-log-path"),
    Rule("audit-webhook-mode", OneOf("batch blocking blocking-strict"), _AUDIT, when="audit-webhook-config-file"),
    Rule("audit-log-batch-buffer-size audit-log-batch-max-size", more_than(0), _AUDIT, when=_AUDIT_LOG_BATCH),
    Rule(
        "audit-webhook-batch-buffer-size audit-webhook-batch-max-size", more_than(0), _AUDIT, when=_AUDIT_WEBHOOK_BATCH
    ),
    Rule(
        "audit-log-batch-throttle-burst audit-log-batch-throttle-qps",
        more_than(0),
        _AUDIT,
        when=f"{_AUDIT_LOG_BATCH} audit-log-batch-throttle-enable",
    ),
    Rule(
        "audit-webhook-batch-throttle-burst audit-webhook-batch-throttle-qps",
        more_than(0),
        _AUDIT,
        when=f"{_AUDIT_WEBHOOK_BATCH} audit-webhook-batch-throttle-enable",
    ),
    Rule("audit-log-truncate-max-event-size", more_than(0), _AUDIT, when="audit-log-path"),
    Rule("audit-webhook-truncate-max-event-size", more_than(0), _AUDIT, when="audit-webhook-config-file"),
    Rule(
        "audit-log-truncate-max-batch-size",
        Exceeds("audit-log-truncate-max-event-size", or_equal=True),
        _AUDIT,
        when="audit-log-path",
    ),
    Rule(
        "audit-webhook-truncate-max-batch-size",
        Exceeds("audit-webhook-truncate-max-event-size", or_equal=True),
        _AUDIT,
        when="audit-webhook-config-file",
    ),
    Rule("audit-log-version", OneOf("audit.k8s.io/v1"), _AUDIT, when="audit-log-path"),
    Rule("audit-webhook-version", OneOf("audit.k8s.io/v1"), _AUDIT, when="audit-webhook-config-file"),
    # Storage
    Rule("storage-backend", OneOf("etcd3"), _ETCD),
    Rule("storage-media-type", OneOf("application/json application/yaml application/vnd.kubernetes.protobuf"), _ETCD),
    Rule("etcd-servers", NotEmpty(), _ETCD),
    Rule("etcd-servers-overrides", Matches(syntaxes.STORAGE_SERVERS), _ETCD),
    Rule("etcd-certfile", Requires("etcd-keyfile"), "etcd's client/pkg/transport"),
    Rule("etcd-keyfile", Requires("etcd-certfile"), "etcd's client/pkg/transport"),
    Rule("encryption-provider-config-automatic-reload", Requires("encryption-provider-config"), _ETCD),
    Rule("watch-cache-sizes", Matches(syntaxes.CACHE_SIZE), _ETCD, when="watch-cache"),
    # Several API servers
    Rule("coordinated-leadership-lease-duration", Exceeds("coordinated-leadership-renew-deadline"), _CONTROL_PLANE),
    Rule("coordinated-leadership-renew-deadline", Exceeds("coordinated-leadership-retry-period"), _CONTROL_PLANE),
    Rule(
        "peer-ca-file peer-advertise-ip peer-advertise-port",
        Requires("UnknownVersionInteroperabilityProxy"),
        _CONTROL_PLANE,
    ),
)

_CONTROLLER_MANAGER = (
    Rule("controllers", Matches(syntaxes.CONTROLLER), "controller-manager/options/generic.go"),
    Rule("secure-port", _PORT_OR_NONE, _SERVING),
    Rule("cidr-allocator-type", OneOf("RangeAllocator"), f"{_CONTROLLERS}/options.go"),
    Rule("cloud-provider", _EXTERNAL, f"{_CONTROLLERS}/options.go"),
    Rule("attach-detach-reconcile-sync-period", at_least("1s"), f"{_CONTROLLERS}/attachdetachcontroller.go"),
    Rule("concurrent-cron-job-syncs", at_least(1), f"{_CONTROLLERS}/cronjobcontroller.go"),
    Rule("concurrent-daemonset-syncs", at_least(1), f"{_CONTROLLERS}/daemonsetcontroller.go"),
    Rule("concurrent-device-taint-eviction-syncs", at_least(1), f"{_CONTROLLERS}/devicetaintevictioncontroller.go"),
    Rule("concurrent-ephemeralvolume-syncs", at_least(1), f"{_CONTROLLERS}/ephemeralvolumecontroller.go"),
    Rule("concurrent-horizontal-pod-autoscaler-syncs", at_least(1), f"{_CONTROLLERS}/hpacontroller.go"),
    Rule("concurrent-job-syncs", at_least(1), f"{_CONTROLLERS}/jobcontroller.go"),
    Rule("concurrent-resourceclaim-syncs", at_least(1), f"{_CONTROLLERS}/resourceclaimcontroller.go"),
    Rule("concurrent-statefulset-syncs", at_least(1), f"{_CONTROLLERS}/statefulsetcontroller.go"),
    # The controller panics.
    Rule("horizontal-pod-autoscaler-sync-period", more_than("0s"), "pkg/controller/podautoscaler/horizontal.go"),
    Rule("concurrent-service-endpoint-syncs", Between(1, 50), _SLICES),
    Rule("max-endpoints-per-slice", Between(1, 1000), _SLICES),
    Rule("mirroring-concurrent-service-endpoint-syncs", Between(1, 50), _MIRRORING),
    Rule("mirroring-max-endpoints-per-subset", Between(1, 1000), _MIRRORING),
    Rule("service-cluster-ip-range", Matches(syntaxes.TWO_ITEMS), f"{_CONTROLLERS}/nodeipamcontroller.go"),
    Rule(
        "cluster-cidr", Matches(syntaxes.CIDRS), "cmd/kube-controller-manager/app/core.go", when="allocate-node-cidrs"
    ),
    Rule(
        "node-cidr-mask-size-ipv4 node-cidr-mask-size-ipv6",
        Excludes("node-cidr-mask-size"),
        "cmd/kube-controller-manager/app/core.go",
        when="allocate-node-cidrs",
    ),
    Rule(" ".join(SIGNING_ALL), Excludes(" ".join(name for pair in SIGNING for name in pair)), _SIGNING),
    *(Rule(certificate, Requires(key), _SIGNING) for certificate, key in SIGNING),
    *(Rule(key, Requires(certificate), _SIGNING) for certificate, key in SIGNING),
    Rule(
        "enable-garbage-collector=false",
        Excludes("controllers=storage-version-migrator-controller|svm"),
        "cmd/kube-controller-manager/app/storageversionmigrator.go",
        when="InformerResourceVersion StorageVersionMigrator",
    ),
    Rule(
        "legacy-service-account-token-clean-up-period",
        more_than("0s"),
        "pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go",
        when="controllers=legacy-serviceaccount-token-cleaner-controller|legacy-service-account-token-cleaner",
    ),
    # It registers the name of its informers twice.
    Rule("enable-leader-migration", Forbidden(), "client-go/tools/cache/identity.go", when="leader-elect", since=37),
)

_SCHEDULER = (Rule("secure-port", _PORT_OR_NONE, _SERVING),)

_LEVELS = "pods system-reserved system-reserved-compressible kube-reserved kube-reserved-compressible"
_LEVELS_OF_SYSTEM = "enforce-node-allocatable=system-reserved|system-reserved-compressible"
_LEVELS_OF_KUBE = "enforce-node-allocatable=kube-reserved|kube-reserved-compressible"
_ALLOWLIST = "imagePullCredentialsVerificationPolicy=NeverVerifyAllowlistedImages"

_KUBELET_ROWS = (
    Rule("event-burst event-qps kube-api-burst kube-api-qps registry-burst registry-qps", at_least(0), _KUBELET),
    Rule("max-open-files max-pods pods-per-core logging.verbosity", at_least(0), _KUBELET),
    Rule("healthz-port read-only-port", _PORT_OR_NONE, _KUBELET),
    Rule("port", _PORT, _KUBELET),
    Rule("oom-score-adj", Between(-1000, 1000), _KUBELET),
    Rule("iptablesDropBit iptablesMasqueradeBit", Between(0, 31), _KUBELET),
    Rule("node-status-max-images", at_least(-1), _KUBELET),
    Rule("nodeLeaseDurationSeconds", at_least(1), _KUBELET),
    Rule("tracing.samplingRatePerMillion", Between(0, 1_000_000), _KUBELET),
    Rule("tracing.endpoint", Matches(syntaxes.ENDPOINT), "component-base/tracing/api/v1/config.go"),
    Rule("logging.format", _FORMAT, _LOGS),
    Rule("file-check-frequency", more_than("0s"), "pkg/kubelet/config/file.go"),
    Rule("minimum-container-ttl-duration", at_least("0s"), "pkg/kubelet/container/container_gc.go"),
    Rule("runtime-request-timeout", more_than("0s"), "cri-client/pkg/remote_runtime.go"),
    Rule("sync-frequency", more_than("0s"), "pkg/kubelet/kubelet.go"),
    Rule("root-dir", Matches(syntaxes.ABSOLUTE_PATH), "pkg/kubelet/kubelet.go"),
    Rule("podLogsDir", Matches(syntaxes.POD_LOGS_PATH), _KUBELET),
    Rule("container-log-max-files", at_least(2), _KUBELET),
    Rule("container-log-max-size", Matches(syntaxes.WHOLE_QUANTITY), "pkg/kubelet/logs"),
    Rule("containerLogMaxWorkers", at_least(1), _KUBELET),
    Rule("containerLogMonitorInterval", at_least("3s"), _KUBELET),
    Rule("container-runtime-endpoint", NotEmpty(), _KUBELET),
    Rule("authorization-mode", OneOf("AlwaysAllow Webhook"), "cmd/kubelet/app/auth.go"),
    Rule("cloud-provider", _EXTERNAL, _KUBELET_SERVER),
    Rule("configMapAndSecretChangeDetectionStrategy", OneOf("Get Cache Watch"), "pkg/kubelet/kubelet.go"),
    Rule("hairpin-mode", OneOf("none hairpin-veth promiscuous-bridge"), _KUBELET),
    Rule("memorySwap.swapBehavior", OneOf("NoSwap LimitedSwap"), _KUBELET),
    Rule("memoryThrottlingFactor", Between(0, 1, is_open=True), _KUBELET),
    Rule("runonce", Forbidden(), _KUBELET),
    Rule("exit-on-lock-contention", Requires("lock-file"), _KUBELET_SERVER),
    Rule("rotate-server-certificates", Requires("RotateKubeletServerCertificate"), _KUBELET),
    # Fields for which the kubelet has a default that the gate must allow
    Rule("feature-gates", Requires("KubeletCrashLoopBackOffMax KubeletEnsureSecretPulledImages"), _KUBELET, since=35),
    Rule("crashLoopBackOff.maxContainerRestartPeriod", Requires("KubeletCrashLoopBackOffMax"), _KUBELET),
    Rule("crashLoopBackOff.maxContainerRestartPeriod", Between("1s", "300s"), _KUBELET),
    Rule("enableSystemLogQuery", Requires("NodeLogQuery enableSystemLogHandler"), _KUBELET),
    # The node
    Rule("node-labels", Matches(syntaxes.NODE_LABEL), "cmd/kubelet/app/options/options.go"),
    Rule("allowed-unsafe-sysctls", Matches(syntaxes.UNSAFE_SYSCTL), "pkg/kubelet/sysctl/allowlist.go"),
    Rule("shutdownGracePeriod shutdownGracePeriodCriticalPods", Between("1s", or_zero=True), _KUBELET),
    Rule("shutdownGracePeriod", Exceeds("shutdownGracePeriodCriticalPods", or_equal=True), _KUBELET),
    Rule("shutdownGracePeriodByPodPriority", Excludes("shutdownGracePeriod"), _KUBELET),
    Rule("userNamespaces.idsPerPod", Matches(syntaxes.ID_COUNT), _KUBELET),
    # Images
    Rule("image-gc-high-threshold image-gc-low-threshold", Between(0, 100), _KUBELET),
    Rule("image-gc-high-threshold", Exceeds("image-gc-low-threshold"), _KUBELET),
    Rule("minimum-image-ttl-duration", at_least("0s"), _KUBELET, since=37),
    Rule("imageMaximumGCAge", at_least("0s"), _KUBELET),
    Rule("imageMaximumGCAge", Exceeds("minimum-image-ttl-duration"), _KUBELET, when="imageMaximumGCAge"),
    Rule("maxParallelImagePulls", at_least(1), _KUBELET),
    Rule("maxParallelImagePulls", Between(1, 1), _KUBELET, when="serialize-image-pulls"),
    Rule(
        "imagePullCredentialsVerificationPolicy",
        OneOf("NeverVerify NeverVerifyPreloadedImages NeverVerifyAllowlistedImages AlwaysVerify"),
        _KUBELET,
    ),
    Rule("imagePullCredentialsVerificationPolicy", Requires("KubeletEnsureSecretPulledImages"), _KUBELET),
    Rule("preloadedImagesVerificationAllowlist", Requires(_ALLOWLIST), _KUBELET),
    # Control groups and reservations
    Rule("system-cgroups", Requires("cgroup-root"), _KUBELET),
    Rule("reserved-cpus", Excludes("system-reserved-cgroup kube-reserved-cgroup"), _KUBELET),
    Rule("reserved-cpus", Matches(syntaxes.CPU_LIST), _KUBELET),
    Rule("enforce-node-allocatable", OneOf(f"none {_LEVELS}"), _KUBELET),
    Rule("enforce-node-allocatable", Unique(), _KUBELET),
    Rule("enforce-node-allocatable", Alone("none"), _KUBELET),
    Rule(_LEVELS_OF_SYSTEM, Requires("system-reserved-cgroup"), _KUBELET),
    Rule(_LEVELS_OF_KUBE, Requires("kube-reserved-cgroup"), _KUBELET),
    Rule(
        "enforce-node-allocatable=system-reserved",
        Excludes("enforce-node-allocatable=system-reserved-compressible"),
        _KUBELET,
    ),
    Rule(
        "enforce-node-allocatable=kube-reserved",
        Excludes("enforce-node-allocatable=kube-reserved-compressible"),
        _KUBELET,
    ),
    Rule("cgroups-per-qos=false", Excludes(f"enforce-node-allocatable={_LEVELS.replace(' ', '|')}"), _KUBELET),
    Rule("kube-reserved system-reserved", Matches(syntaxes.RESERVATION), _KUBELET_SERVER),
    Rule("qos-reserved", Matches(syntaxes.QOS_RESERVATION), _KUBELET_SERVER),
    # CPUs, memory and topology
    Rule("cpu-cfs-quota-period", Between("1ms", "1s"), _KUBELET, when="CustomCPUCFSQuotaPeriod"),
    Rule("cpu-cfs-quota-period", Between("100ms", "100ms"), _KUBELET, when="!CustomCPUCFSQuotaPeriod"),
    Rule("cpu-manager-policy", OneOf("none static"), f"{_CPU_MANAGER}/cpu_manager.go"),
    Rule(
        "cpu-manager-policy=static",
        Requires("reserved-cpus kube-reserved=cpu system-reserved=cpu", is_any=True),
        _CPU_MANAGER,
    ),
    Rule("cpu-manager-policy-options", Requires("cpu-manager-policy=static"), f"{_CPU_MANAGER}/policy_none.go"),
    Rule(
        "cpu-manager-policy-options",
        Matches(syntaxes.CPU_POLICY_OPTION),
        f"{_CPU_MANAGER}/policy_options.go",
        when="cpu-manager-policy=static",
    ),
    Rule(
        "cpu-manager-policy-options=align-by-socket|distribute-cpus-across-cores",
        Requires("CPUManagerPolicyAlphaOptions"),
        f"{_CPU_MANAGER}/policy_options.go",
        when="cpu-manager-policy=static",
    ),
    *(
        Rule(
            f"cpu-manager-policy-options={option}",
            Requires("CPUManagerPolicyBetaOptions"),
            f"{_CPU_MANAGER}/policy_options.go",
            when="cpu-manager-policy=static",
            until=until,
        )
        for option, until in (
            ("distribute-cpus-across-numa", 37),
            ("prefer-align-cpus-by-uncorecache", 35),
            ("strict-cpu-reservation", 34),
        )
    ),
    Rule("memory-manager-policy", OneOf("None Static"), "pkg/kubelet/cm/memorymanager/memory_manager.go"),
    Rule("memory-manager-policy=Static", Requires("reserved-memory"), "pkg/kubelet/cm/memorymanager/memory_manager.go"),
    Rule("topology-manager-policy", OneOf("none best-effort restricted single-numa-node"), _KUBELET),
    Rule("topology-manager-scope", OneOf("container pod"), _KUBELET),
    Rule(
        "topology-manager-policy-options",
        Matches(syntaxes.TOPOLOGY_POLICY_OPTION),
        "pkg/kubelet/cm/topologymanager",
        when="topology-manager-policy=best-effort|restricted|single-numa-node",
    ),
    # Eviction
    Rule("eviction-hard eviction-soft", Matches(syntaxes.EVICTION_THRESHOLD), _EVICTION),
    Rule("eviction-minimum-reclaim", Matches(syntaxes.EVICTION_RECLAIM), _EVICTION),
    Rule("eviction-soft-grace-period", Matches(syntaxes.EVICTION_GRACE_PERIOD), _EVICTION),
)

_KUBE_PROXY = (
    Rule("conntrack-max-per-core conntrack-min kube-api-burst", at_least(0), _PROXY),
    Rule("conntrack-tcp-timeout-close-wait conntrack-tcp-timeout-established", at_least("0s"), _PROXY),
    Rule("conntrack-udp-timeout conntrack-udp-timeout-stream", at_least("0s"), _PROXY),
    Rule("config-sync-period", more_than("0s"), _PROXY),
    Rule("healthz-port", _PORT_OR_NONE, _PROXY),
    Rule("healthz-bind-address metrics-bind-address", Matches(syntaxes.HOST_AND_PORT), _PROXY),
    # The metrics then have no address, and only the health check can be without one.
    Rule("metrics-port=0", Forbidden(), "cmd/kube-proxy/app/options.go"),
    Rule("iptables-masquerade-bit", Between(0, 31), _PROXY),
    Rule("oom-score-adj", Between(-1000, 1000), _PROXY),
    Rule("hostname-override", Matches(syntaxes.NOT_BLANK), "pkg/util/node/node.go"),
    Rule("detect-local-mode", OneOf(" ".join(LOCAL_MODES)), _PROXY),
    Rule("detect-local-mode=BridgeInterface", Requires("pod-bridge-interface"), _PROXY),
    Rule("detect-local-mode=InterfaceNamePrefix", Requires("pod-interface-name-prefix"), _PROXY),
    Rule("cluster-cidr", Matches(syntaxes.CIDRS), _PROXY, when="detect-local-mode=ClusterCIDR"),
    Rule("nodeport-addresses", Matches(syntaxes.NODE_PORT_ADDRESS_34), _PROXY, until=34),
    Rule("nodeport-addresses", Matches(syntaxes.NODE_PORT_ADDRESS), _PROXY, since=35),
    Rule("nodeport-addresses", Alone("primary"), _PROXY, until=36),
    Rule("proxy-mode", OneOf(" ".join(PROXY_MODES)), _PROXY),
    *(
        rule
        for mode in ("iptables", "ipvs")
        for rule in (
            Rule(f"{mode}-sync-period", more_than("0s"), _PROXY, when=f"proxy-mode={mode}"),
            Rule(f"{mode}-min-sync-period", at_least("0s"), _PROXY, when=f"proxy-mode={mode}"),
            Rule(
                f"{mode}-sync-period",
                Exceeds(f"{mode}-min-sync-period", or_equal=True),
                _PROXY,
                when=f"proxy-mode={mode}",
            ),
        )
    ),
    Rule("ipvs-tcp-timeout ipvs-tcpfin-timeout ipvs-udp-timeout", at_least("0s"), _PROXY, when="proxy-mode=ipvs"),
    Rule("ipvs-exclude-cidrs", Matches(syntaxes.CIDR), _PROXY, when="proxy-mode=ipvs"),
)

RULES: Mapping[Component, tuple[Rule, ...]] = {
    Component.API_SERVER: (*_ALL, *_CONTROL_PLANE_COMPONENTS, *_API_SERVER),
    Component.CONTROLLER_MANAGER: (*_ALL, *_CONTROL_PLANE_COMPONENTS, *_ELECTION, *_CONTROLLER_MANAGER),
    Component.SCHEDULER: (*_ALL, *_CONTROL_PLANE_COMPONENTS, *_ELECTION, *_SCHEDULER),
    Component.KUBELET: (*_ALL, *_KUBELET_ROWS),
    Component.KUBE_PROXY: (*_ALL, *_KUBE_PROXY),
}

DEFAULTS: Mapping[Component, Mapping[str, str]] = {
    component: dict(item.partition("=")[::2] for item in text.split())
    for component, text in {
        Component.API_SERVER: """
            authorization-mode=Node,RBAC enable-admission-plugins=NodeRestriction enable-priority-and-fairness=true
            audit-log-mode=blocking audit-log-truncate-max-event-size=102400
            audit-log-truncate-max-batch-size=10485760 audit-log-batch-throttle-burst=0 audit-log-batch-throttle-qps=0
            audit-webhook-mode=batch audit-webhook-truncate-max-event-size=102400
            audit-webhook-truncate-max-batch-size=10485760 audit-webhook-batch-throttle-enable=true
            coordinated-leadership-lease-duration=15s coordinated-leadership-renew-deadline=10s
            coordinated-leadership-retry-period=2s kube-api-qps=50 watch-cache=true
            service-account-signing-key-file=K3S service-node-port-range=30000-32767
            """,
        Component.CONTROLLER_MANAGER: f"""
            allocate-node-cidrs=true kube-api-qps=20 {" ".join(f"{name}=K3S" for pair in SIGNING for name in pair)}
            leader-elect-lease-duration=15s leader-elect-renew-deadline=10s leader-elect-retry-period=2s
            """,
        Component.SCHEDULER: """
            kube-api-qps=50
            leader-elect-lease-duration=15s leader-elect-renew-deadline=10s leader-elect-retry-period=2s
            """,
        Component.KUBELET: """
            enableSystemLogHandler=true enforce-node-allocatable=pods image-gc-high-threshold=85
            image-gc-low-threshold=80 kube-api-qps=50 minimum-image-ttl-duration=2m shutdownGracePeriod=0s
            """,
        Component.KUBE_PROXY: """
            detect-local-mode=ClusterCIDR iptables-sync-period=30s iptables-min-sync-period=1s
            ipvs-sync-period=30s ipvs-min-sync-period=1s kube-api-qps=5 proxy-mode=iptables
            """,
    }.items()
}
"""What rules depend on if the operator does not set it: K3s' own arguments, and the components' defaults."""
