"""The bundle: the program with its own Python, for hosts without one, as an archive and as a system extension.

PyInstaller builds it from the Python of Debian 12, so that it needs no newer glibc than 2.36. Usage:
`python -m tests.tools.dist.bundle DIRECTORY [x86_64|aarch64]`. The other architecture is emulated.
"""

from __future__ import annotations

import io
import os
import platform
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote
from zipfile import ZipFile

from agent import __version__
from tests.tools.dist.build import build_time, build_wheel
from tests.tools.dist.packages import compressed
from tests.tools.dist.payload import Payload, gather
from tests.tools.dist.tools import CHECKOUT, CannotBuildError, printed, pyinstaller, run
from tests.vm import suite

_SOURCES = CHECKOUT / ".ci/dist/bundle"
_SUITE = "bookworm"
_PACKAGES = ("bash", "binutils", "libc-bin", "libpython3.11", "python3.11")
"""Python, and the tools with which PyInstaller finds its libraries."""

# setuptools is a dependency of PyInstaller only.
_OPTIONS = (
    *("--onedir", "--name=k3s-harden", "--noconfirm", "--log-level=ERROR"),
    *("--paths=/build/program", "--collect-submodules=agent", "--collect-data=agent"),
    *("--exclude-module=setuptools", "--exclude-module=pkg_resources"),
    *("--workpath=/build/work", "--distpath=/build/dist", "--specpath=/build", "/build/start.py"),
)
_ENTER = 'mount --bind /dev/null "$1/dev/null" && exec chroot "$@"'

_EXTENSION = PurePosixPath("usr/lib/k3s-harden")
_COMMAND = PurePosixPath("usr/bin/k3s-harden")
_RELEASE = PurePosixPath("usr/lib/extension-release.d/extension-release.k3s-harden")


class TarEntry(NamedTuple):
    """A file, or a symbolic link with its target."""

    data: bytes = b""
    mode: int = 0o644
    target: str = ""
    capabilities: str = ""
    """The attribute security.capability, as characters of one byte each."""


def bundle(directory: Path, machine: str) -> list[Path]:
    """Build for this architecture into a directory; return the archive and the system extension."""
    epoch = build_time()
    name = f"k3s-harden-{__version__}-linux-{machine}"
    archive, extension = directory / f"{name}.tar.gz", directory / f"{name}.raw"
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        files = _files(work, machine, gather(build_wheel(work, epoch)), epoch)
        directory.mkdir(parents=True, exist_ok=True)
        install = {PurePosixPath("install"): TarEntry((_SOURCES / "install").read_bytes(), 0o755)}
        below = {PurePosixPath(name, path): entry for path, entry in (install | files).items()}
        archive.write_bytes(compressed(archive_of(below, epoch)))
        _make_extension(extension, files, machine, epoch)
    return [archive, extension]


def _files(work: Path, machine: str, payload: Payload, epoch: int) -> dict[PurePosixPath, TarEntry]:
    """Return the files of the bundle: the program, the licences, and the list of what it contains."""
    root, debs = work / "root", debian_packages(work, machine, _PACKAGES)
    for deb in debs:
        run("dpkg-deb", "--extract", deb, root)
    for wheel in pyinstaller(machine):
        with ZipFile(wheel) as contents:
            contents.extractall(root / "build/tools")  # noqa: S202 - the wheel is pinned by its hash
    for path, data in payload.files.items():
        file = root / "build/program" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    files = {PurePosixPath("bin", path): entry for path, entry in _frozen(root, epoch)}
    packages = _packages(debs, {path.name for path in files})
    contained = "".join(f"{name} {version}\n" for name, version in sorted(packages.items()))
    files[PurePosixPath("CONTENTS")] = TarEntry(contained.encode())
    files[PurePosixPath("LICENSE")] = TarEntry((CHECKOUT / "LICENSE").read_bytes())
    licences = {PurePosixPath(name, "copyright"): root / f"usr/share/doc/{name}/copyright" for name in packages}
    licences |= {
        PurePosixPath("pyinstaller", file.name): file for file in root.glob("build/tools/*/licenses/COPYING.txt")
    }
    texts = {**payload.licences, **{path: file.read_bytes() for path, file in licences.items()}}
    return files | {"licenses" / path: TarEntry(data) for path, data in texts.items()}


def debian_packages(work: Path, machine: str, packages: Iterable[str]) -> list[Path]:
    """Download the packages and those that they depend on."""
    architecture = suite.ARCHITECTURES[machine]
    (work / "status").touch()
    debian = suite.Suite(_SUITE, work / "apt")
    names = f'APT::Architecture "{architecture}"; APT::Architectures {{ "{architecture}"; }};'
    debian.update(f'{names} Dir::State::status "{work}/status";\n')
    return debian.download_all(packages)


def _frozen(root: Path, epoch: int) -> Iterator[tuple[PurePosixPath, TarEntry]]:
    """Run PyInstaller in the root directory, and yield the files that it made."""
    (root / "build/start.py").write_bytes((_SOURCES / "start.py").read_bytes())
    (root / "dev").mkdir(exist_ok=True)
    (root / "dev/null").touch()
    # The seed determines the order of sets in byte code.
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/build", "PYTHONHASHSEED": "0"}
    environment |= {"PYTHONPATH": "/build/tools:/build/program", "SOURCE_DATE_EPOCH": str(epoch)}
    as_root = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    enter = ("/usr/bin/unshare", *as_root, "--mount", "--propagation=private", "/bin/sh", "-c", _ENTER, "sh", root)
    command = (*enter, "/usr/bin/python3.11", "-sB", "-m", "PyInstaller", *_OPTIONS)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuildError(f"PyInstaller failed:\n{done.stderr.strip()}")
    made = root / "build/dist/k3s-harden"
    # PyInstaller's own start needs libz, which a container image of the bundle does not have in another place.
    run("patchelf", "--set-rpath", "$ORIGIN/_internal", made / "k3s-harden")
    for file in sorted(made.rglob("*")):
        path = PurePosixPath(file.relative_to(made))
        if file.is_symlink():
            yield path, TarEntry(target=str(file.readlink()))
        elif file.is_file():
            yield path, TarEntry(file.read_bytes(), 0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)


def _packages(debs: Iterable[Path], names: set[str]) -> dict[str, str]:
    """Return the Debian packages, with their versions, that contain files with these names or the Python modules."""
    found = {}
    for package in debs:
        name, version, _ = unquote(package.name).split("_")
        listed = subprocess.run(("dpkg-deb", "--contents", package), capture_output=True, text=True, check=True).stdout
        paths = (PurePosixPath(line.split(maxsplit=5)[5].partition(" -> ")[0]) for line in listed.splitlines())
        if name.startswith("libpython") or any(".so" in path.name and path.name in names for path in paths):
            found[name] = version
    return found


def archive_of(entries: Mapping[PurePosixPath, TarEntry], epoch: int, *, labelled: bool = False) -> bytes:
    """Return an archive of these files and their directories, with labels of SELinux if they are to be in /usr."""
    directories = {parent: TarEntry(mode=0o755) for path in entries for parent in path.parents if parent.name}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, entry in sorted((directories | dict(entries)).items()):
            member = tarfile.TarInfo(str(path))
            member.mtime, member.mode, member.size, member.linkname = epoch, entry.mode, len(entry.data), entry.target
            member.type = (
                tarfile.DIRTYPE if path in directories else tarfile.SYMTYPE if entry.target else tarfile.REGTYPE
            )
            if entry.capabilities:
                member.pax_headers = {"SCHILY.xattr.security.capability": entry.capabilities}
            if labelled:
                member.pax_headers = {"SCHILY.xattr.security.selinux": f"system_u:object_r:{_selinux_type(path)}:s0\0"}
            archive.addfile(member, io.BytesIO(entry.data))
    return buffer.getvalue()


def _selinux_type(path: PurePosixPath) -> str:
    if "bin" in path.parts:
        return "bin_t"
    return "lib_t" if path.is_relative_to("usr/lib") else "usr_t"


def _make_extension(file: Path, files: Mapping[PurePosixPath, TarEntry], machine: str, epoch: int) -> None:
    """Write a system extension with the program, and without the gate, as a squashfs image."""
    architecture = {"x86_64": "x86-64", "aarch64": "arm64"}[machine]
    entries = {_EXTENSION / path: entry for path, entry in files.items()}
    entries[_COMMAND] = TarEntry(target="../lib/k3s-harden/bin/k3s-harden")
    # Whatever the distribution is: the program needs only its glibc.
    entries[_RELEASE] = TarEntry(f"ID=_any\nARCHITECTURE={architecture}\n".encode())
    options = f"-tar -noappend -comp zstd -mkfs-time {epoch} -all-time {epoch} -root-mode 0755 -quiet -no-progress"
    command = ("mksquashfs", "-", str(file), *options.split())
    data = archive_of(entries, epoch, labelled=True)
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode:
        raise CannotBuildError(f"mksquashfs failed:\n{done.stderr.decode(errors='replace').strip()}")


if __name__ == "__main__":
    built = partial(bundle, Path(sys.argv[1]), [*sys.argv[2:], platform.machine()][0])
    sys.exit(printed(built, "cannot build the bundle"))
