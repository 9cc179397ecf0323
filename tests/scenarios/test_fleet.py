"""The verb fleet: pipelines and large clusters, and records of sites that a connection does not reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.host_tree import run
from tests.scenarios.loaded_program import Completed
from tests.unit.cluster.fleet.sample_nodes import node, node_list
from tests.unit.cluster.fleet.sites import Sites

REQUIRED = ("--require", "compliant", "--max-age", "26h", "--expect", "2")


def recent(name: str, hours: float = 1) -> dict[str, Any]:
    """Return a compliant node that published so many hours ago."""
    found = node(name)
    text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - hours * 3600))
    found["metadata"]["annotations"]["k3s-harden.internal/assessed"] = text
    found["status"]["conditions"][1]["lastHeartbeatTime"] = found["metadata"]["managedFields"][1]["time"] = text
    return found


def piped(*nodes: dict[str, Any]) -> Completed:
    return run("fleet", "-", *REQUIRED, stdin=None, input=node_list(*nodes).encode())


@pytest.mark.parametrize(
    ("names", "hours", "code"), [("ab", 1, 0), ("ab", 25, 0), ("ab", 27, 3), ("a", 1, 3), ("abc", 1, 3), ("", 1, 3)]
)
def test_a_pipeline_passes_only_if_all_is_as_required(names: str, hours: float, code: int) -> None:
    done = piped(*(recent(name, hours) for name in names))
    assert (done.code, done.stderr) == (code, "")
    assert done.stdout.splitlines()[-1].startswith(f"result {code}: ")


LARGEST = """\
import re, sys
from agent.cli import main
try:
    main()
finally:
    sys.stderr.write(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def test_20000_nodes_take_less_than_200_mib(tmp_path: Path) -> None:
    """The input is read in one pass, and equal texts are kept once."""
    arguments = [f"--kubelet-arg=argument-{at}=value-{at}" for at in range(4)]
    digests = json.dumps({f"/var/lib/rancher/k3s/server/file-{at}": "0123456789abcdef" for at in range(5)})
    item = node("NAME", arguments=arguments, file_digests=digests, machine="NAME", failed_controls="a,b", failed="2")
    text = json.dumps(item)
    with (tmp_path / "nodes").open("w") as file:
        file.write('{"apiVersion": "v1", "items": [')
        file.writelines(f"{',' * bool(at)}{text.replace('NAME', f'node-{at}')}" for at in range(20_000))
        file.write('], "kind": "List"}')
    with (tmp_path / "nodes").open("rb") as file:
        done = subprocess.run(
            (sys.executable, "-c", LARGEST, "fleet", "-"), stdin=file, capture_output=True, text=True, check=False
        )
    assert done.stdout.splitlines()[-1].startswith("result 0: 0 compliant, 0 failed, 20000 unknown")
    assert int(done.stderr.split()[-1]) < 200 << 10


def test_kubectl_is_run_with_the_environment_of_the_user(tmp_path: Path) -> None:
    """Its PATH, its kubeconfig and its current directory."""
    program = tmp_path / "kubectl"
    program.write_text('#!/bin/sh\necho "$KUBECONFIG $PWD" >&2\nexit 1\n')
    program.chmod(0o755)
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "KUBECONFIG": "mine", "LC_ALL": "C.UTF-8"}
    done = run("fleet", env=variables)
    assert done.code == 1
    assert "cannot read /api/v1/nodes: mine /" in done.stderr


SITES = [f"site-{at}" for at in range(12)]


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    """Twelve sites with valid records."""
    found = Sites(tmp_path)
    found.write_all(SITES)
    (tmp_path / "names").write_text("# all sites\n" + "\n".join(SITES))
    return found


MANY = int(os.environ.get("FLEET_SITES", "100"))
"""`make release-test` has 10,000."""


def fleet(sites: Sites, *words: str, before: str = "", code: int = 0, verify: bool = True) -> dict[str, Any]:
    """Run fleet with the public keys, and return its JSON."""
    verified = ("--allowed-signers", str(sites.signers)) if verify else ()
    since: tuple[str, ...] = ()
    if before:
        file = sites.records.parent / "before"
        file.write_text(before)
        since = ("--since", str(file))
    done: Completed = run("fleet", str(sites.records), "--format", "json", *verified, *since, *words, stdin=None)
    assert (done.code, done.stderr) == (code, "")
    found: dict[str, Any] = json.loads(done.stdout)
    found["text"] = done.stdout
    return found


def reasons(found: dict[str, Any]) -> dict[str, str]:
    return {node["cluster"]: node["reason"] for node in found["nodes"] if node["result"] == "unknown"}


def test_a_revoked_key_counts_no_more_although_the_record_is_unchanged(sites: Sites) -> None:
    """A digest of the snapshot is that of the record, its signature and the allowed keys."""
    before = fleet(sites)["text"]
    sites.signers.write_text(sites.signers.read_text().replace("site-1 ", "site-x "))
    assert reasons(fleet(sites, before=before, code=3)) == {"site-1": "no key is allowed for site-1/cp-0 or site-1"}


def test_a_replayed_record_is_found_since_a_snapshot(sites: Sites) -> None:
    """Also after the record was away meanwhile. A record that did not count makes none look older."""
    old = (sites.records / "site-0.json").read_bytes()
    sites.write("site-0", sites.text("site-0", hours=0.5))
    sites.write("site-1", sites.text("site-1", hours=-48))
    first = fleet(sites)
    assert reasons(first) == {"site-1": "the report is from the future"}
    (sites.records / "site-0.json").unlink()
    second = fleet(sites, before=first["text"])
    assert second["changes"]["gone"] == ["site-0/cp-0 compliant"]
    (sites.records / "site-0.json").write_bytes(old)
    sites.write("site-1", sites.text("site-1"))
    third = fleet(sites, before=second["text"])
    assert reasons(third).keys() == {"site-0"}
    assert "is older than one seen" in reasons(third)["site-0"]
    assert third["changes"]["better"] == ["site-1/cp-0 unknown \u2192 compliant"]
    assert reasons(fleet(sites, before=third["text"])).keys() == {"site-0"}


def test_clones_stale_and_missing_sites_are_named(sites: Sites) -> None:
    sites.write("site-1", sites.text("site-1", machine="site-0"))
    (sites.records / "site-2").mkdir()
    sites.write("site-2/cp-0", sites.text("site-2", machine="other"), sites.key("site-2"))
    sites.write("site-3", sites.text("site-3", hours=30))
    (sites.records / "site-4.json").unlink()
    half = sites.records / "site-5.json"
    half.write_text(half.read_text()[:300])
    found = fleet(sites, "--expect-from", str(sites.records.parent / "names"), code=3)
    assert reasons(found) == {
        "site-0": "the same machine is also site-1/cp-0",
        "site-1": "the same machine is also site-0/cp-0",
        "site-2": "2 reports have this name",
        "site-3": "the report is 30h old",
        "site-5": f"cannot use {half}: found invalid JSON",
    }
    assert found["missing"] == ["site-4"]
    assert "missing: site-4" in found["problems"]


@pytest.mark.parametrize(("name", "levels"), [("d" * 250, 17), ("d", 60)], ids=["long", "deep"])
def test_a_directory_that_cannot_be_listed_hides_no_other_site(sites: Sites, name: str, levels: int) -> None:
    """A site can nest directories deeper than a path can be long, or than Python can call itself."""
    inner = os.open(sites.records, os.O_DIRECTORY)
    for level in ("nested", *[name] * levels):
        os.mkdir(level, dir_fd=inner)
        outer, inner = inner, os.open(level, os.O_DIRECTORY, dir_fd=inner)
        os.close(outer)
    os.close(inner)
    found = fleet(sites, "--require", "compliant", code=3)
    assert len(found["nodes"]) == len(SITES) + 1
    assert list(reasons(found)) == ["nested"]


def test_files_that_are_not_text_are_invalid(sites: Sites) -> None:
    binary = sites.records.parent / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for option in ("--allowed-signers", "--expect-from"):
        done = run("fleet", str(sites.records), option, str(binary))
        assert (done.code, done.stdout) == (2, "")
        assert "it is not text in UTF-8" in done.stderr


def test_without_allowed_signers_nothing_is_verified(sites: Sites) -> None:
    sites.alter("site-0", "1.0.0", "1.0.1")
    found = fleet(sites, verify=False)
    assert reasons(found) == {}
    assert {node["verified"] for node in found["nodes"]} == {""}


def test_since_shows_what_got_worse_better_new_and_gone(sites: Sites) -> None:
    sites.write("site-1", sites.text("site-1", result="failed", passed="97", failed="1"))
    first = fleet(sites)
    assert first["changes"] is None
    before = first["text"]
    sites.write("site-0", sites.text("site-0", result="failed", passed="97", failed="1"))
    sites.write("site-1", sites.text("site-1"))
    (sites.records / "site-2.json").rename(sites.records / "site-20.json")
    sites.signers.write_text(sites.signers.read_text().replace("site-2 ", "site-2,site-20 "))
    assert fleet(sites, before=before)["changes"] == {
        "worse": ["site-0/cp-0 compliant \u2192 failed"],
        "better": ["site-1/cp-0 failed \u2192 compliant"],
        "new": ["site-20/cp-0 compliant"],
        "gone": ["site-2/cp-0 compliant"],
    }


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"verb": "check", "schema": 1}', '{"nodes": [{"result": "x"}]}'])
def test_another_file_is_no_snapshot(sites: Sites, text: str) -> None:
    file = sites.records.parent / "before"
    file.write_text(text)
    done = run("fleet", str(sites.records), "--since", str(file))
    assert (done.code, done.stdout) == (2, "")
    assert "it is not the output of `k3s-harden fleet --format json`\n  fix: pass a file with" in done.stderr


def test_saved_lists_are_clusters_and_a_named_file_has_to_be_usable(sites: Sites) -> None:
    """A FIFO or symlink loop in a directory hangs nothing."""
    for name in ("b", "a"):
        (sites.records / f"{name}.json").write_text(node_list(node("cp-0", role="server"), node("work-1")))
    found = fleet(sites, verify=False)
    names = {(row["cluster"], row["name"]) for row in found["nodes"] if row["cluster"] in "ab"}
    assert names == {(cluster, name) for cluster in "ab" for name in ("cp-0", "work-1")}
    (sites.records / "loop.json").symlink_to("loop.json")
    os.mkfifo(sites.records / "pipe.json")
    assert reasons(fleet(sites, code=3)).keys() >= {"loop", "pipe"}
    done = run("fleet", str(sites.records / "pipe.json"))
    assert done.code == 2
    assert "pipe.json: it is not a regular file\n  fix: name an existing regular file" in done.stderr


def test_a_site_with_too_many_files_is_one_unknown_node(sites: Sites) -> None:
    """Its files are not read, so that it hides and delays no other site."""
    before = {row["cluster"] for row in fleet(sites)["nodes"]}
    (sites.records / "flood").mkdir()
    for number in range(10_001):
        (sites.records / f"flood/{number}.json").touch()
    found = fleet(sites, code=3)
    assert {row["cluster"] for row in found["nodes"]} == before | {"flood"}
    assert reasons(found)["flood"] == "found 10001 files, expected at most 10000"


def test_each_bad_record_of_many_is_found_and_no_other(tmp_path: Path) -> None:
    names = [f"site-{at}" for at in range(MANY)]
    sites = Sites(tmp_path)
    sites.write_all(names)
    (tmp_path / "names").write_text("\n".join(names))
    before = fleet(sites, "--require", "compliant", "--expect-from", str(tmp_path / "names"))["text"]
    bad = names[::50]
    altered, replayed, cloned, missing = (bad[at::4] for at in range(4))
    for site in altered:
        sites.alter(site, "cis-2.0", "cis-2.1")
    for site in replayed:
        sites.write(site, sites.text(site, hours=2))
    for site in cloned:
        sites.write(site, sites.text(site, machine=altered[0] + " copied"))
    sites.write(names[1], sites.text(names[1], machine=altered[0] + " copied"))
    for site in missing:
        (sites.records / f"{site}.json").unlink()
    found = fleet(sites, "--expect-from", str(tmp_path / "names"), before=before, code=3)
    reported = reasons(found)
    assert reported.keys() == {*altered, *replayed, *cloned, *names[1 : 2 * bool(cloned)]}
    assert all("not valid" in reported[site] for site in altered)
    assert all("older" in reported[site] for site in replayed)
    assert found["missing"] == missing
    assert len(found["changes"]["gone"]) == len(missing)
