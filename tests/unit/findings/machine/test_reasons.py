"""Each reason on the host: a host that has it, and its harmless neighbour, which has no finding about the host."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.base.host.sockets import Listener
from agent.base.report import Level
from agent.findings import KINDS
from agent.findings.machine.reason import REASONS
from agent.reports.repair_texts import text
from tests.der import certificate_valid_from
from tests.unit.findings.machine.live_host import ARM64, MOUNTINFO, TOKEN_HEADER, X86_64, LiveHost, elf

Change = Callable[[LiveHost], object]

FSTAB = "UUID=1 / ext4 defaults 0 1\nUUID=2 /var ext4 {} 0 2\n"
NM_CHECK = "ExecStartPre=/bin/sh -xc '! /usr/bin/systemctl is-enabled --quiet nm-cloud-setup.service'\n"
ZONE = '<zone><source address="10.42.0.0/16"/><source address="10.43.0.0/16"/></zone>'
CONTEXTS = "/etc/selinux/targeted/contexts/files/file_contexts"
DATA = "/var/lib/rancher/k3s"
GETSUBIDS = "/usr/bin/getsubids"
PASSWORD = "the-password-of-the-cluster"  # noqa: S105 - of this test


class Case(NamedTuple):
    """A change of a live host."""

    id: str
    problem: Change
    harmless: Change
    says: str
    """A part of what the finding found or expects."""
    fix: str
    """A part of its remediation."""
    role: str = "server"
    is_live: bool = True


def calling(method: Callable[..., object]) -> Callable[..., Change]:
    def with_arguments(*arguments: object, **options: object) -> Change:
        return lambda host: method(host, *arguments, **options)

    return with_arguments


write, mount, configure = calling(LiveHost.write), calling(LiveHost.mount), calling(LiveHost.configure)
remove, enable, unit = calling(LiveHost.remove), calling(LiveHost.enable), calling(LiveHost.unit)
without_module, modules_directory = calling(LiveHost.without_module), calling(LiveHost.modules_directory)
kernel_configuration = calling(LiveHost.kernel_configuration)


def all_of(*changes: Change) -> Change:
    def change(host: LiveHost) -> None:
        for step in changes:
            step(host)

    return change


def kubelet_user(line: str, *programs: str, version: str = "1.38", file: str = "/etc/subuid") -> Change:
    def change(host: LiveHost) -> None:
        host.k3s_version = version
        host.write("/etc/passwd", "root:x:0:0::/:/bin/sh\nkubelet:x:991:991::/:/sbin/nologin\n")
        host.write(file, f"other:65536:4294967295\n{line}\n")
        for program in programs:
            host.write(program, mode=0o755)

    return change


def k3s_program(content: bytes, mode: int = 0o755) -> Change:
    return write("/usr/local/bin/k3s", content, mode)


def cluster(token: str) -> Change:
    return all_of(
        write(f"{DATA}/server/db/state.db"),
        write(f"{DATA}/server/token", f"{TOKEN_HEADER}::server:{PASSWORD}\n", 0o600),
        configure(token),
    )


def certificate(year: int) -> Change:
    return write(f"{DATA}/server/tls/server-ca.crt", certificate_valid_from(year))


def leaf(year: int) -> Change:
    return write(f"{DATA}/server/tls/client-admin.crt", certificate_valid_from(year))


THIS = X86_64 if platform.machine() == "x86_64" else ARM64
OTHER = ARM64 if platform.machine() == "x86_64" else X86_64

CASES = (
    Case("data-dir-noexec", mount("30 22 8:2 / /var rw,noexec - ext4 /dev/sda2 rw"),
         mount("30 22 8:2 / /srv rw,noexec - ext4 /dev/sda2 rw"),
         "/var mounted with `exec`", "sudo mount -o remount,exec /var"),
    Case("data-dir-noexec", write("/etc/fstab", FSTAB.format("noexec")),
         write("/etc/fstab", FSTAB.format("noexec,noauto")),
         "noexec", "replace `noexec` by `exec` for /var in /etc/fstab", is_live=False),
    Case("data-dir-noexec",
         all_of(enable("var-lib.mount"),
                write("/etc/systemd/system/var-lib.mount", "[Mount]\nWhere=/var/lib\nType=ext4\nOptions=noexec\n")),
         write("/etc/systemd/system/var-lib.mount", "[Mount]\nWhere=/var/lib\nType=ext4\nOptions=noexec\n"),
         "/var/lib mounted with `exec`", "mount unit", is_live=False),
    Case("data-dir-read-only", mount("30 22 8:2 / /var ro - ext4 /dev/sda2 ro"),
         mount("30 22 8:2 / /usr ro - ext4 /dev/sda2 ro"),
         "/var mounted with `rw`", "sudo mount -o remount,rw /var"),
    Case("snapshotter-unsupported", mount("30 22 0:40 / /var/lib/rancher rw - overlay overlay rw,lowerdir=/a"),
         all_of(mount("30 22 0:40 / /var/lib/rancher rw - overlay overlay rw,lowerdir=/a"),
                configure("snapshotter: native\n")),
         "overlay at /var/lib/rancher", "`snapshotter: native`"),
    Case("snapshotter-unsupported", mount("30 22 0:40 / /var/lib/rancher rw - nfs4 nas:/k3s rw"),
         all_of(mount("30 22 0:40 / /var/lib/rancher rw - nfs4 nas:/k3s rw"), configure("docker: true\n")),
         "nfs4", "`snapshotter: native`"),
    Case("cgroup-controller-missing", write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n"),
         all_of(write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n"),
                configure("disable-agent: true\n")),
         "cpu cpuset io pids", "cgroup_memory=1 cgroup_enable=memory"),
    Case("cgroup-controller-missing",
         all_of(remove("/sys/fs/cgroup/cgroup.controllers"),
                write("/proc/self/cgroup", "4:cpuset:/\n3:memory:/\n1:name=systemd:/\n")),
         all_of(remove("/sys/fs/cgroup/cgroup.controllers"),
                write("/proc/self/cgroup", "5:pids:/\n4:cpuset:/\n3:memory:/\n1:name=systemd:/\n")),
         "memory, pids", "sudo reboot"),
    Case("cgroup-cpuset-missing",
         all_of(remove("/sys/fs/cgroup/cgroup.controllers"), write("/proc/self/cgroup", "5:pids:/\n3:memory:/\n")),
         write("/proc/self/cgroup", "0::/init.scope\n"),
         "no cpuset", "cgroup_enable=cpuset"),
    Case("cgroup-memory-not-enabled",
         write("/boot/firmware/cmdline.txt", "root=/dev/sda2\ncgroup_enable=memory cgroup_memory=1\n"),
         write("/boot/firmware/cmdline.txt", "root=/dev/sda2 cgroup_memory=1 cgroup_enable=memory\n"),
         "it is in another line", "cgroup_memory=1 cgroup_enable=memory` at /boot/firmware/", is_live=False),
    Case("default-route-missing", write("/proc/1/net/route", "Iface\tDestination\nens3\t0002A8C0\n"),
         all_of(write("/proc/1/net/route", "Iface\tDestination\nens3\t0002A8C0\n"),
                lambda host: setattr(host, "network_state", "inactive")),
         "no default route", "sudo ip link add dummy0 type dummy"),
    Case("default-route-missing",
         all_of(write("/proc/1/net/route", "Iface\n"),
                write("/proc/1/net/ipv6_route", f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff lo\n")),
         all_of(write("/proc/1/net/route", "Iface\n"),
                write("/proc/1/net/ipv6_route", f"{'0' * 32} 00 {'0' * 32} 00 fe80{'0' * 27}1 0 ens3\n")),
         "no default route", "ip route add default"),
    Case("kernel-module-missing", all_of(without_module("vxlan"), modules_directory(builtin=["overlay"])),
         all_of(without_module("vxlan"), modules_directory(installed=["vxlan"])),
         "the files of its modules do not contain it", "sudo apt-get install linux-modules-extra-$(uname -r)"),
    Case("kernel-module-missing",
         all_of(without_module("xt_comment"), kernel_configuration("# CONFIG_NETFILTER_XT_MATCH_COMMENT is not set")),
         all_of(without_module("xt_comment"), kernel_configuration("CONFIG_NETFILTER_XT_MATCH_COMMENT=y")),
         "built without it", "boot a kernel that has xt_comment"),
    Case("kernel-module-missing",
         all_of(without_module("overlay"), modules_directory(installed=["overlay"]),
                write("/etc/modprobe.d/cis.conf", "install overlay /bin/false\n")),
         all_of(without_module("overlay"), modules_directory(installed=["overlay"]),
                write("/etc/modprobe.d/cis.conf", "blacklist overlay\n")),
         "modprobe.d disables it", "sudo sed -ri 's/^ *install +overlay /# &/' $(grep -rlE"),
    Case("kernel-module-missing", all_of(without_module("vxlan"), write("/lib/modules/6.1.0-14-amd64/modules.dep")),
         without_module("vxlan"),
         "another kernel was installed since the boot", "sudo reboot"),
    Case("kernel-module-missing",
         all_of(without_module("vxlan"), modules_directory(installed=["vxlan"]),
                write("/proc/sys/kernel/modules_disabled", "1\n")),
         all_of(without_module("vxlan"), modules_directory(), configure("flannel-backend: none\n")),
         "kernel.modules_disabled forbids", "sudo reboot"),
    Case("kernel-module-missing-for-agent",
         all_of(without_module("vxlan"), modules_directory(),
                write("/etc/os-release", 'ID="rocky"\nID_LIKE="rhel centos fedora"\n')),
         all_of(without_module("vxlan"), modules_directory(), write("/run/systemd/container", "lxc\n")),
         "vxlan", "sudo dnf install kernel-modules-extra-$(uname -r)", role="agent"),
    Case("network-policies-void", all_of(without_module("ip_set"), modules_directory(builtin=["overlay"])),
         all_of(without_module("ip_set"), modules_directory(), configure("disable-network-policy: true\n")),
         "the files of its modules do not contain it", "sudo apt-get install linux-modules-extra-$(uname -r)"),
    Case("network-policies-void",
         all_of(without_module("xt_set"), kernel_configuration("# CONFIG_NETFILTER_XT_SET is not set")),
         all_of(without_module("xt_set"), kernel_configuration("CONFIG_NETFILTER_XT_SET=m"),
                modules_directory(installed=["xt_set"])),
         "built without it", "boot a kernel that has xt_set", role="agent"),
    Case("kmsg-not-readable", remove("/dev/kmsg"),
         all_of(remove("/dev/kmsg"), configure("disable-agent: true\n")),
         "No such file or directory", "sudo mknod -m 600 /dev/kmsg c 1 11"),
    Case("k3s-program-unusable", k3s_program(elf(OTHER)),
         k3s_program(elf(THIS)),
         f"another architecture than {platform.machine()}", "file /usr/local/bin/k3s"),
    Case("k3s-program-unusable", k3s_program(b"<html>404 Not Found</html>"),
         k3s_program(b'#!/bin/sh\nexec /opt/k3s "$@"\n'),
         "no program in the format ELF", "install K3s again"),
    Case("k3s-program-unusable", k3s_program(elf(THIS), 0o644),
         k3s_program(elf(THIS), 0o700),
         "nobody may execute it: mode 0644", "install K3s again", is_live=False),
    Case("k3s-program-unusable", all_of(write("/usr/local/bin/k3s/k3s"), LiveHost.unit),
         LiveHost.unit,
         "it is a directory", "install K3s again", is_live=False),
    Case("selinux-policy-missing",
         all_of(write("/sys/fs/selinux/enforce", "1"), write(CONTEXTS, "/usr/bin system_u:object_r:bin_t:s0\n"),
                write("/etc/os-release", "ID=fedora\n")),
         all_of(write("/sys/fs/selinux/enforce", "1"),
                write(CONTEXTS, "/var/lib/rancher/k3s(/.*)? system_u:object_r:container_var_lib_t:s0\n")),
         "k3s-selinux", "sudo dnf install k3s-selinux"),
    Case("fapolicyd-blocks-k3s",
         all_of(enable("fapolicyd.service"),
                write("/etc/fapolicyd/rules.d/90-deny.rules", "deny_audit perm=execute all : all\n")),
         all_of(enable("fapolicyd.service"),
                write("/etc/fapolicyd/rules.d/80-k3s.rules", "allow perm=any all : dir=/var/lib/rancher/\n")),
         "dir=/var/lib/rancher/k3s/", "sudo systemctl restart fapolicyd"),
    Case("nm-cloud-setup-enabled", all_of(unit(NM_CHECK), enable("nm-cloud-setup.service")),
         unit(NM_CHECK),
         "disabled", "sudo systemctl disable nm-cloud-setup.service nm-cloud-setup.timer"),
    Case("firewall-blocks-pods",
         all_of(enable("firewalld.service"), write("/etc/firewalld/zones/public.xml", "<zone/>")),
         all_of(enable("firewalld.service"), write("/etc/firewalld/zones/trusted.xml", ZONE)),
         "10.42.0.0/16 and 10.43.0.0/16", "sudo firewall-cmd --permanent --zone=trusted --add-source=10.42.0.0/16"),
    Case("firewall-blocks-pods", write("/etc/ufw/ufw.conf", "ENABLED=yes\n"),
         write("/etc/ufw/ufw.conf", "ENABLED=no\n"),
         "10.43.0.0/16", "sudo ufw allow from 10.42.0.0/16 to any"),
    Case("node-name-invalid", write("/proc/sys/kernel/hostname", "db_1\n"),
         write("/proc/sys/kernel/hostname", "DB-1.example.org\n"),
         "db_1", "sudo hostnamectl set-hostname db-1"),
    Case("node-name-invalid", configure("node-name: -db\n"),
         configure("node-name: DB\n"),
         "-db", "replace `-db` by `db`", is_live=False),
    Case("node-name-localhost", write("/proc/sys/kernel/hostname", "localhost\n"),
         all_of(write("/proc/sys/kernel/hostname", "localhost\n"), configure("node-name: db-1\n")),
         "localhost", 'set-hostname "node-$(head -c 8 /etc/machine-id)"'),
    Case("token-changed", cluster("token: another-one\n"),
         cluster(f"token: {PASSWORD}\n"),
         "another token", "remove `token` at /etc/rancher/k3s/config.yaml:1"),
    Case("token-changed",
         all_of(cluster("token-file: /etc/rancher/token\n"),
                write("/etc/rancher/token", f"{TOKEN_HEADER}::server:other\n", 0o600)),
         all_of(cluster("token-file: /etc/rancher/token\n"),
                write("/etc/rancher/token", f"{TOKEN_HEADER}::server:{PASSWORD}\n", 0o600)),
         "another token", "remove `token-file: /etc/rancher/token` at", is_live=False),
    Case("node-password-missing", write(f"{DATA}/agent/client-kubelet.crt"),
         all_of(write(f"{DATA}/agent/client-kubelet.crt"), write("/etc/rancher/node/password", "x\n", 0o600)),
         "no such file", "sudo k3s kubectl -n kube-system delete secret db-1.node-password.k3s", role="agent"),
    Case("subordinate-ids-invalid", kubelet_user("kubelet:65536:4294901760", GETSUBIDS),
         kubelet_user("kubelet:65536:4294836224", GETSUBIDS),
         "kubelet:65536:4294836224", "/etc/subuid:2"),
    Case("subordinate-ids-invalid", kubelet_user("991:327680:4294836224", GETSUBIDS, file="/etc/subgid"),
         kubelet_user("991:327680:4294836224", GETSUBIDS, file="/etc/subgid", version="1.37"),
         "991:327680:4294836224", "991:327680:4294574080", is_live=False),
    Case("subordinate-ids-invalid", kubelet_user("kubelet:4294901760:65536", "/bin/getsubids", version="1.38"),
         kubelet_user("kubelet:4294901760:65536"),
         "kubelet:4287692800:7208960", "kubelet:4287692800:7208960"),
    Case("clock-behind-certificates", certificate(2030),
         certificate(2026),
         "2027-01-15", "sudo timedatectl set-ntp true"),
    Case("certificate-expires", leaf(2017),
         leaf(2018),
         "valid until 2027-01-01", "restart K3s, which renews"),
    Case("certificate-expires", write(f"{DATA}/server/tls/etcd/peer-ca.crt", certificate_valid_from(2016)),
         write(f"{DATA}/server/tls/etcd/peer-ca.crt", certificate_valid_from(2018)),
         "valid until 2026-01-01", "sudo k3s certificate rotate-ca"),
    Case("clock-behind-program", lambda host: setattr(host.clock, "seconds", 0.0),
         lambda host: setattr(host.clock, "seconds", 1_900_000_000.0),
         "1970-01-01", "sudo timedatectl set-ntp true"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_host_with_the_problem_has_exactly_this_finding(case: Case, tmp_path: Path) -> None:
    host = LiveHost(tmp_path, case.role)
    case.problem(host)
    findings = host.findings(is_live=case.is_live)
    assert {finding.id for finding in findings} == {case.id}
    finding = findings[0]
    assert case.says in f"{finding.expected} {finding.found}"
    assert case.fix in text(finding.repair)
    assert not finding.blocks_gate
    assert finding.prevents_start == (finding.level is Level.ERROR)


OF_ALL_HOSTS = [case for case in CASES if case.id.startswith(("node-name-", "clock-behind-"))]


@pytest.mark.parametrize("case", OF_ALL_HOSTS, ids=lambda case: case.id)
def test_no_fix_has_a_program_of_systemd_where_openrc_runs(case: Case, tmp_path: Path) -> None:
    host = LiveHost(tmp_path, case.role)
    host.remove("/run/systemd/system/.keep")
    host.path("/run/systemd/system").rmdir()
    host.write("/run/openrc/softlevel")
    case.problem(host)
    fixes = [text(finding.repair) for finding in host.findings(is_live=case.is_live)]
    assert not re.search("hostnamectl|timedatectl", "".join(fixes))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_host_that_only_looks_alike_has_no_finding(case: Case, tmp_path: Path) -> None:
    host = LiveHost(tmp_path, case.role)
    case.harmless(host)
    assert host.ids(is_live=case.is_live) == []


@pytest.mark.parametrize("role", ["server", "agent"])
@pytest.mark.parametrize("is_live", [True, False], ids=["live", "tree"])
def test_a_healthy_host_has_no_finding(role: str, *, is_live: bool, tmp_path: Path) -> None:
    assert LiveHost(tmp_path, role).ids(is_live=is_live) == []


NEEDS_A_REAL_KERNEL = {"data-dir-full", "data-dir-nearly-full", "k3s-program-label", "port-in-use"}
"""Findings whose problem the files of a directory cannot have; tests/system has them, and the last test here."""


def test_each_reason_has_a_case() -> None:
    assert {case.id for case in CASES} | NEEDS_A_REAL_KERNEL == set(REASONS)
    assert set(REASONS) <= set(KINDS)


@pytest.mark.parametrize("reason", [name for name, reason in REASONS.items() if not reason.on_trees])
def test_reasons_of_the_running_host_are_not_claimed_for_trees(reason: str, tmp_path: Path) -> None:
    for case in CASES:
        if case.id == reason:
            host = LiveHost(tmp_path, case.role)
            case.problem(host)
            assert reason not in host.ids(is_live=False)


def test_no_part_of_a_token_is_reported(tmp_path: Path) -> None:
    host = LiveHost(tmp_path)
    cluster("token: another-one\n")(host)
    shown = repr(host.findings())
    assert "another-one" not in shown
    assert PASSWORD not in shown


def test_a_server_of_another_program_does_not_make_a_port_of_k3s_busy(tmp_path: Path) -> None:
    """Only the ports that the configuration selects count, and a listener on another address than 127.0.0.1."""
    host = LiveHost(tmp_path)
    elsewhere = Listener(10257, on_all_addresses=False, on_ipv4_loopback=False, is_ipv6=False, inode=1)
    other_port = Listener(8080, on_all_addresses=True, on_ipv4_loopback=False, is_ipv6=False, inode=2)
    host.listeners = (elsewhere, other_port)
    assert host.ids() == []


@pytest.mark.parametrize(("config", "ids"), [("", []), ("cluster-init: true\n", ["port-in-use"])])
def test_the_ports_of_etcd_count_on_a_server_that_k3s_will_migrate_from_sqlite(
    config: str, ids: list[str], tmp_path: Path
) -> None:
    host = LiveHost(tmp_path)
    host.write(f"{DATA}/server/db/state.db")
    host.configure(config)
    host.write("/proc/99/comm", "etcd\n")
    (tmp_path / "proc/99/fd").mkdir()
    (tmp_path / "proc/99/fd/3").symlink_to("socket:[7]")
    host.listeners = (Listener(2380, on_all_addresses=True, on_ipv4_loopback=False, is_ipv6=False, inode=7),)
    assert host.ids() == ids


def test_the_mount_at_the_same_point_that_was_mounted_last_counts(tmp_path: Path) -> None:
    """A remount replaces the options, and a second mount hides the first."""
    host = LiveHost(tmp_path)
    over = "30 22 8:2 / /var rw,noexec - ext4 /dev/sda2 rw\n31 30 8:3 / /var rw - ext4 /dev/sda3 rw"
    host.write("/proc/1/mountinfo", f"{MOUNTINFO}{over}\n")
    assert host.ids() == []


@pytest.mark.root
def test_a_label_of_a_home_directory_is_reported_if_selinux_enforces(tmp_path: Path) -> None:
    """mv(1) keeps the label. A label of a program, and SELinux that only warns, are no reason."""
    host = LiveHost(tmp_path)
    k3s_program(elf(THIS))(host)
    host.write("/sys/fs/selinux/enforce", "1")
    program = tmp_path / "usr/local/bin/k3s"
    os.setxattr(program, "security.selinux", b"unconfined_u:object_r:user_home_t:s0\0")
    finding = host.only()
    assert (finding.id, finding.found) == ("k3s-program-label", "user_home_t")
    assert "sudo restorecon -v /usr/local/bin/k3s" in text(finding.repair)
    os.setxattr(program, "security.selinux", b"system_u:object_r:bin_t:s0\0")
    assert host.ids() == []
    os.setxattr(program, "security.selinux", b"unconfined_u:object_r:user_home_t:s0\0")
    host.write("/sys/fs/selinux/enforce", "0")
    assert host.ids() == []


def test_mounts_that_cannot_be_read_are_no_error(tmp_path: Path) -> None:
    """A directory in the place of fstab and of a mount unit; and more mounts than a text may have bytes."""
    host = LiveHost(tmp_path)
    host.write("/etc/fstab/readme")
    host.write("/etc/systemd/system/srv.mount/readme")
    host.enable("srv.mount")
    assert host.ids(is_live=False) == []
    pods = "".join(f"{number} 22 0:40 / /run/pod-{number} rw - overlay overlay rw\n" for number in range(10_000))
    host.write("/proc/1/mountinfo", f"{MOUNTINFO}{pods}30 22 8:2 / /var rw,noexec - ext4 /dev/sda2 rw\n")
    assert host.ids() == ["data-dir-noexec"]
