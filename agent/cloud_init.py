"""A complete cloud-init user-data document: the program, the gate, the hardening, then K3s, in this order. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent import __version__
from agent.model import Role

if TYPE_CHECKING:
    from agent.facts import HostFacts


class Download(NamedTuple):
    """The self-contained program: where it is, and its SHA-256 in hexadecimal digits."""

    url: str
    sha256: str


_DOCUMENT = """\
#cloud-config
# Hardens this host with k3s-harden, then installs and starts K3s, as {role}. Every step may run again.
package_update: true
packages: [{packages}]
write_files:
  - path: /etc/k3s-harden/config.yaml
    permissions: "0644"
    content: |
      role: {role}
  - path: /usr/local/sbin/k3s-harden-bootstrap
    permissions: "0755"
    content: |
      #!/bin/sh
      # One script that stops at its first failure, since of runcmd's commands the last alone decides what cloud-init
      # reports. K3s comes last: where a step before it fails, there is no K3s on the host that could start.
      set -eu
      umask 022
      export HOME=/root LC_ALL=C.UTF-8

{program}
      # The gate is there before K3s is, so that K3s cannot start without it, now or at a later boot.
      /usr/local/bin/k3s-harden install
      /usr/local/bin/k3s-harden apply --k3s-version {family}

{k3s}
      /usr/local/bin/k3s-harden check
runcmd:
  - [/usr/local/sbin/k3s-harden-bootstrap]
"""

_DOWNLOADED = """\
      curl --fail --silent --show-error --location --retry 5 --output /usr/local/bin/k3s-harden.new '{url}'
      echo '{sha256}  /usr/local/bin/k3s-harden.new' | sha256sum --check --quiet -
      chmod 0755 /usr/local/bin/k3s-harden.new
      mv /usr/local/bin/k3s-harden.new /usr/local/bin/k3s-harden
"""

_BY_PIP = """\
      python3 -m venv /opt/k3s-harden
      /opt/k3s-harden/bin/pip install --quiet --disable-pip-version-check 'k3s-harden=={version}'
      ln -sf /opt/k3s-harden/bin/k3s-harden /usr/local/bin/k3s-harden
"""

_K3S = """\
      curl --fail --silent --show-error --location --retry 5 --output /usr/local/sbin/k3s-install https://get.k3s.io
      INSTALL_K3S_CHANNEL=v{family} {environment}sh /usr/local/sbin/k3s-install {role}
"""

_AGENT_ENVIRONMENT = "K3S_URL=https://server.example:6443 K3S_TOKEN_FILE=/etc/rancher/k3s/token "


def user_data(facts: HostFacts, download: Download | None = None) -> bytes:
    """The document for a fresh host of this role and K3s version; it holds no secret.

    Without a `download` pip installs the program, in a virtual environment. An agent's document names an example
    server, and expects the token in a file that the image or another part of the user-data puts there.
    """
    program = _BY_PIP.format(version=__version__) if download is None else _DOWNLOADED.format(**download._asdict())
    environment = _AGENT_ENVIRONMENT if facts.role is Role.AGENT else ""
    return _DOCUMENT.format(
        role=facts.role,
        packages="python3-venv, curl, ca-certificates" if download is None else "python3, curl, ca-certificates",
        program=program,
        family=facts.version.family,
        k3s=_K3S.format(family=facts.version.family, environment=environment, role=facts.role),
    ).encode()
