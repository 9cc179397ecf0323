"""How commands in reports call the program: as it was called, with sudo only if it is needed."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from agent.base.repair import Run, RunVerb
from agent.cli.caller import caller
from tests.k3s_tree import fresh
from tests.programs_here import ran

CHECKOUT = Path(__file__).parents[3]
OPTIONS = ("check", "--role", "server", "--k3s-version", "1.34")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "bin/k3s-harden"
    file.parent.mkdir()
    file.write_text(f"#!{sys.executable}\nimport sys\nfrom agent.__main__ import main\nsys.exit(main())\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return fresh(tmp_path / "my host")


def advised(*command: str | Path, path: str = os.environ["PATH"], cwd: Path = CHECKOUT) -> str:
    """Return the recommended apply command of a run."""
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(CHECKOUT)}
    done = ran(*command, env=environment, cwd=cwd)
    found = re.search(r"next \d: apply the hardening.*: (.*)", done.stdout)
    assert found, done
    return found[1]


def test_a_program_on_the_path_is_called_by_its_name(script: Path, tree: Path) -> None:
    """The options of the run are repeated, quoted; an own tree needs no sudo."""
    path = f"{script.parent}:{os.environ['PATH']}"
    command = advised("k3s-harden", *OPTIONS, "--root", tree, path=path)
    assert command == f"k3s-harden apply --root '{tree}' --role server --k3s-version 1.34"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as sudo does")
@pytest.mark.parametrize(("user", "sudo"), [("1000", "sudo "), ("0", "")])
def test_after_sudo_a_command_needs_sudo_again(
    user: str, sudo: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell into which it is pasted is that of the user; root may run sudo, too."""
    monkeypatch.setenv("SUDO_UID", user)
    for root in ("/", str(tree)):
        assert caller(root).command(RunVerb("apply")).startswith(f"{sudo}{caller(root).program} apply")


def test_a_tree_without_programs_is_changed_from_outside(tree: Path) -> None:
    """chroot(8) needs the program in the tree. A symlink in a path could lead out, so such a path needs chroot."""
    root = str(tree)
    command = Run("sudo rm /etc/x")
    outside = ("sudo " if os.geteuid() else "") + f"rm '{root}/etc/x'"
    inside = ("sudo " if os.geteuid() else "") + f"chroot '{root}' "
    (tree / "link").symlink_to("/etc")
    assert caller(root).command(command) == outside
    assert caller(f"{root}/").command(command) == outside
    assert caller(root).command(Run("sudo rm /link/x")) == f"{inside}rm /link/x"
    assert caller(root).command(Run("sudo rm /etc/x && sync")) == f"{inside}rm /etc/x && sync"
    assert caller(root).command(Run("sudo sysctl --system")) == f"{inside}sysctl --system"
    moved = caller(root).command(Run("sudo mv -nT /link /link.moved"))
    assert moved == ("sudo " if os.geteuid() else "") + f"mv -nT '{root}/link' '{root}/link.moved'"
    assert caller(root).command(Run("sudo chmod 0755 /link")) == f"{inside}chmod 0755 /link"
    (tree / "bin").mkdir()
    (tree / "bin/rm").symlink_to("busybox")
    assert caller(root).command(command) == f"{inside}rm /etc/x"


def test_another_program_is_called_by_the_path_that_was_used(script: Path, tree: Path) -> None:
    assert advised(script, *OPTIONS, "--root", tree).startswith(f"{script} apply --root ")
    assert advised("bin/k3s-harden", *OPTIONS, "--root", tree, cwd=script.parents[1]).startswith("bin/k3s-harden apply")


def test_a_program_that_the_interpreter_was_given_is_given_to_it_again(script: Path, tree: Path) -> None:
    """A file without execute permission, and a module."""
    file = Path(shutil.copy(script, script.with_name("k3s-harden.pyz")))
    file.chmod(0o644)
    interpreter = Path(sys.executable)
    found = advised(interpreter, file.name, *OPTIONS, "--root", tree, path="/usr/bin", cwd=file.parent)
    assert found.startswith(f"{interpreter} k3s-harden.pyz apply --root ")
    found = advised(interpreter, "-m", "agent", *OPTIONS, "--root", tree, path=f"{interpreter.parent}:/usr/bin")
    assert found.startswith(f"{interpreter.name} -m agent apply --root ")
