"""Confirmation of a start: what K3s has logged, compared with what the gate judged."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from agent.base.errors import HostError, UsageError
from agent.base.host import Host
from agent.base.host.process import LARGEST_OUTPUT, Completed
from agent.base.host.service_process import ServiceProcess
from agent.base.value import replace
from agent.harden.gate.confirmation import confirm, record_judged
from agent.harden.gate.starting_service import StartingService
from agent.harden.situation.observation import observe_situation
from tests.fake import Clock, fake_host
from tests.k3s_tree import K3s, put
from tests.unit.assess.checks.nodes import node

pytestmark = pytest.mark.root

ID = "0123456789abcdef0123456789abcdef"
JUDGED = """\
kube-apiserver --audit-log-maxage=30
kube-apiserver --enable-admission-plugins=NodeRestriction,EventRateLimit
kubelet --make-iptables-util-chains=true
"""
API_SERVER = "kube-apiserver --audit-log-maxage=30 --enable-admission-plugins=EventRateLimit,NodeRestriction --v=2"
KUBELET = "kubelet --make-iptables-util-chains=true --pod-manifest-path=/a"
REAL = Path(__file__).parents[3] / "data/benchmark/argument-lines.tsv"


def logged(*components: str) -> str:
    lines = ["Starting k3s v1.34.1+k3s1", *(f"Running {component}" for component in components)]
    return "".join(f'time="2026-11-30T15:00:00Z" level=info msg="{line}"\n' for line in lines)


class Site:
    """A live host on which K3s has started, and has logged these texts at later looks; the last one remains."""

    def __init__(self, root: Path, *logs: str, state: str = "active", invocation: str = ID, judged: str = "") -> None:
        self.root, self.logs, self.clock = root, list(logs), Clock()
        self.shown = f"ActiveState={state}\nInvocationID={invocation}\n"
        self.gate = ""
        for path in ("run/systemd/system/.keep", "usr/bin/systemctl", "usr/bin/journalctl"):
            put(root, path, "", mode=0o755)
        put(root, "run/k3s-harden/judged.k3s", f"{ID}\n{judged or JUDGED}")
        for name in ("unhardened", "unconfirmed"):
            put(root, f"run/k3s-harden/{name}.k3s", "of the start before\n")

    def __call__(self, argv: Sequence[str], *, timeout: float, largest_output: int = LARGEST_OUTPUT) -> Completed:
        """Answer as systemctl and journalctl."""
        assert min(timeout, largest_output) > 0
        if argv[0].endswith("systemctl"):
            return Completed(0, self.gate if argv[-1].startswith("k3s-harden@") else self.shown, "")
        assert argv[-1] == f"_SYSTEMD_INVOCATION_ID={ID}"
        return Completed(0, self.logs.pop(0) if len(self.logs) > 1 else self.logs[0], "")

    @property
    def host(self) -> Host:
        return replace(fake_host(self.root, clock=self.clock, is_live=True), run=self)

    def result(self, name: str) -> str:
        """Return the text of a file for the finding; empty without it."""
        path = self.root / f"run/k3s-harden/{name}.k3s"
        return path.read_text() if path.exists() else ""


def test_a_start_with_the_judged_arguments_is_confirmed(tmp_path: Path) -> None:
    """The results of the start before are removed."""
    site = Site(tmp_path, logged(API_SERVER, KUBELET))
    assert confirm(site.host, "k3s") == "k3s.service: runs with the arguments that the gate judged"
    assert (site.result("unhardened"), site.result("unconfirmed")) == ("", "")


@pytest.mark.parametrize(
    ("component", "before", "after", "difference"),
    [
        (API_SERVER, "maxage=30", "maxage=1", "kube-apiserver has --audit-log-maxage=1"),
        (API_SERVER, "maxage=30", "maxage=30 --audit_log_maxage=1", "kube-apiserver has --audit-log-maxage=1"),
        (API_SERVER, ",NodeRestriction", "", "kube-apiserver has --enable-admission-plugins=EventRateLimit"),
        (API_SERVER, "maxage=30", "maxage=1 --audit-log-maxage=30", "kube-apiserver has --audit-log-maxage=1"),
        (KUBELET, " --make-iptables-util-chains=true", "", "kubelet has no --make-iptables-util-chains"),
    ],
)
def test_other_arguments_are_reported(tmp_path: Path, component: str, before: str, after: str, difference: str) -> None:
    changed = [text.replace(before, after) if text == component else text for text in (API_SERVER, KUBELET)]
    site = Site(tmp_path, logged(*changed))
    with pytest.raises(HostError, match="other arguments than those that the gate judged") as raised:
        confirm(site.host, "k3s")
    assert raised.value.message.endswith(f": {difference}")
    assert (site.result("unhardened"), site.result("unconfirmed")) == (f"{difference}\n", "")


@pytest.mark.parametrize(
    ("ran", "result", "bypass", "is_reported"),
    [
        (99, "success", "", True),
        (0, "success", "", True),
        (150, "exit-code", "", True),
        (150, "success", "", False),
        (250, "exit-code", "", False),
        (99, "success", "1000 alice", False),
    ],
    ids=["of an earlier start", "never", "failed", "of this start", "by hand, later", "bypassed"],
)
def test_a_start_that_its_gate_did_not_let_pass_is_reported(
    tmp_path: Path, ran: int, result: str, bypass: str, *, is_reported: bool
) -> None:
    """systemd has the times. K3s was inactive until 100, and its process began at 200."""
    site = Site(tmp_path, logged(API_SERVER, KUBELET))
    site.shown += "InactiveExitTimestampMonotonic=100\nExecMainStartTimestampMonotonic=200\n"
    site.gate = f"Result={result}\nExecMainStartTimestampMonotonic={ran}\n"
    put(site.root, "run/k3s-harden/ungated.k3s", bypass)
    with pytest.raises(HostError, match="without its gate") if is_reported else nullcontext():
        confirm(site.host, "k3s")
    assert site.result("unhardened") == ("the gate did not let this start pass\n" if is_reported else "")


def test_a_text_of_a_pod_in_the_log_of_the_kubelet_is_no_evidence(tmp_path: Path) -> None:
    """klog prints its lines after a tab, with their quotes. Components have logged their arguments before."""
    line = logged(API_SERVER.replace("maxage=30", "maxage=1")).splitlines(keepends=True)[-1]
    error = f'E1130 15:00:00 1 pod_workers.go:1] "Error syncing pod" err=<\n\t{line} >\n'
    site = Site(tmp_path, logged(API_SERVER, KUBELET) + error + line)
    assert confirm(site.host, "k3s") == "k3s.service: runs with the arguments that the gate judged"
    assert "cannot confirm the start" in confirm(Site(tmp_path / "silent", error).host, "k3s")


def test_it_waits_until_each_component_has_logged_its_arguments(tmp_path: Path) -> None:
    site = Site(tmp_path, "", logged(API_SERVER), logged(API_SERVER, KUBELET))
    before = site.clock.seconds
    assert "runs with the arguments" in confirm(site.host, "k3s")
    assert site.clock.seconds - before == 30


@pytest.mark.parametrize(("log", "silent"), [("", "kube-apiserver and kubelet"), (logged(API_SERVER), "kubelet")])
def test_no_evidence_within_ten_minutes_is_no_error(tmp_path: Path, log: str, silent: str) -> None:
    """Such as with K3s' option `log`."""
    site = Site(tmp_path, log)
    before = site.clock.seconds
    assert "cannot confirm the start" in confirm(site.host, "k3s")
    assert site.clock.seconds - before == 600
    assert (site.result("unhardened"), silent in site.result("unconfirmed")) == ("", True)


def test_a_journal_that_cannot_be_read_is_no_error(tmp_path: Path) -> None:
    site = Site(tmp_path, "")
    (tmp_path / "usr/bin/journalctl").unlink()
    assert "cannot confirm the start" in confirm(site.host, "k3s.service")


@pytest.mark.parametrize("changes", [{"state": "inactive"}, {"state": "failed"}, {"invocation": "f" * 32}])
def test_a_k3s_that_has_ended_or_was_not_judged_is_not_compared(tmp_path: Path, changes: dict[str, str]) -> None:
    """Such as after `bypass`, or with a gate that observes."""
    site = Site(tmp_path, logged("kubelet --a=b"), **changes)
    assert confirm(site.host, "k3s") == "k3s.service: no start to confirm"
    assert (site.result("unhardened"), site.result("unconfirmed")) == ("", "")


def test_a_start_without_a_record_is_not_compared(tmp_path: Path) -> None:
    site = Site(tmp_path, "", invocation="")
    (tmp_path / "run/k3s-harden/judged.k3s").unlink()
    assert "no start to confirm" in confirm(site.host, "k3s")
    with pytest.raises(UsageError):
        confirm(site.host, "")


@pytest.mark.parametrize("line", [line.partition("\t")[2] for line in REAL.read_text().splitlines()])
def test_lines_of_real_releases_are_read(tmp_path: Path, line: str) -> None:
    """Each argument of the line was judged. One that it lacks is found."""
    _, component, *arguments = line.rstrip().split(" ")
    judged = "".join(f"{component} {argument}\n" for argument in arguments)
    assert "runs with" in confirm(
        Site(tmp_path, logged(f"{component} {' '.join(arguments)}"), judged=judged).host, "k3s"
    )
    lacking = Site(tmp_path, logged(f"{component} {' '.join(arguments)}"), judged=f"{judged}{component} --none=1\n")
    with pytest.raises(HostError, match=f"{component} has no --none$"):
        confirm(lacking.host, "k3s")


@pytest.mark.parametrize(
    ("role", "components"),
    [("server", ("kube-apiserver", "kube-controller-manager", "kubelet")), ("agent", ("kubelet",))],
)
def test_the_gate_records_each_component_argument_of_the_guide(
    tmp_path: Path, role: str, components: tuple[str, ...]
) -> None:
    """A component that K3s does not run has none."""
    host = node(tmp_path / "node", K3s(role=role))
    host.harden()
    process = ServiceProcess.__new__(ServiceProcess)
    object.__setattr__(process, "variables", (f"INVOCATION_ID={ID}",))
    start = StartingService("k3s", process, {}, None)
    situation = observe_situation(host.host(), host.request())
    record_judged(host.host(), start, situation.settings, situation.facts)
    first, *lines = host.path("/run/k3s-harden/judged.k3s").read_text().splitlines()
    dropin = "".join(path.read_text() for path in host.path("/etc/rancher/k3s/config.yaml.d").iterdir())
    expected = [line.strip(" -'\"") for line in dropin.splitlines() if line.startswith(" ") and "=" in line]
    assert first == ID
    assert sorted(line.partition(" --")[2] for line in lines) == sorted(expected)
    assert {line.partition(" ")[0] for line in lines} == {*components}
