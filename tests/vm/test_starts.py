"""The gate's judgement of generated services equals what their processes get from a real systemd or OpenRC."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.launcher import launcher
from tests.vm import openrc
from tests.vm.conftest import Packages
from tests.vm.image import Image
from tests.vm.node import ContainerNode, Node, put_stand_in
from tests.vm.openrc import OpenrcNode
from tests.vm.starts.cases import Case, openrc_cases, systemd_cases
from tests.vm.suite import machine

pytestmark = pytest.mark.vm

HERE = Path(__file__).parent / "starts"
FILES, UNITS, SCRIPTS = 400, 700, 100
STEP = 1 if os.environ.get("START_CASES") else 5
FILES_OF_HOST = {
    "/etc/rancher/k3s/config.yaml": "default",
    "/srv/a.yaml": "a",
    "/srv/b.yaml": "b",
    "/srv/real/a.yaml": "real a",
    "/srv/bound/config.yaml": "bound",
    "/srv/bound/a.yaml": "bound a",
    "/home/a.yaml": "home a",
    "/root/a.yaml": "root a",
    "/tmp/a.yaml": "temporary a",  # noqa: S108 - in a container
    "/etc/a.yaml": "etc a",
    "/usr/a.yaml": "usr a",
    "/boot/a.yaml": "boot a",
    "/etc/rancher/k3s/config.yaml.d/50-site.yaml": "drop-in of default",
    "/srv/a.yaml.d/50-site.yaml": "drop-in of a",
    "/srv/bound/50-other.yaml": "another drop-in",
    "/srv/policy.yaml": "policy",
    "/var/lib/rancher/k3s/server/audit.yaml": "audit policy",
    "/srv/script": "#!/bin/sh\nexec /usr/local/bin/seen server -c /srv/b.yaml\n",
    "/etc/site/a.yaml": "configuration a",
    "/var/lib/a/a.yaml": "state a",
    "/etc/x.envd/k3s.env": "K3S_URL=of-a-pattern\n",
}
READS_NO_FILE = re.compile("|/(proc|dev)/.*|.*/[.]?")
"""Configurations of K3s that the gate may refuse: it reads none, or one of its own process."""
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
    node.run("chmod 755 /srv/script; ln -s /srv/real /srv/link; ln -s /proc/self/cwd /srv/to-cwd")
    node.run("mkdir -p /run/judged; mkdir -m 1777 /run/seen")


def results(node: Node, directory: str) -> dict[str, Any]:
    """Return what was recorded, by service."""
    script = "import json,os;print(json.dumps({n:json.load(open(n)) for n in os.listdir()}))"
    return dict(json.loads(node.run(f"cd {directory} && python3 -c '{script}'").out))


def differences(node: Node, cases: Sequence[Case]) -> list[str]:
    """Return how judgement and predictions differ from what K3s got. Some services do not start for other reasons."""
    seen = results(node, "/run/seen")
    found = {"judged": results(node, "/run/judged"), **json.loads(node.run("python3 /root/judge.py", timeout=600).out)}
    contents = files_of_host(node, list(found.values()))
    wrong = [] if len(seen) > len(cases) * 0.7 else [f"only {len(seen)} of {len(cases)} services started"]
    counts = Counter[str]()
    for case in (case for case in cases if case.name in seen):
        real = seen[case.name]
        for kind, one in ((kind, services.get(case.name, {})) for kind, services in found.items()):
            may_be_unknown = kind != "judged" or case.may_be_unknown or READS_NO_FILE.fullmatch(real["config"])
            result = "unknown" if is_unknown(one) else "same" if is_same(one, real, contents) else "misread"
            counts[f"{kind} {result}"] += 1
            if result == "misread" or (result == "unknown" and not may_be_unknown):
                wrong.append(f"{case}: {kind} {one}, got {real}")
    sys.stdout.write(f"{len(seen)} of {len(cases)} services started: {dict(counts)}\n")
    return wrong


def files_of_host(node: Node, found: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return the content of each file that is judged, with and without its drop-ins."""
    services = [one for part in found for one in part.values()]
    paths = {path for one in services for path in (one.get("config"), *one.get("files", {}).values()) if path}
    script = (
        "import glob,json,sys\n"
        "def text(path):\n"
        "    try: return open(path, errors='replace').read()\n"
        "    except OSError: return ''\n"
        "paths = json.load(sys.stdin)\n"
        "merged = lambda path: text(path) + ''.join(map(text, sorted(glob.glob(path + '.d/*.yaml'))))\n"
        "print(json.dumps({path: (merged(path), text(path)) for path in paths}))"
    )
    output = node.run(("python3", "-c", script), stdin=json.dumps(sorted(paths)).encode()).out
    return {path: (merged, alone) for path, (merged, alone) in json.loads(output).items()}


def is_unknown(one: dict[str, Any]) -> bool:
    """Return whether a judgement or prediction blocks K3s because something is not known."""
    return not one.get("config") or bool(one.get("changed"))


def is_same(one: dict[str, Any], real: dict[str, Any], contents: Mapping[str, tuple[str, str]]) -> bool:
    """Return whether a judgement or prediction has the arguments, variables and files that K3s got."""
    same = all(one["variables"].get(name) == real["variables"].get(name) for name in VARIABLES)
    files = ((path, contents[path][1], real["files"][name]) for name, path in one["files"].items() if path)
    same = same and all(ours == theirs for _, ours, theirs in files)
    return same and (one["arguments"], contents[one["config"]][0]) == (real["arguments"], real["content"])


@pytest.fixture
def node(image: Image, node_layers: tuple[Path, ...], tmp_path: Path) -> Iterator[Node]:
    """A running server with package and K3s, always in a container: in an emulated guest each start takes seconds."""
    with ContainerNode(tmp_path / "node", image, node_layers) as started:
        started.resume()
        yield started
        started.cut_power()
        started.remove_disk()


def test_what_systemd_gives_to_k3s_is_judged(node: Node, packages: Packages) -> None:
    """Arguments, variables and the configuration file. What the reader of files does not know is unknown."""
    put_judge(node, packages)
    cases = systemd_cases(FILES, UNITS)[::STEP]
    judge = "[Service]\nExecStart=\nExecStart=/usr/bin/python3 /root/judge.py\nReadWritePaths=/run/judged\n"
    dropin = node.run("cat $(systemctl show --property=DropInPaths --value k3s.service | tr ' ' '\\n' | grep zzz-)").out
    unit = "[Service]\nType=oneshot\nReadWritePaths=/run/seen\nEnvironmentFile=/srv/env/{0.name}\n{0.lines}\n"
    units = Path("/etc/systemd/system")
    files = {
        units / "k3s-harden@.service.d/judge.conf": judge,
        # It would take longer than the start, and what it does has tests of its own.
        units / "k3s-harden-started@.service.d/off.conf": "[Unit]\nConditionPathExists=/none\n",
    }
    for case in cases:
        files[Path("/srv/env", case.name)] = case.environment
        files[units / f"{case.name}.service"] = unit.format(case)
        files[units / f"{case.name}.service.d/zzz-k3s-harden.conf"] = dropin
    put_all(node, files)
    node.systemctl("daemon-reload")
    names = [f"{case.name}.service" for case in cases]
    for at in range(0, len(names), 20):
        node.run(("systemctl", "start", *names[at : at + 20]), check=False, timeout=600)
    assert differences(node, cases) == []


def put_all(node: Node, files: Mapping[Path, str]) -> None:
    script = (
        "import json,sys,os\n"
        "for path, text in json.load(sys.stdin).items():\n"
        "    os.makedirs(os.path.dirname(path), exist_ok=True)\n"
        "    open(path, 'w', newline='').write(text)\n"
    )
    node.run(("python3", "-c", script), stdin=json.dumps({str(path): text for path, text in files.items()}).encode())


def test_what_openrc_gives_to_k3s_is_judged(packages: Packages, tmp_path: Path) -> None:
    """start-k3s is the process that becomes K3s. The suites have OpenRC 0.42, 0.45 and 0.56."""
    cases = openrc_cases(SCRIPTS)
    with OpenrcNode(tmp_path / "node", openrc.image()) as node:
        node.boot()
        put_stand_in(node)
        node.put("/usr/local/bin/k3s-harden", packages.single_file.read_bytes(), "0755")
        node.install_k3s()
        node.harden("install")
        put_judge(node, packages)
        node.put("/usr/local/bin/k3s-harden", "#!/bin/sh\nexec python3 /root/judge.py\n", "0755")
        script = node.run("cat /etc/init.d/k3s").out
        files: dict[Path, str] = {}
        for case in cases:
            text = script.replace("/etc/rancher/k3s/k3s.env", f"/srv/env/{case.name}").replace("k3s.", f"{case.name}.")
            text = text.replace("name=k3s\n", f"name={case.name}\n").replace(
                "set +o allexport", f"seen_as={case.name}\n{case.lines}set +o allexport"
            )
            files |= {Path("/etc/init.d", case.name): text, Path("/srv/env", case.name): case.environment}
        put_all(node, files)
        start = "ls | xargs -P 4 -n 1 sh -c 'timeout -k 5 60 rc-service $0 start >&2 && echo $0'"
        node.run("chmod 755 /etc/init.d/k3s-rc*; rc-update --update")
        started = node.run(f"cd /srv/env; {start}", check=False, timeout=600).out.split()
        # K3s ends where its configuration is a directory, and so does what is in its place.
        ended = "test -s $name || grep -q ^IsADirectoryError /var/log/$name.log || exit"
        node.wait_until(f"cd /run/seen; for name in {' '.join(started)}; do {ended}; done")
        assert differences(node, cases) == []
        node.cut_power()
        node.remove_disk()
