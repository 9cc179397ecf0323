"""Notifications of the drift check in a booted guest: delivery, user, sandbox, retries and removal."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.vm.node import SERVER, Node

pytestmark = pytest.mark.vm

CHECK = "k3s-harden-check.service"
_STATE = "/var/lib/k3s-harden/notify"
_SETTINGS = "/etc/k3s-harden/config.yaml"
_COMMAND = "/usr/local/lib/site/notify"
_RECEIVED = "/srv/received"
_RECEIVER = f"""\
import http.server, json

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open("{_RECEIVED}", "ab") as file:
            file.write(body.replace(b"\\n", b" ") + b"\\n")
        self.send_response(200)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""
_SNOOP = f"""\
#!/bin/sh
# Writes what a command can do, as JSON, to the receiver.
cat >/tmp/message
{{
    printf 'uid=%s\\n' "$(id -u)"
    grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status
    for file in /var/lib/k3s-harden/assessment.json {_STATE}/command {_SETTINGS}.private /etc/shadow; do
        cat "$file" >/dev/null 2>&1 && echo "reads $file"
    done
    for directory in /etc /usr /var/lib {_STATE} /run; do
        touch "$directory/written" 2>/dev/null && echo "writes $directory"
    done
    ls /root /home 2>/dev/null
    sudo -n true 2>/dev/null && echo sudo
    true
}} >/tmp/report
curl --fail --silent --data-binary @/tmp/report http://127.0.0.1:8080/
"""


def received(node: Node) -> list[Any]:
    return [json.loads(line) for line in node.run(f"cat {_RECEIVED} 2>/dev/null", check=False).out.splitlines()]


def fight(node: Node, value: int) -> None:
    node.run(f"sysctl --write vm.overcommit_memory={value}")


def settle(node: Node) -> None:
    node.wait_until(f"! ls {_STATE} | grep -q '^[0-9]'")


def start_receiver(node: Node) -> None:
    node.put("/srv/receiver.py", _RECEIVER)
    node.run("ip link set lo up; systemd-run --unit receiver python3 /srv/receiver.py")
    node.wait_until("curl --silent --max-time 5 http://127.0.0.1:8080/ >/dev/null || test $? -ne 7")


def test_each_change_is_sent_once_by_an_unprivileged_command(node: Node) -> None:
    """A change and the return to the earlier status are sent. The drift check has no network."""
    url = "http://127.0.0.1:8080/"
    command = f"[/usr/bin/curl, --fail, --silent, --show-error, --data-binary, '@-', {url}]"
    node.put(_SETTINGS, f"drift:\n  notify: {command}\n")
    node.systemctl("start", SERVER)
    start_receiver(node)
    node.systemctl("start", CHECK)
    settle(node)
    known = received(node)
    assert [message["event"] for message in known] == ["first"] * len(known)
    node.systemctl("start", CHECK)
    assert received(node) == known

    fight(node, 2)
    node.systemctl("start", CHECK)
    settle(node)
    fight(node, 1)
    node.systemctl("start", CHECK)
    settle(node)
    worse, better = received(node)[len(known) :]
    assert (worse["host"], worse["event"], worse["status"]) == ("node", "change", "not_compliant")
    for message, status in ((worse, "FAIL"), (better, "PASS")):
        (change,) = message["changes"]
        assert (change["id"], change["status"]) == ("vm.overcommit_memory", status)
    assert worse["number"] < better["number"]
    assert node.run(f"stat -c %a {_STATE} {_STATE}/command").out.split() == ["700", "600"]
    assert node.unit(CHECK)["PrivateNetwork"] == "yes"

    node.put(_COMMAND, _SNOOP, "0755")
    node.put(f"{_SETTINGS}.private", "secret\n", "0600")
    node.put(_SETTINGS, f"drift:\n  notify: {_COMMAND}\n")
    node.run(f"rm {_RECEIVED}")
    done = node.harden("drift", "--test-notification")
    assert "accepted notification" in done.out
    (report,) = node.read(_RECEIVED).split("\n")[:1]
    words = report.split()
    assert words[0].startswith("uid=6")  # the range of dynamic users is 61184 to 65519
    assert words[1:] == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]
    assert node.is_up()


def test_a_command_that_fails_is_retried_and_reported(node: Node) -> None:
    """The drift check succeeds, check reports the failure with its usual exit code, and the next attempt delivers."""
    node.put(_COMMAND, "#!/bin/sh\ntest -e /srv/works && cat >/dev/null && exit 0\necho no route >&2; exit 7\n", "0755")
    node.systemctl("start", SERVER)
    fight(node, 2)
    before = node.harden("check", check=False).code
    node.put(_SETTINGS, f"drift:\n  notify: {_COMMAND}\n")
    node.put(
        "/etc/systemd/system/k3s-harden-notify@.service.d/fast.conf",
        "[Unit]\nStartLimitBurst=2\n[Service]\nRestartSec=100ms\n",
    )
    node.systemctl("daemon-reload")
    node.systemctl("start", CHECK)
    logged = "journalctl --no-pager -o cat -u 'k3s-harden-notify@*'"
    node.wait_until(f"{logged} | grep -q 'Start request repeated too quickly'", timeout=300)
    assert node.run(f"{logged} | grep -c 'no route'").out.strip() == "2"
    assert node.run(f"{logged} | grep -c 'status=7'").out.strip() == "2"

    node.run(f"touch -d '10 minutes ago' {_STATE}/*.json")
    found = node.harden("check", check=False)
    assert "notification-undelivered" in found.out + found.err
    assert found.code == before

    node.reboot()
    node.systemctl("start", CHECK)
    assert "has not accepted the notification" in node.journal(CHECK)
    node.wait_until(f"{logged} | grep -c 'no route' | grep -qv 2")
    node.put("/srv/works", "")
    node.systemctl("start", CHECK)
    settle(node)
    node.systemctl("start", CHECK)  # the one before wrote its metrics before the delivery
    assert "k3s_harden_notification_undelivered 0" in node.read("/var/lib/k3s-harden/metrics/k3s-harden.prom")
    assert node.is_up()


def test_processes_of_a_command_end_with_its_sandboxed_unit(node: Node) -> None:
    """A child in the background ends with the unit; systemd rates the exposure 2 or less of 10."""
    node.put(_COMMAND, "#!/bin/sh\nsetsid sleep 1234 &\nyes | head -n 100000\n", "0755")
    node.put(_SETTINGS, f"drift:\n  notify: {_COMMAND}\n")
    assert "accepted" in node.harden("drift", "--test-notification").out
    assert node.run("pgrep -x sleep", check=False).code == 1
    assert len(node.run("journalctl --no-pager -u 'k3s-harden-notify@*'").out) < 20_000
    rating = node.run("systemd-analyze security --no-pager k3s-harden-notify@1.service").out
    (exposure,) = re.findall(r"Overall exposure level for \S+: (\S+)", rating)
    assert float(exposure) <= 2
    verified = node.run("systemd-analyze verify --man=no k3s-harden-notify@1.service")
    assert verified.out + verified.err == ""

    node.put(_COMMAND, "#!/bin/sh\nexit 3\n", "0755")
    failed = node.harden("drift", "--test-notification", check=False)
    assert (failed.code, "failed" in failed.err) == (1, True)
    assert node.run(f"ls {_STATE}").out.split() == ["command", "last-number"]
