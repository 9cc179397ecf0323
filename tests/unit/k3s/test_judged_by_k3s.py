"""K3s' own tests as judges: the merge of its configuration files, and the configurations that its tests start.

Read from k3s-io/k3s: pkg/configfilearg/parser_test.go (79b0ab7d) with testdata/ (b2ec3f46, 4de6d2db), tests/integration
(startup at 0b996430, kubeflags 0f7e6874, custometcdargs 10e1151c, flannelipv6masq 3f46da3c, flannelnone 13d400e2,
etcdsnapshot/restrictions 4732dc10, dual_stack_int_test.go), and tests/acceptance/modules/k3scluster at 721cc836.
"""

from __future__ import annotations

import shutil
from pathlib import PurePosixPath

import pytest

from agent.k3s.config_merge import ConfigText, merge_configuration
from agent.verbs import check_and_apply as verbs
from tests.fake import in_memory
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import DROPIN, CheckedNode, node

MAIN = PurePosixPath("/etc/rancher/k3s/config.yaml")
TESTDATA = {
    "data.yaml": "foo-bar: baz\na-slice:\n- 1\n- '2'\n- ''\n- three\nisempty:\nc: b\nisfalse: false\nislast: true\n",
    "data.yaml.d/01-data.yml": "foo-bar: get-overriden\na-slice:\n- 1\n- '1.5'\n- '2'\n- ''\n- three\nb-string: one\n"
    "c-slice:\n- one\n- two\nd-slice:\n- one\n- two\n",
    "data.yaml.d/02-data.yaml": "foo-bar: bar-foo\nb-string+: two\nc-slice+:\n- three\nd-slice:\n- three\n- four\n"
    "e-slice+:\n- one\n- two\n",
}
MERGED = {
    "foo-bar": ["bar-foo"],
    "a-slice": ["1", "1.5", "2", "", "three"],
    "isempty": [""],
    "config": ["b"],
    "isfalse": ["false"],
    "islast": ["true"],
    "b-string": ["one", "two"],
    "c-slice": ["one", "two", "three"],
    "d-slice": ["three", "four"],
    "e-slice": ["one", "two"],
}
SINGLE = {key: MERGED[key] for key in ("foo-bar", "d-slice", "e-slice")} | {"b-string": ["two"], "c-slice": ["three"]}
"""What K3s reads of 02-data.yaml alone."""


@pytest.mark.parametrize(("names", "expected"), [([*TESTDATA], MERGED), ([[*TESTDATA][-1]], SINGLE)])
def test_files_are_merged_as_k3s_test_expects(names: list[str], expected: dict[str, list[str]]) -> None:
    merged = merge_configuration([ConfigText(MAIN.parent / name, TESTDATA[name].encode()) for name in names])
    assert {key: [value.text for value in merged.items(key)] for key in MERGED} == {
        key: expected.get(key, []) for key in MERGED
    }


DUAL_STACK = ("--cluster-cidr", "10.42.0.0/16,2001:cafe:42::/56", "--service-cidr", "10.43.0.0/16,2001:cafe:43::/112")
STARTS = {
    "startup: default": (),
    "startup: etcd": ("--cluster-init",),
    "startup: without traefik": ("--disable", "traefik"),
    "startup: IPs": ("--node-ip", "11.22.33.44", "--node-external-ip", "55.66.77.88"),
    "startup: node options": (
        *("--node-name", "customnoder", "--with-node-id", "--node-label", "foo=bar"),
        *("--node-taint", "alice=bob:PreferNoSchedule"),
    ),
    "startup: prefer-bundled-bin": ("--prefer-bundled-bin",),
    "kubeflags": (
        "--cluster-init",
        *("--kube-apiserver-arg", "advertise-port=1234"),
        *("--kube-controller-manager-arg", "allocate-node-cidrs=false"),
        *("--kube-cloud-controller-manager-arg", "allocate-node-cidrs=false"),
        *("--kubelet-arg", "address=127.0.0.1"),
        *("--kube-proxy-arg", "cluster-cidr=127.0.0.1/16"),
    ),
    "custometcdargs": ("--cluster-init", "--etcd-arg", "quota-backend-bytes=858993459"),
    "dualstack": ("--cluster-init", *DUAL_STACK),
    "flannelipv6masq": ("--cluster-init", *DUAL_STACK, "--disable-network-policy", "--flannel-ipv6-masq"),
    "flannelnone": ("--flannel-backend=none",),
    "secretsencryption": ("--secrets-encryption", "--cluster-init"),
    "etcdsnapshot": ("--cluster-init", "--etcd-snapshot-dir=/var/tmp/snapshots"),
}
"""The arguments with which the tests start a server. It becomes ready."""
CIS_OF_MASTER = """\
secrets-encryption: true
kube-apiserver-arg:
  - 'audit-log-path=/var/lib/rancher/k3s/server/logs/audit.log'
  - 'audit-policy-file=/var/lib/rancher/k3s/server/audit.yaml'
  - 'audit-log-maxage=30'
  - 'audit-log-maxbackup=10'
  - 'audit-log-maxsize=100'
  - 'request-timeout=300s'
  - 'service-account-lookup=true'
  - 'enable-admission-plugins=NodeRestriction,PodSecurity,NamespaceLifecycle,ServiceAccount'
  - 'admission-control-config-file=/var/lib/rancher/k3s/server/cluster-level-pss.yaml'
kube-controller-manager-arg:
  - 'terminated-pod-gc-threshold=10'
  - 'use-service-account-credentials=true'
kubelet-arg:
  - 'streaming-connection-idle-timeout=5m'
  - 'make-iptables-util-chains=true'
"""
CIS_OF_WORKER = """\
kubelet-arg:
  - 'streaming-connection-idle-timeout=5m'
  - 'make-iptables-util-chains=true'
"""


UNKNOWN = "token: 12345\nnode-label: DEAFBEEF\netcd-s3: true\netcd-s3-bucket: my-backup\nnotaflag : true\n"
"""testdata/defaultdata.yaml: Test_UnitMustParse expects that a server drops `notaflag`, and that an agent gets it."""


def prevented(host: CheckedNode) -> list[str]:
    """Return what `check` predicts to prevent the start of K3s."""
    found = verbs.check(host.host(), host.request()).findings
    return [f"{finding.id}: {finding.message}" for finding in found if finding.prevents_start]


@pytest.mark.parametrize("minor", [34, 37])
@pytest.mark.parametrize("name", STARTS)
def test_a_server_that_k3s_tests_start_is_predicted_to_start(name: str, minor: int) -> None:
    with in_memory() as directory:
        host = node(directory / "server", K3s(etcd="--cluster-init" in STARTS[name], minor=minor))
        host.starts_with(*STARTS[name])
        assert prevented(host) == []


def test_a_scheduler_whose_kubeconfig_is_missing_is_predicted_to_exit() -> None:
    """K3s' test of kubeflags starts one, and reads only that K3s logs the argument."""
    with in_memory() as directory:
        host = node(directory / "server", K3s())
        host.starts_with("--kube-scheduler-arg", "authentication-kubeconfig=test")
        (found,) = prevented(host)
        assert "authentication-kubeconfig" in found


@pytest.mark.parametrize("role", ["server", "agent"])
def test_the_cis_configurations_of_k3s_acceptance_tests_are_predicted_to_start(role: str) -> None:
    with in_memory() as directory:
        host = node(directory / role, K3s(role=role, etcd=False))
        host.harden()
        if role == "server":
            shutil.copy(host.path("server/psa.yaml"), host.path("server/cluster-level-pss.yaml"))
        host.config(CIS_OF_MASTER if role == "server" else CIS_OF_WORKER)
        host.path(DROPIN).unlink()
        assert prevented(host) == []


def test_only_an_agent_is_predicted_to_exit_at_an_unknown_option() -> None:
    with in_memory() as directory:
        problems = {}
        for role in ("server", "agent"):
            host = node(directory / role, K3s(role=role))
            host.path("server/token").unlink(missing_ok=True)
            host.config(UNKNOWN)
            problems[role] = prevented(host)
    assert problems["server"] == []
    assert all(f"`{key}`" in " ".join(problems["agent"]) for key in ("etcd-s3", "etcd-s3-bucket", "notaflag"))
