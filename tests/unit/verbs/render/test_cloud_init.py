"""The cloud-init document: YAML that preserves each byte, and a POSIX shell script."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.base.errors import UsageError
from agent.harden.node import facts
from agent.k3s.roles_and_versions import Role, Version
from agent.reports import repair_texts
from agent.verbs.render.first_boot import ALONE, USUAL, Download, Joining, K3sDownload, joining, user_data

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
    joins = joining("https://server:6443", "", b"", cluster_init=False) if role is Role.AGENT else ALONE
    read: dict[str, Any] = yaml.safe_load(user_data(host, DOWNLOAD, files, joins))
    return read


def written(read: dict[str, Any]) -> dict[PurePosixPath, bytes]:
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
    assert "v1.34.2+k3s1" in repair_texts.text(refused.value.repair)


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


_CURL = """\
#!/bin/sh
while [ "$1" != --output ]; do shift; done
cp "{downloads}/${{3##*/}}" "$2"
"""
_PROGRAM = '#!/bin/sh\necho "$1" >>"{log}"\n'
_INSTALLER = '#!/bin/sh\nenv >"{log}.environment"\necho "installer $1" >>"{log}"\n'


class Bootstrap:
    """The script in a directory, with a curl that copies files, and a program and an installer that write a log."""

    def __init__(self, directory: Path) -> None:
        self._directory, self.log = directory, directory / "log"
        for name in ("bin", "sbin", "downloads"):
            (directory / name).mkdir()
        downloads = directory / "downloads"
        for file, text in (("bin/curl", _CURL), ("downloads/k3s-harden", _PROGRAM), ("downloads/k3s", _INSTALLER)):
            (directory / file).write_text(text.format(downloads=downloads, log=self.log))
            (directory / file).chmod(0o755)
        self.installer_sha256 = self._sha256("k3s")

    def run(self, joins: Joining, k3s: K3sDownload = USUAL) -> subprocess.CompletedProcess[str]:
        host = facts.assumed_facts(Role.SERVER, Version.parse("v1.34.2+k3s1"))
        download = Download("https://download.example/k3s-harden", self._sha256("k3s-harden"))
        named = k3s._replace(installer="https://download.example/k3s")
        text = script(yaml.safe_load(user_data(host, download, {}, joins, named)))
        return subprocess.run(
            ["sh", "-c", text.replace("/usr/local/", f"{self._directory}/")],
            env={"PATH": f"{self._directory}/bin:/usr/bin:/bin"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    @property
    def steps(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def _sha256(self, name: str) -> str:
        return hashlib.sha256((self._directory / "downloads" / name).read_bytes()).hexdigest()


def test_k3s_is_not_installed_without_its_token(tmp_path: Path) -> None:
    """K3s would wait four minutes for the file, exit, and be started again and again."""
    token = tmp_path / "token's file"
    bootstrap, joins = Bootstrap(tmp_path), joining("", str(token), b"", cluster_init=True)
    for content in (None, ""):
        if content is not None:
            token.write_text(content)
        done = bootstrap.run(joins)
        assert done.returncode == 1
        assert f"its token file {token} is missing or empty" in done.stderr
    assert "installer server" not in bootstrap.steps
    token.write_text("secret\n")
    assert bootstrap.run(joins).returncode == 0
    assert bootstrap.steps[-5:] == ["--version", "install", "apply", "installer server", "check"]


def test_an_installer_with_another_checksum_is_not_run(tmp_path: Path) -> None:
    bootstrap = Bootstrap(tmp_path)
    done = bootstrap.run(ALONE, USUAL._replace(sha256="0" * 64))
    assert (done.returncode != 0, "k3s-install: FAILED" in done.stdout) == (True, True)
    assert bootstrap.steps[-1] == "apply"
    assert bootstrap.run(ALONE, USUAL._replace(sha256=bootstrap.installer_sha256)).returncode == 0


def test_the_installer_gets_the_mirror_and_the_proxy_with_its_exceptions(tmp_path: Path) -> None:
    """It writes the proxy to the environment of K3s' service; curl and apt read only the names in lower case."""
    bootstrap, proxy = Bootstrap(tmp_path), "http://proxy.example:3128"
    done = bootstrap.run(ALONE, USUAL._replace(mirror="https://mirror.example/k3s", proxy=proxy))
    assert done.returncode == 0, done.stderr
    passed = dict(line.split("=", 1) for line in (tmp_path / "log.environment").read_text().splitlines())
    assert (passed["GITHUB_URL"], passed["INSTALL_K3S_VERSION"]) == ("https://mirror.example/k3s", "v1.34.2+k3s1")
    assert {passed[name] for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")} == {proxy}
    assert passed["NO_PROXY"] == passed["no_proxy"]
    assert "10.0.0.0/8" in passed["NO_PROXY"].split(",")
