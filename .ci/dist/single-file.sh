#!/bin/sh
# k3s-harden in one file: these lines find a Python, which runs the zip archive that follows them.
# -I and -S ignore Python settings of the environment, the user and the host. -B writes no byte code.

# The distribution's Pythons come first; among them those with byte code in the archive, which start in half the time.
for python in @PYTHONS@; do
    [ -x "/usr/bin/$python" ] && exec "/usr/bin/$python" -ISB "$0" "$@"
done
# On PATH a name is not enough: a version manager has shims of all these names, and most of them fail.
for python in @PYTHONS@ python3; do
    "$python" -ISc 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null && exec "$python" -ISB "$0" "$@"
done

printf '%s\n' 'k3s-harden: cannot run: found no Python 3.9 or newer on this host' \
    '  fix: apt-get install python3, or dnf install python3.12' >&2
exit 1
