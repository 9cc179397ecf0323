"""What the modules of agent/ may write in remediations."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

AGENT = Path(__file__).parents[2] / "agent"
_PLACEHOLDER = re.compile(r"(?<![\w/.$-])[A-Z]{4,}(?![\w=-])")


def _calls(*names: str) -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(AGENT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield f"{path.relative_to(AGENT)}:{node.lineno}", node


def test_no_command_has_a_placeholder() -> None:
    """What has to be replaced first cannot be pasted: it is a question with its answers."""
    found = [
        (place, part.value)
        for place, call in _calls("Run", "RunVerb")
        for part in ast.walk(call)
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and _PLACEHOLDER.search(part.value)
    ]
    assert found == []


def test_only_rows_of_tables_and_presenters_have_a_text_about_what_to_do() -> None:
    """What to do about a problem of this host is a Repair, which a program can carry out."""
    fields = {
        f"{path.relative_to(AGENT)}: {node.name}.{field.target.id}"
        for path in AGENT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if re.search("hint|fix|advi[cs]e|remed|repair", field.target.id) and "str" in ast.unparse(field.annotation)
    }
    assert fields == {
        "base/yaml_reader.py: _Mistake.fix",
        "cluster/kubernetes/pod_security.py: _Rule.fix",
        "findings/registry.py: FindingKind.repair",
        "reports/assessments/common.py: Awaiting.fix",
    }
