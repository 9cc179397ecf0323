"""Write the fixtures of kubernetes/pod-security-admission as lines: python condense.py test/testdata.

A line has the level, whether pods pass or fail, the first and the last version of the standard, and the template.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml


def main(directory: Path) -> None:
    """Write each template once for a level and verdict: most fixtures are the same in many versions."""
    found: dict[tuple[str, str, str], set[int]] = {}
    for path in sorted(directory.glob("*/v1.*/*/*.yaml")):
        level, version, verdict = path.parts[-4:-1]
        document = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
        template = {"metadata": {"annotations": document["metadata"].get("annotations", {})}, "spec": document["spec"]}
        text = json.dumps(template, sort_keys=True, separators=(",", ":"))
        found.setdefault((level, verdict, text), set()).add(int(version[len("v1.") :]))
    lines = ["# kubernetes/pod-security-admission v0.37.2, test/testdata, condensed by condense.py"]
    for (level, verdict, text), versions in sorted(found.items()):
        assert versions == {*range(min(versions), max(versions) + 1)}
        lines.append(f"{level}\t{verdict}\t{min(versions)}\t{max(versions)}\t{text}")
    Path(__file__).with_name("fixtures.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
