"""The gate's judgement of generated services equals what their processes get from a real systemd or OpenRC.

START_CASES=all runs as many as `make release-test` does, and START_CASES=2/5 the second fifth of them.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.launcher import launcher
from tests.vm import openrc
from tests.vm.node import put_stand_in
from tests.vm.openrc import OpenrcNode
from tests.vm.starts.cases import openrc_cases, systemd_cases
from tests.vm.suite import machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.vm.conftest import Packages
    from tests.vm.node import Node
    from tests.vm.starts.cases import Case

pytestmark = pytest.mark.vm

HERE = Path(__file__).parent / "starts"
CASES = os.environ.get("START_CASES", "")
FILES, UNITS, SCRIPTS = (500, 200, 100) if CASES else (30, 30, 10)
PART, PARTS = map(int, CASES.split("/")) if "/" in CASES else (1, 1)
FILES_OF_HOST = {
    "/etc/rancher/k3s/config.yaml": "default",
    "/srv/a.yaml": "a",
    "/srv/b.yaml": "b",
    "/srv/real/a.yaml": "real a",
    "/srv/bound/config.yaml": "bound",
    "/srv/bound/a.yaml": "bound a",
    "/home/a.yaml": "home a",
    "/var/lib/a/a.yaml": "state a",
    "/etc/x.envd/k3s.env": "K3S_URL=of-a-pattern\n",
}
MAY_BE_UNKNOWN = re.compile(
    "TemporaryFileSystem|InaccessiblePaths|ProtectHome|PrivateTmp|/tmp/|:/etc/rancher/k3s/config.yaml"
)
"""Settings with which K3s can read a file that the host does not have, or that another process does not see."""
VARIABLES = ("K3S_CONFIG_FILE", "K3S_URL", "K3S_NODE_NAME", "K3S_DATA_DIR")


def put_judge(node: Node, packages: Packages) -> None:
    """Replace K3s by a program that records what it gets, and prepare the judge."""
    node.put("/root/k3s-harden.pyz", packages.single_file.read_bytes())
    # A program in an archive has no byte code.
    node.run("cd /root && python3 -m zipfile -e k3s-harden.pyz k3s-harden && python3 -m compileall -q k3s-harden")
    node.put("/root/judge.py", (HERE / "judge.py").read_bytes())
    node.put("/usr/local/bin/seen", b"#!/usr/bin/python3 -sE\n" + (HERE / "seen.py").read_bytes(), "0755")
    node.put("/usr/local/bin/k3s", launcher("/usr/local/bin/seen", machine()), "0755")
    for path, content in FILES_OF_HOST.items():
        node.put(path, content)
    node.run("ln -s /srv/real /srv/link; mkdir -p /run/judged; mkdir -m 1777 /run/seen")


def results(node: Node, directory: str) -> dict[str, Any]:
    """Return what was recorded, by service."""
    script = "import json,os;print(json.dumps({n:json.load(open(n)) for n in os.listdir()}))"
    return dict(json.loads(node.run(f"cd {directory} && python3 -c '{script}'").out))


def differences(node: Node, cases: Sequence[Case]) -> list[str]:
    """Return how judgement and prediction differ from what K3s got. A few services do not start for other reasons."""
    judged, seen = results(node, "/run/judged"), results(node, "/run/seen")
    contents: dict[str, str] = {}
    found = [] if len(seen) > len(cases) * 0.8 else [f"only {len(seen)} of {len(cases)} services started"]
    for case in (case for case in cases if case.name in seen):
        real, result = seen[case.name], judged[case.name]
        for kind, one in result.items():
            path = one.get("config", "")
            if path and path not in contents:
                contents[path] = node.run(("cat", path), check=False).out
            if not is_same(one, real, contents.get(path, "")) and not (
                is_unknown(one) and (kind == "predicted" or MAY_BE_UNKNOWN.search(case.lines))
            ):
                found.append(f"{case}: {kind} {one} with {contents.get(path)!r}, got {real}")
    return found


def is_unknown(one: dict[str, Any]) -> bool:
    """Return whether a judgement or prediction blocks K3s because something is not known."""
    return not one.get("config") or bool(one.get("changed"))


def is_same(one: dict[str, Any], real: dict[str, Any], content: str) -> bool:
    """Return whether a judgement or prediction has the arguments, variables and configuration that K3s got."""
    if is_unknown(one):
        return False
    same = all(one["variables"].get(name) == real["variables"].get(name) for name in VARIABLES)
    return same and (one["arguments"], content) == (real["arguments"], real["content"])


def test_what_systemd_gives_to_k3s_is_judged(node: Node, packages: Packages) -> None:
    """Arguments, variables and the configuration file. What the reader of files does not know is unknown."""
    put_judge(node, packages)
    cases = systemd_cases(FILES, UNITS)[PART - 1 :: PARTS]
    node.put(
        "/etc/systemd/system/k3s-harden@.service.d/judge.conf",
        "[Service]\nExecStart=\nExecStart=/usr/bin/python3 /root/judge.py\nReadWritePaths=/run/judged\n",
    )
    files = {f"/srv/env/{case.name}": case.environment for case in cases}
    unit = "[Service]\nType=oneshot\nReadWritePaths=/run/seen\nEnvironmentFile=/srv/env/{0.name}\n{0.lines}\n"
    files |= {f"/etc/systemd/system/{case.name}.service": unit.format(case) for case in cases}
    put_all(node, files)
    node.run(
        "cd /etc/systemd/system;"
        " from=$(systemctl show --property=DropInPaths --value k3s.service | tr ' ' '\\n' | grep zzz-k3s-harden);"
        " for unit in k3s-file*.service k3s-unit*.service; do mkdir -p $unit.d; cp $from $unit.d/; done;"
        " systemctl daemon-reload"
    )
    names = [f"{case.name}.service" for case in cases]
    for at in range(0, len(names), 20):
        node.run(("systemctl", "start", *names[at : at + 20]), check=False, timeout=600)
    assert differences(node, cases) == []


def put_all(node: Node, files: Mapping[str, str]) -> None:
    """Write many files at once."""
    script = (
        "import json,sys,os\n"
        "for path, text in json.load(sys.stdin).items():\n"
        "    os.makedirs(os.path.dirname(path), exist_ok=True)\n"
        "    open(path, 'w', newline='').write(text)\n"
    )
    node.run(("python3", "-c", script), stdin=json.dumps(files).encode())


def test_what_openrc_gives_to_k3s_is_judged(packages: Packages, tmp_path: Path) -> None:
    """start-k3s is the process that becomes K3s."""
    cases = openrc_cases(SCRIPTS)[PART - 1 :: PARTS]
    with OpenrcNode(tmp_path / "node", openrc.image()) as node:
        node.boot()
        put_stand_in(node)
        node.put("/usr/local/bin/k3s-harden", packages.single_file.read_bytes(), "0755")
        node.install_k3s()
        node.harden("install")
        put_judge(node, packages)
        node.put("/usr/local/bin/k3s-harden", "#!/bin/sh\nexec python3 /root/judge.py\n", "0755")
        script = node.run("cat /etc/init.d/k3s").out
        files: dict[str, str] = {}
        for case in cases:
            text = script.replace("/etc/rancher/k3s/k3s.env", f"/srv/env/{case.name}").replace("k3s.", f"{case.name}.")
            text = text.replace("name=k3s\n", f"name={case.name}\n").replace(
                "set +o allexport", f"{case.lines}set +o allexport"
            )
            files |= {f"/etc/init.d/{case.name}": text, f"/srv/env/{case.name}": case.environment}
        put_all(node, files)
        node.run("chmod 755 /etc/init.d/k3s-rc*")
        started = [case.name for case in cases if node.run(("rc-service", case.name, "start"), check=False).code == 0]
        node.wait_until(f"cd /run/seen; for name in {' '.join(started)}; do test -s $name || exit; done", timeout=600)
        assert differences(node, cases) == []
        node.cut_power()
        node.remove_disk()
