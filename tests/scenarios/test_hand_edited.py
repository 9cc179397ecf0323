"""Files edited by hand: they are kept, reported, and never lost, even with --force."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.component_files import POD_SECURITY_ADMISSION
from tests.scenarios.conftest import Hardened
from tests.scenarios.host_tree import (
    AUDIT,
    CONFIG,
    DATA_DIR,
    DROPIN,
    EDITS,
    KERNEL_FILE,
    LOCK,
    POLICY,
    PSA,
    SETTINGS,
    STATE,
    HostTree,
)

MANAGED = tuple(EDITS)


@pytest.mark.parametrize("path", MANAGED)
def test_an_edited_file_is_kept_until_force_replaces_it_and_keeps_a_backup(path: str, hardened: Hardened) -> None:
    host = hardened()
    before = host.entries()
    host.edit(path)
    edited = host[path].read_bytes()
    host[path].chmod(0o666)
    seen = host.seen("apply")
    assert (seen.code, seen.items[path]) == (4, "edited")
    assert "--force" in seen.hints[path]
    assert (host.entries()[path].mode, host[path].read_bytes()) == (before[path].mode, edited)
    seen = host.seen("apply", "--force")
    assert (seen.code, seen.with_status("changed")) == (0, {path})
    assert host.entries() == before
    assert seen.hints[path] == ""
    (kept,) = (Path(found) for found in re.findall(rf"{STATE}/backups/\S+", seen.details[path]))
    assert host[str(kept)].read_bytes() == edited
    modes = {entry.mode for name, entry in host.entries(with_state=True).items() if name.startswith(STATE)}
    assert modes == {0o600, 0o700}


def test_an_equivalent_file_is_kept(hardened: Hardened) -> None:
    """A host hardened by hand can have the same values in another layout."""
    host = hardened()
    host.write(
        KERNEL_FILE, "; by hand\nkernel.panic = 10\nkernel.panic_on_oops=1\nvm.overcommit_memory=1\nvm.panic_on_oom=0"
    )
    host.write(AUDIT, '{"kind": "Policy", "apiVersion": "audit.k8s.io/v1", "rules": [{"level": "Metadata"}]}', 0o600)
    before = host.entries()
    for verb in ("check", "apply"):
        seen = host.seen(verb)
        assert (seen.code, seen.findings) == (0, ())
    assert host.entries() == before


@pytest.mark.parametrize("path", [POLICY, DROPIN])
@pytest.mark.parametrize("verb", ["apply", "gate"])
def test_a_comment_in_a_managed_file_does_not_prevent_its_upgrade(verb: str, path: str, hardened: Hardened) -> None:
    """K3s 1.25 would fail with the old file. The old file with the comment is kept as a backup."""
    host = hardened("server", "1.24")
    commented = host[path].read_bytes() + b"# Ticket 4711.\n"
    host[path].write_bytes(commented)
    assert host.seen("check").with_status("edited") == set()
    host.options = ("--role", "server", "--k3s-version", "1.25")
    seen = host.seen(verb, *(host.options if verb == "gate" else ()))
    assert (seen.code, seen.items[path]) == (0, "changed")
    assert "PodSecurityPolicy" not in host[path].read_text()
    (kept,) = host[f"{STATE}/backups"].iterdir()
    assert kept.read_bytes() == commented
    assert kept.name in seen.details[path]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "nul-filled": lambda content: bytes(len(content)),
}
EDITS_LIKE_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut-off": lambda content: content[: len(content) // 2],
    "cut-in-the-comment": lambda content: content[:20],
    "nul-at-the-end": lambda content: content[:100] + bytes(len(content) - 100),
    "one-nul": lambda content: content + b"\0",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("path", MANAGED)
def test_a_damaged_file_is_repaired_without_force(path: str, damage: str, hardened: Hardened) -> None:
    """A file damaged by a power failure or a full disk is replaced; a backup is kept."""
    host = hardened()
    before = host.entries()
    host[path].write_bytes(DAMAGES[damage](host[path].read_bytes()))
    assert {finding.location for finding in host.seen("check").of("file-damaged")} == {path}
    seen = host.seen("apply")
    assert (seen.code, seen.findings) == (0, ())
    assert host.entries() == before
    (kept,) = host[f"{STATE}/backups"].iterdir()
    assert kept.name in seen.details[path]


@pytest.mark.parametrize("edit", EDITS_LIKE_DAMAGE)
@pytest.mark.parametrize("path", MANAGED)
def test_a_file_with_a_deleted_end_or_a_nul_byte_is_kept(path: str, edit: str, hardened: Hardened) -> None:
    host = hardened()
    edited = EDITS_LIKE_DAMAGE[edit](host[path].read_bytes())
    host[path].write_bytes(edited)
    assert host.seen("check").with_status("edited") == {path}
    assert host.seen("apply").with_status("edited") == {path}
    assert host[path].read_bytes() == edited
    assert host.seen("apply", "--force").items[path] == "changed"
    (kept,) = host[f"{STATE}/backups"].iterdir()
    assert kept.read_bytes() == edited


OBSTACLES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "symlink": ("a symlink", lambda path: path.symlink_to("/etc/passwd")),
    "dangling-symlink": ("a symlink", lambda path: path.symlink_to("/nowhere")),
    "FIFO": ("a FIFO", os.mkfifo),
    "directory": ("a directory", lambda path: path.mkdir()),
    "device": ("a character device", lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))),
}


@pytest.mark.parametrize(
    "obstacle", [pytest.param(name, marks=[pytest.mark.root] * (name == "device")) for name in OBSTACLES]
)
@pytest.mark.parametrize("path", [POLICY, KERNEL_FILE, DROPIN])
def test_an_obstacle_is_refused_with_its_path_and_type(path: str, obstacle: str, hardened: Hardened) -> None:
    words, make = OBSTACLES[obstacle]
    host = hardened()
    host[path].unlink()
    make(host[path])
    host[PSA].unlink()
    before = host.entries()
    for options, code in (((), 4), (("--force",), 1)):
        seen = host.seen("apply", *options)
        assert seen.code == code  # the second run makes no more changes
        assert seen.items[path] == "refused"
        assert f"is {words}, which is not replaced" in seen.details[path]
    assert host[PSA].exists()
    shown = host.run("diff").stdout
    assert f"refused {path}: is {words}" in shown
    assert "cannot be compared" in shown
    assert f"--- {path} (found)" not in shown
    after = host.entries()
    assert {name: entry for name, entry in after.items() if name != PSA} == before


def test_a_data_directory_on_a_disk_that_is_not_mounted_is_refused_with_its_fix(host: HostTree) -> None:
    """apply writes nothing of the data directory, and the drop-in, which needs it, neither."""
    host[DATA_DIR].parent.mkdir(parents=True)
    host[DATA_DIR].symlink_to("/srv/disk")
    seen = host.seen("check")
    fix = f"mount or create /srv/disk, or correct the symlink {DATA_DIR}"
    assert json.loads(seen.text)["next_steps"][0]["text"] == f"{DATA_DIR}/server and 5 others: {fix}"
    assert seen.items[PSA] == host.seen("apply").items[PSA] == "refused"
    host[DATA_DIR].unlink()
    assert host.seen("apply").code == 0


@pytest.mark.parametrize(("level", "status"), [("restricted", "compliant"), ("baseline", "edited")])
def test_a_shorter_psa_yaml_of_the_site_is_kept_if_it_enforces_as_much(host: HostTree, level: str, status: str) -> None:
    """It exempts fewer namespaces than the guide, and does not warn."""
    host.write(PSA, POD_SECURITY_ADMISSION.replace("restricted", level), 0o600)
    host.run("apply")
    assert host.seen("check").items[PSA] == status
    assert host[PSA].read_text() == POD_SECURITY_ADMISSION.replace("restricted", level)


# --- the gate judges an edited file by its content ---

RULES = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"
ALLOWS_ALL = """\
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: open, namespace: default}
spec: {podSelector: {}, ingress: [{}]}
"""
ALLOWS_AN_INGRESS_CONTROLLER = """\
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: from-traefik, namespace: default}
spec:
  podSelector: {}
  ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]}]
"""


POD_SECURITY = """\
apiVersion: pod-security.admission.config.k8s.io/v1
kind: PodSecurityConfiguration
defaults: {{enforce: {}}}
"""


class Edit(NamedTuple):
    """An edit of a managed file: a pattern, and what replaces its first match; or an addition to the end."""

    path: str
    pattern: str
    replacement: str
    version: str = "1.34"

    def make(self, host: HostTree) -> None:
        text = host[self.path].read_text()
        changed = re.sub(self.pattern, lambda _: self.replacement, text, count=1, flags=re.DOTALL | re.MULTILINE)
        assert changed != text
        host.write(self.path, changed, 0o600)


def document(line: str) -> str:
    """Return a pattern for the document that contains a line; another document follows it."""
    return rf"^---\n(?:(?!---)[^\n]*\n)*?  {line}\n(?:(?!---)[^\n]*\n)*"


INSUFFICIENT = {
    "psa-privileged": Edit(PSA, "enforce: restricted", "enforce: privileged"),
    "psa-baseline": Edit(PSA, "enforce: restricted", "enforce: baseline"),
    "psa-unknown-level": Edit(PSA, "enforce: restricted", "enforce: strict"),
    "psa-no-level": Edit(PSA, "        enforce: restricted\n", ""),
    "psa-no-plugin": Edit(PSA, r"plugins:.*", "plugins: []\n"),
    "psa-second-entry": Edit(
        PSA, "plugins:\n", "plugins:\n  - name: PodSecurity\n    configuration: {defaults: {enforce: privileged}}\n"
    ),
    "audit-none": Edit(AUDIT, "level: Metadata", "level: None"),
    "audit-none-first": Edit(AUDIT, "  - level: Metadata", "  - level: None\n  - level: Metadata"),
    "audit-all-stages-omitted": Edit(
        AUDIT, "rules:", "omitStages: [RequestReceived, ResponseStarted, ResponseComplete, Panic]\nrules:"
    ),
    "policy-empty": Edit(POLICY, r"^---.*", "# nothing here\n"),
    "policy-removed": Edit(POLICY, document("namespace: default"), ""),
    "policy-allows-all": Edit(POLICY, r"    - from:\n[^-]*- namespaceSelector:\n[^-]*kube-system\n", "    - {}\n"),
    "policy-allows-all-pods": Edit(
        POLICY, r"namespaceSelector:\n *matchLabels:\n *\S+ default$", "namespaceSelector: {}"
    ),
    "policy-selects-some-pods": Edit(POLICY, r"podSelector: {}", "podSelector: {matchLabels: {app: a}}"),
    "policy-only-egress": Edit(POLICY, r"podSelector: {}", "podSelector: {}\n  policyTypes: [Egress]"),
    "policy-with-one-that-allows-all": Edit(POLICY, r"\Z", ALLOWS_ALL),
    "psp-removed": Edit(POLICY, document("name: restricted-psp"), "", "1.24"),
    "psp-privileged": Edit(POLICY, "privileged: false", "privileged: true", "1.24"),
    "psp-binding": Edit(POLICY, r"name: psp:restricted-psp(?=\nsubjects)", "name: psp:system-unrestricted-psp", "1.24"),
    "drop-in-empty": Edit(DROPIN, r"^kube.*", "node-label+: [a=b]\n"),
    "drop-in-other-value": Edit(DROPIN, "audit-log-maxage=30", "audit-log-maxage=3"),
    "drop-in-no-audit-policy": Edit(DROPIN, r"^ *- audit-policy-file=\S*\n", ""),
    "drop-in-no-psa": Edit(DROPIN, r"^ *- admission-control-config-file=\S*\n", ""),
    "drop-in-no-kernel-defaults": Edit(DROPIN, "protect-kernel-defaults: true\n", ""),
    "drop-in-plugins": Edit(DROPIN, "enable-admission-plugins=\\S*", "enable-admission-plugins=ServiceAccount"),
    "drop-in-psp": Edit(DROPIN, ",PodSecurityPolicy", "", "1.24"),
}

SUFFICIENT = {
    "psa-exemption": Edit(PSA, r"\Z", "          - shop\n"),
    "psa-pinned": Edit(PSA, "enforce-version: latest", "enforce-version: v1.30"),
    "psa-warns-less": Edit(PSA, "warn: restricted", "warn: baseline"),
    "audit-more": Edit(AUDIT, "level: Metadata", "level: RequestResponse"),
    "audit-less-noise": Edit(
        AUDIT,
        "  - level: Metadata",
        "  - level: None\n    users: [system:kube-proxy]\n  - level: Metadata\n    omitStages: [RequestReceived]",
    ),
    "policy-more": Edit(POLICY, r"\Z", ALLOWS_AN_INGRESS_CONTROLLER),
    "policy-denies-more": Edit(POLICY, r"  ingress:\n    - from:\n[^-]*- namespaceSelector:\n[^-]*default\n", ""),
    "policy-list": Edit(POLICY, r"\Z", "---\napiVersion: v1\nkind: List\nitems: []\n"),
    "policy-without-metrics-server": Edit(POLICY, document("name: allow-all-metrics-server"), ""),
    "psp-more": Edit(POLICY, r"\Z", ALLOWS_AN_INGRESS_CONTROLLER, "1.24"),
    "drop-in-more": Edit(DROPIN, r"\Z", "node-label+: [a=b]\n"),
    "drop-in-stricter": Edit(DROPIN, "audit-log-maxage=30", "audit-log-maxage=90"),
    "drop-in-default": Edit(DROPIN, r"^ *- enable-admission-plugins=\S*\n", ""),
    "drop-in-timeout": Edit(DROPIN, r"^ *- streaming-connection-idle-timeout=\S*\n", ""),
}


@pytest.mark.parametrize("case", INSUFFICIENT)
def test_an_edited_file_that_does_not_meet_its_control_blocks_the_gate(case: str, hardened: Hardened) -> None:
    edit = INSUFFICIENT[case]
    host = hardened("server", edit.version)
    edit.make(host)
    content = host[edit.path].read_bytes()
    seen = host.seen("gate", *host.options)
    assert (seen.code, seen.items[edit.path]) == (3, "edited")
    found = seen.of("edited-file-insufficient")
    assert {finding.location.partition(":")[0] for finding in found} == {edit.path}
    assert all(finding.blocks_gate and finding.expected and finding.found for finding in found)
    assert all("run `k3s-harden apply --force`" in finding.repair for finding in found)
    assert host[edit.path].read_bytes() == content
    assert host.seen("check").of("edited-file-insufficient") == found
    assert host.run("apply", "--force").code == 0
    assert host.run("gate", *host.options).code == 0


@pytest.mark.parametrize(("level", "found"), [("baseline", ("enforce: baseline",)), ("restricted", ())])
def test_pod_security_in_a_file_that_psa_yaml_names_is_judged(
    level: str, found: tuple[str, ...], hardened: Hardened
) -> None:
    """The API server reads that file if the entry of the plugin has no configuration."""
    host = hardened()
    host.write("/etc/psa.yaml", POD_SECURITY.format(level), 0o600)
    Edit(PSA, r"    configuration:.*", "    path: /etc/psa.yaml\n").make(host)
    cases = host.seen("check").of("edited-file-insufficient")
    assert tuple(case.found for case in cases) == found
    assert {case.location for case in cases} <= {"/etc/psa.yaml:3"}


@pytest.mark.parametrize("case", SUFFICIENT)
def test_an_edited_file_that_meets_its_control_does_not_block_the_gate(case: str, hardened: Hardened) -> None:
    edit = SUFFICIENT[case]
    host = hardened("server", edit.version)
    edit.make(host)
    seen = host.seen("gate", *host.options)
    assert (seen.code, seen.items[edit.path], seen.ids) == (0, "edited", {"file-edited"})
    assert host.seen("check").code == 3


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (PSA, "plugins: [\n"),
        (PSA, "apiVersion: v1\nkind: ConfigMap\n"),
        (AUDIT, "rules: [\n"),
        (AUDIT, f"{RULES}  - level: Nothing\n"),
        (DROPIN, "kubelet-arg: [\n"),
    ],
)
def test_an_edited_file_that_k3s_rejects_does_not_block_the_gate(path: str, content: str, hardened: Hardened) -> None:
    """K3s fails by itself, so it does not run unhardened."""
    host = hardened()
    host.write(path, content, 0o600)
    seen = host.seen("gate", *host.options)
    assert seen.code == 0
    assert any(finding.prevents_start for finding in seen.findings)
    assert not seen.of("edited-file-insufficient")


def test_an_invalid_policy_manifest_blocks_only_a_new_cluster(hardened: Hardened) -> None:
    """K3s applies no object of the file. In an existing cluster the objects of earlier starts remain."""
    host = hardened()
    host.write(POLICY, "kind: [\n", 0o600)
    assert host.seen("gate", *host.options).only("edited-file-insufficient").location == f"{POLICY}:2"
    host.write(f"{DATA_DIR}/server/db/state.db", "data", 0o600)
    seen = host.seen("gate", *host.options)
    assert (seen.code, seen.of("edited-file-insufficient")) == (0, ())


@pytest.mark.parametrize(
    ("case", "control"),
    [
        ("psa-privileged", "pod-security-admission"),
        ("audit-none", "audit-policy"),
        ("audit-none", "audit-policy-file"),
        ("policy-removed", "network-policies"),
        ("psp-privileged", "pod-security-policies"),
        ("drop-in-other-value", "audit-log-maxage"),
    ],
)
def test_a_waiver_covers_an_edited_file(case: str, control: str, hardened: Hardened) -> None:
    edit = INSUFFICIENT[case]
    host = hardened("server", edit.version)
    edit.make(host)
    waiver = f"waivers:\n  - control: {control}\n    reason: legacy workloads\n"
    for more, code in (("", 0), ("    expires: 2020-01-01\n", 3), ("    role: agent\n", 3)):
        host.write(SETTINGS, waiver + more)
        seen = host.seen("gate", *host.options)
        assert (seen.code, bool(seen.of("edited-file-insufficient"))) == (code, bool(code))


@pytest.mark.parametrize(("path", "argument"), [(PSA, "admission-control-config-file"), (AUDIT, "audit-policy-file")])
def test_an_edited_file_that_k3s_does_not_read_is_not_judged(path: str, argument: str, hardened: Hardened) -> None:
    """The operator's configuration uses another file instead."""
    host = hardened()
    other = f"/etc/{Path(path).name}"
    host.write(other, host[path].read_text(), 0o600)
    host.write(CONFIG, f"kube-apiserver-arg: [{argument}={other}]\n")
    assert host.run("apply").code == 0
    host.write(path, host[path].read_text().replace("restricted", "privileged").replace("Metadata", "None"), 0o600)
    seen = host.seen("gate", *host.options)
    assert (seen.items[path], seen.of("edited-file-insufficient")) == ("edited", ())


def test_an_edited_kernel_parameter_file_does_not_block_the_gate(hardened: Hardened) -> None:
    """The gate sets the running values at each start, and `check` reports the values of the next boot."""
    host = hardened()
    host.write(KERNEL_FILE, "kernel.panic=0\n")
    host.write("/proc/sys/kernel/panic", "0\n")
    seen = host.seen("gate", *host.options)
    assert (seen.code, seen.items[KERNEL_FILE], seen.items["kernel.panic"]) == (0, "edited", "changed")
    assert "sysctl-overridden" in host.seen("check").ids


# --- revert ---


def test_revert_refuses_edited_files(hardened: Hardened, pristine: HostTree) -> None:
    host = hardened()
    host.edit(AUDIT)
    host.write("/proc/sys/kernel/panic", "20\n")
    host[PSA].chmod(0o644)
    edited = {path: host.entries()[path] for path in (AUDIT, PSA, "/proc/sys/kernel/panic")}
    seen = host.seen("revert")
    assert seen.code == 4
    assert seen.with_status("edited") == {AUDIT, PSA, "kernel.panic"}
    assert "content" in seen.details[AUDIT]
    assert "mode 0600 → 0644" in seen.details[PSA]
    assert "10 → 20" in seen.details["kernel.panic"]
    before, after = pristine.entries(), host.entries()
    assert {path: after[path] for path in edited} == edited
    kept = {path for path in after if before.get(path) != after[path]}
    assert kept - edited.keys() == {f"{DATA_DIR}/server", DATA_DIR, "/var/lib/rancher"}
    seen = host.seen("revert", "--force")
    assert (seen.code, host.entries()) == (0, pristine.entries())
    (backup,) = re.findall(rf"{STATE}/backups/\S+", seen.details[AUDIT])
    assert host[backup].read_bytes() == edited[AUDIT].content


@pytest.mark.parametrize("version", ["1.24", "1.34"])
def test_revert_keeps_what_an_edited_drop_in_requires(version: str, hardened: Hardened, pristine: HostTree) -> None:
    """The files that the drop-in names and the kernel values that kubelet checks are kept, so K3s starts."""
    host = hardened("server", version)
    host.edit(DROPIN)
    before = host.entries()
    named = {AUDIT} | ({PSA} if version == "1.34" else set())
    values = {"vm.panic_on_oom", "vm.overcommit_memory", "kernel.panic", "kernel.panic_on_oops"}
    seen = host.seen("revert")
    assert (seen.code, seen.with_status("edited")) == (4, {DROPIN})
    assert seen.with_status("refused") == {*named, KERNEL_FILE, *values} - {"vm.panic_on_oom"}
    assert all(DROPIN in seen.details[name] for name in seen.with_status("refused"))
    after = host.entries()
    kept = {path for path, entry in before.items() if after.get(path) == entry}
    assert kept >= {DROPIN, *named, KERNEL_FILE, *(path for path in before if path.startswith("/proc/sys/"))}
    assert POLICY not in host.entries()
    assert host.run("revert", "--force").code == 0
    assert host.entries() == pristine.entries()


def test_an_edited_drop_in_without_protect_kernel_defaults_needs_no_kernel_values(hardened: Hardened) -> None:
    """revert restores the kernel values, because kubelet then sets them itself."""
    host = hardened("agent")
    host[DROPIN].write_text(host[DROPIN].read_text().replace("protect-kernel-defaults: true\n", ""))
    seen = host.seen("revert")
    assert (seen.with_status("edited"), seen.with_status("refused")) == ({DROPIN}, set())
    assert KERNEL_FILE not in host.entries()


def test_revert_restores_the_mode_of_a_manifest_that_is_not_yaml(host: HostTree) -> None:
    """apply has kept its content."""
    host.write(POLICY, "kind: [\n", 0o666)
    before = host.entries()[POLICY]
    assert host.seen("apply").items[POLICY] == "edited"
    assert host.entries()[POLICY].mode == 0o600
    assert host.seen("revert").code == 0
    assert host.entries()[POLICY] == before


def test_revert_last_undoes_only_the_newest_run(host: HostTree, pristine: HostTree) -> None:
    states = [pristine.entries()]
    for version in ("1.24", "1.25", "1.34"):
        host.options = ("--role", "server", "--k3s-version", version)
        assert host.run("apply").code == 0
        states.append(host.entries())
    for state in reversed(states[:-1]):
        assert host.run("revert", "--last").code == 0
        assert host.entries() == state
    assert STATE not in host.entries(with_state=True)


def test_a_revert_without_runs_succeeds(host: HostTree) -> None:
    before = host.entries()
    seen = host.seen("revert")
    assert (seen.code, seen.items, seen.facts["runs"][0]) == (0, {}, "no runs to undo")
    assert host.entries(with_state=True).keys() - {LOCK} == before.keys()


@pytest.mark.parametrize(("garbage", "step"), [(b"\0" * 512, 3), (b"x", 2), (b"0600", 3), (b"\xff" * 4096, 4)])
def test_damage_in_the_middle_of_a_record_is_reported_by_each_verb(
    garbage: bytes, step: int, hardened: Hardened
) -> None:
    """A disk can lose a sector, and JSON with other text in it can be valid."""
    host = hardened()
    (record,) = host[f"{STATE}/journal"].iterdir()
    data = record.read_bytes()
    at = len(data) // step
    record.write_bytes(data[:at] + garbage + data[at + len(garbage) :])
    assert host.seen("check").ids == {"journal-damaged"}
    assert "journal-damaged" in host.run("assess").stdout
    assert f"cannot read {STATE}/journal/{record.name}" in host.run("drift").stdout
    before = host.entries()
    done = host.run("revert")
    assert (done.code, done.stdout, host.entries()) == (1, "", before)
    assert re.search(rf"run `(.* )?\S*mv -nT .*{record.name} .*/{record.name}\.moved`", done.stderr)
    assert str(host.root) in done.stderr


def test_a_record_of_a_version_without_checksums_is_read(hardened: Hardened, pristine: HostTree) -> None:
    host = hardened()
    (record,) = host[f"{STATE}/journal"].iterdir()
    found = json.loads(record.read_bytes())
    del found["crc32"]
    record.write_text(json.dumps(found, indent=1) + "\n")
    assert host.seen("check").ids == set()
    assert host.run("revert").code == 0
    assert host.entries() == pristine.entries()


def test_a_damaged_record_does_not_hide_other_problems(hardened: Hardened) -> None:
    host = hardened("server", "1.24")
    (record,) = host[f"{STATE}/journal"].iterdir()
    record.write_text("{")
    host.write("/etc/sysctl.d/99-site.conf", "kernel.panic=0\n")
    assert host.seen("check").ids == {"journal-damaged", "sysctl-overridden"}
    host.options = ("--role", "server", "--k3s-version", "1.34")
    assert host.seen("check").ids >= {"journal-damaged", "sysctl-overridden", "file-edited"}
    seen = host.seen("apply")
    assert (seen.code, seen.items[PSA], seen.items[POLICY]) == (4, "changed", "edited")


@pytest.mark.parametrize("kind", ["symlink", "FIFO", "directory"])
def test_what_is_at_the_path_of_a_file_is_moved_away_by_the_printed_command(kind: str, host: HostTree) -> None:
    """It comes before apply, and can be taken back."""
    assert host.run("apply").code == 0
    host[PSA].unlink()
    OBSTACLES[kind][1](host[PSA])
    move, apply = json.loads(host.run("check", "--format", "json").stdout)["next_steps"][:2]
    assert (move["kind"], apply["kind"], apply["verb"]) == ("run", "run-verb", "apply")
    words = shlex.split(move["command"].partition(f"chroot {host.root} ")[2])
    assert words == ["mv", "-nT", PSA, f"{PSA}.moved"]
    assert f"mv -nT {PSA}.moved {PSA}" in move["undo"]["command"]
    host[PSA].rename(host[f"{PSA}.moved"])
    assert (host.run("apply").code, host.seen("check").code) == (0, 0)
