"""The .deb and the .rpm: the payload in a private directory, with units, manual and completions."""

from __future__ import annotations

import gzip
import io
import json
import re
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from agent import __releases__, __version__
from agent.base import package_data
from agent.verbs.installation import CLEAN_HOOK
from tests.programs_here import ran
from tests.tools.dist.manual import manual
from tests.tools.dist.payload import CARRIED, Payload, gather
from tests.tools.dist.tools import CHECKOUT, CannotBuildError, nfpm

_SOURCES = CHECKOUT / ".ci/dist"
_PRIVATE = PurePosixPath("/usr/lib/k3s-harden")
_SYSTEMD = "agent/units"
_UNITS = PurePosixPath("/usr/lib/systemd/system")
_COMPLETIONS = {
    "bash": PurePosixPath("/usr/share/bash-completion/completions/k3s-harden"),
    "fish": PurePosixPath("/usr/share/fish/vendor_completions.d/k3s-harden.fish"),
}
_ZSH = {
    "deb": PurePosixPath("/usr/share/zsh/vendor-completions/_k3s-harden"),
    "rpm": PurePosixPath("/usr/share/zsh/site-functions/_k3s-harden"),
}


class PackageFile(NamedTuple):
    """A file of a package; `kind` is the type of an nfpm entry."""

    path: PurePosixPath
    data: bytes
    mode: int = 0o644
    kind: str = ""


def package(wheel: Path, directory: Path, epoch: int, version: str = __version__) -> None:
    settings = _settings(version)
    # Debian and Ubuntu have a compiled PyYAML for the Python that runs the program; RHEL does not.
    for_debian = gather(wheel, set(CARRIED) - {"pyyaml"})
    _pack("deb", [*_deb(for_debian, epoch, settings)], directory, epoch, settings)
    _pack("rpm", [*_rpm(gather(wheel), epoch)], directory, epoch, settings)


def _deb(payload: Payload, epoch: int, settings: Mapping[str, Any]) -> Iterator[PackageFile]:
    yield from _both("deb", payload, epoch)
    hook = _source("deb/k3s-harden.rtupdate")
    yield PackageFile(PurePosixPath("/usr/share/python3/runtime.d/k3s-harden.rtupdate"), hook, 0o755)
    documents = PurePosixPath("/usr/share/doc/k3s-harden")
    yield PackageFile(documents / "copyright", _copyright(payload))
    yield PackageFile(documents / "changelog.gz", compressed((CHECKOUT / "CHANGELOG.md").read_bytes()))
    yield PackageFile(documents / "changelog.Debian.gz", compressed(_debian_changelog(epoch, settings)))


def _rpm(payload: Payload, epoch: int) -> Iterator[PackageFile]:
    yield from _both("rpm", payload, epoch)
    yield PackageFile(_PRIVATE / "python.sh", _source("rpm/python.sh"))
    yield PackageFile(_PRIVATE / "start.py", _source("rpm/start.py"))
    documents = PurePosixPath("/usr/share/doc/k3s-harden")
    yield PackageFile(documents / "CHANGELOG.md", (CHECKOUT / "CHANGELOG.md").read_bytes(), kind="doc")
    licences = PurePosixPath("/usr/share/licenses/k3s-harden")
    yield PackageFile(licences / "LICENSE", (CHECKOUT / "LICENSE").read_bytes(), kind="license")
    for path, data in payload.licences.items():
        yield PackageFile(licences / path, data, kind="license")


def _both(packager: str, payload: Payload, epoch: int) -> Iterator[PackageFile]:
    yield PackageFile(PurePosixPath("/usr/bin/k3s-harden"), _source(f"{packager}/k3s-harden"), 0o755)
    for name in ("observe-running-cluster.sh", "remove-units.sh", "update-units.sh"):
        yield PackageFile(_PRIVATE / name, _source(name))
    for path, data in payload.files.items():
        yield PackageFile(_PRIVATE / path, data)
        if path.is_relative_to(_SYSTEMD):
            yield _systemd(path.relative_to(_SYSTEMD), data)
    page = compressed(manual(epoch).encode("ascii"))
    kind = "doc" if packager == "rpm" else ""
    yield PackageFile(PurePosixPath("/usr/share/man/man8/k3s-harden.8.gz"), page, kind=kind)
    for shell, path in (*_COMPLETIONS.items(), ("zsh", _ZSH[packager])):
        yield PackageFile(path, package_data.read("completions", f"k3s-harden.{shell}"))


def _systemd(path: PurePosixPath, data: bytes) -> PackageFile:
    if path.name == "cloud-init-clean":
        return PackageFile(CLEAN_HOOK, data, 0o755, "config|noreplace")
    return PackageFile(_UNITS / path, data)


def _pack(
    packager: str, entries: Sequence[PackageFile], directory: Path, epoch: int, settings: Mapping[str, Any]
) -> None:
    time = datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    own = {parent for entry in entries for parent in entry.path.parents if _is_package_directory(parent)}
    contents: list[dict[str, Any]] = [
        {"dst": str(path), "type": "dir", "file_info": {"mode": 0o755, "mtime": time}} for path in sorted(own)
    ]
    with tempfile.TemporaryDirectory() as name:
        for number, entry in enumerate(sorted(entries)):
            file = Path(name, str(number))
            file.write_bytes(entry.data)
            info = {"mode": entry.mode, "mtime": time}
            contents.append({"src": str(file), "dst": str(entry.path), "type": entry.kind, "file_info": info})
        complete = {**settings, "mtime": time, "contents": contents, "disable_globbing": True}
        # JSON is YAML.
        config = Path(name, "nfpm.json")
        config.write_text(json.dumps(complete), encoding="utf-8")
        command = (nfpm(), "package", "--config", config, "--packager", packager, "--target", directory)
        run = ran(*command, cwd=CHECKOUT)
    if run.returncode:
        raise CannotBuildError(f"nfpm cannot make the .{packager}:\n{(run.stdout + run.stderr).strip()}")


def _is_package_directory(directory: PurePosixPath) -> bool:
    """Return whether the directory belongs to the package; rpm removes no others, even if they are empty."""
    return "k3s-harden" in directory.parts or directory.parent == _UNITS


def _settings(version: str) -> dict[str, Any]:
    """Return nfpm.yaml with the version; both package managers sort a version with a tilde first."""
    settings: dict[str, Any] = yaml.safe_load((_SOURCES / "nfpm.yaml").read_text(encoding="utf-8"))
    homepage = {"homepage": __releases__} if __releases__ else {}
    return settings | homepage | {"version": re.sub(r"\.?(a|b|rc|dev)(?=\d)", r"~\1", version)}


def _source(name: str) -> bytes:
    return (_SOURCES / name).read_bytes()


def compressed(data: bytes) -> bytes:
    """Return the data in the format of gzip, without a time."""
    # The header that gzip.compress writes depends on the version of Python.
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as file:
        file.write(data)
    return buffer.getvalue()


def _debian_changelog(epoch: int, settings: Mapping[str, Any]) -> bytes:
    date = format_datetime(datetime.fromtimestamp(epoch, timezone.utc))
    return (
        f"k3s-harden ({settings['version']}-{settings['release']}) unstable; urgency=medium\n\n"
        f"  * See changelog.gz in this directory.\n\n"
        f" -- {settings['maintainer']}  {date}\n"
    ).encode()


def _copyright(payload: Payload) -> bytes:
    """Return the licence of the package and the texts of the bundled libraries' licences."""
    head = (
        "The licence of k3s-harden is the Apache License 2.0, see /usr/share/common-licenses/Apache-2.0.\n\n"
        f"The licences of the libraries in {_PRIVATE}:\n"
    )
    texts = (
        f"\n{path.parts[0]}\n\n{textwrap.indent(data.decode(), '    ')}" for path, data in payload.licences.items()
    )
    return (head + "".join(texts)).encode()
