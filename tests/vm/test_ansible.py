"""The Ansible role of docs/examples/ansible: ansible-core hardens nodes before K3s is installed, without a network."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from agent.base.host import Host
from agent.verbs.traffic_records import read_records
from tests.release.distributions import DISTRIBUTIONS
from tests.release.rpm_root import make_stubs
from tests.ssh_key import new_key
from tests.tools.bench.work import python_with
from tests.vm import suite as debian
from tests.vm.conftest import Bundle, Packages
from tests.vm.control_host import ControlHost, Play
from tests.vm.image import CHECKOUT, Image
from tests.vm.node import AGENT, GATE, HARDENED_KERNEL, SERVER, ContainerNode, Node
from tests.vm.suite import SINGLE_FILE_SUITES

pytestmark = [pytest.mark.vm, pytest.mark.skipif(sys.version_info < (3, 11), reason="ansible-lint needs Python 3.11")]

_FIRST, _SECOND = "server-1.example", "agent-1.example"
_SITE = ("--forks=1", "harden.yml", "k3s.orchestration.site", "assess.yml")
_PINS = ("--require-hashes", "--requirement", "tests/requirements-ansible-lint.txt")
_UNRELATED = "/home/admin /root/.ansible /run /var/lib/rpm /var/lib/sudo /var/lib/systemd /var/log"
"""What Ansible, sudo and systemd write themselves. Ansible asks rpm about the package manager of a node."""
_FILES = (
    "find / /var/lib -xdev \\( "
    + " -o ".join(f"-path {path}" for path in _UNRELATED.split())
    + " \\) -prune -o -type f -printf '%p %m %u:%g %s %T@\\n' -o -printf '%p %m %u:%g %l\\n'"
)
_BY_APPLY = ("/etc/sysctl.d/", "/etc/rancher/", "/var/lib/rancher/")
_PREDICTED = re.compile(r'^ +"(/\S+): ', re.MULTILINE)
_FEDORA = next(distribution for distribution in DISTRIBUTIONS if distribution.name.startswith("Fedora"))
_URL = "http://127.0.0.1:8080"


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    with (shared / "ansible.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return python_with("ansible-lint", *_PINS).parent


@pytest.fixture
def nodes(image: Image, bare_layers: tuple[Path, ...], tmp_path: Path) -> Iterator[dict[str, ContainerNode]]:
    """A server and an agent of the example's inventory, with neither K3s nor the program."""
    found = {name: ContainerNode(tmp_path / name, image, bare_layers) for name in (_FIRST, _SECOND)}
    for node in found.values():
        node.resume()
    yield found
    for node in found.values():
        node.cut_power()
        node.remove_disk()


@pytest.fixture
def control(nodes: dict[str, ContainerNode], programs: Path, packages: Packages, tmp_path: Path) -> ControlHost:
    """A control host with the single file at the path that the example's inventory names."""
    host = ControlHost(tmp_path, programs, nodes)
    shutil.copy(packages.single_file, host.files / "k3s-harden.pyz")
    return host


def _files(node: Node) -> dict[str, str]:
    """Return mode, owner and target of each path, and size and time of a file."""
    return dict(line.split(" ", 1) for line in node.run(_FILES).out.splitlines())


def _changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {path for path, _ in before.items() ^ after.items()}


def _last(paths: set[str]) -> set[str]:
    """Return the paths without the directories of others: `diff` leaves out the parents that `apply` creates."""
    return {path for path in paths if not any(other.startswith(f"{path}/") for other in paths)}


def _checked(play: Play) -> Play:
    assert play.code == 0, play.out
    return play


def test_all_nodes_are_hardened_as_check_mode_predicts_and_the_next_run_changes_nothing(
    control: ControlHost, nodes: dict[str, ContainerNode]
) -> None:
    """Then K3s is installed, with its gate, and the report of each node is on the control host."""
    before = {name: _files(node) for name, node in nodes.items()}
    predicted = _checked(control.play("--check", "--diff", "harden.yml"))
    for name, node in nodes.items():
        assert _changed(before[name], _files(node)) == set()

    first = _checked(control.play("harden.yml"))
    assert first.changes == predicted.changes
    assert {host for host, _ in first.changes} == set(nodes)
    written: set[str] = set()
    for name, node in nodes.items():
        after = _files(node)
        written |= {path for path in _changed(before[name], after) if path.startswith(_BY_APPLY)}
        assert after["/etc/k3s-harden"].startswith("755 root:root")
        assert after["/etc/k3s-harden/config.yaml"].startswith("644 root:root")
        assert after["/usr/local/bin/k3s-harden"].startswith("755 root:root")
        assert node.run("find / -xdev -path '*/k3s-harden.*' -name config.yaml").out == ""
    assert _last(written) == _last(set(_PREDICTED.findall(predicted.out)))

    site = _checked(control.play(*_SITE))
    assert site.changes == []
    for name, service in ((_FIRST, SERVER), (_SECOND, AGENT)):
        nodes[name].wait_until_up(service)
        nodes[name].assert_started_after_the_gate(service)
        assert nodes[name].starts()[0].kernel.items() >= HARDENED_KERNEL.items()
    assert _files(nodes[_FIRST])["/etc/rancher/k3s/config.yaml"].startswith("600 root:root")
    reports = control.directory / "reports"
    assert {path.name: path.stat().st_mode & 0o777 for path in reports.iterdir()} == {
        f"{name}.json": 0o600 for name in nodes
    }
    for name, role in ((_FIRST, "server"), (_SECOND, "agent")):
        report = json.loads((reports / f"{name}.json").read_text(encoding="utf-8"))
        assert {fact["name"]: fact["value"] for fact in report["facts"]}["role"] == role

    assert _checked(control.play("--diff", "harden.yml")).changes == []


def test_nodes_record_who_connects_to_their_pods_and_the_records_are_fetched(
    control: ControlHost, nodes: dict[str, ContainerNode]
) -> None:
    """Without the gate cron repeats it. Nothing is hardened."""
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 7 * 86_400))
    _checked(control.play("traffic.yml", k3s_harden_settings={"traffic": {"record-until": day}}))
    records = read_records(Host.tree_at("/").machine_tree, PurePosixPath(control.directory / "connections"))
    assert {path.stem for path in records} == set(nodes)
    for node in nodes.values():
        line = node.run("cat /etc/cron.d/k3s-harden-traffic").out
        assert line == "* * * * * root /usr/local/bin/k3s-harden record-traffic >/dev/null\n"
        assert node.run("test -e /etc/sysctl.d/90-kubelet.conf", check=False).code == 1


def test_a_node_that_cannot_be_hardened_ends_the_run_before_the_next_node_and_before_k3s(
    control: ControlHost, nodes: dict[str, ContainerNode]
) -> None:
    """The message names the cause. Check mode fails, too."""
    nodes[_FIRST].break_host()
    before = _files(nodes[_SECOND])
    for options in (["--check"], []):
        failed = control.play(*options, *_SITE)
        assert failed.code == 2
        assert "option-overridden: a later value overrides protect-kernel-defaults" in failed.out
        assert ContainerNode.BAD_DROPIN in failed.out
        assert {result.host for result in failed.results} == {_FIRST}
    assert _changed(before, _files(nodes[_SECOND])) == set()
    assert nodes[_FIRST].run("test -e /etc/systemd/system/k3s.service", check=False).code == 1


def _batches(control: ControlHost, hosts: dict[str, str], *words: str) -> tuple[int, list[set[str]]]:
    """Run harden.yml with a role of one command for each host; return the code, and the hosts that ran it by batch."""
    playbook, role = control.directory / "harden.yml", control.directory / "roles/k3s_harden"
    text = re.sub("(?m)^  (become|gather_subset): .*", "", playbook.read_text(encoding="utf-8"))
    playbook.write_text(text.replace("  roles:", "  gather_facts: false\n  roles:"), encoding="utf-8")
    shutil.rmtree(role)
    (role / "tasks").mkdir(parents=True)
    task = '- name: Harden\n  ansible.builtin.command: "{{ result }}"\n'
    (role / "tasks/main.yml").write_text(task, encoding="utf-8")
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    away = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    groups: dict[str, Any] = {"server": {"hosts": {}}, "agent": {"hosts": {}}}
    for name, result in hosts.items():
        groups[name.partition("-")[0]]["hosts"][name] = {**(here if result else away), "result": result}
    inventory = control.directory.parent / "many.json"
    inventory.write_text(json.dumps({"all": {"children": groups}}), encoding="utf-8")
    done = control.run("ansible-playbook", f"--inventory={inventory}", "--forks=10", "harden.yml", *words)
    plays = done.stdout.partition("PLAY RECAP")[0].split("\nPLAY [")[1:]
    return done.returncode, [set(re.findall(r"^changed: \[(.*)\]", play, re.MULTILINE)) for play in plays]


def test_50_nodes_are_hardened_in_batches_without_the_unreachable_one(programs: Path, tmp_path: Path) -> None:
    """Servers come one by one. The run ends with an error, and every other node was tried."""
    servers = [f"server-{number}" for number in range(3)]
    agents = [f"agent-{number:02}" for number in range(47)]
    hosts = {**dict.fromkeys((*servers, *agents), "true"), "agent-07": ""}
    code, batches = _batches(ControlHost(tmp_path, programs, {}), hosts)
    expected = [{server} for server in servers] + [set(agents[start : start + 10]) for start in range(0, 47, 10)]
    assert batches == [batch - {"agent-07"} for batch in expected]
    assert code == 4


@pytest.mark.parametrize(
    ("failing", "words", "batches"),
    [
        (["server-0"], [], 0),
        (["agent-0"], [], 4),
        (["agent-0", "agent-1"], [], 3),
        (["agent-0", "agent-1"], ["-e", "k3s_harden_agents_may_fail=20"], 4),
        (["agent-0"], ["-e", "k3s_harden_agents_may_fail=0"], 3),
        ([], ["-e", "k3s_harden_agents_at_once=6", "-e", "k3s_harden_servers_at_once=100%"], 3),
    ],
)
def test_a_run_ends_if_more_nodes_fail_than_may_fail(
    programs: Path, tmp_path: Path, failing: list[str], words: list[str], batches: int
) -> None:
    """Two servers and twelve agents, in batches of ten by default."""
    names = [*(f"server-{number}" for number in range(2)), *(f"agent-{number}" for number in range(12))]
    hosts = {name: "false" if name in failing else "true" for name in names}
    code, found = _batches(ControlHost(tmp_path, programs, {}), hosts, *words)
    assert len([batch for batch in found if batch]) == batches
    assert code == (2 if failing else 0)


def test_a_mistake_in_the_variables_ends_the_run_before_the_settings_are_written(
    control: ControlHost, nodes: dict[str, ContainerNode]
) -> None:
    """The program is not installed if its file is not the expected one."""
    for name in ("k3s-harden.zip", "k3s-harden.rpm"):
        (control.files / name).touch()
    before = _files(nodes[_FIRST])
    for variables, message in (
        ({"k3s_harden_sha256": "0" * 64}, f"; expected {'0' * 64}"),
        ({"k3s_harden_release": str(control.files / "k3s-harden.zip")}, "one of package, .pyz, .gz, .deb for"),
        ({"k3s_harden_release": str(control.files / "k3s-harden.rpm")}, "one of package, .pyz, .gz, .deb for"),
        ({"k3s_harden_release": str(control.files / "missing.pyz")}, "with SHA-256 unknown"),
        ({"k3s_harden_release": f"{_URL}/k3s-harden.pyz"}, "k3s_harden_sha256 for a URL"),
        ({"k3s_harden_settings": "role: server"}, "unable to convert to dict"),
    ):
        failed = control.play("harden.yml", **variables)
        assert (failed.code, message in failed.out) == (2, True), failed.out
    assert _changed(before, _files(nodes[_FIRST])) == set()
    failed = control.play("harden.yml", k3s_harden_settings={"role": "server", "profil": "strict"})
    assert (failed.code, "unknown setting `profil`" in failed.out) == (2, True), failed.out
    assert "/etc/k3s-harden" not in _files(nodes[_FIRST])


def _installs(control: ControlHost, **variables: object) -> None:
    """Check that check mode predicts the changes of the first run on the server, and that the next run has none."""
    limit = f"--limit={_FIRST}"
    predicted = _checked(control.play("--check", limit, "harden.yml", **variables))
    first = _checked(control.play(limit, "harden.yml", **variables))
    assert first.changes == predicted.changes
    assert (_FIRST, "Harden the node") in first.changes
    assert _checked(control.play(limit, "harden.yml", **variables)).changes == []
    assert _checked(control.play(limit, "assess.yml", **variables))


def _put_debian_packages(node: Node, image: Image, work: Path, *names: str) -> None:
    """Install packages of Debian, with those that they depend on and that the node does not have."""
    suite = debian.chosen(image.tree.parents[2])
    (work / "cache/archives/partial").mkdir(parents=True)
    # Tests at the same time would wait for the lock of dpkg's status, which is only read.
    own = f'Dir::State::status "{image.tree}/var/lib/dpkg/status"; Dir::Cache "{work}/cache";\nDebug::NoLocking "1";\n'
    (work / "apt.conf").write_text((suite.directory / "apt.conf").read_text(encoding="utf-8") + own, encoding="utf-8")
    for deb in debian.Suite(suite.name, work).download_all(names):
        node.put(f"/root/debs/{deb.name}", deb.read_bytes())
    node.run("dpkg --install --force-confold /root/debs/*.deb")


@pytest.mark.deb
def test_a_report_that_its_node_signed_is_verified_on_the_control_host(
    control: ControlHost, nodes: dict[str, ContainerNode], image: Image, tmp_path: Path
) -> None:
    """By the loop of the page; the directory on the node is removed."""
    node, key = nodes[_FIRST], new_key(tmp_path / "host-key")
    _put_debian_packages(node, image, tmp_path, "openssh-client")
    node.put("/etc/ssh/ssh_host_ed25519_key", key.read_bytes(), "0600")
    limit = f"--limit={_FIRST}"
    _checked(control.play(limit, "harden.yml"))
    _checked(control.play(limit, "assess.yml", k3s_harden_sign="/etc/ssh/ssh_host_ed25519_key"))
    assert node.run("find /root -name 'k3s-harden.*'").out == ""
    (control.directory / "nodes").write_text(f"{_FIRST}\n", encoding="utf-8")
    (control.directory / "keys").mkdir()
    shutil.copy(key.with_suffix(".pub"), control.directory / f"keys/{_FIRST}.pub")
    list_signers, verify = (_evidence(heading)[0] for heading in ("Whose key", "Verify"))
    done = subprocess.run(
        ["sh", "-euc", list_signers + verify], cwd=control.directory, check=True, capture_output=True, text=True
    )
    assert f'Good "k3s-harden" signature for {_FIRST}' in done.stdout
    assert "NOT VERIFIED" not in done.stdout


def _evidence(heading: str) -> list[str]:
    page = (CHECKOUT / "docs/howto/fleet-evidence.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


@pytest.mark.deb
def test_apt_installs_a_deb_file(
    control: ControlHost, nodes: dict[str, ContainerNode], packages: Packages, image: Image, tmp_path: Path
) -> None:
    """The gate is that of the package."""
    _put_debian_packages(nodes[_FIRST], image, tmp_path, "python3-apt")
    shutil.copy(packages.deb, control.files)
    _installs(control, k3s_harden_release=str(control.files / packages.deb.name))
    assert nodes[_FIRST].unit(GATE)["FragmentPath"].startswith("/usr/lib/systemd/")


@pytest.mark.deb
def test_apt_installs_the_package_of_a_repository(
    control: ControlHost, nodes: dict[str, ContainerNode], packages: Packages, image: Image, tmp_path: Path
) -> None:
    """The role needs no release file."""
    node, deb = nodes[_FIRST], packages.deb.read_bytes()
    _put_debian_packages(node, image, tmp_path, "python3-apt")
    node.put("/srv/k3s-harden.deb", deb)
    entry = f"Filename: ./k3s-harden.deb\nSize: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}\n"
    node.put("/srv/Packages", node.run("dpkg-deb --field /srv/k3s-harden.deb").out + entry)
    node.put("/etc/apt/sources.list", "deb [trusted=yes] file:/srv ./\n")
    node.run("apt-get update")
    _installs(control, k3s_harden_release="")


@pytest.mark.deb
def test_dnf_installs_an_rpm_file(
    control: ControlHost, nodes: dict[str, ContainerNode], packages: Packages, image: Image, tmp_path: Path
) -> None:
    """Debian's dnf, on a node that names itself Fedora and has packages without content with Fedora's names."""
    node = nodes[_FIRST]
    _put_debian_packages(node, image, tmp_path, "dnf")
    make_stubs(tmp_path, _FEDORA)
    for stub in tmp_path.glob("*.rpm"):
        node.put(f"/root/stubs/{stub.name}", stub.read_bytes())
    node.run("rpm --install /root/stubs/*.rpm")
    node.put("/etc/redhat-release", "Fedora release 43 (Forty Three)\n")
    node.put("/usr/lib/os-release", "ID=fedora\nVERSION_ID=43\n")
    node.run("rm /etc/debian_version")
    shutil.copy(packages.rpm, control.files)
    _installs(control, k3s_harden_release=str(control.files / packages.rpm.name))
    assert node.run("rpm --verify k3s-harden").out == ""


def test_the_archive_with_its_own_python_is_installed(
    control: ControlHost, nodes: dict[str, ContainerNode], bundle: Bundle
) -> None:
    """It is not installed again if it is the installed one."""
    if nodes[_FIRST].suite in SINGLE_FILE_SUITES:
        pytest.skip("glibc is too old")
    shutil.copy(bundle.archive, control.files)
    _installs(control, k3s_harden_release=str(control.files / bundle.archive.name))
    assert "/opt/k3s-harden/bin/k3s-harden" in nodes[_FIRST].unit(GATE)["ExecStart"]


def test_a_node_downloads_the_release_and_rejects_one_with_another_checksum(
    control: ControlHost, nodes: dict[str, ContainerNode], packages: Packages
) -> None:
    """A node of a site with a web server of its own."""
    node, data = nodes[_FIRST], packages.single_file.read_bytes()
    node.put("/srv/k3s-harden.pyz", data)
    node.run(f"systemd-run --quiet --unit=mirror python3 -m http.server --bind 127.0.0.1 --directory /srv {_URL[-4:]}")
    node.wait_until(f"curl -fsS {_URL}", timeout=60)
    url = f"{_URL}/k3s-harden.pyz"
    before = _files(node)
    failed = control.play(f"--limit={_FIRST}", "harden.yml", k3s_harden_release=url, k3s_harden_sha256="0" * 64)
    assert (failed.code, "did not match" in failed.out) == (2, True), failed.out
    assert _changed(before, _files(node)) == set()
    _installs(control, k3s_harden_release=url, k3s_harden_sha256=hashlib.sha256(data).hexdigest())


def test_the_example_passes_the_production_profile_of_ansible_lint(programs: Path, tmp_path: Path) -> None:
    """The profile for content that is published."""
    done = ControlHost(tmp_path, programs, {}).run("ansible-lint", "--offline", "--profile=production", "--nocolor")
    # A warning does not change the exit code.
    output = done.stdout + done.stderr
    assert (done.returncode, "Profile 'production' was required, and it passed." in output) == (0, True), output
