"""An assessment with the rights of a pod, on a host with systemd."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.vm.node import SERVER

if TYPE_CHECKING:
    from tests.vm.node import Node

pytestmark = pytest.mark.vm

# A program of root has the capabilities of the bounding set.
_AS_POD = "setpriv --bounding-set=-all,+dac_read_search --no-new-privs"
_DROPIN = f"/etc/systemd/system/{SERVER}.d/site.conf"


def assessed(node: Node, *, as_pod: bool) -> dict[str, dict[str, Any]]:
    """Return the verdicts by control."""
    options = "--root /mnt/host --node node-1" if as_pod else ""
    done = node.run(f"{_AS_POD if as_pod else ''} k3s-harden assess {options} --format json", check=False)
    assert done.code == 3, done.err
    return {verdict["id"]: verdict for verdict in json.loads(done.out)["verdicts"]}


def test_verdicts_are_those_of_root_or_unknown(node: Node) -> None:
    """What only systemd knows is unknown: arguments that it has not loaded yet."""
    node.systemctl("start", SERVER)
    node.run("mkdir /mnt/host && mount --rbind / /mnt/host")
    assert assessed(node, as_pod=True) == assessed(node, as_pod=False)
    node.put(_DROPIN, "[Service]\nEnvironment=K3S_ANONYMOUS=true\n")
    on_host, in_pod = assessed(node, as_pod=False), assessed(node, as_pod=True)
    statuses = {control: verdict["status"] for control, verdict in in_pod.items() if verdict["status"] != "UNKNOWN"}
    assert statuses == {control: on_host[control]["status"] for control in statuses}
    unknown = in_pod["kubelet-anonymous-auth"]
    assert unknown["status"] == "UNKNOWN"
    assert "its files changed after systemd loaded them" in unknown["reason"]
