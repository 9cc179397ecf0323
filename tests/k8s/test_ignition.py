"""`render ignition`, judged by Ignition's own validator, and applied by Ignition itself to a root directory."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.k8s.binaries import Binaries, ignition
from tests.scenarios.host_tree import run

pytestmark = pytest.mark.k8s

HASH = "0123456789abcdef" * 4
URLS = ("https://files.example/k3s-harden.raw", "http://10.0.0.1:8080/a%20b?c=%22&d")


@pytest.fixture
def validator(binaries: Binaries) -> Path:
    return binaries.path("validate")


def judged(validator: Path, text: str) -> str:
    """Return what the validator prints, which is nothing about a valid config."""
    done = subprocess.run((validator, "-"), input=text, text=True, capture_output=True, check=False)
    assert (done.returncode == 0) == (not done.stderr + done.stdout)
    return done.stdout + done.stderr


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("role", ["server", "agent"])
def test_the_config_is_valid(url: str, role: str, validator: Path, tmp_path: Path) -> None:
    """Settings with quotes, newlines and characters of JSON stay what they are: content of a file."""
    site = tmp_path / "site.yaml"
    site.write_text(f'# "}}]\\u0000 \u00e9\ndata-dir: "/var/lib/a b"\nrole: {role}\n')
    done = run("render", "ignition", "--url", url, "--sha256", HASH, "--config", str(site))
    assert (done.code, judged(validator, done.stdout)) == (0, "")


def test_the_validator_rejects_a_config_with_a_mistake(validator: Path) -> None:
    document = json.loads(run("render", "ignition", "--url", URLS[0], "--sha256", HASH).stdout)
    document["storage"]["files"][0]["contents"]["verification"]["hash"] = "sha256-0"
    assert "hash" in judged(validator, json.dumps(document))
    document["storage"]["files"][0] = {"path": "var/a"}
    assert "path not absolute" in judged(validator, json.dumps(document))


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The URL of an extension on a server of this machine."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served/a.raw").write_bytes(b"extension")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/a.raw"
        server.shutdown()


@pytest.mark.skipif("IGNITION_APPLY" not in os.environ, reason="builds Ignition for many minutes: make release-test")
def test_ignition_writes_the_files_and_verifies_the_extension(url: str, tmp_path: Path) -> None:
    """Twice: a /var of an earlier installation still has the files."""
    config, root = tmp_path / "config.ign", tmp_path / "root"
    root.mkdir()
    for content in (b"other", b"extension"):
        rendered = run("render", "ignition", "--url", url, "--sha256", hashlib.sha256(content).hexdigest())
        config.write_text(rendered.stdout)
        for _ in range(2):
            done = subprocess.run(
                ("ignition-apply", f"--root={root}", config),
                executable=ignition(),
                env={"PATH": os.environ["PATH"], "container": "test"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode == 0) == (content == b"extension"), done.stderr
    for file in json.loads(config.read_text())["storage"]["files"]:
        written, source = root / file["path"].lstrip("/"), file["contents"]["source"]
        assert written.stat().st_mode & 0o7777 == file["mode"]
        expected = b"extension" if source == url else base64.b64decode(source.partition(",")[2])
        assert written.read_bytes() == expected
    (preset,) = (root / "etc/systemd/system-preset").iterdir()
    assert set(preset.read_text().splitlines()) == {"enable systemd-sysext.service"}
