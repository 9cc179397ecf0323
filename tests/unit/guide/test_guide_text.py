"""Recorded values compared with the text of the guide, if its file is beside the checkout."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.data import guide

GUIDE = Path(__file__).parents[4] / "shared" / "reference" / "guide.zh.md"

pytestmark = pytest.mark.skipif(not GUIDE.is_file(), reason="the file of the guide is not beside this checkout")


class Block(NamedTuple):
    """A code block and the English name of its heading."""

    heading: str
    language: str
    text: str


def blocks(heading: str, holding: str = "") -> list[Block]:
    """Return the code blocks below a heading that contain a text."""
    # The headings with requirements, in order and in any language.
    names = iter(guide.HEADINGS)
    current = ""
    found = []
    text = GUIDE.read_text(encoding="utf-8")
    parts = re.split(r"^(#{2,3} [^\n]*|```[a-z]+\n.*?^```)$", text, flags=re.MULTILINE | re.DOTALL)
    for part in parts:
        if part.startswith("### ") or (part.startswith("## ") and current == guide.HEADINGS[-2]):
            current = next(names, "")
        elif part.startswith("```"):
            language, _, code = part.removeprefix("```").removesuffix("```").partition("\n")
            found.append(Block(current, language, code))
    assert next(names, None) is None, "the guide has fewer headings than recorded"
    assert len(found) == 19, "the number of blocks in the guide has changed"
    return [block for block in found if block.heading == heading and holding in block.text]


def arguments(block: Block, *path: str) -> dict[str, str]:
    """Parse a list of name=value."""
    tree: Any = yaml.safe_load(block.text)
    for key in path:
        tree = tree[key]
    return dict(item.split("=", 1) for item in tree)


def test_sysctls() -> None:
    """The ini block has the recorded keys, values and order. The text before it contains the path."""
    (block,) = blocks("Set kernel parameters")
    assert block.language == "ini"
    assert [tuple(line.split("=")) for line in block.text.splitlines()] == list(guide.SYSCTLS.items())
    assert f"`{guide.SYSCTL_FILE}`" in GUIDE.read_text(encoding="utf-8")


def test_directories() -> None:
    """The shell blocks create the recorded directories with the recorded modes."""
    made = [
        line.split()
        for heading in ("Pod Security", "Network Policies", "API Server audit configuration")
        for block in blocks(heading, "mkdir")
        for line in block.text.splitlines()
    ]
    assert {words[-1]: int(words[words.index("-m") + 1], 8) for words in made} == guide.DIRECTORIES


def test_pod_security() -> None:
    """The long block equals the recorded one and starts with the short one. The template has the recorded name."""
    short, whole = blocks("Pod Security", "PodSecurityPolicy\nmetadata")
    assert list(yaml.safe_load_all(whole.text)) == guide.POD_SECURITY_POLICIES
    assert list(yaml.safe_load_all(short.text)) == guide.POD_SECURITY_POLICIES[:1]
    flat = short.text.replace("\n    rule", " rule")
    numbers = dict(re.findall(r"^  (\w+):.*# CIS - ([\d./]+)$", flat, re.MULTILINE))
    assert numbers == {
        field: f"{cis[0].rpartition('.')[0]}.{'/'.join(number.rpartition('.')[2] for number in cis)}"
        for field, cis in guide.POD_SECURITY_POLICY_CIS.items()
    }
    (template,) = blocks("Pod Security", "AdmissionConfigurationTemplateName")
    assert yaml.safe_load(template.text)["spec"] == {
        "defaultPodSecurityAdmissionConfigurationTemplateName": guide.POD_SECURITY_TEMPLATE
    }
    (plugins,) = blocks("Pod Security", "enable-admission-plugins")
    assert arguments(plugins, "spec", "rkeConfig", "machineGlobalConfig", "kube-apiserver-arg") == {
        "enable-admission-plugins": guide.ADMISSION_PLUGINS[guide.OLDER]
    }


def test_network_policies() -> None:
    """All three blocks are recorded in order."""
    found = [thing for block in blocks("Network Policies", "kind:") for thing in yaml.safe_load_all(block.text)]
    assert found == guide.NETWORK_POLICIES


def test_audit() -> None:
    """The policy, and the five arguments that its section repeats."""
    (policy,) = blocks("API Server audit configuration", "kind: Policy")
    (extract,) = blocks("API Server audit configuration", "rkeConfig")
    assert list(yaml.safe_load_all(policy.text)) == [guide.AUDIT_POLICY]
    found = arguments(extract, "spec", "rkeConfig", "machineGlobalConfig", "kube-apiserver-arg")
    assert found == {name: value for name, value in guide.API_SERVER.items() if name.startswith("audit-")}


def test_controller_manager() -> None:
    """The section's block agrees with the template."""
    (block,) = blocks("Controller Manager Requirements")
    found = arguments(block, "spec", "rkeConfig", "machineGlobalConfig", "kube-controller-manager-arg")
    assert found == guide.CONTROLLER_MANAGER


def test_protect_kernel_defaults() -> None:
    """Its block is for the older family."""
    (block,) = blocks("Ensure protect-kernel-defaults is set")
    (selector,) = yaml.safe_load(block.text)["spec"]["rkeConfig"]["machineSelectorConfig"]
    assert selector["config"] == {"protect-kernel-defaults": guide.PROTECT_KERNEL_DEFAULTS[guide.OLDER]}


def test_service_accounts() -> None:
    """The patch is recorded, and the script runs the recorded commands."""
    patch, script = blocks("Configure default Service Account")
    assert list(yaml.safe_load_all(patch.text)) == [guide.SERVICE_ACCOUNT]
    assert all(command in script.text for command in guide.SERVICE_ACCOUNT_COMMANDS)


@pytest.mark.parametrize(("family", "number"), [(guide.NEWER, 0), (guide.OLDER, 1)])
def test_templates(family: str, number: int) -> None:
    """The Cluster of each family has exactly the recorded arguments for the node."""
    block = blocks("Reference Hardened K3s Template Configuration")[number]
    spec = yaml.safe_load(block.text)["spec"]
    machines = spec["rkeConfig"]["machineGlobalConfig"]
    lists = [name for name in machines if name.endswith("-arg")]
    assert {name: dict(item.split("=", 1) for item in machines[name]) for name in lists} == {
        "kube-apiserver-arg": {"enable-admission-plugins": guide.ADMISSION_PLUGINS[family], **guide.API_SERVER},
        "kube-controller-manager-arg": guide.CONTROLLER_MANAGER,
    }
    assert machines["secrets-encryption"] is guide.SECRETS_ENCRYPTION
    assert len(machines) == 3
    (selector,) = spec["rkeConfig"]["machineSelectorConfig"]
    config = dict(selector["config"])
    assert dict(item.split("=", 1) for item in config.pop("kubelet-arg")) == guide.KUBELET
    assert config.pop("protect-kernel-defaults", None) is guide.PROTECT_KERNEL_DEFAULTS[family]
    assert config == {}
    assert (spec.get("defaultPodSecurityAdmissionConfigurationTemplateName") == guide.POD_SECURITY_TEMPLATE) is (
        family == guide.NEWER
    )


@pytest.mark.parametrize(("family", "number"), [(guide.NEWER, 0), (guide.OLDER, 1)])
def test_cis_numbers(family: str, number: int) -> None:
    """The comments of the template have the recorded numbers."""
    block = blocks("Reference Hardened K3s Template Configuration")[number]
    found = {
        name: tuple(numbers.split(", "))
        for name, numbers in re.findall(r"^[ -]*([a-z-]+)[=:].*# CIS ([\d., ]+)$", block.text, re.MULTILINE)
    }
    expected = {**guide.CIS, "enable-admission-plugins": guide.ADMISSION_PLUGINS_CIS[family]}
    if guide.PROTECT_KERNEL_DEFAULTS[family] is None:
        del expected["protect-kernel-defaults"]
    assert found == expected
    assert f"CIS {guide.SERVICE_ACCOUNT_CIS}" in GUIDE.read_text(encoding="utf-8")
