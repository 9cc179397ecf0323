"""install puts the gate, the timer and the completions in place, and uninstall takes all of it away again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.scenarios.host_tree import HostTree

UNITS = "/etc/systemd/system"
GATE = f"{UNITS}/k3s-harden.service"
PROGRAM = "/usr/local/bin/k3s-harden"


@pytest.fixture
def ready(host: HostTree) -> HostTree:
    """A host on which the program lies."""
    host.write(PROGRAM, "#!/bin/sh\n", 0o755)
    host.options = ()
    return host


def dropin(service: str) -> str:
    return f"{UNITS}/{service}.d/10-k3s-harden.conf"


def test_install_gates_both_usual_services_before_they_exist(ready: HostTree) -> None:
    """The unit runs this program, and each drop-in asks for it: the agent's without the servers' timer."""
    done = ready.run("install", "--program", PROGRAM)
    assert done.code == 0, done
    assert f"ExecStart={PROGRAM} gate" in ready[GATE].read_text()
    assert "k3s-harden-service-accounts.timer" in ready[dropin("k3s.service")].read_text()
    assert "k3s-harden-service-accounts.timer" not in ready[dropin("k3s-agent.service")].read_text()
    modes = {ready[path].stat().st_mode & 0o777 for path in (GATE, dropin("k3s.service"), dropin("k3s-agent.service"))}
    assert modes == {0o644}


def test_a_second_install_changes_nothing(ready: HostTree) -> None:
    """What is in place stays as it is."""
    ready.run("install", "--program", PROGRAM)
    before = ready.entries()
    done = ready.run("install", "--program", PROGRAM)
    assert done.code == 0
    assert "changed" not in done.stdout.replace("nothing was changed", "")
    assert ready.entries() == before


def test_install_gates_a_service_of_another_name(ready: HostTree) -> None:
    """INSTALL_K3S_NAME's service is found by its unit; one that is not there yet can be named."""
    ready.unit("agent", name="k3s-east")
    ready.run("install", "--program", PROGRAM, "--unit", "k3s-west.service")
    assert "accounts.timer" not in ready[dropin("k3s-east.service")].read_text()
    assert "accounts.timer" in ready[dropin("k3s-west.service")].read_text()


def test_the_gate_waits_for_the_mount_of_a_moved_data_directory(ready: HostTree) -> None:
    """The data directory of K3s' own configuration is what the gate needs mounted."""
    ready.write("/etc/rancher/k3s/config.yaml", "data-dir: /srv/k3s\n")
    ready.run("install", "--program", PROGRAM)
    assert "RequiresMountsFor=/etc /var/lib/k3s-harden /srv/k3s" in ready[GATE].read_text()


def test_a_program_that_others_can_change_is_no_gate(ready: HostTree) -> None:
    """Root would run it at each start of K3s."""
    ready[PROGRAM].chmod(0o757)
    done = ready.run("install", "--program", PROGRAM)
    assert done.code == 2
    assert "others can write to it" in done.stderr
    assert not ready[GATE].exists()


def test_an_edited_unit_is_replaced_and_kept(ready: HostTree) -> None:
    """A gate has to be the one that this version needs; nobody's work is lost by that."""
    ready.run("install", "--program", PROGRAM)
    edited = ready[GATE].read_text() + "# mine\n"
    ready[GATE].write_text(edited)
    ready.run("install", "--program", PROGRAM)
    assert "# mine" not in ready[GATE].read_text()
    (backup,) = ready["/var/lib/k3s-harden/backups"].iterdir()
    assert backup.read_text() == edited


def test_uninstall_takes_away_what_install_put_there(ready: HostTree) -> None:
    """Every file, and the directories of drop-ins that are empty then; those of others stay."""
    ready.write(f"{UNITS}/k3s.service.d/50-site.conf", "[Service]\n")
    ready["/etc/cloud"].mkdir()
    before = {name for name, entry in ready.entries().items() if entry.kind == "file"}
    ready.run("install", "--program", PROGRAM)
    assert ready["/etc/cloud/clean.d/50-k3s-harden"].stat().st_mode & 0o111
    done = ready.run("uninstall", "--program", PROGRAM)
    assert done.code == 0, done
    assert {name for name, entry in ready.entries().items() if entry.kind == "file"} == before
    assert not ready[f"{UNITS}/k3s-agent.service.d"].exists()
    assert ready[f"{UNITS}/k3s.service.d/50-site.conf"].exists()


def test_a_file_in_the_way_is_refused_by_its_kind(ready: HostTree) -> None:
    """A symlink to somewhere else is left alone, and what it points to, too."""
    canary = ready.write("/etc/canary", "keep\n")
    ready[UNITS].mkdir(parents=True)
    ready[GATE].symlink_to("/etc/canary")
    done = ready.run("install", "--program", PROGRAM)
    assert done.code == 4
    assert f"refused {GATE}: is a symlink" in done.stdout
    assert canary.read_text() == "keep\n"


def test_check_misses_the_half_that_is_gone(ready: HostTree) -> None:
    """A drop-in without its unit keeps K3s down; a service without its drop-in starts ungated."""
    ready.options = ("--k3s-version", "1.34")
    ready.unit("server")
    ready.run("install", "--program", PROGRAM)
    assert ready.run("apply").code == 0
    ready[dropin("k3s.service")].unlink()
    missing = ready.seen("check").only("gate-half-missing")
    assert missing.wanted == "k3s.service.d/10-k3s-harden.conf"
    ready.run("install", "--program", PROGRAM)
    ready[GATE].unlink()
    missing = next(one for one in ready.seen("check").of("gate-half-missing") if one.where == dropin("k3s.service"))
    assert missing.wanted == "k3s-harden.service"
    assert "does not start" in missing.message


def test_revert_says_that_the_gate_would_harden_again(ready: HostTree) -> None:
    """Otherwise the next start of K3s undoes the undoing unseen."""
    ready.options = ("--role", "server", "--k3s-version", "1.34")
    ready.run("install", "--program", PROGRAM)
    ready.run("apply")
    assert "gate-remains" in ready.seen("revert").ids
