"""The scripts that complete the program's words in a shell, as the packages and `install` put them in place."""

from __future__ import annotations


def script(shell: str) -> bytes:
    """What a shell reads to complete the words of k3s-harden: of bash, zsh or fish."""
    from typer._completion_shared import get_completion_script

    text = get_completion_script(prog_name="k3s-harden", complete_var="_K3S_HARDEN_COMPLETE", shell=shell)
    return f"{text}\n".encode()
