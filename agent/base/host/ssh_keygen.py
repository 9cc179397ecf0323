"""Signatures of files by ssh-keygen of OpenSSH 8.1 or newer."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import InputError, UnsupportedHostError
from agent.base.host.directories import DirectoryEntry
from agent.base.host.process import SEARCH_PATH
from agent.base.host.temporary import memory_file
from agent.base.linux.file_systems import REGULAR_FILE
from agent.base.model import Location
from agent.base.repair import Instruction

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from agent.base.host import Host

NAMESPACE = "k3s-harden"
"""What a signature is for: a signature of the same key for something else is not valid here."""

SIGNERS_DECIDE = "it decides which signatures are valid"

_TIMEOUT = 120.0
"""Seconds; a person may have to type a passphrase."""
_INSTALL = "install OpenSSH 8.1 or newer"
_KEY = f"check the key, whose passphrase requires a terminal or ssh-agent; or {_INSTALL}"


def signature_path(path: PurePosixPath) -> PurePosixPath:
    """Return the path of a file's signature, as ssh-keygen names it."""
    return path.with_name(f"{path.name}.sig")


def signature(host: Host, data: bytes, key: PurePosixPath) -> bytes:
    """Return a signature by a private key, or by an agent for a public one. Raises UnsupportedHostError."""
    found = host.machine_tree.stat(key)
    if isinstance(found, DirectoryEntry) and found.kind != REGULAR_FILE:  # ssh-keygen would wait for a FIFO
        raise UnsupportedHostError(f"cannot sign the report with {key}: it is a {found.kind}", Instruction(_KEY))
    directory = _private_directory(host)
    if directory is None or not os.isatty(0):
        return _signed(host, key, data=data).stdout
    from pathlib import Path
    from tempfile import TemporaryDirectory

    # ssh-keygen asks for a passphrase only if the data is in a file, and then writes the signature beside it.
    with TemporaryDirectory(prefix="k3s-harden-", dir=directory) as own:
        file = Path(own, "report")
        file.write_bytes(data)
        _signed(host, key, str(file))
        return file.with_name("report.sig").read_bytes()


def _private_directory(host: Host) -> PurePosixPath | None:
    """Return a directory in which only root and this user can create files, whatever the environment names."""
    user = os.geteuid()
    directory = PurePosixPath(f"/run/user/{user}" if user else "/run")
    return None if host.machine_tree.trust_problem(directory) else directory


def _signed(host: Host, key: PurePosixPath, *files: str, data: bytes | None = None) -> CompletedProcess[bytes]:
    done = _ssh_keygen(host, "sign", "-n", NAMESPACE, "-f", str(key), *files, data=data)
    if done.returncode:
        raise UnsupportedHostError(f"cannot sign the report with {key}: {_first_line(done)}", Instruction(_KEY))
    return done


def verified_signer(host: Host, data: bytes, path: PurePosixPath, signers: PurePosixPath) -> str:
    """Return the allowed signer of a file. Raises InputError if there is none, and UnsupportedHostError.

    ssh-keygen reads copies of the other files, which can be replaced by a FIFO.
    """
    read = host.machine_tree.read_input
    with memory_file(read(signers)) as allowed, memory_file(read(signature_path(path))) as signed:
        host.machine_tree.require_trust(signers, SIGNERS_DECIDE)
        files = ("-f", allowed, "-s", signed)
        done = _ssh_keygen(host, "find-principals", *files)
        for name in done.stdout.decode(errors="replace").replace(",", "\n").splitlines():
            done = _ssh_keygen(host, "verify", "-n", NAMESPACE, "-I", name, *files, data=data)
            if not done.returncode:
                return name
    why = _first_line(done).replace(allowed, str(signers)).replace(signed, str(signature_path(path)))
    problem = f"{signature_path(path)} is no valid signature of an allowed signer: {why}"
    raise InputError(Location(path), problem, Instruction("use a baseline that one of the allowed signers signed"))


def signature_problem(host: Host, data: bytes, signed: bytes, keys: str) -> str:
    """Return why a signature is not valid for lines of allowed signers without their names; empty if it is."""
    lines = "".join(f"signer {key}\n" for key in keys.rstrip("\n").split("\n"))
    with memory_file(lines.encode()) as allowed, memory_file(signed) as signature_file:
        files = ("-f", allowed, "-s", signature_file)
        done = _ssh_keygen(host, "verify", "-n", NAMESPACE, "-I", "signer", *files, data=data)
    return _first_line(done) if done.returncode else ""


def _ssh_keygen(host: Host, action: str, *arguments: str, data: bytes | None = None) -> CompletedProcess[bytes]:
    """Run ssh-keygen, which reads `data`, or asks for a passphrase if standard input is a terminal."""
    import subprocess

    program = host.trusted_tool("ssh-keygen")
    if program is None:
        raise UnsupportedHostError("cannot use signatures: found no program ssh-keygen", Instruction(_INSTALL))
    agent = os.environ.get("SSH_AUTH_SOCK", "")
    try:
        return subprocess.run(  # noqa: S603 - a list of words, no shell
            [str(program), "-Y", action, *arguments],
            input=data,
            stdin=None if data is not None or os.isatty(0) else subprocess.DEVNULL,
            capture_output=True,
            env={"PATH": ":".join(SEARCH_PATH), "LC_ALL": "C.UTF-8", "SSH_AUTH_SOCK": agent},
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnsupportedHostError(f"cannot run {program}: it did not finish within {_TIMEOUT:g} s") from error


def _first_line(done: CompletedProcess[bytes]) -> str:
    return (done.stderr or done.stdout or b"it failed").decode(errors="replace").splitlines()[0]
