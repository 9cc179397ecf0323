"""The .rpm with dnf and zypper in a root directory: its dependencies, and the repositories of docs/howto/mirror.md."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.release.distributions import DISTRIBUTIONS, Distribution
from tests.release.keys import Keys
from tests.release.mirror_page import KEY_OF_RPM, mirror_block
from tests.release.rpm_root import RpmRoot
from tests.tools.dist.repositories import add
from tests.tools.dist.tools import CannotBuildError

pytestmark = pytest.mark.release

BY_NAME = {distribution.name: distribution for distribution in DISTRIBUTIONS}
OLDER = "0.0.1-1"


class Site(NamedTuple):
    """A system whose package manager uses served repositories."""

    root: RpmRoot
    repositories: Path

    @property
    def version(self) -> str:
        return self.root.installed.get("k3s-harden", "")

    @property
    def newest_rpm(self) -> Path:
        """The package of the newer release in the repository."""
        return max(self.repositories.glob("rpm/*.rpm"))

    def upgrade(self) -> str:
        """Upgrade the program from the newest lists, and return the output."""
        # zypper reads the lists again after ten minutes, or on request.
        done = None if self.root.uses_dnf else self.root.manage("refresh", "--force", check=False)
        if done is None or not done.returncode:
            verb = "upgrade" if self.root.uses_dnf else "update"
            done = self.root.manage(verb, "k3s-harden", check=False)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def key(keys: Keys) -> str:
    return keys.named("releases")


@pytest.fixture(scope="module")
def other_key(keys: Keys) -> str:
    return keys.named("other")


@pytest.fixture(params=["RHEL family 9", "SLES 15"])
def site(
    request: pytest.FixtureRequest,
    new_root: Callable[[Distribution], RpmRoot],
    served: tuple[Path, str],
    older: Path,
    key: str,
) -> Site:
    """A system that installed the older release from the repositories."""
    repositories, url = served
    add(older, repositories, [key])
    root = new_root(BY_NAME[request.param])
    # The package manager runs on this machine, with a root directory of its own.
    block = mirror_block("RHEL", url).replace(KEY_OF_RPM, str(repositories / "k3s-harden.asc"))
    root.add_repository("k3s-harden", block)
    root.manage("install", "k3s-harden")
    assert root.installed["k3s-harden"] == OLDER
    return Site(root, repositories)


def test_a_new_release_is_installed_and_removed(site: Site, dist: Path, rpm: Path, key: str) -> None:
    """The scripts of the package run. Without its signature, the package has the checksum in SHA256SUMS."""
    add(dist, site.repositories, [key])
    site.upgrade()
    assert f"k3s-harden-{site.version}.noarch.rpm" == site.newest_rpm.name
    assert site.root.run("find", "/usr/lib/k3s-harden/agent", "-name", "model.*.pyc")
    site.root.manage("remove", "k3s-harden")
    assert site.version == ""
    assert site.root.run("find", "/usr/lib", "/usr/bin", "-maxdepth", "1", "-name", "k3s-harden*") == ""
    assert site.newest_rpm.read_bytes() != rpm.read_bytes()
    subprocess.run(("rpmsign", "--delsign", site.newest_rpm), check=True, capture_output=True)
    assert site.newest_rpm.read_bytes() == rpm.read_bytes()


def test_a_changed_package_is_refused(site: Site, dist: Path, key: str) -> None:
    """The signed list has its checksum."""
    add(dist, site.repositories, [key])
    with site.newest_rpm.open("r+b") as file:
        file.seek(-100, 2)
        file.write(b"changed")
    assert re.search("checksum doesn't match|Digest verification failed", site.upgrade())
    assert site.version == OLDER


def test_a_changed_list_is_refused(site: Site, dist: Path, key: str) -> None:
    """Who can write to the web server, but has no key, cannot add a package."""
    add(dist, site.repositories, [key])
    signature = site.repositories / "rpm/repodata/repomd.xml.asc"
    old = signature.read_bytes()
    subprocess.run(("rpmsign", "--delsign", site.newest_rpm), check=True, capture_output=True)
    subprocess.run(("createrepo_c", "--quiet", site.repositories / "rpm"), check=True)
    signature.write_bytes(old)
    assert "ignature verification" in site.upgrade()
    assert site.version == OLDER


def test_the_signature_of_another_key_is_refused(site: Site, dist: Path, other_key: str) -> None:
    """The configuration of the repository names the key."""
    public = site.repositories / "k3s-harden.asc"
    old = public.read_bytes()
    add(dist, site.repositories, [other_key])
    public.write_bytes(old)
    assert "ignature verification" in site.upgrade()
    assert site.version == OLDER


def test_a_key_is_replaced_in_two_steps(site: Site, dist: Path, key: str, other_key: str) -> None:
    """Hosts that have only the old key accept what both signed; then the new key also signs the packages."""
    public = site.repositories / "k3s-harden.asc"
    old = public.read_bytes()
    add(dist, site.repositories, [key, other_key])
    public.write_bytes(old)
    site.upgrade()
    assert site.version not in {"", OLDER}
    site.root.manage("remove", "k3s-harden")
    add(dist, site.repositories, [other_key, key])
    site.upgrade()
    site.root.manage("install", "k3s-harden")
    assert site.version not in {"", OLDER}


def test_a_repository_without_a_key_is_not_made(dist: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotBuildError, match="pass KEY="):
        add(dist, tmp_path / "repositories", [])
    assert not (tmp_path / "repositories").exists()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda distribution: distribution.name)
def test_the_rpm_uses_the_python_of_the_distribution(
    distribution: Distribution, new_root: Callable[[Distribution], RpmRoot], rpm: Path
) -> None:
    """A Python is added only where the installed one is too old. A systemd that cannot gate K3s is refused."""
    root = new_root(distribution)
    before = root.installed.keys()
    # Only its checksum protects a file of a build.
    unsigned = () if root.uses_dnf else ("--allow-unsigned-rpm",)
    done = root.manage("install", *unsigned, str(rpm), check=False)
    if distribution.installs is None:
        assert "systemd >= 243" in done.stdout + done.stderr
        assert root.installed.keys() == before
        return
    assert done.returncode == 0, done.stdout + done.stderr
    assert root.installed.keys() - before == {"k3s-harden", *distribution.installs}
    assert root.run("/usr/bin/k3s-harden", "--version").startswith("k3s-harden ")
