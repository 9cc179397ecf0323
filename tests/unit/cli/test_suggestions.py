"""Suggestions: the error for an unknown verb or option contains the likely command with its other arguments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.suggestions import SYNONYMS, Synonym, options_of, unknown_option, unknown_verb, visible_verbs
from tests.terminal import Terminal

CHECKOUT = Path(__file__).parents[3]
HIDDEN = ("gate", "drift")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("call", "fix"),
    [
        ("audit", "sudo k3s-harden assess"),
        ("scan --root /mnt", "sudo k3s-harden assess --root /mnt"),
        ("harden --role server", "sudo k3s-harden apply --role server"),
        ("undo --last", "sudo k3s-harden revert --last"),
        ("rollback", "sudo k3s-harden revert"),
        ("status -q", "sudo k3s-harden check -q"),
        ("install-k3s", "sudo k3s-harden apply"),
        ("chekc", "sudo k3s-harden check"),
        ("asses --benchmark=cis-1.9", "sudo k3s-harden assess --benchmark=cis-1.9"),
        ("roolback", "sudo k3s-harden revert"),
        ("AUDIT", "sudo k3s-harden assess"),
        ("show audit-log-maxage", "k3s-harden explain audit-log-maxage"),
        ("help check", "k3s-harden check --help"),
        ("version", "k3s-harden --version"),
        ("audit --nonsense value", "sudo k3s-harden assess"),
        ("qqqq", "run k3s-harden --help for all commands"),
        ("gat", "run k3s-harden --help for all commands"),
        ("dirft", "run k3s-harden --help for all commands"),
    ],
)
def test_an_unknown_verb_suggests_the_right_one_with_the_other_words(call: str, fix: str) -> None:
    """The option --root is kept; arguments that the other verb does not support are omitted."""
    words = call.split()
    assert unknown_verb(words[0], words).hint == fix


@pytest.mark.parametrize(
    ("call", "name", "fix"),
    [
        ("apply --dry-run --root /mnt", "--dry-run", "sudo k3s-harden diff --root /mnt"),
        ("--dry-run", "--dry-run", "sudo k3s-harden diff"),
        ("check --json", "--json", "sudo k3s-harden check --format json"),
        ("assess --profile=cis-1.9", "--profile", "sudo k3s-harden assess --benchmark=cis-1.9"),
        ("apply -y --force", "-y", "sudo k3s-harden apply --force"),
        ("check --formt json", "--formt", "sudo k3s-harden check --format json"),
        ("check --k3s-verison=1.34", "--k3s-verison", "sudo k3s-harden check --k3s-version=1.34"),
        ("--root /mnt check", "--root", "sudo k3s-harden check --root /mnt"),
        ("apply --check", "--check", "sudo k3s-harden check"),
        ("apply --undo", "--undo", "sudo k3s-harden revert"),
        ("revert --dry-run", "--dry-run", "k3s-harden revert --help"),
        ("revert --unknown-one", "--unknown-one", "run k3s-harden revert --help for its options"),
        ("check -x", "-x", "run k3s-harden check --help for its options"),
        ("gate --nonsense", "--nonsense", "run k3s-harden gate --help for its options"),
        ("check --jsn", "--jsn", "sudo k3s-harden check --format json"),
    ],
)
def test_an_unknown_option_suggests_the_right_one(call: str, name: str, fix: str) -> None:
    """The command can be pasted. `revert --dry-run` does not suggest diff, which shows the changes of apply."""
    words = call.split()
    verb = words[0] if not words[0].startswith("-") else ""
    assert unknown_option(name, verb, words).hint == fix


def test_words_are_quoted_in_a_suggestion() -> None:
    """A root directory with a blank is one quoted word."""
    words = ["apply", "--root", "/a b", "--dry-run"]
    assert unknown_option("--dry-run", "apply", words).hint == "sudo k3s-harden diff --root '/a b'"


def test_control_characters_do_not_reach_the_terminal() -> None:
    """An unknown word is printed with escapes."""
    error = unknown_verb("\x1b[2Jaudti", ["\x1b[2Jaudti", "--root", "/\x1b"])
    assert "\x1b" not in error.message + error.hint


@pytest.mark.parametrize("row", SYNONYMS, ids=lambda row: row.words[0])
def test_each_synonym_refers_to_an_existing_verb_or_option(row: Synonym) -> None:
    """No word is in two rows, no synonym is an existing name, and no suggested verb is hidden."""
    verbs = visible_verbs()
    assert not set(verbs) & set(HIDDEN)
    first = row.meant.split()[:1]
    of = [options for name, options in verbs.items() if not row.verbs or name in row.verbs]
    if first and first[0].startswith("--"):
        assert any(first[0] in options for options in (*of, options_of(""))) or first == ["--watch"]
    elif first:
        assert first[0] in verbs
    for word in row.words:
        same = [other for other in SYNONYMS if word in other.words]
        assert len({verb for other in same for verb in other.verbs}) == sum(len(other.verbs) for other in same)
        assert len(same) == 1 or all(other.verbs for other in same)
        assert word not in verbs
        assert not any(word in options for options in of), f"{word} is an option"


@pytest.mark.parametrize(
    ("call", "problem", "fix"),
    [
        ("audit", "cannot run audit: k3s-harden has no such command", "sudo k3s-harden assess"),
        ("apply --dry-run", "cannot use --dry-run: apply has no such option", "sudo k3s-harden diff"),
        ("--root / check", "cannot use --root before the command: options follow it", "sudo k3s-harden check --root /"),
        ("revert --dry-run", "cannot use --dry-run: revert has no preview", "k3s-harden revert --help"),
        ("preflight", "cannot run preflight: VERSION is missing", "run k3s-harden preflight --help for its options"),
        (
            "check --role master",
            "cannot use --role: 'master' is not one of 'server', 'agent', 'auto'",
            "run k3s-harden check --help for its options",
        ),
        (
            "check --root /nonexistent",
            "cannot use --root /nonexistent: the directory does not exist",
            "pass the root directory of a host tree, such as the mount point of an image",
        ),
        ("--", "cannot run k3s-harden: Missing command", "run k3s-harden --help for all commands"),
        (
            "check --data-dir",
            "cannot use --data-dir: its value is missing",
            "run k3s-harden check --help for its options",
        ),
        (
            "service-accounts --timeout 0",
            "cannot use --timeout: it must be a number from 1 to 600",
            "run k3s-harden service-accounts --help for its options",
        ),
        (
            "service-accounts --wait soon",
            "cannot use --wait: it must be a number from 0 to 3600",
            "run k3s-harden service-accounts --help for its options",
        ),
        ("gate --service", "cannot use --service: its value is missing", "run k3s-harden gate --help for its options"),
        (
            "check --quiet=1 --watch",
            "cannot use --quiet: it does not take a value",
            "sudo k3s-harden check --quiet --watch",
        ),
        ("--version=3", "cannot use --version: it does not take a value", "k3s-harden --version"),
        ("check --config=", "cannot use --config: the value is empty", "check that the variable it comes from is set"),
        ("check one -q two", "cannot run check: unexpected argument one two", "sudo k3s-harden check -q"),
        ("preflight 1.37 -- x", "cannot run preflight: unexpected argument x", "sudo k3s-harden preflight 1.37"),
        ("gaet", "cannot run gaet: k3s-harden has no such command", "run k3s-harden --help for all commands"),
    ],
)
def test_an_error_is_one_message_with_exit_code_2(call: str, problem: str, fix: str) -> None:
    """Neither Click's own suggestion nor a traceback is added, and nothing is printed to standard output."""
    done = run(*call.split())
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"k3s-harden: {problem}\n  fix: {fix}\n")


@pytest.mark.parametrize("verb", sorted({*visible_verbs(), *HIDDEN} - {"explain"}))
def test_each_verb_refuses_an_argument_too_many_and_an_empty_value(verb: str) -> None:
    """Only explain takes any words. An empty path would be the current directory."""
    first = {"preflight": ["1.37"], "render": ["policy"]}.get(verb, [])
    for words, problem in (
        ((*first, "one"), f"cannot run {verb}: unexpected argument one"),
        ((*first, ""), f"cannot run {verb}: unexpected argument ''"),
        ((*first, "--config", ""), "cannot use --config: the value is empty"),
    ):
        done = run(verb, *words)
        assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"k3s-harden: {problem}")


def test_the_help_of_a_verb_still_works() -> None:
    """The group passes valid arguments on."""
    done = run("check", "-h")
    assert done.returncode == 0
    assert "Usage: k3s-harden check" in done.stdout


def test_errors_fit_the_terminal() -> None:
    """Standard error is the terminal, also if standard output is redirected."""
    with Terminal("assess", "--benchmark", "cis-9", columns=50, stdout=subprocess.DEVNULL) as terminal:
        shown = terminal.rest().replace("\r", "").rstrip("\n").split("\n")
    assert max(map(len, shown)) <= 50
    assert any(line.startswith("       cis-1.") for line in shown)
