"""An administrator who does what `check` prints, step by step, has a compliant host and a running K3s again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import pytest

from tests.scenarios.follower import Steps
from tests.vm.node import DATA_DIR, GATE, KUBELET_CONF, SERVER, Node

pytestmark = pytest.mark.vm

SERVICE = f"/etc/systemd/system/{SERVER}.d"
SITE = "/etc/rancher/k3s/config.yaml.d/99-site.yaml"
AUDIT = f"{DATA_DIR}/server/audit.yaml"
MOST = 3
"""Rounds after which nothing is left to do."""

PROBLEMS = {
    "the gate of the service is masked": f"ln -s /dev/null {SERVICE}/zzz-k3s-harden.conf; systemctl daemon-reload",
    "the unit of the gate is masked": f"systemctl mask {GATE}",
    "a drop-in passes an argument that weakens K3s": (
        f"printf '[Service]\\nExecStart=\\nExecStart=/usr/local/bin/k3s server --protect-kernel-defaults=false\\n'"
        f" >{SERVICE}/50-site.conf; systemctl daemon-reload"
    ),
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
    "others own and read the server's directory": f"chown -R admin {DATA_DIR}/server; chmod 0755 {DATA_DIR}/server",
    "K3s may start without its gate": "k3s-harden bypass --until-revoked || k3s-harden bypass",
}
"""Commands as root on a host whose K3s runs and is hardened, by what they do."""


class Administrator(Steps):
    """Carries out steps on a booted host, with sudo."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node

    def read(self, file: str) -> str:
        return self.node.run(f"cat {file} 2>/dev/null || true").out

    def write(self, file: str, text: str) -> None:
        self.node.run(f"mkdir -p $(dirname {file}) && cat >{file}", stdin=text.encode())

    def paste(self, command: str) -> None:
        done = self.node.run(command, user="admin", check=False)
        of_program = shlex.split(command.removeprefix("sudo "))[0] == "k3s-harden"
        assert done.code == 0 or (of_program and done.code == 3), (command, done)

    def check(self) -> dict[str, Any]:
        done = self.node.run("sudo k3s-harden check --format json", user="admin", check=False)
        assert done.out, done
        report: dict[str, Any] = json.loads(done.out)
        return report


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


@pytest.mark.parametrize("problem", PROBLEMS)
def test_who_does_what_check_prints_has_a_compliant_host(problem: str, hardened: Node) -> None:
    """At most three rounds, no step fails, and K3s starts again after them."""
    node = hardened
    node.run(f"set -e; mkdir -p {SERVICE}; {PROBLEMS[problem]}")
    administrator = Administrator(node)
    report = administrator.check()
    rounds: list[list[str]] = []
    assert report["exit_code"] or _problems(report), "the host has no problem"
    while (report["exit_code"] or _problems(report)) and len(rounds) < MOST:
        rounds.append([step["command"] or step["text"] for step in report["next_steps"]])
        for step in report["next_steps"]:
            administrator.carry_out([step])
        report = administrator.check()
    assert (report["exit_code"], _problems(report)) == (0, []), json.dumps(rounds, indent=1)
    node.systemctl("restart", SERVER)
    node.wait_until_up()
