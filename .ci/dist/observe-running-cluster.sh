# Run at the first installation: on a cluster that runs, the gate observes until the first successful apply. Otherwise
# the next reboot would harden a host whose operator has only installed a package.
set -e

umask 077
state=/var/lib/k3s-harden
[ ! -e "$state/journal" ] || exit 0
data=/var/lib/rancher/k3s
[ -e "$data/server/db" ] || [ -e "$data/agent/client-kubelet.crt" ] \
    || grep -qsxE 'k3s-(server|agent)' /proc/[0-9]*/comm || exit 0
mkdir -p "$state"
chmod 700 "$state"
date -u +%F >"$state/gate-observes.new"
mv "$state/gate-observes.new" "$state/gate-observes"
printf '%s\n' 'k3s-harden: K3s ran here before this installation, so the gate observes: it hardens and blocks nothing' \
    '  next: sudo k3s-harden impact, then sudo k3s-harden apply; or sudo k3s-harden install --enforce' >&2
