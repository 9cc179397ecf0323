"""The apt repository of docs/howto/mirror.md, served by a web server on a booted Debian and used by its apt."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.keys import Keys, temporary_keys
from tests.release.mirror_page import mirror_block
from tests.tools.dist.repositories import add
from tests.vm.conftest import Packages
from tests.vm.instance import Done
from tests.vm.node import GATE, Node

pytestmark = pytest.mark.vm

_URL = "http://127.0.0.1:8080"
_SERVE = f"systemd-run --quiet --unit=mirror python3 -m http.server --bind 127.0.0.1 --directory /srv {_URL[-4:]}"


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    """GPG keys in a directory of their own."""
    with temporary_keys() as found:
        yield found


def _serve(node: Node, repositories: Path) -> None:
    """Copy the repositories to the directory of the node's web server."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(repositories, ".")
    node.put("/root/srv.tar", archive.getvalue())
    node.run("rm -rf /srv/*; tar -C /srv --no-same-owner -xf /root/srv.tar")


def _update(node: Node) -> Done:
    return node.run("apt-get update 2>&1 && apt-get install -y --only-upgrade k3s-harden 2>&1", check=False)


def _version(node: Node) -> str:
    return node.run("dpkg-query --show --showformat='${Version}' k3s-harden").out


@pytest.mark.deb
def test_apt_installs_and_upgrades_from_the_repository_and_refuses_what_is_not_signed(
    bare: Node, packages: Packages, keys: Keys, tmp_path: Path
) -> None:
    """It refuses lists of another key, changed lists and a changed package, and accepts lists signed by two keys."""
    key, other = keys.named("releases"), keys.named("other")
    older, newest = (package.name.split("_")[1] for package in (packages.older_deb, packages.deb))
    repositories = tmp_path / "repositories"
    add(packages.older_deb.parent, repositories, [key])
    _serve(bare, repositories)
    bare.run(_SERVE)
    bare.wait_until(f"curl -fsS {_URL}", timeout=60)
    bare.put("/root/k3s-harden.asc", (repositories / "k3s-harden.asc").read_bytes())
    block = f"cd /root; {mirror_block('Debian', _URL)}"
    assert bare.run(f"SHA256={'0' * 64}; {block}", check=False).code != 0
    assert bare.run("test -e /etc/apt/keyrings/k3s-harden.asc", check=False).code == 1
    bare.run(f"SHA256=$(sha256sum /root/k3s-harden.asc | cut -c -64); {block}")
    assert _version(bare) == older
    assert bare.unit(GATE)["LoadState"] == "loaded"

    add(packages.deb.parent, repositories, [other])
    _serve(bare, repositories)
    assert "NO_PUBKEY" in (refused := _update(bare)).out or "Missing key" in refused.out
    assert _version(bare) == older

    add(packages.deb.parent, repositories, [key, other])
    lists = repositories / "apt/Packages"
    signed = lists.read_bytes()
    lists.write_bytes(signed.replace(b"Priority: optional", b"Priority: required"))
    _serve(bare, repositories)
    assert _update(bare).code != 0
    assert _version(bare) == older

    lists.write_bytes(signed)
    package = repositories / "apt" / packages.deb.name
    package.write_bytes(package.read_bytes()[:-1] + b"x")
    _serve(bare, repositories)
    assert "Hash Sum mismatch" in _update(bare).out
    assert _version(bare) == older

    package.write_bytes(packages.deb.read_bytes())
    _serve(bare, repositories)
    assert _update(bare).code == 0
    assert _version(bare) == newest
