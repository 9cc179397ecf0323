"""Confinement of a process that reads a node, with the capabilities that a pod can have."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

CHECKOUT = Path(__file__).parents[2]
_CONFINED = """
import os, subprocess, sys
from agent.base.host.confinement import confine
root, file = sys.argv[1:]
confine(root)
print(next(line for line in open("/proc/self/status") if line.startswith("CapEff:")).split()[1])
"""
_CHANGES = f"""{_CONFINED}
for change in (lambda: open(file, "w"), lambda: os.truncate(file, 0), lambda: open(f"{{file}}.new", "x")):
    try:
        change()
    except OSError as error:
        print(error.strerror)
print(subprocess.run(["/bin/cat"], stdin=subprocess.DEVNULL).returncode)
"""
_READS = f"""{_CONFINED}
for directory, _, names in os.walk(root):
    for path in (os.path.join(directory, name) for name in names):
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            print(path)
        except PermissionError:
            pass
"""
_LOCKS = f"""{_CONFINED}
import ctypes, fcntl, mmap, socket
descriptor = os.open(file, os.O_RDONLY)
def on_32_bits():
    # mov eax, 143 (flock); mov ecx, LOCK_EX | LOCK_NB; int 0x80; pop rbx; ret
    code = bytes.fromhex("53 89fb b88f000000 b906000000 cd80 5b c3")
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    result = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(start)(descriptor)
    if result < 0:
        raise OSError(-result, os.strerror(-result))
attempts = [lambda: fcntl.flock(descriptor, fcntl.LOCK_SH), lambda: fcntl.lockf(descriptor, fcntl.LOCK_SH)]
attempts += [lambda: socket.socket(socket.AF_UNIX), socket.socketpair]
if os.uname().machine == "x86_64":
    attempts.append(on_32_bits)
for attempt in attempts:
    try:
        attempt()
        print("succeeds")
    except OSError as error:
        print(error.strerror)
os.dup(descriptor)
socket.socket(socket.AF_INET).close()
"""


def run(bounding_set: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python with these capabilities; a program of root has all of the bounding set."""
    command = ("setpriv", f"--bounding-set=-all{bounding_set}", sys.executable, *words)
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file in a directory that is mounted as the root of a node."""
    path = tmp_path / "etc/file"
    path.parent.mkdir()
    path.write_text("content")
    return path


def confined(script: str, tmp_path: Path, file: Path) -> list[str]:
    capability, *lines = run(",+dac_read_search,+dac_override,+kill", "-c", script, tmp_path, file).stdout.splitlines()
    assert capability == f"{1 << 2:016x}"
    return lines


def test_a_confined_process_has_one_capability_and_changes_no_file(tmp_path: Path, file: Path) -> None:
    """Programs that it starts can read from /dev/null."""
    assert confined(_CHANGES, tmp_path, file) == [*3 * ["Permission denied"], "0"]
    assert (list(file.parent.iterdir()), file.read_text()) == ([file], "content")


def test_a_confined_process_opens_no_device_and_no_fifo_of_a_container(tmp_path: Path, file: Path) -> None:
    """It reads the files below /run and /sys that an assessment needs."""
    read = {"run/systemd/system/k3s.service.d/a.conf", "sys/fs/cgroup/cgroup.controllers"}
    for name in (*read, "dev/kmsg", "run/k3s/io", "run/user/1000/file", "run/a.lock", "sys/kernel/debug/a"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (os.mkfifo if path.name == "io" else Path.touch)(path)
    assert set(confined(_READS, tmp_path, file)) == {str(tmp_path / name) for name in (*read, "etc/file")}


def test_a_confined_process_holds_no_lock_and_reaches_no_socket(tmp_path: Path, file: Path) -> None:
    """Nor by the numbers of system calls that 32-bit programs have."""
    attempts = 5 if platform.machine() == "x86_64" else 4
    assert confined(_LOCKS, tmp_path, file) == attempts * ["Operation not permitted"]


def test_without_the_capability_nothing_is_assessed() -> None:
    """Otherwise a file that cannot be read could look like one that does not exist."""
    done = run("", "-m", "agent", "assess-node", "--root", "/", "--node", "node-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot use --root /: this process does not have the capability DAC_READ_SEARCH" in done.stderr
    assert "render assessment-job" in done.stderr
