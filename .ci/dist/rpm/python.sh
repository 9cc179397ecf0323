# Sourced by /usr/bin/k3s-harden and the package's scripts: sets `python` to the interpreter of the program.
# `python3` may be too old. The lowest supported version is used, so that installing a newer one does not change it.
for python in 3.9 3.10 3.11 3.12 3.13 3.14 3.15 3.16; do
    python=/usr/bin/python$python
    [ -x "$python" ] && break
done
