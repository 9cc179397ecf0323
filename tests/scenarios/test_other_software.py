"""Examples of documents for other software and systems: what apply reports on a server that has them."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
import yaml

from tests.scenarios.host_tree import CONFIG, DROPIN, KERNEL_FILE, UNIT, HostTree
from tests.tools.generate_docs import CHECKOUT

_UNIT_FILE = "/etc/systemd/system/k3s.service"
_PAGE = (CHECKOUT / "docs/howto/with-other-software.md").read_text(encoding="utf-8")
_EXAMPLES = {
    section.partition("\n")[0]: re.findall(r"```yaml\n# (\S+)\n(.*?)```", section, re.DOTALL)
    for section in _PAGE.split("\n## ")[1:]
}
"""Path and content of each file, by heading."""

_WARNINGS = {
    "Cilium or Calico": {"network-policies-inert"},
    "Without internet: the embedded registry": {"supervisor-endpoint-anonymous"},
}


@pytest.mark.parametrize("heading", _EXAMPLES)
def test_a_server_with_the_example_is_compliant(heading: str, host: HostTree) -> None:
    """The page names each warning of the oldest K3s for which one applies."""
    assert _EXAMPLES[heading]
    for path, content in _EXAMPLES[heading]:
        host.write(path, content, 0o600)
    seen = host.seen("apply")
    assert (seen.code, seen.ids) == (0, _WARNINGS.get(heading, set()))
    assert all(f"(`{name}`)" in _PAGE for name in seen.ids)


def test_the_stage_for_kairos_hardens_a_host_with_its_settings(host: HostTree) -> None:
    """It has a list of stages with files and commands, as yip reads them."""
    document = (CHECKOUT / "docs/examples/kairos/90_k3s_harden.yaml").read_text(encoding="utf-8")
    (stage,) = yaml.safe_load(document)["stages"]["boot"]
    for file in stage["files"]:
        host.write(file["path"], file["content"], file["permissions"])
    host.options = ()
    for command in stage["commands"]:
        program, *words = command.split()
        assert (program, host.run(*words).code) == ("k3s-harden", 0)
    assert "secrets-encryption: true" in host[DROPIN].read_text()
    assert host.seen("check").code == 0


class Left(NamedTuple):
    """A file of an earlier hardening that is not removed."""

    path: str
    content: str
    findings: frozenset[str] = frozenset()
    """What apply reports."""


_LEFT = {
    "values in a file that meet the guide": Left(CONFIG, "kube-apiserver-arg:\n  - audit-log-maxage=60\n"),
    "values in a file that do not": Left(CONFIG, "kube-apiserver-arg:\n  - audit-log-maxage=7\n"),
    "values on the command line": Left(
        _UNIT_FILE,
        UNIT.format(path=_UNIT_FILE, role="server", arguments="    --kube-apiserver-arg=audit-log-maxage=7"),
        frozenset({"option-overridden"}),
    ),
    "RKE2's kernel parameters": Left(
        "/etc/sysctl.d/60-rke2-cis.conf",
        "vm.panic_on_oom=0\nvm.overcommit_memory=1\nkernel.panic=10\nkernel.panic_on_oops=1\n",
    ),
}


@pytest.mark.parametrize("left", _LEFT)
def test_only_a_later_value_of_an_earlier_hardening_has_to_be_removed(left: str, host: HostTree) -> None:
    """The drop-in of k3s-harden comes after config.yaml, and has no argument whose value there meets the guide."""
    path, content, findings = _LEFT[left]
    host.write(path, content)
    seen = host.seen("apply")
    assert seen.ids == findings
    assert (seen.code == 0) == (not findings)
    assert ("audit-log-maxage" in host[DROPIN].read_text()) == ("=60" not in content)
    assert host[KERNEL_FILE].exists()
