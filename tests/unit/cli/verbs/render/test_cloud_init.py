"""The cloud-init document: YAML that preserves each byte, and a POSIX shell script."""

from __future__ import annotations

import base64
import subprocess
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.base.errors import UsageError
from agent.base.model import Role, Version
from agent.cli.verbs.render.cloud_init import Download, user_data
from agent.harden.node import facts

if TYPE_CHECKING:
    from collections.abc import Mapping

DOWNLOAD = Download("https://download.example/k3s-harden", "0123456789abcdef" * 4)
PATH = PurePosixPath("/etc/k3s-harden/config.yaml")
BOOTSTRAP = PurePosixPath("/usr/local/sbin/k3s-harden-bootstrap")


def document(
    role: Role = Role.SERVER,
    version: str = "1.34",
    data_dir: str = "/var/lib/rancher/k3s",
    files: Mapping[PurePosixPath, bytes] = MappingProxyType({}),
) -> dict[str, Any]:
    host = facts.assumed_facts(role, Version.parse(version), PurePosixPath(data_dir))
    read: dict[str, Any] = yaml.safe_load(user_data(host, DOWNLOAD, files))
    return read


def written(read: dict[str, Any]) -> dict[PurePosixPath, bytes]:
    """Return the files that cloud-init writes."""
    return {
        PurePosixPath(file["path"]): base64.b64decode(file["content"])
        if "encoding" in file
        else file["content"].encode()
        for file in read["write_files"]
    }


def script(read: dict[str, Any]) -> str:
    return written(read)[BOOTSTRAP].decode()


@given(st.one_of(st.binary(), st.text().map(str.encode), st.text("a: #\n-|'\"{", max_size=12).map(str.encode)))
def test_the_content_of_a_file_is_preserved(content: bytes) -> None:
    assert written(document(files={PATH: content}))[PATH] == content


@given(st.text("/srv k3s:#'\"é😀\\", min_size=1))
def test_the_path_of_a_file_is_preserved(name: str) -> None:
    """Files of the settings and the data directory can have any name."""
    path = PurePosixPath(f"/x{name}")
    read = document(files={path: b"a\n"}, data_dir=str(path))
    assert written(read)[path] == b"a\n"
    dropin = written(read)[PurePosixPath("/etc/rancher/k3s/config.yaml.d/10-data-dir.yaml")]
    assert yaml.safe_load(dropin) == {"data-dir": str(path)}


def test_text_is_not_encoded() -> None:
    text = b"role: server\n\naudit:\n  max-age: 60\n"
    made = user_data(facts.assumed_facts(Role.SERVER, Version(1, 34, 0)), DOWNLOAD, {PATH: text}).decode()
    assert "\npackages:" not in made  # dnf rejects a list with an unknown name
    assert "      role: server\n\n      audit:\n        max-age: 60\n" in made
    assert "encoding" not in made


def test_the_default_data_directory_is_not_written() -> None:
    """K3s and k3s-harden use it by default."""
    assert set(written(document())) == {BOOTSTRAP}


@pytest.mark.parametrize(
    ("version", "environment", "words"),
    [
        ("1.34", "INSTALL_K3S_CHANNEL=v1.34 ", "--k3s-version 1.34\n"),
        ("v1.34.2+k3s1", "INSTALL_K3S_VERSION=v1.34.2+k3s1 ", "--k3s-version v1.34.2+k3s1\n"),
        ("v1.35.0-rc1+k3s1", "INSTALL_K3S_VERSION=v1.35.0-rc1+k3s1 ", "--k3s-version v1.35.0-rc1+k3s1\n"),
    ],
)
def test_the_given_version_of_k3s_is_installed(version: str, environment: str, words: str) -> None:
    """A minor version selects its newest release; the host is hardened for the same version."""
    for role in Role:
        text = script(document(role, version))
        assert f"\n{environment}" in text
        assert words in text


def test_a_version_that_is_not_a_release_is_rejected() -> None:
    """For v1.34.2 the newest release of v1.34 would be installed."""
    with pytest.raises(UsageError, match=r"v1\.34\.2") as refused:
        document(version="1.34.2")
    assert "v1.34.2+k3s1" in refused.value.hint


@pytest.mark.parametrize("role", [*Role])
def test_the_script_is_valid_for_sh(role: Role) -> None:
    read = document(role)
    text = script(read)
    assert read["runcmd"] == [[str(BOOTSTRAP)]]
    assert "\nset -eu\n" in text
    run = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_the_program_is_verified_before_it_runs() -> None:
    text = script(document())
    assert text.index(DOWNLOAD.sha256) < text.index("k3s-harden --version") < text.index("k3s-harden install")
    assert "pip" not in text
