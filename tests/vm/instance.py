"""What a virtual machine and a container have in common: power, commands and files."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from typing_extensions import Self

ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root")
NO_CLOUD_INIT = "cloud-init=disabled"

# In seconds; each is at least twice the longest observed time.
BOOT_TIMEOUT = 400.0
DOWN_TIMEOUT = 60.0


class GuestError(Exception):
    """An operation on the guest failed; the message ends with the last lines of its console."""


class Done(NamedTuple):
    """Exit code and output of a command in the guest."""

    code: int
    out: str
    err: str


class Instance(ABC):
    """A Debian with its own systemd and a disk that survives a reboot; off until boot()."""

    def __init__(self, directory: Path, suite: str) -> None:
        directory.mkdir()
        self.name = directory.name
        self.suite = suite
        self.console_log = directory / "console.log"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut_power()

    @property
    @abstractmethod
    def is_on(self) -> bool:
        """Whether the instance is on."""

    @abstractmethod
    def start_boot(self, seed: Path | None = None) -> None:
        """Power on, with an optional directory as cloud-init's seed, and wait until commands can run."""

    @abstractmethod
    def resume(self) -> None:
        """Power on an instance that was created from a saved one, in the state in which that one was saved."""

    @abstractmethod
    def shut_down(self) -> None:
        """Shut down in an orderly way."""

    @abstractmethod
    def cut_power(self) -> None:
        """Power off without a shutdown; no effect if it is off."""

    @abstractmethod
    def remove_disk(self) -> None:
        """Remove the disk of an instance that is off."""

    @abstractmethod
    def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = True,
        timeout: float = 120,
        stdin: bytes = b"",
        user: str = "root",
    ) -> Done:
        """Run a program, or a string with sh. Raises GuestError if it fails, unless `check` is False."""

    @property
    def console(self) -> str:
        return self.console_log.read_text(errors="replace") if self.console_log.exists() else ""

    def fail(self, message: str) -> NoReturn:
        tail = "\n".join(self.console.splitlines()[-40:])
        raise GuestError(f"{self.name}: {message}\n--- console\n{tail}")

    def boot(self, seed: Path | None = None) -> None:
        """Power on and wait for the end of the boot; a failed unit is not an error here."""
        self.start_boot(seed)
        self.run("systemctl is-system-running --wait", check=False, timeout=BOOT_TIMEOUT)

    def reboot(self, seed: Path | None = None) -> None:
        self.shut_down()
        self.boot(seed)

    def put(self, path: str, content: str | bytes, mode: str = "0644") -> None:
        data = content if isinstance(content, bytes) else content.encode()
        self.run(("/usr/bin/install", "-D", "-m", mode, "/dev/stdin", path), stdin=data)

    def read(self, path: str) -> str:
        return self.run(("/bin/cat", path)).out

    def wait_until(self, command: str, timeout: float = 120) -> None:
        deadline = time.monotonic() + timeout
        while self.run(command, check=False).code:
            if time.monotonic() > deadline:
                self.fail(f"still failing after {timeout:g} s: {command}")
            time.sleep(0.5)


def as_user(command: str | Sequence[str], user: str) -> list[str]:
    """Return the words that run a program, or a string with sh, as a user."""
    words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    return words if user == "root" else ["runuser", "-u", user, "--", *words]


def checked(instance: Instance, command: str | Sequence[str], done: Done) -> Done:
    """Return the result of a command. Raises GuestError if it failed."""
    if done.code:
        raise GuestError(f"{instance.name}: exit code {done.code} of: {command}\n{done.out}{done.err}")
    return done
