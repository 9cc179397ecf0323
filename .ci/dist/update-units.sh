# Run after the package is installed: update the files of an earlier release's gate, and make systemd read the units.
set -e

units=/usr/lib/systemd/system
# Drop-ins that `k3s-harden install` wrote to /etc, for services with other names. Those of an earlier release require a
# mark that k3s-harden.service no longer creates. If /etc contains k3s-harden.service, that gate runs another program.
if [ -d /etc/systemd/system ] && [ ! -e /etc/systemd/system/k3s-harden.service ]; then
    cd /etc/systemd/system
    for file in k3s*.service.d/10-k3s-harden.conf; do
        if [ -s "$file" ] && [ ! -L "$file" ] && ! grep -q 'k3s-harden@' "$file"; then
            role=k3s-agent
            if grep -q k3s-harden-service-accounts "$file"; then
                role=k3s
            fi
            cp "$units/$role.service.d/10-k3s-harden.conf" "$file.new"
            mv "$file.new" "$file"
        fi
    done
    if [ -f k3s-harden.service.d/10-data-dir.conf ] && [ ! -e k3s-harden@.service.d/10-data-dir.conf ]; then
        mkdir -p k3s-harden@.service.d
        cp k3s-harden.service.d/10-data-dir.conf k3s-harden@.service.d/
    fi
fi

# No unit is enabled or started: the drop-in of each K3s service starts the gate.
[ -d /run/systemd/system ] || exit 0
systemctl --system daemon-reload
# Start each K3s that the gate of an earlier release blocked, because only that release would have started it.
for file in /run/k3s-harden/waiting.*; do
    if [ -e "$file" ]; then
        rm "$file"
        systemctl start --no-block "${file##*/waiting.}.service" || true
    fi
done
