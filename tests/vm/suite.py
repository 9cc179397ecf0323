"""Debian suites for guest images: package sources, and an apt state separate from the host's.

No mirror is named here: the sources of the build host are rewritten for the suite of the guest.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SUITES = {"bullseye": "11", "bookworm": "12", "trixie": "13"}
"""The tested suites, with Debian's version."""
DEFAULT = "trixie"
SINGLE_FILE_SUITES = ("bullseye",)
"""Suites whose python3-psutil and python3-yaml are too old for the package; the single file needs neither."""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Debian's names of the architectures."""

# The kernel is downloaded, never installed. The host's preferences and sources must not affect its version.
_APT_CONFIG = """\
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "{0}/sources";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "{0}/preferences";
Dir::State::Lists "{0}/lists";
Dir::Cache "{0}/cache";
APT::Sandbox::User "root";
"""


class ImageError(Exception):
    """The image cannot be built; the message contains the reason."""


class Suite(NamedTuple):
    """A Debian suite and the directory of its apt state."""

    name: str
    directory: Path

    @property
    def sources(self) -> Path:
        """The suite's package sources, in deb822 format."""
        return self.directory / "sources/debian.sources"

    def update(self, settings: str = "") -> None:
        """Write the sources and further settings of apt, and fetch the package lists once per week."""
        week = time.strftime("%G-%V")
        stamp = self.directory / "updated"
        if stamp.exists() and stamp.read_text() == week:
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        for name in ("cache/archives/partial", "lists/partial", "preferences", "sources"):
            (self.directory / name).mkdir(parents=True)
        (self.directory / "apt.conf").write_text(_APT_CONFIG.format(self.directory) + settings)
        self.sources.write_text("\n\n".join(sources(self.name)) + "\n")
        self._apt("apt-get", "-qq", "update")
        stamp.write_text(week)

    def kernel_package(self) -> str:
        found = re.search(r"Depends: (linux-image-\S+)", self._apt("apt-cache", "depends", "linux-image-cloud-amd64"))
        if found is None:
            raise ImageError(f"cannot find a kernel: {self.name} has no linux-image-cloud-amd64")
        return found[1]

    def download(self, package: str, directory: Path) -> Path:
        self._apt("apt-get", "-qq", "download", package, cwd=directory)
        return next(directory.glob(f"{package}_*.deb"))

    def download_all(self, packages: Iterable[str]) -> list[Path]:
        """Download packages with those that they depend on and that dpkg does not list; return their paths."""
        self._apt("apt-get", "-qq", "--download-only", "--no-install-recommends", "install", *packages)
        return sorted(self.directory.glob("cache/archives/*.deb"))

    def _apt(self, *words: str, cwd: Path | None = None) -> str:
        return run(*words, cwd=cwd, env={**os.environ, "APT_CONFIG": str(self.directory / "apt.conf")})


def without_package() -> str:
    return "needs newer packages of Debian than this suite has" if _chosen_name() in SINGLE_FILE_SUITES else ""


def _chosen_name() -> str:
    return os.environ.get("GUEST_SUITE") or DEFAULT


def machine() -> str:
    """Return the architecture of the containers, as `uname -m` prints it: that of GUEST_MACHINE, or of this machine."""
    return os.environ.get("GUEST_MACHINE") or platform.machine()


def is_emulated() -> bool:
    """Return whether QEMU runs each program of the containers; there are no virtual machines then."""
    return machine() != platform.machine()


def chosen(cache: Path) -> Suite:
    name = _chosen_name()
    if name not in SUITES:
        raise ImageError(f"unknown guest suite {name}, expected one of {', '.join(SUITES)}")
    return Suite(name, cache / (f"{name}-{machine()}" if is_emulated() else name) / "apt")


def sources(suite: str) -> list[str]:
    """Return the host's Debian sources as deb822 stanzas for a suite."""
    host = _host_codename()
    found = []
    for stanza in _host_stanzas():
        names = re.search(r"(?im)^suites:\s*(.+)$", stanza)
        # Third-party sources have their own suite names.
        if names and all(re.fullmatch(rf"{host}(-updates|-security)?", name) for name in names[1].split()):
            found.append(stanza.replace(names[0], re.sub(rf"\b{host}\b", suite, names[0])))
    if not found:
        raise ImageError(f"cannot build the guest image: no http source for {host} in /etc/apt")
    return found


def _host_codename() -> str:
    found = re.search(r'(?m)^VERSION_CODENAME="?(\w+)', Path("/etc/os-release").read_text())
    if found is None:
        raise ImageError("cannot build the guest image: /etc/os-release has no VERSION_CODENAME")
    return found[1]


def _host_stanzas() -> list[str]:
    found: list[str] = []
    configuration = Path("/etc/apt")
    for path in sorted(configuration.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            lines = [line for line in stanza.splitlines() if line.strip() and not line.startswith("#")]
            text = "\n".join(lines)
            if re.search(r"(?im)^uris:.*https?://", text) and not re.search(r"(?im)^enabled:\s*no", text):
                found.append(text)
    entry = re.compile(r"^\s*deb\s+(?:\[([^]]*)]\s+)?(https?://\S+)\s+(\S+)\s+(.+)$", re.MULTILINE)
    for path in (configuration / "sources.list", *sorted(configuration.glob("sources.list.d/*.list"))):
        for options, uri, suite, components in entry.findall(path.read_text() if path.exists() else ""):
            stanza = f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {components}"
            signed = re.search(r"(?i)signed-by=(\S+)", options)
            found.append(stanza + (f"\nSigned-By: {signed[1]}" if signed else ""))
    return found


def run(*words: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command and return its output. Raises ImageError if it fails."""
    try:
        return subprocess.run(words, cwd=cwd, env=env, stdout=subprocess.PIPE, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ImageError(f"cannot build the guest image: {error}") from error
