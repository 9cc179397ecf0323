"""A complete cloud-init user-data document: the program, the gate, the hardening, then K3s, in this order. Pure."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, NamedTuple

from agent.errors import UsageError
from agent.k3s.config_writer import dropin
from agent.k3s.paths import DEFAULT_DATA_DIR
from agent.model import FileMode, Role
from agent.node.facts import dropin_directory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath

    from agent.model import Version
    from agent.node.facts import HostFacts


class Download(NamedTuple):
    """The self-contained program: where it is, and its SHA-256 in hexadecimal digits."""

    url: str
    sha256: str


_BOOTSTRAP = "/usr/local/sbin/k3s-harden-bootstrap"

_DOCUMENT = """\
#cloud-config
# Hardens this host with k3s-harden, then installs and starts K3s, as {role}. Every step may run again.
write_files:
{files}runcmd:
  - [{bootstrap}]
"""

# No `packages:` in the document. dnf installs none of a list with one name that it does not know, and refuses curl
# where there is curl-minimal; and whatever becomes of the list, cloud-init goes on to runcmd.
_SCRIPT = """\
#!/bin/sh
# One script that stops at its first failure, since of runcmd's commands the last alone decides what cloud-init
# reports. K3s comes last: where a step before it fails, there is no K3s on the host that could start.
set -eu
umask 022
export HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

# Small images of Debian and Ubuntu may lack curl; others have it.
command -v curl >/dev/null || {{ apt-get --quiet update; apt-get --quiet --yes install curl ca-certificates; }}

curl --fail --silent --show-error --location --retry 5 --output /usr/local/bin/k3s-harden.new '{url}'
echo '{sha256}  /usr/local/bin/k3s-harden.new' | sha256sum --check --quiet -
chmod 0755 /usr/local/bin/k3s-harden.new
mv /usr/local/bin/k3s-harden.new /usr/local/bin/k3s-harden
# Python is there, as cloud-init is written in it. Release 9 of the RHEL family has 3.9, and newer ones as packages.
/usr/local/bin/k3s-harden --version || dnf --assumeyes install python3.12

# The gate is there before K3s is, so that K3s cannot start without it, now or at a later boot.
/usr/local/bin/k3s-harden install
/usr/local/bin/k3s-harden apply --k3s-version {version}

curl --fail --silent --show-error --location --retry 5 --output /usr/local/sbin/k3s-install https://get.k3s.io
{environment} sh /usr/local/sbin/k3s-install {role}

/usr/local/bin/k3s-harden check
"""

_JOINS = "K3S_URL=https://server.example:6443 K3S_TOKEN_FILE=/etc/rancher/k3s/token"

_DATA_DIR_CONFIG = "10-data-dir.yaml"
_DATA_DIR_HEADER = "Where K3s keeps its data. k3s-harden reads it here, too.\n"

_PROGRAM = FileMode(0o755)
_PUBLIC = FileMode(0o644)
_PRIVATE = FileMode(0o600)


def user_data(facts: HostFacts, download: Download, files: Mapping[PurePosixPath, bytes]) -> bytes:
    """The document for a fresh host of this role, K3s version and data directory; it holds no secret.

    `files` are the site's settings and the files that they name, by their paths on the host. An agent's document names
    an example server, and expects the token in a file that the image or another part of the user-data puts there.
    Raises UsageError for a version that is neither a minor nor a release of K3s.
    """
    release = _release(facts.version)
    environment = f"INSTALL_K3S_VERSION={release}" if facts.version.build else f"INSTALL_K3S_CHANNEL=v{release}"
    if facts.role is Role.AGENT:
        environment = f"{environment} {_JOINS}"
    script = _SCRIPT.format(**download._asdict(), version=release, environment=environment, role=facts.role)
    parts = [_file(str(path), content, _PUBLIC) for path, content in files.items()]
    if facts.data_dir != DEFAULT_DATA_DIR:
        path = dropin_directory(facts.configuration.path) / _DATA_DIR_CONFIG
        parts.append(_file(str(path), dropin(_DATA_DIR_HEADER, {"data-dir": str(facts.data_dir)}, {}), _PRIVATE))
    parts.append(_file(_BOOTSTRAP, script.encode(), _PROGRAM))
    return _DOCUMENT.format(role=facts.role, files="".join(parts), bootstrap=_BOOTSTRAP).encode()


def _release(version: Version) -> str:
    """The version in the words of K3s' installer and of --k3s-version: a minor, or all of a release."""
    if version.patch and not version.build:
        raise UsageError(
            f"cannot have cloud-init install K3s {version}: no release has this name",
            f"say all of it, such as {version}+k3s1, or the minor alone: {version.family}",
        )
    return str(version) if version.build else version.family


def _file(path: str, content: bytes, mode: FileMode) -> str:
    """An entry of write_files; a string of JSON is one of YAML, too."""
    lines = [f"  - path: {json.dumps(path, ensure_ascii=False)}", f'    permissions: "{mode}"', *_content(content)]
    return "".join(f"{line}\n" for line in lines)


def _content(data: bytes) -> list[str]:
    """The bytes in lines that a person can read, where YAML gives just these bytes back, and else in base64."""
    text = data.decode("utf-8", "replace")
    body = text.removesuffix("\n")
    plain = all(character == "\n" or character.isprintable() for character in body)
    if text.encode() != data or not plain or not body or body[0] in " \n" or body[-1] == "\n":
        return ["    encoding: b64", f'    content: "{base64.b64encode(data).decode()}"']
    style = "|" if text.endswith("\n") else "|-"
    return [f"    content: {style}", *(f"      {line}" if line else "" for line in body.split("\n"))]
