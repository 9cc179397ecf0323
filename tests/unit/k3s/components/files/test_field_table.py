"""The table of the fields of configuration files."""

from __future__ import annotations

from agent.k3s.components.files.decoding import fields_of


def test_a_field_belongs_to_its_versions_and_minors() -> None:
    assert "defaultPodSysctls" in fields_of("KubeletConfiguration", 37)
    assert "defaultPodSysctls" not in fields_of("KubeletConfiguration", 34)
    for version, is_there in (("v1", True), ("v1beta1", False)):
        fields = fields_of("CredentialProviderConfig", 37, f"kubelet.config.k8s.io/{version}")
        assert ("providers[].tokenAttributes.cacheType" in fields) is is_there
