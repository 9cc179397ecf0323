#!/bin/sh
# k3s-harden in one file: these lines find a Python, the rest is a zip archive, which that Python runs.
# -I and -S keep out whatever environment, user and host have in store for Python; -B leaves nothing beside what it reads.

# The distribution's own first, and those whose byte code is inside before others: they start in half the time.
for python in @PYTHONS@; do
    [ -x "/usr/bin/$python" ] && exec "/usr/bin/$python" -ISB "$0" "$@"
done
# Elsewhere a name promises nothing: a version manager has programs of all these names, most of which run nothing.
for python in @PYTHONS@ python3; do
    "$python" -ISc 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null && exec "$python" -ISB "$0" "$@"
done

printf '%s\n' 'k3s-harden: cannot run: it needs Python 3.9 or newer, and there is none on this host' \
    '  fix: install it: apt-get install python3, or dnf install python3.12' >&2
exit 1
