#!/bin/sh
# Stand-in for K3s' install.sh: installs the stand-in for k3s from the directory of this file, with the same variables,
# systemd unit or OpenRC script, and order of steps (k3s, install.sh): the old unit is disabled and removed, the new one
# is written, enabled and restarted. OpenRC takes precedence over systemd. The version is INSTALL_K3S_VERSION, or the first of INSTALL_K3S_CHANNEL.
set -e

case "${1:-}" in
    -* | '') command=${K3S_URL:+agent}; command=${command:-server} ;;
    *) command=$1; shift ;;
esac
if [ -n "${INSTALL_K3S_NAME:-}" ]; then
    name=k3s-$INSTALL_K3S_NAME
elif [ "$command" = server ]; then
    name=k3s
else
    name=k3s-$command
fi
unit=/etc/systemd/system/$name.service
here=$(dirname "$0")
home=/usr/local/lib/k3s-stand-in

sums() { sha256sum $home/k3s.py $home/version "$unit" "$unit.env" 2>&1 || true; }
before=$(sums)

mkdir -p $home
for file in k3s k3s.py api.py; do
    [ ! -e "$here/$file" ] || [ "$here" -ef $home ] || cp "$here/$file" $home/$file
done
echo "${INSTALL_K3S_VERSION:-${INSTALL_K3S_CHANNEL:-v1.34}.1+k3s1}" >$home/version
# The command line begins with the name of the process, because K3s rewrites its own in this way. The gate does not follow
# scripts, so k3s itself is a program that becomes this one.
cat >/usr/local/bin/stand-in-for-k3s <<'WRAPPER'
#!/bin/bash
exec -a "/usr/local/bin/k3s $1" /usr/bin/python3 -sE /usr/local/lib/k3s-stand-in/k3s.py "$@"
WRAPPER
chmod 0755 /usr/local/bin/stand-in-for-k3s
cp $home/k3s /usr/local/bin/k3s
chmod 0755 /usr/local/bin/k3s

if [ -x /sbin/openrc-run ]; then
    script=/etc/init.d/$name
    log=/var/log/$name.log
    rc-update del "$name" default >/dev/null 2>&1 || true
    mkdir -p /etc/rancher/k3s
    env | grep -E '^(K3S|CONTAINERD)_' >/etc/rancher/k3s/$name.env || true
    cat >"$script" <<SCRIPT
#!/sbin/openrc-run

depend() {
    after network-online
    want cgroups
}

start_pre() {
    rm -f /tmp/k3s.*
}

supervisor=supervise-daemon
name=$name
command="/usr/local/bin/k3s"
command_args="$command $* \\
    >>$log 2>&1"

output_log=$log
error_log=$log

pidfile="/var/run/$name.pid"
respawn_delay=5
respawn_max=0

set -o allexport
if [ -f /etc/environment ]; then . /etc/environment; fi
if [ -f /etc/rancher/k3s/$name.env ]; then . /etc/rancher/k3s/$name.env; fi
set +o allexport
SCRIPT
    chmod 0755 "$script"
    rc-update add "$name" default >/dev/null
    [ "${INSTALL_K3S_SKIP_START:-}" = true ] || rc-service "$name" restart
    exit 0
fi
systemctl disable "$name" >/dev/null 2>&1 || true
rm -f "$unit" "$unit.env"
touch "$unit.env"
chmod 0600 "$unit.env"
env | grep -E '^(K3S|CONTAINERD)_' >"$unit.env" || true

words=$(for word; do printf "\t'%s' \\\\\n" "$word"; done)
cat >"$unit" <<UNIT
[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-$unit.env
KillMode=process
Delegate=yes
User=root
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/k3s \\
    $command \\
$words

UNIT

[ "${INSTALL_K3S_SKIP_ENABLE:-}" != true ] || exit 0
systemctl enable "$unit" >/dev/null
systemctl daemon-reload
[ "${INSTALL_K3S_SKIP_START:-}" != true ] || exit 0
if [ "$before" = "$(sums)" ]; then
    echo 'No change detected so skipping service start'
    exit 0
fi
systemctl restart "$name"
