#!/bin/sh
# k3s-harden in one file: these lines find a Python that runs the zip archive after them.
# -I and -S ignore Python settings of the environment, the user and the host. -B writes no byte code.

# The distribution's Pythons are tried first, those with byte code in the archive before others: they start twice as fast.
for python in @PYTHONS@; do
    [ -x "/usr/bin/$python" ] && exec "/usr/bin/$python" -ISB "$0" "$@"
done
# Each Python on PATH is run, because a version manager has shims of all these names, and most of them fail.
for python in @PYTHONS@ python3; do
    "$python" -ISc 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null && exec "$python" -ISB "$0" "$@"
done

printf '%s\n' 'k3s-harden: cannot run: found no Python 3.9 or newer on this host' \
    '  fix: apt-get install python3, or dnf install python3.12' >&2
exit 1
