"""The table of the fields of configuration files."""

from __future__ import annotations

from agent.k3s.components.files.field_table import fields_of
from agent.k3s.kubelet_configuration import KUBELET_FIELDS

TYPES = {"bool": "true or false", "int32": "a whole number", "int64": "a whole number", "[string]": "a list of strings"}


def test_a_field_belongs_to_its_versions_and_minors() -> None:
    assert "defaultPodSysctls" in fields_of("KubeletConfiguration", 37)
    assert "defaultPodSysctls" not in fields_of("KubeletConfiguration", 34)
    for version, has_lock in (("v1", False), ("v1beta1", True)):
        fields = fields_of("LeaderMigrationConfiguration", 37, f"controllermanager.config.k8s.io/{version}")
        assert ("resourceLock" in fields) is has_lock


def test_the_fields_that_controls_test_are_those_of_the_table() -> None:
    """kubelet_configuration.py does not read the table, because every assessment uses these fields."""
    table = fields_of("KubeletConfiguration", 37)
    for argument, field in KUBELET_FIELDS.items():
        # Its argument is no field of the kubelet's options in Go.
        assert table[field.path].argument == ("" if argument == "seccomp-default" else argument)
        assert TYPES.get(table[field.path].type_name, field.expected) == field.expected
