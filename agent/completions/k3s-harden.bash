_k3s_harden_completion() {
    local IFS=$'\n'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" \
                   _K3S_HARDEN_COMPLETE=complete_bash "$1" 2>/dev/null ) )
    return 0
}

complete -o default -F _k3s_harden_completion k3s-harden
