"""The observation of a host: files that the settings name, and certificates that K3s creates."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from agent.base.errors import InputError
from agent.base.host import Host
from agent.base.model import FileMode
from agent.base.report import ItemStatus
from agent.harden.changes.journal import Journal
from agent.harden.settings.schema import Overrides
from agent.harden.settings.waivers import WaiverScope
from agent.harden.situation import Request
from agent.harden.situation.observation import observe_situation
from agent.k3s.roles_and_versions import Role
from agent.reports import repair_texts
from agent.verbs import check_and_apply as verbs
from agent.verbs.revert import revert
from tests.fake import Clock, fake_host, in_memory
from tests.tree import Tree

REQUEST = Request(Overrides(role="server", k3s_version="1.34"))
WAIVERS = "/etc/k3s-harden/waivers.yaml"
TLS = "var/lib/rancher/k3s/server/tls"


@dataclass
class Site(Tree):
    """A host with settings."""

    root: Path
    host: Host

    def configure(self, text: str) -> None:
        self.write("/etc/k3s-harden/config.yaml", text)

    def mode(self, name: str) -> int:
        return stat.S_IMODE((self.root / TLS / name).lstat().st_mode)


@pytest.fixture
def site() -> Iterator[Site]:
    """Return a host named node-1, on 2027-01-01."""
    with in_memory("etc", "var/lib") as root:
        (root / "etc/hostname").write_text("node-1\n")
        yield Site(root, fake_host(root, clock=Clock(1_798_761_600.0)))


@pytest.fixture
def server(site: Site) -> Site:
    """Return a server with certificates, whose settings set their mode to 0600."""
    for name in ("client-ca.crt", "server-ca.crt", "etcd/server-ca.crt"):
        site.write(f"{TLS}/{name}", name)
    site.write(f"{TLS}/server-ca.key", "key", 0o600)
    site.configure("pki: {certificate-permissions: '0600'}\n")
    return site


def test_waivers_come_from_settings_and_waivers_file(site: Site) -> None:
    site.configure(f"waivers-file: {WAIVERS}\nwaivers:\n  - control: 1.2.9\n    reason: one\n")
    site.write(WAIVERS, "- control: kernel.panic\n  reason: two\n")
    situation = observe_situation(site.host, REQUEST)
    assert [str(waiver.location) for waiver in situation.waivers.all] == [
        "/etc/k3s-harden/config.yaml:3",
        f"{WAIVERS}:1",
    ]
    assert situation.waivers.scope == WaiverScope(Role.SERVER, "node-1", "2027-01-01")
    assert {key: waiver.reason for key, waiver in situation.waivers.kernel_parameters.items()} == {
        "kernel.panic": "two"
    }


@pytest.mark.parametrize(
    ("make", "problem", "fix"),
    [
        (lambda _: None, ": the file does not exist$", "waivers-file"),
        *(
            (partial(Site.write, inside=WAIVERS, content=text), "", "")
            for text in ("- control: 1.2.9\n", "waivers: []\n", "[\n", "\0")
        ),
        (
            lambda site: site.write(WAIVERS, "[]\n", 0o666),
            ".*: root runs with these settings, and others can write to it",
            "{}",
        ),
        (lambda site: os.mkfifo(site.path(WAIVERS)), ".*: it is a FIFO", ""),
    ],
    ids=["missing", "without a reason", "mapping", "not YAML", "NUL", "writable by others", "FIFO"],
)
def test_a_waivers_file_that_cannot_be_used_is_an_input_error(
    make: Callable[[Site], object], problem: str, fix: str, site: Site
) -> None:
    """Without the waivers, apply would change the waived controls. It controls what apply sets as root."""
    site.configure(f"waivers-file: {WAIVERS}\n")
    make(site)
    with pytest.raises(InputError, match=f"^cannot use {WAIVERS}{problem}") as caught:
        observe_situation(site.host, REQUEST)
    file = site.path(WAIVERS)
    own = f"run `sudo chown root:root {file}`; then run `sudo chmod go-w {file}`"
    assert fix.format(own) in repair_texts.text(caught.value.repair)


def test_apply_sets_the_mode_of_certificates_and_revert_restores_it(server: Site) -> None:
    server.write(f"{TLS}/kube-scheduler/kube-scheduler.crt", "K3s creates it")
    server.write(f"{TLS}/kube-controller-manager/kube-controller-manager.crt", "K3s creates it")
    server.write(f"{TLS}/temporary-certs/apiserver.crt", "a component creates it")
    report = verbs.apply(server.host, REQUEST)
    changed = {item.id: item.detail for item in report.items if item.status is ItemStatus.CHANGED}
    assert changed[f"mode of /{TLS}/server-ca.crt"] == "0644 → 0600"
    names = ("client-ca.crt", "server-ca.key", "etcd/server-ca.crt", "kube-scheduler/kube-scheduler.crt")
    assert [server.mode(name) for name in names] == [0o600, 0o600, 0o600, 0o600]
    assert server.mode("kube-controller-manager/kube-controller-manager.crt") == 0o600
    assert server.mode("temporary-certs/apiserver.crt") == 0o644
    assert (server.root / TLS / "server-ca.crt").read_text() == "server-ca.crt"
    revert(server.host, last=False, force=False)
    assert [server.mode(name) for name in ("client-ca.crt", "server-ca.crt")] == [0o644, 0o644]
    assert Journal(server.host).runs() == ()


def test_apply_sets_the_mode_of_renewed_certificates_again(server: Site) -> None:
    verbs.apply(server.host, REQUEST)
    server.write(f"{TLS}/server-ca.crt", "renewed")
    server.write(f"{TLS}/new.crt", "new")
    checked = {item.id: item.status for item in verbs.check(server.host, REQUEST).items}
    assert checked[f"mode of /{TLS}/server-ca.crt"] is checked[f"mode of /{TLS}/new.crt"] is ItemStatus.DIFFERS
    assert checked[f"mode of /{TLS}/client-ca.crt"] is ItemStatus.COMPLIANT
    assert verbs.apply(server.host, REQUEST).exit_code == 0
    assert [server.mode(name) for name in ("server-ca.crt", "new.crt")] == [0o600, 0o600]
    revert(server.host, last=False, force=False)
    assert (server.root / TLS / "server-ca.crt").read_text() == "renewed"
    assert [server.mode(name) for name in ("server-ca.crt", "new.crt")] == [0o644, 0o644]


def test_deleted_certificates_are_ignored(server: Site) -> None:
    verbs.apply(server.host, REQUEST)
    (server.root / TLS / "server-ca.crt").unlink()
    assert verbs.check(server.host, REQUEST).exit_code == 0
    report = revert(server.host, last=False, force=False)
    assert report.exit_code == 0
    assert not (server.root / TLS / "server-ca.crt").exists()


def test_links_and_directories_are_not_certificates(server: Site) -> None:
    (server.root / TLS / "link.crt").symlink_to("/etc/hostname")
    (server.root / TLS / "directory.crt").mkdir(mode=0o755)
    report = verbs.apply(server.host, REQUEST)
    assert report.exit_code == 0
    assert not any("link.crt" in item.id or "directory.crt" in item.id for item in report.items)
    assert stat.S_IMODE((server.root / "etc/hostname").stat().st_mode) != FileMode(0o600)


def test_the_setting_leave_does_not_change_certificates(server: Site) -> None:
    server.configure("pki: {certificate-permissions: leave}\n")
    report = verbs.apply(server.host, REQUEST)
    assert server.mode("server-ca.crt") == 0o644
    assert not any(item.id.startswith("mode of ") for item in report.items)
