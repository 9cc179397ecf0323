"""An Ignition config that gives a host the system extension, the gate and the settings. Pure.

/usr is read-only on the hosts that Ignition sets up, and another /usr replaces it in an update. So all files are in
/etc and /var, and the gate blocks K3s also while no extension is merged into a new /usr.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from agent.base.errors import UsageError
from agent.base.model import PRIVATE_FILE, PUBLIC_FILE, File
from agent.harden.node.facts import HostFacts
from agent.verbs.installation import USUAL, Installation, installed_files, require_name_for_units
from agent.verbs.render.cloud_init import Download, data_dir_file

_SPECIFICATION = "3.1.0"
"""The oldest whose `verification.hash` can be SHA-256."""
_PROGRAM = PurePosixPath("/usr/lib/k3s-harden/bin/k3s-harden")
_EXTENSION = "/var/lib/extensions/k3s-harden.raw"
# Flatcar enables it, and Fedora CoreOS does not.
_MERGE = "systemd-sysext.service"


def config(facts: HostFacts, download: Download, files: Mapping[PurePosixPath, bytes]) -> bytes:
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
    written += installed_files(Installation(_PROGRAM, facts.data_dir, USUAL, {}, has_cloud_init=False))
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
