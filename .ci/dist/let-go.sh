# Run before the package is removed: nothing may be left that runs, or waits for, a program that is gone.
set -e

if [ -d /run/systemd/system ]; then
    systemctl stop k3s-harden-service-accounts.timer k3s-harden-service-accounts.service \
        k3s-harden-check.timer k3s-harden-check.service || true # one that somebody removed cannot be
fi
# systemd keeps a file with the time at which a persistent timer last elapsed.
rm -f /var/lib/systemd/timers/stamp-k3s-harden-check.timer

# What `k3s-harden install` put into /etc: drop-ins of services with other names, without the gate, would keep K3s down.
cd /etc/systemd/system 2>/dev/null || exit 0
for gate in k3s-harden@.service k3s-harden.service; do
    if [ -f "$gate" ] && ! grep -q '^ExecStart=/usr/bin/k3s-harden ' "$gate"; then
        exit 0 # that gate runs another k3s-harden than the package's, and remains
    fi
done
for file in k3s*.service.d/10-k3s-harden.conf k3s-harden@.service.d/10-data-dir.conf k3s-harden.service.d/10-data-dir.conf k3s-harden@.service k3s-harden.service \
    k3s-harden-service-accounts.service k3s-harden-service-accounts.timer \
    k3s-harden-check.service k3s-harden-check.timer; do
    if [ -f "$file" ]; then # not a link to /dev/null, by which somebody switched it off
        rm "$file"
    fi
done
rmdir k3s*.service.d 2>/dev/null || true # empty ones alone
