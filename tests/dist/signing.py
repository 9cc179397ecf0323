"""Signatures with the keys of the caller, by GnuPG and OpenSSH."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.dist.tools import run

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYRING = "k3s-harden"
"""The name of the file with the public keys of GnuPG, without its suffix."""
_SSH_IDENTITY = "k3s-harden-releases"


def sign(file: Path, keys: Sequence[str], ssh_key: str) -> list[Path]:
    """Sign a file beside it, and write the public keys; return the files of both."""
    signature, keyring = file.with_name(f"{file.name}.asc"), file.with_name(f"{KEYRING}.gpg")
    ssh_signature, signers = file.with_name(f"{file.name}.sig"), file.with_name("allowed_signers")
    for old in (signature, keyring, ssh_signature, signers):
        old.unlink(missing_ok=True)
    made = []
    if keys:
        gpg("--armor", "--detach-sign", "--output", signature, file, keys=keys)
        gpg("--output", keyring, "--export", *keys)
        made += [signature, keyring]
    if ssh_key:
        run("ssh-keygen", "-q", "-Y", "sign", "-f", ssh_key, "-n", "file", file)
        public = Path(f"{ssh_key.removesuffix('.pub')}.pub").read_text(encoding="utf-8")
        signers.write_text(f'{_SSH_IDENTITY} namespaces="file" {" ".join(public.split()[:2])}\n', encoding="utf-8")
        made += [ssh_signature, signers]
    return made


def gpg(*words: str | Path, keys: Sequence[str] = ()) -> None:
    """Run GnuPG, which signs with all of these keys."""
    signers = [word for key in keys for word in ("--local-user", key)]
    run("gpg", "--quiet", "--yes", *signers, *words)
