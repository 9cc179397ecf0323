"""The part of systemd that this program uses, through systemctl and busctl."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from agent.base.errors import HostError
from agent.base.host import Host
from agent.base.repair import Run
from agent.base.value import Value

_SD_BOOTED = PurePosixPath("/run/systemd/system")
_PROGRAMS = (PurePosixPath("/usr/lib/systemd/systemd"), PurePosixPath("/lib/systemd/systemd"))
_TIMEOUT = 30.0
OLDEST_SYSTEMD = 243
"""The oldest release whose units can gate K3s. The packages declare it too."""

_SYSTEMD, _MANAGER = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
_LARGEST_ANSWER = 1024 * 1024
_LARGEST_LOG = 8 * 1024 * 1024


class Systemd(Value):
    """The systemd of a host."""

    host: Host

    @property
    def is_running(self) -> bool:
        """Return whether systemd is the init of this machine (sd_booted(3)), and can be asked; False for a tree."""
        host = self.host
        return self._is_near and host.tree.exists(_SD_BOOTED) and host.trusted_tool("systemctl") is not None

    @property
    def _is_near(self) -> bool:
        return self.host.is_live and not self.host.pod_node

    def show(self, units: Iterable[str], *properties: str) -> tuple[dict[str, str], ...]:
        """Return properties of these units as systemd has loaded them, one mapping for each unit."""
        output = self._ask("show", f"--property={','.join(properties)}", "--", *sorted(units))
        return tuple(
            dict(line.split("=", 1) for line in unit.splitlines() if "=" in line) for unit in output.split("\n\n")
        )

    def properties(self, unit: str, *, again: bool = False) -> dict[str, Any]:
        """Return the properties of a unit (org.freedesktop.systemd1(5)). Raises HostError without an answer.

        The answer is cached, and asked for `again` on request.
        """
        name = re.sub("[^A-Za-z0-9]", lambda found: f"_{ord(found[0]):02x}", unit)
        words = (f"{_MANAGER}/unit/{name}", "org.freedesktop.DBus.Properties", "GetAll", "s", "")
        (answer,) = self._ask_bus("call", _SYSTEMD, *words, again=again)
        return {name: value["data"] for name, value in answer.items()}

    def log(self, invocation: str, *options: str) -> str:
        """Return what one start of a unit has logged, with options of journalctl(1). Raises HostError."""
        words = ("--quiet", "--no-pager", "--output=cat", f"_SYSTEMD_INVOCATION_ID={invocation}", *options)
        return self.host.run([self._tool("journalctl"), *words], timeout=_TIMEOUT, largest_output=_LARGEST_LOG).stdout

    def environment(self) -> list[str]:
        """Return the variables that systemd passes to each service. Raises HostError without an answer."""
        answer: list[str] = self._ask_bus("get-property", _SYSTEMD, _MANAGER, f"{_SYSTEMD}.Manager", "Environment")
        return answer

    @property
    def reads_units(self) -> bool:
        """Return whether systemd reads unit files here: it runs, or it is installed in a --root tree."""
        return self.is_running if self._is_near else any(map(self.host.tree.exists, _PROGRAMS))

    @property
    def version(self) -> int | None:
        """Return the release of systemd, from the name of its library in a --root tree; None if it is unknown."""
        if self._is_near:
            words = self._ask("--version")
        else:
            words = " ".join(name for place in _PROGRAMS for name in self.host.tree.names(place.parent))
        found = re.search(r"\b(?:systemd |libsystemd-shared-)(\d+)", words)
        return int(found[1]) if found else None

    def stop(self, unit: str) -> None:
        """Queue the stop of a unit without waiting for it."""
        self._ask("stop", "--no-block", unit)

    def start(self, unit: str) -> None:
        """Queue the start of a unit without waiting for it."""
        self._ask("start", "--no-block", unit)

    def reset_failed(self, unit: str) -> None:
        """Forget that a unit failed, and its starts, so that StartLimitBurst= does not refuse the next one."""
        self._ask("reset-failed", unit)

    def run_to_end(self, unit: str, *, timeout: float) -> None:
        """Start a unit of Type=oneshot and wait for it. Raises HostError if it fails or exceeds the timeout."""
        self._ask("start", unit, timeout=timeout)

    def reload(self) -> None:
        """Reload the unit files."""
        self._ask("daemon-reload")

    def _ask(self, *words: str, timeout: float = _TIMEOUT) -> str:
        done = self.host.run([self._tool("systemctl"), *words], timeout=timeout)
        if done.code:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise HostError(f"cannot run systemctl {words[0]}: {reason}")
        return done.stdout

    def _ask_bus(self, *words: str, again: bool = False) -> Any:  # noqa: ANN401 - any type of D-Bus
        import json

        if not self.is_running:
            raise HostError("cannot use systemd: it does not run")
        command = [self._tool("busctl"), "--json=short", *words]
        try:
            ask = self.host.run if again else self.host.ask_once
            done = ask(command, timeout=_TIMEOUT, largest_output=_LARGEST_ANSWER)
            return json.loads(done.stdout)["data"]
        except ValueError as error:
            start = Run("sudo systemctl start dbus.socket")
            raise HostError("cannot use systemd: busctl has no answer", start) from error

    def _tool(self, name: str) -> str:
        tool = self.host.trusted_tool(name)
        if tool is None:
            raise HostError(f"cannot use systemd: there is no {name} that only root can change")
        return str(tool)
