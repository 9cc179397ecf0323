"""preflight: whether another K3s version would start on a host and stay hardened."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.json_schemas import validator
from tests.scenarios.conftest import Hardened
from tests.scenarios.host_tree import AUDIT, CONFIG, DATA_DIR, DROPIN, MANIFESTS, POLICY, PSA, SETTINGS, HostTree

VALIDATOR = validator("preflight")
PSP = "apiVersion: policy/v1beta1\nkind: PodSecurityPolicy\nmetadata:\n  name: own\n"


def preflight(host: HostTree, version: str) -> dict[str, Any]:
    """Return the validated JSON of a preflight. Checks that the host is unchanged."""
    before = (host.entries(with_state=True), host.stamps())
    done = host.run("preflight", version, "--format", "json")
    assert (host.entries(with_state=True), host.stamps()) == before
    found: dict[str, Any] = json.loads(done.stdout)
    VALIDATOR.validate(found)
    assert found["exit_code"] == done.code
    return found


def ids(found: dict[str, Any], key: str) -> list[str]:
    return [finding["id"] for finding in found[key]]


@pytest.mark.parametrize("target", ["v1.37", "1.37", "v1.37.2+k3s1", "v1.37.2-k3s1"])
def test_a_hardened_host_can_be_upgraded(target: str, hardened: Hardened) -> None:
    found = preflight(hardened(), target)
    assert (found["exit_code"], found["would_start"], found["stays_hardened"]) == (0, True, True)
    assert (found["findings"], found["changes"], found["left_after_apply"]) == ([], [], [])
    assert found["current_k3s_version"] == "v1.34"
    assert "one-minor-at-a-time" in ids(found, "notes")


def test_an_upgrade_over_several_minor_versions_begins_with_the_steps_to_the_next_one(hardened: Hardened) -> None:
    """v1.35 rejects the feature gate already, so its removal is a step of that upgrade."""
    host = hardened()
    host.write(CONFIG, "kubelet-arg: [feature-gates=AllowServiceLBStatusOnNonLB=false]\n")
    found = preflight(host, "1.37")
    (step,) = found["next_steps"]
    assert " preflight v1.35 --k3s-version 1.34 " in step["command"]
    assert "feature-gate-invalid" in ids(found, "findings")
    steps = [step["text"] + step["command"] for step in preflight(host, "1.35")["next_steps"]]
    assert [any("AllowServiceLB" in step for step in steps), "INSTALL_K3S_CHANNEL=v1.35" in steps[-1]] == [True, True]


def test_a_preview_is_checked_for_what_is_known_of_it(hardened: Hardened) -> None:
    """Gates that v1.38 removes or locks are found. No step installs a version that does not exist yet."""
    host = hardened("server", "1.37")
    found = preflight(host, "1.38")
    assert (found["exit_code"], ids(found, "findings")) == (0, ["version-newer"])
    assert "v1.38.0-beta.0" in found["findings"][0]["message"]
    assert "user-namespace-ranges" in ids(found, "notes")
    text = host.run("preflight", "1.38", "--format", "plain").stdout
    assert "result 0: K3s v1.38 would start as far as it could be checked" in text
    host.write(CONFIG, "kubelet-arg: [feature-gates=NodeSwap=true]\nkube-proxy-arg: [feature-gates=AllBeta=true]\n")
    host.write(f"{CONFIG}.d/1.yaml", "kube-apiserver-arg: ['feature-gates=StrictIPCIDRValidation=false']\n")
    assert "feature-gate-invalid" not in ids(preflight(host, "1.37"), "findings")
    found = preflight(host, "1.38")
    gates = [finding["message"] for finding in found["findings"] if finding["id"] == "feature-gate-invalid"]
    assert (found["exit_code"], len(gates)) == (3, 2)
    assert any("NodeSwap was removed in 1.38" in message for message in gates)
    assert any("StrictIPCIDRValidation is locked to true in 1.38" in message for message in gates)
    assert not any("get.k3s.io" in step["command"] for step in found["next_steps"])


def test_a_range_of_ids_at_which_the_next_kubelet_exits_is_found_before_the_upgrade(hardened: Hardened) -> None:
    host = hardened("agent", "1.37")
    host.write("/etc/passwd", "kubelet:x:991:991::/:/sbin/nologin\n")
    host.write("/usr/bin/getsubids", mode=0o755)
    host.write("/etc/subuid", "kubelet:65536:4294901760\n")
    assert (preflight(host, "1.37")["exit_code"], preflight(host, "1.38")["exit_code"]) == (0, 3)
    found = preflight(host, "1.38")["findings"]
    assert [finding["location"] for finding in found if finding["id"] == "subordinate-ids-invalid"] == [
        {"path": "/etc/subuid", "line": 1}
    ]


@pytest.mark.parametrize(
    ("removed", "kind", "minor"),
    [
        ("certificates.k8s.io/v1alpha1", "ClusterTrustBundle", 37),
        ("networking.k8s.io/v1beta1", "ServiceCIDR", 37),
        ("scheduling.k8s.io/v1alpha2", "Workload", 37),
        ("storage.k8s.io/v1beta1", "VolumeAttributesClass", 37),
        ("metrics.k8s.io/v1alpha1", "PodMetrics", 38),
    ],
)
def test_an_api_of_a_manifest_is_reported_from_the_version_without_it_on(
    removed: str, kind: str, minor: int, hardened: Hardened
) -> None:
    host = hardened("server", "1.36")
    host.write(f"{MANIFESTS}/own.yaml", f"apiVersion: {removed}\nkind: {kind}\nmetadata:\n  name: own\n")
    for target in (36, 37, 38):
        assert ("manifest-api-removed" in ids(preflight(host, f"1.{target}"), "findings")) == (target >= minor)


def test_changes_that_apply_makes_do_not_prevent_an_upgrade(hardened: Hardened) -> None:
    """From v1.24 to v1.25, apply replaces the plugin and the policies, and adds psa.yaml."""
    host = hardened("server", "1.24")
    found = preflight(host, "1.25")
    assert found["exit_code"] == 0
    assert ids(found, "changes") == [POLICY, PSA, DROPIN]
    fixed = {finding["id"]: finding["fixed_by_apply"] for finding in found["findings"]}
    assert fixed == {"admission-plugins-refused": True, "stale-pod-security-policy": True}
    host.options = ("--role", "server", "--k3s-version", "1.25")
    assert host.run("apply").code == 0
    assert host.seen("check").code == 0


OWN = {
    "nothing": {},
    "plugin": {CONFIG: "kube-apiserver-arg: [enable-admission-plugins=PodSecurityPolicy]\n"},
    "manifest": {f"{MANIFESTS}/own.yaml": PSP},
    "edited-policy": {POLICY: PSP},
    "edited-dropin": {DROPIN: "kube-apiserver-arg+: [audit-log-maxage=1]\n"},
    "later-file": {f"{CONFIG}.d/99.yaml": "kube-apiserver-arg: [audit-log-maxage=1]\n"},
    "sysctl": {"/etc/sysctl.d/99.conf": "kernel.panic=0\n"},
    "emptied": {AUDIT: ""},
}


@pytest.mark.parametrize(("current", "target"), [("1.24", "1.25"), ("1.26", "1.29"), ("1.33", "1.34")])
@pytest.mark.parametrize("name", OWN)
def test_a_preflight_predicts_what_check_reports_after_apply(
    name: str, current: str, target: str, hardened: Hardened
) -> None:
    host = hardened("server", current)
    for path, content in OWN[name].items():
        host.write(path, content, 0o600)
    found = preflight(host, target)
    host.options = ("--role", "server", "--k3s-version", target)
    host.run("apply")
    seen = host.seen("check")
    predicted = {
        finding["id"] for finding in found["findings"] if finding["level"] == "error" and not finding["fixed_by_apply"]
    }
    assert predicted == {finding.id for finding in seen.findings if finding.level == "error"} - {"file-edited"}
    assert set(ids(found, "left_after_apply")) == seen.with_status("differs") | seen.with_status("refused")


@pytest.mark.parametrize("has_gate", [True, False])
def test_apply_does_not_run_before_the_current_version_stops(hardened: Hardened, *, has_gate: bool) -> None:
    """K3s v1.24 would delete the PodSecurityPolicies and then admit no pod. The gate runs apply at the right time."""
    host = hardened("server", "1.24")
    host.unit("server")
    host.write("/usr/lib/systemd/systemd", "", 0o755)
    if has_gate:
        host.write("/opt/k3s-harden", "", 0o755)
        done = host.run("install", "--program", "/opt/k3s-harden")
        assert done.code == 0, done
    fixed = [finding["repair"]["text"] for finding in preflight(host, "1.25")["findings"] if finding["fixed_by_apply"]]
    start = "the gate runs apply" if has_gate else "stop K3s; then run `k3s-harden apply "
    assert fixed
    assert all(text.startswith(start) for text in fixed)


def test_an_edited_file_that_does_not_meet_its_control_is_reported(hardened: Hardened) -> None:
    host = hardened()
    host.write(AUDIT, host[AUDIT].read_text() + "# an edit\n", 0o600)
    assert preflight(host, "1.35")["exit_code"] == 0
    host.write(PSA, host[PSA].read_text().replace("enforce: restricted", "enforce: privileged"), 0o600)
    found = preflight(host, "1.35")
    assert (found["exit_code"], found["would_start"], found["stays_hardened"]) == (3, True, False)
    assert ids(found, "findings") == ["edited-file-insufficient"]


def test_a_file_that_apply_refuses_is_reported(hardened: Hardened) -> None:
    """apply does not change the file, so the upgraded host is not compliant."""
    host = hardened("server", "1.24")
    host[PSA].symlink_to("/etc/psa.yaml")
    found = preflight(host, "1.25")
    assert (found["exit_code"], found["stays_hardened"]) == (3, False)
    assert PSA in ids(found, "left_after_apply")


def test_a_host_without_hardening_is_compliant_after_apply(host: HostTree) -> None:
    host.options = ("--role", "server")
    found = preflight(host, "1.37")
    assert (found["exit_code"], found["current_k3s_version"]) == (0, "")
    assert set(ids(found, "changes")) >= {PSA, POLICY, AUDIT, DROPIN, f"{DATA_DIR}/server"}
    assert found["left_after_apply"] == []


def steps(found: dict[str, Any]) -> list[str]:
    return [": ".join(filter(None, (step["text"], step["command"]))) for step in found["next_steps"]]


def test_the_next_steps_begin_with_what_comes_first(host: HostTree) -> None:
    """They save the datastore and upgrade to the versions between, then apply, then install on the right host."""
    host.options = ("--role", "server")
    host.write(f"{DATA_DIR}/server/db/etcd/member/wal/0.wal")
    asked, *shown = steps(preflight(host, "1.37"))
    assert asked.startswith("if K3s v1.36 runs now, see what changes after it")
    assert shown[0].startswith("save the datastore and the server's token: ")
    assert "tar -C /var/lib/rancher/k3s/server -czf /root/k3s-before-v1.37.tar.gz db token" in shown[0]
    assert shown[1] == "upgrade every server to v1.34, v1.35 or v1.36, unless it has one of them"
    assert shown[2].startswith("apply the hardening of v1.37: ")
    assert shown[3].startswith("on the host that boots from this tree, install K3s v1.37: curl ")


def test_the_next_steps_save_a_sqlite_database_where_it_is(host: HostTree) -> None:
    """K3s' option `datastore-endpoint` can have another path than that below the data directory."""
    host.options = ("--role", "server")
    host.write(CONFIG, "datastore-endpoint: sqlite:///opt/db/site.db\n", 0o600)
    host.write("/opt/db/site.db")
    shown = steps(preflight(host, "1.37"))[1]
    assert "k3s-before-v1.37.tar.gz /opt/db/site.db* token" in shown


def test_the_next_steps_check_again_after_a_fix(host: HostTree) -> None:
    host.options = ("--role", "agent", "--k3s-version", "1.36")
    host.write(CONFIG, "kubelet-arg: [pod-infra-container-image=x]\n")
    found = preflight(host, "1.37")
    assert {"servers-first", "snapshot-first"} & {*ids(found, "notes")} == {"servers-first"}
    shown = steps(found)
    assert shown[0] == "upgrade all servers of the cluster before this agent"
    assert shown[2].startswith("check again, and continue only if it ends with result 0: ")
    assert "preflight v1.37 --k3s-version 1.36" in shown[2]
    assert "--k3s-version v1.37" in shown[3]
    assert "set SERVER to a server" in shown[4]


def test_findings_that_do_not_affect_the_upgrade_are_omitted(hardened: Hardened) -> None:
    host = hardened()
    host.write(CONFIG, "enable-pprof: true\ndisable-network-policy: true\n")
    assert len(host.seen("check").findings) == 2
    assert preflight(host, "1.35")["findings"] == []


def test_a_removed_argument_and_a_removed_gate_prevent_the_start(hardened: Hardened) -> None:
    """Both exist in v1.34. Each is reported with its line."""
    host = hardened()
    gate = "kube-apiserver-arg:\n  - feature-gates=AnyVolumeDataSource=true\n"
    host.write(CONFIG, f"kubelet-arg:\n  - pod-infra-container-image=x\n{gate}")
    found = preflight(host, "1.37")
    assert (found["exit_code"], found["would_start"], found["stays_hardened"]) == (3, False, True)
    locations = {finding["id"]: finding["location"]["line"] for finding in found["findings"]}
    assert locations == {"component-argument-unknown": 2, "feature-gate-invalid": 4}
    assert all(finding["location"]["path"] == CONFIG for finding in found["findings"])


def test_notes_about_etcd_follow_the_datastore(hardened: Hardened) -> None:
    host = hardened("server", "1.33")
    assert "etcd-3-5-26-before-3-6" not in ids(preflight(host, "1.34"), "notes")
    host.write(f"{DATA_DIR}/server/db/etcd/member/wal/0.wal")
    assert "etcd-3-5-26-before-3-6" in ids(preflight(host, "1.34"), "notes")


def test_notes_follow_what_the_host_has(hardened: Hardened) -> None:
    """A disabled Traefik, and a kubelet that accepts control groups of version 1, need no note."""
    host = hardened("server", "1.34")
    assert {"traefik-chart-40", "cgroup-v1-not-supported"} & set(ids(preflight(host, "1.36"), "notes")) == {
        "traefik-chart-40"
    }
    host.write(CONFIG, "disable: [traefik]\nkubelet-arg: [fail-cgroupv1=false]\n")
    assert "traefik-chart-40" not in ids(preflight(host, "1.36"), "notes")
    shutil.rmtree(host["/proc/sys"])
    assert "cgroup-v1-not-supported" not in ids(preflight(host, "1.36"), "notes")
    host.write(CONFIG, "disable: [traefik]\n")
    assert "cgroup-v1-not-supported" in ids(preflight(host, "1.36"), "notes")


def test_v1_25_0_is_a_release_and_v1_25_is_the_newest(hardened: Hardened) -> None:
    """Releases before v1.25.4 do not apply the policy.yaml that the gate writes."""
    host, note = hardened("server", "1.24"), "manifests-of-removed-kinds"
    assert [
        version
        for version in ("v1.25.0", "1.25.3", "v1.25.4", "v1.25")
        if note in ids(preflight(host, version), "notes")
    ] == ["v1.25.0", "1.25.3"]


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("v1.39", ("v1.39", "up to v1.37")),
        ("v1.38.0", ("v1.38.0+k3s1", "up to v1.37", "v1.38 as a preview")),
        ("v1.38.0+k3s1", ("v1.38.0+k3s1", "up to v1.37")),
        ("v1.22", ("v1.22", "v1.23 or newer")),
        ("v1.34.3+rke2r1", ("'v1.34.3+rke2r1'",)),
        ("v1.33", ("downgrade from v1.34 to v1.33",)),
    ],
)
def test_an_unsupported_version_is_a_usage_error(version: str, words: tuple[str, ...], hardened: Hardened) -> None:
    done = hardened().run("preflight", version)
    assert (done.code, done.stdout) == (2, "")
    assert all(word in done.stderr for word in words), done.stderr


def test_a_downgrade_to_an_older_patch_is_refused(hardened: Hardened) -> None:
    host = hardened()
    host.options = ("--role", "server", "--k3s-version", "v1.34.2+k3s1")
    assert host.run("preflight", "v1.34.1+k3s1").code == 2
    assert host.run("preflight", "v1.34.2+k3s1").code == 0
    assert host.run("preflight", "v1.34").code == 0


def test_the_settings_of_the_site_apply(hardened: Hardened) -> None:
    host = hardened("server", "1.24")
    host.options = ("--role", "server")
    host.write(SETTINGS, "k3s-version: '1.24'\npod-security: {exempt-rancher: false}\n")
    found = preflight(host, "1.25")
    assert (found["exit_code"], found["current_k3s_version"]) == (0, "v1.24")
    host.run("apply", "--k3s-version", "1.25")
    assert "ingress-nginx" not in host[PSA].read_text()


def test_the_installation_repeats_what_the_service_has(hardened: Hardened) -> None:
    """install.sh writes the service and its environment file again. Secrets are placeholders."""
    host = hardened("agent")
    environment = "K3S_TOKEN='s3cret'\nK3S_URL='https://10.0.0.1:6443'\n"
    secrets = ("--vpn-auth=name=x,joinKey=s3cret", "--token", "s3cret")
    host.unit("agent", "--node-label", "zone=a b", *secrets, environment=environment)
    found = preflight(host, "1.35")
    step = found["next_steps"][-1]
    assert step["text"].endswith("; replace TOKEN with the secret that the service has there")
    assert step["command"] == (
        "curl -sfL https://get.k3s.io | INSTALL_K3S_CHANNEL=v1.35 K3S_TOKEN=TOKEN K3S_URL=https://10.0.0.1:6443"
        " sh -s - agent --node-label 'zone=a b' --vpn-auth=TOKEN --token TOKEN"
    )
    assert "s3cret" not in json.dumps(found)


def test_the_current_version_is_asked_for_first_if_it_is_unknown(hardened: Hardened) -> None:
    """The steps between the versions depend on it. Usually, an upgrade is from the version before."""
    host = hardened()
    host.options = ("--role", "server")
    first = preflight(host, "1.36")["next_steps"][0]
    assert first["text"] == "if K3s v1.35 runs now, see what changes after it"
    assert first["command"] == f"k3s-harden preflight v1.36 --k3s-version v1.35 --root {host.root} --role server"


@pytest.mark.parametrize(
    ("stage", "follows"),
    [("prepare", "sudo k3s secrets-encrypt rotate"), ("rotate", "sudo k3s secrets-encrypt reencrypt"), ("start", "")],
)
def test_a_rotation_that_is_not_finished_comes_first(hardened: Hardened, stage: str, follows: str) -> None:
    host = hardened()
    host.write(f"{DATA_DIR}/server/cred/encryption-state.json", f"{stage}-{'0' * 64}")
    steps = preflight(host, "1.35")["next_steps"]
    first = [step["command"] for step in steps if step["text"].startswith("finish the rotation first")]
    expected = ["k3s secrets-encrypt status", "systemctl restart k3s.service", follows.removeprefix("sudo ")]
    assert [*map(str.endswith, first, expected)] == [True] * (3 if follows else 0)
    assert steps[: len(first)] == [step for step in steps if step["command"] in first]
