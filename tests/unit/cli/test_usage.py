"""Command lines that cannot be run: one message, and a similar command or option."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.k3s.roles_and_versions import NEWEST_KNOWN, OLDEST_COVERED
from tests.programs_here import ran
from tests.terminal import Terminal
from tests.tools.generate_docs import commands

CHECKOUT = Path(__file__).parents[3]
OF_ALL = "run k3s-harden --help for all commands"
INVALID, OUTSIDE = "invalid value for ", "is not in the range"
NO_OPTION = "k3s-harden has no such option"
NO_FORMAT = "invalid value for '--format': '{}' is not one of 'auto', 'table', 'plain', 'json'"
NO_ROLE = "invalid value for '--role': '{}' is not one of 'server', 'agent', 'auto'"
NO_VERSION = (
    "use --k3s-version: it must be a K3s version such as v1.28.5+k3s1 or 1.28"
    f" (this release knows v{OLDEST_COVERED.family} to v{NEWEST_KNOWN.family})"
)
NO_DATA_DIR = "use --data-dir: it must be an absolute path without `..`"
OF_RENDER = "run k3s-harden render --help for all commands"
A_VERSION = "omit the option, or pass a value such as --k3s-version v1.28.15+k3s1"
A_DATA_DIR = "omit the option, or pass a value such as --data-dir /srv/k3s"
A_FILE = "name an existing regular file that this user can read"
A_ROOT = "pass the mount point of an image, or another host tree"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return ran(sys.executable, "-m", "agent", *words, cwd=CHECKOUT)


@pytest.mark.parametrize(
    ("call", "problem", "fix"),
    [
        ("chekc", "run chekc: k3s-harden has no such command", "did you mean check?"),
        ("asses --benchmark=cis-1.9", "run asses: k3s-harden has no such command", "did you mean assess?"),
        ("qqqq", "run qqqq: k3s-harden has no such command", OF_ALL),
        ("gaet", "run gaet: k3s-harden has no such command", OF_ALL),
        ("check --formt json", "use --formt: check has no such option", "did you mean --format?"),
        ("check --k3s-verison=1.34", "use --k3s-verison: check has no such option", "did you mean --k3s-version?"),
        ("check -x", "use -x: check has no such option", ""),
        ("assess --level 2", "use --level: assess has no such option", ""),
        ("check --dry-run", "use --dry-run: check has no such option", ""),
        ("--root / check", f"use --root: {NO_OPTION}", "options follow the command: k3s-harden COMMAND --root"),
        ("--versoin", f"use --versoin: {NO_OPTION}", "did you mean --version?"),
        ("--", "run k3s-harden: missing command", OF_ALL),
        ("preflight", "run preflight: missing argument 'VERSION'", ""),
        ("check --role master", f"run check: {NO_ROLE.format('master')}", "did you mean server?"),
        ("apply --role worker", f"run apply: {NO_ROLE.format('worker')}", "did you mean agent?"),
        ("apply --role sever", f"run apply: {NO_ROLE.format('sever')}", "did you mean server?"),
        ("apply --role x", f"run apply: {NO_ROLE.format('x')}", ""),
        ("check --format junit", f"run check: {NO_FORMAT.format('junit')}", ""),
        ("diff --format jsn", f"run diff: {NO_FORMAT.format('jsn')}", "did you mean json?"),
        ("check --data-dir", "run check: option '--data-dir' requires an argument", ""),
        ("check --quiet=1", "run check: option '--quiet' does not take a value", ""),
        ("service-accounts --timeout 0", f"run service-accounts: {INVALID}'--timeout': 0.0 {OUTSIDE} 1<=x<=600", ""),
        ("service-accounts --wait nan", f"run service-accounts: {INVALID}'--wait': nan is not a number", ""),
        ("assess-node --every inf", f"run assess-node: {INVALID}'--every': inf {OUTSIDE} 0.001<=x<=8760", ""),
        ("assess --node a", "use --node: assess has no such option", ""),
        ("check --root /nonexistent", "use --root /nonexistent: the directory does not exist", A_ROOT),
        ("check --root /etc/passwd", "use --root /etc/passwd: it is a regular file, not a directory", A_ROOT),
        ("check --root=", "use --root: the value is empty", "check that the variable that it comes from is set"),
        ("check --k3s-version=", f"{NO_VERSION}; found ''", A_VERSION),
        ("check --k3s-version 2.1", f"{NO_VERSION}; found '2.1'", A_VERSION),
        ("check --data-dir /srv/../k3s", f"{NO_DATA_DIR}; found '/srv/../k3s'", A_DATA_DIR),
        ("check --config /no/such/file", "use /no/such/file: the file does not exist", A_FILE),
        ("revert --role server", "use --role: revert has no such option", ""),
        ("render everything", "run everything: k3s-harden render has no such command", OF_RENDER),
    ],
)
def test_an_error_is_one_message_with_exit_code_2(call: str, problem: str, fix: str) -> None:
    """Neither the usage of Click nor a traceback is added, and nothing is printed to standard output."""
    done = run(*call.split())
    fix = fix or f"run k3s-harden {call.split(maxsplit=1)[0]} --help for its options"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"k3s-harden: cannot {problem}\n  fix: {fix}\n")


@pytest.mark.parametrize(
    "verb", [command.name for command in commands() if command.name not in ("explain", "fleet", "render", "settings")]
)
def test_each_verb_refuses_an_argument_too_many(verb: str) -> None:
    """Only explain takes any words, and fleet any sources; groups take a command."""
    first = {"preflight": ["1.37"], "settings check": ["f"]}.get(verb, [])
    done = run(*verb.split(), *first, "one")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"k3s-harden: cannot run {verb}: got unexpected extra argument")


def test_an_empty_path_does_not_become_the_current_directory() -> None:
    """As from a variable that is not set."""
    for option in ("--config", "--data-dir", "--baseline"):
        done = run("assess", "--role", "server", option, "")
        assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False)


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in run("\x1b[2Jaudti").stderr + run("check", "--\x1b[2J").stderr


def test_without_a_command_the_help_is_printed_as_an_error() -> None:
    """Standard output is for reports."""
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Harden:" in done.stderr


def test_the_help_of_a_verb_has_a_short_option() -> None:
    done = run("check", "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: k3s-harden check" in done.stdout


def test_errors_fit_the_terminal() -> None:
    """Standard error is the terminal, also if standard output is redirected."""
    with Terminal("assess", "--benchmark", "cis-9", columns=50, stdout=subprocess.DEVNULL) as terminal:
        shown = terminal.rest().replace("\r", "").rstrip("\n").split("\n")
    assert max(map(len, shown)) <= 50
    assert any(line.startswith("       cis-1.") for line in shown)


@pytest.mark.parametrize(
    ("words", "same"),
    [(("help", "apply"), ("apply", "--help")), (("help",), ("--help",)), (("version",), ("--version",))],
)
def test_expected_words_are_understood(words: tuple[str, ...], same: tuple[str, ...]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (0, run(*same).stdout)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("status",), "k3s-harden check"),
        (("apply", "server"), "pass --role server"),
        (("check", "-v", "-q"), "omit one of them"),
        (("assess", "-v", "-q"), "omit one of them"),
        (("assess", "--format", "sarif", "--output", "r.html"), "pass --format html"),
        (("render",), "Usage: k3s-harden render"),
        (("settings",), "Usage: k3s-harden settings"),
    ],
)
def test_a_contradiction_or_an_incomplete_line_says_what_to_do(words: tuple[str, ...], hint: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout, hint in done.stderr) == (2, "", True)


@pytest.mark.parametrize(("name", "start"), [("r.html", "<!DOCTYPE html>"), ("r.json", "{"), ("r.xml", "<?xml")])
def test_the_ending_of_the_output_selects_the_format(tmp_path: Path, name: str, start: str) -> None:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/usr").mkdir()
    done = run("assess", "--root", str(tmp_path / "root"), "--role", "server", "--output", str(tmp_path / name))
    assert done.returncode == 3, done.stderr
    assert (tmp_path / name).read_text().lower().startswith(start.lower())
