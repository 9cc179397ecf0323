"""Runs in the place of K3s: records its arguments and variables, and the configuration file that it reads."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

arguments = sys.argv[1:]
role = next((at for at, word in enumerate(arguments) if word in ("server", "agent")), 0)
arguments = arguments[role + 1 :]
# k3s pkg/configfilearg/parser.go, findConfigFileFlag.
config = os.environ.get("K3S_CONFIG_FILE", "")
for at, word in enumerate(arguments):
    name, equals, value = word.partition("=")
    if not config and name in ("--config", "-c"):
        config = value if equals else "".join(arguments[at + 1 : at + 2])
        break
try:
    content = Path(config or "/etc/rancher/k3s/config.yaml").read_text()
except (OSError, ValueError):
    content = ""
service = Path("/proc/self/cgroup").read_text().rpartition("/")[2].strip()
# OpenRC 0.63 does not pass on RC_SVCNAME. The reader of scripts does not follow a variable in capitals.
by_openrc = os.environ.get("seen_as", "")  # noqa: SIM112
name = by_openrc or service.removesuffix(".service")
variables = {key: value for key, value in os.environ.items() if key.startswith("K3S_")}
Path("/run/seen", name).write_text(json.dumps({"arguments": arguments, "variables": variables, "content": content}))
if by_openrc:  # it would start a program that ends again, and the gate with it
    signal.pause()
