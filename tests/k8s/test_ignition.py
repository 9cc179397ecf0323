"""`render ignition`, judged by Ignition's own validator."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.host_tree import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.k8s.binaries import Binaries

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
