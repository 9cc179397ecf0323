"""Runs in the place of K3s: records its arguments and variables, and the files that it reads."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

arguments = sys.argv[1:]
role = next((at for at, word in enumerate(arguments) if word in ("server", "agent")), 0)


def configured() -> str:
    """Return the path of the main configuration file (k3s, pkg/configfilearg/parser.go, findConfigFileFlag)."""
    if os.environ.get("K3S_CONFIG_FILE"):
        return os.environ["K3S_CONFIG_FILE"]
    for at, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name in ("--config", "-c"):
            return value if equals else "".join(arguments[at + 1 : at + 2])
    return "/etc/rancher/k3s/config.yaml"


def read(config: str) -> str:
    """Return the content of the file and of its drop-ins (readConfigFile). K3s exits at an error of another kind."""
    try:
        files = sorted(name for name in os.listdir(f"{config}.d") if name.endswith(".yaml"))  # noqa: PTH208 - as it is
    except FileNotFoundError:
        files = []
    paths = [f"{config}.d/{name}" for name in files]
    try:
        os.stat(config)  # noqa: PTH116 - pathlib drops a slash at the end
        paths.insert(0, config)
    except FileNotFoundError:
        pass
    texts = []
    for path in paths:
        with open(path, errors="replace") as file:  # noqa: PTH123 - as above
            texts.append(file.read())
    return "".join(texts)


def seen(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


config = configured()
content = read(config) if config else ""
service = Path("/proc/self/cgroup").read_text().rpartition("/")[2].strip()
# OpenRC 0.63 does not pass on RC_SVCNAME. The reader of scripts does not follow a variable in capitals.
by_openrc = os.environ.get("seen_as", "")  # noqa: SIM112
name = by_openrc or service.removesuffix(".service")
variables = {key: value for key, value in os.environ.items() if key.startswith("K3S_")}
files = {
    path: seen(path) for path in ("/srv/policy.yaml", "/var/lib/rancher/k3s/server/audit.yaml", "/srv/real/a.yaml")
}
found = {
    "arguments": arguments[role + 1 :],
    "variables": variables,
    "config": config,
    "content": content,
    "files": files,
}
Path("/run/seen", name).write_text(json.dumps(found))
if by_openrc:  # it would start a program that ends again, and the gate with it
    signal.pause()
