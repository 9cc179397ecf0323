"""Checks of component arguments: owner, location, and fix."""

from __future__ import annotations

import pytest

from agent.assess.assessment import ControlStatus
from agent.base.repair import FixOwner
from agent.k3s.cis.versions import Benchmark
from tests.component_files import ADMISSION, AUDIT, KUBELET
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import CONFIG, DATA, DROPIN, SETTINGS, UNIT, CheckedNode, fix, seen
from tests.unit.assess.conftest import Nodes

APPLY = "run `sudo k3s-harden apply`; restart K3s"
PLUGINS = "enable-admission-plugins"
SITE = f"{CONFIG}.d/95-site.yaml"


# --- owner ---


def test_a_default_of_k3s_passes_with_owner_k3s(server: CheckedNode) -> None:
    verdict = server.judged_as("apiserver-anonymous-auth", ControlStatus.PASS, FixOwner.K3S)
    assert (verdict.expected, verdict.found) == ("--anonymous-auth is false", "--anonymous-auth=false")
    assert seen(verdict)[0][1] == "default of K3s v1.34.9+k3s1 (k3s pkg/daemons/control/server.go)"


def test_a_compliant_default_of_the_component_passes(server: CheckedNode) -> None:
    verdict = server.verdict("service-account-lookup")
    assert (verdict.status, verdict.found) == (ControlStatus.PASS, "not set")
    assert verdict.expected == "--service-account-lookup is true, or is not set"
    nobody = "no configuration file sets --service-account-lookup, and K3s v1.34.9+k3s1 does not set it"
    assert seen(verdict) == ((f"{nobody}, so the default of kube-apiserver applies", "K3s v1.34.9+k3s1"),)


def test_an_unset_argument_names_the_searched_files(server: CheckedNode) -> None:
    server.config("node-name: a\n")
    server.drop_in("95-site.yaml", "{}\n")
    assert [where for _, where in seen(server.verdict("service-account-lookup"))] == [CONFIG, SITE]
    searched = [where for _, where in seen(server.verdict("kubelet-event-qps"))]
    assert searched == [CONFIG, SITE, f"{DATA}/agent/etc/kubelet.conf.d/00-k3s-defaults.conf"]


def test_a_value_of_the_drop_in_passes_with_owner_apply(hardened: CheckedNode) -> None:
    verdict = hardened.judged_as("audit-log-maxage", ControlStatus.PASS, FixOwner.APPLY)
    assert verdict.evidence[0].observation == "--audit-log-maxage=30"
    assert seen(verdict)[0][1].startswith(f"{DROPIN}:")


def test_a_value_of_the_operator_passes_with_owner_operator(server: CheckedNode) -> None:
    server.config("kubelet-arg:\n  - pod-max-pids=4096\n")
    verdict = server.judged_as("kubelet-pod-max-pids", ControlStatus.PASS, FixOwner.OPERATOR)
    assert seen(verdict) == (("--pod-max-pids=4096", f"{CONFIG}:2"),)


@pytest.mark.parametrize(
    ("config", "control", "spelled"),
    [
        ("kubelet-arg: [anonymous_auth=true]\n", "kubelet-anonymous-auth", "anonymous_auth"),
        ("kubelet-arg: [anonymous_auth=true, anonymous-auth=false]\n", "kubelet-anonymous-auth", "anonymous_auth"),
        ("kubelet-arg: [read_only-port=10255]\n", "kubelet-read-only-port", "read_only-port"),
        ("kube-apiserver-arg: [anonymous_auth=true]\n", "apiserver-anonymous-auth", "anonymous_auth"),
        ("kube-apiserver-arg: [token_auth_file=/t]\n", "apiserver-token-auth-file", "token_auth_file"),
        (
            "kubelet-arg: [streaming_connection_idle_timeout=0s]\n",
            "streaming-connection-idle-timeout",
            "streaming_connection_idle_timeout",
        ),
    ],
)
def test_a_name_with_underscores_overrides_that_with_hyphens(
    config: str, control: str, spelled: str, server: CheckedNode
) -> None:
    """K3s passes it after its own argument and after that of any file; the fix names it as it is written."""
    server.config(config)
    verdict = server.judged_as(control, ControlStatus.FAIL, FixOwner.OPERATOR)
    assert verdict.evidence[-1].observation.startswith(f"--{spelled}=")
    other = "kubelet-arg: [anonymous-auth=false]"
    edit = f"replace `{config.strip()}` by `{other}`" if "," in config else f"remove `{config.strip()}`"
    assert fix(verdict) == f"{edit} at {CONFIG}:1; restart K3s"


def test_admission_plugins_of_all_spellings_are_enabled(server: CheckedNode) -> None:
    """The API server combines the values of a list, whatever the spelling."""
    server.config("kube-apiserver-arg: [enable_admission_plugins=EventRateLimit]\n")
    verdict = server.verdict("enable-admission-plugins")
    assert (verdict.status, verdict.found) == (
        ControlStatus.PASS,
        "--enable-admission-plugins=NodeRestriction,EventRateLimit",
    )


PASS, FAIL = ControlStatus.PASS, ControlStatus.FAIL


@pytest.mark.parametrize(
    ("control", "config", "expected"),
    [
        # The components parse a list as CSV, so the quotes are not part of the item.
        ("apiserver-authorization-not-always-allow", 'authorization-mode=Node,RBAC,"AlwaysAllow"', FAIL),
        ("apiserver-always-admit", 'enable-admission-plugins=NodeRestriction,"AlwaysAdmit"', FAIL),
        ("apiserver-service-account-plugin", 'disable-admission-plugins="ServiceAccount"', FAIL),
        ("apiserver-namespace-lifecycle", 'disable-admission-plugins="PodSecurity","NamespaceLifecycle"', FAIL),
        ("enable-admission-plugins", 'enable-admission-plugins="NodeRestriction"', PASS),
        # No request ends in a nanosecond.
        ("request-timeout", "request-timeout=1ns", FAIL),
        ("request-timeout", "request-timeout=1s", PASS),
        *(
            (f"{component}-tls-min-version", f"tls-min-version=VersionTLS1{minor}", PASS if minor > 1 else FAIL)
            for component in ("apiserver", "kubelet")
            for minor in range(4)
        ),
        # `config_dir` follows K3s' own `--config-dir`, and the kubelet uses the last one.
        *(
            (f"kubelet-{name}", f"{argument}=/etc/kubelet.d", expected)
            for name in ("anonymous-auth", "authorization-mode", "client-ca")
            for argument, expected in (("config_dir", FAIL), ("config-dir", PASS))
        ),
    ],
)
def test_a_value_decides_as_its_component_reads_it(
    server: CheckedNode, control: str, config: str, expected: ControlStatus
) -> None:
    server.config(f"{'kubelet' if control.startswith('kubelet-') else 'kube-apiserver'}-arg: ['{config}']\n")
    assert server.verdict(control).status is expected


def test_the_bind_address_of_a_scheduler_with_a_file_is_checked(server: CheckedNode) -> None:
    server.config("kube-scheduler-arg: [config=/etc/s.yaml, bind-address=0.0.0.0]\n")
    assert server.verdict("scheduler-bind-address").status is ControlStatus.FAIL


@pytest.mark.parametrize("link", ["/var/log/audit.log", "/var/log/k3s"])
def test_an_audit_log_that_leads_to_a_device_keeps_nothing(link: str, server: CheckedNode) -> None:
    """Also by the directory above it."""
    server.config("kube-apiserver-arg: [audit-log-path=/var/log/k3s/audit.log]\n")
    if link.endswith(".log"):
        server.config(f"kube-apiserver-arg: [audit-log-path={link}]\n")
    assert server.verdict("audit-log-path").status is ControlStatus.PASS
    server.path(link).parent.mkdir(parents=True, exist_ok=True)
    server.path(link).symlink_to("/dev/null" if link.endswith(".log") else "/dev/pts")
    verdict = server.judged_as("audit-log-path", ControlStatus.FAIL, FixOwner.OPERATOR)
    assert "which keeps nothing" in verdict.found
    assert f"{DATA}/server/logs/audit.log" in fix(verdict)


def test_a_field_of_a_kubelet_file_names_its_line(server: CheckedNode) -> None:
    server.put("agent/etc/kubelet.conf.d/99-site.conf", f"{KUBELET}authentication: {{anonymous: {{enabled: true}}}}\n")
    verdict = server.judged_as("kubelet-anonymous-auth", ControlStatus.FAIL, FixOwner.OPERATOR)
    place = f"{DATA}/agent/etc/kubelet.conf.d/99-site.conf:3"
    assert seen(verdict) == (("authentication.anonymous.enabled: true", place),)
    assert fix(verdict) == f"replace `enabled: true` by `enabled: false` at {place}; restart K3s"


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ("authentication: {anonymous: null}", "kubelet-anonymous-auth"),
        ("authorization: null", "kubelet-authorization-mode"),
    ],
)
def test_a_section_of_a_kubelet_file_that_is_null_is_secure(text: str, control: str, server: CheckedNode) -> None:
    server.put("agent/etc/kubelet.conf.d/99-site.conf", f"{KUBELET}{text}\n")
    assert server.verdict(control).status is ControlStatus.PASS


# --- fix ---


def test_no_restart_is_needed_before_the_first_start(nodes: Nodes) -> None:
    assert fix(nodes().verdict("audit-log-path")) == "sudo k3s-harden apply"


def test_a_wrong_value_before_the_drop_in_has_owner_apply(server: CheckedNode) -> None:
    """The last value of an argument takes effect, and K3s reads the drop-in after config.yaml."""
    server.config("kube-apiserver-arg: [audit-log-maxage=3]\n")
    verdict = server.verdict("audit-log-maxage")
    assert (verdict.status, verdict.owner, fix(verdict)) == (ControlStatus.FAIL, FixOwner.APPLY, APPLY)
    assert seen(verdict) == (("--audit-log-maxage=3", f"{CONFIG}:1"),)


def test_a_wrong_value_in_a_drop_in_of_the_unit_names_the_drop_in(server: CheckedNode) -> None:
    edited = f"{UNIT}.d/10-site.conf"
    command = "/usr/local/bin/k3s server --kube-apiserver-arg=profiling=true"
    server.put(edited, f"[Service]\nExecStart=\nExecStart={command}\n")
    verdict = server.judged_as("apiserver-profiling", ControlStatus.FAIL, FixOwner.OPERATOR)
    assert seen(verdict) == (("--profiling=true", f"{edited}:3"),)
    assert fix(verdict).startswith(f"remove `--kube-apiserver-arg=profiling=true` at {edited}:3")
    server.put(edited, f"[Service]\nExecStart=\nExecStart={command.replace('profiling=true', 'audit-log-maxage=3')}\n")
    assert server.verdict("audit-log-maxage").owner is FixOwner.OPERATOR


def test_a_list_that_a_later_file_drops_is_fixed_before_and_after_apply(server: CheckedNode) -> None:
    server.drop_in("95-site.yaml", "kube-apiserver-arg: [v=2]\n")
    for then in (APPLY, "restart K3s"):
        verdict = server.judged_as("audit-log-maxage", ControlStatus.FAIL, FixOwner.OPERATOR)
        keep = "replace `kube-apiserver-arg` by `kube-apiserver-arg+`"
        assert fix(verdict).startswith(f"{keep} at {SITE}:1")
        assert fix(verdict).endswith(then)
        assert ("k3s-harden apply" in fix(verdict)) is (then == APPLY)
        server.harden()


def test_all_wrong_values_are_removed_and_the_key_once(server: CheckedNode) -> None:
    """If only the last value were removed, the one before it would take effect."""
    server.config("kube-apiserver-arg:\n- profiling=true\n- profiling=1\n")
    assert fix(server.verdict("apiserver-profiling")) == (
        f"remove `profiling=1` at {CONFIG}:3; then remove `profiling=true` at {CONFIG}:2; then remove"
        f" `kube-apiserver-arg:` at {CONFIG}:1; restart K3s"
    )


def test_a_fixed_list_keeps_allowed_names(server: CheckedNode) -> None:
    strong = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
    server.drop_in("95-site.yaml", f"kubelet-arg: ['tls-cipher-suites={strong},TLS_RSA_WITH_RC4_128_SHA']\n")
    verdict = server.judged_as("tls-cipher-suites", ControlStatus.FAIL, FixOwner.OPERATOR)
    argument = f"tls-cipher-suites={strong}"
    weak = f"{argument},TLS_RSA_WITH_RC4_128_SHA"
    assert fix(verdict) == f"replace `{weak}` by `{argument}` at {SITE}:1; restart K3s"


@pytest.mark.parametrize(
    ("benchmark", "value", "status", "better"),
    [
        (Benchmark.CIS_1_23, "", ControlStatus.FAIL, "event-qps=0"),
        (Benchmark.CIS_1_24, "50", ControlStatus.FAIL, "event-qps=0"),
        (Benchmark.CIS_1_24, "0", ControlStatus.PASS, ""),
        (Benchmark.CIS_1_7, "-1", ControlStatus.FAIL, "event-qps=50"),
        (Benchmark.CIS_1_7, "5", ControlStatus.PASS, ""),
        (Benchmark.CIS_2_0, "0", ControlStatus.PASS, ""),
        (Benchmark.CIS_2_0, "", ControlStatus.PASS, ""),
    ],
)
def test_the_required_event_rate_depends_on_the_benchmark(
    benchmark: Benchmark, value: str, status: ControlStatus, better: str, server: CheckedNode
) -> None:
    """The two oldest benchmarks require 0. Later ones accept any number; the kubelet's default is 50 from v1.27 on."""
    server.config(f"kubelet-arg: [event-qps={value}]\n" if value else "")
    verdict = server.verdict("kubelet-event-qps", benchmark)
    assert verdict.status is status
    assert bool(fix(verdict)) is bool(better)
    assert better in fix(verdict)


# --- location of the fix ---


def test_a_new_value_goes_into_the_configuration_file_of_the_host(nodes: Nodes) -> None:
    server = nodes(K3s(minor=24))
    server.starts_with("--config", "/etc/k3s/c.yaml")
    server.put("/etc/k3s/c.yaml", "kubelet-arg: [v=2]\n")
    server.put(CONFIG, "kubelet-arg: [event-qps=-1]\n")
    assert fix(server.verdict("kubelet-event-qps", Benchmark.CIS_1_24)) == (
        'add `kubelet-arg+: ["event-qps=0"]` to the end of /etc/k3s/c.yaml; restart K3s'
    )
    assert seen(server.verdict("kubelet-event-qps"))[0][1] == "/etc/k3s/c.yaml"


def test_a_drop_in_that_drops_the_list_is_fixed_first(server: CheckedNode) -> None:
    server.put(SETTINGS, "profile: strict\n")
    server.config("kubelet-arg: [v=2]\n")
    server.drop_in("95-x.yaml", "# ours\nkubelet-arg: [v=3]\n")
    server.harden()
    assert fix(server.verdict("kubelet-seccomp-default")).endswith(
        f"; then replace `kubelet-arg` by `kubelet-arg+` at {CONFIG}.d/95-x.yaml:2; restart K3s"
    )


def test_a_disabled_option_names_its_line(server: CheckedNode) -> None:
    server.drop_in("95-site.yaml", "secrets-encryption: false\n")
    verdict = server.verdict("secrets-encryption")
    assert seen(verdict) == (("secrets-encryption: false", f"{SITE}:1"),)
    assert fix(verdict).endswith(f"; then remove `secrets-encryption: false` at {SITE}:1; restart K3s")


def test_only_the_required_feature_gate_is_checked(server: CheckedNode) -> None:
    server.config("kubelet-arg: ['feature-gates=X=true']\n")
    assert server.verdict("kubelet-rotate-server-certificate").status is ControlStatus.PASS
    server.config("kubelet-arg: ['feature-gates=X=true,RotateKubeletServerCertificate=false']\n")
    verdict = server.verdict("kubelet-rotate-server-certificate")
    assert verdict.status is ControlStatus.FAIL
    assert verdict.expected == "--feature-gates does not contain RotateKubeletServerCertificate=false, or is not set"


# --- values that the API server rejects ---


@pytest.mark.parametrize(
    ("rules", "status", "found"),
    [
        ("", ControlStatus.FAIL, "its audit policy is missing"),
        ("[]", ControlStatus.FAIL, "its audit policy is invalid"),
        ("[", ControlStatus.FAIL, "its audit policy is invalid"),
        ("[{level: None}]", ControlStatus.FAIL, "the audit policy logs no request"),
        ("[{level: None}, {level: Metadata}]", ControlStatus.FAIL, "the audit policy logs no request"),
        ("[{level: None, verbs: [get]}]", ControlStatus.FAIL, "the audit policy logs no request"),
        ("[{level: Metadata}]", ControlStatus.PASS, ""),
    ],
)
def test_an_audit_policy_fails_if_it_is_invalid_or_logs_nothing(
    server: CheckedNode, rules: str, status: ControlStatus, found: str
) -> None:
    """The API server accepts a policy that logs nothing; the first rule that matches a request decides."""
    server.config("kube-apiserver-arg: [audit-policy-file=/etc/policy.yaml]\n")
    if rules:
        server.put("/etc/policy.yaml", AUDIT.replace("[{level: Metadata}]", rules))
    verdict = server.verdict("audit-policy-file")
    assert (verdict.status, verdict.owner) == (status, FixOwner.OPERATOR)
    assert found in verdict.found
    assert seen(verdict)[0] == ("--audit-policy-file=/etc/policy.yaml", f"{CONFIG}:1")
    assert "logs no request" not in found or seen(verdict)[-1][1].startswith("/etc/policy.yaml:")
    assert bool(fix(verdict)) is (status is ControlStatus.FAIL)


def test_an_audit_policy_that_is_not_readable_is_unknown(server: CheckedNode) -> None:
    server.config("kube-apiserver-arg: [audit-policy-file=/etc/policy.yaml]\n")
    server.plant("FIFO", "/etc/policy.yaml")
    server.judged_as("audit-policy-file", ControlStatus.UNKNOWN, FixOwner.OPERATOR)


def test_a_missing_audit_policy_of_apply_has_owner_apply(hardened: CheckedNode) -> None:
    hardened.path("server/audit.yaml").unlink()
    verdict = hardened.judged_as("audit-policy-file", ControlStatus.FAIL, FixOwner.APPLY)
    assert fix(verdict) == "sudo k3s-harden apply"


@pytest.mark.parametrize("plugin", ["NodeRestriction", "EventRateLimit", "AlwaysPullImages"])
def test_a_plugin_that_is_enabled_and_disabled_fails(server: CheckedNode, plugin: str) -> None:
    """The API server exits, also if K3s enables the plugin."""
    ids = {"EventRateLimit": "apiserver-event-rate-limit", "AlwaysPullImages": "apiserver-always-pull-images"}
    on = [] if plugin == "NodeRestriction" else [f"enable-admission-plugins+={plugin}"]
    server.config(f"kube-apiserver-arg: {[*on, f'disable-admission-plugins={plugin}']}\n")
    verdict = server.judged_as(ids.get(plugin, PLUGINS), ControlStatus.FAIL, FixOwner.OPERATOR)
    assert verdict.found == f"the plugin {plugin} is both enabled and disabled, so K3s would not start"
    list_ = f"kube-apiserver-arg: {[*on, f'disable-admission-plugins={plugin}']}"
    without = f"replace `{list_}` by `kube-apiserver-arg: {on}`" if on else f"remove `{list_}`"
    assert fix(verdict).endswith(f"{without} at {CONFIG}:1; restart K3s")


def test_an_empty_item_of_a_list_of_files_fails(server: CheckedNode) -> None:
    """The API server reads each file, and exits at an empty name."""
    server.config("kube-apiserver-arg:\n- service-account-key-file=/etc/key\n- service-account-key-file=\n")
    verdict = server.judged_as("apiserver-service-account-key-file", ControlStatus.FAIL, FixOwner.OPERATOR)
    assert fix(verdict) == f"remove `service-account-key-file=` at {CONFIG}:3; restart K3s"


def test_a_plugin_without_its_configuration_fails(server: CheckedNode) -> None:
    """EventRateLimit has no default limits."""
    server.config(f"kube-apiserver-arg: [{PLUGINS}+=EventRateLimit, admission-control-config-file=/etc/a.yaml]\n")
    server.put("/etc/a.yaml", ADMISSION.replace("[]", "[{name: PodSecurity}]"))
    verdict = server.judged_as("apiserver-event-rate-limit", ControlStatus.FAIL, FixOwner.OPERATOR)
    assert "EventRateLimit has no configuration" in verdict.found
    server.put("/etc/a.yaml", ADMISSION.replace("[]", "[{name: EventRateLimit, configuration: {}}]"))
    assert server.verdict("apiserver-event-rate-limit").status is ControlStatus.PASS


# --- settings ---


def test_a_setting_without_effect_is_not_suggested(nodes: Nodes) -> None:
    verdict = nodes(K3s(minor=24)).verdict("apiserver-event-rate-limit")
    assert (verdict.status, verdict.owner) == (ControlStatus.FAIL, FixOwner.OPERATOR)
    assert SETTINGS not in fix(verdict)
    assert fix(verdict).startswith("Can K3s be upgraded to v1.25 or newer")


# --- nodes that Rancher manages ---


def test_on_rancher_nodes_the_fix_is_in_the_cluster_object(server: CheckedNode) -> None:
    """Rancher overrides or removes changes in files of the node."""
    server.drop_in("50-rancher.yaml", '{"kube-apiserver-arg": ["profiling=true"]}\n')
    guide = server.verdict("audit-log-path")
    field = "spec.rkeConfig.machineGlobalConfig.kube-apiserver-arg"
    both = f'["profiling=true", "audit-log-path={DATA}/server/logs/audit.log"]'
    assert guide.owner is FixOwner.OPERATOR
    assert fix(guide) == (
        f"run `k3s-harden render rancher-cluster`; then set `{field}: {both}` in the Cluster object of this node in"
        " Rancher"
    )
    other = server.judged_as("apiserver-profiling", ControlStatus.FAIL, FixOwner.OPERATOR)
    assert fix(other) == (
        "set `spec.rkeConfig.machineGlobalConfig.kube-apiserver-arg: []` in the Cluster object of this node in Rancher"
    )
    added = server.verdict("kubelet-seccomp-default")
    patch = 'set `spec.rkeConfig.machineGlobalConfig.kubelet-arg: ["seccomp-default=true"]` in the Cluster object'
    assert patch in fix(added)


def test_on_rancher_nodes_a_file_of_the_operator_is_fixed_there(server: CheckedNode) -> None:
    server.drop_in("50-rancher.yaml", "{}\n")
    server.drop_in("95-site.yaml", "kube-apiserver-arg: [profiling=true]\n")
    remedy = fix(server.verdict("apiserver-profiling"))
    assert remedy == f"remove `kube-apiserver-arg: [profiling=true]` at {SITE}:1; restart K3s"


# --- unknown and not applicable ---


@pytest.mark.parametrize(
    ("config", "name", "reason"),
    [
        ("kube-proxy-arg: [config=/etc/p.yaml]", "kube-proxy-metrics-bind-address", "decides it, and its content"),
        ("kube-scheduler-arg: [config=/etc/s.yaml]", "scheduler-profiling", "decides it, and its content"),
        ("kube-apiserver-arg: [authentication-config=/etc/a.yaml]", "apiserver-anonymous-auth", "decides it, and its"),
        ("kube-apiserver-arg: [authorization-config=/etc/a.yaml]", "apiserver-authorization-rbac", "decides it, and"),
        ("datastore-endpoint: user:word@db/k3s", "apiserver-etcd-ca-file", "if the external datastore"),
        ("kube-apiserver-arg: [", "apiserver-profiling", "K3s would not start with its configuration"),
        ("kubelet-arg: [config=relative.yaml]", "kubelet-anonymous-auth", "is not absolute"),
    ],
)
def test_an_argument_that_another_file_decides_is_unknown(
    server: CheckedNode, config: str, name: str, reason: str
) -> None:
    """The control does not pass by a default, and the verdict contains no secret."""
    server.config(f"{config}\n")
    verdict = server.judged_as(name, ControlStatus.UNKNOWN, FixOwner.OPERATOR)
    assert verdict.found == "could not be determined"
    assert reason in verdict.reason
    assert verdict.evidence or "absolute" in reason
    assert fix(verdict)
    assert "user:word" not in str(verdict)


_AUTHENTICATION = ("kube-apiserver-arg: [authentication-config", "apiserver-anonymous-auth")
_AUTHORIZATION = ("kube-apiserver-arg: [authorization-config", "apiserver-authorization-rbac")
_PROXY = ("kube-proxy-arg: [config", "kube-proxy-metrics-bind-address")
_SCHEDULER = ("kube-scheduler-arg: [config", "scheduler-profiling")


@pytest.mark.parametrize(
    ("decided", "fields"),
    [
        (_PROXY, ("metricsBindAddress",)),
        (_SCHEDULER, ("enableProfiling",)),
        (_AUTHENTICATION, ("anonymous", "enabled: false")),
        (_AUTHORIZATION, ("authorizers", "RBAC")),
    ],
)
def test_a_file_that_cannot_be_read_has_the_field_in_its_repair(
    server: CheckedNode, decided: tuple[str, str], fields: tuple[str, ...]
) -> None:
    argument, name = decided
    server.config(f"{argument}=/etc/a.yaml]\n")
    verdict = server.verdict(name)
    assert seen(verdict)[0][1] == f"{CONFIG}:1"
    assert "correct " in fix(verdict)
    assert fix(verdict).endswith(" in /etc/a.yaml")
    assert all(field in fix(verdict) for field in fields)


@pytest.mark.parametrize(
    ("decided", "text", "expected", "shown"),
    [
        (_SCHEDULER, "enableProfiling: false\n", PASS, ("enableProfiling: false", 1)),
        (_SCHEDULER, "enableProfiling: true\n", FAIL, ("enableProfiling: true", 1)),
        (_SCHEDULER, "profiles: []\n", FAIL, ("enableProfiling is not set", 1)),
        (_PROXY, "mode: nftables\nmetricsBindAddress: 0.0.0.0:1\n", FAIL, ("metricsBindAddress: 0.0.0.0:1", 2)),
        (_PROXY, "mode: nftables\n", PASS, ("metricsBindAddress is not set", 1)),
        (_AUTHENTICATION, "anonymous: {enabled: false}\n", PASS, ("anonymous.enabled: false", 1)),
        (_AUTHENTICATION, "jwt: []\n", FAIL, ("anonymous.enabled is not set", 1)),
        (_AUTHORIZATION, "authorizers:\n- {type: Node}\n- {type: RBAC}\n", PASS, ("authorizers[].type: Node,RBAC", 2)),
        (_AUTHORIZATION, "authorizers:\n- {type: Webhook, name: site}\n", FAIL, ("authorizers[].type: Webhook", 2)),
        (_AUTHORIZATION, "authorizers: []\n", FAIL, ("authorizers[].type is not set", 1)),
    ],
)
def test_a_field_of_a_file_decides_instead_of_the_argument(
    server: CheckedNode, decided: tuple[str, str], text: str, expected: ControlStatus, shown: tuple[str, int]
) -> None:
    """Without the field, the default of the component applies. The evidence has the file and its line."""
    argument, name = decided
    server.put("/etc/a.yaml", text)
    server.config(f"{argument}=/etc/a.yaml]\n")
    verdict = server.verdict(name)
    assert verdict.status is expected
    assert seen(verdict) == (
        (f"--{argument.partition('[')[2]}=/etc/a.yaml", f"{CONFIG}:1"),
        (shown[0], f"/etc/a.yaml:{shown[1]}"),
    )
    assert "correct " in fix(verdict) or expected is PASS


@pytest.mark.parametrize("text", ["[", "- a\n", "", "enableProfiling: {a: b}\n---\n\t"])
def test_a_file_of_another_structure_passes_nothing(server: CheckedNode, text: str) -> None:
    server.put("/etc/a.yaml", text)
    server.config(f"{_SCHEDULER[0]}=/etc/a.yaml]\n")
    assert server.verdict("scheduler-profiling").status in (ControlStatus.UNKNOWN, ControlStatus.FAIL)


@pytest.mark.parametrize("kind", ["FIFO", "loop"])
def test_a_configuration_that_is_not_readable_is_unknown(server: CheckedNode, kind: str) -> None:
    server.plant(kind, CONFIG)
    for name in ("apiserver-profiling", "kubelet-anonymous-auth", "kube-proxy-metrics-bind-address"):
        assert server.verdict(name).status is ControlStatus.UNKNOWN


def test_a_version_without_its_patch_is_unknown(nodes: Nodes) -> None:
    """Releases of one minor differ in the cipher suites of K3s."""
    server = nodes(K3s(minor=24))
    server.version = "1.24"
    verdict = server.verdict("apiserver-cipher-suites")
    assert verdict.status is ControlStatus.UNKNOWN
    assert "patch release" in verdict.reason
    assert fix(verdict) == (
        "Which release of K3s starts on this host? v1.24.1+k3s1 (its defaults count): run `sudo k3s-harden assess"
        " --k3s-version v1.24.1+k3s1`. Another (`k3s --version` prints it on the host, and `assess` takes it as"
        " `--k3s-version`): nothing to do."
    )


def test_an_agent_has_no_control_plane(nodes: Nodes) -> None:
    agent = nodes(K3s(role="agent"))
    verdict = agent.judged_as("apiserver-profiling", ControlStatus.NOT_APPLICABLE, FixOwner.NONE)
    assert verdict.reason == "it applies to servers, and this is an agent"
    assert agent.verdict("kubelet-anonymous-auth").status is ControlStatus.PASS


@pytest.mark.parametrize(
    ("switch", "name"),
    [
        ("disable-apiserver", "apiserver-profiling"),
        ("disable-apiserver", "apiserver-encryption-providers"),
        ("disable-controller-manager", "controller-manager-profiling"),
        ("disable-scheduler", "scheduler-profiling"),
        ("disable-agent", "kubelet-anonymous-auth"),
        ("disable-agent", "kube-proxy-metrics-bind-address"),
        ("disable-kube-proxy", "kube-proxy-metrics-bind-address"),
    ],
)
def test_a_disabled_component_is_not_applicable(server: CheckedNode, switch: str, name: str) -> None:
    server.config(f"{switch}: false\n")
    assert server.verdict(name).status is not ControlStatus.NOT_APPLICABLE
    server.config(f"{switch}: true\n")
    verdict = server.judged_as(name, ControlStatus.NOT_APPLICABLE, FixOwner.NONE)
    assert verdict.reason.startswith(f"`{switch}` at {CONFIG}:1 disables ")


def test_a_control_of_older_versions_is_not_applicable_to_newer_versions(server: CheckedNode) -> None:
    verdict = server.verdict("apiserver-security-context-deny", Benchmark.CIS_1_24)
    assert verdict.status is ControlStatus.NOT_APPLICABLE
    assert verdict.reason == "it applies to K3s v1.24 and older, and this is v1.34.9+k3s1"
