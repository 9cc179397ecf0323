function __k3s_harden_completion
    set --local candidates (env _K3S_HARDEN_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS=(commandline -cp) k3s-harden 2>/dev/null)
    if test -n "$candidates"
        printf '%s\n' $candidates
    else
        __fish_complete_path (commandline -ct)
    end
end

complete --command k3s-harden --no-files --arguments '(__k3s_harden_completion)'
