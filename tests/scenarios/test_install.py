"""install and uninstall: gate, timers, completions, and hosts with the distribution's package."""

from __future__ import annotations

import pytest

from tests.scenarios.host_tree import HostTree
from tests.scenarios.loaded_program import CHECKOUT

UNITS = "/etc/systemd/system"
GATE = f"{UNITS}/k3s-harden@.service"
PROGRAM = "/usr/local/bin/k3s-harden"
SYSTEMD = "/usr/lib/systemd/systemd"


@pytest.fixture
def ready(host: HostTree) -> HostTree:
    host.write(PROGRAM, "#!/bin/sh\n", 0o755)
    host.write(SYSTEMD, "#!/bin/sh\n", 0o755)
    host.options = ()
    return host


def dropin(service: str) -> str:
    return f"{UNITS}/{service}.d/zzz-k3s-harden.conf"


def test_install_adds_the_gate_once_to_k3s_and_k3s_agent_before_they_exist(ready: HostTree) -> None:
    done = ready.run("install", "--program", PROGRAM)
    assert done.code == 0, done
    assert f"ExecStart={PROGRAM} gate" in ready[GATE].read_text()
    assert "k3s-harden-service-accounts.timer" in ready[dropin("k3s.service")].read_text()
    assert "k3s-harden-service-accounts.timer" not in ready[dropin("k3s-agent.service")].read_text()
    modes = {ready[path].stat().st_mode & 0o777 for path in (GATE, dropin("k3s.service"), dropin("k3s-agent.service"))}
    assert modes == {0o644}
    before = ready.entries()
    done = ready.run("install", "--program", PROGRAM)
    assert (done.code, "changed" in done.stdout.replace("nothing was changed", "")) == (0, False)
    assert ready.entries() == before


def test_install_fails_on_a_tree_without_systemd(ready: HostTree) -> None:
    ready[SYSTEMD].unlink()
    before = ready.entries()
    done = ready.run("install", "--program", PROGRAM)
    assert done.code == 6
    assert "it has neither systemd nor OpenRC" in done.stderr
    assert ready.entries() == before


def test_install_adds_the_gate_to_a_service_of_another_name(ready: HostTree) -> None:
    """A service created with INSTALL_K3S_NAME is found by its unit; --unit names one that does not exist yet."""
    ready.unit("agent", name="k3s-east")
    ready.run("install", "--program", PROGRAM, "--unit", "k3s-west.service")
    assert "accounts.timer" not in ready[dropin("k3s-east.service")].read_text()
    assert "accounts.timer" in ready[dropin("k3s-west.service")].read_text()


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/opt", "it is a directory"),
        ("/opt/plain", "it is not executable: its mode is 0644"),
        ("/opt/writable", "others can write to it"),
        ("/opt/none", "No such file or directory"),
        ("opt/program", "it is not an absolute path"),
        ("/opt/program", "its name has no k3s-harden, by which `check` recognizes the gate"),
        ("/home/program", "the sandbox of the units hides /home"),
        ("/opt/a$b", "its name has a quote, a backslash, a $ or a control character"),
        ("/opt/a\nb", "its name has a quote, a backslash, a $ or a control character"),
    ],
)
def test_a_program_that_the_gate_could_not_run_is_refused(ready: HostTree, path: str, problem: str) -> None:
    """The next start of K3s would be blocked, because the gate would fail."""
    for name in ("/opt/program", "/home/program", "/opt/a$b", "/opt/a\nb"):
        ready.write(name, "#!/bin/sh\n", 0o755)
    ready.write("/opt/plain", "#!/bin/sh\n", 0o644)
    ready.write("/opt/writable", "#!/bin/sh\n", 0o757)
    done = ready.run("install", "--program", path)
    assert (done.code, problem in done.stderr) == (2, True), done
    assert not ready[UNITS].exists()


GATE_KINDS = {"gate-bypassed", "gate-unit-differs", "gate-program-unusable", "gate-half-missing", "gate-before-mount"}
CHECK = ("--role", "server", "--k3s-version", "1.34")


@pytest.mark.parametrize(
    ("path", "word"),
    [
        (PROGRAM, PROGRAM),
        ("/opt/my dir/100%/k3s-harden", '"/opt/my dir/100%%/k3s-harden"'),
        ("/opt/a;b/k3s-harden", '"/opt/a;b/k3s-harden"'),
    ],
)
@pytest.mark.parametrize(
    ("data_dir", "mounted"),
    [
        ("/var/lib/rancher/k3s", "/var/lib/rancher/k3s"),
        ("/srv/a b;100%", '"/srv/a b;100%%"'),
        ("/home/k3s", "/home/k3s"),
    ],
)
def test_an_installed_gate_with_any_paths_is_not_reported(
    ready: HostTree, path: str, word: str, data_dir: str, mounted: str
) -> None:
    """Its units contain the program and the data directory of this host, quoted and escaped."""
    ready.write(path, "#!/bin/sh\n", 0o755)
    ready.write("/etc/rancher/k3s/config.yaml", f"data-dir: {data_dir}\n")
    ready.unit("server")
    assert ready.run("install", "--program", path).code == 0
    assert f"ExecStart={word} gate\n" in ready[GATE].read_text()
    assert f"RequiresMountsFor=/etc /var/lib/k3s-harden {mounted}\n" in ready[GATE].read_text()
    ready.options = CHECK
    assert ready.seen("check").ids & GATE_KINDS == set()


@pytest.mark.parametrize(
    "name", ["edge.service", "k3s-a b.service", "k3s-east", "k3s/east.service", "k3s-harden.service", "k3s-é.service"]
)
def test_a_service_name_that_cannot_be_of_k3s_is_rejected(ready: HostTree, name: str) -> None:
    """The gate could not start such a service again after blocking it, and must not wait for itself."""
    done = ready.run("install", "--program", PROGRAM, "--unit", name)
    assert (done.code, f"cannot install the gate for {name}" in done.stderr) == (2, True), done
    assert not ready[UNITS].exists()


def test_an_edited_unit_is_replaced_with_a_backup(ready: HostTree) -> None:
    ready.run("install", "--program", PROGRAM)
    edited = ready[GATE].read_text() + "# mine\n"
    ready[GATE].write_text(edited)
    ready.run("install", "--program", PROGRAM)
    assert "# mine" not in ready[GATE].read_text()
    (backup,) = ready["/var/lib/k3s-harden/backups"].iterdir()
    assert backup.read_text() == edited


def test_uninstall_removes_all_files_of_install(ready: HostTree) -> None:
    ready.write(f"{UNITS}/k3s.service.d/50-site.conf", "[Service]\n")
    ready.write("/usr/local/share/zsh/site-functions/_site", "")
    ready["/etc/cloud"].mkdir()
    ready["/run"].mkdir(exist_ok=True)
    before = set(ready.entries())
    ready.run("install", "--program", PROGRAM)
    assert ready["/etc/cloud/clean.d/50-k3s-harden"].stat().st_mode & 0o111
    ready.write("/run/k3s-harden/ungated.k3s", "")
    done = ready.run("uninstall", "--program", PROGRAM)
    assert done.code == 0, done
    assert set(ready.entries()) == before
    again = ready.run("uninstall", "--program", PROGRAM)
    assert (again.code, GATE in again.stdout, "Nothing to uninstall" in again.stdout) == (0, False, True)


@pytest.mark.parametrize(
    ("script", "settings", "code"),
    [
        ("#!/opt/venv/bin/python3\n", "home = /usr/bin\nversion = 3.11.2\n", 2),
        ("#!/usr/bin/python3.11\n", "", 2),
        ("#!/opt/venv/bin/python3\n", "home = /opt/python3.12/bin\n", 0),
        ("#!/usr/local/bin/python3.12\n", "", 0),
        ("#!/bin/sh\nexec python3 -c main\n", "", 0),
    ],
)
def test_a_program_that_an_upgrade_of_python_breaks_is_refused(
    ready: HostTree, script: str, settings: str, code: int
) -> None:
    """pip installed it for the distribution's Python. The gate would fail after the upgrade, and block K3s."""
    ready.write(PROGRAM, f"{script}import sys\n", 0o755)
    ready.write("/opt/venv/pyvenv.cfg", settings)
    done = ready.run("install", "--program", PROGRAM)
    assert done.code == code, done
    assert ready[GATE].exists() == (code == 0)
    assert ("k3s-harden-VERSION.pyz" in done.stderr) == (code != 0)


def test_uninstall_asks_about_a_file_that_it_did_not_write(ready: HostTree) -> None:
    ready[GATE].parent.mkdir(parents=True, exist_ok=True)
    ready[GATE].unlink(missing_ok=True)
    ready[GATE].symlink_to("/etc/other.service")
    done = ready.run("uninstall")
    assert f"Is {GATE} needed? No (it is moved away): run `" in done.stdout
    assert f"mv -nT {GATE} {GATE}.moved" in done.stdout


def test_a_symlink_at_the_path_of_a_unit_is_refused(ready: HostTree) -> None:
    canary = ready.write("/etc/canary", "keep\n")
    ready[UNITS].mkdir(parents=True)
    ready[GATE].symlink_to("/etc/canary")
    done = ready.run("install", "--program", PROGRAM, "--unit", "k3s-north.service")
    assert done.code == 4
    assert f"refused {GATE}: is a symlink" in done.stdout
    assert canary.read_text() == "keep\n"
    steps = done.stdout.splitlines()[-2:]
    assert steps[0].endswith(f" mv -nT {GATE} {GATE}.moved")
    assert steps[1].endswith(f"install --root {ready.root} --program {PROGRAM} --unit k3s-north.service")


@pytest.mark.parametrize("link", [True, False])
def test_check_reports_a_masked_unit_or_drop_in_of_the_gate(ready: HostTree, *, link: bool) -> None:
    """systemd treats a link to /dev/null and an empty file as a mask."""

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
    assert ready.seen("check").only("gate-half-missing").expected == "k3s.service.d/zzz-k3s-harden.conf"
    ready[dropin("k3s.service")].unlink()
    ready.run("install", "--program", PROGRAM)
    mask(GATE)
    missing = next(
        finding for finding in ready.seen("check").of("gate-half-missing") if finding.location == dropin("k3s.service")
    )
    assert missing.message.endswith(f"its gate is masked by {GATE}")
    assert missing.repair == "run `sudo systemctl unmask k3s-harden@.service`; or run `k3s-harden uninstall`"


# --- with the distribution's package ---

PACKAGED_UNITS = "/usr/lib/systemd/system"
PACKAGED_PROGRAM = ("--program", "/usr/bin/k3s-harden")
HOOK = "/etc/cloud/clean.d/50-k3s-harden"
DATA_DIR_DROPINS = {f"{UNITS}/{unit}.service.d/10-data-dir.conf" for unit in ("k3s-harden", "k3s-harden@")}


@pytest.fixture
def packaged(host: HostTree) -> HostTree:
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
    return {name for name, entry in host.entries().items() if entry.kind == "file" and not name.startswith("/usr/lib/")}


def test_with_the_package_install_makes_no_changes(packaged: HostTree) -> None:
    """Units in /etc would override those of the package, also after its upgrades."""
    before = packaged.entries()
    seen = packaged.seen("install", *PACKAGED_PROGRAM)
    assert (seen.code, seen.items) == (0, {})
    assert seen.facts["gate"] == (
        f"{PACKAGED_UNITS}/k3s-harden@.service",
        "runs before each start of K3s; installed by a package",
    )
    assert packaged.entries() == before


@pytest.mark.parametrize("data_dir", ["/var/lib/rancher/k3s", "/srv/k3s", "/home/k3s"])
def test_the_gate_of_a_package_is_not_reported(packaged: HostTree, data_dir: str) -> None:
    """The data directory is in a drop-in. Files of the package are restored by the package."""
    packaged.write("/etc/rancher/k3s/config.yaml", f"data-dir: {data_dir}\n")
    packaged.unit("server")
    packaged.run("install", *PACKAGED_PROGRAM)
    packaged.options = CHECK
    assert packaged.seen("check").ids & GATE_KINDS == set()
    unit = f"{PACKAGED_UNITS}/k3s-harden@.service"
    packaged[unit].write_text(packaged[unit].read_text().replace("/usr/bin/k3s-harden gate", "/bin/true"))
    found = packaged.seen("check").only("gate-bypassed")
    assert found.repair == (
        f"install the package k3s-harden again, which restores the file in {unit}; run `systemctl daemon-reload`"
    )


def test_with_the_package_install_adds_the_gate_to_a_service_of_another_name(packaged: HostTree) -> None:
    """The package has no drop-in for that service, so install writes one to /etc, and no other file."""
    packaged.unit("agent", name="k3s-east")
    before = own_files(packaged)
    assert packaged.run("install", *PACKAGED_PROGRAM, "--unit", "k3s-west.service").code == 0
    assert own_files(packaged) - before == {dropin("k3s-east.service"), dropin("k3s-west.service")}


def test_no_directory_of_k3s_is_hidden_from_the_gate_or_read_only_for_it(ready: HostTree) -> None:
    """K3s' configuration and data can be in any directory. Otherwise the gate would fail and block K3s."""
    ready.run("install", "--program", PROGRAM)
    hiding = ("ProtectHome=", "ProtectSystem=", "PrivateTmp=", "ReadOnlyPaths=", "InaccessiblePaths=")
    assert not [line for line in ready[GATE].read_text().splitlines() if line.startswith(hiding)]


def test_with_the_package_install_adds_the_mount_of_a_moved_data_directory(packaged: HostTree) -> None:
    """The drop-in of the gate is removed when the data directory is at its default path again."""
    before = own_files(packaged)
    config = packaged.write("/etc/rancher/k3s/config.yaml", "data-dir: /srv/k3s\n")
    assert packaged.run("install", *PACKAGED_PROGRAM).code == 0
    assert own_files(packaged) - before == {"/etc/rancher/k3s/config.yaml", *DATA_DIR_DROPINS}
    assert "\n[Unit]\nRequiresMountsFor=/srv/k3s\n" in packaged[min(DATA_DIR_DROPINS)].read_text()
    assert packaged.seen("install", *PACKAGED_PROGRAM).with_status("changed") == set()
    config.unlink()
    assert packaged.seen("install", *PACKAGED_PROGRAM).with_status("changed") == DATA_DIR_DROPINS
    assert own_files(packaged) == before


def test_with_the_package_install_replaces_a_missing_drop_in(packaged: HostTree) -> None:
    packaged[f"{PACKAGED_UNITS}/k3s.service.d/zzz-k3s-harden.conf"].unlink()
    before = own_files(packaged)
    packaged.run("install", *PACKAGED_PROGRAM)
    assert own_files(packaged) - before == {dropin("k3s.service")}


def test_install_removes_its_units_if_the_package_was_installed_later(packaged: HostTree) -> None:
    """Files of the earlier `install` in /etc are removed, with a backup of edited ones. A mask is kept."""
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


def test_with_the_package_install_rejects_the_gate_of_another_program(packaged: HostTree) -> None:
    """The package's gate does not run it, and a unit in /etc would override the package's gate."""
    packaged.write(PROGRAM, "#!/bin/sh\n", 0o755)
    before = packaged.entries()
    done = packaged.run("install", "--program", PROGRAM)
    assert done.code == 2
    assert "--program /usr/bin/k3s-harden" in done.stderr
    assert packaged.entries() == before


def test_uninstall_keeps_the_files_of_the_package_and_reports_its_gate(packaged: HostTree) -> None:
    """Files that `install` added are removed. The hook belongs to the package's configuration and is kept."""
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
    assert (remains.location, remains.repair) == (
        f"{PACKAGED_UNITS}/k3s-harden@.service",
        "remove the package k3s-harden",
    )


@pytest.mark.parametrize("with_package", [True, False])
def test_check_reports_a_gate_that_does_not_wait_for_the_data_directory(
    host: HostTree, request: pytest.FixtureRequest, *, with_package: bool
) -> None:
    """The data directory was moved after `install`, or the gate is the package's; `install` fixes both."""
    program = PACKAGED_PROGRAM if with_package else ("--program", PROGRAM)
    request.getfixturevalue("packaged" if with_package else "ready")
    host.run("install", *program)
    host.options = CHECK
    assert host.run("apply").code == 0
    assert host.seen("check").of("gate-before-mount") == ()
    host.write("/etc/rancher/k3s/config.yaml", "data-dir: /srv/k3s\n")
    missing = host.seen("check").only("gate-before-mount")
    assert (missing.expected, missing.repair) == ("RequiresMountsFor=/srv/k3s", "k3s-harden install")
    assert missing.location == (f"{PACKAGED_UNITS}/k3s-harden@.service" if with_package else GATE)
    host.run("install", *program)
    assert host.seen("check").of("gate-before-mount") == ()
