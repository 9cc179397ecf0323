"""Shell completion scripts, which the packages and `install` install.

They speak Typer's protocol, as the scripts of --show-completion do. Unlike those, they hide all errors, such as
those of a program that this user must not run, complete at the first attempt in zsh, and run the program once in fish.
"""

from __future__ import annotations

_SCRIPTS = {
    "bash": """\
_k3s_harden_completion() {
    local IFS=$'\\n'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" \\
                   _K3S_HARDEN_COMPLETE=complete_bash "$1" 2>/dev/null ) )
    return 0
}

complete -o default -F _k3s_harden_completion k3s-harden
""",
    "zsh": """\
#compdef k3s-harden

eval "$(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _K3S_HARDEN_COMPLETE=complete_zsh ${(Q)words[1]} 2>/dev/null)"
""",
    "fish": """\
function __k3s_harden_completion
    set --local candidates (env _K3S_HARDEN_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \\
        _TYPER_COMPLETE_ARGS=(commandline -cp) k3s-harden 2>/dev/null)
    if test -n "$candidates"
        printf '%s\\n' $candidates
    else
        __fish_complete_path (commandline -ct)
    end
end

complete --command k3s-harden --no-files --arguments '(__k3s_harden_completion)'
""",
}


def completion_script(shell: str) -> bytes:
    """Return the completion script for bash, zsh or fish."""
    return _SCRIPTS[shell].encode()
