"""A control host of Ansible: a copy of docs/examples/ansible, the real ansible-core, and containers as its nodes.

Ansible's connection ssh runs a script in the place of ssh, which enters the container: a node needs no SSH server.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.vm.image import CHECKOUT
from tests.vm.node import STAND_IN, ContainerNode

EXAMPLES = CHECKOUT / "docs/examples/ansible"
_USER = "admin"
_ROLE = "k3s_harden : "
_TASK = re.compile(r"^TASK \[(.*)\] \**$")
_RESULT = re.compile(r"^(ok|changed|skipping|fatal|failed|ignored|included): \[?([\w.-]+)")


class Result(NamedTuple):
    """The result of a task on a node."""

    host: str
    task: str
    status: str


class Play(NamedTuple):
    """The exit code, the results and the output of ansible-playbook."""

    code: int
    results: tuple[Result, ...]
    out: str

    @property
    def changes(self) -> list[tuple[str, str]]:
        return [
            (found.host, found.task.removeprefix(_ROLE))
            for found in self.results
            if found.status == "changed" and found.task.startswith(_ROLE)
        ]


class ControlHost:
    """A directory with the example and its release files, and the programs of an environment with Ansible."""

    def __init__(self, directory: Path, programs: Path, nodes: Mapping[str, ContainerNode]) -> None:
        self.directory = directory / "ansible"
        self._programs = programs
        shutil.copytree(EXAMPLES, self.directory)
        self.files = self.directory / "files"
        self.files.mkdir()
        hosts = {}
        for name, node in nodes.items():
            script = directory / f"ssh-{name}"
            enter = shlex.join(node.inside(["runuser", "-u", _USER, "--", "/bin/sh", "-c"]))
            script.write_text(
                f'#!/bin/sh\n# The command is the last word.\nfor command; do :; done\nexec {enter} "$command"\n'
            )
            script.chmod(0o755)
            hosts[name] = {"ansible_ssh_executable": str(script), "ansible_ssh_transfer_method": "piped"}
        self._configuration = directory / "ansible.cfg"
        self._configuration.write_text("[connection]\npipelining = true\n")
        playbooks = directory / "collections/ansible_collections/k3s/orchestration/playbooks"
        shutil.copytree(STAND_IN / "k3s.orchestration", playbooks)
        self._nodes = directory / "nodes.json"
        self._nodes.write_text(json.dumps({"all": {"hosts": hosts}}))
        self._limit = ",".join(nodes)

    def play(self, *words: str, **variables: object) -> Play:
        """Run ansible-playbook with the example's inventory, for the containers only."""
        inventories = ("--inventory=inventory.yml", f"--inventory={self._nodes}", f"--limit={self._limit}")
        done = self.run("ansible-playbook", *inventories, *words, f"--extra-vars={json.dumps(variables)}")
        return Play(done.returncode, tuple(_results(done.stdout)), done.stdout + done.stderr)

    def run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))},
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(self._configuration),
            "ANSIBLE_HOME": str(self.directory.parent / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.directory.parent / "collections"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            (self._programs / program, *words),
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


def _results(output: str) -> list[Result]:
    found, task = [], ""
    for line in output.splitlines():
        if heading := _TASK.match(line):
            task = heading[1]
        elif result := _RESULT.match(line):
            found.append(Result(result[2], task, result[1]))
    return found
