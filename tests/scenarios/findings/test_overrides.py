"""Findings about options that override the hardening."""

from __future__ import annotations

import pytest

from tests.k3s_tree import encryption
from tests.scenarios.conftest import Hardened
from tests.scenarios.findings.case import (
    SITE,
    Case,
    Seen,
    as_described,
    asked_for,
    both,
    line_replaced,
    of_version,
    written,
)
from tests.scenarios.host_tree import CONFIG, DATA_DIR, DROPIN, DROPINS, MANIFESTS, SETTINGS, HostTree

IDENTITY = encryption("identity")
AESCBC = encryption("aescbc", "identity")
ENCRYPTS = " ".join(
    f"{answer} (a server that differs from the others cannot read the secrets of the cluster): set"
    f" `secrets-encryption: {value}` in {SETTINGS}; then run `k3s-harden apply`."
    for answer, value in (("Yes", "on"), ("No", "off"))
)
LATER_LIST = "kube-apiserver-arg:\n- profiling=false\n"

CASES = (
    Case("list-dropped", written(SITE, "node-name: a\nkubelet-arg:\n  - max-pods=200\n"),
         written(SITE, "node-name: a\nkubelet-arg+:\n  - max-pods=200\n"),
         Seen(f"{SITE}:2", "",
             expected="kubelet-arg+:",
             found="kubelet-arg:, which drops streaming-connection-idle-timeout, tls-cipher-suites")),
    Case("option-overridden", written(SITE, "kube-apiserver-arg+:\n  - audit-log-maxage=1\n"),
         written(SITE, "kube-apiserver-arg+:\n  - audit-log-maxage=365\n"),
         Seen(f"{SITE}:2", "", expected="30 or more",
             found="1")),
    Case("option-overridden", written(f"{DROPINS}/99-site.YAML", "kube-apiserver-arg+:\n  - audit-log-maxage=1\n"),
         written(f"{DROPINS}/99-site.YAML.old", "kube-apiserver-arg+:\n  - audit-log-maxage=1\n"),
         Seen(f"{DROPINS}/99-site.YAML:2", "",
             expected="30 or more", found="1"), cure=line_replaced("=1", "=30"), name="upper-case"),
    Case("option-overridden", written(CONFIG, "kubelet-arg:\n  - protect-kernel-defaults=false\n"),
         written(CONFIG, "kubelet-arg:\n  - protect-kernel-defaults\n"),
         Seen(f"{CONFIG}:2", "", expected="true",
             found="false"), name="kubelet"),
    Case("option-overridden", written(SITE, "protect-kernel-defaults: false\n"),
         written(SITE, "protect-kernel-defaults: yes\n"),
         Seen(f"{SITE}:1", "", expected="true",
             found="false"), role="agent", name="scalar"),
    Case("network-policies-inert", written(CONFIG, "disable-network-policy: 1\n"),
         written(CONFIG, "disable-network-policy: false\n"),
         Seen(f"{CONFIG}:1",
             "",
             found="disable-network-policy: 1")),
    Case("network-policies-inert", written(f"{MANIFESTS}/shop/policy.yaml.skip", ""),
         both(written(f"{MANIFESTS}/policy.skip", ""), written(f"{MANIFESTS}/policy.yaml.SKIP", "")),
         Seen(f"{MANIFESTS}/shop/policy.yaml.skip", f"sudo rm {MANIFESTS}/shop/policy.yaml.skip",
             found="policy.yaml.skip"), cure=as_described, name="skip"),
    Case("network-policies-inert", written(CONFIG, "disable:\n  - traefik, policy\n"),
         written(CONFIG, "disable:\n  - traefik, policy.yaml\n"),
         Seen(f"{CONFIG}:2", "", found="disable: policy"),
         name="disable"),
    Case("supervisor-endpoint-anonymous", written(CONFIG, "debug: true\nenable-pprof: true\n"),
         both(written(CONFIG, "enable-pprof: true\n"), of_version("v1.37.1+k3s1")),
         Seen(f"{CONFIG}:2", "", expected="v1.37.1 or newer, or the option is not set",
             found="enable-pprof: true"), version="v1.37.0+k3s1"),
    Case("event-qps-lowers-limit", written(CONFIG, "kubelet-arg:\n  - event-qps=0\n"),
         both(written(CONFIG, "kubelet-arg:\n  - event-qps=0\n"),
             asked_for("--k3s-version", "1.37", "--role", "agent")),
         Seen(f"{CONFIG}:2", "",
             expected="event-qps=50, the default", found="event-qps=0"), role="agent"),
    Case("secrets-not-encrypted",
         both(lambda host: host[DROPIN].write_text(host[DROPIN].read_text().replace("secrets-encryption: true\n", "")),
             written(f"{DATA_DIR}/server/db/state.db", "data"),
             written(f"{DATA_DIR}/server/cred/encryption-config.json", IDENTITY)),
         both(written(f"{DATA_DIR}/server/db/state.db", "data"),
             written(f"{DATA_DIR}/server/cred/encryption-config.json", AESCBC)),
         Seen("", "k3s-harden explain secrets-encryption",
             expected="secrets-encryption: true")),
    Case("secrets-not-encrypted", written(CONFIG, "server: https://10.0.0.1:6443\n"),
         written(CONFIG, "server: https://10.0.0.1:6443\nsecrets-encryption: true\n"),
         Seen("", ""), name="joining"),
    Case("secrets-not-encrypted",
         both(lambda host: host[DROPIN].write_text(host[DROPIN].read_text().replace("secrets-encryption: true\n", "")),
             written(CONFIG, "datastore-endpoint: mysql://k3s@10.0.0.9/k3s\n")),
         written(CONFIG, "datastore-endpoint: mysql://k3s@10.0.0.9/k3s\nsecrets-encryption: true\n"),
         Seen("", f"Is this a new cluster, or do its other servers encrypt secrets? {ENCRYPTS}"),
         name="external-datastore"),
    Case("secrets-encryption-kept",
         both(written(f"{DATA_DIR}/server/cred/encryption-config.json", AESCBC),
             written("/etc/k3s-harden/config.yaml", "secrets-encryption: leave\n")),
         both(written(f"{DATA_DIR}/server/cred/encryption-config.json", AESCBC),
             written("/etc/k3s-harden/config.yaml", "secrets-encryption: on\n")),
         Seen(DROPIN,
             "", expected="leave", found="true")),
)  # fmt: skip


@pytest.mark.parametrize("verb", ["check", "diff"])
def test_a_problem_that_apply_causes_is_reported_before(verb: str, host: HostTree) -> None:
    """A later file drops the arguments of the drop-in that apply will write. After apply the same problem is there."""
    host.write(f"{DROPINS}/95-ops.yaml", LATER_LIST, 0o600)
    before = host.seen(verb).only("list-dropped")
    assert before.message == "after apply: a later file replaces the list `kube-apiserver-arg`"
    host.run("apply")
    after = host.seen(verb).only("list-dropped")
    assert before == after._replace(message=before.message)


def test_a_problem_at_one_line_is_reported_once_before_apply(hardened: Hardened) -> None:
    """It is there already, and apply adds an argument to the list."""
    host = hardened()
    host.write(f"{DROPINS}/95-ops.yaml", LATER_LIST, 0o600)
    host.write(SETTINGS, "always-pull-images: true\n")
    assert not host.seen("check").only("list-dropped").message.startswith("after apply")


def test_nothing_is_predicted_that_apply_cannot_change(host: HostTree) -> None:
    """Rancher writes the configuration of K3s, so apply writes no drop-in."""
    host.write(f"{DROPINS}/95-ops.yaml", LATER_LIST, 0o600)
    host.write(SETTINGS, "rancher-managed: true\n")
    assert host.seen("check").of("list-dropped") == ()
