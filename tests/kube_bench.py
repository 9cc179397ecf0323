"""Model of kube-bench's checks for K3s: the output of each audit on a node, and the result of its test items.

tests/data/benchmark/kube-bench-profiles.json contains every check of the K3s profiles (kube-bench,
cfg/k3s-cis-*/*.yaml): its type, whether it is scored, what its audit reads, and its test items with operator and value.
In an audit, variables are resolved as cfg/config.yaml and the profile's config.yaml do on a node with K3s, and the
pipeline is split into fields. The rules are those of check/check.go and check/test.go.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    _Find = Callable[[Mapping[str, Any], str], Optional[str]]

PROFILES: Mapping[str, Mapping[str, Mapping[str, Any]]] = json.loads(
    Path(__file__, "../data/benchmark/kube-bench-profiles.json").resolve().read_text(encoding="utf-8")
)
"""By profile and number. Checks of `type` skip and manual are never run. With `any`, one test item is enough.

An audit is one of:

- `log`: the line of the component's last start in the journal of `units`; with `first`, of its first start. `grep` is
  text that the line must contain ("" matches any line); with `only`, the output is that text.
- `stat`: the output of stat(1) in this format, for `path` or everything below `find`; with `if_there`, a missing file
  is no error.
- `file`: its content, or the lines that match `grep`, or those of the section `after`.
- `process`, `encryption`, `kubectl`.

With `if`, the audit runs only if the journal contains that text, and the output is `else` otherwise.
"""

_BOOLEANS = ("true", "false")
_SECTION_LINES = 5
"""The number of lines that `grep -A 4` prints."""


class Node(NamedTuple):
    """The node that kube-bench reads."""

    root: Path
    journal: Mapping[str, Sequence[str]]
    """The lines of each unit, oldest first."""
    owners: Mapping[str, str]
    """The owner of each path whose owner is not root:root."""
    cluster_complies: bool = False
    """Whether checks that run kubectl pass."""


class _Output(NamedTuple):
    """The output of an audit."""

    text: str
    failed: str = ""
    """The error of its last command, if that failed."""


_NO_SUCH_FILE = "No such file or directory"


def words(profile: str, node: Node) -> dict[str, str]:
    """Return the result of each check of a profile: PASS, FAIL, WARN or INFO."""
    return {number: word(check, node) for number, check in PROFILES[profile].items()}


def word(check: Mapping[str, Any], node: Node) -> str:
    """Return the result of a check: PASS, FAIL, WARN or INFO."""
    if "type" in check:
        return {"skip": "INFO", "manual": "WARN"}[check["type"]]
    return "PASS" if "items" in check and _passes(check, node) else "FAIL" if check["scored"] else "WARN"


def _passes(check: Mapping[str, Any], node: Node) -> bool:
    if "kubectl" in check.get("audit", {}):
        return node.cluster_complies
    audit = _run(check["audit"], node) if "audit" in check else _Output("")
    config = _run(check["config"], node) if "config" in check else _Output("")
    if audit.failed or (config.failed and not (_NO_SUCH_FILE in config.failed and audit.text)):
        return False
    try:
        results = [_item(item, audit.text, "" if config.failed else config.text, check) for item in check["items"]]
    except yaml.YAMLError:
        return False
    return any(results) if check.get("any") else all(results)


def _item(item: Mapping[str, Any], text: str, config: str, check: Mapping[str, Any]) -> bool:
    passes, found = _judged(item, text, check, _by_flag)
    if not found and config:
        passes, _ = _judged(item, config, check, _by_path)
    return passes


def _judged(item: Mapping[str, Any], text: str, check: Mapping[str, Any], find: _Find) -> tuple[bool, bool]:
    """Return whether a test item passes and whether its value was found. Stops at the first failing line."""
    passes = found = False
    text = text.rstrip(" \n")
    for line in text.split("\n") if check.get("multiple") else [text]:
        value = find(item, line)
        found = value is not None
        if not item.get("set", True):
            passes = not found
        elif value is not None and "op" in item:
            passes = compared(item["op"], value, item["value"])
        else:
            passes = found
        if not passes:
            break
    return passes, found


def _by_flag(item: Mapping[str, Any], text: str) -> str | None:
    """Return the value after the first occurrence of a flag."""
    flag = item.get("flag", "")
    if not text or not flag or flag not in text:
        return None
    found = re.search(rf"({re.escape(flag)})(=|: *)*([^\s]*) *", text)
    assert found is not None
    return found[3] or ("true" if flag.startswith("--") else found[1])


def _by_path(item: Mapping[str, Any], text: str) -> str | None:
    """Return the value at a JSONPath. Text without braces is literal, so it is always found."""
    path = item.get("path", "")
    if path and "{" not in path:
        return str(path)
    if path.startswith("{range"):
        return None  # none of these files contains a list
    value = _document(text)
    for key in path.strip("{}").lstrip(".").split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


@lru_cache(maxsize=8)
def _document(text: str) -> object:
    return yaml.safe_load(text)


def compared(operator: str, found: str, expected: str) -> bool:
    """Return whether a value satisfies a test item."""
    if operator in {"eq", "noteq"}:
        is_equal = (found.lower() if found.lower() in _BOOLEANS else found) == expected
        return is_equal is (operator == "eq")
    if operator in {"gt", "gte"}:
        is_number = re.fullmatch(r" *[+-]?\d+ *", found) is not None
        return is_number and int(found) >= int(expected) + (operator == "gt")
    if operator in {"has", "nothave"}:
        return (expected in found) is (operator == "has")
    if operator == "valid_elements":
        elements, allowed = ({one.strip() for one in text.rstrip(" ,").split(",")} for text in (found, expected))
        return elements <= allowed
    if operator == "bitmask":
        return not int(found, 8) & ~int(expected, 8)
    return False  # kube-bench fails a test item with an unknown operator


def _run(audit: Mapping[str, Any], node: Node) -> _Output:
    if "if" in audit and not any(audit["if"] in line for line in _lines(audit["if_units"], node)):
        return _Output(audit["else"])
    if "log" in audit:
        return _log(audit, node)
    if "stat" in audit:
        return _stat(audit, node)
    if "file" in audit:
        return _file(audit, node)
    if "encryption" in audit:
        return _encryption(node)
    # K3s is one process. The process of this name is containerd, which has none of the flags.
    return _Output(f"root 1 1 0 00:00 ? 00:00:00 {audit['process']} -c config.toml")


def _lines(units: Sequence[str], node: Node) -> list[str]:
    return [line for unit in units for line in node.journal.get(unit, ())]


def _log(audit: Mapping[str, Any], node: Node) -> _Output:
    starts = [line for line in _lines(audit["units"], node) if f"Running {audit['log']} " in line]
    line = starts[0 if audit.get("first") else -1] if starts else ""
    grep = audit.get("grep")
    if grep is not None and (not line or grep not in line):
        return _Output("", "exit status 1")
    return _Output(str(grep) if audit.get("only") else line)


def _stat(audit: Mapping[str, Any], node: Node) -> _Output:
    found = list(_found(audit, node))
    if not found:
        return _Output("") if audit.get("if_there") else _Output("", f"stat: {_NO_SUCH_FILE}")
    if audit["stat"] == "%n %a":  # unquoted, so stat(1) reads the second word as a file name
        return _Output("", f"stat: %a: {_NO_SUCH_FILE}")
    return _Output("\n".join(_formatted(audit["stat"], path, node) for path in found))


def _found(audit: Mapping[str, Any], node: Node) -> Iterator[Path]:
    if "path" in audit:
        yield from sorted(node.root.glob(audit["path"].lstrip("/")))
        return
    top = node.root / audit["find"].lstrip("/")
    below = sorted(top.rglob("*")) if top.exists() else []
    for path in (top, *below):
        if path.exists() and (path.is_file() or not audit.get("files")) and path.name != audit.get("but_for"):
            yield path


def _formatted(how: str, path: Path, node: Node) -> str:
    owner = node.owners.get(f"/{path.relative_to(node.root)}", "root:root")
    return how.replace("%U:%G", owner).replace("%a", f"{path.stat().st_mode & 0o7777:o}")


def _file(audit: Mapping[str, Any], node: Node) -> _Output:
    file = node.root / audit["file"].lstrip("/")
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if "grep" not in audit:
        return _Output(text, "" if file.exists() or audit.get("if_there") else _NO_SUCH_FILE)
    lines = text.splitlines()
    if "after" in audit:
        starts = [number for number, line in enumerate(lines) if audit["after"] in line]
        lines = [line for start in starts for line in lines[start : start + _SECTION_LINES]]
    lines = [line for line in lines if re.search(audit["grep"], line)]
    if not lines and "else" in audit:
        return _Output(audit["else"])
    return _Output("\n".join(lines), "" if lines else "exit status 1")


def _encryption(node: Node) -> _Output:
    """Return the second word of the providers in the file that the API server's last start names."""
    line = _log({"log": "kube-apiserver", "units": ["k3s"]}, node).text
    named = re.search(r".*encryption-provider-config[= ](\S*)", line)  # the last one, as in kube-bench's sed
    file = node.root / named[1].lstrip("/") if named and named[1] else None
    found = re.search(r'providers":\[.*\]', file.read_text(encoding="utf-8")) if file and file.exists() else None
    providers = re.findall(r"[A-Za-z]+", found[0])[:2] if found else []
    return _Output(f"provider={providers[-1]}" if providers else "")
