"""A root directory on which dnf and zypper work: this machine's files, with an empty package database.

It is an overlay: what a package or its scripts write goes to a directory of the test, and not to this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from tests.programs_here import ran
from tests.release.distributions import Distribution
from tests.tools.dist.tools import nfpm

_MOUNT = 'mount -t overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" none "$0/root" && exec "$@"'
_REPOSITORY = "[stubs]\nname=stubs\nbaseurl=file://{}\ngpgcheck=0\n"
_REPOSITORY_FILES = {"dnf": "etc/yum.repos.d", "zypper": "etc/zypp/repos.d"}
_DATABASES = {"dnf": "/root/.rpmdb", "zypper": "/var/lib/rpm"}
"""The database of dnf is where Debian's rpm has it for each user."""


_STUB = {"version_schema": "none", "release": "1", "arch": "noarch", "platform": "linux"}
_STUB |= {"maintainer": "tests", "description": "stub"}


def make_stubs(directory: Path, distribution: Distribution) -> tuple[str, ...]:
    """Make packages without content, and return the names of those that each system has."""
    pythons = (distribution.python, *distribution.offered)
    versions = {"bash": "5.1", "findutils": "4.8", "systemd": distribution.systemd}
    versions |= {python.package: python.version for python in pythons}
    provides = {"bash": ["/bin/sh"]} | {python.package: [python.provides] for python in pythons}
    for name, version in versions.items():
        config = {"name": name, "version": version, "provides": provides.get(name, []), **_STUB}
        file = directory / "stub.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        command = (nfpm(), "package", "--config", file, "--packager", "rpm", "--target", directory)
        subprocess.run(command, capture_output=True, check=True)
        file.unlink()
    return tuple(versions.keys() - {python.package for python in distribution.offered})


def lacking() -> str:
    """Return why this machine cannot run the tests of this tier, or an empty string."""
    rows = (Path(__file__).parent / "host-packages").read_text(encoding="utf-8").splitlines()
    missing = [row.split()[1] for row in rows if row[0] != "#" and shutil.which(row.split()[0]) is None]
    if missing:
        return f"needs missing programs: apt-get install -y {' '.join(missing)}"
    return "needs root to install packages in a root directory" if os.geteuid() else ""


class RpmRoot:
    """A system of a distribution, on which its package manager has installed stubs of the packages that it always has.

    The directory has to be on a file system that can be the upper layer of an overlay.
    """

    def __init__(self, directory: Path, distribution: Distribution) -> None:
        self._directory = directory
        self._distribution = distribution
        for name in ("upper", "work", "root", "stubs"):
            (directory / name).mkdir()
        base = make_stubs(directory / "stubs", distribution)
        subprocess.run(("createrepo_c", "--quiet", "--no-database", directory / "stubs"), check=True)
        self.add_repository("stubs", _REPOSITORY.format(directory / "stubs"))
        self.manage("install", *base)
        assert {"systemd", distribution.python.package} <= self.installed.keys()

    def add_repository(self, name: str, content: str) -> None:
        file = self._directory / "upper" / _REPOSITORY_FILES[self._distribution.manager] / f"{name}.repo"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")

    def manage(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the package manager, which accepts the key of a repository and no unsigned package."""
        done = self._run((*self._manager, *words))
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done

    def run(self, *words: str) -> str:
        """Run a program of the system, and return its output."""
        done = self._run(("chroot", str(self._directory / "root"), *words))
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def installed(self) -> dict[str, str]:
        database = _DATABASES[self._distribution.manager]
        query = ("rpm", "--dbpath", database, "--query", "--all", "--queryformat", "%{NAME} %{VERSION}-%{RELEASE}\\n")
        lines = (line.split() for line in self.run(*query).splitlines())
        return {name: version for name, version in lines if name != "gpg-pubkey"}

    @property
    def uses_dnf(self) -> bool:
        """Whether the package manager is dnf."""
        return self._distribution.manager == "dnf"

    @cached_property
    def _manager(self) -> Sequence[str]:
        root = str(self._directory / "root")
        if not self.uses_dnf:
            return ("zypper", "--root", root, "--non-interactive", "--gpg-auto-import-keys")
        repositories = f"--setopt=reposdir={root}/{_REPOSITORY_FILES['dnf']}"
        # dnf would not ask the server again for two days.
        return ("dnf", "--installroot", root, "--releasever=9", "--noplugins", "--assumeyes", "--refresh", repositories)

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        namespace = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _MOUNT, str(self._directory))
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        return ran(*namespace, *command, env=environment)
