"""The files of a release: those of a build, a bill of materials, the changes, checksums of all, and signatures.

`make release` runs this before the build, without a directory, to try the keys; then on the directory of the build.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import unquote

from agent import __released__, __version__
from tests.tools.dist.build import SUMS, build_time, write_checksums
from tests.tools.dist.image import SBOM_LABEL
from tests.tools.dist.sbom import sbom
from tests.tools.dist.signing import sign, signature_files
from tests.tools.dist.tools import CHECKOUT, CannotBuildError, printed

_DEBIAN = "pkg:deb/debian/"
_LARGEST_DOCUMENT = 64 << 10


def main() -> int:
    """Try the keys, or add to a build what is published with it, and print the names of the added files."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--key", action="append", default=[])
    parser.add_argument("--ssh-key", default="")
    parser.add_argument("--unsigned", action="store_true")
    return printed(lambda: _release(**vars(parser.parse_args())), "cannot release")


def _release(directory: Path | None, key: list[str], ssh_key: str, *, unsigned: bool) -> list[Path]:
    if not unsigned:
        _try_keys(key, ssh_key)
    if directory is None:
        return []
    made = complete(directory) + sign(directory / SUMS, key, ssh_key)
    if unsigned:
        sys.stderr.write(f"{directory} is not signed\n")
    return made


def _try_keys(keys: Sequence[str], ssh_key: str) -> None:
    """Sign an empty file. Raises CannotBuildError if there is no key, or one that cannot sign."""
    if not (keys or ssh_key):
        raise CannotBuildError("no key was given; pass KEY=FINGERPRINT or SSH_KEY=FILE, or UNSIGNED=1")
    with TemporaryDirectory() as directory:
        file = Path(directory, SUMS)
        file.touch()
        sign(file, keys, ssh_key)


def complete(directory: Path) -> list[Path]:
    """Add the bill of materials and the changes to a build, and write the checksums of all its files."""
    materials, changes = directory / f"k3s-harden-{__version__}.cdx.json", directory / f"CHANGES-{__version__}.md"
    changes.write_text(changes_of_this_version(), encoding="utf-8")
    packages = {row for archive in directory.glob("*-linux-*.tar.gz") for row in _packages(archive)}
    packages |= {row for archive in directory.glob("*-image-*.tar") for row in image_packages(archive)}
    materials.write_bytes(sbom(build_time(), packages))
    for name in (SUMS, *signature_files(SUMS)):
        (directory / name).unlink(missing_ok=True)
    write_checksums(sorted(directory.iterdir()), directory)
    return [materials, changes]


def _packages(bundle: Path) -> Iterator[tuple[str, str]]:
    with tarfile.open(bundle) as archive:
        (name,) = (name for name in archive.getnames() if PurePosixPath(name).name == "CONTENTS")
        member = archive.extractfile(name)
        assert member is not None
        for line in member.read().decode().splitlines():
            package, version = line.split()
            yield package, version


def image_packages(archive: Path) -> Iterator[tuple[str, str]]:
    """Yield names and versions of the Debian packages in the label of an image: also that of the C library."""
    with tarfile.open(archive) as layout:
        blobs = (layout.extractfile(member) for member in layout if 0 < member.size < _LARGEST_DOCUMENT)
        documents = [json.loads(blob.read()) for blob in blobs if blob is not None]
    (label,) = (found["config"]["Labels"][SBOM_LABEL] for found in documents if "rootfs" in found)
    for name, _, version in (url.removeprefix(_DEBIAN).partition("@") for url in label.split() if _DEBIAN in url):
        yield unquote(name), unquote(version)


def changes_of_this_version() -> str:
    """Return the entry of the changelog. Raises CannotBuildError if the version has none with its date."""
    heading = f"## {__version__} ({__released__})"
    text = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(heading)}\n+(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise CannotBuildError(f"CHANGELOG.md has no entry of this version and date, expected the heading {heading}")
    return found[1].rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
