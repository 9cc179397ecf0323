"""A program of the image that was taken over, and what it attacks on a node.

`python -m tests.k8s.taken_over PROGRAM ADDRESS` opens the targets on the node, with a static program for the one that
sets the user; see break_out.py.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
from contextlib import suppress
from pathlib import Path

from tests.k8s import break_out

IMAGE = "docker.io/library/taken-over:test"
_LIBRARY = "opt/k3s-harden/bin/_internal/python3.11/lib-dynload"


def taken_over(archive: Path, directory: Path) -> Path:
    """Return the archive of an image with another layer, in which break_out.py replaces a module of the program."""
    layout, layer, made = directory / "layout", directory / "layer.tar", directory / "taken-over.tar"
    layout.mkdir()
    subprocess.run(("tar", "--extract", "--file", archive, "--directory", layout), check=True)
    with tarfile.open(layer, "w") as contents:
        contents.add(break_out.__file__, f"{_LIBRARY}/_hashlib.py")
        # A file with such a name removes another one (OCI image specification, layer.md).
        name = f".wh._hashlib.cpython-311-{os.uname().machine}-linux-gnu.so"
        contents.addfile(tarfile.TarInfo(f"{_LIBRARY}/{name}"))
    index = layout / "index.json"
    (image,) = json.loads(index.read_bytes())["manifests"]
    name = f"{layout}:{image['annotations']['org.opencontainers.image.ref.name']}"
    subprocess.run(("umoci", "raw", "add-layer", "--image", name, str(layer)), check=True, capture_output=True)
    described = json.loads(index.read_bytes())
    described["manifests"][0]["annotations"]["io.containerd.image.name"] = IMAGE
    index.write_text(json.dumps(described), encoding="utf-8")
    with tarfile.open(made, "w") as contents:
        contents.add(layout, "")
    return made


def main(program: Path, address: str) -> None:
    """Open the targets, and tell each client of the bus as which user it is seen, until this process ends."""
    os.umask(0)
    bus = _listener(socket.AF_UNIX, _new(break_out.BUS))
    _listener(socket.AF_UNIX, break_out.ABSTRACT)
    _listener(socket.AF_INET, (address, break_out.SUPERVISOR))
    os.mkfifo(_new(break_out.FIFO), 0o600)
    os.open(break_out.FIFO, os.O_RDWR)
    shutil.copy(program, _new(break_out.AS_ROOT))
    Path(break_out.AS_ROOT).chmod(0o4755)
    Path(break_out.OF_ROOT).touch(0o644)
    Path(break_out.OF_EVERYBODY).mkdir(0o777)
    os.mkfifo(_new(break_out.OUTPUT), 0o600)
    os.write(os.open(break_out.OUTPUT, os.O_RDWR), b"of a container\n")
    messages = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    messages.bind(break_out.MESSAGES)
    for lock in (*break_out.LOCKS, break_out.SHARED):
        Path(_new(lock)).touch(0o600)
    Path(break_out.SHARED).write_text("of root", encoding="ascii")
    break_out.call("shmget", break_out.SHARED_MEMORY, ctypes.c_size_t(1), 0o1600)
    terminal, user = os.openpty()
    os.write(terminal, b"a password\n")
    handles = map(_handle, (break_out.OF_ROOT, break_out.OF_EVERYBODY))
    Path(break_out.TARGETS).write_text(
        f"{os.getpid()} {address} {' '.join(handles)} {os.ttyname(user)}", encoding="ascii"
    )
    while True:
        client, _ = bus.accept()
        _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        with suppress(OSError):  # the client may have left
            client.sendall(str(uid).encode())


def _handle(path: str) -> str:
    """Return the handle of a file: name_to_handle_at(2)."""
    handle, mount = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 136), ctypes.c_int()
    break_out.call("syscall", break_out.NAME_TO_HANDLE_AT, -100, os.fsencode(path), handle, ctypes.byref(mount), 0)
    return handle.raw.hex()


def _new(path: str) -> str:
    Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


def _listener(family: int, address: str | tuple[str, int]) -> socket.socket:
    """Return a socket at which connections are accepted, which the kernel does without this process."""
    listening = socket.socket(family)
    listening.bind(address)
    listening.listen(100)
    _OPEN.append(listening)
    return listening


_OPEN: list[socket.socket] = []


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
