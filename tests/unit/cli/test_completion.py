"""Shell completion: candidates, speed, hidden errors, and the scripts in real shells."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agent.base import package_data
from agent.k3s.cis.versions import Benchmark
from agent.reports.formats import REPORT_FORMATS, Format
from agent.verbs.installation import COMPLETIONS
from agent.verbs.render import DOCUMENTS
from agent.verbs.topics import titles
from tests.programs_here import ran
from tests.shells import in_bash, in_fish, in_zsh, lay_scripts

CHECKOUT = Path(__file__).parents[3]
IDS = ("audit-log-maxage", "vm.overcommit_memory", "list-dropped", "pki-ownership", "audit.max-age", "settings")


def answer(*words: str, of: str = "bash", **variables: str) -> subprocess.CompletedProcess[str]:
    """Complete the last word, as the scripts do."""
    protocol = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    protocol |= {"_TYPER_COMPLETE_ARGS": " ".join(words), "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    environment = {**os.environ, **protocol, "_K3S_HARDEN_COMPLETE": f"complete_{of}", **variables}
    return ran(sys.executable, "-m", "agent", cwd=CHECKOUT, env=environment)


def candidates(*words: str) -> list[str]:
    done = answer("k3s-harden", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_verbs_are_offered_without_hidden_ones() -> None:
    """gate is hidden, because units run it."""
    offered = candidates("")
    assert {"apply", "check", "assess", "drift", "explain", "render"} <= set(offered)
    assert "gate" not in offered


def test_values_are_offered() -> None:
    assert candidates("assess", "--benchmark", "") == ["auto", *map(str, Benchmark)]
    assert candidates("assess", "--benchmark", "cis-2") == ["cis-2.0", "cis-2.1"]
    assert candidates("assess", "--format", "") == [choice.value for choice in Format]
    assert candidates("check", "--root", "/mnt", "--format", "") == [choice.value for choice in REPORT_FORMATS]
    assert candidates("render", "") == [*DOCUMENTS, "cloud-init", "ignition", "assessment-job", "upgrade-plan"]
    assert candidates("render", "k3") == ["k3s-config"]
    assert candidates("preflight", "v1.37") == ["v1.37"]
    assert candidates("apply", "--k3s-version", "v1.37") == ["v1.37"]
    assert candidates("render", "psa", "--k3s-version", "v1.37") == ["v1.37"]
    assert candidates("explain", "audit-log-maxa") == ["audit-log-maxage"]
    assert candidates("explain", "") == list(titles())
    assert set(IDS) <= titles().keys()
    assert "--benchmark" in candidates("assess", "--b")


def test_settings_are_not_read(tmp_path: Path) -> None:
    """A settings file that is invalid or not readable has no effect."""
    settings = tmp_path / "config.yaml"
    settings.write_text("role: [\n")
    settings.chmod(0)
    assert candidates("check", "--config", str(settings), "--format", "j") == ["json"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Create a home with k3s-harden in bin/, and the scripts as a package installs them."""
    program = tmp_path / "bin/k3s-harden"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={CHECKOUT} exec {sys.executable} -m agent "$@"\n')
    program.chmod(0o755)
    lay_scripts(tmp_path, {shell: package_data.read("completions", f"k3s-harden.{shell}") for shell in COMPLETIONS})
    return tmp_path


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(home: Path) -> None:
    for words, expected in (("k3s-harden che", "check\n"), ("k3s-harden render audit", "audit-policy\n")):
        assert in_bash(home, words) == expected


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_completes(home: Path) -> None:
    assert in_fish(home, "k3s-harden render audit") == "audit-policy\tPrint the audit policy.\n"
    assert in_fish(home, "k3s-harden chec") == "check\tCheck this host against the hardening guide.\n"
    (home / "somefile").touch()
    assert "somefile" in in_fish(home, "k3s-harden check --config some")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_completes_at_the_first_attempt(home: Path) -> None:
    """The file is the function that compinit loads."""
    assert "audit-policy" in in_zsh(home, "k3s-harden render a", "audit-policy")
    assert "Check this host against the hardening guide." in in_zsh(home, "k3s-harden ", "guide.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_program_that_cannot_be_run_is_silent(home: Path, shell: str) -> None:
    """The program is in a directory that only root can enter."""
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    (home / "bin/k3s-harden").chmod(stat.S_IRUSR)
    if shell == "bash":
        assert in_bash(home, "k3s-harden che").strip() == ""
    elif shell == "fish":
        assert in_fish(home, "k3s-harden chec") == ""
    else:
        shown = in_zsh(home, "k3s-harden render a", "denied", tries=20)
        assert "denied" not in shown
        assert "found" not in shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_verbs_and_options_complete_without_a_markdown_parser(tmp_path: Path, shell: str) -> None:
    """The packages carry Rich without it. Typer uses it for zsh and fish."""
    (tmp_path / "markdown_it.py").write_text("raise ImportError('not in the packages')\n")
    for words, expected in ((("a",), "assess"), (("assess", "--b"), "--benchmark")):
        done = answer("k3s-harden", *words, of=shell, PYTHONPATH=str(tmp_path))
        assert (done.returncode, done.stderr, expected in done.stdout) == (0, "", True)


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_loads_the_file_that_install_writes() -> None:
    """It is in a directory that fish searches without XDG_DATA_DIRS."""
    environment = {name: value for name, value in os.environ.items() if name != "XDG_DATA_DIRS"}
    searched = subprocess.check_output(["fish", "-c", "echo $fish_complete_path"], env=environment, text=True)
    assert str(COMPLETIONS["fish"].parent) in searched.split()


def test_the_program_edits_no_file_of_the_user() -> None:
    """Typer's --install-completion changes .bashrc or .zshrc; `install` writes the scripts for all users."""
    done = ran(sys.executable, "-m", "agent", "--help", cwd=CHECKOUT)
    assert "completion" not in done.stdout.replace("timers and completions", "")
