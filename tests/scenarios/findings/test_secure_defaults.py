"""Findings about secure defaults of K3s."""

from __future__ import annotations

import pytest

from tests.component_files import KUBELET
from tests.scenarios.conftest import Hardened
from tests.scenarios.findings.case import Case, Seen, written
from tests.scenarios.host_tree import CONFIG, DATA_DIR, DROPINS, SETTINGS

KUBELET_DROPIN = f"{DATA_DIR}/agent/etc/kubelet.conf.d/50-site.conf"

CASES = (
    Case("secure-default-replaced", written(CONFIG, "kube-apiserver-arg:\n  - anonymous-auth=true\n"),
         written(CONFIG, "kube-apiserver-arg:\n  - anonymous-auth=false\n"),
         Seen(f"{CONFIG}:2", "",
             expected="anonymous-auth=false, K3s' default", found="anonymous-auth=true")),
    Case("component-open", written(KUBELET_DROPIN, f"{KUBELET}authorization:\n  mode: AlwaysAllow\n"),
         written(KUBELET_DROPIN, f"{KUBELET}authorization:\n  mode: Webhook\n"),
         Seen(f"{KUBELET_DROPIN}:4", "",
             expected="authorization-mode=Webhook, K3s' default", found="authorization.mode: AlwaysAllow"),
         role="agent", name="kubelet-file"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("config", "version", "found"),
    [
        ("kube-apiserver-arg: [anonymous-auth]", "1.34", ["anonymous-auth=true"]),
        ("kube-apiserver-arg: [authorization-mode+=AlwaysAllow]", "1.34", ["authorization-mode=AlwaysAllow"]),
        (
            "kube-apiserver-arg: ['authorization-mode=RBAC,AlwaysAllow']",
            "1.24",
            ["authorization-mode=RBAC,AlwaysAllow"],
        ),
        (
            "kubelet-arg+: [anonymous_auth=T, read_only_port=10255]",
            "1.31",
            ["anonymous_auth=T", "read_only_port=10255"],
        ),
        ("kubelet-arg: [authorization-mode-=AlwaysAllow]", "1.34", ["authorization-mode=AlwaysAllow"]),
        # The value of K3s follows, and the last one counts. Later versions have theirs in a file.
        ("kubelet-arg: [authorization-mode-=AlwaysAllow]", "1.31", []),
        ("kubelet-arg: [anonymous-auth=true, anonymous-auth=false]", "1.34", []),
        ("kube-apiserver-arg: ['authorization-mode=Node,RBAC,Webhook', profiling=true]", "1.34", []),
        # K3s does not close the port in these versions (k3s-io/k3s #12164).
        ("kubelet-arg: [read-only-port=10255]", "v1.32.1+k3s1", []),
        ("disable-agent: true\nkubelet-arg: [anonymous-auth=true]", "1.34", []),
    ],
)
def test_a_replaced_secure_default_is_found_in_each_spelling(
    config: str, version: str, found: list[str], hardened: Hardened
) -> None:
    """What opens a component blocks the gate; requests without credentials, which RBAC limits, are a warning."""
    host = hardened("server", version)
    host.write(f"{DROPINS}/10-site.yaml", f"{config}\n")
    host.write(SETTINGS, f"role: server\nk3s-version: {version!r}\n")
    seen = host.seen("gate")
    opened, replaced = seen.of("component-open"), seen.of("secure-default-replaced")
    assert sorted(finding.found for finding in (*opened, *replaced)) == sorted(found)
    assert {finding.found.replace("_", "-").startswith("anonymous-auth") for finding in opened} <= {False}
    assert {finding.found.replace("_", "-").startswith("anonymous-auth") for finding in replaced} <= {True}
    assert all(finding.blocks_gate for finding in opened)
    assert not any(finding.blocks_gate for finding in replaced)
    assert seen.code == (3 if opened else 0)


def test_a_waiver_with_a_reason_lets_an_open_component_start(hardened: Hardened) -> None:
    """The control is that of assess. Anonymous requests beside AlwaysAllow are still a warning."""
    host = hardened()
    host.write(f"{DROPINS}/10-site.yaml", "kubelet-arg: [authorization-mode=AlwaysAllow, anonymous-auth=true]\n")
    assert host.seen("gate").only("component-open").blocks_gate
    host.write(SETTINGS, "waivers: [{control: kubelet-authorization-mode, reason: a test cluster}]\n")
    seen = host.seen("gate")
    assert seen.of("component-open") == ()
    assert seen.only("secure-default-replaced").found == "anonymous-auth=true"
    assert seen.code == 0


def test_a_replaced_secure_default_of_the_service_is_found(hardened: Hardened) -> None:
    """A waiver with the ID of the control of assess accepts it."""
    host = hardened()
    host.unit("server", "--kubelet-arg", "anonymous-auth=true", name="k3s")
    assert host.seen("check").only("secure-default-replaced").location.startswith("/etc/systemd/system/k3s.service:")
    host.write(SETTINGS, "waivers: [{control: kubelet-anonymous-auth, reason: probes of the site}]\n")
    assert host.seen("check").of("secure-default-replaced") == ()
