# Run after the package is installed: systemd reads the units, and what the gate of an earlier release left is renewed.
set -e

units=/usr/lib/systemd/system
# Drop-ins that `k3s-harden install` put into /etc, for services with other names. Those of an earlier release require a
# mark that k3s-harden.service no longer leaves. With a gate of its own in /etc, another program guards K3s.
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

# Nothing is enabled or started: each K3s service starts the gate itself, by its drop-in.
[ -d /run/systemd/system ] || exit 0
systemctl --system daemon-reload
# A K3s that the gate of an earlier release blocked: only that release would have started it.
for file in /run/k3s-harden/waiting.*; do
    if [ -e "$file" ]; then
        rm "$file"
        systemctl start --no-block "${file##*/waiting.}.service" || true
    fi
done
