"""Findings about the host: version, directories, datastore."""

from __future__ import annotations

import pytest

from agent.base.host import Host
from agent.base.host.probe import K3sProcess
from agent.base.host.process import run_nothing
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.k3s.roles_and_versions import Role
from agent.reports.repair_texts import text
from agent.verbs import check_and_apply as verbs
from tests.scenarios.conftest import Hardened
from tests.scenarios.findings.case import Case, Seen, asked_for, both, nothing, of_version, unchanged, written
from tests.scenarios.host_tree import CONFIG, DROPIN, DROPINS, POLICY, STATE, HostTree, parsed, run

UNITS = "/etc/systemd/system"
VERSION_QUESTION = (
    "Which version of K3s starts on this host, of v1.23 to v1.37? v1.37 (it has no PodSecurityPolicies): {}run"
    " `k3s-harden apply`. v1.24 (it keeps its PodSecurityPolicies): {}run `k3s-harden apply`."
)
SETTINGS = tuple(
    f"set `k3s-version: {version}` in /etc/k3s-harden/config.yaml; then " for version in ("v1.37", "v1.24")
)
SERVICE = "[Service]\nExecStart=/usr/local/bin/k3s server\n"

CASES = (
    *(Case("data-dir-not-absolute", written(CONFIG, f"debug: true\n{bad}\n"), written(CONFIG, f"debug: true\n{good}\n"),
           Seen(f"{CONFIG}:2", "Which data directory does K3s use? /var/lib/rancher/k3s (it is the usual one): set"
                " `data-dir: /var/lib/rancher/k3s` in /etc/k3s-harden/config.yaml. Another (`data-dir` in"
                " /etc/k3s-harden/config.yaml has its path): nothing to do.",
                expected="an absolute path in `data-dir`", found=found), name=name)
      for name, bad, good, found in (
          ("", "data-dir: k3s", "data-dir: /k3s", "k3s"),
          ("home", "data-dir: ${HOME}/k3s", "data-dir: /k3s", "${HOME}/k3s"),
          ("rootless", "rootless: true", "rootless: true\ndata-dir: /k3s", "rootless: true"),
      )),
    Case("k3s-command-unknown",
         written("/etc/systemd/system/k3s.service", "[Service]\nExecStart=-/usr/local/bin/start-k3s.sh --token=abc\n"),
         both(written("/etc/systemd/system/k3s.service", "[Service]\nExecStart=/bin/env /usr/local/bin/k3s server\n"),
             written("/etc/systemd/system/k3s-snapshot.service", "[Service]\nExecStart=/usr/local/bin/snapshot.sh\n")),
         Seen("/etc/systemd/system/k3s.service:2",
             "let the service start `k3s server` or `k3s agent`, and move the options to K3s' files at {location};"
             " run `systemctl daemon-reload`",
             expected="ExecStart=/usr/local/bin/k3s server", found="/usr/local/bin/start-k3s.sh")),
    Case("k3s-config-unknown",
         written("/etc/systemd/system/k3s.service", "[Service]\nExecStart=/usr/local/bin/start-k3s.sh\n"),
         both(written("/etc/systemd/system/k3s.service", "[Service]\nExecStart=/usr/local/bin/start-k3s.sh\n"),
             written("/etc/k3s-harden/config.yaml", f"k3s-config: {CONFIG}\n")),
         Seen("/etc/systemd/system/k3s.service:2",
             "Which main configuration file does K3s read? /etc/rancher/k3s/config.yaml (it is the usual one): set"
             " `k3s-config: /etc/rancher/k3s/config.yaml` in /etc/k3s-harden/config.yaml. Another (`k3s-config` in"
             " /etc/k3s-harden/config.yaml has its path): nothing to do.",
             found="/usr/local/bin/start-k3s.sh")),
    Case("service-not-assessed",
         both(written(f"{UNITS}/k3s.service", SERVICE), written(f"{UNITS}/k3s-old.service", SERVICE),
             written(f"{UNITS}/multi-user.target.wants/k3s.service", "")),
         lambda host: host[f"{UNITS}/k3s-old.service"].unlink(),
         Seen(f"{UNITS}/k3s-old.service",
             "Is k3s-old.service used? Yes (it gets a report of its own): run `k3s-harden check --unit"
             " k3s-old.service`. No (it ends, and does not start again): run `sudo systemctl disable --now"
             " k3s-old.service`.")),
    Case("other-family-assumed", asked_for("--role", "server"), of_version("1.25"),
         Seen(POLICY,
             VERSION_QUESTION.format("", ""),
             expected="v1.24 or older", found="v1.37.0 assumed"), version="1.24"),
    Case("version-assumed", asked_for("--role", "server"), nothing,
         Seen("",
             VERSION_QUESTION.format(*SETTINGS)),
         cure=lambda host, _: of_version("1.34")(host)),
    Case("version-newer", of_version("1.42"), of_version("1.37"),
         Seen("", "upgrade k3s-harden if a newer release exists")),
    Case("rancher-managed", written(f"{DROPINS}/50-rancher.yaml", '{"node-name": "a"}\n'),
         written(f"{DROPINS}/50-site.yaml", '{"node-name": "a"}\n'),
         Seen("", "k3s-harden render rancher-cluster --k3s-version 1.34"), cure=unchanged),
    Case("not-readable",
         both(written(CONFIG, "kubelet-arg:\n  - tls-cert-file=/etc/kubelet\n"), written("/etc/kubelet/a", "")),
         both(written(CONFIG, "kubelet-arg:\n  - tls-cert-file=/etc/kubelet\n"), written("/etc/kubelet", "")),
         Seen("",
             "remove the cause, or move the file away: cannot read /etc/kubelet: it is a directory, not a regular"
             " file"),
         cure=lambda host, _: (host["/etc/kubelet"].rename(host["/etc/moved"]), host.write("/etc/kubelet", ""))),
)  # fmt: skip


def test_an_apply_for_another_version_family_changes_nothing(hardened: Hardened) -> None:
    """Without --k3s-version, a host of v1.24 keeps its PodSecurityPolicies, and the gate blocks K3s."""
    host = hardened("server", "1.24")
    before = host.entries()
    host.options = ("--role", "server")
    for verb, code in (("apply", 1), ("gate", 1), ("check", 3)):
        seen = host.seen(verb)
        assert seen.code == code
        assert seen.only("other-family-assumed").blocks_gate
        assert seen.with_status("refused") >= {POLICY, DROPIN}
        assert host.entries() == before
    host.options = ("--role", "server", "--k3s-version", "1.24")
    assert host.run("apply").code == 0
    assert host.seen("check").of("other-family-assumed") == ()


@pytest.mark.root
def test_a_read_only_etc_is_reported_if_files_are_missing(host: HostTree, hardened: Hardened) -> None:
    """An image that contains the files is compliant."""
    done = hardened()
    for tree, there in ((host, True), (done, False)):
        etc = str(tree["/etc"])
        script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
        prefix = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", etc)
        seen = parsed(run("check", "--root", str(tree.root), "--format", "json", *tree.options, prefix=prefix))
        assert bool(seen.of("read-only-etc")) == there
        assert seen.facts["/etc"][0] == "read-only"
        assert seen.code == (3 if there else 0)


@pytest.mark.parametrize(
    ("started", "changed", "asked"), [(-3600, True, True), (3600, True, False), (-3600, False, False)]
)
def test_a_restart_is_needed_if_a_file_changed_after_k3s_started(
    host: HostTree, started: float, *, changed: bool, asked: bool
) -> None:
    """A K3s that started after the change has read the files."""
    clock = 1_800_000_000.0
    running = (K3sProcess(pid=4711, role=Role.SERVER, started=clock + started),)
    tree = Host.tree_at(str(host.root))
    machine = Host(
        root=tree.root, run=run_nothing, probe=lambda: running, now=lambda: clock, uid=tree.uid, gid=tree.gid
    )
    request = Request(Overrides(role="server", k3s_version="1.34"))
    verbs.apply(machine if changed else tree, request)
    if not changed:
        host[f"{STATE}/journal"].rename(host["/var/lib/elsewhere"])
    found = {finding.id: finding for finding in verbs.check(machine, request).findings}
    assert ("restart-needed" in found) == asked
    if asked:
        assert text(found["restart-needed"].repair) == "sudo systemctl restart k3s"
        assert DROPIN in found["restart-needed"].message
        host.write("/sbin/openrc-run", "")
        (on_openrc,) = (item for item in verbs.check(machine, request).findings if item.id == "restart-needed")
        assert text(on_openrc.repair) == "sudo rc-service k3s restart"
