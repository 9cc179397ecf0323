"""Admission policies from files: what apply writes, what the gate adds, and what prevents K3s from starting."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
import yaml

from tests.scenarios.findings.case import SITE
from tests.scenarios.follower import Follower
from tests.scenarios.host_tree import PSA, SETTINGS, HostTree

ADMISSION = "/var/lib/rancher/k3s/server/admission"
VALIDATING, MUTATING = f"{ADMISSION}/validating/policies.yaml", f"{ADMISSION}/mutating/policies.yaml"
VALIDATED = ("pod-security", "network-policies", "bindings")
ALL = """\
admission-policies:
  pod-security: deny
  network-policies: deny
  bindings: deny
  service-accounts: on
"""


@pytest.fixture
def server(host: HostTree) -> HostTree:
    """A server of the first version that loads policies from files."""
    return of_version(host, "1.37")


def of_version(host: HostTree, version: str) -> HostTree:
    host.options = ("--role", "server", "--k3s-version", version)
    return host


def hardened_with(host: HostTree, settings: str) -> HostTree:
    host.write(SETTINGS, settings)
    done = host.run("apply")
    assert done.code == 0, done.stdout
    return host


def bindings(host: HostTree) -> dict[str, list[str]]:
    objects = yaml.safe_load_all(host[VALIDATING].read_text())
    return {
        item["metadata"]["name"].removesuffix(".static.k8s.io"): item["spec"]["validationActions"]
        for item in objects
        if item["kind"].endswith("Binding")
    }


def directories(host: HostTree) -> dict[str, str]:
    plugins = yaml.safe_load(host[PSA].read_text())["plugins"]
    return {
        plugin["name"]: plugin["configuration"]["staticManifestsDir"]
        for plugin in plugins
        if "staticManifestsDir" in plugin["configuration"]
    }


def test_apply_writes_the_chosen_policies_and_revert_removes_them(server: HostTree) -> None:
    server.write(SETTINGS, ALL)
    before = server.entries()
    hardened_with(server, ALL)
    assert bindings(server) == {f"k3s-harden-{name}": ["Deny"] for name in VALIDATED}
    assert directories(server) == {
        "ValidatingAdmissionPolicy": f"{ADMISSION}/validating",
        "MutatingAdmissionPolicy": f"{ADMISSION}/mutating",
    }
    modes = {path: server[path].stat().st_mode & 0o777 for path in (ADMISSION, VALIDATING, MUTATING)}
    assert modes == {ADMISSION: 0o700, VALIDATING: 0o600, MUTATING: 0o600}
    assert server.run("check").code == 0
    assert server.run("revert").code == 0
    assert server.entries() == before


def test_each_policy_has_its_own_switch(server: HostTree) -> None:
    hardened_with(server, "admission-policies: {pod-security: warn, bindings: audit}\n")
    assert bindings(server) == {"k3s-harden-pod-security": ["Warn", "Audit"], "k3s-harden-bindings": ["Audit"]}
    assert not server[MUTATING].exists()
    assert list(directories(server)) == ["ValidatingAdmissionPolicy"]


def test_the_names_of_the_site_are_in_the_expressions(server: HostTree) -> None:
    settings = """\
pod-security: {exempt-namespaces: [storage]}
network-policies: {namespaces: [shop]}
service-accounts: {exempt: [old/default]}
"""
    managers = "  managers: ['system:serviceaccount:cattle-system:rancher']\n"
    hardened_with(server, f"{ALL}{managers}{settings}")
    text = server[VALIDATING].read_text()
    assert '"storage"' in text
    assert '"shop/intra-namespace"' in text
    assert text.count('request.userInfo.username in ["system:serviceaccount:cattle-system:rancher"]') == 3
    assert text.count("not-an-administrator") == 3
    assert 'object.metadata.namespace in ["old"]' in server[MUTATING].read_text()
    hardened_with(server, f"{ALL}  bind-administrators: true\n")
    assert "not-an-administrator" not in server[VALIDATING].read_text()


def test_the_gate_of_a_hardened_host_only_warns_until_apply(server: HostTree) -> None:
    """An upgrade of this program, or of K3s, denies nothing new. What is denied already stays denied."""
    hardened_with(server, "profile: guide\n")
    server.write(SETTINGS, ALL)
    assert server.run("gate-of-tree", *server.options).code == 0
    assert set(map(tuple, bindings(server).values())) == {("Warn", "Audit")}
    assert server.run("gate-of-tree", *server.options).code == 0
    assert set(map(tuple, bindings(server).values())) == {("Warn", "Audit")}
    assert server.run("apply").code == 0
    assert set(map(tuple, bindings(server).values())) == {("Deny",)}
    server.write(SETTINGS, f"{ALL}pod-security: {{exempt-namespaces: [storage]}}\n")
    assert server.run("gate-of-tree", *server.options).code == 0
    assert set(map(tuple, bindings(server).values())) == {("Deny",)}
    assert '"storage"' in server[VALIDATING].read_text()


def test_a_new_host_denies_from_its_first_gate_on(server: HostTree) -> None:
    server.write(SETTINGS, ALL)
    assert server.run("gate-of-tree", *server.options).code == 0
    assert set(map(tuple, bindings(server).values())) == {("Deny",)}


def test_while_restricted_is_postponed_the_policy_of_levels_warns(server: HostTree) -> None:
    hardened_with(server, f"{ALL}stages: {{until: 2099-01-01, pod-security: baseline}}\n")
    assert bindings(server)["k3s-harden-pod-security"] == ["Warn", "Audit"]
    assert bindings(server)["k3s-harden-bindings"] == ["Deny"]


def verdicts(host: HostTree) -> dict[str, dict[str, Any]]:
    found = json.loads(host.run("assess", "--format", "json").stdout)["verdicts"]
    return {verdict["id"]: verdict for verdict in found}


def test_assess_counts_policies_with_file_line_and_digest(server: HostTree) -> None:
    """The digest is that of the metrics of the API server: of each file, followed by a zero byte."""
    hardened_with(server, "profile: guide\n")
    control = verdicts(server)["admission-policies-from-files"]
    assert (control["status"], control["found"]) == ("FAIL", "no policy is loaded from a file")
    hardened_with(server, ALL)
    found = verdicts(server)
    assert found["admission-policies-from-files"]["status"] == "PASS"
    assert found["admission-policies-from-files"]["found"] == "4 of 4 policies reject or change requests"
    shown = {
        name: " ".join(item["observation"] for item in found[name]["evidence"])
        for name in ("pods-privileged", "default-service-accounts", "namespaces-network-policies")
    }
    assert "policy k3s-harden-pod-security.static.k8s.io for namespaces" in shown["pods-privileged"]
    assert "policy k3s-harden-service-accounts.static.k8s.io for serviceaccounts: Mutate" in str(shown)
    assert "policy k3s-harden-network-policies.static.k8s.io for networkpolicies: Deny" in str(shown)
    digest = sha256(server[VALIDATING].read_bytes() + b"\0").hexdigest()
    assert all(f"sha256:{digest}" in text for text in shown.values())
    (policy, *_) = found["namespaces-network-policies"]["evidence"]
    assert policy["location"]["path"] == VALIDATING
    assert policy["location"]["line"] > 1


def test_policies_that_only_warn_are_not_counted_as_enforced(server: HostTree) -> None:
    hardened_with(server, "admission-policies: {pod-security: warn, bindings: audit}\n")
    control = verdicts(server)["admission-policies-from-files"]
    assert (control["status"], control["found"]) == ("FAIL", "0 of 2 policies reject or change requests")


def test_assess_fails_the_control_for_a_file_that_the_api_server_rejects(server: HostTree) -> None:
    hardened_with(server, ALL)
    server.write(f"{ADMISSION}/validating/.own.yml", "a: [\n")
    assert verdicts(server)["admission-policies-from-files"]["status"] == "FAIL"


@pytest.mark.parametrize("version", ["1.34", "1.36"])
def test_an_older_k3s_gets_no_policies_and_one_note(host: HostTree, version: str) -> None:
    of_version(host, version)
    hardened_with(host, ALL)
    assert not host[ADMISSION].exists()
    assert directories(host) == {}
    (note,) = host.seen("check").of("admission-policies-unsupported")
    assert f"K3s v{version}.0" in note.message
    assert Follower(host).carry_out(note.steps)
    assert not host.seen("check").of("admission-policies-unsupported")


def test_psa_yaml_names_no_policies_for_an_older_k3s(server: HostTree) -> None:
    """The API server of v1.36 exits at the entries. The files of the newer version are reported."""
    hardened_with(server, ALL)
    assert directories(server)
    hardened_with(of_version(server, "1.36"), ALL)
    assert directories(server) == {}
    assert len(server.seen("check").of("left-over")) == 2


def test_psa_yaml_is_not_written_without_the_policies_that_it_names(server: HostTree) -> None:
    """The API server exits if a directory is missing."""
    server.write(SETTINGS, ALL)
    server.write(f"{ADMISSION}/mutating", "a file in the place of the directory\n")
    assert server.run("apply").code != 0
    assert not server[PSA].exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda host: host.write(f"{ADMISSION}/validating/.own.yml", "a: [\n"), "not YAML"),
        (lambda host: host.write(f"{ADMISSION}/validating/own.json", "# a comment\n"), "only comments"),
        (lambda host: host[MUTATING].rename(f"{host[VALIDATING]}.yaml"), "expected the kind"),
        (lambda host: host.write(f"{ADMISSION}/validating/b.yaml", host[VALIDATING].read_text()), "not unique"),
        (lambda host: host[f"{ADMISSION}/mutating"].rename(f"{host.root}/moved"), "there is no such directory"),
        (lambda host: host[f"{ADMISSION}/mutating/x.YAML"].symlink_to("missing"), "cannot be read"),
    ],
    ids=["not-yaml", "comment", "kind", "duplicate", "missing", "dangling"],
)
def test_what_stops_the_api_server_is_foretold(
    server: HostTree, change: Callable[[HostTree], object], words: str
) -> None:
    hardened_with(server, ALL)
    assert "component-file-invalid" not in server.seen("check").ids
    change(server)
    found = server.seen("check").of("component-file-invalid")
    assert any(words in item.message for item in found), [item.message for item in found]


@pytest.mark.parametrize("path", [f"{ADMISSION}/validating", f"{ADMISSION}/validating/own.yaml"], ids=["dir", "file"])
def test_policies_that_others_can_change_are_named(server: HostTree, path: str) -> None:
    hardened_with(server, ALL)
    *_, binding = server[VALIDATING].read_text().split("---\n")
    server.write(f"{ADMISSION}/validating/own.yaml", binding.replace("name: k3s-harden-", "name: own-", 1))
    assert "admission-policies-not-enforced" not in server.seen("check").ids
    server[path].chmod(0o777)
    (found,) = server.seen("check").of("admission-policies-not-enforced")
    assert found.message == f"others than root can change {path}, and so switch its policies off"
    assert found.found.startswith("mode 0777")


def test_a_directory_that_ends_like_a_file_is_skipped_and_a_link_to_it_is_not(server: HostTree) -> None:
    hardened_with(server, ALL)
    server[f"{ADMISSION}/validating/later.yaml"].mkdir()
    assert "component-file-invalid" not in server.seen("check").ids
    server[f"{ADMISSION}/validating/link.yaml"].symlink_to("later.yaml")
    (found,) = server.seen("check").of("component-file-invalid")
    assert "cannot be read" in found.message


def test_policies_that_protect_nothing_are_named(server: HostTree) -> None:
    hardened_with(server, ALL)
    assert "admission-policies-not-enforced" not in server.seen("check").ids
    server.write(SITE, "kube-apiserver-arg+: disable-admission-plugins=MutatingAdmissionPolicy\n")
    (found,) = server.seen("check").of("admission-policies-not-enforced")
    assert "MutatingAdmissionPolicy is disabled" in found.message
    own = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: []\n"
    server.write("/etc/psa.yaml", own)
    server.write(SITE, "kube-apiserver-arg+: admission-control-config-file=/etc/psa.yaml\n")
    messages = [item.message for item in server.seen("check").of("admission-policies-not-enforced")]
    assert any("it reads /etc/psa.yaml" in message for message in messages)
