# Run before the package is removed: stop and remove everything that runs the program or waits for it.
set -e

if [ -d /run/systemd/system ]; then
    systemctl stop k3s-harden-service-accounts.timer k3s-harden-service-accounts.service \
        k3s-harden-check.timer k3s-harden-check.service 'k3s-harden-notify@*.service' 'k3s-harden-started@*.service' \
        k3s-harden-publish.timer k3s-harden-publish.service k3s-harden-traffic.timer k3s-harden-traffic.service || true # fails if a unit was removed by hand
fi
# A condition of the Node would outlive the program. The command prints how to remove it if the API server does not answer.
/usr/bin/k3s-harden publish --remove >/dev/null || true
rm -rf /etc/cron.d/k3s-harden-traffic /var/lib/k3s-harden/connections.json /var/lib/k3s-harden/connections.lock /var/lib/k3s-harden/connections
# systemd stores the time at which a persistent timer last elapsed in a file.
rm -f /var/lib/systemd/timers/stamp-k3s-harden-check.timer

# Remove the files that `k3s-harden install` wrote to /etc. Without the gate, drop-ins of other services would block K3s.
cd /etc/systemd/system 2>/dev/null || exit 0
for gate in k3s-harden@.service k3s-harden.service; do
    if [ -f "$gate" ] && ! grep -q '^ExecStart=/usr/bin/k3s-harden ' "$gate"; then
        exit 0 # this gate runs a k3s-harden that is not the package's
    fi
done
for file in k3s*.service.d/10-k3s-harden.conf k3s*.service.d/zzz-k3s-harden.conf k3s-harden@.service.d/10-data-dir.conf k3s-harden.service.d/10-data-dir.conf k3s-harden@.service k3s-harden.service \
    k3s-harden-service-accounts.service k3s-harden-service-accounts.timer \
    k3s-harden-check.service k3s-harden-check.timer k3s-harden-notify@.service \
    k3s-harden-publish.service k3s-harden-publish.timer k3s-harden-started@.service \
    k3s-harden-traffic.service k3s-harden-traffic.timer; do
    if [ -f "$file" ]; then # a masked unit is a link to /dev/null, and is kept
        rm "$file"
    fi
done
rmdir k3s*.service.d 2>/dev/null || true # only empty ones
