"""The shell blocks of pages, run in their order on host trees, with stand-ins for what the tree does not have."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.conftest import Hardened
from tests.scenarios.host_tree import DROPIN, SETTINGS, HostTree
from tests.scenarios.loaded_program import CHECKOUT
from tests.ssh_key import new_key
from tests.unit.cluster.fleet.sites import Sites

_OF_THE_HOST = re.compile(r"(?<![\w.:])/(?=(?:etc|root|run|var)/)")
_STAND_INS = ("apt-get", "curl", "k3s", "k3s-killall.sh", "systemctl")
"""Programs that only log their arguments."""


class Shell:
    """A shell on a control host. Paths of a node, and the program's runs, are below a tree."""

    def __init__(self, directory: Path, trees: dict[str, HostTree]) -> None:
        self.directory = directory / "control"
        self.log = directory / "log"
        self._bin = directory / "bin"
        self._trees = trees
        self.log.touch()
        self.directory.mkdir()
        self._bin.mkdir()
        for name in _STAND_INS:
            self._program(name, f'echo {name} "$@" >>{self.log}')
        self._program("sudo", 'exec "$@"')
        on_node = "; ".join(f'[ "$node" != {name} ] || host={tree.root}' for name, tree in trees.items())
        host = next(iter(trees.values())).root if trees else ""
        self._program(
            "k3s-harden",
            f'verb=$1; shift; host=${{TREE:-{host}}}; case $verb in render|fleet) set -- "$@";;\n'
            f'service-accounts) echo "$verb $*" >>{self.log}; exit;; *) set -- --root "$host" "$@";; esac\n'
            f'cd -- "$OLDPWD" && exec env PYTHONPATH={CHECKOUT} {sys.executable} -m agent "$verb" "$@"',
        )
        # ssh -n NODE COMMAND: the command runs with the paths of the node's tree.
        self._program(
            "ssh",
            f"node=$2; {on_node}; export TREE=$host\n"
            'exec sh -c "$(printf %s "$3" | sed "s# /\\(etc\\|root\\)/# $host/\\1/#g")"',
        )

    def _program(self, name: str, text: str) -> None:
        file = self._bin / name
        file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        file.chmod(0o755)

    def run(self, block: str, code: int = 0, *, interactive: bool = False) -> str:
        """Run a block; return its output. An interactive shell goes on after a command that fails."""
        done = subprocess.run(
            ["sh", "-uc" if interactive else "-euc", block],
            cwd=self.directory,
            env={**os.environ, "PATH": f"{self._bin}:{os.environ['PATH']}", "OLDPWD": str(self.directory)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def blocks(page: str, heading: str) -> list[str]:
    """Return the shell blocks below a heading of a page, without the indent of a list; at the top, without one."""
    text = (CHECKOUT / f"docs/howto/{page}.md").read_text(encoding="utf-8")
    section = f"\n{text}".partition(f"\n## {heading}\n" if heading else "\n# ")[2].partition("\n## ")[0]
    found = re.findall(r"^( *)```sh\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", body, flags=re.MULTILINE) for indent, body in found]


def on(tree: HostTree, block: str) -> str:
    return _OF_THE_HOST.sub(f"{tree.root}/", block)


def test_the_page_about_an_upgrade_leads_to_a_compliant_host_and_back(hardened: Hardened, tmp_path: Path) -> None:
    tree = hardened(version="1.36")
    tree.write(SETTINGS, "role: server\n")
    shell = Shell(tmp_path, {"server-1": tree})
    (preflight,) = blocks("upgrade", "Check before the upgrade")
    stopped, check = blocks("upgrade", "Upgrade by hand")
    older, restore = blocks("upgrade", "Roll back")
    assert "v1.37" in shell.run(preflight)
    shell.run(stopped)
    checked = shell.run(check.replace("check", "check --k3s-version v1.37"))
    assert "v1.37" in checked.splitlines()[0]
    assert "Host is compliant" in checked
    shell.run(older)
    assert "Host is compliant" in shell.run(restore.replace("harden check", "harden check --k3s-version v1.36"))
    assert shell.log.read_text().splitlines() == [
        "systemctl stop k3s",
        "k3s-killall.sh",
        "curl -sfL https://get.k3s.io",
        "k3s server --cluster-reset --cluster-reset-restore-path=/var/lib/rancher/k3s/server/db/snapshots/NAME",
        "systemctl start k3s",
    ]


def test_the_page_about_reverting_leaves_nothing(hardened: Hardened, tmp_path: Path) -> None:
    """Without a K3s, `apply` has neither encrypted a Secret nor created an object."""
    tree = hardened(version="1.37")
    tree.write(SETTINGS, "role: server\nk3s-version: 1.37\n")
    shell = Shell(tmp_path, {"server-1": tree})
    undo, restart = blocks("revert", "")
    objects, results, tokens = blocks("revert", "What stays")
    (last,) = blocks("revert", "Result")
    shell.run(undo)
    assert not tree[DROPIN].exists()
    shell.run(objects)
    for path in ("/var/lib/k3s-harden/assessment.json", "/var/lib/k3s-harden/metrics/k3s-harden.prom"):
        tree.write(path, "")
    shell.run(on(tree, results))
    assert not tree["/var/lib/k3s-harden/assessment.json"].exists()
    shell.run(tokens)
    shell.run(restart)
    assert "Nothing to revert" in shell.run(last)
    assert shell.log.read_text().splitlines() == [
        "k3s kubectl delete --ignore-not-found -f -",
        "service-accounts --undo",
        "apt-get remove k3s-harden",
        "systemctl restart k3s",
    ]


def test_a_line_of_the_site_lets_revert_remove_the_one_for_encryption(hardened: Hardened, tmp_path: Path) -> None:
    tree = hardened(version="1.37")
    (decided,) = blocks("revert", "Secrets that K3s has encrypted")
    shell = Shell(tmp_path, {"server-1": tree})
    shell.run(on(tree, decided))
    assert tree["/etc/rancher/k3s/config.yaml.d/50-secrets-encryption.yaml"].read_text() == "secrets-encryption: true\n"
    assert not tree[DROPIN].exists()


def test_an_edit_is_kept_until_revert_is_forced(hardened: Hardened, tmp_path: Path) -> None:
    tree = hardened(version="1.37")
    tree.write(DROPIN, tree[DROPIN].read_text() + "# edited\nnode-label+: [a=b]\n", 0o600)
    shell = Shell(tmp_path, {"server-1": tree})
    (forced,) = blocks("revert", "Later edits")
    shell.run(blocks("revert", "Result")[0], code=4)
    assert tree[DROPIN].exists()
    shell.run(forced)
    assert not tree[DROPIN].exists()


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
def test_the_page_about_evidence_collects_and_verifies_signed_reports(hardened: Hardened, tmp_path: Path) -> None:
    """A report that somebody changes is not verified."""
    tree = hardened(version="1.37")
    waiver = "{control: kernel.panic, reason: The watchdog restarts it., expires: 2099-01-01, approved-by: SEC}"
    tree.write(SETTINGS, f"role: server\nk3s-version: 1.37\nwaivers: [{waiver}]\n")
    tree.write("/proc/sys/kernel/panic", "0\n")
    key = new_key(tmp_path / "host-key")
    tree.write("/etc/ssh/ssh_host_ed25519_key", key.read_text(), 0o600)
    tree["/root"].mkdir()
    nodes = ("server-1", "server-2")
    shell = Shell(tmp_path, dict.fromkeys(nodes, tree))
    (shell.directory / "keys").mkdir()
    for name in nodes:
        shutil.copy(key.with_suffix(".pub"), shell.directory / f"keys/{name}.pub")
    (shell.directory / "nodes").write_text("".join(f"{name}\n" for name in nodes))
    (signers,) = blocks("fleet-evidence", "Whose key")
    collect, collect_pages = blocks("fleet-evidence", "Sign and collect")
    verify, overview = blocks("fleet-evidence", "Verify")
    (waivers,) = blocks("fleet-evidence", "List waivers")
    shell.run(signers)
    shell.run(collect, interactive=True)  # ssh ends with the exit code of `assess`
    shell.run(collect_pages, code=3, interactive=True)
    assert "</html>" in (shell.directory / "reports/server-2.html").read_text()
    verified = shell.run(verify)
    assert [f'Good "k3s-harden" signature for {name} ' in verified for name in nodes] == [True, True]
    assert "NOT VERIFIED" not in verified
    reports = [line.split("\t")[0] for line in shell.run(overview).splitlines()]
    assert reports == [f"reports/{name}.json" for name in nodes]
    assert "kernel.panic\tWAIVED\t2099-01-01\tSEC\t" in shell.run(waivers)
    report = shell.directory / "reports/server-2.json"
    report.write_text(report.read_text().replace("FAIL", "PASS"))
    assert "NOT VERIFIED: server-2" in shell.run(verify)


def test_the_page_about_sites_without_access_compares_with_yesterday(tmp_path: Path) -> None:
    """The first day has no earlier list."""
    shell = Shell(tmp_path, {})
    sites = Sites(shell.directory, keys=1)
    sites.write_all(["berlin"])
    shutil.copy(sites.keys[0].with_suffix(".pub"), shell.directory / "berlin-1.pub")
    (shell.directory / "sites").write_text("berlin\n")
    first_day, later_day = blocks("fleet", "Sites without access")
    shell.run(first_day)
    shell.run(later_day)
    (found,) = json.loads((shell.directory / "yesterday.json").read_text())["nodes"]
    assert (found["cluster"], found["result"], bool(found["verified"])) == ("berlin", "compliant", True)
