"""What to do after a run: the next steps, and the commands that install, start and restart K3s. Pure."""
