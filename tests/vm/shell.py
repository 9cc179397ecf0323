"""A guest for manual tests, with the working tree's package and a stand-in for K3s: `make vm-shell`.

This terminal is connected to a root shell on the guest's console. The guest and its disk are removed when it ends.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import sys
import tempfile
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tools.dist.build import build
from tests.vm import image
from tests.vm.node import GuestNode, put_package, put_stand_in

_GREETING = """\
The package of the working tree is installed, and a stand-in for k3s is enabled but not started. Examples:
  systemctl start k3s; systemctl status k3s-harden; k3s-harden check; cat /var/lib/k3s-stand-in/starts
`exit` ends the guest.
"""

# The guest powers off when the shell ends for any reason.
_SHELL = (
    "systemd-run --quiet --collect --property=StandardInput=tty-force --property=StandardOutput=tty"
    " --property=TTYPath=/dev/ttyS0 --property=ExecStopPost='systemctl poweroff --force'"
    " --property=TTYRows={lines} --property=TTYColumns={columns} --property=WorkingDirectory=~ --setenv=TERM={term}"
    " /bin/bash --login"
)


def main() -> None:
    """Create the guest, and connect terminal and console until the guest ends."""
    _say("building the image unless it is cached")
    made = image.ready()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        _say("building the package")
        package = next(file for file in build(directory / "dist") if file.suffix == ".deb")
        with GuestNode(directory / "guest", made) as node:
            _say("booting")
            node.boot()
            _say("installing")
            put_package(node, package)
            put_stand_in(node)
            node.install_k3s()
            _join(node, directory / "console")
    _say("the guest has ended")


def _join(node: GuestNode, path: Path) -> None:
    columns, lines = shutil.get_terminal_size()
    with node.console_on(path) as console, _raw_terminal():
        node.run(_SHELL.format(lines=lines, columns=columns, term=os.environ.get("TERM", "vt220")))
        sys.stdout.write(_GREETING.replace("\n", "\r\n"))
        sys.stdout.flush()
        _copy_both_ways(console)


def _copy_both_ways(console: socket.socket) -> None:
    while True:
        for ready in select.select([console, sys.stdin], [], [])[0]:
            data = console.recv(4096) if ready is console else os.read(sys.stdin.fileno(), 4096)
            if not data:
                return
            if ready is console:
                sys.stdout.buffer.write(data)
                sys.stdout.flush()
            else:
                console.sendall(data)


@contextmanager
def _raw_terminal() -> Iterator[None]:
    """Pass each key to the guest; restore the terminal at the end."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
