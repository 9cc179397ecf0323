"""A host tree in a temporary directory, and runs of the real program on it."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.json_schemas import validator
from tests.k3s_tree import fresh
from tests.scenarios.loaded_program import CHECKOUT, Completed, LoadedProgram
from tests.tree import Entry, Tree

VALIDATOR = validator("report")
PROGRAMS = "/usr/bin"
STATE = "/var/lib/k3s-harden"
LOCK = "/run/k3s-harden.lock"
DATA_DIR = "/var/lib/rancher/k3s"
CONFIG = "/etc/rancher/k3s/config.yaml"
DROPINS = f"{CONFIG}.d"
DROPIN = f"{DROPINS}/90-k3s-harden.yaml"
SETTINGS = "/etc/k3s-harden/config.yaml"
KERNEL_FILE = "/etc/sysctl.d/90-kubelet.conf"
AUDIT = f"{DATA_DIR}/server/audit.yaml"
PSA = f"{DATA_DIR}/server/psa.yaml"
MANIFESTS = f"{DATA_DIR}/server/manifests"
POLICY = f"{MANIFESTS}/policy.yaml"

EDITS = {
    AUDIT: "omitManagedFields: true\n",
    DROPIN: "node-label+: [a=b]\n",
    KERNEL_FILE: "vm.swappiness=1\n",
    POLICY: "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n",
    PSA: "  - name: ImagePolicyWebhook\n",
}
"""What a person might add to the end of each managed file, and the program that reads it would take."""

UNIT = """\
[Unit]
Description=Lightweight Kubernetes
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-{path}.env
KillMode=process
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/k3s \\
    {role} \\
{arguments}
"""
"""The unit that K3s' install.sh writes, shortened."""


class Finding(NamedTuple):
    """A finding of the JSON report."""

    id: str
    level: str
    message: str
    expected: str
    found: str
    location: str
    """Path, or path:line; empty if there is none."""
    repair: str
    blocks_gate: bool
    prevents_start: bool
    prediction: dict[str, object] | None = None
    steps: tuple[dict[str, Any], ...] = ()
    """The steps of the remediation, as objects."""


class JsonReport(NamedTuple):
    """A JSON report: status, detail and remediation of each item by ID, and the findings in the order of the report."""

    code: int
    items: dict[str, str]
    details: dict[str, str]
    hints: dict[str, str]
    findings: tuple[Finding, ...]
    facts: dict[str, tuple[str, str]]
    text: str

    @property
    def ids(self) -> set[str]:
        return {finding.id for finding in self.findings}

    def of(self, kind: str) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.id == kind)

    def only(self, kind: str) -> Finding:
        (finding,) = self.of(kind)
        return finding

    def with_status(self, status: str) -> set[str]:
        return {name for name, found in self.items.items() if found == status}


class Stamp(NamedTuple):
    """The properties of a path that every write changes."""

    inode: int
    modified: int
    changed: int


@dataclass
class HostTree(Tree):
    """A host below `root`. `options` are passed to apply, check, diff and preflight.

    With `program`, a run is a fork of it, which is fast. A run with an environment or other options is a new process.
    """

    root: Path
    program: LoadedProgram | None = None
    options: tuple[str, ...] = ("--role", "server", "--k3s-version", "1.34")
    environment: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, path: str) -> Path:
        return self.path(path)

    def edit(self, path: str) -> str:
        """Append the text in EDITS to a managed file, and return it."""
        file = self[path]
        self.write(path, file.read_bytes() + EDITS[path].encode(), stat.S_IMODE(file.stat().st_mode))
        return EDITS[path]

    def unit(self, role: str, *arguments: str, name: str = "", environment: str = "") -> None:
        path = f"/etc/systemd/system/{name or ('k3s' if role == 'server' else 'k3s-agent')}.service"
        lines = "".join(f"\t'{argument}' \\\n" for argument in arguments)
        self.write(path, UNIT.format(path=path, role=role, arguments=lines))
        self.write(f"{path}.env", environment, 0o600)

    def run(self, verb: str, *arguments: str, **options: Any) -> Completed:
        own = self.options if verb in {"apply", "check", "diff", "preflight"} else ()
        words = (verb, "--root", str(self.root), *own, *arguments)
        if self.program is None or options or self.environment:
            return run(*words, environment=self.environment, **options)
        return self.program.run(*words)

    def seen(self, verb: str, *arguments: str) -> JsonReport:
        done = self.run(verb, "--format", "json", *arguments)
        assert done.stdout, done
        return parsed(done)

    def entries(self, *, with_state: bool = False) -> dict[str, Entry]:
        """Return the entry of each path of the tree without its programs, by default without the state and lock."""
        left_out = (PROGRAMS,) if with_state else (STATE, LOCK, PROGRAMS)
        return {
            name: entry
            for name, entry in self.tree("/").items()
            if name != "/" and not any(name == path or name.startswith(f"{path}/") for path in left_out)
        }

    def stamps(self) -> dict[str, Stamp]:
        """Return inode and times of each path of the tree, including the state of the program."""
        found = {}
        for path in [self.root, *self.root.rglob("*")]:
            stat_ = path.lstat()
            found[str(path)] = Stamp(stat_.st_ino, stat_.st_mtime_ns, stat_.st_ctime_ns)
        return found


def run(
    *arguments: str, environment: Mapping[str, str] | None = None, prefix: Sequence[str] = (), **options: Any
) -> Completed:
    """Run the program without the inherited variables that change its output, such as LANG and COLUMNS."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "COLUMNS", "FORCE_", "TTY_"))}
    options.setdefault("env", {**inherited, "LC_ALL": "C.UTF-8", **(environment or {})})
    options.setdefault("cwd", CHECKOUT)
    options.setdefault("stdin", subprocess.DEVNULL)
    if not {"stdout", "stderr"} & options.keys():
        options["capture_output"] = True
    if arguments[:1] == ("gate",):
        start = "import tests.scenarios.gate_of_tree; from agent.cli import main; main()"
        command = [*prefix, sys.executable, "-c", start, "gate-of-tree", *arguments[1:]]
    else:
        command = [*prefix, sys.executable, "-m", "agent", *arguments]
    done = subprocess.run(command, check=False, timeout=60, **options)
    return Completed(done.returncode, _text(done.stdout), _text(done.stderr))


def parsed(done: Completed) -> JsonReport:
    """Return the JSON report of a run. Checks that it is valid and contains the exit code of the run."""
    report = json.loads(done.stdout)
    VALIDATOR.validate(report)
    assert report["exit_code"] == done.code, done
    return JsonReport(
        code=done.code,
        items={item["id"]: item["status"] for item in report["items"]},
        details={item["id"]: item["detail"] for item in report["items"]},
        hints={item["id"]: item["repair"]["text"] for item in report["items"]},
        findings=tuple(_finding(finding) for finding in report["findings"]),
        facts={fact["name"]: (fact["value"], fact["source"]) for fact in report["facts"]},
        text=done.stdout,
    )


_COMMANDS = re.compile(r"(?:sudo )?(?:\S*python\S* -m agent|k3s-harden) (?!render)[^`;]+")
_IN_THE_TREE = re.compile(r"(?:sudo )?chroot \S+ ")
_CALL = re.compile(r"\S*python\S* -m agent ")
_HOST_OPTIONS = re.compile(r" --(?:root|config|role|k3s-version|data-dir) [^ `;]+")


def _finding(found: dict[str, Any]) -> Finding:
    """Read a finding, with commands as they are on the host itself: with sudo, but without host options and chroot."""
    location = found.pop("location")
    found.pop("resource")
    repair = _COMMANDS.sub(lambda match: as_named(match[0]), found["repair"]["text"])
    steps = tuple(found["repair"]["steps"])
    found["repair"] = _IN_THE_TREE.sub("sudo ", repair)
    line = f":{location['line']}" if location and location["line"] else ""
    return Finding(**found, location=f"{location['path']}{line}" if location else "", steps=steps)


def as_named(command: str) -> str:
    """Return a command of the program by its usual name, without host options."""
    return _HOST_OPTIONS.sub("", _CALL.sub("k3s-harden ", command))


def disposable(root: Path, program: LoadedProgram | None = None) -> HostTree:
    """Create the tree of a newly installed Debian host, as `make run` does."""
    fresh(root)
    (root / PROGRAMS[1:]).mkdir()
    for name in ("chmod", "chown", "mv", "rm", "setfacl"):
        (root / PROGRAMS[1:] / name).touch(0o755)  # commands of reports then run in the tree
    return HostTree(root, program)


def copied(tree: HostTree, root: Path) -> HostTree:
    shutil.copytree(tree.root, root, symlinks=True)
    return HostTree(root, tree.program, tree.options)


def _text(output: bytes | str | None) -> str:
    return output.decode("utf-8", "surrogateescape") if isinstance(output, bytes) else output or ""
