"""Checks of modes and owners of files."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from agent.assess.assessment import ControlStatus
from agent.assess.checks.file_modes import stat_all
from agent.base.repair import FixOwner
from agent.k3s.cis.versions import Benchmark
from tests.component_files import KUBELET
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import CONFIG, DATA, SETTINGS, CheckedNode, fix, seen
from tests.unit.assess.conftest import Nodes


def test_files_of_k3s_pass_with_owner_k3s(server: CheckedNode) -> None:
    verdict = server.verdict("admin-kubeconfig-permissions")
    assert (verdict.status, verdict.owner, fix(verdict)) == (ControlStatus.PASS, FixOwner.K3S, "")
    assert (verdict.expected, verdict.found) == ("mode 0600 or stricter", "0600")
    assert seen(verdict) == (("0600", f"{DATA}/server/cred/admin.kubeconfig"),)


def test_many_compliant_files_are_counted(server: CheckedNode) -> None:
    for number in range(9):
        server.put(f"server/tls/extra-{number}.key", "key\n")
    verdict = server.verdict("pki-key-permissions")
    assert verdict.status is ControlStatus.PASS
    assert verdict.found == "0600 (13 files)"
    assert seen(verdict) == (("13 files, 0600", f"{DATA}/server/tls/**/*.key"),)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o700, 0o666])
def test_an_extra_permission_bit_fails(server: CheckedNode, mode: int) -> None:
    server.path("server/tls/server-ca.key").chmod(mode)
    verdict = server.judged_as("pki-key-permissions", ControlStatus.FAIL, FixOwner.OPERATOR)
    assert verdict.found == f"{mode:04o} (1 of 4 files)"
    assert seen(verdict) == ((f"{mode:04o}", f"{DATA}/server/tls/server-ca.key"),)
    assert fix(verdict) == f"sudo chmod 0600 {DATA}/server/tls/server-ca.key"


@pytest.mark.parametrize(
    ("control", "component", "argument"),
    [
        ("scheduler-kubeconfig-permissions", "kube-scheduler", "kubeconfig"),
        ("controller-manager-kubeconfig-permissions", "kube-controller-manager", "kubeconfig"),
        ("kubelet-kubeconfig-permissions", "kubelet", "kubeconfig"),
        ("kube-proxy-kubeconfig-permissions", "kube-proxy", "kubeconfig"),
        ("kubelet-client-ca-permissions", "kubelet", "client-ca-file"),
        ("pki-key-permissions", "kube-apiserver", "tls-private-key-file"),
        ("pki-key-permissions", "kube-apiserver", "service-account-signing-key-file"),
    ],
)
def test_the_file_that_an_argument_names_is_checked(
    server: CheckedNode, control: str, component: str, argument: str
) -> None:
    server.config(f"{component}-arg: [{argument}=/srv/file]\n")
    server.put("/srv/file", "content\n", 0o666)
    assert seen(server.verdict(control)) == (("0666", "/srv/file"),)
    assert fix(server.verdict(control)).startswith("sudo chmod 06")
    server.path("/srv/file").chmod(0o600)
    assert server.verdict(control).status is ControlStatus.PASS


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o000])
def test_a_stricter_mode_is_as_good(server: CheckedNode, mode: int) -> None:
    server.path("server/tls/server-ca.key").chmod(mode)
    assert server.verdict("pki-key-permissions").status is ControlStatus.PASS


def test_all_wrong_files_are_evidence_and_one_command_repairs_them(server: CheckedNode) -> None:
    for number in range(9):
        server.put(f"server/tls/extra-{number}.key", "key\n", 0o640)
    verdict = server.verdict("pki-key-permissions")
    assert verdict.found == "0640 (9 of 13 files)"
    assert len(verdict.evidence) == 9
    find = f"find {DATA}/server/tls -type f -name '*.key' -exec chmod 0600 {{}} +"
    assert fix(verdict) == f"sudo sh -c {shlex.quote(find)}"


@pytest.mark.parametrize("name", ["etcd/peer-ca.key", "kube-scheduler/kube-scheduler.key", "temporary-certs/a/b.key"])
def test_keys_at_any_depth_are_checked(server: CheckedNode, name: str) -> None:
    server.put(f"server/tls/{name}", "key\n", 0o644)
    verdict = server.verdict("pki-key-permissions")
    assert (verdict.status, verdict.found) == (ControlStatus.FAIL, "0644 (1 of 5 files)")
    assert seen(verdict) == (("0644", f"{DATA}/server/tls/{name}"),)


def test_certificates_of_etcd_are_checked(server: CheckedNode) -> None:
    server.path("server/tls/etcd/server-ca.crt").chmod(0o666)
    verdict = server.verdict("pki-certificate-permissions")
    assert seen(verdict) == (("0666", f"{DATA}/server/tls/etcd/server-ca.crt"),)


@pytest.mark.root
def test_a_file_of_another_owner_fails(server: CheckedNode) -> None:
    os.chown(server.path("agent/kubelet.kubeconfig"), 0, 1234)
    verdict = server.verdict("kubelet-kubeconfig-ownership")
    assert verdict.found == "0:1234"
    assert (verdict.status, verdict.owner) == (ControlStatus.FAIL, FixOwner.OPERATOR)
    assert verdict.expected == "owner root:root"
    assert fix(verdict) == f"sudo chown root:root {DATA}/agent/kubelet.kubeconfig"


@pytest.mark.root
@pytest.mark.parametrize("name", ["server/tls", "server/tls/etcd", "server/tls/kube-scheduler"])
def test_directories_of_keys_belong_to_root(server: CheckedNode, name: str) -> None:
    """The owner of a directory can replace the files in it, at any depth."""
    server.put("server/tls/kube-scheduler/a.key", "key\n")
    assert server.verdict("pki-ownership").status is ControlStatus.PASS
    os.chown(server.path(name), 65534, 0)
    verdict = server.verdict("pki-ownership")
    assert (verdict.status, verdict.found) == (ControlStatus.FAIL, "65534:0 (1 of 3 directories)")
    assert seen(verdict)[0] == ("65534:0", f"{DATA}/{name}")
    assert fix(verdict) == f"sudo chown root:root {DATA}/{name}"


@pytest.mark.parametrize("benchmark", Benchmark)
def test_a_kubelet_file_of_the_operator_is_checked(server: CheckedNode, benchmark: Benchmark) -> None:
    server.config("kubelet-arg: [config=/etc/kubelet.yaml]\n")
    server.put("/etc/kubelet.yaml", KUBELET, 0o666)
    verdict = server.judged_as("kubelet-config-permissions", ControlStatus.FAIL, FixOwner.OPERATOR, benchmark)
    assert ("0666", "/etc/kubelet.yaml") in seen(verdict)
    server.path("/etc/kubelet.yaml").chmod(0o600)
    assert server.verdict("kubelet-config-permissions", benchmark).status is ControlStatus.PASS


@pytest.mark.parametrize(("benchmark", "passes"), [(Benchmark.CIS_1_23, True), (Benchmark.CIS_2_1, False)])
def test_the_oldest_benchmark_allows_others_to_read_the_kubelets_files(
    nodes: Nodes, benchmark: Benchmark, *, passes: bool
) -> None:
    node = nodes(K3s(minor=29))
    assert node.verdict("kubelet-config-permissions", benchmark).status is ControlStatus.NOT_APPLICABLE
    assert node.verdict("kubelet-config-ownership", benchmark).status is ControlStatus.NOT_APPLICABLE
    node.config("kubelet-arg: [config=/etc/kubelet.yaml]\n")
    node.put("/etc/kubelet.yaml", KUBELET, 0o644)
    expected = ControlStatus.PASS if passes else ControlStatus.FAIL
    assert node.verdict("kubelet-config-permissions", benchmark).status is expected


@pytest.mark.parametrize(
    ("name", "mode", "found"),
    [
        ("agent/etc/kubelet.conf.d", 0o777, "0777"),
        ("agent/etc/kubelet.conf.d/99-site.conf", 0o666, "0666 (1 of 2 files)"),
    ],
)
def test_drop_ins_of_the_kubelet_and_their_directory_are_checked(
    server: CheckedNode, name: str, mode: int, found: str
) -> None:
    server.put("agent/etc/kubelet.conf.d/99-site.conf", KUBELET)
    assert server.verdict("kubelet-config-permissions").status is ControlStatus.PASS
    server.path(name).chmod(mode)
    verdict = server.verdict("kubelet-config-permissions")
    assert (verdict.status, verdict.found) == (ControlStatus.FAIL, found)


@pytest.mark.root
def test_the_owner_of_the_kubelets_files_is_checked(server: CheckedNode) -> None:
    server.config("kubelet-arg: [config-dir=/etc/kubelet.d]\n")
    server.put("/etc/kubelet.d/a.conf", KUBELET)
    assert server.verdict("kubelet-config-ownership").status is ControlStatus.PASS
    os.chown(server.path("/etc/kubelet.d"), 1000, 0)
    verdict = server.verdict("kubelet-config-ownership")
    assert (verdict.status, seen(verdict)[0]) == (ControlStatus.FAIL, ("1000:0", "/etc/kubelet.d"))


def test_a_relative_path_of_a_kubelet_file_is_unknown(server: CheckedNode) -> None:
    server.config("kubelet-arg: [config=kubelet.yaml]\n")
    assert server.verdict("kubelet-config-permissions").status is ControlStatus.UNKNOWN


def test_the_reason_of_etcd_data_ownership_states_no_owner(server: CheckedNode) -> None:
    assert "belongs to root" not in server.verdict("etcd-data-ownership").reason


@pytest.mark.parametrize("benchmark", [Benchmark.CIS_1_24, Benchmark.CIS_1_9, Benchmark.CIS_1_10])
def test_stricter_certificates_need_a_setting(server: CheckedNode, benchmark: Benchmark) -> None:
    open_ = server.verdict("pki-certificate-permissions", benchmark)
    assert (open_.status, open_.owner, len(open_.evidence)) == (ControlStatus.FAIL, FixOwner.OPERATOR, 4)
    assert fix(open_).startswith(
        f'set `pki.certificate-permissions: "0600"` in {SETTINGS}; then run `sudo k3s-harden apply`; or'
        " run `sudo chmod 0600 "
    )
    server.put(SETTINGS, 'pki: {certificate-permissions: "0600"}\n')
    ready = server.verdict("pki-certificate-permissions", benchmark)
    assert (ready.status, ready.owner, fix(ready)) == (ControlStatus.FAIL, FixOwner.APPLY, "sudo k3s-harden apply")
    server.harden()
    server.judged_as("pki-certificate-permissions", ControlStatus.PASS, FixOwner.APPLY, benchmark)


@pytest.mark.parametrize("benchmark", [Benchmark.CIS_1_23, Benchmark.CIS_1_11, Benchmark.CIS_2_1])
def test_certificates_of_k3s_pass_if_the_benchmark_allows_0644(server: CheckedNode, benchmark: Benchmark) -> None:
    verdict = server.verdict("pki-certificate-permissions", benchmark)
    assert (verdict.status, verdict.owner, verdict.found) == (ControlStatus.PASS, FixOwner.K3S, "0644 (4 files)")


def test_files_of_k3s_are_unknown_before_its_first_start(nodes: Nodes) -> None:
    verdict = nodes().verdict("admin-kubeconfig-permissions")
    assert (verdict.status, verdict.owner) == (ControlStatus.UNKNOWN, FixOwner.K3S)
    assert verdict.reason == "K3s creates it at its first start, and has not started yet"
    assert fix(verdict) == "start K3s"


def test_a_missing_file_is_unknown_after_the_start(server: CheckedNode) -> None:
    server.path("server/cred/admin.kubeconfig").unlink()
    verdict = server.verdict("admin-kubeconfig-permissions")
    assert verdict.status is ControlStatus.UNKNOWN
    assert "missing although K3s has started" in verdict.reason
    assert fix(verdict) == "restart K3s"


def test_a_file_of_the_kubelet_is_evidence_before_directories_that_do_not_exist(nodes: Nodes) -> None:
    node = nodes()
    node.config("kubelet-arg: [config=/etc/kubelet.yaml]\n")
    node.put("/etc/kubelet.yaml", "kind: KubeletConfiguration\n", 0o666)
    verdict = node.verdict("kubelet-config-permissions")
    assert verdict.expected == "directories: mode 0755 or stricter, and files: mode 0600 or stricter"
    assert seen(verdict) == (("0666", "/etc/kubelet.yaml"), ("no such file", f"{DATA}/agent/etc/kubelet.conf.d"))
    assert node.verdict("kubelet-config-ownership").expected == "owner root:root"


@pytest.mark.parametrize("kind", ["FIFO", "directory", "loop", "dangling"])
def test_an_irregular_file_is_unknown(server: CheckedNode, kind: str) -> None:
    key = server.plant(kind, "server/cred/admin.kubeconfig")
    verdict = server.judged_as("admin-kubeconfig-permissions", ControlStatus.UNKNOWN, FixOwner.OPERATOR)
    assert str(key.relative_to(server.root)) in verdict.reason
    path = "/" + str(key.relative_to(server.root))
    away = f"sudo rm {path}" if kind == "dangling" else f"sudo mv -nT {path} {path}.moved"
    assert f"run `{away}`; then run `sudo k3s-harden assess`" in fix(verdict)


def test_a_wrong_file_fails_despite_unknown_files(server: CheckedNode) -> None:
    server.plant("FIFO", "server/tls/odd.key")
    assert server.verdict("pki-key-permissions").status is ControlStatus.UNKNOWN
    server.path("server/tls/server-ca.key").chmod(0o644)
    assert server.verdict("pki-key-permissions").status is ControlStatus.FAIL


@pytest.mark.parametrize(
    ("name", "config", "reason"),
    [
        ("kube-proxy-kubeconfig-permissions", "disable-kube-proxy: true\n", "`disable-kube-proxy` at /etc/rancher"),
        ("kubelet-kubeconfig-ownership", "disable-agent: true\n", "`disable-agent` at /etc/rancher"),
    ],
)
def test_missing_files_of_disabled_components_are_not_applicable(
    server: CheckedNode, name: str, config: str, reason: str
) -> None:
    server.config(config)
    for file in server.path("agent").glob("*.kubeconfig"):
        file.unlink()
    verdict = server.verdict(name)
    assert (verdict.status, verdict.owner, fix(verdict)) == (ControlStatus.NOT_APPLICABLE, FixOwner.NONE, "")
    assert verdict.reason.startswith(reason)


def test_a_container_network_without_leases_is_not_applicable(server: CheckedNode) -> None:
    server.path("/var/lib/cni/networks/cbr0/10.42.0.2").unlink()
    verdict = server.verdict("cni-permissions")
    assert verdict.status is ControlStatus.NOT_APPLICABLE
    assert verdict.reason == "no file matches /var/lib/cni/networks/**"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("write-kubeconfig-mode: '0644'\n", "write-kubeconfig-mode: 0644"),
        ("write-kubeconfig-mode: '640'\n", "write-kubeconfig-mode: 640"),
        ("write-kubeconfig-group: users\n", "write-kubeconfig-group: users"),
        ("write-kubeconfig-mode: '0600'\nwrite-kubeconfig-group: root\n", ""),
    ],
)
def test_options_that_open_the_kubeconfig_at_the_next_start_fail(server: CheckedNode, text: str, found: str) -> None:
    """K3s writes the file at each start, so its present mode does not last."""
    server.config(text)
    verdict = server.verdict("k3s-kubeconfig")
    if found:
        assert (verdict.status, verdict.found) == (ControlStatus.FAIL, found)
        assert (
            fix(verdict)
            == f"give people their own kubeconfigs; then remove `{text.strip()}` at {CONFIG}:1; restart K3s"
        )
    else:
        assert verdict.status is ControlStatus.PASS


def test_the_admin_kubeconfig_is_accessible_only_by_root(server: CheckedNode) -> None:
    assert server.verdict("k3s-kubeconfig").status is ControlStatus.PASS
    server.path("/etc/rancher/k3s/k3s.yaml").chmod(0o644)
    verdict = server.verdict("k3s-kubeconfig")
    assert (verdict.status, verdict.owner, verdict.number) == (ControlStatus.FAIL, FixOwner.OPERATOR, None)
    assert seen(verdict)[0] == ("0644", "/etc/rancher/k3s/k3s.yaml")
    assert "sudo chmod 0600 /etc/rancher/k3s/k3s.yaml" in fix(verdict)


@pytest.mark.parametrize("has_symlink", [True, False])
def test_the_admin_kubeconfig_is_found_where_its_option_puts_it(server: CheckedNode, *, has_symlink: bool) -> None:
    """With `write-kubeconfig` K3s creates the usual path as a symlink, which somebody can delete."""
    server.config("write-kubeconfig: /srv/k3s.yaml\n")
    server.put("/srv/k3s.yaml", "secret\n", 0o640)
    usual = server.path("/etc/rancher/k3s/k3s.yaml")
    usual.unlink()
    if has_symlink:
        usual.symlink_to("/srv/k3s.yaml")
    verdict = server.verdict("k3s-kubeconfig")
    assert verdict.status is ControlStatus.FAIL
    assert ("0640", "/srv/k3s.yaml") in seen(verdict)
    assert "/srv/k3s.yaml" in fix(verdict)


def test_another_data_directory_is_checked(nodes: Nodes) -> None:
    server = nodes(K3s(data_dir="srv/k3s"))
    server.config("data-dir: /srv/k3s\n")
    server.path("/srv/k3s/server/tls/server-ca.key").chmod(0o644)
    verdict = server.verdict("pki-key-permissions")
    assert seen(verdict) == (("0644", "/srv/k3s/server/tls/server-ca.key"),)
    assert server.path(CONFIG).exists()


@pytest.mark.root
def test_one_command_repairs_many_directories(server: CheckedNode) -> None:
    for number in range(9):
        server.put(f"server/tls/extra-{number}/a.key", "key\n")
        os.chown(server.path(f"server/tls/extra-{number}"), 65534, 0)
    find = f"find {DATA}/server/tls -type d -exec chown root:root {{}} +"
    assert find in shlex.split(fix(server.verdict("pki-ownership")))[-1]


@pytest.mark.parametrize("pattern", ["etcd-old-*/**", "etcd-old-*/**/db", "etcd-old-*/member/db", "*/member/d*"])
def test_a_pasted_command_finds_the_files_of_directories_that_a_pattern_names(tmp_path: Path, pattern: str) -> None:
    top = tmp_path / "data of $HOME"
    for number in (1, 2):
        (top / f"etcd-old-{number}/member").mkdir(parents=True)
        (top / f"etcd-old-{number}/member/db").touch()
    command = stat_all([PurePosixPath(top, pattern)])
    done = subprocess.run(["sh", "-c", f'sudo() {{ "$@"; }}; {command}'], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 2
