"""Rules of the operating system: sysctl.d precedence, glob patterns, systemd unit files."""
