"""Checks of access to the files of a node: modes, owners, access control lists, directories and symlinks."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from agent.assess.assessment import ControlStatus
from agent.assess.benchmark.outside_benchmarks import NODE_ACCESS
from agent.base.repair import FixOwner
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import CONFIG, DATA, UNIT, CheckedNode, fix, seen
from tests.unit.assess.conftest import Nodes

BINARY = "/usr/local/bin/k3s"
IDS = frozenset(control.id for control in NODE_ACCESS)

FILES = {
    "k3s-service-access": (UNIT, f"{UNIT}.d/10-site.conf"),
    "k3s-service-environment-access": (f"{UNIT}.env",),
    "k3s-config-access": (CONFIG,),
    "k3s-config-drop-ins-access": (f"{CONFIG}.d/10-site.yaml",),
    "k3s-registries-access": ("/etc/rancher/k3s/registries.yaml",),
    "k3s-token-access": (f"{DATA}/server/token", f"{DATA}/server/agent-token"),
    "server-credentials-access": (f"{DATA}/server/cred/admin.kubeconfig", f"{DATA}/server/cred/passwd"),
    "encryption-config-access": (f"{DATA}/server/cred/encryption-config.json",),
    "agent-keys-access": (f"{DATA}/agent/serving-kubelet.key", "/etc/rancher/node/password"),
    "agent-kubeconfigs-access": (f"{DATA}/agent/kubelet.kubeconfig",),
    "kubelet-config-access": ("/etc/kubelet/k.yaml", f"{DATA}/agent/etc/kubelet.conf.d/50-site.conf"),
    "pod-sources-access": tuple(
        f"{DATA}/agent/{path}" for path in ("pod-manifests/a.yaml", "images/a.tar", "etc/containerd/config.toml.tmpl")
    ),
    "cni-config-access": (f"{DATA}/agent/etc/cni/net.d/10-flannel.conflist",),
    "etcd-data-access": (f"{DATA}/server/db/etcd/config", f"{DATA}/server/db/etcd/member/snap/db"),
    "sqlite-data-access": (f"{DATA}/server/db/state.db", f"{DATA}/server/db/state.db-wal"),
    "snapshots-access": (f"{DATA}/server/db/snapshots/on-demand", f"{DATA}/server/db/etcd-old-17/member/snap/db"),
    "audit-policy-access": (f"{DATA}/server/audit.yaml", "/etc/audit.yaml"),
    "pod-security-admission-access": (f"{DATA}/server/psa.yaml",),
    "policy-manifest-access": (f"{DATA}/server/manifests/policy.yaml",),
    "audit-log-access": ("/var/log/k3s/audit.log", "/var/log/k3s/audit-2026-01-01T00-00-00.000.log.gz"),
    "k3s-binary-access": (BINARY, f"{DATA}/data/0a1b/bin/containerd"),
    "kernel-parameters-file-access": ("/etc/sysctl.d/90-kubelet.conf",),
}
"""Files of each control."""

GUIDE = {
    "audit-policy-access": f"{DATA}/server/audit.yaml",
    "kernel-parameters-file-access": "/etc/sysctl.d/90-kubelet.conf",
    "k3s-config-drop-ins-access": f"{CONFIG}.d/90-k3s-harden.yaml",
    "pod-security-admission-access": f"{DATA}/server/psa.yaml",
    "policy-manifest-access": f"{DATA}/server/manifests/policy.yaml",
}
"""Files of the guide, whose modes are exact."""

EACH_FILE = [(name, path) for name, paths in FILES.items() for path in paths if path not in GUIDE.values()]
"""The files that are not of the guide, with their controls."""

DIRECTORIES = {
    "k3s-service-access": f"{UNIT}.d",
    "k3s-config-directory-access": "/etc/rancher/k3s",
    "k3s-config-drop-ins-access": f"{CONFIG}.d",
    "server-credentials-access": f"{DATA}/server/cred",
    "kubelet-config-access": f"{DATA}/agent/etc/kubelet.conf.d",
    "pod-sources-access": f"{DATA}/agent/pod-manifests",
    "cni-config-access": f"{DATA}/agent/etc/cni/net.d",
    "etcd-data-access": f"{DATA}/server/db/etcd/member",
    "sqlite-data-access": f"{DATA}/server/db",
    "snapshots-access": f"{DATA}/server/db/snapshots",
    "audit-log-access": "/var/log/k3s",
    "k3s-binary-access": f"{DATA}/data/0a1b/bin",
}
"""A directory of each control to which nobody else may add files."""

SECRET = {
    *("agent-keys-access", "agent-kubeconfigs-access", "audit-log-access", "encryption-config-access"),
    *("etcd-data-access", "k3s-service-environment-access", "k3s-token-access", "server-credentials-access"),
    *("snapshots-access", "sqlite-data-access"),
}
"""The controls of files whose content is always secret."""


@pytest.fixture
def node(nodes: Nodes) -> CheckedNode:
    """Return a server with all files, in directories that everybody can enter."""
    made = nodes(K3s(etcd=True))
    made.config(
        "kubelet-arg: [config=/etc/kubelet/k.yaml]\n"
        "kube-apiserver-arg: [audit-log-path=/var/log/k3s/audit.log, audit-policy-file=/etc/audit.yaml]\n"
    )
    made.put("/etc/audit.yaml", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
    for paths in FILES.values():
        for path in paths:
            if not made.path(path).exists():
                made.put(path, "\x7fELF" if path == BINARY else "{}\n")
    for file in made.root.rglob("*"):
        if file.is_dir():
            file.chmod(0o755)
    return made


def statuses(node: CheckedNode) -> dict[str, ControlStatus]:
    return {verdict.control.id: verdict.status for verdict in node.assess().verdicts if verdict.control.id in IDS}


def failure(node: CheckedNode, control: str) -> tuple[tuple[str, str], ...]:
    """Return what a control that has to fail observed, with the paths."""
    verdict = node.verdict(control)
    assert verdict.status is ControlStatus.FAIL
    return seen(verdict)


def reachable(node: CheckedNode, path: str, mode: int = 0o644, text: str = "x\n") -> None:
    """Write a file in directories that everybody can enter."""
    node.put(path, text, mode)
    for parent in node.path(path).relative_to(node.root).parents:
        (node.root / parent).chmod(0o755)


def test_each_control_has_files_or_a_directory() -> None:
    assert FILES.keys() | DIRECTORIES.keys() == IDS


def test_the_modes_that_k3s_sets_pass(node: CheckedNode) -> None:
    assert set(statuses(node).values()) == {ControlStatus.PASS}


@pytest.mark.parametrize(("control", "path"), EACH_FILE)
@pytest.mark.parametrize(("mode", "who"), [(0o666, "others"), (0o660, "group 0")])
def test_a_file_that_others_or_its_group_can_write_fails(
    node: CheckedNode, control: str, path: str, mode: int, who: str
) -> None:
    node.path(path).chmod(mode)
    verdict = node.judged_as(control, ControlStatus.FAIL, FixOwner.OPERATOR)
    assert (f"{mode:04o}: {who} can write it", path) in seen(verdict)
    assert fix(verdict) == f"sudo chmod {'go-rw' if control in SECRET else 'go-w'} {path}"


@pytest.mark.parametrize(("control", "path"), EACH_FILE)
def test_only_secret_files_must_not_be_readable(node: CheckedNode, control: str, path: str) -> None:
    node.path(path).chmod(0o644)
    verdict = node.verdict(control)
    assert verdict.status is (ControlStatus.FAIL if control in SECRET else ControlStatus.PASS)
    if control in SECRET:
        assert seen(verdict)[0] == ("0644: others can read it", path)
        assert fix(verdict) == f"sudo chmod go-r {path}"


@pytest.mark.parametrize(("control", "path"), EACH_FILE)
def test_a_file_that_nobody_else_can_reach_passes(node: CheckedNode, control: str, path: str) -> None:
    """SQLite's database has mode 0644 in a directory with mode 0700. The evidence names that directory."""
    node.path(path).chmod(0o666)
    directory = Path(path).parent
    node.path(str(directory)).chmod(0o700)
    verdict = node.verdict(control)
    assert verdict.status is ControlStatus.PASS
    protection = f"0700; only this directory protects {path} (0666: others can write it)"
    assert (protection, str(directory)) in seen(verdict)


@pytest.mark.parametrize(("control", "path"), EACH_FILE)
def test_the_root_of_a_tree_protects_nothing(node: CheckedNode, control: str, path: str) -> None:
    """The tree is often in a directory of mktemp(1), whose mode is not that of the later host."""
    node.path(path).chmod(0o666)
    node.root.chmod(0o700)
    assert node.verdict(control).status is ControlStatus.FAIL


def test_a_closed_directory_is_named_once_with_the_number_of_what_it_protects(node: CheckedNode) -> None:
    for number in range(9):
        node.put(f"data/0a1b/bin/aux/program-{number}", "", 0o777)
    node.path("data/0a1b/bin/aux").chmod(0o777)
    node.path("data").chmod(0o700)
    verdict = node.verdict("k3s-binary-access")
    first = f"{DATA}/data/0a1b/bin/aux (0777: others can write it)"
    assert (verdict.status, seen(verdict)[-1]) == (
        ControlStatus.PASS,
        (f"0700; only this directory protects {first}, and 9 more", f"{DATA}/data"),
    )


@pytest.mark.parametrize(("control", "path"), DIRECTORIES.items())
@pytest.mark.parametrize(("mode", "who"), [(0o777, "others"), (0o775, "group 0"), (0o1777, "others")])
def test_a_directory_to_which_others_can_add_files_fails(
    node: CheckedNode, control: str, path: str, mode: int, who: str
) -> None:
    """The sticky bit makes no difference, because it protects only existing files."""
    node.path(path).chmod(mode)
    assert (f"{mode:04o}: {who} can write it", path) in failure(node, control)


@pytest.mark.parametrize("path", ["/", "/etc", "/etc/kubelet", "/usr/local", "/usr/local/bin"])
def test_a_parent_directory_that_others_can_write_fails(node: CheckedNode, path: str) -> None:
    for name in ("kubectl", "crictl", "ctr"):
        node.path(f"/usr/local/bin/{name}").symlink_to("k3s")
    node.path(path).chmod(0o777)
    control = {"/etc": "k3s-config-access", "/etc/kubelet": "kubelet-config-access"}.get(path, "k3s-binary-access")
    assert failure(node, control)[0] == ("0777: others can write it", path)
    node.path(path).chmod(0o1777)
    assert node.verdict(control).status is ControlStatus.PASS


@pytest.mark.root
@pytest.mark.parametrize(
    ("control", "path", "mode"),
    [
        ("k3s-config-access", CONFIG, 0o600),
        ("k3s-token-access", f"{DATA}/server/token", 0o600),
        ("k3s-binary-access", BINARY, 0o555),
        ("k3s-service-environment-access", f"{UNIT}.env", 0),
        ("k3s-config-drop-ins-access", f"{CONFIG}.d", 0o555),
        ("k3s-config-directory-access", "/etc/rancher", 0o555),
    ],
)
def test_an_owner_other_than_root_fails(node: CheckedNode, control: str, path: str, mode: int) -> None:
    """The owner can change the mode at any time."""
    os.chown(node.path(path), 1000, 0)
    node.path(path).chmod(mode)
    assert failure(node, control) == (("owner 1000:0", path),)
    assert fix(node.verdict(control)) == f"sudo chown root:root {path}"


@pytest.mark.root
@pytest.mark.parametrize(("control", "name"), GUIDE.items())
@pytest.mark.parametrize("owner", [None, (1000, 0), (0, 1000)])
def test_modes_and_owners_of_the_guides_files_are_exact(
    hardened: CheckedNode, control: str, name: str, owner: tuple[int, int] | None
) -> None:
    """`check` requires the same, even if directories protect the files."""
    assert hardened.verdict(control).status is ControlStatus.PASS
    if owner is None:
        hardened.path(name).chmod(0o666)
    else:
        os.chown(hardened.path(name), *owner)
    verdict = hardened.judged_as(control, ControlStatus.FAIL, FixOwner.APPLY)
    assert fix(verdict) == "sudo k3s-harden apply"
    hardened.harden()
    assert hardened.verdict(control).status is ControlStatus.PASS


@pytest.mark.root
@pytest.mark.parametrize("group", [0, 1234])
@pytest.mark.parametrize(("mode", "verb"), [(0o640, "read"), (0o660, "write")])
def test_a_group_may_neither_read_nor_write_a_secret_file(node: CheckedNode, mode: int, verb: str, group: int) -> None:
    """The title is that only root can."""
    os.chown(node.path("server/token"), 0, group)
    node.path("server/token").chmod(mode)
    path = f"{DATA}/server/token"
    assert failure(node, "k3s-token-access") == ((f"{mode:04o}: group {group} can {verb} it", path),)
    command = fix(node.verdict("k3s-token-access")).removeprefix("sudo ").replace(DATA, str(node.path(".")))
    subprocess.run(["sh", "-c", command], check=True)
    assert node.verdict("k3s-token-access").status is ControlStatus.PASS


@pytest.mark.root
def test_a_group_reaches_only_directories_that_it_can_enter(node: CheckedNode) -> None:
    os.chown(node.path("server/token"), 0, 1234)
    node.path("server/token").chmod(0o660)
    node.path("server").chmod(0o750)
    assert node.verdict("k3s-token-access").status is ControlStatus.PASS
    os.chown(node.path("server"), 0, 1234)
    assert node.verdict("k3s-token-access").status is ControlStatus.FAIL


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


USER_READS = acl((1, 6, 2**32 - 1), (2, 4, 1000), (4, 0, 2**32 - 1), (0x10, 4, 2**32 - 1), (0x20, 0, 2**32 - 1))
GROUP_WRITES = acl((1, 6, 2**32 - 1), (4, 0, 2**32 - 1), (8, 6, 1234), (0x10, 6, 2**32 - 1), (0x20, 0, 2**32 - 1))
MASKED = acl((1, 6, 2**32 - 1), (2, 6, 1000), (4, 4, 2**32 - 1), (0x10, 4, 2**32 - 1), (0x20, 4, 2**32 - 1))


@pytest.mark.root
@pytest.mark.parametrize(
    ("control", "path", "entries", "observation"),
    [
        ("k3s-token-access", f"{DATA}/server/token", USER_READS, "0640: user 1000 can read it"),
        ("k3s-config-access", CONFIG, GROUP_WRITES, "0660: group 1234 can write it"),
        ("k3s-config-access", CONFIG, MASKED, ""),
        ("agent-keys-access", f"{DATA}/agent/serving-kubelet.key", USER_READS, "0640: user 1000 can read it"),
    ],
)
def test_access_by_an_access_control_list_fails(
    node: CheckedNode, control: str, path: str, entries: bytes, observation: str
) -> None:
    try:
        os.setxattr(node.path(path), "system.posix_acl_access", entries)
    except OSError as error:
        pytest.skip(f"this file system has no access control lists: {error}")
    verdict = node.verdict(control)
    if observation:
        assert (verdict.status, seen(verdict)) == (ControlStatus.FAIL, ((observation, path),))
        assert fix(verdict) == f"sudo setfacl --remove-all {path}"
    else:
        assert verdict.status is ControlStatus.PASS


ENTERS_BY_LIST = acl((1, 7, 2**32 - 1), (2, 1, 65534), (4, 0, 2**32 - 1), (0x10, 1, 2**32 - 1), (0x20, 0, 2**32 - 1))
CLOSED_BY_A_DIRECTORY = (
    ("agent-keys-access", "agent/serving-kubelet.key", 0o644),
    ("etcd-data-access", "server/db/etcd/member/snap/db", 0o644),
    ("kubelet-config-access", "agent/etc/kubelet.conf.d/50-site.conf", 0o666),
)


@pytest.mark.root
@pytest.mark.parametrize(("control", "path", "mode"), CLOSED_BY_A_DIRECTORY)
@pytest.mark.parametrize("who", ["others", "group 777", "user 65534"])
def test_a_directory_protects_only_from_those_that_cannot_enter_it(
    node: CheckedNode, control: str, path: str, mode: int, who: str
) -> None:
    """The kernel decides: a process of the user and group tries."""
    node.root.parent.chmod(0o711)
    node.path(path).chmod(mode)
    node.path(".").chmod(0o700 if who == "others" else 0o750)
    if who == "group 777":
        os.chown(node.path("."), 0, 777)
    elif who == "user 65534":
        os.setxattr(node.path("."), "system.posix_acl_access", ENTERS_BY_LIST)
    user, group = (65534, 65534) if who == "user 65534" else (60000, 777 if who == "group 777" else 60000)
    verb = "read" if mode == 0o644 else "write"
    tries = f"setpriv --reuid={user} --regid={group} --clear-groups test -{verb[0]} {node.path(path)}"
    is_reached = subprocess.run(tries.split(), check=False).returncode == 0
    verdict = node.verdict(control)
    assert ((verdict.status is ControlStatus.FAIL), is_reached) == (who != "others", who != "others")
    assert not is_reached or seen(verdict)[-1] == (f"{mode:04o}: {who} can {verb} it", f"{DATA}/{path}")


def test_a_hard_link_in_an_open_directory_opens_a_file(node: CheckedNode) -> None:
    """A link in a closed directory, and in an image with deduplicated files, opens none."""
    token = node.path("server/token")
    token.chmod(0o644)
    node.path("server").chmod(0o700)
    os.link(token, node.path("server/again"))
    assert node.verdict("k3s-token-access").status is ControlStatus.PASS
    reachable(node, "/srv/other")
    os.link(token, node.path("/srv/token"))
    path = f"{DATA}/server/token"
    assert failure(node, "k3s-token-access") == (("0644: others can read it at /srv/token", path),)
    token.chmod(0o600)
    assert node.verdict("k3s-token-access").status is ControlStatus.PASS


def test_a_hard_link_that_cannot_be_found_is_unknown(node: CheckedNode) -> None:
    token = node.path("server/token")
    token.chmod(0o644)
    node.path("server").chmod(0o700)
    os.link(token, node.root.with_name("elsewhere"))
    verdict = node.verdict("k3s-token-access")
    assert (verdict.status, verdict.reason) == (
        ControlStatus.UNKNOWN,
        f"{DATA}/server/token: 0644: others can read it, and 1 of its 2 hard links could not be found",
    )
    assert fix(verdict) == f"sudo chmod go-r {DATA}/server/token"


def test_a_symlink_is_followed(node: CheckedNode) -> None:
    node.path("/opt/bin").mkdir(parents=True)
    node.path(BINARY).rename(node.path("/opt/bin/k3s"))
    node.path(BINARY).symlink_to("/opt/bin/k3s")
    node.path("/usr/local/bin/kubectl").symlink_to("k3s")
    assert node.verdict("k3s-binary-access").status is ControlStatus.PASS
    for path, places in (
        ("/opt/bin/k3s", {BINARY, "/usr/local/bin/kubectl"}),
        ("/opt", {"/opt"}),
        ("/usr/local/bin", {"/usr/local/bin"}),
    ):
        node.path(path).chmod(0o777)
        assert set(failure(node, "k3s-binary-access")) == {("0777: others can write it", place) for place in places}
        node.path(path).chmod(0o755)


def test_a_symlink_in_a_closed_directory_does_not_hide_its_target(node: CheckedNode) -> None:
    node.path("server/token").unlink()
    reachable(node, "/srv/token")
    node.path("server/token").symlink_to("/srv/token")
    node.path("server").chmod(0o700)
    assert node.verdict("k3s-token-access").status is ControlStatus.FAIL


def test_the_programs_that_k3s_unpacks_are_counted(node: CheckedNode) -> None:
    programs = [f"data/0a1b/bin/aux/program-{number}" for number in range(8)]
    for path in programs:
        node.put(path, "", 0o755)
    node.path("data/0a1b/bin/aux").chmod(0o755)
    node.path("data/0a1b/bin/aux/link").symlink_to("../containerd")
    node.path("data/current").symlink_to(f"{DATA}/data/0a1b")
    verdict = node.verdict("k3s-binary-access")
    assert seen(verdict) == (
        ("0600", BINARY),
        ("0755; only root can change the 12 files and directories below it", f"{DATA}/data"),
    )
    for path in programs:
        node.path(path).chmod(0o777)
    verdict = node.verdict("k3s-binary-access")
    assert seen(verdict) == (("8 files and directories below it have 0777: others can write it", f"{DATA}/data"),)
    assert fix(verdict) == f"sudo chmod -R go-w {DATA}/data"
    subprocess.run(["chmod", "-R", "go-w", str(node.path("data"))], check=True)
    assert node.verdict("k3s-binary-access").status is ControlStatus.PASS


def test_a_program_that_a_symlink_in_the_data_directory_leads_to_is_checked(node: CheckedNode) -> None:
    reachable(node, "/opt/cni/bin/site", 0o777)
    reachable(node, "/opt/k3s/bin/runc", 0o777)
    node.path("data/site").symlink_to("/opt/cni/bin/site")
    node.path("data/current").symlink_to("/opt/k3s")
    places = {where: observation for observation, where in failure(node, "k3s-binary-access")}
    assert places == dict.fromkeys((f"{DATA}/data/site", f"{DATA}/data/current/bin/runc"), "0777: others can write it")


@pytest.mark.parametrize(
    ("control", "path", "text", "status"),
    [
        *(
            ("k3s-registries-access", "/etc/rancher/k3s/registries.yaml", text, ControlStatus.FAIL)
            for text in (
                "configs:\n  r:\n    auth:\n      username: u\n      password: p\n",
                'configs: {r: {auth: {auth: "x"}}}\n',
                "mirrors:\n  docker.io:\n    endpoint: [https://u:p@r]\n",
            )
        ),
        (
            "k3s-registries-access",
            "/etc/rancher/k3s/registries.yaml",
            "mirrors:\n  docker.io:\n    endpoint: [https://r]\n",
            ControlStatus.PASS,
        ),
        ("k3s-config-access", CONFIG, "token: abc\n", ControlStatus.FAIL),
        ("k3s-config-access", CONFIG, "node-name: a\n", ControlStatus.PASS),
        ("k3s-config-drop-ins-access", f"{CONFIG}.d/10-site.yaml", "token: abc\n", ControlStatus.FAIL),
        ("k3s-config-drop-ins-access", f"{CONFIG}.d/10-site.yaml", "node-name: a\n", ControlStatus.PASS),
    ],
)
def test_a_file_is_secret_if_it_has_a_password_or_a_token(
    node: CheckedNode, control: str, path: str, text: str, status: ControlStatus
) -> None:
    node.put(path, text, 0o644)
    assert node.verdict(control).status is status


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ("token-file: token\n", "k3s-token-access"),
        ("private-registry: r.yaml\n", "k3s-registries-access"),
        ("etcd-snapshot-dir: snapshots\n", "snapshots-access"),
        ("kube-apiserver-arg: [audit-log-path=audit.log]\n", "audit-log-access"),
        ("kube-apiserver-arg: [audit-policy-file=p.yaml]\n", "audit-policy-access"),
    ],
)
def test_a_relative_path_is_unknown(node: CheckedNode, text: str, control: str) -> None:
    node.config(text)
    verdict = node.verdict(control)
    assert verdict.status is ControlStatus.UNKNOWN
    assert verdict.reason.endswith(" is relative")


@pytest.mark.parametrize(
    ("option", "control"),
    [
        ("datastore-keyfile: {}", "k3s-token-access"),
        ("kube-apiserver-arg: [encryption-provider-config={}]", "encryption-config-access"),
        ("kube-apiserver-arg: [audit-webhook-config-file={}]", "audit-policy-access"),
    ],
)
def test_the_secret_file_that_an_option_names_is_checked(node: CheckedNode, option: str, control: str) -> None:
    node.config(f"{option.format('/srv/secret')}\n")
    reachable(node, "/srv/secret")
    assert failure(node, control) == (("0644: others can read it", "/srv/secret"),)
    node.path("/srv/secret").chmod(0o600)
    assert node.verdict(control).status is ControlStatus.PASS


def test_a_sqlite_database_elsewhere_is_secret(node: CheckedNode) -> None:
    node.config("datastore-endpoint: sqlite:///opt/db/s.db\n")
    node.path(CONFIG).chmod(0o644)
    reachable(node, "/opt/db/s.db-wal", 0o600)
    reachable(node, "/opt/db/s.db", 0o666)
    assert failure(node, "sqlite-data-access") == (("0666: others can write it", "/opt/db/s.db"),)
    node.path("/opt/db/s.db").chmod(0o600)
    node.path("/opt/db").chmod(0o777)
    assert failure(node, "sqlite-data-access") == (("0777: others can write it", "/opt/db"),)
    assert node.verdict("k3s-config-access").status is ControlStatus.PASS


def test_a_log_on_standard_output_is_no_file(node: CheckedNode) -> None:
    node.config("kube-apiserver-arg: [audit-log-path=-]\n")
    assert node.verdict("audit-log-access").status is ControlStatus.NOT_APPLICABLE


@pytest.mark.parametrize("log", ["a.log", "a"])
def test_other_logs_are_not_the_audit_log(node: CheckedNode, log: str) -> None:
    """The API server adds a time to the name of a full log; a name with the same beginning is another program's."""
    node.config(f"kube-apiserver-arg: [audit-log-path=/var/log/{log}]\n")
    stem, dot, kind = log.partition(".")
    node.put(f"/var/log/{log}", "")
    for other in ("alternatives.log", "a-b.log", "a.log.1", "apt"):
        node.put(f"/var/log/{other}", "", 0o644)
    node.path("/var/log").chmod(0o755)
    assert node.verdict("audit-log-access").status is ControlStatus.PASS
    full = f"/var/log/{stem}-2026-01-01T00-00-00.000{dot}{kind}"
    for renamed in (full, f"{full}.gz"):
        node.put(renamed, "", 0o644)
        assert [where for _, where in seen(node.verdict("audit-log-access"))] == [renamed]
        node.path(renamed).unlink()


@pytest.mark.parametrize("path", ["/dev/null", "/dev/stdout"])
def test_a_device_that_keeps_nothing_is_no_file(node: CheckedNode, path: str) -> None:
    node.config(f"kube-apiserver-arg: [audit-log-path={path}]\n")
    unit = node.path(UNIT)
    unit.write_text(f"{unit.read_text()}EnvironmentFile=\nEnvironmentFile={path}\n")
    for control in ("audit-log-access", "k3s-service-environment-access"):
        assert node.verdict(control).status is ControlStatus.NOT_APPLICABLE


def test_an_empty_directory_of_environment_files_is_checked(node: CheckedNode) -> None:
    """systemd reads each file in it that matches the pattern, so everyone who can add one controls K3s."""
    unit = node.path(UNIT)
    unit.write_text(f"{unit.read_text()}EnvironmentFile=-/etc/k3senv/*.env\n")
    node.path("/etc/k3senv").mkdir(mode=0o755)
    assert node.verdict("k3s-service-environment-access").status is ControlStatus.PASS
    node.path("/etc/k3senv").chmod(0o777)
    verdict = node.verdict("k3s-service-environment-access")
    assert (verdict.status, seen(verdict)) == (ControlStatus.FAIL, (("0777: others can write it", "/etc/k3senv"),))
    assert fix(verdict) == "sudo chmod go-w /etc/k3senv"


def test_a_script_that_starts_k3s_is_checked(node: CheckedNode) -> None:
    unit = node.path(UNIT)
    unit.write_text(unit.read_text().replace("/usr/local/bin/k3s server", "/usr/local/bin/start-k3s.sh"))
    unit.chmod(0o666)
    node.put("/usr/local/bin/start-k3s.sh", "#!/bin/sh\nexec k3s server\n", 0o777)
    assert seen(node.verdict("k3s-service-access")) == (("0666: others can write it", UNIT),)
    assert seen(node.verdict("k3s-binary-access"))[0] == ("0777: others can write it", "/usr/local/bin/start-k3s.sh")
    (note,) = (item for item in node.assess().notes if "command line of K3s is not known" in item.message)
    assert f"assumed: no options besides those in {CONFIG} and its drop-ins (k3s-command-unknown)" in note.message
    assert "not installed" not in " ".join(item.message for item in node.assess().notes)


def test_a_masked_drop_in_is_empty(node: CheckedNode) -> None:
    """systemd ignores the name of a symlink to /dev/null; its directory is checked."""
    mask = node.path(f"{UNIT}.d/20-mask.conf")
    mask.symlink_to("/dev/null")
    assert node.verdict("k3s-service-access").status is ControlStatus.PASS
    mask.parent.chmod(0o777)
    assert node.verdict("k3s-service-access").status is ControlStatus.FAIL


@pytest.mark.parametrize("path", ["/tmp", "/var/tmp", "/dev/shm"])  # noqa: S108 - in the tree
def test_a_file_of_k3s_belongs_elsewhere_than_in_a_shared_directory(node: CheckedNode, path: str) -> None:
    """All users have to be able to write such a directory, so the remediation leaves its mode alone."""
    reachable(node, f"{path}/other")
    node.path(path).chmod(0o1777)
    node.config(f"token-file: {path}/token\nkube-apiserver-arg: [audit-log-path={path}/audit.log]\n")
    assert failure(node, "k3s-token-access") == (("1777: others can write it", path),)
    assert fix(node.verdict("k3s-token-access")) == (
        f"use another path than {path}/token, in a directory that only root can write; restart K3s"
    )
    assert "chmod" not in fix(node.verdict("audit-log-access"))


SECRET_FOUND = "secret in `token`, which all users can read"  # noqa: S105 - a message


@pytest.mark.parametrize(
    ("path", "text", "name", "line"),
    [
        (UNIT, "[Service]\nExecStart=/usr/local/bin/k3s server --token=abc\n", "token", 2),
        (UNIT, "[Service]\nExecStart=/usr/local/bin/k3s server\nEnvironment=K3S_TOKEN=abc\n", "K3S_TOKEN", 3),
        (f"{UNIT}.d/20-token.conf", "[Service]\nEnvironment=K3S_TOKEN=abc\n", "K3S_TOKEN", 2),
    ],
)
def test_a_secret_in_a_service_fails(node: CheckedNode, path: str, text: str, name: str, line: int) -> None:
    node.put(path, text)
    assert failure(node, "k3s-service-access")[0] == (SECRET_FOUND, f"{path}:{line}")
    assert fix(node.verdict("k3s-service-access")) == (
        f"remove `{name}` at {path}:{line}; then add `token` with the value to {CONFIG}; then run"
        f" `sudo chmod 0600 {CONFIG}`; run `sudo systemctl daemon-reload`; restart K3s"
    )


@pytest.mark.parametrize("name", ["service.d", "k3s-.service.d", "k3s-agent.service.d"])
@pytest.mark.parametrize("top", ["/etc/systemd/system", "/usr/lib/systemd/system"])
def test_drop_ins_for_several_services_are_checked(nodes: Nodes, top: str, name: str) -> None:
    """systemd also reads those of all services, and of all whose names begin with the same part."""
    node = nodes(K3s(role="agent"))
    path = f"{top}/{name}/20-token.conf"
    reachable(node, path, 0o666, "[Service]\nEnvironment=K3S_TOKEN=abc\n")
    assert failure(node, "k3s-service-access")[0] == ("0666: others can write it", path)
    assert (SECRET_FOUND, f"{path}:2") in failure(node, "k3s-service-access")
    node.path(path).unlink()
    node.path(f"{top}/{name}").chmod(0o777)
    assert ("0777: others can write it", f"{top}/{name}") in failure(node, "k3s-service-access")


def test_a_secret_in_an_openrc_script_needs_no_systemd(node: CheckedNode) -> None:
    node.path(UNIT).unlink()
    node.put("/etc/init.d/k3s", 'command="/usr/local/bin/k3s"\ncommand_args="server --token=abc"\n', 0o755)
    node.path("/etc/init.d").chmod(0o755)
    assert fix(node.verdict("k3s-service-access")) == (
        f"remove `token` at /etc/init.d/k3s:2; then add `token` with the value to {CONFIG}; then run"
        f" `sudo chmod 0600 {CONFIG}`; restart K3s"
    )


def test_a_secret_in_the_environment_file_of_a_service_passes(node: CheckedNode) -> None:
    node.put(f"{UNIT}.env", "K3S_TOKEN=abc\n")
    assert node.verdict("k3s-service-access").status is ControlStatus.PASS


def test_files_in_a_directory_that_a_symlink_leads_to_are_checked(node: CheckedNode) -> None:
    reachable(node, "/srv/disk/wal/0.wal", 0o600)
    node.path("server/db/etcd/member/wal").symlink_to("/srv/disk/wal")
    assert node.verdict("etcd-data-access").status is ControlStatus.PASS
    node.path("/srv/disk/wal/0.wal").chmod(0o644)
    path = f"{DATA}/server/db/etcd/member/wal/0.wal"
    assert failure(node, "etcd-data-access") == (("0644: others can read it", path),)
    node.path("/srv/disk/wal/0.wal").chmod(0o600)
    node.path("/srv/disk/wal/again").symlink_to("/srv/disk/wal")
    assert node.verdict("etcd-data-access").status is ControlStatus.UNKNOWN


@pytest.mark.parametrize("mode", [0o777, 0o1777])
@pytest.mark.parametrize(
    ("control", "path"), [("k3s-registries-access", "/srv/open/r.yaml"), ("k3s-token-access", "/srv/open/below/token")]
)
def test_a_missing_file_that_others_can_create_fails(node: CheckedNode, control: str, path: str, mode: int) -> None:
    """K3s would use it. The sticky bit makes no difference, because it protects only existing files."""
    reachable(node, "/srv/open/other")
    node.path("/srv/open").chmod(mode)
    node.config(f"{'token-file' if 'token' in control else 'private-registry'}: {path}\n")
    assert failure(node, control) == ((f"{mode:04o}: others can write it", "/srv/open"),)
    assert fix(node.verdict(control)) == "sudo chmod go-w /srv/open"
    node.path("/srv").chmod(0o700)
    assert node.verdict(control).status is not ControlStatus.FAIL
    node.path("/srv").chmod(0o755)
    node.path("/srv/open").chmod(0o755)
    assert node.verdict(control).status is not ControlStatus.FAIL


def test_files_that_do_not_exist_are_not_applicable(nodes: Nodes) -> None:
    assert set(statuses(nodes()).values()) <= {ControlStatus.NOT_APPLICABLE, ControlStatus.PASS}


@pytest.mark.parametrize("kind", ["FIFO", "dangling"])
def test_an_irregular_file_is_unknown(node: CheckedNode, kind: str) -> None:
    node.path("server/token").unlink()
    if kind == "FIFO":
        os.mkfifo(node.path("server/token"), 0o600)
    else:
        node.path("server/token").symlink_to("/nothing")
    assert node.verdict("k3s-token-access").status is ControlStatus.UNKNOWN


def test_other_files_of_the_configuration_are_found(node: CheckedNode) -> None:
    node.starts_with("--config=/srv/conf/k3s.yaml")
    node.put("/srv/conf/k3s.yaml", "etcd-snapshot-dir: /srv/snapshots\ntoken-file: /srv/token\n", 0o666)
    node.put("/srv/snapshots/one", "data\n", 0o644)
    node.put("/srv/token", "token\n", 0o644)
    for path in ("/srv", "/srv/conf", "/srv/snapshots"):
        node.path(path).chmod(0o755)
    found = {name: node.verdict(name) for name in ("k3s-config-access", "snapshots-access", "k3s-token-access")}
    assert {item.status for item in found.values()} == {ControlStatus.FAIL}
    assert [seen(item)[0][1] for item in found.values()] == ["/srv/conf/k3s.yaml", "/srv/snapshots/one", "/srv/token"]


@pytest.mark.root
@pytest.mark.parametrize("owner", [0, 1000])
def test_one_repair_gives_a_file_of_the_guide_its_exact_mode(hardened: CheckedNode, owner: int) -> None:
    dropin = hardened.path(f"{CONFIG}.d/90-k3s-harden.yaml")
    hardened.drop_in("10-site.yaml", "node-name: a\n")
    site = hardened.path(f"{CONFIG}.d/10-site.yaml")
    for path in (dropin, site):
        path.chmod(0o666)
    os.chown(dropin, owner, owner)
    verdict = hardened.verdict("k3s-config-drop-ins-access")
    assert f"sudo chmod 0600 {CONFIG}.d/90-k3s-harden.yaml" in fix(verdict)
    os.chown(dropin, 0, 0)
    dropin.chmod(0o600)
    site.chmod(0o644)
    assert hardened.verdict("k3s-config-drop-ins-access").status is ControlStatus.PASS


@pytest.mark.parametrize("control", ["k3s-service-access", "k3s-service-environment-access"])
def test_a_service_that_is_not_understood_is_unknown(node: CheckedNode, control: str) -> None:
    """Its command or its environment files can have a secret that other users can read."""
    node.put(UNIT, "[Service]\nExecStart=/bin/sh -c 'exec k3s server --token=a'\n", 0o644)
    verdict = node.verdict(control)
    assert (verdict.status, UNIT in verdict.reason) == (ControlStatus.UNKNOWN, True)
    node.path(UNIT).chmod(0o666)
    assert node.verdict("k3s-service-access").status is ControlStatus.FAIL
