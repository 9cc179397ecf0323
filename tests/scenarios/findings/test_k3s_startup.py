"""Findings about what K3s and its components read when they start."""

from __future__ import annotations

import pytest

from tests.scenarios.conftest import Hardened
from tests.scenarios.findings.case import (
    OWN_PSA,
    SITE,
    Case,
    Edit,
    Seen,
    as_described,
    both,
    chmod,
    deleted,
    edited,
    file_put,
    linked,
    many,
    removed,
    unchanged,
    with_service,
    written,
)
from tests.scenarios.host_tree import AUDIT, CONFIG, DATA_DIR, DROPIN, DROPINS, PSA, HostTree


def own_files(**files: str) -> Edit:
    """Return an edit after which the operator names an audit policy and an admission configuration."""

    def edit(host: HostTree) -> None:
        arguments = "[audit-policy-file=/srv/audit.yaml, admission-control-config-file=/srv/psa.yaml]"
        host.write(CONFIG, f"kube-apiserver-arg: {arguments}\n", 0o600)
        for name, source in {"audit": AUDIT, "psa": PSA}.items():
            text = files.get(name, host[source].read_text())
            if text:
                host.write(f"/srv/{name}.yaml", text, 0o600)

    return edit


SMALLER = (
    "Can this configuration be smaller, such as by merging drop-ins? Yes (the gate reads all of it): nothing to do."
    " No (the gate blocks K3s): nothing to do."
)
CASES = (
    Case("k3s-config-broken", written(CONFIG, "node-name: a\n  node-ip: b\n"), written(CONFIG, "# nothing yet\n"),
         Seen(f"{CONFIG}:2", "")),
    Case("k3s-config-broken", written(CONFIG, "kubelet-arg:\n  - max-pods: 200\n"),
         written(CONFIG, "not-an-option:\n  a: b\n"),
         Seen(f"{CONFIG}:2", ""), name="mapping"),
    Case("k3s-config-broken", lambda host: host[CONFIG].mkdir(), lambda host: host[SITE].mkdir(),
         Seen(CONFIG, ""), cure=removed(CONFIG), name="directory"),
    Case("k3s-config-ignored", linked(SITE, "/etc/nowhere.yaml"),
         both(linked(SITE, "/dev/null"), linked(CONFIG, "/etc/nowhere.yaml")),
         Seen(SITE, f"sudo rm {SITE}"), cure=as_described),
    *(Case("k3s-config-not-read", problem, neighbour, Seen(location, SMALLER),
           cure=unchanged, name=name)
      for name, problem, neighbour, location in (
          ("large", written(SITE, "#" * (1 << 20) + "\n"), written(SITE, "#" * 1000 + "\n"), ""),
          ("many", many(f"{DROPINS}/{{}}.yaml", 501), many(f"{DROPINS}/{{}}.yaml", 400), ""),
          ("unit", with_service("", "#" * ((1 << 18) + 1)), with_service(""), ""),
      )),
    Case("server-key-on-agent", written(CONFIG, "node-name: a\ndisable: traefik\n"),
         written(CONFIG, "node-name: a\nnode-label: b=c\n"),
         Seen(f"{CONFIG}:2", "", found="disable"), role="agent"),
    Case("audit-policy-unusable", deleted(AUDIT),
         written(SITE, f"kube-apiserver-arg+: audit-log-path={DATA_DIR}/server/logs/other.log\n"),
         Seen(f"{DROPIN}:8", "k3s-harden apply", found=AUDIT), cure=as_described),
    Case("audit-policy-unusable",
         both(written("/etc/audit.yaml", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n"),
             written(SITE, "kube-apiserver-arg+: audit-policy-file=/etc/audit.yaml\n")),
         both(written("/etc/audit.yaml", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"),
             written(SITE, "kube-apiserver-arg+: audit-policy-file=/etc/audit.yaml\n")),
         Seen("/etc/audit.yaml:3",
             ""),
         name="operator"),
    Case("audit-policy-unusable", written(AUDIT, "rules: []\n"), edited(AUDIT),
         Seen(f"{AUDIT}:1", "k3s-harden apply --force"), cure=lambda host, _: host.run("apply", "--force"),
         name="edited"),
    Case("admission-configuration-unusable", deleted(PSA), chmod(PSA, 0o400),
         Seen(f"{DROPIN}:7", "k3s-harden apply"), cure=as_described),
    Case("admission-configuration-unusable",
         written(SITE, "kube-apiserver-arg+:\n  - admission-control-config-file=/etc/psa.yaml\n"),
         written(CONFIG, "kube-apiserver-arg:\n  - admission-control-config-file=/etc/psa.yaml\n"),
         Seen(f"{SITE}:2",
             ""),
         cure=file_put("/etc/psa.yaml", OWN_PSA), name="operator"),
    Case("token-file-missing", written(CONFIG, "token-file: /etc/rancher/k3s/token\n"),
         both(written(CONFIG, "token-file: /etc/rancher/k3s/token\n"), written("/etc/rancher/k3s/token", "secret")),
         Seen(f"{CONFIG}:1", "",
             found="/etc/rancher/k3s/token does not exist")),
    Case("named-file-missing", written(CONFIG, "kube-apiserver-arg:\n  - oidc-ca-file=/etc/ssl/oidc.pem\n"),
         written(CONFIG, f"kube-apiserver-arg:\n  - client-ca-file={DATA_DIR}/server/tls/client-ca.crt\n"),
         Seen(f"{CONFIG}:2", "", found="/etc/ssl/oidc.pem")),
    Case("named-file-missing", written(CONFIG, "kube-apiserver-arg:\n  - oidc-ca-file=oidc.pem\n"),
         both(written(f"{DATA_DIR}/server/oidc.pem", "a certificate\n"),
             written(CONFIG, "kube-apiserver-arg:\n  - oidc-ca-file=oidc.pem\n  - runtime-config=batch/v1=true\n")),
         Seen(f"{CONFIG}:2", "",
             found=f"{DATA_DIR}/server/oidc.pem"), name="relative"),
    Case("operator-file-replaced", own_files(audit=""), own_files(),
         Seen(f"{CONFIG}:1",
             "", found="/srv/audit.yaml")),
)  # fmt: skip


@pytest.mark.parametrize("name", ["audit", "psa"])
@pytest.mark.parametrize("text", ["", "a: [\n", "apiVersion: v1\nkind: ConfigMap\n", "directory"])
def test_k3s_keeps_the_file_of_the_hardening_while_that_of_the_operator_is_unusable(
    name: str, text: str, hardened: Hardened
) -> None:
    """K3s starts with it, and would not start with the operator's. apply changes that when the file is usable."""
    host = hardened()
    own_files(**{name: "" if text == "directory" else text})(host)
    file = f"/srv/{name}.yaml"
    if text == "directory":
        host[file].mkdir(parents=True)
    option = "audit-policy-file" if name == "audit" else "admission-control-config-file"
    source = AUDIT if name == "audit" else PSA
    assert host.run("apply").code == 0
    assert f"{option}={source}" in host[DROPIN].read_text()
    for verb in ("check", "diff", "apply"):
        seen = host.seen(verb)
        assert (seen.code, [finding.id for finding in seen.findings]) == (0, ["operator-file-replaced"])
    assert "result 0: K3s may start (" in host.run("gate").stdout
    if text == "directory":
        host[file].rmdir()
    host.write(file, host[source].read_text(), 0o600)
    assert host.run("apply").code == 0
    assert option not in host[DROPIN].read_text()
    assert host.seen("check").findings == ()


def test_a_new_host_starts_with_the_files_of_the_hardening(host: HostTree) -> None:
    """The operator's file does not exist yet. Before apply, K3s does not start."""
    host.write(CONFIG, "kube-apiserver-arg: [audit-policy-file=/srv/audit.yaml]\n", 0o600)
    assert host.seen("check").only("audit-policy-unusable").prevents_start
    seen = host.seen("apply")
    assert (seen.code, [finding.id for finding in seen.findings]) == (0, ["operator-file-replaced"])


def test_an_unusable_file_of_a_later_file_of_the_operator_is_not_replaced(hardened: Hardened) -> None:
    """The argument of the drop-in would have no effect."""
    host = hardened()
    host.write(f"{DROPINS}/95-ops.yaml", "kube-apiserver-arg+: [audit-policy-file=/srv/audit.yaml]\n", 0o600)
    assert host.seen("check").of("operator-file-replaced") == ()
    assert host.seen("check").only("audit-policy-unusable").prevents_start


def test_a_plugin_without_its_configuration_is_reported_once(hardened: Hardened) -> None:
    """The k3s-harden drop-in repeats the operator's plugins; only the operator's line is reported, and only once."""
    host = hardened()
    host.write(CONFIG, "kube-apiserver-arg:\n  - enable-admission-plugins=EventRateLimit\n")
    host.run("apply")
    assert "EventRateLimit" in host[DROPIN].read_text()
    assert host.seen("check").only("admission-configuration-unusable").location == f"{CONFIG}:2"
    host[PSA].unlink()
    assert PSA in host.seen("check").only("admission-configuration-unusable").message


def test_a_configuration_above_the_size_limit_blocks_the_gate(hardened: Hardened) -> None:
    """K3s can read it, and could start unhardened. It is not reported as invalid YAML."""
    host = hardened()
    host.write(CONFIG, "# a comment\n" * (1 << 17))
    seen = host.seen("check")
    assert (seen.code, seen.of("k3s-config-broken")) == (3, ())
    assert "k3s-harden reads at most 131072" in seen.of("k3s-config-not-read")[-1].message
    assert host.run("gate").code == 3
