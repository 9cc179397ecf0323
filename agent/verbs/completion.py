"""Shell completion scripts, which the packages and `install` install."""

from __future__ import annotations


def script(shell: str) -> bytes:
    """Return the completion script for bash, zsh or fish."""
    from typer._completion_shared import get_completion_script

    text = get_completion_script(prog_name="k3s-harden", complete_var="_K3S_HARDEN_COMPLETE", shell=shell)
    return f"{text}\n".encode()
