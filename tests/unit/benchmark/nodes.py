"""Nodes with K3s in many states, and the results of kube-bench and of this program for each.

A disguise is a node that differs from another one only in input of kube-bench that no control requires.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from agent import value as values
from agent.assess.assessment import Assessment
from agent.assess.evidence import reader
from agent.assess.verdict import verdict
from agent.benchmark import catalogue
from agent.benchmark.kube_bench_differences import Reason
from agent.checks import k3s_arguments
from agent.checks.argument_values import GivenBy
from agent.checks.arguments import ArgumentCheck
from agent.checks.assessed_node import AssessedNode
from agent.checks.check import AllOf
from agent.guide.criteria import (
    AbsolutePath,
    AtLeast,
    Boolean,
    Duration,
    EachNotEmpty,
    Equals,
    Loopback,
    NotEmpty,
    NotGiven,
)
from agent.guide.k3s_options import PROTECT_KERNEL_DEFAULTS
from agent.k3s import default_arguments as k3s_defaults
from agent.k3s.combined_arguments import COMBINED
from agent.k3s.default_arguments import FIRST_WITH_KUBELET_FILES, Channel
from agent.k3s.kubelet_configuration import FEATURE_GATES, KUBELET_FIELDS
from agent.model import Component, Owner, Role, Version
from agent.node.components import not_run
from agent.node.datastore import Datastore
from agent.present.assessments.kube_bench import as_kube_bench
from agent.settings.schema import Overrides
from agent.situation import Request
from agent.situation.observation import observe_situation
from agent.verbs import converge as verbs
from tests import k3s_tree, kube_bench
from tests.fake import fake_host
from tests.k3s_tree import DATA_DIR, K3s

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from agent.assess.assessment import ControlStatus
    from agent.benchmark.versions import Benchmark
    from agent.checks.check import Check
    from agent.guide.criteria import Criterion
    from agent.situation import Situation

    Arguments = Sequence[tuple[Component, str, str]]

_NEW = K3s(encrypts=False)
_NOBODY = "nobody:nogroup"
_OWNERS = {"root:root": Owner(0, 0), _NOBODY: Owner(65534, 65534), "root:nogroup": Owner(0, 65534)}
_ETCD_CONFIG = f"{DATA_DIR}/server/db/etcd/config"
_ENCRYPTION_CONFIG = f"{DATA_DIR}/server/cred/encryption-config.json"
_KUBELET = '{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}'
_GATE = "RotateKubeletServerCertificate"
_STRONG = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
_WEAK = "TLS_RSA_WITH_RC4_128_SHA"
_GATES = (f"{_GATE}=true,Other=false", f"Other=true,{_GATE}=false", "AllBeta=false", f"{_GATE}=false", "Other=true")
_LISTS: Mapping[str, Sequence[str]] = {
    "enable-admission-plugins": (
        "NodeRestriction",
        "NodeRestriction,EventRateLimit,AlwaysPullImages,DenyServiceExternalIPs,PodSecurityPolicy",
        "EventRateLimit,AlwaysAdmit,SecurityContextDeny",
        "EventRateLimit,NodeRestriction",
    ),
    "disable-admission-plugins": (
        "DefaultStorageClass",
        "DefaultStorageClass,ServiceAccount",
        "DefaultStorageClass,NamespaceLifecycle",
    ),
    "authorization-mode": ("Node,RBAC", "RBAC,Node", "Node,AlwaysAllow", "Webhook", "AlwaysAllow"),
    FEATURE_GATES: _GATES,
    "tls-cipher-suites": (_STRONG, _WEAK, f"{_STRONG},{_WEAK}"),
}
_ROUNDS = 5
"""The length of the longest list of values of an argument."""

_CERTIFICATES = ("client-ca", "server-ca", "serving-kube-apiserver")
"""The certificates directly in server/tls."""

_OTHER_SPELLINGS = {
    "true": "1",
    "false": "0",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}


@dataclass(frozen=True)
class Setup:
    """A node: the files of K3s, later changes, and the remaining lines of its log.

    `files`, `modes`, `gone` and the paths of `owners` are relative to the tree's root. `grown`: K3s ran with SQLite at
    its first start.
    """

    name: str
    version: str
    k3s: K3s = _NEW
    config: Mapping[str, object] = field(default_factory=dict)
    hardened: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    gone: Sequence[str] = ()
    started: bool = True
    logged: bool = True
    grown: bool = False
    cluster_complies: bool = False

    def __str__(self) -> str:
        return f"{self.name}, {self.version}"


class Disguise(NamedTuple):
    """A node on which `reason` changes the result of kube-bench, and an equal node on which it does not."""

    reason: Reason
    node: Setup
    like: Setup


class BothResults(NamedTuple):
    """The results of kube-bench and of this program for a control, in kube-bench's terms, and the verdict."""

    theirs: str
    ours: str
    status: ControlStatus


def results_of_both(setup: Setup, benchmark: Benchmark, root: Path) -> dict[str, BothResults]:
    """Return the results of both by number, below the new directory `root`; for an agent only worker controls."""
    seen, at = _look(setup, benchmark, root)
    verdicts = tuple(verdict(control, benchmark, at, None) for control in catalogue.controls_of(benchmark))
    report = json.loads(as_kube_bench(Assessment(benchmark, "", 0, (), verdicts)))
    groups = [group for part in report["Controls"] for group in part["tests"]]
    ours = {item["test_number"]: item["status"] for group in groups for item in group["results"]}
    owners = {f"/{path}": owner for path, owner in setup.owners.items()}
    journal = _journal(at, setup) if setup.logged and setup.started else {}
    profile = benchmark.kube_bench_profile
    assert profile
    theirs = kube_bench.words(profile, kube_bench.Node(root, journal, owners, setup.cluster_complies))
    return {
        item.number.text: BothResults(theirs[item.number.text], ours[item.number.text], item.status)
        for item in verdicts
        if item.number and (seen.facts.role is Role.SERVER or item.section.startswith("4."))
    }


def plain(benchmark: Benchmark, version: str) -> Iterator[Setup]:
    """Yield nodes on which kube-bench finds all evidence: usual ones, and ones with a single change each."""
    yield from usual(version)
    yield from with_arguments(benchmark, version)
    yield from _with_files(version)
    yield from _with_etcd_settings(version)


def usual(version: str) -> Iterator[Setup]:
    """Yield nodes in usual states, with few problems."""
    encrypts = {"secrets-encryption": True}
    off = k3s_tree.ENCRYPTION.replace('"providers":[', '"providers":[{"identity":{}},')
    yield Setup("new, with etcd", version)
    yield Setup("new, with SQLite", version, k3s=K3s(etcd=False, encrypts=False))
    yield Setup("hardened", version, hardened=True)
    yield Setup("agent", version, k3s=K3s(role="agent"))
    opened = {"kubelet-arg": ["anonymous-auth=true", "authorization-mode=AlwaysAllow", "client-ca-file="]}
    yield Setup("open agent", version, k3s=K3s(role="agent"), config=opened)
    yield Setup("with secrets encrypted", version, k3s=K3s(), config=encrypts)
    yield Setup("with encryption off", version, k3s=K3s(), config=encrypts, files={_ENCRYPTION_CONFIG: off})
    yield Setup(
        "with encryption of its own",
        version,
        config=_config([(Component.API_SERVER, "encryption-provider-config", "/etc/encryption.json")]),
        files={"etc/encryption.json": k3s_tree.ENCRYPTION},
    )
    spaced = json.dumps(json.loads(k3s_tree.ENCRYPTION), indent=2)
    yield Setup("with formatted encryption", version, k3s=K3s(), config=encrypts, files={_ENCRYPTION_CONFIG: spaced})
    plugins = ["NodeRestriction", "EventRateLimit", "AlwaysPullImages", "DenyServiceExternalIPs"]
    lists = [f"{verb}-admission-plugins={','.join(plugins)}" for verb in ("enable", "disable")]
    yield Setup("with plugins on and off", version, config={"kube-apiserver-arg": lists})
    yield Setup("with a kube-proxy file", version, config={"kube-proxy-arg": ["config=/etc/kube-proxy.yaml"]})
    yield Setup("without pods", version, gone=[k3s_tree.LEASE])
    yield Setup(
        "without kube-proxy",
        version,
        config={"disable-kube-proxy": True},
        gone=[f"{DATA_DIR}/agent/kubeproxy.kubeconfig"],
    )
    agent = [f"{DATA_DIR}/{name}" for name in k3s_tree.AGENT_FILES]
    yield Setup("without an agent", version, config={"disable-agent": True}, gone=[k3s_tree.LEASE, *agent])
    rest = ("apiserver", "controller-manager", "scheduler")
    yield Setup("for etcd alone", version, config={f"disable-{name}": True for name in rest})
    yield Setup("of a cluster in order", version, cluster_complies=True)
    yield Setup("with all certificates closed but etcd's", version, modes=_certificates(DATA_DIR, _CERTIFICATES))
    for argument in (f"tls-cipher-suites={_STRONG}", "rotate-certificates=true"):
        yield Setup(f"with {argument.partition('=')[0]}", version, config={"kubelet-arg": [argument]})
    yield Setup(
        "without credentials for controllers",
        version,
        config={"kube-controller-manager-arg": ["use-service-account-credentials=false"]},
    )
    yield Setup(
        "with a kubelet file",
        version,
        config=_config([(Component.KUBELET, "config", "/etc/kubelet.yaml")]),
        files={"etc/kubelet.yaml": _KUBELET},
    )
    for mode in (0o755, 0o750, 0o500):
        yield Setup(f"etcd's directory with {mode:o}", version, modes={f"{DATA_DIR}/server/db/etcd": mode})


def with_arguments(benchmark: Benchmark, version: str) -> Iterator[Setup]:
    """Yield nodes with several values for each argument that a control tests."""
    for number in range(_ROUNDS):
        yield Setup(f"arguments {number}", version, config=_config(_arguments(benchmark, number)))
    yield Setup("with invalid values", version, config=_config(list(_invalid(benchmark))))


def disguises(benchmark: Benchmark, version: str) -> Iterator[Disguise]:
    """Yield disguises: nodes that mislead kube-bench, each with an equal node that does not."""
    for setup in (*usual(version), *with_arguments(benchmark, version)):
        yield Disguise(Reason.JOURNAL, replace(setup, logged=False), setup)
    new = Setup("new, with etcd", version)
    yield Disguise(Reason.FIRST_START, Setup("grown from SQLite", version, grown=True), new)
    for number in range(_ROUNDS):
        given = _arguments(benchmark, number)
        yield _repeated(given, _arguments(benchmark, 0), _arguments(benchmark, 1), version)
        yield _spelt_otherwise(given, version)
        yield _with_underscores(given, version)
        yield _in_a_file(given, version)
    every = (*_CERTIFICATES, "etcd/server-ca")
    yield Disguise(
        Reason.DATA_DIR,
        Setup(
            "with its data elsewhere",
            version,
            k3s=K3s(encrypts=False, data_dir="srv/k3s"),
            config={"data-dir": "/srv/k3s"},
            modes=_certificates("srv/k3s", every),
        ),
        replace(new, modes=_certificates(DATA_DIR, every)),
    )


def _certificates(data_dir: str, names: Sequence[str]) -> Mapping[str, int]:
    """Return the mode 0600 for each certificate."""
    return {f"{data_dir}/server/tls/{name}.crt": 0o600 for name in names}


def checks(check: Check) -> tuple[Check, ...]:
    """Return the parts of a check."""
    return check.checks if isinstance(check, AllOf) else (check,)


def _look(setup: Setup, benchmark: Benchmark, root: Path) -> tuple[Situation, AssessedNode]:
    root.mkdir()
    version = Version.parse(setup.version)
    if setup.started:
        k3s_tree.started(root, setup.k3s._replace(minor=version.minor))
    for name, text in setup.files.items():
        k3s_tree.put(root, name, text)
    for name, mode in setup.modes.items():
        (root / name).chmod(mode)
    for name in setup.gone:
        (root / name).unlink()
    k3s_tree.put(root, "etc/rancher/k3s/config.yaml", json.dumps(setup.config))
    host = fake_host(root)
    request = Request(Overrides(role=setup.k3s.role, k3s_version=setup.version))
    if setup.hardened:
        verbs.apply(host, request)
    seen = observe_situation(host, request)
    file_checks = [
        file for control in catalogue.controls_of(benchmark) for file in control.check_of(benchmark).files(seen.facts)
    ]
    found = reader.read_evidence(host, seen.facts, file_checks)
    # The user of the tests counts as root and cannot change owners, so other owners are inserted here.
    files = {
        check: tuple(
            values.replace(
                match,
                found=tuple(
                    values.replace(file, owner=_OWNERS[setup.owners.get(str(file.path).lstrip("/"), "root:root")])
                    for file in match.found
                ),
            )
            for match in matches
        )
        for check, matches in found.files.items()
    }
    return seen, AssessedNode(seen, values.replace(found, files=files))


def _journal(at: AssessedNode, setup: Setup) -> dict[str, list[str]]:
    """Return what K3s logged at its starts, by unit."""
    lines = []
    if setup.grown:
        before = values.replace(at.situation, facts=values.replace(at.facts, datastore=Datastore.SQLITE))
        lines.append(_start(Component.API_SERVER, AssessedNode(before, at.evidence)))
    if at.facts.datastore is Datastore.ETCD:
        lines.append("Managed etcd cluster bootstrap already complete and initialized")
    lines += [_start(item, at) for item in Component if not not_run(item, at.facts)]
    return {"k3s" if at.facts.role is Role.SERVER else "k3s-agent": lines}


_OTHER_ARGUMENTS: Mapping[Component, str] = {
    Component.API_SERVER: (
        "advertise-address advertise-port allow-privileged api-audiences bind-address cert-dir"
        " egress-selector-config-file enable-aggregator-routing enable-bootstrap-token-auth etcd-servers"
        " kubelet-preferred-address-types proxy-client-cert-file proxy-client-key-file requestheader-allowed-names"
        " service-account-issuer service-account-signing-key-file service-cluster-ip-range storage-backend"
    ),
    Component.CONTROLLER_MANAGER: (
        "allocate-node-cidrs authentication-kubeconfig authorization-kubeconfig cluster-cidr configure-cloud-routes"
        " controllers kubeconfig secure-port service-cluster-ip-range tls-cert-file tls-private-key-file"
    ),
    Component.SCHEDULER: "authentication-kubeconfig authorization-kubeconfig kubeconfig secure-port",
    Component.KUBELET: "cloud-provider containerd hostname-override kubeconfig node-ip node-labels",
    Component.KUBE_PROXY: "cluster-cidr conntrack-max-per-core healthz-bind-address kubeconfig proxy-mode",
}
"""The arguments that K3s passes besides those of default_arguments (k3s-io/docs, self-assessment-1.11.md)."""


def _start(component: Component, at: AssessedNode) -> str:
    """Return the line with all arguments, sorted by name (k3s, pkg/util/args.go), as logrus and journalctl print it."""
    rows = k3s_defaults.defaults_of(component)
    own = {row.name for row in rows if row.channel is Channel.ARGUMENT and row.in_version(at.facts.version)}
    operators = at.facts.merged_config.component_arguments(component.config_key)
    if at.facts.version.minor < FIRST_WITH_KUBELET_FILES:
        # K3s passes its own option of this name to the kubelet.
        operators = {**operators, PROTECT_KERNEL_DEFAULTS.key: ()}
    told = {GivenBy.K3S: own, GivenBy.OPERATOR: operators, GivenBy.DROPIN: operators, GivenBy.KUBELET_FILE: ()}
    words = {name: ["other"] for name in _OTHER_ARGUMENTS[component].split()}
    for name, argument in at.arguments(component).found.items():
        spelled: dict[str, list[str]] = {}
        for item in (*argument.overridden, *argument.given):
            if name in told[item.by]:
                spelled.setdefault(item.field if item.written.startswith("--") else name, []).append(item.value)
        default = k3s_arguments.default_of(component, name, at.facts)
        if spelled and name in own and default:
            spelled.setdefault(name, [default.value])  # K3s replaces its argument only if the name is spelled alike
        words.update(spelled)
    line = " ".join(f"--{name}={value}" for name in sorted(words) for value in words[name])
    moment = "2026-11-25T06:00:00Z"
    return f'Nov 25 06:00:00 node-1 k3s[1]: time="{moment}" level=info msg="Running {component} {line}"'


def _with_files(version: str) -> Iterator[Setup]:
    """Yield nodes with other modes and owners: of all files, and of each file in turn."""
    paths = [f"{DATA_DIR}/{name}" for name in (*k3s_tree.SERVER_FILES, *k3s_tree.AGENT_FILES)] + [k3s_tree.LEASE]
    directories = [f"{DATA_DIR}/server/tls", f"{DATA_DIR}/server/tls/etcd"]
    for mode in (0o777, 0o644, 0o640, 0o400):
        yield Setup(f"all files with {mode:o}", version, modes=dict.fromkeys(paths, mode))
    yield Setup("all files of another group", version, owners=dict.fromkeys(paths, "root:nogroup"))
    for path in paths:
        yield Setup(f"{path} with 666", version, modes={path: 0o666})
    for path in (*paths, *directories):
        yield Setup(f"{path} of {_NOBODY}", version, owners={path: _NOBODY})


def _with_etcd_settings(version: str) -> Iterator[Setup]:
    """Yield nodes with other settings of etcd: each changed or removed, and some that K3s does not write."""
    text = k3s_tree.ETCD.format(data=DATA_DIR)
    lines = text.splitlines()
    for number, line in enumerate(lines):
        key, _, value = line.partition(": ")
        if line.startswith("  "):
            other = f"{key}: {'false' if value == 'true' else '/etc/other'}"
            changed = "\n".join([*lines[:number], other, *lines[number + 1 :]])
            yield Setup(f"etcd, line {number} changed", version, files={_ETCD_CONFIG: changed})
            without = "\n".join([*lines[:number], *lines[number + 1 :]])
            yield Setup(f"etcd, line {number} taken out", version, files={_ETCD_CONFIG: without})
    for side in ("client", "peer"):
        for value in ("true", "false"):
            section = f"{side}-transport-security:\n"
            added = text.replace(section, f"{section}  auto-tls: {value}\n")
            yield Setup(f"etcd, {side} auto-tls {value}", version, files={_ETCD_CONFIG: added})
    quoted = text.replace("client-cert-auth: true", 'client-cert-auth: "true"')
    yield Setup("etcd, texts as values", version, files={_ETCD_CONFIG: quoted})
    yield Setup("etcd, empty", version, files={_ETCD_CONFIG: ""})
    yield Setup("etcd, cut off", version, files={_ETCD_CONFIG: text[:40]})
    yield Setup("etcd, not YAML", version, files={_ETCD_CONFIG: f"{text}]\n"})


def _config(arguments: Arguments) -> dict[str, list[str]]:
    config: dict[str, list[str]] = {}
    for component, name, value in arguments:
        config.setdefault(component.config_key, []).append(f"{name}={value}")
    return config


def _arguments(benchmark: Benchmark, number: int) -> list[tuple[Component, str, str]]:
    """Return each argument that a control tests, with its value `number`; components start at different values."""
    found: dict[tuple[Component, str], Sequence[str]] = {}
    for control in catalogue.controls_of(benchmark):
        for check in checks(control.check_of(benchmark)):
            if isinstance(check, ArgumentCheck):
                found[check.component, check.name] = _LISTS.get(check.name) or _values(check.criterion)
    return [
        (component, name, values[(number + (component is Component.KUBELET)) % len(values)])
        for (component, name), values in found.items()
    ]


def _invalid(benchmark: Benchmark) -> Iterator[tuple[Component, str, str]]:
    """Yield values that a component rejects, or reads in another way than a person does."""
    for control in catalogue.controls_of(benchmark):
        for check in checks(control.check_of(benchmark)):
            if isinstance(check, ArgumentCheck) and isinstance(check.criterion, Boolean):
                yield check.component, check.name, ""
            elif isinstance(check, ArgumentCheck) and isinstance(check.criterion, AtLeast):
                yield check.component, check.name, f"0{check.criterion.least}"
            elif isinstance(check, ArgumentCheck) and check.name == "tls-cipher-suites":
                yield check.component, check.name, f"{_STRONG},"


_FIXED_VALUES: dict[type[Criterion], Sequence[str]] = {
    Boolean: ("true", "false"),
    AbsolutePath: ("/etc/file", "-"),
    EachNotEmpty: ("/etc/file", ""),
    NotEmpty: ("/etc/file", ""),
    NotGiven: ("/etc/file",),
    Loopback: ("127.0.0.1", "0.0.0.0", "::1"),  # noqa: S104 - the value that fails
}


def _values(criterion: Criterion) -> Sequence[str]:
    """Return a value that meets the criterion, and some that do not or barely do."""
    if isinstance(criterion, AtLeast):
        least = criterion.least
        return str(least), str(least + 1), str(least - 1), "many"
    if isinstance(criterion, Duration):
        return criterion.example, "0", "0s"
    if isinstance(criterion, Equals):
        return criterion.text, "10255"
    return _FIXED_VALUES[type(criterion)]


def _repeated(given: Arguments, arguments: Arguments, other: Arguments, version: str) -> Disguise:
    """Return lists in parts, and arguments with an earlier value that is overridden."""
    parts = []
    for (component, name, value), *others in zip(given, arguments, other):
        if name in COMBINED[component]:
            parts += [(component, name, part) for part in value.split(",")]
        else:
            before = next((text for _, _, text in others if text != value), value)
            parts += [(component, name, before), (component, name, value)]
    name = "arguments repeated"
    return Disguise(
        Reason.FIRST_VALUE, Setup(name, version, config=_config(parts)), Setup(name, version, config=_config(given))
    )


def _spelt_otherwise(given: Arguments, version: str) -> Disguise:
    spelt = {other: text for text, other in _OTHER_SPELLINGS.items()}
    chosen = [
        (component, name, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" if name == "tls-cipher-suites" else value)
        for component, name, value in given
    ]
    chosen = [item for item in chosen if item[2] in spelt.values()]
    others = [(component, name, _OTHER_SPELLINGS[value]) for component, name, value in chosen]
    name = "arguments spelt otherwise"
    return Disguise(
        Reason.SPELLING, Setup(name, version, config=_config(others)), Setup(name, version, config=_config(chosen))
    )


def _with_underscores(given: Arguments, version: str) -> Disguise:
    """Return arguments that the component reads after K3s' own of the same name, which K3s does not replace."""
    others = [(component, name.replace("-", "_"), value) for component, name, value in given]
    like = [(component, f"{name}+" if name in COMBINED[component] else name, value) for component, name, value in given]
    name = "names with underscores"
    return Disguise(
        Reason.SPELLING, Setup(name, version, config=_config(others)), Setup(name, version, config=_config(like))
    )


def _in_a_file(given: Arguments, version: str) -> Disguise:
    """Return the kubelet's settings in a drop-in or a --config file, except those that K3s' arguments override."""
    k3s = Version.parse(version)
    rows = k3s_defaults.defaults_of(Component.KUBELET)
    own = {row.name for row in rows if row.channel is Channel.ARGUMENT and row.in_version(k3s) and not row.needs}
    document: dict[str, object] = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    chosen = []
    for component, name, value in given:
        setting = _typed(name, value)
        if component is Component.KUBELET and name not in own and setting is not None:
            chosen.append((component, name, value))
            _put(document, KUBELET_FIELDS[name].path.split("."), setting)
    text = json.dumps(document)
    name = "kubelet's settings in a file"
    like = Setup(name, version, config=_config(chosen))
    if k3s.minor >= FIRST_WITH_KUBELET_FILES:
        drop_in = f"{DATA_DIR}/{k3s_defaults.KUBELET_DIRECTORY}/99-site.conf"
        return Disguise(Reason.KUBELET_FILES, Setup(name, version, files={drop_in: text}), like)
    file = (Component.KUBELET, "config", "/etc/kubelet.yaml")
    like = replace(like, config=_config([file, *chosen]), files={"etc/kubelet.yaml": _KUBELET})
    return Disguise(
        Reason.KUBELET_FILES,
        Setup(name, version, config=_config([file]), files={"etc/kubelet.yaml": text}),
        like,
    )


def _put(document: dict[str, object], path: Sequence[str], setting: object) -> None:
    *above, last = path
    for key in above:
        below = document.setdefault(key, {})
        assert isinstance(below, dict)
        document = below
    document[last] = setting


def _typed(name: str, value: str) -> object:
    """Return the setting with the meaning of the argument's value; None if there is none."""
    if name not in KUBELET_FIELDS:
        return None
    expected = KUBELET_FIELDS[name].expected
    if expected == "true or false":
        return {"true": True, "false": False}.get(value)
    if expected == "a whole number":
        return int(value) if value.lstrip("-").isdecimal() else None
    if expected == "a list of strings":
        return value.split(",")
    if expected.startswith("a mapping"):
        return {gate: on == "true" for gate, _, on in (pair.partition("=") for pair in value.split(","))}
    return value or None
