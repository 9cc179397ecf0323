"""Completion of k3s-harden in bash, zsh and fish, with the scripts that `install` or a package writes."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

_NAMES = {"bash": "k3s-harden.bash", "zsh": "_k3s-harden", "fish": "k3s-harden.fish"}


def lay_scripts(home: Path, scripts: Mapping[str, bytes]) -> None:
    """Write the script of each shell into a home, which has the program k3s-harden in bin/."""
    for shell, name in _NAMES.items():
        (home / name).write_bytes(scripts[shell])


def assert_completes(home: Path, shell: str, scripts: Mapping[str, bytes]) -> None:
    """Assert that a shell with these scripts completes a verb, an option and a document of the program in bin/."""
    lay_scripts(home, scripts)
    for line, expected in (("bypa", "bypass"), ("assess --bench", "--benchmark"), ("settings ini", "init")):
        words = f"k3s-harden {line}"
        if shell == "zsh":
            shown = in_zsh(home, words, expected)
        else:
            shown = in_bash(home, words) if shell == "bash" else in_fish(home, words)
        assert expected in shown


def in_shell(home: Path, *command: str) -> str:
    """Return what a shell prints, with its errors."""
    path = f"{home}/bin:/usr/local/bin:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": str(home), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    run = subprocess.run(
        command, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return run.stdout


_BASH = """
source {script}
COMP_WORDS=({words}) COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_k3s_harden_completion k3s-harden
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def in_bash(home: Path, words: str) -> str:
    """Return the candidates for the last word."""
    return in_shell(home, "bash", "--norc", "-c", _BASH.format(script=home / "k3s-harden.bash", words=words))


def in_fish(home: Path, line: str) -> str:
    return in_shell(home, "fish", "--no-config", "-c", f"source {home}/k3s-harden.fish; complete -C '{line}'")


_ZSH = """
zmodload zsh/zpty
zpty -b shell zsh -f -i
zpty -w shell "PS1= PROMPT=; fpath=({home} \\$fpath); autoload -Uz compinit; compinit -u -D"
zpty -w shell "bindkey '^I' list-choices; echo rea''dy"
zpty -r -m shell line '*ready*'
zpty -w -n shell $'{words}\\t'
shown=
for i in {{1..{tries}}}; do
    while zpty -r -t shell line; do shown+=$line; done
    [[ $shown == *{until}* ]] && break
    sleep 0.1
done
print -rn -- $shown
zpty -d shell
"""


def in_zsh(home: Path, words: str, until: str, tries: int = 400) -> str:
    """Return what an interactive zsh shows after a TAB, until it shows this, or after some tenths of a second."""
    return in_shell(home, "zsh", "-f", "-c", _ZSH.format(home=home, words=words, until=until, tries=tries))
