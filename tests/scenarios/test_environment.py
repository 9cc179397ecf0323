"""Runs with any locale, without environment, and with closed or full streams."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios.conftest import Hardened
from tests.scenarios.host_tree import AUDIT, CONFIG, HostTree, parsed, run
from tests.terminal import Terminal

LOCALES = {
    "C": {"LC_ALL": "C"},
    "POSIX": {"LC_ALL": "POSIX", "LANG": "POSIX"},
    "C-without-UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "iso-8859-1"},
    "unknown": {"LC_ALL": "xx_YY.none"},
    "dumb-terminal": {"TERM": "dumb"},
}


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("form", ["plain", "json", "table"])
def test_the_locale_does_not_change_the_result(locale: str, form: str, hardened: Hardened) -> None:
    host = hardened()
    host.environment = LOCALES[locale]
    # The program also prints file names of the host.
    host.write("/etc/sysctl.d/99-größe-名.conf", "kernel.panic=0\n")
    host[AUDIT].chmod(0o644)
    for verb in ("diff", "apply"):
        done = host.run(verb, "--format", form)
        assert (done.code, done.stderr) == (3, "")
        assert "kernel.panic" in done.stdout
        if form == "json":
            places = {finding["location"]["path"] for finding in json.loads(done.stdout)["findings"]}
            assert any(where.startswith("/etc/sysctl.d/99-gr") for where in places)


def test_a_file_name_that_is_not_utf8_is_printed(hardened: Hardened) -> None:
    """Linux allows any bytes in a name, and systemd-sysctl reads such a file."""
    host = hardened()
    path = os.fsencode(host["/etc/sysctl.d/"]) + b"/99-\xff.conf"
    Path(os.fsdecode(path)).write_text("kernel.panic=0\n")
    for form in ("plain", "json", "table"):
        done = host.run("check", "--format", form)
        assert done.code == 3
        assert "/etc/sysctl.d/99-" in done.stdout
    parsed(host.run("check", "--format", "json"))


def test_an_empty_environment_works(host: HostTree) -> None:
    """cron, cloud-init and systemd set no HOME, PATH, TERM or locale."""
    # PYTHONPATH is kept if these tests need it.
    done = host.run("apply", env={name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ})
    assert (done.code, done.stderr) == (0, "")
    assert host.run("check").code == 0


@pytest.mark.parametrize("form", ["plain", "table", "json"])
@pytest.mark.parametrize("verb", ["apply", "assess", "check", "diff", "revert"])
def test_a_closed_pipe_is_not_an_error(verb: str, form: str, hardened: Hardened) -> None:
    host = hardened()
    host.write("/etc/sysctl.d/99-site.conf", "kernel.panic=0\n")
    with pipe_without_reader() as writing:
        done = host.run(verb, "--format", form, stdout=writing, stderr=subprocess.PIPE)
    assert done == (0 if verb == "revert" else 3, "", "")


@pytest.mark.parametrize("arguments", [("render", "policy"), ("explain",), ("explain", "audit-policy")])
def test_a_closed_pipe_is_not_an_error_for_documents(arguments: tuple[str, ...]) -> None:
    with pipe_without_reader() as writing:
        assert run(*arguments, stdout=writing, stderr=subprocess.PIPE) == (0, "", "")


@contextmanager
def pipe_without_reader() -> Iterator[int]:
    """Create a pipe whose read end is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


@pytest.mark.parametrize("form", ["plain", "json", "table"])
def test_a_full_disk_for_the_output_is_an_error(form: str, hardened: Hardened) -> None:
    host = hardened()
    with Path("/dev/full").open("wb") as full:
        done = host.run("check", "--format", form, stdout=full, stderr=subprocess.PIPE)
        assert done.code == 1
        assert done.stderr.startswith("k3s-harden: cannot print the report: No space left on device")
        host[AUDIT].chmod(0o644)
        assert host.run("check", "--format", form, stdout=full, stderr=subprocess.PIPE).code == 3
        assert run("render", "policy", stdout=full, stderr=subprocess.PIPE).code == 1


def test_a_report_that_is_lost_after_changes_says_so(host: HostTree) -> None:
    """The exit code is that of the changes: 1 would mean that nothing was changed."""
    with Path("/dev/full").open("wb") as full:
        done = host.run("apply", stdout=full, stderr=subprocess.PIPE)
        assert (done.code, host[AUDIT].exists()) == (0, True)
        assert "  fix: changes were made; run k3s-harden check" in done.stderr
        again = host.run("apply", stdout=full, stderr=subprocess.PIPE)
    assert (again.code, "  fix: nothing was changed" in again.stderr) == (1, True)


def test_a_full_disk_for_the_output_does_not_block_k3s(hardened: Hardened) -> None:
    host = hardened()
    with Path("/dev/full").open("wb") as full:
        assert host.run("gate", stdout=full, stderr=full).code == 0
        host.write(CONFIG, "kubelet-arg: [protect-kernel-defaults=false]\n")
        assert host.run("gate", stdout=full, stderr=full).code == 3


@pytest.mark.parametrize(
    ("closed", "form"),
    [
        ("<&-", "plain"),
        (">&-", "json"),
        (">&-", "table"),
        ("2>&-", "plain"),
        (">&- 2>&-", "table"),
        ("<&- >&- 2>&-", "plain"),
    ],
)
def test_closed_streams_do_not_redirect_the_report_into_a_file(closed: str, form: str, host: HostTree) -> None:
    """A file that the program opens must not get the descriptor of a standard stream."""
    prefix = ("sh", "-c", f'exec "$@" {closed}', "sh")
    assert host.run("apply", "--format", form, prefix=prefix).code == 0
    reference = {path: entry for path, entry in host.entries(with_state=True).items() if entry.kind == "file"}
    assert not [path for path, entry in reference.items() if b"k3s-harden apply" in entry.content]
    assert host.run("check").code == 0
    host[AUDIT].chmod(0o644)
    assert host.run("check", "--format", form, prefix=prefix).code == 3
    assert run("check", "--root", "/no/such", prefix=prefix).code == 2


def test_a_closed_input_is_an_empty_document() -> None:
    """No other verb reads standard input."""
    done = run("fleet", "-", prefix=("sh", "-c", 'exec "$@" <&-', "sh"))
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("k3s-harden: cannot use the nodes: found invalid JSON")


def test_the_report_is_a_table_on_a_terminal_and_plain_elsewhere(hardened: Hardened) -> None:
    """Journals and pipes get one line per item."""
    host = hardened()
    host[AUDIT].chmod(0o644)
    with Terminal("check", "--root", host.root, *host.options) as terminal:
        text = terminal.rest()
        assert terminal.end() == 3
    assert "✘ \x1b[0m\x1b[1mHost is not compliant" in text
    lines = host.run("check").stdout
    assert "\x1b" not in lines
    assert all(re.match(r"(k3s-harden|compliant|differs|next|result) ", line) for line in lines.splitlines())


@pytest.mark.parametrize("verb", ["apply", "check", "assess", "revert", "install"])
def test_an_empty_root_is_rejected(verb: str, tmp_path: Path) -> None:
    """An empty directory can be the mount point of an image that is not mounted."""
    empty = HostTree(tmp_path / "image")
    empty["/var"].mkdir(parents=True)
    done = empty.run(verb)
    assert (done.code, done.stdout) == (2, "")
    assert f"cannot use --root {empty.root}: it contains neither etc nor usr" in done.stderr
    assert "--allow-empty-root" in done.stderr
    assert [path.name for path in empty.root.iterdir()] == ["var"]


def test_an_empty_root_can_be_allowed(tmp_path: Path) -> None:
    """An image builder can start with an empty tree; after the first run it is not empty."""
    empty = HostTree(tmp_path / "image")
    empty.root.mkdir()
    assert "--allow-empty-root" in empty.run("check", "--allow-empty-root", "--format", "json").stdout
    assert empty.run("apply", "--allow-empty-root").code == 0
    assert empty.run("check").code == 0
