"""The programs of these tests, built from their Go modules and cached outside the checkout.

The environment variable K8S_VERSION selects the version of Kubernetes, one of the directories in modules/. K8S_BIN, a
list of directories separated by colons, contains programs of Kubernetes that are already built.
`python -m tests.k8s.binaries` builds what is missing and prints the directories.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.k8s.pins import MODULES

NEWEST, OLDEST = "1.37.2", "1.34.4"
"""The versions that CI tests with; the newest is the default. Those between are pinned for the tables of arguments."""

_OTHERS = ("kine-0.17.5", "kube-router-2.1.0")
_OWN = ("tools", "k3s", "ignition-2.24.0")
"""The programs of the test pods and in the place of K3s, whose sources are in modules, and Ignition's validator."""
_APPLY = "ignition-apply-2.24.0"
"""Ignition itself, which uses libblkid and takes many minutes to build."""
_OLDEST_GO = (1, 21)
"""From this version on, Go downloads the version that a go.mod requires."""
_TIMEOUT = 3600.0
# Debugging information, which the linker would leave out, takes a tenth of the time. Not one of the inputs of a build.
_FASTER = ("-gcflags=all=-dwarf=false",)
_GO_DIRECTORY = "/usr/local/go/bin"
"""The directory of Go's own archive, which is not in PATH under `su` and cron."""


class BuildError(Exception):
    """The programs cannot be built; the message has the reason."""


class Binaries(NamedTuple):
    """The version of Kubernetes, and the directories that have its programs."""

    version: str
    directories: tuple[Path, ...]

    def path(self, name: str) -> Path:
        return next(directory / name for directory in self.directories if (directory / name).exists())

    @property
    def search_path(self) -> str:
        return ":".join(map(str, self.directories))


def chosen() -> str:
    return os.environ.get("K8S_VERSION") or NEWEST


def real_k3s() -> str:
    """Return the path of a K3s to test with instead of the components, or an empty string."""
    return os.environ.get("K3S", "")


@cache
def lacking() -> str:
    """Return why this machine cannot run the components, or an empty string."""
    if os.geteuid() != 0:
        return "needs root, to create namespaces and control groups"
    rows = (line.split() for line in (Path(__file__).parent / "host-packages").read_text().splitlines())
    missing = sorted({row[1] for row in rows if row[0] != "#" and shutil.which(row[0]) is None})
    if missing:
        return f"needs missing programs: apt-get install -y {' '.join(missing)}"
    if _absent():
        return _absent()
    if available():
        return ""
    version = _go_version()
    if version < _OLDEST_GO:
        found = f"found Go {'.'.join(map(str, version))}" if version else "found no Go"
        return (
            f"needs Go {'.'.join(map(str, _OLDEST_GO))} or newer to build Kubernetes, {found}: apt-get install -y"
            " golang-go, or the archive of https://go.dev/dl in /usr/local/go"
        )
    return ""


def available() -> bool:
    return all(_done(name) for name in _modules())


def _absent() -> str:
    """Return which programs are neither in K8S_BIN nor built, or an empty string."""
    given = os.environ.get("K8S_BIN", "")
    needed = [name.rpartition("-")[0] for name in _OTHERS if given and not _done(name)]
    absent = " and ".join(name for name in needed if shutil.which(name, path=given) is None)
    return f"needs {absent}, which K8S_BIN does not have: run make k8s-test once without K8S_BIN" if absent else ""


def pinned() -> tuple[str, ...]:
    return tuple(sorted(path.name.partition("-")[2] for path in MODULES.glob("kubernetes-*")))


def built(version: str) -> Path | None:
    """Return the directory of the programs of a pinned version; None if they were not built."""
    name = f"kubernetes-{version}"
    return _directory(name) if _done(name) else None


def ready() -> Binaries:
    """Return the programs, built now unless the cache has them. A lock prevents parallel builds."""
    built = tuple(_built(name) for name in _modules())
    if real_k3s():
        return Binaries(_version_of(Path(real_k3s())), built)
    given = tuple(Path(directory).resolve() for directory in os.environ.get("K8S_BIN", "").split(":") if directory)
    return Binaries(chosen(), (*given, *built))


def ignition() -> Path:
    """Return the program that becomes ignition-apply by its name, built now unless the cache has it."""
    return _built(_APPLY) / "internal"


def _modules() -> tuple[str, ...]:
    if real_k3s():
        return _OWN
    if os.environ.get("K8S_BIN"):
        return (*filter(_done, _OTHERS), *_OWN)
    return (f"kubernetes-{chosen()}", *_OTHERS, *_OWN)


def _version_of(k3s: Path) -> str:
    answer = subprocess.run((k3s, "--version"), capture_output=True, text=True, check=True, timeout=60).stdout
    found = re.search(r"v(\d+\.\d+\.\d+)", answer)
    if found is None:
        raise BuildError(f"{k3s} --version: found {answer.strip()!r}, expected a version")
    return found[1]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "k3s-harden" / "k8s"


def _done(name: str) -> bool:
    return (MODULES / name).is_dir() and (_directory(name) / ".done").exists()


def _directory(name: str) -> Path:
    """Return the directory of a module's programs; its name contains a hash of the inputs of the build."""
    if not (MODULES / name).is_dir():
        raise BuildError(f"{name} is not pinned, expected one of {', '.join(pinned())}; see tests/k8s/pins.py")
    inputs = [path.read_bytes() for path in sorted((MODULES / name).iterdir())]
    key = hashlib.sha256(b"\0".join([*inputs, " ".join(_flags(name)).encode()])).hexdigest()[:12]
    return _cache() / f"{name}-{key}"


def _flags(name: str) -> tuple[str, ...]:
    """Return the flags of `go build`. Without the version, Kubernetes reports v0.0.0, which its clients reject."""
    stamp = "-s -w"
    if name.startswith("kubernetes-"):
        version = name.partition("-")[2]
        package = "k8s.io/component-base/version"
        stamp += f" -X {package}.gitVersion=v{version} -X {package}.gitMajor=1"
        stamp += f" -X {package}.gitMinor={version.split('.')[1]}"
    return ("-mod=readonly", "-ldflags", stamp)


def _built(name: str) -> Path:
    directory = _directory(name)
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / ".done").exists():
            _build(name, directory)
            (directory / ".done").touch()
    return directory


def _build(name: str, directory: Path) -> None:
    sys.stderr.write(f"building {name}, which takes minutes the first time; see {directory}/build.log\n")
    started = time.monotonic()
    go_mod = (MODULES / name / "go.mod").read_text(encoding="utf-8")
    programs = re.findall(r"^tool (\S+)$", go_mod, re.MULTILINE) or ["."]
    with (directory / "build.log").open("w") as log:
        # One at a time: on two cores it is as fast, needs less memory, and the log shows the times.
        for program in programs:
            try:
                subprocess.run(
                    ("nice", go(), "build", *_flags(name), *_FASTER, "-o", f"{directory}/", program),
                    cwd=MODULES / name,
                    env={**os.environ, "CGO_ENABLED": "1" if name == _APPLY else "0"},
                    stdout=log,
                    stderr=log,
                    check=True,
                    timeout=_TIMEOUT,
                )
            except subprocess.SubprocessError as error:
                last = "\n".join((directory / "build.log").read_text().splitlines()[-20:])
                raise BuildError(f"cannot build {program}: {error}\n{last}") from error
            log.write(f"{time.monotonic() - started:.0f} s: {program}\n")
            log.flush()


def go() -> str:
    return shutil.which("go", path=f"{os.environ.get('PATH', '')}:{_GO_DIRECTORY}") or "go"


def _go_version() -> tuple[int, ...]:
    """Return the version of Go here, or () if there is none."""
    try:
        answer = subprocess.run(
            (go(), "version"), cwd="/", capture_output=True, text=True, check=True, timeout=60
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(r"go(\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2])) if found else ()


def main() -> int:
    """Build the missing programs. A machine that cannot is an error in CI; elsewhere the tests are skipped."""
    reason = lacking()
    if _absent():
        sys.stderr.write(f"make k8s-test {_absent()}\n")
        return 1
    if reason:
        sys.stderr.write(f"make k8s-test is skipped: {reason}\n")
        return 1 if os.environ.get("CI") == "true" else 0
    try:
        sys.stdout.write("".join(f"{directory}\n" for directory in ready().directories))
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
