"""An assessment with the rights of a pod, on a host with systemd."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vm.node import SERVER, Node

pytestmark = pytest.mark.vm

_BOUNDED = "setpriv --bounding-set=-all,+dac_read_search --no-new-privs"
# What the image's program has by its file, a script has by ambient capabilities.
_AS_POD = (
    f"{_BOUNDED} --reuid 1879048192 --regid 1879048192 --clear-groups"
    " --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search"
)
_START_AS_ROOT = (
    "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartTransientUnit"
    " 'ssa(sv)a(sa(sv))' pod.service fail 1 ExecStart 'a(sasb)' 1 /usr/bin/touch 2 /usr/bin/touch /run/of-a-pod false 0"
)
_DROPIN = f"/etc/systemd/system/{SERVER}.d/site.conf"


def assessed(node: Node, *, as_pod: bool) -> dict[str, dict[str, Any]]:
    verb = f"{_AS_POD} k3s-harden assess-node --root /mnt/host --node node-1" if as_pod else "k3s-harden assess"
    done = node.run(f"{verb} --format json", check=False)
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


def test_the_bus_starts_nothing_for_the_user_of_a_pod(node: Node) -> None:
    """It starts programs as root for a process of root, whatever its capabilities are."""
    assert node.run(f"{_AS_POD} {_START_AS_ROOT}", check=False).code != 0
    node.run(f"{_BOUNDED} {_START_AS_ROOT}")
    node.run("timeout 20 sh -c 'until [ -e /run/of-a-pod ]; do sleep 0.1; done'")
