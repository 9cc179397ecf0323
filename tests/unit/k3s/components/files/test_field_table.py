"""The table of the fields of configuration files."""

from __future__ import annotations

from agent.k3s.components.files.field_table import fields_of


def test_a_field_belongs_to_its_versions_and_minors() -> None:
    assert "defaultPodSysctls" in fields_of("KubeletConfiguration", 37)
    assert "defaultPodSysctls" not in fields_of("KubeletConfiguration", 34)
    for version, has_lock in (("v1", False), ("v1beta1", True)):
        fields = fields_of("LeaderMigrationConfiguration", 37, f"controllermanager.config.k8s.io/{version}")
        assert ("resourceLock" in fields) is has_lock
