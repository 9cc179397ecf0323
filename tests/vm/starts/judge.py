"""Runs in the place of the gate: records what it judges of the start that waits for it, and what is predicted of it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, "/root/k3s-harden/source")

from agent.base.errors import HardenError
from agent.base.host import Host
from agent.harden.node.services import installed_units
from agent.harden.node.starting_service import start_problem, starting_service
from agent.k3s.services import K3sUnit


def described(service: object) -> dict[str, object]:
    """Return what is known of a service."""
    if not isinstance(service, K3sUnit):
        return {"unknown": getattr(service, "reason", "nothing")}
    return {
        "arguments": [word.text for word in service.arguments],
        "variables": {name: word.text for name, word in service.environment.items()},
        "config": str(service.config_path or ""),
    }


def judged(host: Host, name: str) -> dict[str, object]:
    """Return what is judged, or why it is refused."""
    try:
        start = starting_service(host, name)
        if start is None:
            return {"refused": "no start waits"}
        found = described(start.service)
        path = start.service.config_path if isinstance(start.service, K3sUnit) else None
        return {**found, "changed": start_problem(host, start, path, ()) if path else ""}
    except HardenError as error:
        return {"refused": error.message}


name = os.environ["K3S_HARDEN_SERVICE"]
host = Host.real()
others: list[object] = []
units = installed_units(host, [], others, f"{name}.service")  # type: ignore[arg-type]
named = [unit for unit in units if unit.path.name.removesuffix(".service") == name]
unnamed = [other for other in others if other.unit.name.removesuffix(".service") == name]  # type: ignore[attr-defined]
result = {"judged": judged(host, name), "predicted": described(next(iter((*named, *unnamed)), None))}
Path("/run/judged", name).write_text(json.dumps(result))
