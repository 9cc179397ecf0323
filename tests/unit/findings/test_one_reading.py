"""One reading of an argument: predictions, findings, checks and running values have the same value."""

from __future__ import annotations

from itertools import chain

import pytest

from agent.assess.benchmark.catalogue import all_controls
from agent.assess.checks.answer import ControlStatus
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.check import AllOf
from agent.assess.evidence import file_evidence
from agent.harden.situation.observation import observe_situation
from agent.k3s.components.effective_arguments import GivenBy
from agent.k3s.components.files.decoding import path_of_argument
from agent.k3s.components.files.fields import as_field
from agent.k3s.components.prediction import rejected_arguments
from agent.k3s.roles_and_versions import Component
from tests.arguments import effective
from tests.fake import in_memory
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import node

VALUES = (
    *("true", "t", "1", "yes", "", "0", "-3", "0x1e", "036", "1_000", "30d", "7.5", "99999999999"),
    *("5m", "0s", "-5m", "1h30m", "45", "a,b", "Webhook", "AlwaysAllow", "Node,RBAC", "/etc/own.yaml", "A=true"),
    *("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "VersionTLS12", "127.0.0.1", "none"),
)
"""Values of all kinds, each of them valid for some arguments."""


def checks() -> list[ArgumentCheck]:
    """Return the checks of arguments in the catalogue, one for each argument and criterion."""
    found = chain.from_iterable((row.check, *row.earlier.values()) for row in all_controls())
    parts = chain.from_iterable(check.checks if isinstance(check, AllOf) else (check,) for check in found)
    return list(dict.fromkeys(part for part in parts if isinstance(part, ArgumentCheck)))


@pytest.mark.parametrize("text", VALUES)
def test_no_control_passes_with_a_value_that_a_component_cannot_parse(text: str) -> None:
    """All arguments that controls test have the value."""
    with in_memory() as directory:
        host = node(directory / "node", K3s())
        for component in Component:
            names = sorted({check.name for check in checks() if check.component is component})
            items = "".join(f"- '{name}={text}'\n" for name in names)
            host.drop_in(f"{component}.yaml", f"{component.config_key}:\n{items}" if items else "")
        situation = observe_situation(host.host(), host.request())
        at = AssessedNode(situation, file_evidence.read_evidence(host.host(), situation.facts, ()))
        stopping = {(found.component, found.argument) for found in situation.rejections if "parse" in found.message}
        passed = {(check.component, check.name) for check in checks() if check.answer(at).status is ControlStatus.PASS}
    assert passed & stopping == set()


@pytest.mark.parametrize("text", VALUES)
def test_a_field_of_a_file_is_read_as_its_argument(text: str) -> None:
    """Checks, findings and predictions read the value that a drop-in has, with the line that sets it."""
    for name in sorted({check.name for check in checks() if check.component is Component.KUBELET}):
        field = as_field(Component.KUBELET, name, text)
        arguments = effective(Component.KUBELET, files=(field,))
        found = arguments.get(name)
        if name == "read-only-port":  # K3s passes it as an argument, which overrides the file
            assert found is not None
            assert found.value == "0"
        elif not arguments.problems and found is not None and found.given[-1].by is GivenBy.KUBELET_FILE:
            assert found.given[-1].field.startswith(path_of_argument(Component.KUBELET, name))
            by_argument = effective(Component.KUBELET, f"{name}={found.value}")
            assert (same := by_argument.get(name)) is not None
            assert same.value == found.value
            if found.value not in ("", "0", "0s"):  # of a file, the kubelet takes its default then
                assert bool(list(rejected_arguments(arguments, 37))) == bool(list(rejected_arguments(by_argument, 37)))
