"""The gate follows a real systemd to the configuration that K3s reads, and to what is in effect of its own unit."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.vm.node import GATE, SERVER, Node

pytestmark = pytest.mark.vm

SITE = "/srv/site"
DROPIN = "/etc/systemd/system/k3s.service.d/90-site.conf"
K3S = "/usr/local/bin/k3s"
RECORD = "/var/lib/k3s-harden/last-run.json"


class Way(NamedTuple):
    """A way in which K3s gets to its configuration: lines of its unit, and commands before and after its start."""

    unit: str
    config: str = f"{SITE}/config.yaml"
    before: str = "true"
    after: str = "true"


FILE = f"K3S_CONFIG_FILE={SITE}/config.yaml"
WAYS = {
    "programs-before-k3s": Way(
        "Environment=K3S_CONFIG_FILE=/srv/o.yaml\nExecStart=/usr/bin/env A=b /usr/bin/ionice -c 2 -n 0 /usr/bin/nice"
        f" -n -5 /usr/bin/chrt --other 0 /usr/bin/taskset -c 0 /usr/bin/env {FILE} {K3S} server"
    ),
    "continued-line-of-a-file": Way(
        f"EnvironmentFile=/etc/default/k3s\nExecStart={K3S} server $K3S_ARGS",
        before=f"printf 'K3S_ARGS=\"--disable traefik\\n --config {SITE}/config.yaml\"\\n' >/etc/default/k3s",
        after="rm /etc/default/k3s",
    ),
    "value-of-another-line": Way(
        "EnvironmentFile=/etc/default/k3s",
        "/etc/rancher/k3s/config.yaml",
        before="printf 'MOTD=\"a\\nK3S_CONFIG_FILE=/srv/other.yaml\\n\"\\n' >/etc/default/k3s",
        after="rm /etc/default/k3s",
    ),
    "set-environment": Way(
        "", before=f"systemctl set-environment {FILE}", after="systemctl unset-environment K3S_CONFIG_FILE"
    ),
    "DefaultEnvironment": Way(
        "",
        before=f"mkdir -p /etc/systemd/system.conf.d; printf '[Manager]\\nDefaultEnvironment={FILE}\\n'"
        " >/etc/systemd/system.conf.d/site.conf; systemctl daemon-reexec",
        after="rm /etc/systemd/system.conf.d/site.conf; systemctl daemon-reexec",
    ),
    "UnsetEnvironment": Way(
        "Environment=PATH=/usr/local/bin K3S_CONFIG_FILE=/srv/other.yaml\nUnsetEnvironment=K3S_CONFIG_FILE",
        config="/etc/rancher/k3s/config.yaml",
    ),
    "PassEnvironment": Way(
        f"PassEnvironment=container\nWorkingDirectory=-{SITE}\nExecStart={K3S} server -c ${{container}}",
        f"{SITE}/systemd-nspawn",
    ),
    "BindPaths": Way(f"BindPaths={SITE}:/etc/rancher/k3s"),
    **{
        f"directory{path.replace('/', '-')}": Way(f"ExecStart={K3S} server -c {path}/site.yaml", f"{path}/site.yaml")
        for path in ("/root/site", "/home", "/usr/local/etc", "/boot", "/tmp/site")  # noqa: S108 - in a container
    },
}
"""By what leads to the configuration."""
UNKNOWN_TO_CHECK = {"continued-line-of-a-file", "value-of-another-line"}


def _site_unit(lines: str) -> str:
    reset = "ExecStart=\n" if "ExecStart=" in lines else ""
    return f"[Service]\n{reset}{lines}\n"


def test_the_gate_hardens_the_configuration_that_k3s_reads(node: Node) -> None:
    """Each start of K3s has the option of its site's file and those of the hardening."""
    for name, way in WAYS.items():
        node.put(way.config, f"node-label: [way={name}]\n", "0600")
        node.put(DROPIN, _site_unit(way.unit))
        node.run(f"{way.before}; systemctl daemon-reload; systemctl reset-failed {SERVER} || true")
        node.systemctl("restart", SERVER)
        flags = node.starts()[-1].flags
        assert f"node-label=way={name}" in flags, name
        assert "protect-kernel-defaults=true" in flags, name
        # At other times than a start, lines of several meanings are not read.
        assert node.harden("check", check=False).code == 0 or name in UNKNOWN_TO_CHECK, name
        node.run(f"systemctl stop {SERVER}; {way.after}; rm -rf {way.config} {way.config}.d")


def test_a_script_that_starts_k3s_blocks_it_until_a_setting_names_the_configuration(node: Node) -> None:
    """`install` and the gate report the setting."""
    node.put("/usr/local/bin/start-k3s", f"#!/bin/sh\nexport {FILE}\nexec {K3S} server\n", "0755")
    node.put(f"{SITE}/config.yaml", "node-label: [way=script]\n", "0600")
    node.put(DROPIN, _site_unit("ExecStart=/usr/local/bin/start-k3s server"))
    node.systemctl("daemon-reload")
    assert "set `k3s-config: " in node.harden("install").out
    for settings, reason in (("{}\n", "which cannot be followed"), ("role: server\n", "set `k3s-config: ")):
        node.put("/etc/k3s-harden/config.yaml", settings)
        node.systemctl("start", SERVER, check=False)
        assert node.starts() == []
        assert reason in node.journal(GATE)
        node.systemctl("stop", SERVER)

    node.put("/etc/k3s-harden/config.yaml", f"role: server\nk3s-config: {SITE}/config.yaml\n")
    node.systemctl("start", SERVER)
    assert {"node-label=way=script", "protect-kernel-defaults=true"} <= set(node.starts()[-1].flags)


FOLLOWED_BEFORE = {
    "shell": f"ExecStart=/bin/sh -c 'ulimit -n 4096; exec {K3S} server -c {SITE}/config.yaml >>/root/log 2>&1'",
    "export": f"ExecStart=/bin/bash -ec 'export {FILE} && exec {K3S} server'",
    "condition": f"ExecStart=/bin/sh -c '[ -d {SITE} ] && export {FILE}; exec {K3S} server'",
    "runner": f"ExecStart=/usr/bin/nohup prlimit --nofile=1024 {K3S} server -c {SITE}/config.yaml",
    "script of that name": f"ExecStart=/opt/k3s server -c {SITE}/config.yaml",
    "env": f"ExecStart=env -u A {K3S} server -c {SITE}/config.yaml",
    "PAM": f"KillMode=mixed\nPAMName=login\nExecStart={K3S} server -c {SITE}/config.yaml",
}
"""Services of which an earlier release followed the command, and this one does not."""
FORGET_CONFIGURATION = f"""
import json
record = json.load(open({RECORD!r}))
del record["k3s-config"]
json.dump(record, open({RECORD!r}, "w"))
"""


def test_an_upgrade_blocks_no_k3s_that_the_earlier_release_let_start(node: Node) -> None:
    """The earlier release has left the option that it wrote beside the configuration, and no record of that."""
    node.put("/opt/k3s", f'#!/bin/sh\nexec {K3S} "$@"\n', "0755")
    for name, lines in FOLLOWED_BEFORE.items():
        node.put(f"{SITE}/config.yaml", f"node-label: [way={name.split()[0]}]\n", "0600")
        node.put(DROPIN, _site_unit(lines))
        node.put("/etc/k3s-harden/config.yaml", f"role: server\nk3s-config: {SITE}/config.yaml\n")
        node.systemctl("daemon-reload")
        node.harden("apply")
        node.run(("python3", "-c", FORGET_CONFIGURATION))
        node.run(f"rm /etc/k3s-harden/config.yaml; systemctl reset-failed {SERVER} || true")
        for _ in range(2):
            node.systemctl("restart", SERVER)
            flags = node.starts()[-1].flags
            assert {f"node-label=way={name.split()[0]}", "protect-kernel-defaults=true"} <= set(flags), name
        done = node.harden("check", check=False)
        assert f"{SITE}/config.yaml is the configuration of K3s by a record" in done.out, name
        assert done.code == 3, name
        node.run(f"systemctl stop {SERVER}; rm -rf {SITE}")


SERVER_FILES = "/var/lib/rancher/k3s/server"
AUDIT = "kube-apiserver-arg: [audit-policy-file=/srv/audit.yaml]\n"
POLICY = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: %s}]\n"
REFUSED = {
    "empty": (f"ExecStart={K3S} server --config=", "reads no configuration file"),
    "empty word": (f"ExecStart={K3S} server -c ''", "reads no configuration file"),
    "unset variable": (f"ExecStart={K3S} server --config=${{UNSET}}", "reads no configuration file"),
    "before the role": (f"ExecStart={K3S} --data-dir --config=/srv/a.yaml server", "not followed"),
    "name of the program": (f"ExecStart=@{K3S} --config=/srv/a.yaml server", "not followed"),
    "slash": (f"ExecStart={K3S} server -c /srv/none/", "no file of this host"),
    "standard input": (f"ExecStart={K3S} server -c /dev/stdin\nStandardInput=file:/srv/a.yaml", "no file of this host"),
    "working directory": (f"ExecStart={K3S} server -c /proc/self/cwd/a.yaml\nWorkingDirectory=/srv", "no file of this"),
    "link": (f"ExecStart={K3S} server -c /srv/link.yaml\nWorkingDirectory=/srv", "no file of this host"),
    "options of env": (f"ExecStart=/usr/bin/env --chdir=/srv {K3S} server -c a.yaml", "not followed"),
    "relative program": ("ExecStart=k3s server\nExecSearchPath=/usr/local/bin", "no absolute path"),
    "PAM": ("KillMode=mixed\nPAMName=login", "PAMName= is not followed"),
    "PermissionsStartOnly": ("PermissionsStartOnly=yes\nProtectHome=tmpfs", "PermissionsStartOnly= is not followed"),
    "prefix": (f"ExecStart=+{K3S} server\nPrivateTmp=yes", "the prefix of ExecStart="),
    "what the gate creates": (
        "InaccessiblePaths=-/etc/rancher/k3s/config.yaml.d",
        "InaccessiblePaths= is not followed",
    ),
    "bound later": (f"BindPaths=-{SERVER_FILES}:/etc/rancher/k3s/config.yaml.d", "can exist when K3s starts"),
    "drop-ins": ("BindReadOnlyPaths=/srv:/etc/rancher/k3s/config.yaml.d", "other"),
    "audit policy": ("BindPaths=/srv/no-audit.yaml:/srv/audit.yaml", "another file here"),
    "its directory": ("TemporaryFileSystem=/srv", "another file here"),
    "manifests": (f"BindPaths=/srv:{SERVER_FILES}/manifests", "another file here"),
    "kubelet": ("BindPaths=/srv:/var/lib/rancher/k3s/agent/etc/kubelet.conf.d", "another file here"),
    "other K3s": ("BindPaths=/srv/k3s:/usr/local/bin/k3s", "another file here"),
}
"""Services of which the gate does not know what K3s reads, each with the reason."""


def test_a_start_that_is_not_understood_is_blocked_on_a_new_installation(node: Node) -> None:
    node.put("/etc/k3s-harden/config.yaml", "role: server\n")
    node.put("/etc/rancher/k3s/config.yaml", AUDIT, "0600")
    node.put("/srv/audit.yaml", POLICY % "Metadata", "0600")
    node.put("/srv/no-audit.yaml", POLICY % "None", "0600")
    node.run(f"cp {K3S} /srv/k3s; ln -s /proc/self/cwd/a.yaml /srv/link.yaml; echo debug: true >/srv/a.yaml")
    wrong = []
    for name, (lines, reason) in REFUSED.items():
        node.run(f"rm -rf /etc/rancher/k3s/config.yaml.d {SERVER_FILES} /run/k3s-harden/ungated.k3s")
        node.put(DROPIN, _site_unit(lines))
        node.run(f"systemctl daemon-reload; systemctl reset-failed {SERVER} || true")
        since = node.run("date +%s.%N").out.strip()
        node.systemctl("start", SERVER, check=False)
        node.systemctl("stop", SERVER)
        out = node.run(f"journalctl --sync; journalctl -o cat -u {GATE} --since=@{since}").out
        if node.starts() or reason not in out:
            wrong.append((name, len(node.starts()), out))
        checked = node.harden("check", check=False)
        if checked.code != 3 or "k3s-config-unknown" not in checked.out:  # the gate has created what was missing
            wrong.append((f"check of {name}", checked.code, checked.out))
        node.run("rm -f /var/lib/k3s-stand-in/starts")
    assert wrong == []


@pytest.mark.own_kernel
def test_a_configuration_among_credentials_blocks_k3s(node: Node) -> None:
    """systemd 247 makes them only for K3s itself, and in a container not at all. Other credentials are ignored."""
    credential = "SetCredential=config.yaml:a"
    for command, number in ((f"{K3S} server", 1), (f"{K3S} server -c ${{CREDENTIALS_DIRECTORY}}/config.yaml", 1)):
        node.put(DROPIN, _site_unit(f"{credential}\nExecStart={command}"))
        node.systemctl("daemon-reload")
        node.systemctl("restart", SERVER, check=False)
        assert len(node.starts()) == number, command
    assert "set `k3s-config: " in node.journal(GATE)


BYPASSES = {
    "/run/systemd/system.control": "ExecStart=\nExecStart=/bin/sh -c '/usr/bin/k3s-harden gate || true'",
    "/etc/systemd/system.attached": "Type=simple",
    "/run/systemd/system": "ExecStart=\nExecStart=/bin/true gate",
    "/run/systemd/transient": "RemainAfterExit=yes",
    "/etc/systemd/system": "RootDirectory=/srv",
}


def test_a_drop_in_with_which_the_gate_succeeds_without_a_check_is_reported(node: Node) -> None:
    """It can be in any directory of systemd. One that a later drop-in overrides has no effect and is not reported."""
    for directory, lines in BYPASSES.items():
        bad = f"{directory}/k3s-harden@k3s.service.d/50-site.conf"
        node.put(bad, f"[Service]\n{lines}\n")
        node.systemctl("daemon-reload")
        out = node.harden("check", check=False).out
        assert "the gate succeeds without a successful `k3s-harden gate`" in out, directory
        assert bad in out, directory
        node.run(f"rm {bad}; systemctl daemon-reload")
    good = "/etc/systemd/system/k3s-harden@k3s.service.d"
    node.put(f"{good}/50-site.conf", "[Service]\nType=simple\n")
    node.put(f"{good}/60-site.conf", "[Service]\nType=oneshot\n")
    node.systemctl("daemon-reload")
    assert "gate succeeds without" not in node.harden("check", check=False).out
