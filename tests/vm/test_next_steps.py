"""An administrator who does what `check` prints, step by step, has a compliant host and a running K3s again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import pytest

from tests.scenarios.follower import Steps
from tests.vm.node import DATA_DIR, GATE, KUBELET_CONF, SERVER, Node
from tests.vm.openrc import GATE_FILES, OpenrcNode

pytestmark = pytest.mark.vm

SERVICE = f"/etc/systemd/system/{SERVER}.d"
SITE = "/etc/rancher/k3s/config.yaml.d/99-site.yaml"
AUDIT = f"{DATA_DIR}/server/audit.yaml"
MOST = 3
"""Rounds after which nothing is left to do."""

PROBLEMS = {
    "a file of the operator switches the kernel defaults off": f"echo protect-kernel-defaults: false >{SITE}",
    "a file of the operator replaces the API server's arguments": (
        f"echo 'kube-apiserver-arg: [audit-log-maxage=3]' >{SITE}"
    ),
    "a file of the operator has several values that weaken K3s": (
        "printf 'protect-kernel-defaults: false\\nsecrets-encryption: false\\nkubelet-arg+:\\n- v=2\\n"
        f"- streaming-connection-idle-timeout=0\\n- make-iptables-util-chains=false\\n' >{SITE}"
    ),
    "a later file of sysctl.d sets another value": "echo vm.overcommit_memory = 0 >/etc/sysctl.d/99-site.conf",
    "the sysctl file is deleted": f"rm {KUBELET_CONF}",
    "the audit policy is edited": f"echo 'omitManagedFields: true' >>{AUDIT}",
    "the audit policy is a directory": f"rm {AUDIT}; mkdir {AUDIT}",
    "the audit policy is a link to nothing": f"rm {AUDIT}; ln -s /srv/audit.yaml {AUDIT}",
    "others can write the configuration of K3s": "chmod 0777 /etc/rancher/k3s/config.yaml.d",
    "others own and read the server's directory": f"chown -R 1001 {DATA_DIR}/server; chmod 0755 {DATA_DIR}/server",
    "K3s may start without its gate": "k3s-harden bypass --until-revoked || k3s-harden bypass",
}
"""Commands as root on a host whose K3s runs and is hardened, by what they do."""
OF_SYSTEMD = {
    "the gate of the service is masked": f"ln -s /dev/null {SERVICE}/zzz-k3s-harden.conf; systemctl daemon-reload",
    "the unit of the gate is masked": f"systemctl mask {GATE}",
    "a drop-in passes an argument that weakens K3s": (
        f"printf '[Service]\\nExecStart=\\nExecStart=/usr/local/bin/k3s server --protect-kernel-defaults=false\\n'"
        f" >{SERVICE}/50-site.conf; systemctl daemon-reload"
    ),
}
OF_OPENRC = {
    "the configuration of the gate is missing": f"rm {GATE_FILES[0]}",
    "the script of the gate is missing": f"rm {GATE_FILES[1]}",
    "the script of the gate is edited": f"sed -i 's/rm -f/true/' {GATE_FILES[1]}",
    "others can write the program": "chmod 0777 /usr/local/bin/k3s-harden",
}


class Administrator(Steps):
    """Carries out steps on a booted host: root, or another user with sudo."""

    def __init__(self, node: Node, user: str) -> None:
        super().__init__()
        self.node, self.user = node, user
        self.rounds: list[list[str]] = []
        """What each report printed."""

    def read(self, file: str) -> str:
        return self.node.run(f"cat {file} 2>/dev/null || true").out

    def write(self, file: str, text: str) -> None:
        self.node.run(f"mkdir -p $(dirname {file}) && cat >{file}", stdin=text.encode())

    def paste(self, command: str) -> None:
        done = self.node.run(command, user=self.user, check=False)
        of_program = shlex.split(command.removeprefix("sudo "))[0] == "k3s-harden"
        assert done.code == 0 or (of_program and done.code == 3), (command, done)

    def check(self) -> dict[str, Any]:
        sudo = "" if self.user == "root" else "sudo "
        done = self.node.run(f"{sudo}k3s-harden check --format json", user=self.user, check=False)
        assert done.out, done
        report: dict[str, Any] = json.loads(done.out)
        return report

    def solve(self) -> None:
        """Do what `check` prints until it reports nothing: at most three rounds."""
        report = self.check()
        assert report["exit_code"] or _problems(report), "the host has no problem"
        while (report["exit_code"] or _problems(report)) and len(self.rounds) < MOST:
            self.rounds.append([step["command"] or step["text"] for step in report["next_steps"]])
            for step in report["next_steps"]:
                self.carry_out([step])
            report = self.check()
        assert (report["exit_code"], _problems(report)) == (0, []), json.dumps(self.rounds, indent=1)


def _problems(report: Mapping[str, Any]) -> list[str]:
    return [f"{item['id']}: {item['message']}" for item in report["findings"] if item["level"] in {"error", "warning"}]


@pytest.fixture
def hardened(node: Node) -> Node:
    """A server whose K3s runs, hardened by its gate."""
    node.play_version("v1.37.2+k3s1")
    node.systemctl("start", SERVER)
    node.wait_until_up()
    node.harden("install", check=False)
    assert node.harden("check").code == 0
    return node


@pytest.mark.parametrize("problem", PROBLEMS | OF_SYSTEMD)
def test_who_does_what_check_prints_has_a_compliant_host(problem: str, hardened: Node) -> None:
    """No step fails, and K3s starts again after them."""
    hardened.run(f"set -e; mkdir -p {SERVICE}; {(PROBLEMS | OF_SYSTEMD)[problem]}")
    Administrator(hardened, "admin").solve()
    hardened.systemctl("restart", SERVER)
    hardened.wait_until_up()


def test_root_who_does_what_check_prints_has_a_compliant_host_with_openrc(openrc_node: OpenrcNode) -> None:
    """Without sudo. K3s starts again after the steps of each problem."""
    node = openrc_node
    node.play_version("v1.37.2+k3s1")
    node.harden("apply", "--k3s-version", "1.37.2")
    for problem in (PROBLEMS | OF_OPENRC).values():
        node.run(f"set -e; rm -rf {AUDIT}.moved; {problem}")  # what is moved away replaces nothing
        Administrator(node, "root").solve()
        starts = len(node.starts())
        node.service("k3s", "restart")
        node.wait_for_starts(starts + 1)
