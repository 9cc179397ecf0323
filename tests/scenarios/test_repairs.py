"""Each remediation, carried out as JSON has it: the control passes, and nothing else gets worse."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from agent.assess.benchmark import catalogue
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.assess.checks.check import AllOf, Check
from agent.harden.guide import criteria
from agent.harden.guide.criteria import Criterion
from agent.k3s.cis.versions import Benchmark
from agent.k3s.roles_and_versions import Component, Role
from tests.k3s_tree import K3s, started
from tests.scenarios.findings.case import OWN_PSA
from tests.scenarios.follower import Follower
from tests.scenarios.host_tree import CONFIG, DATA_DIR, DROPINS, SETTINGS, STATE, HostTree, copied

Arguments = Mapping[Component, list[str]]

pytestmark = pytest.mark.root

NEEDS_A_PERSON: Mapping[str, str] = {
    "restart K3s, which writes etcd's configuration at each start": "the tree has no K3s that could write the file",
    "add an entry for EventRateLimit with its limits to the file .*": "the setting requires K3s v1.25",
}
"""Steps that no program can carry out, as patterns, each with its reason."""

MAY_FOLLOW = {"list-dropped": "`apply` writes a list that the site's later file drops; the finding has the edit"}
"""Findings that a remediation may bring to light, each with its reason."""


def bad_value(component: Component, criterion: Criterion) -> str:
    """Return a value that the component accepts, and the criterion does not."""
    gate, least, names = (getattr(criterion, name, "") for name in ("gate", "least", "names"))
    others = {"Node": "RBAC", "RBAC": "Node"}
    found = {
        criteria.Boolean: "false" if criterion.accepts("true") else "true",
        criteria.AtLeast: str(int(least or 0) - 1),
        criteria.Duration: "0s",
        criteria.AbsolutePath: "-",
        criteria.ListIncludes: others.get(names[0] if names else "", "CertificateApproval"),
        criteria.ListIncludesOneOf: "CertificateApproval",
        criteria.ListExcludes: _with_excluded(component, criterion),
        criteria.ListSubsetOf: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_RC4_128_SHA",
        criteria.EachNotEmpty: "",
        criteria.NotEmpty: "",
        criteria.ModernTls: "VersionTLS10",
        criteria.NotGiven: "/etc/tokens.csv",
        criteria.Loopback: "0.0.0.0",  # noqa: S104 - the bad value
        criteria.LeavesGateOn: f"{gate}=false",
        criteria.RunsController: f"*,-{names[0] if names else ''}",
        criteria.Equals: "10255",
    }[type(criterion)]
    assert not criterion.accepts(found)
    return found


def _with_excluded(component: Component, criterion: Criterion) -> str:
    names: tuple[str, ...] = getattr(criterion, "names", ())
    if component is Component.KUBELET:
        return names[0] if names else ""
    return ",".join(("Node" if "AlwaysAllow" in names else "NodeRestriction", *names))


def leaves(check: Check) -> Iterator[Check]:
    if isinstance(check, AllOf):
        for item in check.checks:
            yield from leaves(item)
    else:
        yield check


def failing_arguments(benchmark: Benchmark, role: Role, known: frozenset[str] = frozenset()) -> list[Arguments]:
    """Return component arguments with which all controls of arguments fail, in as few sets as possible.

    One argument can have several requirements. Requirements in `known` are left out.
    """
    sets: list[dict[tuple[Component, str], str]] = []
    for control in catalogue.controls_of(benchmark):
        if role not in control.applies.roles:
            continue
        for check in leaves(control.check_of(benchmark)):
            if not isinstance(check, ArgumentCheck) or repr(check) in known:
                continue
            key = (check.component, check.name)
            free = next((item for item in sets if key not in item), None)
            if free is None:
                free = {}
                sets.append(free)
            free[key] = bad_value(check.component, check.criterion)
    by_component: list[Arguments] = []
    for chosen in sets:
        lists: dict[Component, list[str]] = {}
        for (component, name), value in chosen.items():
            lists.setdefault(component, []).append(f"{name}={value}")
        by_component.append(lists)
    return by_component


def place(host: HostTree, arguments: Arguments, where: str) -> None:
    """Give K3s these arguments in one of the ways in which an operator does."""
    lists = {component.config_key: values for component, values in arguments.items()}
    if where == "service":
        host.unit(host.options[1], *(f"--{key}={value}" for key, values in lists.items() for value in values))
        return
    appended = {f"{key}+": values for key, values in lists.items()}
    spelled = {key: [f"--{value.replace('-', '_', 1)}" for value in values] for key, values in lists.items()}
    path, content = {
        "main file": (CONFIG, lists),
        "twice": (CONFIG, {key: values + values for key, values in lists.items()}),
        "flow list": (CONFIG, lists),
        "other spelling": (CONFIG, spelled),
        "earlier drop-in": (f"{DROPINS}/10-site.yaml", appended),
        "later drop-in": (f"{DROPINS}/99-site.yaml", appended),
        "later drop-in that replaces": (f"{DROPINS}/99-site.yaml", lists),
    }[where]
    in_lines = where != "flow list"
    host.write(path, yaml.safe_dump(content, default_flow_style=False if in_lines else None, width=10_000), 0o600)


class Walk:
    """Carries out the remediations of a report one after the other, until no open control has another one."""

    def __init__(self, host: HostTree, *words: str) -> None:
        self.host = host
        self.words = ("--format", "json", *host.options[2:], *words)
        self.follower = Follower(host)
        self.problems: list[tuple[str, ...]] = []

    def open(self) -> dict[str, dict[str, Any]]:
        done = self.host.run("assess", *self.words)
        assert done.stdout, done
        return {
            load["id"]: load for load in json.loads(done.stdout)["verdicts"] if load["status"] in {"FAIL", "UNKNOWN"}
        }

    def warnings(self) -> dict[str, str]:
        seen = self.host.seen("check")
        return {
            finding.id: f"{finding.message}; {finding.location}; {finding.repair}"
            for finding in seen.findings
            if finding.level != "info"
        }

    def walk(self) -> list[str]:
        """Follow the report, and return the controls that are still open."""
        first, current = self.warnings(), self.open()
        done: set[tuple[str, str]] = set()
        while True:
            left = ((name, item["repair"]["text"]) for name, item in current.items())
            step = next((name for name in left if name not in done), None)
            if step is None:
                break
            done.add(step)
            current = self._follow(*step, current[step[0]]["repair"]["steps"], current)
        new = {name: text for name, text in self.warnings().items() if name not in first and name not in MAY_FOLLOW}
        self.problems += [("new finding", name, text) for name, text in new.items()]
        return list(current)

    def _follow(
        self, name: str, text: str, steps: list[dict[str, Any]], before: Mapping[str, object]
    ) -> dict[str, dict[str, Any]]:
        known = len(self.follower.prose)
        before_it = self.host.entries()
        is_done = self.follower.carry_out(steps)
        for step in self.follower.prose[known:]:
            if not any(re.fullmatch(pattern, step) for pattern in NEEDS_A_PERSON):
                self.problems.append(("needs a person", name, step))
        after = self.open()
        if is_done and steps and name in after:  # without a step, K3s' start does it
            self.problems.append(("does not help", name, text, after[name]["found"], after[name]["repair"]["text"]))
        self.problems += [("opens another", name, text, item) for item in after if item not in before]
        if is_done and steps and self.host.entries() == before_it:
            self.problems.append(("changes nothing", name, text))
        return after


def check_repairs(host: HostTree, *words: str, may_stay_open: str = "-") -> list[str]:
    """Carry out all remediations; only controls whose ids begin so may be open afterwards."""
    walk = Walk(host, *words)
    left = walk.walk()
    problems = [
        *map(str, walk.problems),
        *(f"still open: {name}" for name in left if not name.startswith(may_stay_open)),
    ]
    assert not problems, "\n".join(problems)
    return left


def node(base: HostTree, role: Role, minor: int) -> HostTree:
    started(base.root, K3s(role=str(role), minor=minor))
    base.options = ("--role", str(role), "--k3s-version", f"1.{minor}.2+k3s1")
    return base


def sampled(arguments: Arguments) -> Arguments:
    """Return one argument for each kind of bad value of a component: the texts depend on nothing else."""
    found: dict[Component, list[str]] = {}
    for component, values in arguments.items():
        kinds = {re.sub("[A-Za-z_]+=false", "gate", value.partition("=")[2]): value for value in reversed(values)}
        found[component] = [*kinds.values()]
    return found


PLAIN_PLACES = ("later drop-in that replaces", "service")
HARDENED_PLACES = ("twice", "flow list", "other spelling", "earlier drop-in", "later drop-in", "service")
CASES = [
    *((Role.SERVER, False, where) for where in PLAIN_PLACES),
    *((Role.SERVER, True, where) for where in HARDENED_PLACES),
    *((Role.AGENT, True, where) for where in ("main file", "twice", "later drop-in that replaces", "service")),
]


@pytest.mark.parametrize("number", range(len(failing_arguments(Benchmark.CIS_2_0, Role.SERVER))))
def test_the_repair_of_each_argument_is_right_as_printed(number: int, host: HostTree) -> None:
    """Every argument of the newest benchmark has a bad value in K3s' main configuration file."""
    tree = node(host, Role.SERVER, 34)
    place(tree, failing_arguments(Benchmark.CIS_2_0, Role.SERVER)[number], "main file")
    check_repairs(tree)


@pytest.mark.parametrize(("role", "is_hardened", "where"), CASES)
def test_the_repair_of_an_argument_is_right_wherever_it_is_set(
    role: Role, *, is_hardened: bool, where: str, host: HostTree
) -> None:
    """One argument for each kind of value, on a plain and on a hardened host."""
    tree = node(host, role, 34)
    if is_hardened:
        assert tree.run("apply").code == 0
    place(tree, sampled(failing_arguments(Benchmark.CIS_2_0, role)[0]), where)
    check_repairs(tree)


PLUGINS = {
    "block": "kube-apiserver-arg+:\n  - enable-admission-plugins=NodeRestriction\n",
    "block of two": "kube-apiserver-arg+:\n  - enable-admission-plugins=ServiceAccount,NodeRestriction\n",
    "brackets": "kube-apiserver-arg+: [enable-admission-plugins=NodeRestriction]\n",
    "quotes": 'kube-apiserver-arg+: ["enable-admission-plugins=NodeRestriction,ServiceAccount"]\n',
    "two lines": "kube-apiserver-arg+:\n  - enable-admission-plugins=ServiceAccount\n"
    "  - enable-admission-plugins=NodeRestriction\n",
    "cut": "kube-apiserver-arg+: [enable-admission-plugins=NodeRestriction,ServiceAccount]\n",
}
"""Lists of admission plugins. The last one has two items, because the comma is not in quotes."""


@pytest.mark.parametrize("is_backwards", [False, True])
@pytest.mark.parametrize("text", PLUGINS.values(), ids=PLUGINS)
def test_all_repairs_of_one_report_give_a_compliant_host_in_any_order(
    text: str, host: HostTree, *, is_backwards: bool
) -> None:
    """Several plugins are missing in one list. The remedies of `check` and `assess` are followed without a new run."""
    tree = node(host, Role.SERVER, 34)
    assert tree.run("apply").code == 0
    tree.write(CONFIG, text, 0o600)
    walk = Walk(tree)
    remedies = [[*finding.steps] for finding in tree.seen("check").findings if finding.level != "info"]
    remedies += [item["repair"]["steps"] for item in walk.open().values()]
    for remedy in reversed(remedies) if is_backwards else remedies:
        walk.follower.carry_out(remedy)
    assert (walk.open(), walk.warnings()) == ({}, {})


def test_an_addition_is_right_also_if_a_removal_leaves_its_list_empty(host: HostTree) -> None:
    """One control adds an argument of the kubelet, and another one removes the only argument that the file has."""
    tree = node(host, Role.SERVER, 24)
    assert tree.run("apply").code == 0
    tree.write(CONFIG, "kubelet-arg:\n- tls-min-version=VersionTLS10\n", 0o600)
    walk = Walk(tree)
    for item in walk.open().values():
        walk.follower.carry_out(item["repair"]["steps"])
    assert "kubelet-arg:" not in tree[CONFIG].read_text()
    assert {"kubelet-event-qps", "kubelet-tls-min-version"}.isdisjoint(walk.open())


LIMITS = "apiserver-event-rate-limit"


def test_the_limits_of_event_rate_limit_are_where_the_api_server_reads_them(host: HostTree) -> None:
    """It reads a file of the operator without limits, so it would exit with the plugin."""
    tree = node(host, Role.SERVER, 34)
    tree.write("/etc/own.yaml", OWN_PSA, 0o600)
    tree.write(CONFIG, "kube-apiserver-arg+: [admission-control-config-file=/etc/own.yaml]\n", 0o600)
    assert tree.run("apply").code == 0
    walk = Walk(tree)
    walk.follower.carry_out(walk.open()[LIMITS]["repair"]["steps"])
    assert LIMITS not in walk.open()
    assert walk.warnings() == {}


def test_a_setting_is_applied_also_if_the_drop_in_counts_as_edited(host: HostTree) -> None:
    """The record of the run that wrote it is lost. No edit of the operator's file repeats the list of the drop-in."""
    tree = node(host, Role.SERVER, 34)
    assert tree.run("apply").code == 0
    for record in tree[f"{STATE}/journal"].iterdir():
        record.unlink()
    tree.write(SETTINGS, "event-rate-limit: {qps: 5000, burst: 20000}\n", 0o600)
    walk = Walk(tree)
    walk.follower.carry_out(walk.open()[LIMITS]["repair"]["steps"])
    assert LIMITS not in walk.open()
    assert walk.warnings() == {}


OPEN = ("chmod 0666", "chmod 0777")
FOREIGN = ("chown 1000:1000", "chown 1000:1000")
ODD_NAME = "srv/k3s data $(touch pwned) 'x' \"y\" & ; *"


def change(host: HostTree, commands: tuple[str, str]) -> None:
    """Run a command on all files, and another on all directories, that belong to K3s and its configuration."""
    places = (
        "etc/rancher",
        "var/lib/rancher",
        "var/lib/cni",
        "srv",
        "etc/systemd/system",
        "usr/local/bin",
        "etc/sysctl.d",
    )
    for place_ in places:
        if (host.root / place_).exists():
            for kind, command in zip("fd", commands):
                words = ("find", str(host.root / place_), "-type", kind, "-exec", *command.split(), "{}", "+")
                subprocess.run(words, check=True)


def with_other_files(host: HostTree, data_dir: str = DATA_DIR) -> None:
    """Add files beyond those of a first start, among them more than five of a kind."""
    host.unit("server", name="k3s", environment="K3S_TOKEN=x\n")
    host.write("/etc/systemd/system/k3s.service.d/10-limits.conf", "[Service]\nLimitNOFILE=1048576\n")
    host.write("/usr/local/bin/k3s", "\x7fELF", 0o755)
    host.write("/etc/rancher/k3s/registries.yaml", "mirrors: {}\n", 0o600)
    for number in range(7):
        for name in (f"agent/own-{number}.key", f"server/tls/own-{number}.key", f"server/tls/own-{number}.crt"):
            host.write(f"{data_dir}/{name}", "x\n", 0o600)
        host.write(f"{data_dir}/data/0a1b/bin/own-{number}", "x\n", 0o755)
        host.write(f"/var/lib/cni/networks/cbr0/10.42.0.{number + 10}", "a pod\n", 0o600)
    for name in (
        "agent/etc/cni/net.d/10-flannel.conflist",
        "server/db/snapshots/etcd-snapshot",
        "server/logs/audit.log",
    ):
        host.write(f"{data_dir}/{name}", "x\n", 0o600)


@pytest.mark.parametrize("commands", [OPEN, FOREIGN], ids=["open", "foreign"])
@pytest.mark.parametrize("data_dir", ["var/lib/rancher/k3s", ODD_NAME], ids=["usual", "odd"])
@pytest.mark.parametrize("is_hardened", [False, True], ids=["plain", "hardened"])
def test_the_repairs_of_files_are_right_as_pasted(
    commands: tuple[str, str], data_dir: str, *, is_hardened: bool, host: HostTree
) -> None:
    """Every file is open to all, or every file and directory belongs to somebody; names are quoted for the shell."""
    host.options = ("--role", "server", "--k3s-version", "1.34.2+k3s1")
    if data_dir == ODD_NAME:
        host.write(CONFIG, yaml.safe_dump({"data-dir": f"/{ODD_NAME}"}), 0o600)
    if is_hardened:
        assert host.run("apply").code == 0
    started(host.root, K3s(data_dir=data_dir))
    with_other_files(host, f"/{data_dir}")
    change(host, commands)
    check_repairs(host)
    assert list(host.root.rglob("pwned")) == []


KUBELET_FILE = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous:
    enabled: true
readOnlyPort: 10255
rotateCertificates: false
streamingConnectionIdleTimeout: 0s
makeIPTablesUtilChains: false
podPidsLimit: 0
seccompDefault: false
eventRecordQPS: -1
featureGates: {RotateKubeletServerCertificate: false, NodeSwap: true}
tlsCipherSuites: [TLS_RSA_WITH_RC4_128_SHA]
"""


@pytest.mark.parametrize("is_hardened", [False, True], ids=["plain", "hardened"])
def test_the_repairs_of_the_kubelet_files_are_right_as_printed(*, is_hardened: bool, host: HostTree) -> None:
    """A drop-in of the kubelet sets bad values, which K3s' arguments override only in part."""
    tree = node(host, Role.SERVER, 34)
    if is_hardened:
        assert tree.run("apply").code == 0
    tree.write(f"{DATA_DIR}/agent/etc/kubelet.conf.d/99-site.conf", KUBELET_FILE, 0o600)
    check_repairs(tree)


@pytest.mark.parametrize("is_hardened", [False, True], ids=["plain", "hardened"])
def test_the_repairs_of_kernel_parameters_are_right_as_printed(*, is_hardened: bool, host: HostTree) -> None:
    """Another file sets each parameter at boot, and it has another value now."""
    tree = node(host, Role.SERVER, 34)
    if is_hardened:
        assert tree.run("apply").code == 0
    others = {"vm.overcommit_memory": "2", "vm.panic_on_oom": "1", "kernel.panic": "0", "kernel.panic_on_oops": "0"}
    others |= {"kernel.keys.root_maxkeys": "200", "kernel.keys.root_maxbytes": "20000"}
    tree.write("/etc/sysctl.d/99-site.conf", "".join(f"{key} = {value}\n" for key, value in others.items()))
    for key, value in others.items():
        if not key.startswith("kernel.keys."):  # without them `apply` does not write the drop-in
            tree.write(f"/proc/sys/{key.replace('.', '/')}", f"{value}\n")
    check_repairs(tree)


def test_the_repairs_of_etcd_are_known_to_need_a_person(host: HostTree) -> None:
    """K3s writes etcd's configuration at each start: the values are wrong because somebody edited the file."""
    tree = node(host, Role.SERVER, 34)
    path = tree[f"{DATA_DIR}/server/db/etcd/config"]
    text = path.read_text().replace("client-cert-auth: true", "client-cert-auth: false")
    path.write_text(text.replace("/server/tls/etcd/", "/server/tls/other/"))
    left = check_repairs(tree, may_stay_open="etcd-")
    assert left


@pytest.mark.parametrize("benchmark", [item for item in Benchmark if item is not Benchmark.CIS_2_0])
def test_the_repairs_of_other_benchmarks_are_right_as_printed(benchmark: Benchmark, host: HostTree) -> None:
    """Only requirements on arguments that the newest benchmark does not have are tried again, on a fitting version."""
    newest = {repr(check) for control in catalogue.controls_of(Benchmark.CIS_2_0) for check in leaves(control.check)}
    minor = benchmark.fits.last or benchmark.fits.first or 34
    for number, arguments in enumerate(failing_arguments(benchmark, Role.SERVER, frozenset(newest))):
        tree = node(copied(host, host.root.with_name(f"set-{number}")), Role.SERVER, minor)
        place(tree, arguments, "main file")
        check_repairs(tree, "--benchmark", benchmark, may_stay_open="apiserver-event-rate-limit" if minor < 25 else "-")
