"""Predictions: arguments and gates at which a component exits, similar ones that it accepts, and the table of rules."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from agent.base import package_data
from agent.k3s.components import tables
from agent.k3s.components.effective_arguments import Cause, Rejection
from agent.k3s.components.files.decoding import kind_of_value
from agent.k3s.components.files.file_rules import FILE_RULES
from agent.k3s.components.prediction import rejected_arguments
from agent.k3s.components.relations import controller_runs, is_gate, name_in
from agent.k3s.components.rules import RULES, default_values, rejected_by_rule, rules_about
from agent.k3s.default_arguments import defaults_of
from agent.k3s.roles_and_versions import Component
from tests.arguments import effective
from tests.k8s.rule_examples import examples, parsed

API_SERVER = Component.API_SERVER
CONTROLLER_MANAGER = Component.CONTROLLER_MANAGER
SCHEDULER = Component.SCHEDULER
KUBELET = Component.KUBELET
KUBE_PROXY = Component.KUBE_PROXY

PATH = PurePosixPath("/etc/rancher/k3s/config.yaml")


def predicted(component: Component, *arguments: str, minor: int = 37) -> list[Rejection]:
    return list(rejected_arguments(effective(component, *arguments, minor=minor), minor))


OF_ALL_SIGNERS = tuple(
    f"cluster-signing-{signer}-{kind}-file="
    for signer in ("kube-apiserver-client", "kubelet-client", "kubelet-serving", "legacy-unknown")
    for kind in ("cert", "key")
)
CERT, KEY = "cluster-signing-legacy-unknown-cert-file=", "cluster-signing-legacy-unknown-key-file="
OF_K3S = "/var/lib/rancher/k3s/server/tls/server-ca.crt"
CLEAN_UP = "legacy-service-account-token-clean-up-period"
NO_REQUESTS = ("max-requests-inflight=0", "max-mutating-requests-inflight=0")
CPUS = ("cpu-manager-policy=static", "kube-reserved=cpu=500m")
OPTION = "cpu-manager-policy-options="
NUMA = ("topology-manager-policy=best-effort", "topology-manager-policy-options=max-allowable-numa-nodes={}")
MEMORY = ("memory-manager-policy=Static", "kube-reserved=memory=1Gi", "eviction-hard=memory.available<512Mi")

PAIRS = [
    (API_SERVER, "foo=1", "profiling=false"),
    (API_SERVER, "request-timeout=300", "request-timeout=300s"),
    (API_SERVER, "request-timeout=0s", "request-timeout=1s"),
    (API_SERVER, "profiling=off", "profiling=f"),
    (API_SERVER, "audit-log-maxage=30d", "audit-log-maxage=30"),
    (API_SERVER, "goaway-chance=0.5", "goaway-chance=0.02"),
    (API_SERVER, "cors-allowed-origins=//(a|b$", "cors-allowed-origins=//(?:a|b)$"),
    (API_SERVER, "cors-allowed-origins=//a)$", "cors-allowed-origins=//a[)]$"),
    (API_SERVER, "cors-allowed-origins=//a[b$", "cors-allowed-origins=//a[]([:alpha:]\\]]$"),
    (API_SERVER, "cors-allowed-origins=*//a$", "cors-allowed-origins=^*//a[.]b{2}$"),
    (API_SERVER, "cors-allowed-origins=//(+a)$", "cors-allowed-origins=//\\(+a$"),
    (API_SERVER, "cors-allowed-origins=//a|?$", "cors-allowed-origins=//a|\\Q?(\\E$"),
    (API_SERVER, "tls-min-version=1.2", "tls-min-version=VersionTLS12"),
    (API_SERVER, "tls-cipher-suites=TLS_FOO", "tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (
        API_SERVER,
        "tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    ),
    (API_SERVER, "authorization-mode=RBAC,Nod", "authorization-mode=RBAC,Node"),
    (API_SERVER, "authorization-mode=RBAC,RBAC", "authorization-mode=RBAC"),
    (API_SERVER, "authorization-mode=ABAC", "authorization-mode=AlwaysAllow"),
    (API_SERVER, "admission-control=NodeRestriction", "enable-admission-plugins=NodeRestriction"),
    (API_SERVER, "runtime-config=foo/v1=true", "runtime-config=batch/v1=true"),
    (API_SERVER, "runtime-config=api/all=yes", "runtime-config=api/all=true"),
    (API_SERVER, "runtime-config=legacy/v1=true", "runtime-config=api/legacy=false"),
    (API_SERVER, "oidc-client-id=a", "api-audiences=a"),
    (API_SERVER, "", "profiling"),
    (API_SERVER, "feature-gates=Foo=true", "feature-gates=NodeSwap=true"),
    (API_SERVER, "feature-gates=InOrderInformers=false", "feature-gates=WatchListClient=false"),
    (API_SERVER, "feature-gates=NodeSwap", "feature-gates=kube:NodeSwap=true"),
    (API_SERVER, "secure-port=0", "secure-port=6445"),
    (API_SERVER, "service-account-issuer=https://[::1", "service-account-issuer=https://[::1]"),
    (API_SERVER, "service-account-key-file=", "service-account-key-file=/etc/a"),
    (API_SERVER, "advertise-address=127.0.0.1", "advertise-address=10.0.0.1"),
    (API_SERVER, "audit-log-path=/var/log/k3s/", "audit-log-path=/var/log/k3s"),
    (API_SERVER, "tls-cert-file=/etc/a", "tls-cert-file=/var/lib/rancher/k3s/server/tls/serving-kube-apiserver.crt"),
    (API_SERVER, "service-account-issuer=", "service-account-issuer=https://x"),
    (API_SERVER, "service-account-max-token-expiration=5m", "service-account-max-token-expiration=24h"),
    (API_SERVER, "logging-format=xml", "logging-format=json"),
    (API_SERVER, "service-account-issuer=https://a b", "service-account-issuer=https://a/b c"),
    (API_SERVER, "service-account-issuer=:x", "service-account-issuer=x"),
    (API_SERVER, "feature-gates=NodeSwap=true,x", "feature-gates=NodeSwap=true, ,"),
    (KUBELET, "feature-gates=NodeSwap=true, ,", "feature-gates=NodeSwap=true,"),
    (SCHEDULER, "kube-api-burst=0", "kube-api-burst=1"),
    (KUBE_PROXY, "kube-api-burst=0", "kube-api-burst=1"),
    (KUBE_PROXY, "metrics-port=0", "healthz-port=0"),
    (KUBELET, "allowed-unsafe-sysctls=net.*.x", "allowed-unsafe-sysctls=net.x.*"),
    (KUBE_PROXY, "nodeport-addresses=primary,x", "nodeport-addresses=primary,10.0.0.0/8"),
    (KUBE_PROXY, "logtostdrr=true", "logtostderr=true"),
    (CONTROLLER_MANAGER, "cluster-cidr=10.42.0.0/16,10.43.0.0/16", "cluster-cidr=10.42.0.0/16,fd00::/48"),
    (KUBELET, "tls-cert-file=/etc/a", "tls-cert-file=/var/lib/rancher/k3s/agent/serving-kubelet.crt"),
    (SCHEDULER, "tls-private-key-file=/etc/a", "tls-private-key-file=/var/lib/rancher/k3s/server/tls/a.key"),
    (SCHEDULER, "authorization-always-allow-paths=/a*b", "authorization-always-allow-paths=/a*"),
    (CONTROLLER_MANAGER, "concurrent-job-syncs=0", "concurrent-job-syncs=1"),
    (KUBELET, "image-gc-high-threshold=80", "image-gc-high-threshold=81"),
    (KUBELET, "node-labels=kubernetes.io/foo=bar", "node-labels=node.kubernetes.io/foo=bar"),
    (KUBELET, "eviction-hard=foo<1Gi", "eviction-hard=memory.available<100Mi"),
    (KUBELET, "max-pods=-1", "max-pods=0"),
    (KUBE_PROXY, "oom-score-adj=2000", "oom-score-adj=1000"),
    (CONTROLLER_MANAGER, "controllers=*,-svn", "controllers=*,-svm"),
    (CONTROLLER_MANAGER, "horizontal-pod-autoscaler-sync-period=0", "horizontal-pod-autoscaler-sync-period=1s"),
    (CONTROLLER_MANAGER, "authorization-always-allow-paths=/a,/a*b", "authorization-always-allow-paths=/a,/a*,*"),
    # WordSepNormalizeFunc of component-base replaces underscores.
    (API_SERVER, "anonymous_auth=maybe", "anonymous_auth=true"),
    # K3s adds advertise-port to the API server and passes it itself.
    (API_SERVER, "advertise-ports=6443", "advertise-port=6443"),
    # Zero for both kinds of requests stops the API server only with priority and fairness.
    (API_SERVER, NO_REQUESTS, (*NO_REQUESTS, "enable-priority-and-fairness=false")),
    (CONTROLLER_MANAGER, ("enable-leader-migration=true", "leader-elect=true"), "enable-leader-migration=true"),
    # A controller that is switched off does not read its values.
    (CONTROLLER_MANAGER, f"{CLEAN_UP}=0s", f"{CLEAN_UP}=1h"),
    (CONTROLLER_MANAGER, f"{CLEAN_UP}=0s", (f"{CLEAN_UP}=0s", "controllers=*,-legacy-service-account-token-cleaner")),
    # K3s passes a certificate and a key for each signer.
    (CONTROLLER_MANAGER, (f"{CERT}/etc/a",), (f"{CERT}/etc/a", f"{KEY}/etc/b")),
    (CONTROLLER_MANAGER, (f"{KEY}/etc/b",), (f"{CERT}{OF_K3S}",)),
    (CONTROLLER_MANAGER, (CERT,), (CERT, KEY)),
    (CONTROLLER_MANAGER, (f"{CERT}/etc/a", KEY), ("cluster-signing-cert-file=",)),
    (CONTROLLER_MANAGER, ("cluster-signing-cert-file=/etc/a",), ("cluster-signing-cert-file=/etc/a", *OF_ALL_SIGNERS)),
    (CONTROLLER_MANAGER, ("cluster-signing-cert-file=/etc/a", *OF_ALL_SIGNERS[:6]), OF_ALL_SIGNERS),
    (CONTROLLER_MANAGER, (f"{CERT}/etc/a", "controllers=*,-ttl"), (f"{CERT}/etc/a", "controllers=*,-csrsigning")),
    (CONTROLLER_MANAGER, (CERT, "controllers=*,-csrsigning"), (CERT, KEY, "controllers=*,-csrsigning")),
    (KUBELET, (*CPUS, f"{OPTION}full-pcpus-only=maybe"), (*CPUS, f"{OPTION}full-pcpus-only=true")),
    (KUBELET, (NUMA[0], NUMA[1].format(4)), (NUMA[0], NUMA[1].format(8))),
    (KUBELET, (*CPUS, f"{OPTION}align-by-socket=true"), (*CPUS, f"{OPTION}distribute-cpus-across-numa=true")),
    (KUBELET, (*CPUS, f"{OPTION}distribute-cpus-across-cores=true"), (*CPUS, f"{OPTION}strict-cpu-reservation=true")),
    (
        KUBELET,
        (*CPUS, f"{OPTION}distribute-cpus-across-numa=true", "feature-gates=CPUManagerPolicyBetaOptions=false"),
        (*CPUS, f"{OPTION}align-by-socket=true", "feature-gates=CPUManagerPolicyAlphaOptions=true"),
    ),
    (KUBELET, "tls-cert-file=/etc/a", ("tls-cert-file=/etc/a", "tls-private-key-file=/etc/b")),
    (KUBELET, "tls-private-key-file=/etc/a", "tls-private-key-file=/data/agent/serving-kubelet.key"),
    (KUBELET, "memory-manager-policy=Static", (*MEMORY, "reserved-memory=0:memory=1536Mi")),
    (KUBELET, "container-log-max-size=50m", "container-log-max-size=50M"),
    (KUBELET, "container-log-max-size=1.5Mi", "container-log-max-size=1.5M"),
    (KUBELET, "container-log-max-size=1000m", "container-log-max-size=1e3"),
]


@pytest.mark.parametrize(("component", "stops", "near"), PAIRS, ids=str)
def test_an_argument_that_stops_a_component_is_predicted_and_a_similar_one_is_not(
    component: Component, stops: str | tuple[str, ...], near: str | tuple[str, ...]
) -> None:
    """Each pair was tried with the programs of Kubernetes 1.37.2."""
    found = predicted(component, *([stops] if isinstance(stops, str) else stops))
    assert found
    assert all(
        problem.location.path == PATH and problem.message and problem.expected and all(problem.prediction[:2])
        for problem in found
    )
    assert predicted(component, *([near] if isinstance(near, str) else near)) == []


@pytest.mark.parametrize(
    ("enabled", "argument"),
    [
        ("authorization-mode=RBAC,Webhook", "authorization-webhook-version"),
        ("authentication-token-webhook-config-file=/etc/a", "authentication-token-webhook-version"),
    ],
)
def test_the_version_of_a_webhook_is_checked_if_there_is_a_webhook(enabled: str, argument: str) -> None:
    """The API server reads the version only with the webhook. Seen at 1.37.2."""
    names = [problem.argument for problem in predicted(API_SERVER, enabled, f"{argument}=v2")]
    assert argument in names
    assert argument not in [problem.argument for problem in predicted(API_SERVER, enabled, f"{argument}=v1beta1")]
    assert predicted(API_SERVER, f"{argument}=v2") == []


def test_all_values_are_parsed_and_the_last_is_checked() -> None:
    """pflag stops at the first value that it cannot parse. Other rules check only the last value."""
    assert predicted(API_SERVER, "goaway-chance=0.5", "goaway-chance=0.01") == []
    (problem,) = predicted(API_SERVER, "goaway-chance=x", "goaway-chance=0.01")
    assert problem.cause is Cause.INVALID_VALUE


def test_a_misspelt_argument_has_a_suggestion() -> None:
    (only,) = predicted(API_SERVER, "audit-log-maxages=30")
    assert only.cause is Cause.UNKNOWN_ARGUMENT
    assert only.expected == "audit-log-maxage"


@pytest.mark.parametrize(
    ("gates", "minor", "words"),
    [
        ("APIServerTracing=true", 37, "was removed in 1.37"),
        ("APIServerTracing=true", 36, ""),
        ("APIServerTracing=false", 36, "is locked to true"),
        ("AllowServiceExternalIPs=true", 34, "does not exist before 1.36"),
        ("Misspelt=true", 37, "does not exist"),
        ("AllAlpha=true", 34, ""),
        ("AllBeta=maybe", 34, "no boolean value"),
        ("CompositePodGroup=true", 37, "needs GenericWorkload"),
        ("CompositePodGroup=true,GenericWorkload=true,TopologyAwareWorkloadScheduling=true", 37, ""),
    ],
)
def test_invalid_feature_gates_are_predicted(gates: str, minor: int, words: str) -> None:
    found = list(predicted(API_SERVER, f"feature-gates={gates}", minor=minor))
    assert bool(found) is bool(words)
    assert all(problem.cause is Cause.FEATURE_GATE for problem in found)
    assert not words or words in found[0].message


def test_the_default_arguments_of_k3s_are_accepted() -> None:
    for component in Component:
        if tables.has_flags(component, 37):
            rows = [row for row in defaults_of(component) if row.versions.last is None]
            own = [f"{row.name}={row.example}" for row in rows if not row.needs]
            assert not own or predicted(component, *own) == []


@pytest.mark.parametrize("component", [CONTROLLER_MANAGER, SCHEDULER])
@pytest.mark.parametrize(
    "argument",
    ["lease-duration=10s", "renew-deadline=2400ms", "retry-period=0s", "resource-lock=endpoints"],
)
def test_values_of_the_leader_election_are_validated_only_if_it_is_enabled(component: Component, argument: str) -> None:
    """The component exits or panics; with leader-elect=false, which K3s passes with SQLite, it starts."""
    for more, number in (((), 0), (("leader-elect=false",), 0), (("leader-elect=true",), 1)):
        assert len(predicted(component, f"leader-elect-{argument}", *more)) == number


BOTH = "cluster-cidr=10.0.0.0/16,fd00::/48"


@pytest.mark.parametrize(
    ("arguments", "stops"),
    [
        # K3s' range is 10.42.0.0/16, unless its option cluster-cidr is set.
        (["node-cidr-mask-size=8"], True),
        (["node-cidr-mask-size-ipv4=-1"], True),
        (["node-cidr-mask-size=16"], False),
        (["node-cidr-mask-size=0"], False),
        (["node-cidr-mask-size-ipv6=7"], True),
        (["node-cidr-mask-size-ipv6=0"], False),
        (["cluster-cidr=10.0.0.0/12", "node-cidr-mask-size=11"], True),
        (["cluster-cidr=10.0.0.0/24"], False),
        (["cluster-cidr=10.0.0.0/25"], True),
        (["cluster-cidr=10.0.0.0/25", "node-cidr-mask-size-ipv4=25"], False),
        (["cluster-cidr=fd00::/48"], False),
        (["cluster-cidr=fd00::/47"], True),
        (["cluster-cidr=fd00::/48", "node-cidr-mask-size-ipv4=64"], True),
        ([BOTH], False),
        ([BOTH, "node-cidr-mask-size=24"], True),
        ([BOTH, "node-cidr-mask-size-ipv4=24", "node-cidr-mask-size-ipv6=64"], False),
        ([BOTH, "node-cidr-mask-size-ipv6=65"], True),
    ],
)
def test_subnets_of_nodes_fit_into_each_range(arguments: list[str], *, stops: bool) -> None:
    assert bool(predicted(CONTROLLER_MANAGER, *arguments)) is stops


@pytest.mark.parametrize(
    ("component", "arguments", "first", "last"),
    [
        # kube-proxy of 1.35.4 exits, and that of 1.37.2 does not.
        (KUBE_PROXY, ["nodeport-addresses=primary,10.0.0.0/8"], 34, 36),
        (KUBE_PROXY, ["nodeport-addresses=localhost"], 34, 34),
        # 1.34.4 was seen to start; the sources of 1.35.4 and 1.36.3 have no such check.
        (API_SERVER, ["advertise-address=127.0.0.1"], 37, 37),
        (API_SERVER, ["advertise-address=169.254.0.1"], 37, 37),
        (CONTROLLER_MANAGER, ["enable-leader-migration=true", "leader-elect=true"], 37, 37),
    ],
)
def test_an_argument_stops_some_minor_versions(
    component: Component, arguments: list[str], first: int, last: int
) -> None:
    for minor in range(34, 38):
        assert bool(predicted(component, *arguments, minor=minor)) is (first <= minor <= last)


def test_kube_proxy_ignores_values_if_it_has_a_file() -> None:
    """It parses its arguments, and logs as they say. Seen at 1.34.4 and 1.37.2."""
    file = "config=/etc/own.yaml"
    assert predicted(KUBE_PROXY, "feature-gates=Foo=true", "oom-score-adj=2000", file) == []
    for argument in ("oom-score-adj=x", "logging-format=xml", "write-config-to=/tmp/a", "help=true"):
        assert predicted(KUBE_PROXY, argument, file)


def test_a_prediction_names_its_rule_and_the_values_that_met_its_conditions() -> None:
    """The line of the table is that of the row."""
    (found,) = predicted(KUBELET, "image-gc-high-threshold=80")
    assert found.message == "needs more than 80 (image-gc-low-threshold) in image-gc-high-threshold (set by default)"
    path, _, line = found.prediction.rule.rpartition(":")
    row = (Path(__file__).parents[4] / path).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert row.startswith("kubelet\timage-gc-high-threshold\tabove")
    assert row.endswith(found.prediction.source)
    assert found.prediction.values == ("image-gc-high-threshold=80", "image-gc-low-threshold=80 (default)")


def test_the_separator_of_a_mapping_is_shown_as_it_is_written() -> None:
    (found,) = predicted(KUBELET, "eviction-hard=memory.available<0")
    assert found.message == "rejects eviction-hard=memory.available<0"


def files_stop(*texts: str) -> bool:
    """Return whether files with these fields stop the kubelet."""
    arguments = effective(KUBELET, files=texts)
    assert not arguments.problems
    return bool(list(rejected_arguments(arguments, 37)))


RESERVED = "memoryManagerPolicy: Static\nsystemReserved: {memory: 2Gi}\nevictionHard: {memory.available: 512Mi}\n"
TAINTS = "registerWithTaints: [{key: a, effect: NoSchedule}, {key: a, effect: NoSchedule}]"
ALLOWLIST = "preloadedImagesVerificationAllowlist: [a.com/*]"


@pytest.mark.parametrize(
    ("stopping", "near"),
    [
        ("cpuManagerPolicy: static", "cpuManagerPolicy: static\nreservedSystemCPUs: '0'"),
        ("cgroupsPerQOS: false\nenforceNodeAllocatable: []", "cgroupsPerQOS: false\nenforceNodeAllocatable: [none]"),
        (TAINTS.replace("NoSchedule", "Never"), TAINTS),
        (ALLOWLIST, f"{ALLOWLIST}\nimagePullCredentialsVerificationPolicy: NeverVerifyAllowlistedImages"),
        (
            "shutdownGracePeriod: 30s\nshutdownGracePeriodByPodPriority: [{priority: 0}]",
            "shutdownGracePeriod: 0s\nshutdownGracePeriodByPodPriority: [{priority: 0}]",
        ),
        ("tracing: {endpoint: 'http://localhost:4317'}", "tracing: {endpoint: 'localhost:4317'}"),
        (RESERVED, f"{RESERVED}reservedMemory: [{{limits: {{memory: 2.5Gi}}}}]"),
    ],
)
def test_fields_that_stop_the_kubelet_are_predicted_and_similar_ones_are_not(stopping: str, near: str) -> None:
    """Seen at 1.37.2."""
    assert files_stop(stopping)
    assert not files_stop(near)


def test_an_empty_list_in_a_later_file_of_the_kubelet_restores_the_default() -> None:
    """The kubelet drops the list when it merges its files. Seen at 1.37.2."""
    assert files_stop("enforceNodeAllocatable: [pods, kube-reserved]")
    assert not files_stop("enforceNodeAllocatable: [pods, kube-reserved]", "enforceNodeAllocatable: []")


@pytest.mark.parametrize(
    ("arguments", "minor", "expected"),
    [
        ([], 37, True),
        ([], 36, False),
        (["feature-gates=StorageVersionMigrator=false"], 37, False),
        (["feature-gates=StorageVersionMigrator=true"], 36, True),
        (["feature-gates=StorageVersionMigrator=true"], 34, False),
        (["feature-gates=StorageVersionMigrator=true,InformerResourceVersion=true"], 34, True),
        (["feature-gates=InformerResourceVersion=false"], 37, False),
        (["controllers=*,-storage-version-migrator-controller"], 37, False),
        (["controllers=*,-svm"], 37, False),
        (["controllers=garbagecollector"], 37, False),
        (["controllers=*,-garbagecollector"], 37, True),
    ],
)
def test_the_migration_of_storage_versions_needs_the_garbage_collector(
    arguments: list[str], minor: int, *, expected: bool
) -> None:
    """The controller is on by default since 1.37. Seen at 1.34.4 and 1.37.2."""
    found = predicted(CONTROLLER_MANAGER, "enable-garbage-collector=false", *arguments, minor=minor)
    assert bool(found) is expected
    assert predicted(CONTROLLER_MANAGER, "v=2", *arguments, minor=minor) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [((), True), (("*",), True), (("*", "-b"), False), (("-a", "a"), False), (("c",), False), (("b",), True)],
)
def test_the_first_word_about_a_controller_counts(words: tuple[str, ...], *, expected: bool) -> None:
    """Without a word about it, a controller runs if there is `*`."""
    assert controller_runs(words, "a", "b") is expected


OF_OTHERS = ("requires", "requires any", "excludes", "not below")
MINORS = range(tables.FIRST_MINOR, tables.LAST_MINOR + 1)


@pytest.mark.parametrize("component", Component)
def test_each_name_in_the_table_is_an_argument_a_field_or_a_gate(component: Component) -> None:
    """A misspelt name would make a row that never applies."""
    unknown = set()
    for rule in rules_about(component):
        others = rule.operand.split() if rule.relation in OF_OTHERS else []
        for term in (*rule.arguments.split(), *others, *rule.when.split()):
            name, minors = name_in(term), rule.minors
            exists = (
                tables.minors_of_gate(name)
                if is_gate(term)
                else [minor for minor in minors if kind_of_value(component, name, minor)]
            )
            # Not each component has each argument of the rows about all.
            if not exists and not any(kind_of_value(other, name, minor) for other in Component for minor in minors):
                unknown.add(name)
    assert unknown == set()
    assert [name for name in default_values(component) if not kind_of_value(component, name, MINORS[-1])] == []


CLOSED = {
    "cpu-manager-policy-options=prefer-align-cpus-by-uncorecache": "34-35",
    "cpu-manager-policy-options=strict-cpu-reservation": "34",
    "nodeport-addresses": "34 34-36",
}
"""Rules that a minor version removed, by their arguments. A rule without an end applies to each new minor, too."""


@pytest.mark.parametrize("table", [RULES, FILE_RULES])
def test_only_these_rules_end_with_a_minor(table: str) -> None:
    found: dict[str, str] = {}
    for row in package_data.rows("k3s", "components", table):
        if row[-2] and not row[-2].endswith("-"):
            found[row[1]] = f"{found.get(row[1], '')} {row[-2]}".strip()
    assert found == (CLOSED if table == RULES else {})


@pytest.mark.parametrize("minor", MINORS)
def test_each_row_rejects_the_example_of_what_it_rejects_and_accepts_the_other(minor: int) -> None:
    """`make k8s-test` starts the components with the same examples."""
    for example in examples(minor):
        rejected = [
            any(True for _ in rejected_by_rule(example.rule, parsed(example.component, settings, minor)))
            for settings in (example.breaks, example.meets or {})
        ]
        assert rejected == [True, False], example


def test_most_rows_have_an_example_of_what_they_accept() -> None:
    """The others are relations that the defaults meet, and rows whose values other rows reject."""
    found = examples(MINORS[-1])
    assert sum(example.meets is not None for example in found) > 0.75 * len(found)
