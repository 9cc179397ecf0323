"""Files of K3s that a mount shows at another path, on a live host."""

from __future__ import annotations

import json

import pytest

from tests.machine import SERVER, Machine

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("machine")]

SERVER_DIRECTORY = "/var/lib/rancher/k3s/server"
READ = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat")


def observed(machine: Machine, control: str) -> tuple[str, list[str]]:
    run = machine.harden("assess", *SERVER, "--format", "json")
    assert run.stdout, run.stderr
    (found,) = [item for item in json.loads(run.stdout)["verdicts"] if item["id"] == control]
    return found["status"], [shown["observation"] for shown in found["evidence"]]


@pytest.mark.parametrize(("source", "name"), [("", "token"), ("/token", "")])
def test_a_bind_mount_opens_what_a_directory_closes(machine: Machine, source: str, name: str) -> None:
    token = machine.path(f"{SERVER_DIRECTORY}/token")
    token.parent.mkdir(parents=True)
    token.write_text("secret\n")
    token.chmod(0o644)
    token.parent.chmod(0o700)
    assert machine.run(*READ, f"{SERVER_DIRECTORY}/token").returncode
    assert observed(machine, "k3s-token-access")[0] == "PASS"
    machine.path("/srv").chmod(0o755)
    point = machine.path("/srv/point")
    point.touch() if source else point.mkdir()
    if not source:
        token.parent.chmod(0o701)
        token.parent.parent.chmod(0o700)
    machine.mount("--bind", f"{SERVER_DIRECTORY}{source}", "/srv/point")
    place = f"/srv/point/{name}".rstrip("/")
    assert machine.run(*READ, place).stdout == "secret\n"
    assert observed(machine, "k3s-token-access") == ("FAIL", [f"0644: others can read it at {place}"])
