"""The container image: the bundle and Debian's C library with its loader, as an archive of an OCI image layout.

umoci makes it without a registry, an engine or root, from the bundle in the same directory. Usage:
`python -m tests.tools.dist.image DIRECTORY [x86_64|aarch64]`.
"""

from __future__ import annotations

import json
import platform
import struct
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from agent import __releases__, __version__
from agent.verbs.render.pods import IMAGE
from tests.tools.dist.build import build_time
from tests.tools.dist.bundle import TarEntry, archive_of, debian_packages
from tests.tools.dist.sbom import package_urls, sbom
from tests.tools.dist.tools import CannotBuildError, printed, run
from tests.vm import suite

_PROGRAM = PurePosixPath("opt/k3s-harden")
_START = _PROGRAM / "bin/k3s-harden"
_USER = "0:0"
"""root, which an upgrade of a node requires. The pods of an assessment have another user."""
_READ_SEARCH = struct.pack("<5I", 0x0200_0000, 1 << 2, 0, 0, 0).decode("ascii")
"""CAP_DAC_READ_SEARCH as permitted (vfs_cap_data in linux/capability.h): without it, the program still starts."""
_LABELS = "org.opencontainers.image"
SBOM_LABEL = "internal.k3s-harden.sbom"
"""Package URLs of what the image contains: containerd 1.5 rejects a label of more than 4096 bytes."""


def image(directory: Path, machine: str) -> Path:
    epoch = build_time()
    target = directory / f"k3s-harden-{__version__}-image-{machine}.tar"
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        files = dict(_bundled(directory / f"k3s-harden-{__version__}-linux-{machine}.tar.gz"))
        (libc,) = (deb for deb in debian_packages(work, machine, ("libc6",)) if deb.name.startswith("libc6_"))
        files |= dict(_c_library(work, libc))
        files[_START] = files[_START]._replace(capabilities=_READ_SEARCH)
        files |= _libraries_of_a_program_with_capabilities(files)
        # The directory of the program stays that of the archive, because an upgrade copies it to the node.
        contents = files[_PROGRAM / "CONTENTS"].data + f"libc6 {unquote(libc.name).split('_')[1]}\n".encode()
        layer, layout = work / "layer.tar", work / "layout"
        layer.write_bytes(archive_of(files, epoch))
        _make_layout(layout, layer, _labels(contents, epoch), suite.ARCHITECTURES[machine], epoch)
        blobs = {path.relative_to(layout): path for path in layout.rglob("*") if path.is_file()}
        target.write_bytes(
            archive_of({PurePosixPath(path): TarEntry(blobs[path].read_bytes()) for path in blobs}, epoch)
        )
    return target


def _bundled(bundle: Path) -> Iterator[tuple[PurePosixPath, TarEntry]]:
    if not bundle.exists():
        raise CannotBuildError(f"{bundle} does not exist: run make bundle first")
    with tarfile.open(bundle) as archive:
        for member in archive.getmembers():
            path = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            content = archive.extractfile(member) if member.isfile() else None
            if content or member.issym():
                yield _PROGRAM / path, TarEntry(content.read() if content else b"", member.mode, member.linkname)


def _libraries_of_a_program_with_capabilities(files: Iterable[PurePosixPath]) -> dict[PurePosixPath, TarEntry]:
    """Return links to the libraries of the program where its loader searches: not at $ORIGIN, as in ld.so(8)."""
    own = [path for path in files if path.parent == _START.parent / "_internal" and ".so" in path.name]
    (loader,) = (path for path in files if path.name == "libc.so.6")
    return {loader.with_name(path.name): TarEntry(target=f"/{path}") for path in own}


def _c_library(work: Path, package: Path) -> Iterator[tuple[PurePosixPath, TarEntry]]:
    """Yield the shared libraries of the package, without its character sets, and its licence."""
    root = work / "libc"
    run("dpkg-deb", "--extract", package, root)
    for path in sorted(root.glob("lib*/**/*.so*")):
        mode, is_link = path.lstat().st_mode & 0o777, path.is_symlink()
        entry = TarEntry(target=str(path.readlink())) if is_link else TarEntry(path.read_bytes(), mode)
        yield PurePosixPath(path.relative_to(root)), entry
    licence = PurePosixPath("usr/share/doc/libc6/copyright")
    yield licence, TarEntry((root / licence).read_bytes())


def _labels(contents: bytes, epoch: int) -> dict[str, str]:
    packages = [(name, version) for name, version in map(str.split, contents.decode().splitlines())]
    labels = {
        f"{_LABELS}.title": "k3s-harden",
        f"{_LABELS}.version": __version__,
        f"{_LABELS}.licenses": "Apache-2.0",
        SBOM_LABEL: " ".join(package_urls(sbom(epoch, packages))),
    }
    return labels | ({f"{_LABELS}.source": __releases__} if __releases__ else {})


def _make_layout(layout: Path, layer: Path, labels: Mapping[str, str], architecture: str, epoch: int) -> None:
    """Make an OCI image layout with this layer (OCI image specification, image-layout.md)."""
    when = datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = f"{layout}:{__version__}"
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", name)
    run("umoci", "raw", "add-layer", "--image", name, "--history.created", when, layer)
    settings = {"created": when, "architecture": architecture, "os": "linux", "config.user": _USER}
    words = [f"--{key}={value}" for key, value in settings.items()]
    words += [f"--config.label={key}={value}" for key, value in labels.items()]
    words += [f"--config.entrypoint=/{_START}", f"--config.env=PATH=/{_PROGRAM}/bin"]
    run("umoci", "config", "--no-history", "--image", name, *words)
    run("umoci", "gc", "--layout", layout)
    index = layout / "index.json"
    described = json.loads(index.read_bytes())
    # containerd imports an image with this annotation under its full name; other programs read the tag.
    described["manifests"][0]["annotations"]["io.containerd.image.name"] = IMAGE
    index.write_text(json.dumps(described), encoding="utf-8")


if __name__ == "__main__":
    directory, machine = Path(sys.argv[1]), [*sys.argv[2:], platform.machine()][0]
    sys.exit(printed(lambda: [image(directory, machine)], "cannot build the image"))
