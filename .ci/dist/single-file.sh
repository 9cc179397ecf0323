#!/bin/sh
# k3s-harden in one file: these lines find a Python that runs the zip archive after them.
# -I and -S ignore Python settings of the environment, the user and the host. -B writes no byte code.

# The distribution's Pythons are tried first, the newest before others, and those with byte code in the archive before
# newer ones: they start twice as fast.
for python in @PYTHONS@; do
    [ -x "/usr/bin/$python" ] && exec "/usr/bin/$python" -ISB "$0" "$@"
done
# Each Python on PATH is run, because a version manager has shims of all these names, and most of them fail.
for python in @PYTHONS@ python3; do
    "$python" -ISc 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null && exec "$python" -ISB "$0" "$@"
done

# os-release(5) is a shell script.
for release in /etc/os-release /usr/lib/os-release; do
    # shellcheck source=/dev/null
    [ -r "$release" ] && . "$release" && break
done
# python3 of these two is Python 3.6.
case ${VERSION_ID:-} in
    8 | 8.*) rhel=python3.11 ;;
    15 | 15.*) suse=python311 ;;
esac
case " ${ID:-} ${VARIANT_ID:-} ${ID_LIKE:-} " in
    *' flatcar '* | *' coreos '*) fix='use the archive k3s-harden-*-linux-*.tar.gz, which contains a Python' ;;
    *micro*) fix='transactional-update pkg install python311, then reboot' ;;
    *suse* | *' sles '*) fix="zypper install ${suse:-python3}" ;;
    *' alpine '*) fix='apk add python3' ;;
    *' debian '* | *' ubuntu '*) fix='apt-get install python3' ;;
    *' rhel '* | *' centos '* | *' fedora '*) fix="dnf install ${rhel:-python3}" ;;
    *) fix='install Python 3.9 or newer, or use the archive k3s-harden-*-linux-*.tar.gz, which contains one' ;;
esac
printf '%s\n' 'k3s-harden: cannot run: found no Python 3.9 or newer on this host' "  fix: $fix" >&2
exit 1
