"""The signatures of a release, verified by the commands of docs/howto/packages.md."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.programs_here import ran
from tests.release.keys import Keys
from tests.ssh_key import new_key
from tests.tools.dist import build, release, signing
from tests.tools.dist.tools import CHECKOUT, CannotBuildError

pytestmark = pytest.mark.release


@pytest.fixture
def signed(dist: Path, tmp_path: Path, keys: Keys) -> Path:
    """A release, signed with a key of GnuPG and one of OpenSSH."""
    directory = tmp_path / "release"
    shutil.copytree(dist, directory)
    ssh_key = new_key(tmp_path / "ssh-key")
    release.complete(directory)
    signing.sign(directory / build.SUMS, [keys.named("release-files")], str(ssh_key))
    return directory


def verify(directory: Path, command: str) -> subprocess.CompletedProcess[str]:
    page = (CHECKOUT / "docs/howto/packages.md").read_text(encoding="utf-8")
    (line,) = (line for line in page.splitlines() if line.startswith(command))
    return ran("sh", "-c", line, cwd=directory)


@pytest.mark.parametrize("tool", ["gpgv", "ssh-keygen"])
def test_the_signature_of_the_checksums_is_valid(signed: Path, tool: str) -> None:
    """It is valid only for the published bytes."""
    done = verify(signed, tool)
    assert done.returncode == 0, done.stderr
    sums = signed / build.SUMS
    # The command ignores the checksum of a file that is not there.
    sums.write_bytes(sums.read_bytes() + b"0" * 64 + b"  missing\n")
    assert verify(signed, tool).returncode != 0


@pytest.mark.parametrize("tool", ["gpgv", "ssh-keygen"])
def test_the_signature_of_another_key_is_invalid(signed: Path, tmp_path: Path, keys: Keys, tool: str) -> None:
    """The public keys are those that the user has, and not those beside the files."""
    ours = {name: (signed / name).read_bytes() for name in ("k3s-harden.gpg", "allowed_signers")}
    ssh_key = new_key(tmp_path / "stolen")
    signing.sign(signed / build.SUMS, [keys.named("someone-else")], str(ssh_key))
    for name, content in ours.items():
        (signed / name).write_bytes(content)
    assert verify(signed, tool).returncode != 0


@pytest.mark.parametrize("tool", ["gpgv", "ssh-keygen"])
def test_a_changed_file_does_not_have_its_checksum(signed: Path, tool: str) -> None:
    assert verify(signed, tool).returncode == 0
    with next(signed.glob("*.pyz")).open("ab") as file:
        file.write(b"changed")
    assert verify(signed, tool).returncode != 0


def test_an_unknown_key_is_reported(signed: Path) -> None:
    with pytest.raises(CannotBuildError, match="gpg failed"):
        signing.sign(signed / build.SUMS, ["nobody@example.com"], "")
    with pytest.raises(CannotBuildError, match=r"/nonexistent\.pub is missing"):
        signing.sign(signed / build.SUMS, [], "/nonexistent")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "no key was given; pass KEY=FINGERPRINT or SSH_KEY=FILE, or UNSIGNED=1"),
        (["KEY="], "no key was given"),
        (["KEY=nobody@example.com"], "gpg failed"),
        (["SSH_KEY=/nonexistent"], "/nonexistent.pub is missing"),
    ],
)
def test_a_release_that_cannot_be_signed_is_not_built(words: list[str], problem: str, tmp_path: Path) -> None:
    """The build takes minutes, and an unsigned release looks like a signed one."""
    dist = tmp_path / "dist"
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = ran("make", "--no-print-directory", "release", f"DIST={dist}", *words, cwd=CHECKOUT, env=variables)
    assert (done.returncode != 0, dist.exists()) == (True, False)
    assert f"cannot release: {problem}" in done.stderr


@pytest.mark.parametrize("tool", ["pip", "pipx"])
def test_the_wheel_is_installed(dist: Path, tmp_path: Path, tool: str) -> None:
    """pip and pipx find all its dependencies."""
    (wheel,) = dist.glob("*.whl")
    command = tool
    if tool == "pip":
        subprocess.run(("python3", "-m", "venv", tmp_path), check=True)
        command = str(tmp_path / "bin/pip")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    subprocess.run((command, "install", wheel), env=environment, capture_output=True, check=True)
    program = (tmp_path / "bin/k3s-harden", "--version")
    assert subprocess.run(program, capture_output=True, check=True).stdout.startswith(b"k3s-harden ")
