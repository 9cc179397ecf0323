"""Predictions of `check` that a component does not start, tested with the component.

Each finding with `prevents_start` about a component has a pair: a configuration that stops the component, and a
similar one that does not; test_rules.py tries the rows about arguments. The generated test takes its cases from the
programs' --help and from the list of feature gates. Each run has another seed, which a failure shows; PREDICTION_SEED
repeats a run.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.base.host import Host
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.k3s import admission_configuration
from agent.k3s.components import tables
from agent.k3s.roles_and_versions import Component, Version
from agent.verbs import check_and_apply
from tests.component_files import AUDIT
from tests.component_files import KUBELET as KUBELET_HEAD
from tests.component_files import POD_SECURITY_ADMISSION as PSA
from tests.k8s import binaries as programs
from tests.k8s.binaries import Binaries
from tests.k8s.namespaces import NAME
from tests.k8s.outcome import Trials
from tests.tools.generate_tables import MADE, TABLES, Built, flags

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("trials")]

CONFIG = "/etc/rancher/k3s/config.yaml"
OWN = "/etc/own.yaml"
KUBELET_FILE = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/50-own.conf"
LATER = KUBELET_FILE.replace("50-own", "60-later")
CASES = 40
SEED = os.environ.get("PREDICTION_SEED") or str(random.SystemRandom().randrange(10**6))
ENCRYPTION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers: [{aescbc: {keys: [{name: a, secret: UlJSUlJSUlJSUlJSUlJSUg==}]}}, {identity: {}}]
"""
OLD_ENCRYPTION = ENCRYPTION.replace("Configuration", "Config").replace("apiserver.config.k8s.io/", "")
AUTHORIZATION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers: [{type: Node, name: node}, {type: RBAC, name: rbac}]
"""
AUTHENTICATION = """\
apiVersion: apiserver.config.k8s.io/v1beta1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: 'https://a.com', audiences: [b]}
  claimMappings: {username: {claim: sub, prefix: ''}}
"""
SCHEDULED = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: /var/lib/rancher/k3s/server/cred/scheduler.kubeconfig}
"""
PROXIED = f"""\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{kubeconfig: /var/lib/rancher/k3s/agent/kubeproxy.kubeconfig}}
hostnameOverride: {NAME}
healthzBindAddress: 127.0.0.1
conntrack: {{maxPerCore: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s}}
"""


class Pair(NamedTuple):
    """A configuration that stops a component, and a similar one that does not."""

    finding: str
    component: Component
    stops: Mapping[str, str | None]
    near: Mapping[str, str | None]


def given(component: Component, *arguments: str) -> dict[str, str | None]:
    """Return a configuration file with these arguments."""
    return {CONFIG: f"{component.config_key}:\n" + "".join(f"- '{text}'\n" for text in arguments)}


def argument(component: Component, stops: str, near: str, finding: str = "component-argument-invalid") -> Pair:
    return Pair(finding, component, given(component, stops), given(component, near))


def named(
    name: str,
    stops: str,
    near: str,
    finding: str = "component-file-invalid",
    *others: str,
    component: Component = Component.API_SERVER,
) -> Pair:
    files = [{OWN: text, **given(component, f"{name}={OWN}", *others)} for text in (stops, near)]
    return Pair(finding, component, *files)


def kubelet_file(stops: str, near: str, finding: str = "component-argument-invalid") -> Pair:
    return Pair(finding, Component.KUBELET, {KUBELET_FILE: KUBELET_HEAD + stops}, {KUBELET_FILE: KUBELET_HEAD + near})


API_SERVER, KUBELET = Component.API_SERVER, Component.KUBELET
CONTROLLER_MANAGER, SCHEDULER, KUBE_PROXY = Component.CONTROLLER_MANAGER, Component.SCHEDULER, Component.KUBE_PROXY

LOGGED = {OWN: AUDIT, **given(API_SERVER, "audit-log-path=/var/log/own", f"audit-policy-file={OWN}")}

PAIRS = (
    *(argument(component, "no-such-argument=1", "v=2", "component-argument-unknown") for component in Component),
    *(argument(component, "feature-gates=NoSuchGate=true", "v=2", "feature-gate-invalid") for component in Component),
    argument(API_SERVER, "request-timeout=300", "request-timeout=300s"),
    argument(API_SERVER, "cors-allowed-origins=*//a$", "cors-allowed-origins=^*//a[](]$"),
    argument(API_SERVER, "runtime-config=batch/v9=true", "runtime-config=batch/v1=true"),
    argument(CONTROLLER_MANAGER, "terminated-pod-gc-threshold=many", "terminated-pod-gc-threshold=-1"),
    argument(SCHEDULER, "profiling=off", "profiling=f"),
    argument(KUBELET, "register-with-taints=a=b:Never", "register-with-taints=a=b:NoExecute"),
    named("authentication-config", AUTHENTICATION.replace("audiences", "clientID: a, audiences"), AUTHENTICATION),
    named("audit-policy-file", AUDIT.replace("level", "omitStages: [No], level"), AUDIT, "audit-policy-unusable"),
    named("admission-control-config-file", PSA.replace("kube-system", "kube-*"), PSA),
    named("admission-control-config-file", PSA.replace("enforce:", "enforced:"), PSA),
    *(
        argument(API_SERVER, stops, near, "admission-plugins-refused")
        for stops, near in (
            ("disable-admission-plugins=NodeRestriction", "disable-admission-plugins=ServiceAccount"),
            ("enable-admission-plugins=PodSecurityPolicy", "enable-admission-plugins=PodSecurity"),
            ("disable-admission-plugins=Priority,", "disable-admission-plugins=Priority"),
        )
    ),
    Pair(
        "admission-configuration-unusable",
        API_SERVER,
        given(API_SERVER, "enable-admission-plugins=EventRateLimit"),
        given(API_SERVER, "enable-admission-plugins=AlwaysPullImages"),
    ),
    named("audit-policy-file", AUDIT.replace("{level: Metadata}", ""), AUDIT, "audit-policy-unusable"),
    Pair(
        "audit-policy-unusable",
        API_SERVER,
        given(API_SERVER, f"audit-policy-file={OWN}"),
        {OWN: AUDIT, **given(API_SERVER, f"audit-policy-file={OWN}")},
    ),
    named(
        "audit-policy-file",
        AUDIT.replace("kind: Policy", "kind: Polic"),
        AUDIT.replace("kind: Policy\n", ""),
        "audit-policy-unusable",
    ),
    named("authorization-config", AUTHORIZATION.replace("name: rbac", "name: own"), AUTHORIZATION),
    *(
        named("config", SCHEDULED.replace(old, new), SCHEDULED, component=SCHEDULER)
        for old, new in (("clientConnection", "connection"), ("kubeconfig: /var", "qps: 1} # /var"))
    ),
    *(
        named("config", PROXIED.replace(old, new), PROXIED, component=KUBE_PROXY)
        for old, new in (("clientConnection", "connection"), ("maxPerCore: 0", "maxPerCore: -1"))
    ),
    named("config", f"{KUBELET_HEAD}maxPods: 1\nmaxPods: 2\n", f"{KUBELET_HEAD}maxPods: 1\n", component=KUBELET),
    named(
        "config",
        f"{KUBELET_HEAD}allowedUnsafeSysctls: [vm.max_map_count]\n",
        f"{KUBELET_HEAD}allowedUnsafeSysctls: [net.core.somaxconn]\n",
        "component-argument-invalid",
        component=KUBELET,
    ),
    named(
        "authentication-config",
        f"{AUTHENTICATION}anonymous: {{enabled: false}}\n",
        AUTHENTICATION,
        "component-file-invalid",
        "anonymous-auth=false",
    ),
    Pair(
        "component-file-invalid",  # K3s passes its own anonymous-auth: to K3s it is another argument
        API_SERVER,
        {OWN: f"{AUTHENTICATION}anonymous: {{enabled: false}}\n", **given(API_SERVER, f"authentication_config={OWN}")},
        {OWN: AUTHENTICATION, **given(API_SERVER, f"authentication_config={OWN}")},
    ),
    named("encryption-provider-config", ENCRYPTION.replace("Ug==", "UlJS"), OLD_ENCRYPTION),
    named("encryption-provider-config", re.sub(r"keys: .*]}}, ", "keys: []}}, ", ENCRYPTION), ENCRYPTION),
    argument(API_SERVER, "audit-log-maxsize=1__00", "audit-log-maxsize=1_00"),
    argument(API_SERVER, "token-auth-file=/etc/none", "token-auth-file=", "named-file-missing"),
    Pair("component-file-invalid", API_SERVER, {"/var/log/own": None, **LOGGED}, LOGGED),
    kubelet_file("cpuManagerPolicy: static\n", "cpuManagerPolicy: static\nreservedSystemCPUs: '0'\n"),
    kubelet_file("maxPods: '5'\n", "maxPod: '5'\n", "component-file-invalid"),
    kubelet_file("eventRecordQPS: -3\n", "EventRecordQPS: -3\n"),  # sorted before the kubelet's own default
    kubelet_file("eventrecordqps: -3\n", "eventrecordqps: 3\neventRecordQPS: -3\n"),
    kubelet_file("MaxPods: x\n", "MaxPods: -3\n", "component-file-invalid"),
    Pair(
        "component-argument-invalid",
        KUBELET,
        {KUBELET_FILE: f"{KUBELET_HEAD}eventrecordqps: -3\n", LATER: f"{KUBELET_HEAD}eventRecordQPS: 3\n"},
        {KUBELET_FILE: f"{KUBELET_HEAD}eventRecordQPS: -3\n", LATER: f"{KUBELET_HEAD}eventRecordQPS: 3\n"},
    ),
    kubelet_file("featureGates: {NoSuchGate: true}\n", "featureGates: {NodeSwap: true}\n", "feature-gate-invalid"),
)


def predicted(files: Mapping[str, str | None], version: str) -> set[str]:
    """Return the findings of `check` that prevent a start with these files, and not only one after apply."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name, content in files.items():
            path = root / name.lstrip("/")
            if content is None:
                path.mkdir(parents=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
        (root / "etc").mkdir(exist_ok=True)
        report = check_and_apply.check(Host.tree_at(str(root)), Request(Overrides(role="server", k3s_version=version)))
        stops = [finding for finding in report.findings if finding.prevents_start]
        return {finding.id for finding in stops if not finding.message.startswith("after apply: ")}


def _is_built(component: Component, binaries: Binaries) -> bool:
    return any((directory / component.value).exists() for directory in binaries.directories)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.finding}-{pair.component}")
def test_the_component_stops_if_check_predicts_it(trials: Trials, pair: Pair) -> None:
    if not _is_built(pair.component, trials.binaries):
        pytest.skip(f"{pair.component} is not built")
    version = trials.binaries.version
    assert pair.finding in predicted(pair.stops, version)
    outcome = trials.outcome(pair.component.value, pair.stops)
    assert outcome.exited, outcome.output[-2000:]
    assert predicted(pair.near, version) == set()
    outcome = trials.outcome(pair.component.value, pair.near)
    assert outcome.ready, outcome.last_words


VALUES = {
    "bool": ("true", "false", "maybe"),
    "duration": ("45s", "45", "2m"),
    "float": ("0.01", "x"),
    "float32": ("30", "x"),
    "int": ("7", "7.5", "seven"),
    "int32": ("7", "7.5", "99999999999"),
    "int64": ("7", "x"),
    "uint": ("7", "-7"),
    "strings": ("",),
    "mapStringBool": ("NoSuchGate=true",),
}
"""Valid and invalid values by kind. Kinds whose values must exist, such as files and addresses, are omitted."""

NOT_VARIED = re.compile(
    "help|version|.*leader-.*|.*port|.*address|etcd-.*|.*-ip|authoriz.*|authentic.*|.*auth|register-node|enable-server"
    "|requestheader-.*|cgroups-per-qos|fail-.*|service-account-.*|protect-kernel-defaults|watch-cache|cleanup|init-only"
    "|kubelet-.*|api-audiences|enable-.*-plugins|disable-.*-plugins|admission-control|encryption-.*|cpu-cfs.*|serialize.*"
    "|allocate-node-cidrs|controllers|emulat.*|min-compat.*|runtime-config.*|contention-profiling|allow-privileged"
    "|runonce|peer-.*|storage-.*|cluster-dns|tls-.*|shutdown-.*|oom-score-adj|max-open-files|conntrack-max.*"
)
"""Arguments that the launcher needs, or that change readiness but not the start."""

WAITING_GATES = {"CoordinatedLeaderElection"}
"""Feature gates with which a component waits for an API that only the same gate of the API server serves."""


def varied(component: Component, binaries: Binaries, chance: random.Random) -> str:
    """Return a random argument: a default, an invalid value, a misspelt flag or a feature gate."""
    minor = Version.parse(binaries.version).minor
    known = {
        name: kind
        for owner, name, kind in _flags(binaries)
        if owner == component.value and not NOT_VARIED.fullmatch(name)
    }
    way = chance.choice(("default", "value", "value", "misspelt", "gate"))
    if way == "default":
        name, value = chance.choice(_defaults(component, binaries, known))
        return f"{name}={value}"
    if way == "misspelt":
        name = chance.choice(sorted(name for name in known if len(name) > 1))
        at = chance.randrange(len(name) - 1)
        return f"{name[:at]}{name[at + 1 :]}=1"
    if way == "gate":
        known_gates = set(tables.names_of_gates()) - WAITING_GATES
        every = sorted(name for name in known_gates if min(tables.minors_of_gate(name)) <= minor)
        return f"feature-gates={chance.choice(every)}={chance.choice(('true', 'false'))}"
    name = chance.choice(sorted(name for name, kind in known.items() if kind in VALUES))
    return f"{name}={chance.choice(VALUES[known[name]])}"


@cache
def _flags(binaries: Binaries) -> tuple[tuple[str, str, str], ...]:
    return tuple(flags(Built(binaries.version.removeprefix("1."), _directory(Component.API_SERVER, binaries))))


def _directory(component: Component, binaries: Binaries) -> Path:
    return next(directory for directory in binaries.directories if (directory / component.value).exists())


def _defaults(component: Component, binaries: Binaries, known: Mapping[str, str]) -> list[tuple[str, str]]:
    program = _directory(component, binaries) / component.value
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^ +(?:-\w, )?--([\w-]+) \S+ .*\(default ([\w.]+)\)$", text, re.MULTILINE)
    return [(name, value) for name, value in found if known.get(name) in VALUES]


@pytest.mark.parametrize("number", range(CASES))
def test_check_and_component_agree_on_random_arguments(trials: Trials, number: int) -> None:
    """The arguments differ in each run; a failure shows the seed of the run."""
    chance = random.Random(f"{SEED}-{number}")  # noqa: S311 - not a secret
    component = chance.choice([component for component in Component if _is_built(component, trials.binaries)])
    files = given(component, varied(component, trials.binaries, chance))
    found = predicted(files, trials.binaries.version)
    outcome = trials.outcome(component.value, files)
    words = f"PREDICTION_SEED={SEED}: {files[CONFIG]}: predicted {found}; exit {outcome.code}: {outcome.last_words}"
    assert outcome.ready != bool(found), words


@pytest.mark.parametrize("version", programs.pinned())
def test_the_table_of_flags_matches_the_programs(version: str, binaries: Binaries) -> None:
    """If this fails, run `make tables`.

    A version that was built for an earlier run is compared, too.
    """
    given = [
        directory
        for directory in binaries.directories
        if (directory / "kube-apiserver").exists() and version == binaries.version
    ]
    directory = given[0] if given else programs.built(version)
    if directory is None:
        pytest.skip(f"{version} is not built: make k8s-test K8S_VERSION={version}")
    checked_in = (TABLES / tables.FLAGS).read_text(encoding="utf-8")
    assert MADE[tables.FLAGS]([Built(version.removeprefix("1."), directory)], checked_in) == checked_in


@pytest.mark.parametrize("component", Component)
def test_the_feature_gates_of_a_program_are_in_the_table(component: Component, binaries: Binaries) -> None:
    """Its --help lists the gates that are not locked; a gate that the table does not have would be a false alarm."""
    program = _directory(component, binaries) / component.value
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    listed = set(re.findall(r"^ *(?:--feature-gates .*)?(?:kube:)?([A-Z]\w+)=true\|false ", text, re.MULTILINE))
    minor = Version.parse(binaries.version).minor
    assert listed > {"AllAlpha", "AllBeta"}
    assert [name for name in listed - {"AllAlpha", "AllBeta"} if tables.feature_gate(name, minor) is None] == []


def test_the_admission_plugins_are_those_of_the_program(binaries: Binaries) -> None:
    """Its --help lists the names of all plugins."""
    program = _directory(API_SERVER, binaries) / API_SERVER.value
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    listed = re.search(r"--enable-admission-plugins .*Comma-delimited list of admission plugins: ([\w, ]+)", text)
    assert listed is not None
    names, version = listed[1].split(", "), Version.parse(binaries.version)
    assert [name for name in names if admission_configuration.is_unknown(name, version)] == []
    known = [name for name in admission_configuration.VERSIONS if not admission_configuration.is_unknown(name, version)]
    assert [name for name in known if name not in names] == []
