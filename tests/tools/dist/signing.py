"""Signatures with the keys of the caller, by GnuPG and OpenSSH."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.tools.dist.tools import CannotBuildError, run

KEYRING = "k3s-harden"
"""The name of the file with the public keys of GnuPG, without its suffix."""
_SSH_IDENTITY = "k3s-harden-releases"


def sign(file: Path, keys: Sequence[str], ssh_key: str) -> list[Path]:
    """Sign a file beside it, and write the public keys; return the files of both."""
    signature, keyring, ssh_signature, signers = (file.with_name(name) for name in signature_files(file.name))
    if keys:
        gpg("--armor", "--detach-sign", "--output", signature, file, keys=keys)
        gpg("--output", keyring, "--export", *keys)
    if ssh_key:
        public = Path(f"{ssh_key.removesuffix('.pub')}.pub")
        if not public.exists():
            raise CannotBuildError(f"{public} is missing, the public half of the SSH key")
        ssh_signature.unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-Y", "sign", "-f", ssh_key, "-n", "file", file)
        words = public.read_text(encoding="utf-8").split()[:2]
        signers.write_text(f'{_SSH_IDENTITY} namespaces="file" {" ".join(words)}\n', encoding="utf-8")
    return [made for made in (signature, keyring, ssh_signature, signers) if made.exists()]


def signature_files(name: str) -> tuple[str, str, str, str]:
    """Return the names of the signature of GnuPG, its public keys, the signature of OpenSSH, and its public keys."""
    return (f"{name}.asc", f"{KEYRING}.gpg", f"{name}.sig", "allowed_signers")


def gpg(*words: str | Path, keys: Sequence[str] = ()) -> None:
    """Run GnuPG, which signs with all of these keys."""
    signers = [word for key in keys for word in ("--local-user", key)]
    run("gpg", "--quiet", "--yes", *signers, *words)
