"""Signed repositories for apt and for dnf and zypper, which any web server can serve: `make repositories`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.tools.dist.signing import KEYRING, gpg
from tests.tools.dist.tools import CannotBuildError, run


def main() -> int:
    dist, directory, *keys = sys.argv[1:]
    try:
        add(Path(dist), Path(directory), keys)
    except CannotBuildError as error:
        sys.stderr.write(f"cannot make the repositories: {error}\n")
        return 1
    sys.stdout.write(f"{directory}/apt and {directory}/rpm are complete; the public key is {directory}/{KEYRING}.asc\n")
    return 0


def add(dist: Path, directory: Path, keys: Sequence[str]) -> None:
    """Add the packages to the repositories, which keep those of older releases, and sign everything again.

    All keys sign the lists of packages, so that hosts with any of them can verify these. An .rpm has only one
    signature, that of the first key.
    """
    if not keys:
        raise CannotBuildError("no key was given; pass KEY=, the ID of a GPG key")
    apt, rpm = directory / "apt", directory / "rpm"
    for pattern, repository in (("*.deb", apt), ("*.rpm", rpm)):
        repository.mkdir(parents=True, exist_ok=True)
        packages = list(dist.glob(pattern))
        if not packages:
            raise CannotBuildError(f"{dist} has no {pattern}")
        for package in packages:
            shutil.copy(package, repository)
    _index_debs(apt, keys)
    _index_rpms(rpm, keys)
    gpg("--armor", "--output", directory / f"{KEYRING}.asc", "--export", *keys)


def _index_debs(directory: Path, keys: Sequence[str]) -> None:
    for old in ("Release", "InRelease"):
        (directory / old).unlink(missing_ok=True)
    with (directory / "Packages").open("wb") as packages:
        run("apt-ftparchive", "packages", ".", directory=directory, output=packages)
    names = (f"APT::FTPArchive::Release::{name}=k3s-harden" for name in ("Origin", "Label", "Suite"))
    options = [word for name in names for word in ("-o", name)]
    release = directory / "Release"
    # apt-ftparchive would list an unfinished Release in itself.
    pending = directory.parent / "Release.pending"
    with pending.open("wb") as output:
        run("apt-ftparchive", *options, "release", ".", directory=directory, output=output)
    pending.rename(release)
    gpg("--clearsign", "--output", directory / "InRelease", release, keys=keys)


def _index_rpms(directory: Path, keys: Sequence[str]) -> None:
    # Each distribution expects GnuPG in another place.
    settings = (f"__gpg {shutil.which('gpg')}", f"_gpg_name {keys[0]}")
    options = [word for setting in settings for word in ("--define", setting)]
    run("rpmsign", *options, "--addsign", *sorted(directory.glob("*.rpm")))
    # The oldest clients read no compression but gzip.
    run("createrepo_c", "--quiet", "--no-database", "--general-compress-type=gz", directory)
    lists = directory / "repodata/repomd.xml"
    # zypper verifies only the last signature, dnf any.
    gpg("--armor", "--detach-sign", "--output", lists.with_name("repomd.xml.asc"), lists, keys=[*keys[1:], keys[0]])


if __name__ == "__main__":
    sys.exit(main())
