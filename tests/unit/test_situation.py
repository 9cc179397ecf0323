"""One look at a host: the files that a site's settings name, and what K3s has made there, are looked at, too."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

import pytest

from agent.changes.journal import Journal
from agent.errors import InputError
from agent.model import FileMode, Role
from agent.report import ItemStatus
from agent.settings.schema import Overrides
from agent.situation import Request, observe
from agent.verbs import converge as verbs
from agent.verbs.revert import revert
from tests.fake import Clock, fake_host, in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.host import Host

REQUEST = Request(Overrides(role="server", k3s_version="1.34"))
WAIVERS = "/etc/k3s-harden/waivers.yaml"
TLS = "var/lib/rancher/k3s/server/tls"


class Site(NamedTuple):
    """A host with settings."""

    root: Path
    host: Host

    def put(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Put a file there as root would."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def settles(self, text: str) -> None:
        """Write the settings."""
        self.put("/etc/k3s-harden/config.yaml", text)

    def mode(self, name: str) -> int:
        """The mode of a file in server/tls."""
        return stat.S_IMODE((self.root / TLS / name).lstat().st_mode)


@pytest.fixture
def site() -> Iterator[Site]:
    """A host called node-1, on the first day of 2027."""
    with in_memory() as root:
        (root / "etc").mkdir()
        (root / "var/lib").mkdir(parents=True)
        (root / "etc/hostname").write_text("node-1\n")
        yield Site(root, fake_host(root, clock=Clock(1_798_761_600.0)))


@pytest.fixture
def server(site: Site) -> Site:
    """A server on which K3s has made certificates, and the site wants them for root alone."""
    for name in ("client-ca.crt", "server-ca.crt", "etcd/server-ca.crt"):
        site.put(f"{TLS}/{name}", name)
    site.put(f"{TLS}/server-ca.key", "key", 0o600)
    site.settles("pki: {certificate-permissions: '0600'}\n")
    return site


# --- waivers ---


def test_waivers_of_the_settings_and_of_their_file_all_count(site: Site) -> None:
    """Each has the file and line that it stands in; the scope is this host, today."""
    site.settles(f"waivers-file: {WAIVERS}\nwaivers:\n  - control: 1.2.9\n    reason: one\n")
    site.put(WAIVERS, "- control: kernel.panic\n  reason: two\n")
    situation = observe(site.host, REQUEST)
    assert [str(waiver.location) for waiver in situation.waivers.all] == [
        "/etc/k3s-harden/config.yaml:3",
        f"{WAIVERS}:1",
    ]
    assert situation.waivers.scope == (Role.SERVER, "node-1", "2027-01-01")
    assert {key: waiver.reason for key, waiver in situation.waivers.kernel_parameters.items()} == {
        "kernel.panic": "two"
    }


def test_a_waivers_file_that_is_missing_is_bad_settings(site: Site) -> None:
    """To go on without it would change what it was to keep."""
    site.settles(f"waivers-file: {WAIVERS}\n")
    with pytest.raises(InputError, match=f"^cannot use {WAIVERS}: there is no such file$") as caught:
        observe(site.host, REQUEST)
    assert "waivers-file" in caught.value.hint


@pytest.mark.parametrize("text", ["- control: 1.2.9\n", "waivers: []\n", "[\n", "\0"])
def test_a_waivers_file_that_is_wrong_is_bad_settings(text: str, site: Site) -> None:
    """It is read as strictly as the settings are."""
    site.settles(f"waivers-file: {WAIVERS}\n")
    site.put(WAIVERS, text)
    with pytest.raises(InputError, match=f"^cannot use {WAIVERS}"):
        observe(site.host, REQUEST)


def test_a_waivers_file_that_others_can_write_is_refused(site: Site) -> None:
    """It keeps root from setting what others would rather not have set."""
    site.settles(f"waivers-file: {WAIVERS}\n")
    site.put(WAIVERS, "[]\n", 0o666)
    with pytest.raises(InputError, match="root runs with these settings, and others can write to it"):
        observe(site.host, REQUEST)


def test_a_waivers_file_that_is_no_file_is_refused(site: Site) -> None:
    """Nothing hangs at it."""
    site.settles(f"waivers-file: {WAIVERS}\n")
    os.mkfifo(site.root / WAIVERS.lstrip("/"))
    with pytest.raises(InputError, match="it is a FIFO"):
        observe(site.host, REQUEST)


# --- certificates ---


def test_apply_keeps_certificates_from_others_and_revert_lets_them_in_again(server: Site) -> None:
    """Those of server/tls and of etcd's, as the control means it; keys, and what lies deeper, are not touched."""
    server.put(f"{TLS}/kube-scheduler/kube-scheduler.crt", "its own")
    report = verbs.apply(server.host, REQUEST)
    changed = {item.id: item.detail for item in report.items if item.status is ItemStatus.CHANGED}
    assert changed[f"mode of /{TLS}/server-ca.crt"] == "0644 → 0600"
    names = ("client-ca.crt", "server-ca.key", "etcd/server-ca.crt", "kube-scheduler/kube-scheduler.crt")
    assert [server.mode(name) for name in names] == [0o600, 0o600, 0o600, 0o644]
    assert (server.root / TLS / "server-ca.crt").read_text() == "server-ca.crt"
    revert(server.host, last=False, force=False)
    assert [server.mode(name) for name in ("client-ca.crt", "server-ca.crt")] == [0o644, 0o644]
    assert Journal(server.host).entries() == ()


def test_certificates_that_k3s_made_anew_get_their_mode_again(server: Site) -> None:
    """Each run looks at what is there now; revert then finds content that it never knew, and leaves it."""
    verbs.apply(server.host, REQUEST)
    server.put(f"{TLS}/server-ca.crt", "renewed")
    server.put(f"{TLS}/new.crt", "new")
    checked = {item.id: item.status for item in verbs.check(server.host, REQUEST).items}
    assert checked[f"mode of /{TLS}/server-ca.crt"] is checked[f"mode of /{TLS}/new.crt"] is ItemStatus.DIFFERS
    assert checked[f"mode of /{TLS}/client-ca.crt"] is ItemStatus.COMPLIANT
    assert verbs.apply(server.host, REQUEST).exit_code == 0
    assert [server.mode(name) for name in ("server-ca.crt", "new.crt")] == [0o600, 0o600]
    revert(server.host, last=False, force=False)
    assert (server.root / TLS / "server-ca.crt").read_text() == "renewed"
    assert [server.mode(name) for name in ("server-ca.crt", "new.crt")] == [0o644, 0o644]


def test_certificates_that_are_gone_are_not_missed(server: Site) -> None:
    """Neither by apply nor by revert, which makes none."""
    verbs.apply(server.host, REQUEST)
    (server.root / TLS / "server-ca.crt").unlink()
    assert verbs.check(server.host, REQUEST).exit_code == 0
    report = revert(server.host, last=False, force=False)
    assert report.exit_code == 0
    assert not (server.root / TLS / "server-ca.crt").exists()


def test_what_is_no_file_of_k3s_is_no_certificate(server: Site) -> None:
    """A link may lead anywhere, and a directory has modes of another kind."""
    (server.root / TLS / "link.crt").symlink_to("/etc/hostname")
    (server.root / TLS / "directory.crt").mkdir(mode=0o755)
    report = verbs.apply(server.host, REQUEST)
    assert report.exit_code == 0
    assert not any("link.crt" in item.id or "directory.crt" in item.id for item in report.items)
    assert stat.S_IMODE((server.root / "etc/hostname").stat().st_mode) != FileMode(0o600)


def test_before_k3s_has_made_any_there_is_nothing_to_do(site: Site) -> None:
    """A fresh host is compliant."""
    site.settles("pki: {certificate-permissions: '0600'}\n")
    verbs.apply(site.host, REQUEST)
    assert verbs.check(site.host, REQUEST).exit_code == 0
    assert not (site.root / TLS).exists()


def test_certificates_are_left_alone_unless_the_site_asks(server: Site) -> None:
    """A certificate is no secret."""
    server.settles("pki: {certificate-permissions: leave}\n")
    report = verbs.apply(server.host, REQUEST)
    assert server.mode("server-ca.crt") == 0o644
    assert not any(item.id.startswith("mode of ") for item in report.items)
