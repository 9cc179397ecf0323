"""A guest: a persistent disk, a QEMU process while it is on, and commands run by its guest agent.

QEMU emulates the processor, so no hardware virtualization is required: a boot takes about ten seconds, a saved guest
resumes in half a second. QEMU is killed when the thread that started it ends.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tests.vm.image import Image
from tests.vm.instance import (
    BOOT_TIMEOUT,
    DOWN_TIMEOUT,
    ENVIRONMENT,
    NO_CLOUD_INIT,
    Done,
    GuestError,
    Instance,
    as_user,
    checked,
)

# No panic= here: it would set kernel.panic, which is under test. With -no-reboot, a reset ends QEMU.
_KERNEL_ARGUMENTS = (
    "root=/dev/vda rw console=ttyS0 quiet loglevel=4 systemd.show_status=1 systemd.ssh_auto=no mitigations=off"
    " init_on_alloc=0 cryptomgr.notests random.trust_cpu=on 8250.nr_uarts=1"
)
_HOPELESS = re.compile(
    r"Kernel panic|You are in (?:emergency|rescue) mode|can't mount|Failed to start.*qemu-guest-agent"
)
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[A-Z])|\r")

# In seconds; each is at least twice the longest observed time.
_RESUME_TIMEOUT = 30.0
_CALL_TIMEOUT = 120.0


class Saved(NamedTuple):
    """A frozen guest: its disk, which must not be written to, and its memory."""

    disk: Path
    memory: Path


class Guest(Instance):
    """A virtual machine with its own disk; off until boot() or, for a saved guest, resume()."""

    def __init__(self, directory: Path, image: Image, saved: Saved | None = None) -> None:
        super().__init__(directory, image.suite)
        self.disk = directory / "disk.qcow2"
        self._complaints = directory / "qemu.stderr"
        self._image = image
        self._saved = saved
        self._qemu: subprocess.Popen[bytes] | None = None
        self._lines: tuple[socket.socket, ...] = ()
        base, kind = (image.disk, "raw") if saved is None else (saved.disk, "qcow2")
        _tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", kind, str(self.disk))

    # --- power ---

    def start_boot(self, seed: Path | None = None) -> None:
        """Power on, with an optional directory as second disk, and wait for the guest agent."""
        self._start(_seed_disk(seed) if seed else None)
        self.wait_for_agent(BOOT_TIMEOUT)

    def resume(self) -> None:
        """Continue from the state of the saved guest."""
        if self._saved is None:
            raise GuestError(f"cannot resume {self.name}: it was not created from a saved guest")
        self._start(None, "-incoming", "defer")
        self._monitor("migrate-incoming", uri=f"exec:cat {shlex.quote(str(self._saved.memory))}")
        deadline = time.monotonic() + _RESUME_TIMEOUT
        while self._monitor("query-status")["status"] == "inmigrate":
            if time.monotonic() > deadline:
                self.fail("cannot load the saved memory in time")
            time.sleep(0.01)
        self._monitor("cont")
        self.wait_for_agent(_RESUME_TIMEOUT)
        # Its clock stopped while it was frozen.
        self.run(f"date --set=@{time.time():.3f}")

    def save(self) -> Saved:
        """Freeze the guest and return its state, from which other guests are created; this one cannot continue."""
        memory = self.disk.with_name("memory")
        self.run("sync")
        self._monitor("stop")
        # QEMU before 8.2 has no file: transport.
        self._monitor("migrate", uri=f"exec:cat >{shlex.quote(str(memory))}")
        deadline = time.monotonic() + DOWN_TIMEOUT
        while (status := self._monitor("query-migrate")["status"]) != "completed":
            if status == "failed" or time.monotonic() > deadline:
                self.fail(f"cannot save the memory: {status}")
            time.sleep(0.02)
        self._monitor("quit")
        self._wait_for_end()
        return Saved(self.disk, memory)

    def shut_down(self) -> None:
        # The agent's own guest-shutdown runs shutdown(8), which needs logind in older releases; the image has none.
        command = {
            "path": "/bin/systemctl",
            "arg": ["--no-block", "--job-mode=replace-irreversibly", "start", "poweroff.target"],
        }
        self._agent.send({"execute": "guest-exec", "arguments": command})
        self._wait_for_end()

    def cut_power(self) -> None:
        """Power off without a shutdown; no effect if the guest is off."""
        if self._qemu is not None:
            self._qemu.kill()
            self._wait_for_end()

    def remove_disk(self) -> None:
        self.disk.unlink()

    @property
    def is_on(self) -> bool:
        """Whether the guest is on."""
        return self._qemu is not None and self._qemu.poll() is None

    # --- inside ---

    def wait_for_agent(self, timeout: float) -> None:
        """Wait for the guest agent; fail at once if the console shows that the boot failed."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not self.is_on:
                self.fail("QEMU ended during the boot")
            if found := _HOPELESS.search(self.console):
                time.sleep(1)
                self.fail(f"the boot ended in {found[0]!r}")
            number = time.monotonic_ns()  # so that the answer to an earlier call is not used
            try:
                self._agent.send({"execute": "guest-sync", "arguments": {"id": number}})
                while self._agent.receive(0.5).get("return") != number:
                    pass
            except TimeoutError:
                continue
            except (OSError, EOFError):
                self.fail("the connection to the guest agent was closed")
            return
        self.fail(f"the guest agent did not answer within {timeout:g} s")

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
        words = as_user(command, user)
        options = {"input-data": base64.b64encode(stdin).decode()} if stdin else {}
        started = self._ask_agent(
            "guest-exec", path=words[0], arg=words[1:], env=ENVIRONMENT, **{"capture-output": True}, **options
        )
        began = time.monotonic()
        while not (status := self._ask_agent("guest-exec-status", pid=started["pid"]))["exited"]:
            taken = time.monotonic() - began
            if taken > timeout:
                self.fail(f"still running after {timeout:g} s: {command}")
            # The guest has one processor, and each query takes time from the command.
            time.sleep(min(0.02 + taken / 10, 0.5))
        done = Done(
            status.get("exitcode", 128 + status.get("signal", 0)),
            *(base64.b64decode(status.get(name, "")).decode(errors="replace") for name in ("out-data", "err-data")),
        )
        return checked(self, command, done) if check else done

    @property
    def console(self) -> str:
        return _ESCAPES.sub("", self.console_log.read_text(errors="replace"))

    def console_on(self, path: Path) -> socket.socket:
        """Redirect the console from its log to a new socket at this path; return the other end."""
        address = {"type": "unix", "data": {"path": str(path)}}
        backend = {"type": "socket", "data": {"addr": address, "server": True, "wait": False}}
        self._monitor("chardev-change", id="console", backend=backend)
        line = socket.socket(socket.AF_UNIX)
        line.connect(str(path))
        return line

    def fail(self, message: str) -> NoReturn:
        """Raise GuestError with the end of the console and QEMU's errors."""
        super().fail(f"{message}\n--- QEMU\n{self._complaints.read_text(errors='replace')[-2000:]}")

    # --- QEMU ---

    def _start(self, seed: Path | None, *options: str) -> None:
        if self.is_on:
            raise GuestError(f"cannot start {self.name}: it is already on")
        monitor, its_monitor = socket.socketpair()
        agent, its_agent = socket.socketpair()
        kernel_arguments = f"{_KERNEL_ARGUMENTS} {self._image.kernel_arguments}{'' if seed else f' {NO_CLOUD_INIT}'}"
        words = [
            *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-name", self.name),
            # One processor: two guests with one each are faster on two cores than one guest with two.
            *("-accel", "tcg", "-machine", "q35", "-cpu", "qemu64", "-smp", "1", "-m", "1024"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd), "-append", kernel_arguments),
            *("-chardev", f"file,id=console,path={self.console_log}", "-serial", "chardev:console"),
            *_drive("root", self.disk, "qcow2"),
            *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
            *("-chardev", f"socket,id=agent,fd={its_agent.fileno()}"),
            *("-chardev", f"socket,id=monitor,fd={its_monitor.fileno()}", "-mon", "chardev=monitor,mode=control"),
            *(_drive("seed", seed, "raw", ",readonly=on") if seed else ()),
            *options,
        ]
        self.console_log.write_bytes(b"")
        with self._complaints.open("wb") as complaints:
            self._qemu = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=complaints,
                stderr=complaints,
                start_new_session=True,
                pass_fds=(its_agent.fileno(), its_monitor.fileno()),
            )
        its_monitor.close()
        its_agent.close()
        self._lines = (monitor, agent)
        self._monitor_line, self._agent = _JsonLine(monitor), _JsonLine(agent)
        try:
            self._monitor_line.receive(_CALL_TIMEOUT)
        except (OSError, EOFError):
            self.fail("cannot start QEMU")
        self._monitor("qmp_capabilities")

    def _monitor(self, command: str, **arguments: object) -> dict[str, Any]:
        self._monitor_line.send({"execute": command, "arguments": arguments})
        while True:
            try:
                answer = self._monitor_line.receive(_CALL_TIMEOUT)
            except (OSError, EOFError) as error:
                self.fail(f"no answer from QEMU to {command}: {error!r}")
            if "error" in answer:
                self.fail(f"QEMU rejects {command}: {answer['error']}")
            if "return" in answer:
                return dict(answer["return"])

    def _ask_agent(self, command: str, **arguments: object) -> dict[str, Any]:
        try:
            self._agent.send({"execute": command, "arguments": arguments})
            answer = self._agent.receive(_CALL_TIMEOUT)
        except (OSError, EOFError) as error:
            self.fail(f"no answer from the guest agent to {command}: {error!r}")
        if "error" in answer:
            self.fail(f"the guest agent rejects {command}: {answer['error']}")
        return dict(answer["return"])

    def _wait_for_end(self) -> None:
        assert self._qemu is not None
        try:
            self._qemu.wait(DOWN_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.fail("still on after the shutdown")
        self._qemu = None
        for line in self._lines:
            line.close()
        self._lines = ()


class _JsonLine:
    """A socket that carries one JSON object per line."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._received = b""

    def send(self, message: object) -> None:
        self._line.settimeout(_CALL_TIMEOUT)
        self._line.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while b"\n" not in self._received:
            self._line.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self._line.recv(1 << 16)
            if not data:
                raise EOFError("closed")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


def _seed_disk(seed: Path) -> Path:
    """Create a disk with the label of cloud-init's NoCloud from a directory."""
    disk = seed.with_suffix(".iso")
    _tool("genisoimage", "-quiet", "-output", str(disk), "-volid", "cidata", "-joliet", "-rock", str(seed))
    return disk


def _drive(name: str, file: Path, kind: str, options: str = "") -> tuple[str, ...]:
    # Write-through: data that the guest has synced survives a power cut.
    drive = f"file={file},format={kind},if=none,id={name},cache=writethrough{options}"
    return ("-drive", drive, "-device", f"virtio-blk-pci,drive={name},serial={name}")


def _tool(*words: str) -> None:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True)
    if done.returncode:
        raise GuestError(f"cannot prepare a guest: {words[0]}: {done.stderr.strip()}")
