"""A complete cloud-init user-data document: the program, the hardening, then K3s, in this order or not at all. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import __version__
from agent.model import Role

if TYPE_CHECKING:
    from agent.facts import HostFacts
    from agent.settings import Settings

_DOCUMENT = """\
#cloud-config
# Hardens this host with k3s-harden, then installs and starts K3s, as {role}.
# To fill in: SOURCE{fill_in} in the script below. Works from the second boot on as well: every step may run again.
package_update: true
packages: [python3-venv, curl, ca-certificates]
write_files:
  - path: /etc/k3s-harden/config.yaml
    permissions: "0644"
    content: |
      role: {role}
  - path: /usr/local/sbin/k3s-harden-bootstrap
    permissions: "0755"
    content: |
      #!/bin/sh
      # One script, since of the commands in runcmd the last alone decides what cloud-init reports.
      set -eu
      SOURCE='k3s-harden=={program}'  # what pip installs: a name, or the URL of a wheel
{exports}      export HOME=/root LC_ALL=C.UTF-8

      # Not on the way to K3s' start if it fails: then K3s is not installed at all.
      python3 -m venv /opt/k3s-harden
      /opt/k3s-harden/bin/pip install --quiet --disable-pip-version-check "$SOURCE"
      ln -sf /opt/k3s-harden/bin/k3s-harden /usr/local/bin/k3s-harden
      /usr/local/bin/k3s-harden apply --k3s-version {minor}

      curl -sfL https://get.k3s.io -o /usr/local/sbin/k3s-install
      INSTALL_K3S_CHANNEL={channel} sh /usr/local/sbin/k3s-install {role}
      /usr/local/bin/k3s-harden check
runcmd:
  - [/usr/local/sbin/k3s-harden-bootstrap]
"""

_AGENT_EXPORTS = """\
      export K3S_URL='https://SERVER:6443' K3S_TOKEN_FILE=/etc/rancher/k3s/token
"""


def user_data(_settings: Settings, facts: HostFacts) -> bytes:
    """The document for a fresh host of this role and K3s version; it holds no secret."""
    minor = facts.version.family
    is_agent = facts.role is Role.AGENT
    return _DOCUMENT.format(
        role=facts.role,
        fill_in=" and K3S_URL, and put the token on the host," if is_agent else "",
        program=__version__,
        exports=_AGENT_EXPORTS if is_agent else "",
        minor=minor,
        channel=f"v{minor}",
    ).encode()
