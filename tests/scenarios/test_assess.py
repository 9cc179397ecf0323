"""assess: formats, report files, exit codes, and the complete report of a hardened server."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest

from agent.reports.formats import OF_AUDITORS, Format
from tests.json_schemas import validator
from tests.k3s_tree import K3s, started
from tests.scenarios.conftest import Hardened
from tests.scenarios.host_tree import DATA_DIR, SETTINGS, HostTree, run
from tests.scenarios.loaded_program import CHECKOUT, Completed

GOLDEN = Path(__file__).with_name("golden_reports") / "server-1.37.txt"
VALIDATOR = validator("assessment")
VERSION = "1.37.2+k3s1"
TOKEN = "K10f00dfacade::server:s3cret-of-the-cluster"  # noqa: S105 - not a secret


@pytest.fixture
def node(hardened: Hardened) -> HostTree:
    """A hardened server with etcd on which K3s 1.37 has run."""
    tree = hardened("server", "1.37")
    started(tree.root, K3s())
    return tree


def assess(tree: HostTree, *words: str, version: str = VERSION) -> Completed:
    done = tree.run("assess", "--k3s-version", version, *words)
    assert "Traceback" not in done.stderr
    return done


def open_in(report: str) -> set[str]:
    """Return the IDs of the open controls in a JSON report, after validation."""
    found = json.loads(report)
    VALIDATOR.validate(found)
    return {verdict["id"] for verdict in found["verdicts"] if verdict["is_open"]}


def test_the_report_of_a_hardened_server_equals_the_golden_file(node: HostTree) -> None:
    done = assess(node)
    options = f" --root {node.root} --k3s-version {VERSION}"
    assert f"k3s-harden apply{options}" in done.stdout
    text = done.stdout.replace(options, "")
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
    assert (done.code, done.stderr) == (3, "")


def test_the_how_to_shows_lines_of_this_report() -> None:
    page = (CHECKOUT / "docs/howto/assess.md").read_text(encoding="utf-8")
    text = page.partition("```text\n")[2].partition("```")[0]
    # The reader is no root on a host of root.
    shown = text.replace("sudo k3s-harden", "k3s-harden").splitlines()
    assert set(shown) - {"…"} <= set(GOLDEN.read_text(encoding="utf-8").splitlines())
    assert len(shown) > 3


def test_only_choices_of_the_site_are_open_after_apply(node: HostTree) -> None:
    left = open_in(assess(node, "--format", "json").stdout)
    assert left == {
        "apiserver-external-ips-denied",
        "apiserver-event-rate-limit",
        "apiserver-always-pull-images",
        "kubelet-pod-max-pids",
        "kubelet-seccomp-default",
        "admission-policies-from-files",
    }
    waivers = "".join(f"  - {{control: {name}, reason: Our workloads need it.}}\n" for name in left)
    node.write(SETTINGS, f"waivers:\n{waivers}")
    done = assess(node)
    assert done.code == 0
    assert done.stdout.count("\nWAIVED ") == len(left)
    assert "result 0: No open controls" in done.stdout


OF_FORMATS = {
    Format.JSON: ('"is_open": true', 6),
    Format.KUBE_BENCH: ('"version": "k3s-cis-2.1"', 5),
    Format.JUNIT: ('failures="6"', 1),
    Format.SARIF: ('"ruleId"', 6),
    Format.OPENMETRICS: ('k3s_harden_controls{status="FAIL"} 6\n', 1),
    Format.HTML: ("<!DOCTYPE html>", 1),
    Format.CKLB: ('"status": "open"', 1),
}
"""What shows the open controls, and how often; other formats have their IDs."""


@pytest.mark.parametrize("report_format", Format)
def test_each_format_is_the_same_on_the_terminal_and_in_a_file(
    node: HostTree, tmp_path: Path, report_format: Format
) -> None:
    file = tmp_path / "report"
    options = ("--format", report_format)
    printed = assess(node, *options)
    kept = assess(node, *options, "--output", str(file))
    assert (printed.code, kept.code, bool(kept.stderr)) == (3, 3, report_format is Format.OPENREPORTS)
    # Other frameworks than CIS also ask for the directory of static pods.
    number = 7 if report_format in OF_AUDITORS else 6
    assert kept.stdout.startswith(f"{file}: {number} open controls (")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text(encoding="utf-8")
    # A table in a file is wider, and timestamps can differ by a second.
    assert report_format is Format.TABLE or len(text.splitlines()) == len(printed.stdout.splitlines())
    name = "apiserver-event-rate-limit"
    shown, times = OF_FORMATS.get(report_format, (name, text.count(name)))
    assert text.count(shown) == times > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--format", "sarif", "--framework", "stig"),
            "cannot use --framework with --format sarif: it requires auto, table, plain, json, html",
        ),
        (("--format", "json", "--beyond"), "cannot use --beyond with --format json: only kube-bench supports it"),
        (("--benchmark", "9.9"), "cis-1.9, cis-1.10, cis-1.11"),
        (("--sign", "id"), "--sign without --output"),
        (("--allowed-signers", "a"), "--allowed-signers without --baseline"),
        # The kubeconfig of a host tree can point to the cluster of another machine.
        (("--cluster",), "cannot use --cluster with --root: a host tree has no API server"),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(node: HostTree, options: tuple[str, ...], message: str) -> None:
    done = assess(node, *options)
    assert (done.code, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.parametrize("option", ["--cluster", "--probe"])
def test_an_agent_has_no_api_server_to_ask(option: str) -> None:
    done = run("assess", option, "--role", "agent", "--k3s-version", "1.34")
    assert (done.code, done.stdout) == (2, "")
    assert "cannot use --cluster on an agent: it has no API server\n  fix: run the command on a server" in done.stderr


@pytest.mark.parametrize("framework", ["stig", "nist"])
def test_a_framework_groups_its_controls_and_says_what_it_covers(node: HostTree, framework: str) -> None:
    done = assess(node, "--framework", framework)
    numbers = {"stig": "V-242397", "nist": "AC-3"}
    assert f"\nFAIL {numbers[framework]} kubelet-static-pod-path: " in done.stdout
    assert done.code == 3
    assert ("\nnote Kubernetes STIG V2R6: of 92 rules, 64 decided here (1 FAIL, 1 MANUAL, 62 PASS)" in done.stdout) == (
        framework == "stig"
    )
    assert "EventRateLimit" not in done.stdout


def test_the_json_of_a_framework_keeps_the_numbers_of_the_benchmark(node: HostTree) -> None:
    report = json.loads(assess(node, "--framework", "stig", "--format", "json").stdout)
    (verdict,) = (verdict for verdict in report["verdicts"] if verdict["id"] == "audit-log-path")
    assert verdict["number"].startswith("1.2.")
    assert verdict["references"] == {"stig": ["V-242402", "V-242465"], "nist": ["AU-14(1)", "CM-6"]}


def test_controls_beyond_the_benchmark_are_in_the_json_of_kube_bench_on_request(node: HostTree) -> None:
    """Without the option the totals are those of the benchmark."""
    by_default = json.loads(assess(node, "--format", "kube-bench").stdout)
    with_beyond = json.loads(assess(node, "--format", "kube-bench", "--beyond").stdout)
    assert [item["id"] for item in by_default["Controls"]] == ["1", "2", "3", "4", "5"]
    assert [item["id"] for item in with_beyond["Controls"]] == ["1", "2", "3", "4", "5", "host"]
    assert sum(by_default["Totals"].values()) < sum(with_beyond["Totals"].values())


def test_a_report_file_is_replaced_in_one_step(node: HostTree, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("old\n")
    file.chmod(0o644)
    with file.open(encoding="utf-8") as reader:
        assert assess(node, "--format", "json", "--output", str(file), "--quiet").stdout == ""
        assert reader.read() == "old\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.glob(".report*")) == []


@pytest.mark.root
def test_root_writes_no_report_below_a_directory_that_others_can_write_to(node: HostTree, tmp_path: Path) -> None:
    """The remediation is to redirect the output in the user's shell."""
    tmp_path.chmod(0o777)
    done = assess(node, "--output", str(tmp_path / "report"))
    assert (done.code, done.stdout) == (1, "")
    assert "redirect the output" in done.stderr
    assert list(tmp_path.glob("*report*")) == []


def test_a_report_replaces_only_regular_files(node: HostTree, tmp_path: Path) -> None:
    """A rename would replace a symlink such as /dev/stdout, and its reader would wait forever."""
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    link, fifo = tmp_path / "link", tmp_path / "fifo"
    link.symlink_to(victim)
    os.mkfifo(fifo)
    for path, kind in ((link, "symlink"), (fifo, "FIFO"), (tmp_path, "directory")):
        done = assess(node, "--output", str(path))
        assert (done.code, done.stdout) == (1, "")
        assert f"cannot write {path}: it is a {kind}" in done.stderr
        assert "redirect the output" in done.stderr
    done = assess(node, "--output", str(tmp_path / "absent/report"))
    assert (done.code, "cannot write" in done.stderr) == (1, True)
    assert link.is_symlink()
    assert fifo.is_fifo()
    assert victim.read_text() == "mine\n"
    assert assess(node, "--output", "-").stdout == assess(node).stdout


def test_only_controls_that_the_baseline_does_not_list_as_open_fail_the_run(node: HostTree, tmp_path: Path) -> None:
    report = tmp_path / "baseline.json"
    assess(node, "--format", "json", "--output", str(report))
    calm = assess(node, "--baseline", str(report), "--other-machine")
    assert calm.code == 0
    assert calm.stdout.count("in the baseline; owner") == 6
    assert "result 0: No new open controls, 6 in the baseline" in calm.stdout
    node[f"{DATA_DIR}/server/logs"].chmod(0o755)
    worse = assess(node, "--baseline", str(report), "--other-machine", "--quiet")
    assert worse.code == 3
    assert [line.split()[2] for line in worse.stdout.splitlines()[:-1]] == ["server/logs:"]


def test_another_file_of_an_open_control_is_new(node: HostTree, tmp_path: Path) -> None:
    """The baseline has one certificate that everybody can write, and now there is another one."""
    report = tmp_path / "baseline.json"
    node.write(f"{DATA_DIR}/server/tls/early.crt", "a certificate\n", 0o666)
    assess(node, "--format", "json", "--output", str(report))
    node.write(f"{DATA_DIR}/server/tls/late.crt", "a certificate\n", 0o666)
    worse = assess(node, "--baseline", str(report), "--other-machine", "--quiet")
    assert worse.code == 3
    assert [line.split()[2] for line in worse.stdout.splitlines()[:-1]] == ["pki-certificate-permissions:"]


@pytest.mark.parametrize("mode", [0o666, 0o622])
def test_a_baseline_that_others_can_write_is_rejected(node: HostTree, tmp_path: Path, mode: int) -> None:
    """As the settings: who writes it decides what fails."""
    report = tmp_path / "baseline.json"
    assess(node, "--format", "json", "--output", str(report))
    report.chmod(mode)
    done = assess(node, "--baseline", str(report))
    assert (done.code, done.stdout) == (2, "")
    assert "the baseline decides what fails, and " in done.stderr


def test_two_reports_are_compared(node: HostTree, tmp_path: Path) -> None:
    """As lines, JSON and HTML. A text of a report cannot end its line or be markup."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    node.write(f"{DATA_DIR}/server/tls/early.crt", "a certificate\n", 0o666)
    assess(node, "--format", "json", "--output", str(old))
    node[f"{DATA_DIR}/server/logs"].chmod(0o755)
    node.write(f"{DATA_DIR}/server/tls/<b>\x1b.crt", "a certificate\n", 0o666)
    assess(node, "--format", "json", "--output", str(new))

    def compare(first: Path, second: Path, *words: str) -> Completed:
        return assess(node, "--compare", str(first), str(second), *words)

    done = compare(old, new)
    assert done.code == 3
    assert re.search(r"^new server/logs: .*: PASS → FAIL", done.stdout, re.MULTILINE)
    assert re.search(r"^changed 1\.1\.20 pki-certificate-permissions: .*\n  \+ .*<b>.*\.crt", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout
    assert done.stdout.endswith("result 3: 1 new, 0 fixed, 3 changed\n")  # others show these files, too
    back = compare(new, old, "--format", "json")
    assert back.code == 0
    shape = json.loads(back.stdout)
    validator("comparison").validate(shape)
    changes = {item["id"]: item["change"] for item in shape["controls"]}
    assert changes.items() > {"server/logs": "fixed", "pki-certificate-permissions": "changed"}.items()
    assert "<b>" not in compare(old, new, "--format", "html").stdout
    assert compare(old, old).stdout.endswith("result 0: 0 new, 0 fixed, 0 changed\n")
    assert compare(old, new, "--format", "sarif").code == 2


@pytest.mark.parametrize("has_devices", [False, pytest.param(True, marks=pytest.mark.root)])
def test_a_masked_sysctl_file_does_not_hide_other_files(node: HostTree, *, has_devices: bool) -> None:
    """A link to /dev/null disables a file (sysctl.d(5)); on a live host it resolves to a device."""
    node["etc/sysctl.d/50-pid-max.conf"].symlink_to("/dev/null")
    if has_devices:
        node["dev"].mkdir()
        os.mknod(node["dev/null"], stat.S_IFCHR | 0o666, os.makedev(1, 3))
    done = assess(node, "-v")
    assert "UNKNOWN" not in done.stdout
    assert "cannot read" not in done.stdout


def test_assess_changes_nothing_on_the_host(node: HostTree) -> None:
    before = node.entries(with_state=True)
    for benchmark, words in (("2.0", ("-v", "--format", "html")), ("1.23", ("--benchmark", "1.23"))):
        assert f"cis-{benchmark}" in assess(node, *words).stdout
    assert node.entries(with_state=True) == before
