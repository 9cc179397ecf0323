"""Findings about admission plugins and their configuration."""

from __future__ import annotations

from tests.scenarios.conftest import Hardened
from tests.scenarios.findings.case import (
    OWN_PSA,
    SITE,
    Case,
    Seen,
    apply,
    both,
    deleted,
    line_deleted,
    of_version,
    written,
)
from tests.scenarios.findings.components import EXEMPTIONS, OWN_ADMISSION
from tests.scenarios.host_tree import CONFIG, DATA_DIR, DROPIN, PSA, SETTINGS

CASES = (
    Case("admission-plugins-refused",
         written(SITE, "kube-apiserver-arg+:\n  - enable-admission-plugins=NodeRestriction,PodSecurityPolicy\n"),
         written(SITE, "kube-apiserver-arg+:\n  - enable-admission-plugins=NodeRestriction,PodSecurity\n"),
         Seen(f"{SITE}:2", "",
             expected="plugins of K3s v1.25.0", found="NodeRestriction,PodSecurityPolicy"), version="1.25"),
    Case("admission-plugins-refused",
         written(SITE, "kube-apiserver-arg+: enable-admission-plugins=AlwaysPullImages,\n"),
         written(SITE, "kube-apiserver-arg+: enable-admission-plugins=\n"),
         Seen(f"{SITE}:1", "", expected="plugins of K3s v1.34.0",
             found="AlwaysPullImages,"), name="empty"),
    Case("admission-plugins-refused",
         written(SITE, "kube-apiserver-arg+: disable-admission-plugins=DefaultStorageClass,ServiceAccount\n"),
         written(SITE, "kube-apiserver-arg+: disable-admission-plugins=DefaultStorageClass,LimitRanger\n"),
         Seen(f"{SITE}:1", "",
             found="DefaultStorageClass,ServiceAccount"), name="overlap"),
    Case("admission-plugins-refused",
         both(deleted(DROPIN), written(SITE, "kube-apiserver-arg: disable-admission-plugins=NodeRestriction\n")),
         both(deleted(DROPIN), written(SITE, "kube-apiserver-arg: disable-admission-plugins=ServiceAccount\n")),
         Seen(f"{SITE}:1", "", found="NodeRestriction"),
         cure=line_deleted, name="default"),
    Case("admission-plugins-conflict",
         both(deleted(DROPIN), written(SITE, "kube-apiserver-arg: disable-admission-plugins=ServiceAccount\n")),
         both(deleted(DROPIN), written(SITE, "kube-apiserver-arg: disable-admission-plugins=NamespaceLifecycle\n")),
         Seen(f"{SITE}:1", "",
             expected="disable-admission-plugins without ServiceAccount", found="ServiceAccount"), cure=line_deleted),
    Case("pod-security-disabled", written(SITE, "kube-apiserver-arg+: disable-admission-plugins=PodSecurity\n"),
         both(written(SITE, "kube-apiserver-arg+: disable-admission-plugins=PodSecurity\n"), of_version("1.24")),
         Seen(f"{SITE}:1", "", found="PodSecurity")),
    Case("two-admission-configurations",
         both(written("/etc/psa.yaml", OWN_PSA),
             written(SITE, "kube-apiserver-arg+:\n  - admission-control-config-file=/etc/psa.yaml\n")),
         written(SITE, f"kube-apiserver-arg+:\n  - admission-control-config-file={PSA}\n"),
         Seen(f"{DROPIN}:7", "",
             expected="one file", found="2 files")),
    Case("admission-configuration-ignored",
         both(written("/etc/psa.yaml", OWN_PSA),
             written(CONFIG, "kube-apiserver-arg:\n  - admission-control-config-file=/etc/psa.yaml\n")),
         written(CONFIG, f"kube-apiserver-arg:\n  - admission-control-config-file={PSA}\n"),
         Seen(f"{CONFIG}:2", "",
             expected="one file", found="2 files")),
    Case("images-without-registry",
         both(written(SETTINGS, "profile: strict\n"), written(f"{DATA_DIR}/agent/images/k3s.tar.zst", "")),
         both(written(SETTINGS, "profile: strict\nalways-pull-images: false\n"),
             written(f"{DATA_DIR}/agent/images/k3s.tar.zst", "")),
         Seen(f"{DATA_DIR}/agent/images/k3s.tar.zst",
             "",
             expected="a mirror in registries.yaml, or no archives", found="1 archive, no mirror")),
    Case("split-admission-plugins",
         written(SITE, "kube-apiserver-arg+:\n  - enable-admission-plugins=AlwaysPullImages\n"),
         written(SITE, "kube-apiserver-arg+:\n  - disable-admission-plugins=DefaultStorageClass\n"),
         Seen(f"{DROPIN}:6",
             "", expected="one value, joined by commas",
             found="NodeRestriction,ServiceAccount and AlwaysPullImages")),
    Case("split-admission-plugins",
         both(written(CONFIG, "kube-apiserver-arg:\n  - enable-admission-plugins=AlwaysPullImages\n"),
             apply),
         both(written(CONFIG, "kube-apiserver-arg:\n  - enable-admission-plugins=AlwaysPullImages,NodeRestriction\n"),
             apply),
         Seen(f"{CONFIG}:2",
             "", expected="one value, joined by commas",
             found="AlwaysPullImages and NodeRestriction,ServiceAccount,AlwaysPullImages"), name="operator"),
)  # fmt: skip


def test_the_drop_in_does_not_repeat_an_unknown_plugin(hardened: Hardened) -> None:
    """After the operator removes the plugin, the drop-in does not contain it either."""
    host = hardened()
    host.write(CONFIG, "kube-apiserver-arg:\n  - enable-admission-plugins=AlwaysPullImages,NodeRestrictions\n")
    assert host.run("apply").code == 3
    assert "=NodeRestriction,ServiceAccount,AlwaysPullImages\n" in host[DROPIN].read_text()


def test_a_plugin_that_apply_enables_is_first_not_disabled_any_more(hardened: Hardened) -> None:
    host = hardened()
    host[DROPIN].unlink()
    host.write(SITE, "kube-apiserver-arg: disable-admission-plugins=ServiceAccount\n")
    steps = host.seen("check").only("admission-plugins-conflict").steps
    assert [step["kind"] for step in steps] == ["edit", "run-verb"]
    assert steps[-1]["verb"] == "apply"


def test_a_setting_in_a_section_has_its_line(hardened: Hardened) -> None:
    host = hardened()
    host.write("/etc/own.yaml", OWN_PSA + EXEMPTIONS.format("default, shop"))
    host.write(CONFIG, OWN_ADMISSION)
    host.write(SETTINGS, "audit:\n  max-age: 90\npod-security:\n  # of the site\n  exempt-namespaces: [shop]\n")
    repair = host.seen("check").only("pod-security-exempts").repair
    assert f"set `pod-security.exempt-namespaces: [default, shop]` at {SETTINGS}:5" in repair
