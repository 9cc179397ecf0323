"""install puts the gate, the timer and the completions in place, and uninstall takes all of it away again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenarios.loaded_program import CHECKOUT

if TYPE_CHECKING:
    from tests.scenarios.host_tree import HostTree

UNITS = "/etc/systemd/system"
GATE = f"{UNITS}/k3s-harden@.service"
PROGRAM = "/usr/local/bin/k3s-harden"
SYSTEMD = "/usr/lib/systemd/systemd"


@pytest.fixture
def ready(host: HostTree) -> HostTree:
    """A host on which the program lies."""
    host.write(PROGRAM, "#!/bin/sh\n", 0o755)
    host.write(SYSTEMD, "#!/bin/sh\n", 0o755)
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


def test_install_refuses_a_tree_without_systemd(ready: HostTree) -> None:
    """Nothing there reads the units, and nothing is written."""
    ready[SYSTEMD].unlink()
    before = ready.entries()
    done = ready.run("install", "--program", PROGRAM)
    assert done.code == 6
    assert "systemd is not installed there, so nothing reads the units" in done.stderr
    assert ready.entries() == before


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


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/opt", "it is a directory"),
        ("/opt/plain", "it is not executable: its mode is 0644"),
        ("/opt/none", "No such file or directory"),
        ("opt/program", "it is no absolute path"),
        ("/home/program", "its units do not see /home"),
        ("/opt/a$b", "its name has a quote, a backslash, a $ or a control character"),
        ("/opt/a\nb", "its name has a quote, a backslash, a $ or a control character"),
    ],
)
def test_a_program_that_the_gate_could_not_run_is_refused(ready: HostTree, path: str, problem: str) -> None:
    """K3s would be held at its next start by a gate that cannot work."""
    for name in ("/opt/program", "/home/program", "/opt/a$b", "/opt/a\nb"):
        ready.write(name, "#!/bin/sh\n", 0o755)
    ready.write("/opt/plain", "#!/bin/sh\n", 0o644)
    done = ready.run("install", "--program", path)
    assert (done.code, problem in done.stderr) == (2, True), done
    assert not ready[UNITS].exists()


@pytest.mark.parametrize("path", ["/opt/my dir/100%/k3s-harden", "/opt/k3s;harden"])
def test_a_path_is_one_word_of_a_unit(ready: HostTree, path: str) -> None:
    """Of the program and of the data directory: quoted, with no specifier in it; the gate is found as it is meant."""
    ready.write(path, "#!/bin/sh\n", 0o755)
    ready.write("/etc/rancher/k3s/config.yaml", f"data-dir: {path}.d\n")
    assert ready.run("install", "--program", path).code == 0
    word = path.replace("%", "%%")
    assert f'ExecStart="{word}" gate\n' in ready[GATE].read_text()
    assert f'RequiresMountsFor=/etc /var/lib/k3s-harden "{word}.d"\n' in ready[GATE].read_text()
    ready.options = ("--role", "server", "--k3s-version", "1.34")
    assert ready.seen("check").of("gate-before-mount") == ()


@pytest.mark.parametrize(
    "name", ["edge.service", "k3s-a b.service", "k3s-east", "k3s/east.service", "k3s-harden.service", "k3s-é.service"]
)
def test_a_service_that_cannot_be_one_of_k3s_is_not_guarded(ready: HostTree, name: str) -> None:
    """The gate that held it would not release it; and the gate does not wait for itself."""
    done = ready.run("install", "--program", PROGRAM, "--unit", name)
    assert (done.code, f"cannot guard {name}" in done.stderr) == (2, True), done
    assert not ready[UNITS].exists()


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
    """A drop-in without its unit keeps K3s down from the next boot on; a service without its drop-in starts ungated."""
    ready.options = ("--k3s-version", "1.34")
    ready.unit("server")
    ready.run("install", "--program", PROGRAM)
    assert ready.run("apply").code == 0
    ready[dropin("k3s.service")].unlink()
    missing = ready.seen("check").only("gate-half-missing")
    assert missing.expected == "k3s.service.d/10-k3s-harden.conf"
    ready.run("install", "--program", PROGRAM)
    ready[GATE].unlink()
    missing = next(one for one in ready.seen("check").of("gate-half-missing") if one.location == dropin("k3s.service"))
    assert missing.expected == "k3s-harden@.service"
    assert missing.message == "k3s.service does not start: its gate is missing"
    assert missing.remediation == "run `sudo k3s-harden install`; or run `sudo k3s-harden uninstall`"


@pytest.mark.parametrize("link", [True, False])
def test_a_half_that_is_masked_is_missing(ready: HostTree, *, link: bool) -> None:
    """systemd takes a link to /dev/null, and an empty file, for a mask: of the unit, and of the drop-in."""

    def mask(path: str) -> None:
        ready[path].unlink(missing_ok=True)
        if link:
            ready[path].symlink_to("/dev/null")
        else:
            ready.write(path, "")

    ready.options = ("--k3s-version", "1.34")
    ready.unit("server")
    ready.run("install", "--program", PROGRAM)
    mask(dropin("k3s.service"))
    assert ready.seen("check").only("gate-half-missing").expected == "k3s.service.d/10-k3s-harden.conf"
    ready[dropin("k3s.service")].unlink()
    ready.run("install", "--program", PROGRAM)
    mask(GATE)
    missing = next(one for one in ready.seen("check").of("gate-half-missing") if one.location == dropin("k3s.service"))
    assert missing.message.endswith(f"its gate is masked by {GATE}")
    assert missing.remediation == "run `sudo systemctl unmask k3s-harden@.service`; or run `sudo k3s-harden uninstall`"


def test_revert_says_that_the_gate_would_harden_again(ready: HostTree) -> None:
    """Otherwise the next start of K3s undoes the undoing unseen."""
    ready.options = ("--role", "server", "--k3s-version", "1.34")
    ready.run("install", "--program", PROGRAM)
    ready.run("apply")
    assert "gate-remains" in ready.seen("revert").ids


# --- beside the distribution's package ---

PACKAGED_UNITS = "/usr/lib/systemd/system"
PACKAGED_PROGRAM = ("--program", "/usr/bin/k3s-harden")
HOOK = "/etc/cloud/clean.d/50-k3s-harden"
DATA_DIR_DROPINS = {f"{UNITS}/{unit}.service.d/10-data-dir.conf" for unit in ("k3s-harden", "k3s-harden@")}


@pytest.fixture
def packaged(host: HostTree) -> HostTree:
    """A host with what the package of a distribution brings."""
    host.write("/usr/bin/k3s-harden", "#!/bin/sh\n", 0o755)
    host.write(SYSTEMD, "#!/bin/sh\n", 0o755)
    for file in sorted((CHECKOUT / "systemd").rglob("*")):
        if file.is_file():
            name = file.relative_to(CHECKOUT / "systemd")
            hook = name.name == "cloud-init-clean"
            host.write(HOOK if hook else f"{PACKAGED_UNITS}/{name}", file.read_bytes(), 0o755 if hook else 0o644)
    host.options = ()
    return host


def own_files(host: HostTree) -> set[str]:
    """Each file of the host outside of what packages own."""
    return {name for name, entry in host.entries().items() if entry.kind == "file" and not name.startswith("/usr/lib/")}


def test_beside_the_package_install_has_nothing_to_do(packaged: HostTree) -> None:
    """Units in /etc would hide those of the package, now and after its upgrades; completions are there twice then."""
    before = packaged.entries()
    seen = packaged.seen("install", *PACKAGED_PROGRAM)
    assert (seen.code, seen.items) == (0, {})
    assert seen.facts["gate"] == (
        f"{PACKAGED_UNITS}/k3s-harden@.service",
        "runs before each start of K3s, and came with a package",
    )
    assert packaged.entries() == before


def test_beside_the_package_install_gates_a_service_of_another_name(packaged: HostTree) -> None:
    """Of that service the package knows nothing, so a drop-in of its own is all that is put into /etc."""
    packaged.unit("agent", name="k3s-east")
    before = own_files(packaged)
    assert packaged.run("install", *PACKAGED_PROGRAM, "--unit", "k3s-west.service").code == 0
    assert own_files(packaged) - before == {dropin("k3s-east.service"), dropin("k3s-west.service")}


@pytest.mark.parametrize(("data_dir", "home"), [("/home/k3s", "no"), ("/root/k3s", "no"), ("/homes/k3s", "read-only")])
def test_the_gate_can_write_a_data_directory_in_a_home_directory(ready: HostTree, data_dir: str, home: str) -> None:
    """Its sandbox makes home directories read-only, and would block a healthy K3s. No other unit changes."""
    ready.write("/etc/rancher/k3s/config.yaml", f"data-dir: {data_dir}\n")
    ready.run("install", "--program", PROGRAM)
    for unit in ("k3s-harden.service", "k3s-harden@.service"):
        assert f"\nProtectHome={home}\n" in ready[f"{UNITS}/{unit}"].read_text()
    assert "\nProtectHome=read-only\n" in ready[f"{UNITS}/k3s-harden-check.service"].read_text()


def test_beside_the_package_install_adds_a_writable_home_directory(packaged: HostTree) -> None:
    """In the drop-in that names the data directory."""
    packaged.write("/etc/rancher/k3s/config.yaml", "data-dir: /home/k3s\n")
    assert packaged.run("install", "--program", "/usr/bin/k3s-harden").code == 0
    assert all("ProtectHome=no" in packaged[path].read_text() for path in DATA_DIR_DROPINS)


def test_beside_the_package_install_adds_the_mount_of_a_moved_data_directory(packaged: HostTree) -> None:
    """As a drop-in of the gate, which goes again once the data directory is at its usual place."""
    before = own_files(packaged)
    config = packaged.write("/etc/rancher/k3s/config.yaml", "data-dir: /srv/k3s\n")
    assert packaged.run("install", *PACKAGED_PROGRAM).code == 0
    assert own_files(packaged) - before == {"/etc/rancher/k3s/config.yaml", *DATA_DIR_DROPINS}
    assert "\n[Unit]\nRequiresMountsFor=/srv/k3s\n" in packaged[min(DATA_DIR_DROPINS)].read_text()
    assert packaged.seen("install", *PACKAGED_PROGRAM).with_status("changed") == set()
    config.unlink()
    assert packaged.seen("install", *PACKAGED_PROGRAM).with_status("changed") == DATA_DIR_DROPINS
    assert own_files(packaged) == before


def test_beside_the_package_install_repairs_what_is_missing_of_it(packaged: HostTree) -> None:
    """A drop-in that somebody removed is put into /etc: its half of the gate was what was missing."""
    packaged[f"{PACKAGED_UNITS}/k3s.service.d/10-k3s-harden.conf"].unlink()
    before = own_files(packaged)
    packaged.run("install", *PACKAGED_PROGRAM)
    assert own_files(packaged) - before == {dropin("k3s.service")}


def test_install_uncovers_the_units_of_a_package_that_came_later(packaged: HostTree) -> None:
    """What an earlier `install` had put into /etc goes; what was edited is kept as a backup, and a mask is not ours."""
    packaged[PACKAGED_UNITS].rename(packaged["/later"])
    packaged.write("/etc/cloud/cloud.cfg")
    packaged.run("install", *PACKAGED_PROGRAM)
    packaged[f"{UNITS}/k3s-harden-service-accounts.timer"].unlink()
    packaged[f"{UNITS}/k3s-harden-service-accounts.timer"].symlink_to("/dev/null")
    with packaged[GATE].open("a") as gate:
        gate.write("# mine\n")
    packaged["/later"].rename(packaged[PACKAGED_UNITS])
    seen = packaged.seen("install", *PACKAGED_PROGRAM)
    assert seen.code == 0
    assert sorted(entry.name for entry in packaged[UNITS].iterdir()) == ["k3s-harden-service-accounts.timer"]
    (backup,) = packaged["/var/lib/k3s-harden/backups"].iterdir()
    assert backup.read_text().endswith("# mine\n")
    assert seen.facts["gate"][0] == f"{PACKAGED_UNITS}/k3s-harden@.service"


def test_the_gate_of_another_program_is_refused_beside_the_package(packaged: HostTree) -> None:
    """The package's gate would not run it, and a unit in /etc that does would hide the package's."""
    packaged.write(PROGRAM, "#!/bin/sh\n", 0o755)
    before = packaged.entries()
    done = packaged.run("install", "--program", PROGRAM)
    assert done.code == 2
    assert "--program /usr/bin/k3s-harden" in done.stderr
    assert packaged.entries() == before


def test_uninstall_leaves_what_the_package_owns_and_says_that_its_gate_stays(packaged: HostTree) -> None:
    """What `install` added to the package goes; the hook, which the package manager counts as configuration, stays."""
    packaged.write("/etc/rancher/k3s/config.yaml", "data-dir: /srv/k3s\n")
    before = own_files(packaged)
    packaged.run("install", *PACKAGED_PROGRAM, "--unit", "k3s-east.service")
    seen = packaged.seen("uninstall")
    assert seen.code == 0
    assert seen.with_status("changed") == DATA_DIR_DROPINS | {dropin("k3s-east.service")}
    assert own_files(packaged) == before
    assert packaged[HOOK].exists()
    assert packaged.seen("uninstall").items == {}
    remains = seen.only("gate-remains")
    assert (remains.location, remains.remediation) == (
        f"{PACKAGED_UNITS}/k3s-harden@.service",
        "remove the package k3s-harden",
    )


def test_revert_beside_the_package_names_what_to_remove(packaged: HostTree) -> None:
    """`uninstall` would leave the gate where it is."""
    packaged.options = ("--role", "server", "--k3s-version", "1.34")
    packaged.run("apply")
    assert packaged.seen("revert").only("gate-remains").remediation == "remove the package k3s-harden"


@pytest.mark.parametrize("with_package", [True, False])
def test_check_says_that_the_gate_does_not_wait_for_a_moved_data_directory(
    host: HostTree, request: pytest.FixtureRequest, *, with_package: bool
) -> None:
    """Whether it was moved after `install`, or a package brought the gate; another `install` sees to it."""
    program = PACKAGED_PROGRAM if with_package else ("--program", PROGRAM)
    request.getfixturevalue("packaged" if with_package else "ready")
    host.run("install", *program)
    host.options = ("--role", "server", "--k3s-version", "1.34")
    assert host.run("apply").code == 0
    assert host.seen("check").of("gate-before-mount") == ()
    host.write("/etc/rancher/k3s/config.yaml", "data-dir: /srv/k3s\n")
    missing = host.seen("check").only("gate-before-mount")
    assert (missing.expected, missing.remediation) == ("RequiresMountsFor=/srv/k3s", "sudo k3s-harden install")
    assert missing.location == (f"{PACKAGED_UNITS}/k3s-harden@.service" if with_package else GATE)
    host.run("install", *program)
    assert host.seen("check").of("gate-before-mount") == ()
