"""The profile strict, waivers and stages, on hosts of both roles and several versions."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from agent.base.linux import file_systems
from agent.reports.formats import OF_AUDITORS, REPORT_FORMATS, Format
from tests.scenarios.host_tree import CONFIG, DROPIN, DROPINS, PSA, SETTINGS, HostTree, run

VERSIONS = ("1.23", "1.25", "1.30", "1.34", "1.37")
NETWORKS = "/var/lib/cni/networks"
LEASE = f"{NETWORKS}/cbr0/10.42.0.7"
RANCHER = f"{DROPINS}/50-rancher.yaml"
DEFAULTS = "default permissions in"
OF_STRICT = {
    "apiserver-external-ips-denied",
    "apiserver-event-rate-limit",
    "apiserver-always-pull-images",
    "cni-permissions",
    "kubelet-pod-max-pids",
    "kubelet-seccomp-default",
}
"""The controls that are open with the guide and compliant with the profile."""


def strict(host: HostTree, role: str = "server", version: str = "1.34", settings: str = "") -> HostTree:
    """Set the profile on a host with one pod, whose file all users can read."""
    host.options = ("--role", role, "--k3s-version", version)
    host.write(SETTINGS, f"profile: strict\n{settings}")
    host.write(LEASE, "a pod\n")
    return host


def arguments(host: HostTree, key: str) -> dict[str, str]:
    lines = yaml.safe_load(host[DROPIN].read_text()).get(f"{key}+", ())
    return dict(line.split("=", 1) for line in lines)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("version", VERSIONS)
def test_no_control_with_a_preset_is_open(version: str, host: HostTree) -> None:
    strict(host, "server", version)
    assert OF_STRICT & open_controls(host)
    assert host.run("apply").code == 0
    unsupported = {"apiserver-event-rate-limit"} if version == "1.23" else set()
    assert OF_STRICT & open_controls(host) == unsupported


def open_controls(host: HostTree) -> set[str]:
    report = json.loads(host.run("assess", *host.options, "--format", "json").stdout)
    return {verdict["id"] for verdict in report["verdicts"] if verdict["is_open"]}


def test_the_printed_repair_of_each_control_fixes_it(host: HostTree) -> None:
    strict(host)
    host[SETTINGS].unlink()
    assert host.run("apply").code == 0
    report = json.loads(host.run("assess", *host.options, "--format", "json").stdout)
    texts = {
        verdict["id"]: verdict["repair"]["text"]
        for verdict in report["verdicts"]
        if verdict["id"] in OF_STRICT and verdict["is_open"]
    }
    assert texts.keys() == OF_STRICT
    host.write(SETTINGS, "".join(f"{text.split('`')[1]}\n" for text in texts.values()))
    assert host.run("apply").code == 0
    assert not OF_STRICT & open_controls(host)


def test_new_files_of_cni_are_private_from_the_first_pod_on(host: HostTree) -> None:
    """Before the first start of K3s the directory does not exist. Existing files get their mode."""
    strict(host)
    host[LEASE].unlink()
    host[f"{NETWORKS}/cbr0"].rmdir()
    host[NETWORKS].rmdir()
    assert host.run("apply").code == 0
    umask = os.umask(0o022)
    try:
        host[f"{NETWORKS}/cbr0"].mkdir(mode=0o755)
        host[LEASE].touch(mode=0o644)
    finally:
        os.umask(umask)
    assert (mode(host[f"{NETWORKS}/cbr0"]), mode(host[LEASE])) == (0o700, 0o600)
    assert host.run("check").code == 0


def test_a_removed_default_list_is_reported_and_set_again(host: HostTree) -> None:
    """Without the list, all users could read the files of new pods."""
    strict(host)
    assert host.run("apply").code == 0
    os.removexattr(host[NETWORKS], "system.posix_acl_default")
    seen = host.seen("check")
    assert seen.code == 3
    assert seen.with_status("differs") == {f"{DEFAULTS} {NETWORKS}"}
    assert host.run("apply").code == 0
    assert os.getxattr(host[NETWORKS], "system.posix_acl_default") == file_systems.OWNER_ONLY


@pytest.mark.parametrize("role", ["server", "agent"])
def test_revert_restores_contents_modes_and_default_lists(role: str, host: HostTree) -> None:
    strict(host, role)
    before = host.entries()
    assert host.run("apply").code == 0
    assert mode(host[LEASE]) == 0o600
    assert host.run("revert").code == 0
    assert host.entries() == before
    assert all(os.listxattr(host[path]) == [] for path in (NETWORKS, f"{NETWORKS}/cbr0"))


def test_diff_names_the_settings_of_the_profile(host: HostTree) -> None:
    strict(host, settings="pod-max-pids: 100\n")
    details = host.seen("diff").details
    by = "; by the profile strict (k3s-harden explain strict: what it can break): "
    named = {name: set(text.partition(by)[2].split(", ")) for name, text in details.items() if by in text}
    assert named == {
        NETWORKS: {"cni.file-permissions"},
        f"{DEFAULTS} {NETWORKS}": {"cni.file-permissions"},
        f"{DEFAULTS} {NETWORKS}/cbr0": {"cni.file-permissions"},
        f"mode of {LEASE}": {"cni.file-permissions"},
        PSA: {"event-rate-limit"},
        DROPIN: {"deny-service-external-ips", "event-rate-limit", "always-pull-images", "seccomp-default"},
    }


def test_values_of_the_operator_that_meet_the_controls_are_kept(host: HostTree) -> None:
    strict(host)
    host.write(
        CONFIG, "kubelet-arg: [pod-max-pids=512]\nkube-apiserver-arg: [enable-admission-plugins=PodNodeSelector]\n"
    )
    assert host.run("apply").code == 0
    assert "pod-max-pids" not in arguments(host, "kubelet-arg")
    plugins = arguments(host, "kube-apiserver-arg")["enable-admission-plugins"].split(",")
    assert {"PodNodeSelector", "AlwaysPullImages", "EventRateLimit", "DenyServiceExternalIPs"} <= set(plugins)


def test_on_a_node_of_rancher_only_files_of_cni_are_changed(host: HostTree) -> None:
    """Arguments belong in the Cluster object."""
    strict(host)
    host.write(RANCHER, "{}\n")
    assert host.run("apply").code == 0
    assert not host[DROPIN].exists()
    assert mode(host[LEASE]) == 0o600


def test_the_cluster_object_of_rancher_has_the_profile_without_event_rate_limit(host: HostTree) -> None:
    """Rancher's admission configuration has no limits for the plugin, so the API server would exit."""
    strict(host)
    cluster = yaml.safe_load(rendered(host, "rancher-cluster"))["spec"]["rkeConfig"]
    servers = dict(argument.split("=", 1) for argument in cluster["machineGlobalConfig"]["kube-apiserver-arg"])
    assert servers["enable-admission-plugins"] == (
        "NodeRestriction,ServiceAccount,AlwaysPullImages,DenyServiceExternalIPs"
    )
    assert {"pod-max-pids=4096", "seccomp-default=true"} <= set(
        cluster["machineSelectorConfig"][0]["config"]["kubelet-arg"]
    )


def rendered(host: HostTree, what: str, *options: str) -> str:
    done = run("render", what, "--config", str(host[SETTINGS]), "--k3s-version", "1.34", *options)
    assert (done.code, done.stderr) == (0, "")
    return done.stdout


# --- what a site waives or postpones is named in each report of each verb, with its date ---

SITE = """\
stages: {until: 2099-01-01, pod-security: warn, network-policies: off}
waivers: [{control: audit-log-maxage, reason: shipped every day, expires: 2098-12-31}]
"""
NAMED = ("stages.pod-security", "stages.network-policies", "shipped every day", "2098-12-31", "2099-01-01")
RESULT = "1 waived, 2 postponed until 2099-01-01"
ELSEWHERE = (Format.AUTO, Format.OPENMETRICS, *OF_AUDITORS)
"""Metrics have only numbers, and formats of auditors the rules of their framework; both have tests of their own."""


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("output_format", REPORT_FORMATS[1:])
@pytest.mark.parametrize("verb", ["diff", "apply", "check"])
def test_a_run_names_them_with_their_dates(host: HostTree, verb: str, output_format: Format) -> None:
    host.write(SETTINGS, SITE)
    assert host.run("apply").code == 0
    report = flat(host.run(verb, "--format", output_format).stdout)
    assert [name for name in NAMED if name not in report] == []
    assert RESULT in report or '"until": "2099-01-01"' in report


@pytest.mark.parametrize("output_format", [found for found in Format if found not in ELSEWHERE])
def test_an_assessment_names_them_with_their_dates(host: HostTree, output_format: Format) -> None:
    host.write(SETTINGS, SITE)
    report = flat(host.run("assess", "--format", output_format, "--verbose", *host.options).stdout)
    assert [name for name in NAMED if name not in report] == []
