"""Cases of findings: a hardened host that gets a problem, and a similar change that causes none."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.component_files import POD_SECURITY_ADMISSION
from tests.scenarios.host_tree import DATA_DIR, DROPINS, Finding, HostTree

Edit = Callable[[HostTree], object]
Cure = Callable[[HostTree, Finding], object]


class Seen(NamedTuple):
    """What `check` prints about a finding."""

    location: str
    """A pattern of fnmatch."""
    repair: str
    """`{location}` stands for the location; empty: the steps are carried out, and the finding is gone."""
    expected: str = ""
    found: str = ""


class Case(NamedTuple):
    """A hardened host that gets a finding."""

    kind: str
    problem: Edit
    """The change that causes the finding."""
    neighbour: Edit
    """A similar change that does not cause it."""
    seen: Seen
    cure: Cure | None = None
    """The change after which the finding is gone; None for that of the neighbour."""
    role: str = "server"
    version: str = "1.34"
    name: str = ""
    answer: int = 0
    """The number of the answer to a question that fixes it."""


def apply(host: HostTree) -> object:
    return host.run("apply")


def of_version(version: str) -> Edit:
    return asked_for("--role", "server", "--k3s-version", version)


def unchanged(host: HostTree, finding: Finding) -> None:
    """Change nothing, for a finding that only a person can fix or that a tree cannot show as fixed."""


SERVICE_DROPIN = "/etc/systemd/system/k3s.service.d/50-{}.conf"
GATE_DROPIN = (Path(__file__).parents[3] / "systemd/k3s.service.d/zzz-k3s-harden.conf").read_text()
SITE = f"{DROPINS}/99-site.yaml"
"""K3s reads this file after the drop-in of k3s-harden."""
PSP = "apiVersion: policy/v1beta1\nkind: PodSecurityPolicy\nmetadata:\n  name: own\n"
OWN_PSA = POD_SECURITY_ADMISSION.partition("    exemptions:")[0]


def written(path: str, content: str) -> Edit:
    return lambda host: host.write(path, content)


def edited(path: str) -> Edit:
    return lambda host: host.edit(path)


def deleted(path: str) -> Edit:
    return lambda host: host[path].unlink()


def chmod(path: str, mode: int) -> Edit:
    return lambda host: host[path].chmod(mode)


def asked_for(*options: str) -> Edit:
    def change(host: HostTree) -> None:
        host.options = options

    return change


def both(*edits: Edit) -> Edit:
    return lambda host: [edit(host) for edit in edits]


def linked(path: str, target: str) -> Edit:
    def change(host: HostTree) -> None:
        host[path].parent.mkdir(parents=True, exist_ok=True)
        host[path].unlink(missing_ok=True)
        host[path].symlink_to(target)

    return change


def many(pattern: str, number: int) -> Edit:
    return lambda host: [host.write(pattern.format(count), "") for count in range(number)]


def with_service(*dropins: str) -> Edit:
    """Install the service of K3s, the gate, and drop-ins `50-0.conf`, `50-1.conf`."""

    def change(host: HostTree) -> None:
        host.write("/etc/systemd/system/k3s.service", "[Service]\nExecStart=/usr/local/bin/k3s server\n")
        host.write("/etc/systemd/system/k3s-harden@.service", f"[Unit]\nRequiresMountsFor={DATA_DIR}\n")
        host.write("/etc/systemd/system/k3s.service.d/zzz-k3s-harden.conf", GATE_DROPIN)
        for number, content in enumerate(dropins):
            host.write(SERVICE_DROPIN.format(number), content)

    return change


def nothing(_: HostTree) -> None: ...


def as_described(host: HostTree, finding: Finding) -> None:
    """Run the last command of the remediation."""
    command = finding.repair.rpartition("run `")[2].removesuffix("`")
    words = shlex.split(command.removeprefix("sudo "))
    if words[0] == "k3s-harden":
        assert host.run(words[1], *words[2:]).code == 0
    elif words[0] == "rm":
        host[words[1]].unlink()
    else:
        raise AssertionError(f"unexpected command: {finding.repair}")


def line_deleted(host: HostTree, finding: Finding) -> None:
    line_replaced(r".*\n", "")(host, finding)


def line_replaced(pattern: str, replacement: str) -> Cure:
    def cure(host: HostTree, finding: Finding) -> None:
        path, _, number = finding.location.rpartition(":")
        lines = host[path].read_text().splitlines(keepends=True)
        edited = re.sub(pattern, replacement, lines[int(number) - 1])
        assert edited != lines[int(number) - 1]
        lines[int(number) - 1] = edited
        host[path].write_text("".join(lines))

    return cure


def file_put(path: str, content: str) -> Cure:
    return lambda host, _: host.write(path, content)


def removed(path: str) -> Cure:
    return lambda host, _: host[path].rmdir() if host[path].is_dir() else host[path].unlink()
