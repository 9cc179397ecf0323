"""One piece of work, done by this program and by other means, each on a host tree of its own: the guide's whole node.

All put the same bytes into the same places; a tree that differs afterwards is an error.
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
from pathlib import Path
from typing import NamedTuple

from tests import k3s_tree
from tests.bench.measure import HOME, BenchError, Command, once

CHECKOUT = Path(__file__).parents[2]
OPTIONS = ("--role", "server", "--k3s-version", "1.34")

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
    """A tool to compare with cannot be installed here."""


class Mean(NamedTuple):
    """A way to do the work: its name in the report, and its command, which has been run once and has done the work."""

    name: str
    command: Command


def host_tree(name: str) -> Path:
    """A fresh host tree with the two directories that K3s' installer makes."""
    root = HOME / "trees" / name
    root.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([CHECKOUT / ".ci/disposable-host", root], check=True)
    for path in (_DATA, str(Path(_DROPIN).parent)):
        (root / path).mkdir(parents=True)
    return root


def python_with(name: str, *pip: str) -> Path:
    """An environment of the Python that runs this, with what `pip install` makes of the words; kept for the next time.

    Raises AbsentError if it cannot be made.
    """
    directory = HOME / "environments" / name
    python = directory / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    options = ("--quiet", "--disable-pip-version-check", "--no-input")
    done = subprocess.run(
        [python, "-m", "pip", "install", *options, *pip],
        cwd=CHECKOUT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), "pip failed")
        raise AbsentError(f"{name} cannot be installed ({reason})")
    return python


def this_program() -> Path:
    """The program as pip installs it for a user, and not from the checkout, whose modules may have no bytecode."""
    python = python_with("k3s-harden", "--require-hashes", "--requirement", "tests/requirements-run.txt")
    python_with("k3s-harden", "--no-deps", "--no-build-isolation", "--force-reinstall", ".")
    return python.with_name("k3s-harden")


def ready_tree(program: Path) -> Path:
    """A host tree that this program has made ready: what all others must come to."""
    root = host_tree("k3s-harden")
    once(Command((str(program), "apply", "--root", str(root), *OPTIONS)))
    return root


def populated_tree(program: Path, name: str = "populated") -> Path:
    """A ready server on which K3s has run, with etcd: nearly every control has something to look at."""
    root = host_tree(name)
    once(Command((str(program), "apply", "--root", str(root), *OPTIONS)))
    mode = stat.S_IMODE((root / _DIRECTORIES[0]).stat().st_mode)
    k3s_tree.started(root, k3s_tree.K3s())
    (root / _DIRECTORIES[0]).chmod(mode)
    return root


def assessing(program: Path, root: Path) -> Command:
    """All controls of the newest benchmark for the K3s of OPTIONS; open ones, which end it with 3, are an answer."""
    return Command((str(program), "assess", "--root", str(root), *OPTIONS), codes=(0, 3))


def by_guide(ready: Path) -> Mean:
    """The guide's own commands as a shell script.

    `sysctl -p` can be told no other kernel: where this may make a mount namespace, it finds the tree's files below
    /proc/sys, and where not, the script writes into them itself. The modes of files the guide leaves to the umask.
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
    return _tried(Mean(f"the guide's commands in sh, {how}", Command(("/bin/sh", str(script)))), root, ready)


def by_ansible(ready: Path) -> Mean:
    """An Ansible playbook. Raises AbsentError where Ansible cannot be installed."""
    python = python_with("ansible", "--require-hashes", "--requirement", "tests/bench/requirements-ansible.txt")
    root = host_tree("ansible")
    argv = (
        str(python.with_name("ansible-playbook")),
        "--inventory",
        "localhost,",
        "--extra-vars",
        f"@{_work(root, ready)}",
    )
    command = Command((*argv, str(CHECKOUT / "tests/bench/playbook.yaml")))
    return _tried(Mean(f"ansible-playbook (ansible-core {version(python, 'ansible-core')})", command), root, ready)


def by_pyinfra(ready: Path) -> Mean:
    """A pyinfra deploy. Raises AbsentError where pyinfra cannot be installed."""
    python = python_with("pyinfra", "--require-hashes", "--requirement", "tests/bench/requirements-pyinfra.txt")
    root = host_tree("pyinfra")
    argv = (str(python.with_name("pyinfra")), "-y", "--data", f"work={_work(root, ready)}", "@local")
    command = Command((*argv, str(CHECKOUT / "tests/bench/deploy.py")))
    return _tried(Mean(f"pyinfra {version(python, 'pyinfra')}", command), root, ready)


def _tried(mean: Mean, root: Path, ready: Path) -> Mean:
    once(mean.command)
    for path in (*_FILES, *_KERNEL_FILES):
        if (root / path).read_bytes().split() != (ready / path).read_bytes().split():
            raise BenchError(f"{mean.name}: {root / path} is not what k3s-harden makes it")
    return mean


def _work(root: Path, ready: Path) -> Path:
    """What goes where, for the playbook and the deploy."""
    modes = {path: f"{stat.S_IMODE((ready / path).stat().st_mode):04o}" for path in (*_FILES, *_KERNEL_FILES)}
    files = [{"path": path, "mode": mode} for path, mode in modes.items()]
    file = HOME / f"{root.name}.json"
    work = {"root": str(root), "source": str(ready), "directories": _DIRECTORIES, "files": files}
    file.write_text(json.dumps(work), encoding="utf-8")
    return file


def _here_document(ready: Path, path: str) -> str:
    return f"cat >\"$root/{path}\" <<'END'\n{(ready / path).read_text(encoding='utf-8')}END"


def version(python: Path, package: str) -> str:
    """The version of a package in an environment."""
    asked = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip()


def _sees_the_kernel_of(root: Path) -> bool:
    """Put the tree's kernel values over the machine's, for this process and its children alone; False if that fails."""
    if not shutil.which("sysctl") or ctypes.CDLL(None).unshare(_NEW_MOUNT_NAMESPACE):
        return False
    mounts = [("--make-rprivate", "/"), *(("--bind", str(root / path), f"/{path}") for path in _KERNEL_FILES)]
    return not any(subprocess.run(["mount", *words], check=False, capture_output=True).returncode for words in mounts)
