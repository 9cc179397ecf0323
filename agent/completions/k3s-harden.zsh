#compdef k3s-harden

eval "$(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _K3S_HARDEN_COMPLETE=complete_zsh ${(Q)words[1]} 2>/dev/null)"
