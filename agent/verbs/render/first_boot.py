"""Documents that set up a new host at its first boot: cloud-init user-data, and an Ignition config. Pure.

/usr is read-only on the hosts that Ignition sets up, and another /usr replaces it in an update. So all files are in
/etc and /var, and the gate blocks K3s also while no extension is merged into a new /usr.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from shlex import quote
from types import MappingProxyType
from typing import Any, NamedTuple

from agent import __releases__, __version__
from agent.base.errors import UsageError
from agent.base.model import EXECUTABLE_FILE, PRIVATE_FILE, PUBLIC_FILE, File, FileMode
from agent.harden.node.configuration import dropin_directory
from agent.harden.node.facts import HostFacts
from agent.k3s.config import dropin
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, EXAMPLE_MINOR, TOKEN_FILE, Role, Version
from agent.verbs.installation import USUAL as USUAL_UNITS
from agent.verbs.installation import Installation, installed_files, require_name_for_units


class Download(NamedTuple):
    """The program as a single file."""

    url: str
    sha256: str
    """In lower-case hexadecimal digits."""


class K3sDownload(NamedTuple):
    """K3s' installer, and how the host reaches the files that it downloads."""

    installer: str = "https://get.k3s.io"
    sha256: str = ""
    """Of the installer; empty if any is accepted."""
    mirror: str = ""
    """URL with the content of https://github.com/k3s-io/k3s/releases; empty for that one."""
    proxy: str = ""
    """Proxy for all downloads, those of K3s and its containers included; empty for none."""


class Joining(NamedTuple):
    """How K3s on the host gets into its cluster."""

    options: Mapping[str, str | bool] = MappingProxyType({})
    """K3s' options; none for the only server of a cluster."""
    token: bytes = b""
    """The content of the file `token-file`, if the document writes it."""


ALONE = Joining()
"""The only server of a cluster."""
USUAL = K3sDownload()


def published_file(releases: str = __releases__) -> str | None:
    """Return the URL of this version as a single file, or None if the project has no releases."""
    return f"{releases}/download/v{__version__}/k3s-harden-{__version__}.pyz" if releases else None


EXAMPLE = (
    f"for example: k3s-harden render cloud-init --role server --k3s-version {EXAMPLE_MINOR}"
    " --url https://files.example/k3s-harden.pyz --sha256 $(sha256sum k3s-harden.pyz | cut -c -64) >user-data"
    " (`make dist` builds the file; if it is in the image: --url file:///PATH)"
)
"""A hint for a missing download."""

_BOOTSTRAP = "/usr/local/sbin/k3s-harden-bootstrap"

_DOCUMENT = """\
#cloud-config
# Hardens this host with k3s-harden, then installs and starts K3s ({role}). Every step can be repeated.
write_files:
{files}runcmd:
  - [{bootstrap}]
"""

# The document has no `packages:`: dnf installs no package of a list that contains an unknown name, and rejects curl if
# curl-minimal is installed. cloud-init continues with runcmd after any of these errors.
_SCRIPT = """\
#!/bin/sh
# A single script that stops at the first failure, because cloud-init reports only the result of the last command of
# runcmd. K3s is installed last, so that it is not on the host if an earlier step fails.
set -eu
umask 022
export HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
{proxy}
# Minimal images of Debian and Ubuntu have no curl.
command -v curl >/dev/null || {{ apt-get --quiet update; apt-get --quiet --yes install curl ca-certificates; }}
fetch() {{ curl --fail --silent --show-error --location --retry 5 --retry-connrefused --output "$1" "$2"; }}

fetch /usr/local/bin/k3s-harden.new '{url}'
echo '{sha256}  /usr/local/bin/k3s-harden.new' | sha256sum --check --quiet -
chmod 0755 /usr/local/bin/k3s-harden.new
mv /usr/local/bin/k3s-harden.new /usr/local/bin/k3s-harden
# cloud-init needs Python, but the one of RHEL 8 is too old. Newer ones are in packages of their own.
/usr/local/bin/k3s-harden --version || dnf --assumeyes install python3.12

# Install the gate before K3s, so that K3s never starts without it.
/usr/local/bin/k3s-harden install
/usr/local/bin/k3s-harden apply --k3s-version {version}

{token}fetch /usr/local/sbin/k3s-install '{installer}'
{verification}{environment} sh /usr/local/sbin/k3s-install {role}

/usr/local/bin/k3s-harden check
"""

# install.sh of K3s writes these variables to the environment file of its service. K3s adds its pods and services.
_PROXY = """\
export http_proxy='{proxy}' https_proxy='{proxy}' no_proxy=127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16
export HTTP_PROXY="$http_proxy" HTTPS_PROXY="$https_proxy" NO_PROXY="$no_proxy"
"""
_BEFORE_JOINING = """\
# K3s waits four minutes for a missing file, then exits.
token={path}
[ -s "$token" ] || {{ echo "cannot install K3s: its token file $token is missing or empty" >&2; exit 1; }}

"""
_VERIFICATION = "echo '{sha256}  /usr/local/sbin/k3s-install' | sha256sum --check --quiet -\n"

_URL = re.compile(r"https://(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?", re.ASCII)
_TOKEN = re.compile(rb"[!-~]{1,4096}\n?")

_JOIN_CONFIG = "10-join.yaml"
_JOIN_HEADER = "How this node joins its cluster. k3s-harden reads this file, too.\n"
_DATA_DIR_CONFIG = "10-data-dir.yaml"
_DATA_DIR_HEADER = "Data directory of K3s. k3s-harden reads this file, too.\n"


def joining(join: str, token_file: str, token: bytes, *, cluster_init: bool) -> Joining:
    """Return how K3s joins, from options that can be empty. Raises UsageError if they are invalid."""
    if join and not _URL.fullmatch(join):
        raise UsageError(f"cannot use --join: found {join}, expected https://HOST:6443", "pass the URL of a server")
    if join and cluster_init:
        raise UsageError("cannot use --cluster-init with --join: only the first server creates the cluster", "omit one")
    if token_file and not (PurePosixPath(token_file).is_absolute() and token_file.isprintable()):
        hint = f"pass a path on the host, such as {TOKEN_FILE}"
        raise UsageError("cannot use --token-file: expected an absolute path", hint)
    if token and not _TOKEN.fullmatch(token):
        raise UsageError("cannot use --embed-token: the file is not one line with a token", "pass K3s' token in a file")
    path = token_file or (str(TOKEN_FILE) if join or token else "")
    options: dict[str, str | bool] = {"server": join, "token-file": path, "cluster-init": cluster_init}
    return Joining({name: value for name, value in options.items() if value}, token)


def user_data(
    facts: HostFacts,
    download: Download,
    files: Mapping[PurePosixPath, bytes],
    joins: Joining = ALONE,
    k3s: K3sDownload = USUAL,
) -> bytes:
    """Return the document for a new host with this role, K3s version and data directory.

    `files` are the settings file and the files that it names, by path on the host. K3s reads the token from a file that
    the image or other user-data must provide; the document contains no secret, unless that of `joins`. Raises
    UsageError for an agent without a server, for a version that is neither a minor version nor a release of K3s, and
    for a minor version if K3s comes from a mirror, where no channel names its newest release.
    """
    if k3s.mirror and not facts.version.build:
        problem = f"cannot use --k3s-mirror for K3s {facts.version.family}: a mirror has releases and no channels"
        raise UsageError(problem, f"pass a release, such as --k3s-version v{facts.version.family}.2+k3s1")
    release = _release(facts.version)
    environment = f"INSTALL_K3S_VERSION={release}" if facts.version.build else f"INSTALL_K3S_CHANNEL=v{release}"
    options = joins.options
    if facts.role is Role.AGENT and "server" not in options:
        problem = "cannot render cloud-init for an agent without --join, which names its server"
        raise UsageError(problem, "pass --join https://HOST:6443")
    token = str(options.get("token-file", ""))
    script = _SCRIPT.format(
        **download._asdict(),
        version=release,
        environment=f"GITHUB_URL='{k3s.mirror}' {environment}" if k3s.mirror else environment,
        role=facts.role,
        proxy=_PROXY.format(proxy=k3s.proxy) if k3s.proxy else "",
        token=_BEFORE_JOINING.format(path=quote(token)) if token else "",
        installer=k3s.installer,
        verification=_VERIFICATION.format(sha256=k3s.sha256) if k3s.sha256 else "",
    )
    parts = [_file(str(path), content, PUBLIC_FILE) for path, content in files.items()]
    if joins.token:
        parts.append(_file(str(options["token-file"]), joins.token, PRIVATE_FILE))
    directory = dropin_directory(facts.configuration.path)
    if options:
        parts.append(_file(str(directory / _JOIN_CONFIG), dropin(_JOIN_HEADER, options, {}), PRIVATE_FILE))
    parts += [_file(str(path), content, PRIVATE_FILE) for path, content in data_dir_file(facts).items()]
    parts.append(_file(_BOOTSTRAP, script.encode(), EXECUTABLE_FILE))
    return _DOCUMENT.format(role=facts.role, files="".join(parts), bootstrap=_BOOTSTRAP).encode()


def data_dir_file(facts: HostFacts) -> dict[PurePosixPath, bytes]:
    """Return the file that gives K3s its data directory, by path; none for the default."""
    if facts.data_dir == DEFAULT_DATA_DIR:
        return {}
    path = dropin_directory(facts.configuration.path) / _DATA_DIR_CONFIG
    return {path: dropin(_DATA_DIR_HEADER, {"data-dir": str(facts.data_dir)}, {})}


def _release(version: Version) -> str:
    """Return the version as the K3s installer and --k3s-version accept it: a minor version or a release."""
    if version.patch and not version.build:
        raise UsageError(
            f"cannot render cloud-init for K3s {version}: there is no release with this name",
            f"pass the full name, such as {version}+k3s1, or only the minor version: {version.family}",
        )
    return str(version) if version.build else version.family


def _file(path: str, content: bytes, mode: FileMode) -> str:
    """Return an entry of write_files."""
    # A JSON string is a YAML string.
    lines = [f"  - path: {json.dumps(path, ensure_ascii=False)}", f'    permissions: "{mode}"', *_content(content)]
    return "".join(f"{line}\n" for line in lines)


def _content(data: bytes) -> list[str]:
    """Return the bytes as a block of text if YAML preserves them, in base64 otherwise."""
    text = data.decode("utf-8", "replace")
    body = text.removesuffix("\n")
    plain = all(character == "\n" or character.isprintable() for character in body)
    if text.encode() != data or not plain or not body or body[0] in " \n" or body[-1] == "\n":
        return ["    encoding: b64", f'    content: "{base64.b64encode(data).decode()}"']
    style = "|" if text.endswith("\n") else "|-"
    return [f"    content: {style}", *(f"      {line}" if line else "" for line in body.split("\n"))]


_SPECIFICATION = "3.1.0"
"""The oldest whose `verification.hash` can be SHA-256."""
_PROGRAM = PurePosixPath("/usr/lib/k3s-harden/bin/k3s-harden")
_EXTENSION = "/var/lib/extensions/k3s-harden.raw"
# Flatcar enables it, and Fedora CoreOS does not.
_MERGE = "systemd-sysext.service"


def ignition_config(facts: HostFacts, download: Download, files: Mapping[PurePosixPath, bytes]) -> bytes:
    """Return the config for a new host; `download` is the extension.

    `files` are the settings file and the files that it names. Raises UsageError for one in /usr, and for a data
    directory that units cannot name.
    """
    require_name_for_units(facts.data_dir)
    for path in files:
        if path.is_relative_to("/usr"):
            raise UsageError(f"cannot write {path} by Ignition: /usr is read-only", "move the file to /etc or /var")
    written = [File(path=path, content=content, mode=PUBLIC_FILE) for path, content in files.items()]
    for path, content in data_dir_file(facts).items():
        written.append(File(path=path, content=content, mode=PRIVATE_FILE))
    written += installed_files(Installation(_PROGRAM, facts.data_dir, USUAL_UNITS, {}, has_cloud_init=False))
    extension = {"source": download.url, "verification": {"hash": f"sha256-{download.sha256}"}}
    entries: list[tuple[str, dict[str, Any], int]] = [(_EXTENSION, extension, PUBLIC_FILE)]
    for file in written:
        source = f"data:;base64,{base64.b64encode(file.content).decode()}"
        entries.append((str(file.path), {"source": source}, file.mode))
    document = {
        "ignition": {"version": _SPECIFICATION},
        # Without overwrite, Ignition stops the boot at a file that a /var of an earlier installation still has.
        "storage": {
            "files": [
                {"path": path, "overwrite": True, "mode": mode, "contents": contents}
                for path, contents, mode in entries
            ]
        },
        "systemd": {"units": [{"name": _MERGE, "enabled": True}]},
    }
    return json.dumps(document, indent=2).encode() + b"\n"
