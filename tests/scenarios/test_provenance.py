"""Provenance of assessments and signatures, with jq, sha256sum and ssh-keygen as judges."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.k3s_tree import K3s, started
from tests.scenarios.conftest import Hardened
from tests.scenarios.host_tree import CONFIG, DATA_DIR, SETTINGS, HostTree
from tests.scenarios.loaded_program import CHECKOUT, Completed
from tests.scenarios.test_shell_blocks import blocks
from tests.ssh_key import new_key
from tests.terminal import Terminal

MACHINE = "0123456789abcdef0123456789abcdef"
needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")


@pytest.fixture
def node(hardened: Hardened) -> HostTree:
    """A hardened server with etcd, a machine id, an operator's secrets, and settings."""
    tree = hardened()
    started(tree.root, K3s())
    tree.write("/etc/machine-id", f"{MACHINE}\n")
    tree.write("/etc/os-release", "PRETTY_NAME=Debian\n")
    tree.write(CONFIG, "token: s3cret-token\n", 0o600)
    tree.write("/etc/systemd/system/k3s.service.env", "K3S_TOKEN=s3cret-token\n", 0o600)
    tree.write(
        SETTINGS,
        "pod-max-pids: 4096\ndrift: {notify: [/usr/bin/hook, s3cret-url]}\nwaivers:\n"
        "  - {control: kernel.panic, reason: It é is so., approved-by: Ann}\n",
    )
    return tree


@pytest.fixture
def key(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, passphrase: str = "") -> Path:
        return new_key(tmp_path / name, passphrase)

    return make


def assess(tree: HostTree, *words: str, **options: Any) -> Completed:
    done = tree.run("assess", "--k3s-version", "1.34", *words, **options)
    assert "Traceback" not in done.stderr
    return done


def origin(report: str) -> dict[str, str]:
    return {fact["name"]: fact["value"] for fact in json.loads(report)["provenance"]}


def test_a_report_names_user_command_settings_machine_and_times(node: HostTree, tmp_path: Path) -> None:
    """The machine id is that of systemd-id128 for this program; secrets of settings and arguments are left out."""
    node.environment = {"SUDO_USER": "alice"}
    done = assess(node, "--format", "json")
    about = origin(done.stdout)
    assert about["user"] == f"alice, by sudo as user {os.getuid()}"
    assert about["command"].endswith(f"assess --root {node.root} --k3s-version 1.34 --format json")
    assert (about["setting profile"], about["setting pod-max-pids"]) == ("guide", "4096")
    assert about["setting waivers"] == "kernel.panic: It é is so.; approved by Ann; expires never"
    assert about["setting drift.notify"] == "/usr/bin/hook"
    # systemd-id128 machine-id --app-specific=25d7bb976a3843d496e1aa7a1adee41e, on a machine with this id.
    assert about["machine id"] == "1c042c60ce8a4df48ce74eb871e2dc59"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", about["started"])
    assert about["started"] <= about["ended"]
    for secret in (MACHINE, "s3cret"):
        assert secret not in done.stdout
    report = tmp_path / "token=s3cret"
    assert assess(node, "--format", "json", "--output", str(report)).code == 3
    assert f"--output '{tmp_path}/token=(not shown)'" in origin(report.read_text())["command"]


def test_only_files_without_secrets_have_a_digest(node: HostTree) -> None:
    """A digest would confirm a guess of a short secret. The program also reads the token, units and manifests."""
    about = origin(assess(node, "--format", "json").stdout)
    files = [name for name in about if name.startswith("SHA-256 of /")]
    digests = {name.removeprefix("SHA-256 of "): about[name] for name in files}
    assert digests.keys() == {
        "/etc/hostname",
        "/etc/os-release",
        "/etc/sysctl.d/90-kubelet.conf",
        "/usr/lib/sysctl.d/50-pid-max.conf",
        f"{DATA_DIR}/server/audit.yaml",
        f"{DATA_DIR}/server/psa.yaml",
        f"{DATA_DIR}/server/db/etcd/config",
    }
    for path, digest in digests.items():
        assert sha256(node[path].read_bytes()).hexdigest() == digest


@needs_jq
def test_jq_computes_the_same_digests_by_the_commands_of_the_documentation(node: HostTree, tmp_path: Path) -> None:
    """The first command of each pair computes what the second one prints."""
    node.write("/etc/hostname", "nöde-\x7f😀\n")
    assert assess(node, "--format", "json", "--output", str(tmp_path / "report.json")).code == 3
    for block in blocks("sign-a-report", "Detect damage"):
        ours, theirs = subprocess.run(
            ["sh", "-euc", block], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.splitlines()
        assert ours.split()[0] == theirs


@pytest.mark.parametrize("output_format", ["plain", "table", "html", "junit", "sarif"])
def test_each_format_for_people_and_tools_has_the_origin(node: HostTree, output_format: str) -> None:
    """kube-bench's JSON and metrics have no place for it."""
    node.environment = {"SUDO_USER": "alice"}
    report = assess(node, "--format", output_format, "-v").stdout
    for text in ("alice", "1c042c60ce8a4df48ce74eb871e2dc59", sha256(node["/etc/os-release"].read_bytes()).hexdigest()):
        assert text in report


def test_ssh_keygen_verifies_a_signed_report_by_the_documentation(
    node: HostTree, key: Callable[..., Path], tmp_path: Path
) -> None:
    """The report is then trusted as a baseline by its signature only."""
    private = key("id_ed25519")
    report = tmp_path / "report.json"
    assert assess(node, "--format", "json", "--output", str(report), "--sign", str(private)).code == 3
    assert stat.S_IMODE((tmp_path / "report.json.sig").stat().st_mode) == 0o600
    (verify,) = blocks("sign-a-report", "Verify it")
    verified = subprocess.run(["sh", "-euc", verify], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert 'Good "k3s-harden" signature for auditor@example.org' in verified.stdout
    signers = ("--allowed-signers", str(tmp_path / "allowed_signers"))
    trusted = assess(node, "--baseline", str(report), *signers, "-v")
    assert trusted.code == 0
    assert "baseline, signed by auditor@example.org" in trusted.stdout
    assert "is not verified" not in trusted.stdout
    untrusted = assess(node, "--baseline", str(report))
    assert untrusted.code == 0
    assert f"note the baseline {report} is not verified: " in untrusted.stdout


@pytest.mark.parametrize(
    "attack", ["all failed", "no signature", "other key", "other namespace", "no signers", "no keys"]
)
def test_a_baseline_that_no_allowed_signer_signed_is_rejected(
    node: HostTree, key: Callable[..., Path], tmp_path: Path, attack: str
) -> None:
    """A baseline in which every control failed would let every failure pass."""
    private, other = key("id"), key("other")
    report, signed = tmp_path / "report.json", tmp_path / "report.json.sig"
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"ann@example.org {private.with_suffix('.pub').read_text()}", encoding="utf-8")
    assess(node, "--format", "json", "--output", str(report), "--sign", str(private))
    if attack == "all failed":
        found = json.loads(report.read_bytes())
        del found["sha256"]
        for verdict in found["verdicts"]:
            verdict.update(status="FAIL", is_open=True)
        report.write_text(json.dumps(found), encoding="utf-8")
    elif attack == "no signers":
        signers.unlink()
    elif attack == "no keys":
        signers.write_text("root:x:0:0\n", encoding="utf-8")
    else:
        signed.unlink()
        name, namespace = (other, "k3s-harden") if attack == "other key" else (private, "file")
        if attack != "no signature":
            subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", name, report], check=True)
    done = assess(node, "--baseline", str(report), "--allowed-signers", str(signers))
    assert (done.code, done.stdout) == (2, "")
    missing = {"no signature": signed, "no signers": signers}.get(attack)
    problem = f"{report}: {signed} is no valid signature of an allowed signer: "
    assert f"cannot use {f'{missing}: the file does not exist' if missing else problem}" in done.stderr
    assert "/proc/" not in done.stderr


@pytest.mark.parametrize("name", ["report.json", "report.json.sig", "allowed_signers", "id"])
def test_a_fifo_in_the_place_of_a_file_of_a_signature_is_an_error(
    node: HostTree, key: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """Another user can put it there; ssh-keygen would wait two minutes for its writer."""
    private, report, signers = key("id"), tmp_path / "report.json", tmp_path / "allowed_signers"
    signers.write_text(f"ann@example.org {private.with_suffix('.pub').read_text()}", encoding="utf-8")
    assert assess(node, "--format", "json", "--output", str(report), "--sign", str(private)).code == 3
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    if name == "id":
        done = assess(node, "--format", "json", "--output", str(report), "--sign", str(private))
    else:
        done = assess(node, "--baseline", str(report), "--allowed-signers", str(signers))
    assert (done.code, done.stdout) == (6 if name == "id" else 2, "")
    assert f"{tmp_path / name}: it is a FIFO" in done.stderr


@pytest.mark.root
@pytest.mark.parametrize("passphrase", ["", "s3cret"])
def test_a_signature_writes_no_file_where_the_environment_says(
    node: HostTree, key: Callable[..., Path], tmp_path: Path, passphrase: str
) -> None:
    """The owner of that directory could replace a file in it by a symlink to a file of root."""
    private, report, hostile = key("id", passphrase), tmp_path / "report.json", tmp_path / "hostile"
    hostile.mkdir(mode=0o777)
    before = hostile.stat().st_mtime_ns
    files = ("--root", node.root, "--output", report, "--sign", private)
    words = map(str, ("assess", *node.options, "--format", "json", *files))
    environment = dict.fromkeys(("TMPDIR", "TEMP", "TMP", "XDG_RUNTIME_DIR", "HOME"), str(hostile))
    # Other tests also sign: the run has a /run of its own, whose files are listed after it.
    script = f'mount -t tmpfs run /run && {{ "$@"; code=$?; ls -A /run >{tmp_path}/left; exit $code; }}'
    own_run = ("unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-m", "agent")
    with Terminal(*words, program=own_run, environment=environment) as terminal:
        if passphrase:
            terminal.read_until("passphrase")
            terminal.press(f"{passphrase}\n")
        terminal.rest()
        assert terminal.end() == 3
    assert report.with_name("report.json.sig").read_text().startswith("-----BEGIN SSH SIGNATURE-----\n")
    assert hostile.stat().st_mtime_ns == before
    assert (tmp_path / "left").read_text() == ""


@pytest.mark.parametrize("problem", ["passphrase", "no key", "text"])
def test_a_report_that_cannot_be_signed_is_not_written(
    node: HostTree, key: Callable[..., Path], tmp_path: Path, problem: str
) -> None:
    """An unsigned report would be taken for a signed one. Without a terminal nobody can type a passphrase."""
    private = key("id", "s3cret")
    if problem == "text":
        private.write_text("no key\n", encoding="utf-8")
    if problem == "no key":
        private.unlink()
    report = tmp_path / "report.json"
    done = assess(node, "--format", "json", "--output", str(report), "--sign", str(private))
    assert (done.code, done.stdout) == (6, "")
    assert f"cannot sign the report with {private}: " in done.stderr
    assert not list(tmp_path.glob("report.json*"))


@needs_jq
def test_findings_of_security_hub_are_made_by_the_example(node: HostTree, tmp_path: Path) -> None:
    """AWS rejects titles of more than 256 characters, descriptions of more than 1024, and other words."""
    report = tmp_path / "report.json"
    assert assess(node, "--format", "json", "--output", str(report)).code == 3
    program = CHECKOUT / "docs/examples/security-hub/findings.jq"
    made = subprocess.run(
        ["jq", "--arg", "account", "123456789012", "--arg", "region", "eu-central-1", "--from-file", program, report],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(made.stdout)
    assert [item["GeneratorId"] for item in found] == [
        f"k3s-harden/{verdict['id']}" for verdict in json.loads(report.read_text())["verdicts"]
    ]
    assert {item["Compliance"]["Status"] for item in found} == {"PASSED", "FAILED", "NOT_AVAILABLE", "WARNING"}
    assert max(len(item["Title"]) for item in found) <= 256
    assert max(len(item["Description"]) for item in found) <= 1024
    assert {item["Severity"]["Label"] for item in found} <= {"INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"}
