"""Starts of K3s without the gate, and retries of blocked services."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import HostError, UsageError
from agent.base.host.process import Completed
from agent.base.repair import Run, RunVerb
from agent.base.value import replace
from agent.harden.gate.gate_state import end_exceptions, read_exceptions
from agent.harden.gate.gate_units import gate_files
from agent.harden.node.service_units import DROPIN
from agent.reports import repair_texts
from agent.verbs.bypass import bypass, minutes_of
from tests.fake import Programs, fake_host
from tests.k3s_tree import put

pytestmark = pytest.mark.root
RUN = "run/k3s-harden"
UNTIL = "2023-11-14T22:28:20Z"


@pytest.fixture
def guarded(tmp_path: Path) -> Path:
    """A host tree with a gate for two services."""
    (tmp_path / "run").mkdir()
    for service in ("k3s", "k3s-east"):
        put(tmp_path, f"etc/systemd/system/{service}.service.d/{DROPIN}", "# k3s-harden@\n")
        put(tmp_path, f"etc/systemd/system/{service}.service")
    put(tmp_path, "proc/uptime", "100.99 5.0\n")
    return tmp_path


def booted(guarded: Path, *units: str, after: tuple[str, ...] = ()) -> Programs:
    """Return a systemd that shows these units before a start, and those afterwards."""
    for path in ("usr/bin/systemctl", "run/systemd/system/.keep", "run/systemd/systemd-units-load"):
        put(guarded, path, mode=0o755)
    services = sorted(line.split()[0] for line in units)

    def shown(names: str, lines: tuple[str, ...]) -> Completed:
        rows = (dict(zip(names.split(","), line.split(" "))) for line in lines)
        return Completed(0, "\n\n".join("\n".join(f"{key}={row[key]}" for key in row) for row in rows), "")

    before, then = "Id,ActiveState,UnitFileState", "Id,ActiveState,Job"
    systemctl = "/usr/bin/systemctl"
    return Programs(
        {
            (systemctl, "show", f"--property={before}", "--", *services): shown(before, units),
            (systemctl, "show", f"--property={then}", "--", *services): shown(then, after),
            (systemctl, "show", f"--property={then}", "--", "k3s-east.service", "k3s.service"): shown(then, after),
            **{(systemctl, "reset-failed", service): Completed(0, "", "") for service in services},
            **{(systemctl, "start", "--no-block", service): Completed(0, "", "") for service in services},
        }
    )


def test_a_bypass_is_a_file_per_service_with_end_user_and_time(guarded: Path) -> None:
    """The drop-in of the service uses the file, whose end is an uptime. The report and the system log have the time."""
    put(guarded, "usr/bin/logger")
    words = ("/usr/bin/logger", "--tag", "k3s-harden", "--priority", "authpriv.warning", "--")
    user = fake_host(guarded).user
    texts = [
        f"the next start of {service}.service until {UNTIL} passes without its gate: k3s-harden bypass by {user}"
        for service in ("k3s", "k3s-east")
    ]
    programs = Programs({(*words, text): Completed(0, "", "") for text in texts})
    host = fake_host(guarded, programs=programs, is_live=True)
    report = bypass(host, (), 15)
    assert report.exit_code == 0
    assert {item.id: item.detail for item in report.items} == dict.fromkeys(
        ("k3s.service", "k3s-east.service"), f"the next start until {UNTIL} passes without the gate"
    )
    for service in ("k3s", "k3s-east"):
        file = guarded / RUN / f"bypass.{service}"
        assert file.read_text() == f"1000 {user}, 2023-11-14T22:13:20Z\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert len(programs.asked) == 2


def test_only_the_named_service_is_bypassed(guarded: Path) -> None:
    bypass(fake_host(guarded, is_live=True), ("k3s-east.service",), 15)
    assert [file.name for file in (guarded / RUN).iterdir()] == ["bypass.k3s-east"]


def test_only_services_that_exist_are_bypassed(guarded: Path) -> None:
    """install writes drop-ins for both usual services. A file for the other one would let its first start pass."""
    put(guarded, f"etc/systemd/system/k3s-agent.service.d/{DROPIN}", "# k3s-harden@\n")
    report = bypass(fake_host(guarded, is_live=True), (), 15)
    assert {item.id for item in report.items} == {"k3s.service", "k3s-east.service"}
    restarts = [one.step for one in report.next_steps if isinstance(one.step, Run)]
    assert {one.line for one in restarts} == {"sudo systemctl start k3s", "sudo systemctl start k3s-east"}
    assert not (guarded / RUN / "bypass.k3s-agent").exists()
    for other in ("k3s-agent.service", "k3s-west.service"):
        with pytest.raises(UsageError, match=f"{other}: there is no such service with a gate") as caught:
            bypass(fake_host(guarded, is_live=True), (other,), 15)
        assert "k3s-east.service" in repair_texts.text(caught.value.repair)


def test_a_host_tree_has_no_start_to_bypass(guarded: Path) -> None:
    """No service runs in a host tree."""
    with pytest.raises(UsageError, match="no service runs in it"):
        bypass(fake_host(guarded), (), 15)


def test_a_bypass_expires_by_a_clock_that_must_be_readable(guarded: Path) -> None:
    """Without it the drop-in would ignore the bypass."""
    (guarded / "proc/uptime").unlink()
    with pytest.raises(HostError, match="/proc/uptime, by which the bypass expires"):
        bypass(fake_host(guarded, is_live=True), (), 15)
    assert not (guarded / RUN).exists()


def put_files(guarded: Path, **files: str) -> Path:
    run = guarded / RUN
    run.mkdir(parents=True)
    for name, text in files.items():
        (run / name.replace("_", ".").replace("east", "k3s-east")).write_text(text)
    return run


def test_a_bypass_ends_the_pause_of_a_blocked_service(guarded: Path) -> None:
    run = put_files(guarded, ungated_k3s="")
    programs = booted(guarded, "k3s.service activating enabled", after=("k3s.service activating 7",))
    report = bypass(fake_host(guarded, programs=programs, is_live=True), (), 15)
    assert {file.name for file in run.iterdir()} == {"bypass.k3s", "bypass.k3s-east"}
    details = {item.id: item.detail for item in report.items}
    assert details["k3s.service"].startswith("is being started; the next start until")
    steps = [step.step.line for step in report.next_steps if isinstance(step.step, Run)]
    assert steps == ["sudo systemctl start k3s-east"]


def test_a_k3s_that_runs_is_not_started(guarded: Path) -> None:
    """Also under OpenRC, where what waits for the gate counts as started, and then becomes K3s."""
    programs = booted(guarded, after=("k3s.service active",))
    report = bypass(fake_host(guarded, programs=programs, is_live=True), (), 15)
    assert {item.id: item.detail.partition(" ")[0] for item in report.items} == {
        "k3s.service": "runs;",
        "k3s-east.service": "the",
    }
    steps = [step.step.line for step in report.next_steps if isinstance(step.step, Run)]
    assert steps == ["sudo systemctl start k3s-east"]


@pytest.mark.parametrize(("is_blocked", "detail"), [(True, "is being started; the next"), (False, "runs; the next")])
def test_under_openrc_a_started_service_needs_no_start(tmp_path: Path, detail: str, *, is_blocked: bool) -> None:
    for path in ("etc/init.d/k3s", "run/openrc/softlevel", "run/openrc/started/k3s", "sbin/openrc", "sbin/openrc-run"):
        put(tmp_path, path, "#!/sbin/openrc-run\ncommand=/usr/local/bin/k3s\n", 0o755)
    for file in gate_files(PurePosixPath("/usr/bin/k3s-harden")):
        put(tmp_path, file.path, file.content)
    put(tmp_path, "proc/uptime", "100.99 5.0\n")
    run = put_files(tmp_path, **({"ungated_k3s": ""} if is_blocked else {}))
    report = bypass(fake_host(tmp_path, is_live=True), (), 15)
    assert [(item.id, item.detail.startswith(detail)) for item in report.items] == [("k3s", True)]
    assert [step.step for step in report.next_steps] == [RunVerb("check")]
    assert [file.name for file in run.iterdir()] == ["bypass.k3s"]


def test_a_bypass_says_which_longer_one_it_replaces(guarded: Path) -> None:
    host = fake_host(guarded, is_live=True)
    bypass(host, ("k3s.service",), 120, each=True)
    (item,) = bypass(host, ("k3s.service",), 15).items
    assert item.detail.endswith(", and no longer each start until 2023-11-15T00:13:20Z")


@pytest.mark.parametrize(
    ("unit", "after", "commands"),
    [
        ("activating enabled", "activating 7", []),
        ("failed enabled", "failed 7", ["reset-failed k3s.service", "start --no-block k3s.service"]),
        ("failed disabled", "inactive", ["reset-failed k3s.service"]),
        ("failed masked", "inactive", ["reset-failed k3s.service"]),
        ("failed ", "inactive", ["reset-failed k3s.service"]),
        ("inactive enabled", "inactive", []),
    ],
)
def test_a_compliant_run_starts_what_the_gate_blocked(
    guarded: Path, unit: str, after: str, commands: list[str]
) -> None:
    """A service that systemd gave up is started. One that was stopped or disabled is not, and is not reported so."""
    run = put_files(guarded, ungated_k3s="", ungated_east="101 alice, now\n", bypass_east="101 alice, now\n")
    programs = booted(guarded, f"k3s.service {unit}", after=(f"k3s.service {after}",))
    started = end_exceptions(fake_host(guarded, programs=programs, is_live=True))
    assert started == (("k3s.service",) if after.endswith("7") else ())
    assert list(run.iterdir()) == []
    assert [" ".join(call[1:]) for call in programs.asked if call[1] != "show"] == commands


def test_a_compliant_run_that_is_killed_is_repeated_by_the_next_one(guarded: Path) -> None:
    """The file that says that the gate blocked the service is removed last."""
    put_files(guarded, ungated_k3s="")
    programs = booted(guarded, "k3s.service failed enabled", after=("k3s.service activating",))
    host = fake_host(guarded, programs=programs, is_live=True)

    def killed(argv: Sequence[str], **_: float) -> Completed:
        if argv[1] == "start":
            raise KeyboardInterrupt
        return programs(argv, timeout=1)

    with pytest.raises(KeyboardInterrupt):
        end_exceptions(replace(host, run=killed))
    assert end_exceptions(host) == ("k3s.service",)


def test_a_bypass_for_a_time_is_reported_as_one_for_each_start(guarded: Path) -> None:
    host = fake_host(guarded, is_live=True)
    report = bypass(host, ("k3s.service",), minutes_of("2h"), each=True)
    assert report.items[0].detail == "each start until 2023-11-15T00:13:20Z passes without the gate"
    assert (guarded / RUN / "bypass.k3s").read_text() == f"7300 each {host.user}, 2023-11-14T22:13:20Z\n"
    found = read_exceptions(host).bypasses["k3s.service"]
    assert (found.is_for_each, found.by) == (True, f"{host.user}, 2023-11-14T22:13:20Z")


@pytest.mark.parametrize("duration", ["25h", "2d", "1441m", "2", "0h", "-1h", "", "2h30m"])
def test_a_bypass_lasts_at_most_a_day(duration: str) -> None:
    with pytest.raises(UsageError, match=r"--for.*at most 24h"):
        minutes_of(duration)
    assert (minutes_of("1d"), minutes_of("90m")) == (1440, 90)
