"""Runs in the place of the gate, and records what it judges of the start that waits for it.

By hand, it prints what is predicted of each service: as systemd has loaded it, and as its files are read.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path, PurePosixPath

sys.path.insert(0, "/root/k3s-harden/source")

from agent.base.errors import HardenError
from agent.base.host import Host
from agent.harden.gate.starting_service import start_problem, starting_service
from agent.harden.node.installed_services import installed_units
from agent.k3s.services import K3sUnit, OtherProgram

WATCHED = ("/srv/policy.yaml", "/var/lib/rancher/k3s/server/audit.yaml", "/srv/real/a.yaml")
"""Files as a configuration names them."""


def described(service: object) -> dict[str, object]:
    if not isinstance(service, K3sUnit):
        return {"unknown": getattr(service, "reason", "nothing")}
    if service.on_host(service.binary) != service.binary:
        return {"unknown": "k3s-config-unknown names the program"}
    return {
        "arguments": [word.text for word in service.arguments],
        "variables": {name: word.text for name, word in service.environment.items()},
        "config": str(service.config_path or ""),
        "files": {path: str(service.on_host(PurePosixPath(path)) or "") for path in WATCHED},
    }


def judged(host: Host, name: str) -> dict[str, object]:
    try:
        start = starting_service(host, name)
        if start is None:
            return {"refused": "no start waits"}
        found = described(start.service)
        path = start.service.config_path if isinstance(start.service, K3sUnit) else None
        return {**found, "changed": start_problem(host, start, path) if path else ""}
    except HardenError as error:
        return {"refused": error.message}


def predicted(host: Host, named: str) -> dict[str, object]:
    """Return what is predicted of each service. systemd is asked about all services, or only about the named one."""
    others: list[OtherProgram] = []
    units = installed_units(host, [], others, named)
    found = {unit.path.stem: described(unit) for unit in units}
    return {**found, **{other.unit.stem: described(other) for other in others}}


host = Host.real()
name = os.environ.get("K3S_HARDEN_SERVICE")
if name:
    Path("/run/judged", name).write_text(json.dumps(judged(host, name)))
else:
    sys.stdout.write(json.dumps({"predicted": predicted(host, ""), "read": predicted(host, "none")}))
