"""The node part of the hardening guide, applied by this program and by other tools, each to its own host tree.

All write the same files; a tree with different contents is an error.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests import k3s_tree
from tests.machine import Machine
from tests.programs_here import ran
from tests.tools.bench.measure import HOME, BenchError, Command, once

CHECKOUT = Path(__file__).parents[3]
OPTIONS = ("--role", "server", "--k3s-version", "1.34")
_SETTINGS = "role: server\nk3s-version: 1.34\n"

_DATA = "var/lib/rancher/k3s"
_DIRECTORIES = (f"{_DATA}/server", f"{_DATA}/server/manifests", f"{_DATA}/server/logs")
_SYSCTL_FILE = "etc/sysctl.d/90-kubelet.conf"
_DROPIN = "etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml"
_FILES = (
    _SYSCTL_FILE,
    f"{_DATA}/server/audit.yaml",
    f"{_DATA}/server/manifests/policy.yaml",
    f"{_DATA}/server/psa.yaml",
    _DROPIN,
)
_KERNEL = ("vm/panic_on_oom", "vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
_KERNEL_FILES = tuple(f"proc/sys/{name}" for name in _KERNEL)
_NEW_MOUNT_NAMESPACE = 0x00020000  # CLONE_NEWNS of sched.h; os.unshare came with Python 3.12


class AbsentError(BenchError):
    """Another tool cannot be installed here."""


class Tool(NamedTuple):
    """A tool: its name in the report, and its command, which has been run once with the expected result."""

    name: str
    command: Command


def host_tree(name: str) -> Path:
    """Create a host tree with the two directories that K3s' installer creates."""
    root = HOME / "trees" / name
    root.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([CHECKOUT / ".ci/disposable-host", root], check=True)
    for path in (_DATA, str(Path(_DROPIN).parent)):
        (root / path).mkdir(parents=True)
    return root


def python_with(name: str, *pip: str) -> Path:
    """Return the Python of a cached virtual environment after `pip install` with these arguments.

    Raises AbsentError if the installation fails.
    """
    directory = HOME / "environments" / name
    python = directory / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    options = ("--quiet", "--disable-pip-version-check", "--no-input")
    done = ran(python, "-m", "pip", "install", *options, *pip, cwd=CHECKOUT, env=environment)
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), "pip failed")
        raise AbsentError(f"{name} cannot be installed ({reason})")
    return python


def this_program() -> Path:
    """Install the program with pip, as a user does; modules of the checkout may have no byte code."""
    python = python_with("k3s-harden", "--require-hashes", "--requirement", "tests/requirements-run.txt")
    python_with("k3s-harden", "--no-deps", "--no-build-isolation", "--force-reinstall", ".")
    return python.with_name("k3s-harden")


def ready_tree(program: Path) -> Path:
    """Return a host tree that this program has hardened; the other tools must produce the same contents."""
    root = host_tree("k3s-harden")
    once(Command((str(program), "apply", "--root", str(root), *OPTIONS)))
    return root


def populated_tree(program: Path, name: str = "populated") -> Path:
    """Return the tree of a hardened server on which K3s has run with etcd, so that nearly all controls apply."""
    root = host_tree(name)
    once(Command((str(program), "apply", "--root", str(root), *OPTIONS)))
    return k3s_tree.started(root, k3s_tree.K3s())


@contextmanager
def hardened_server(program: Path) -> Iterator[tuple[str, ...]]:
    """Yield the words before a command that runs on a hardened server, whose `/` is its own.

    K3s has run on it with etcd, so that nearly all controls apply.
    """
    if os.geteuid() != 0:
        raise BenchError("verbs without options work on `/`, and a root of their own requires root")
    with tempfile.TemporaryDirectory() as place, Machine(Path(place)) as machine:
        enter = ("/usr/bin/nsenter", f"--target={machine.number}", "--mount", "--pid", "--")
        machine.write("/etc/k3s-harden/config.yaml", _SETTINGS)
        k3s_tree.started(machine.path("/"), k3s_tree.K3s())
        once(Command((*enter, str(program), "apply")))
        yield enter


def assessing(program: Path, root: Path) -> Command:
    """Return the command that assesses all controls; exit code 3, for open controls, is accepted."""
    return Command((str(program), "assess", "--root", str(root), *OPTIONS), codes=(0, 3))


def by_guide(ready: Path) -> Tool:
    """Run the commands of the guide as a shell script.

    `sysctl -p` has no option for another /proc/sys: the tree's files are mounted over it if a mount namespace is
    possible; otherwise the script writes the files. The guide leaves the modes of files to the umask.
    """
    root = host_tree("guide")
    real = _sees_the_kernel_of(root)
    lines = ["set -eu", f"root={shlex.quote(str(root))}", _here_document(ready, _SYSCTL_FILE)]
    if real:
        lines.append(f'sysctl -p "$root/{_SYSCTL_FILE}"')
    else:
        lines += [f'echo {(ready / path).read_text().strip()} >"$root/{path}"' for path in _KERNEL_FILES]
    lines += [f'mkdir -p -m 700 "$root/{path}"' for path in _DIRECTORIES[1:]]
    lines += [_here_document(ready, path) for path in _FILES[1:]]
    script = HOME / "guide.sh"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    how = "`sysctl -p`" if real else "`echo` for `sysctl -p`, which needs root"
    return _tried(Tool(f"the guide's commands in sh, {how}", Command(("/bin/sh", str(script)))), root, ready)


def by_ansible(ready: Path) -> Tool:
    """Run an Ansible playbook. Raises AbsentError if Ansible cannot be installed."""
    python = python_with("ansible", "--require-hashes", "--requirement", "tests/tools/bench/requirements-ansible.txt")
    root = host_tree("ansible")
    argv = (
        *(str(python.with_name("ansible-playbook")), "--inventory", "localhost,"),
        *("--extra-vars", f"@{_work(root, ready)}"),
        # Otherwise Ansible uses the newest python3.N on PATH, which can be a pyenv shim of an inactive version.
        *("--extra-vars", f"ansible_python_interpreter={python}"),
    )
    command = Command((*argv, str(CHECKOUT / "tests/tools/bench/playbook.yaml")))
    return _tried(Tool(f"ansible-playbook (ansible-core {version(python, 'ansible-core')})", command), root, ready)


def by_pyinfra(ready: Path) -> Tool:
    """Run a pyinfra deploy. Raises AbsentError if pyinfra cannot be installed."""
    python = python_with("pyinfra", "--require-hashes", "--requirement", "tests/tools/bench/requirements-pyinfra.txt")
    root = host_tree("pyinfra")
    argv = (str(python.with_name("pyinfra")), "-y", "--data", f"work={_work(root, ready)}", "@local")
    command = Command((*argv, str(CHECKOUT / "tests/tools/bench/deploy.py")))
    return _tried(Tool(f"pyinfra {version(python, 'pyinfra')}", command), root, ready)


def _tried(tool: Tool, root: Path, ready: Path) -> Tool:
    once(tool.command)
    for path in (*_FILES, *_KERNEL_FILES):
        if (root / path).read_bytes().split() != (ready / path).read_bytes().split():
            raise BenchError(f"{tool.name}: {root / path} differs from the file that k3s-harden writes")
    return tool


def _work(root: Path, ready: Path) -> Path:
    """Write the input of the playbook and the deploy."""
    modes = {path: f"{stat.S_IMODE((ready / path).stat().st_mode):04o}" for path in (*_FILES, *_KERNEL_FILES)}
    files = [{"path": path, "mode": mode} for path, mode in modes.items()]
    file = HOME / f"{root.name}.json"
    work = {"root": str(root), "source": str(ready), "directories": _DIRECTORIES, "files": files}
    file.write_text(json.dumps(work), encoding="utf-8")
    return file


def _here_document(ready: Path, path: str) -> str:
    return f"cat >\"$root/{path}\" <<'END'\n{(ready / path).read_text(encoding='utf-8')}END"


def version(python: Path, package: str) -> str:
    asked = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip()


def _sees_the_kernel_of(root: Path) -> bool:
    """Mount the tree's kernel values over /proc/sys for this process and its children; return whether it succeeded."""
    if not shutil.which("sysctl") or ctypes.CDLL(None).unshare(_NEW_MOUNT_NAMESPACE):
        return False
    mounts = [("--make-rprivate", "/"), *(("--bind", str(root / path), f"/{path}") for path in _KERNEL_FILES)]
    return not any(subprocess.run(["mount", *words], check=False, capture_output=True).returncode for words in mounts)
