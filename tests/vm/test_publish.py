"""The unit that publishes, in a booted guest: its sandbox, its start after the drift check, and failures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.vm.node import DATA_DIR, SERVER, Node

pytestmark = pytest.mark.vm

CHECK, PUBLISH = "k3s-harden-check.service", "k3s-harden-publish.service"
_TLS = Path(__file__).parents[1] / "data/tls"
_AGENT = f"{DATA_DIR}/agent"
_PATCH = "/srv/patch"
_SERVERS = f"""\
import http.server, ssl, threading

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_PATCH(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open("{_PATCH}", "wb") as file:
            file.write(body)
        self.do_GET()

api = http.server.HTTPServer(("127.0.0.1", 6444), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/server.crt", "/srv/server.key")
context.load_verify_locations("/srv/node.crt")
context.verify_mode = ssl.CERT_REQUIRED
api.socket = context.wrap_socket(api.socket, server_side=True)
threading.Thread(target=api.serve_forever).start()
http.server.HTTPServer(("127.0.0.1", 10248), Handler).serve_forever()
"""
_KUBECONFIG = {
    "clusters": [
        {"name": "c", "cluster": {"server": "https://127.0.0.1:6444", "certificate-authority": f"{_AGENT}/ca.crt"}}
    ],
    "users": [{"name": "u", "user": {"client-certificate": f"{_AGENT}/node.crt", "client-key": f"{_AGENT}/node.key"}}],
    "contexts": [{"name": "d", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "d",
}


def test_the_drift_check_starts_the_unit_and_a_failure_fails_neither(node: Node) -> None:
    """The unit reaches only the loopback interface. Without an API server the reason is in its log."""
    node.systemctl("start", SERVER)
    for name in ("server.crt", "server.key", "node.crt"):
        node.put(f"/srv/{name}", (_TLS / name).read_text())
    for name in ("ca.crt", "node.crt", "node.key"):
        node.put(f"{_AGENT}/{name}", (_TLS / name).read_text(), "0600")
    node.put(f"{_AGENT}/kubelet.kubeconfig", json.dumps(_KUBECONFIG), "0600")
    node.put("/srv/servers.py", _SERVERS)
    node.run("ip link set lo up; systemd-run --unit servers python3 /srv/servers.py")
    node.wait_until("curl --silent --fail http://127.0.0.1:10248/healthz")
    assert node.unit("k3s-harden-publish.timer")["ActiveState"] == "active"

    node.systemctl("start", PUBLISH)
    assert node.unit(PUBLISH)["ConditionResult"] == "no"
    node.put("/etc/k3s-harden/config.yaml", "publish: node\n")
    node.systemctl("start", CHECK)
    node.wait_until(f"test -s {_PATCH}")
    assert json.loads(node.read(_PATCH))["metadata"]["name"] == "node-1"
    node.wait_until(f"test $(systemctl show --value --property=ActiveState {PUBLISH}) = inactive")
    assert node.unit(PUBLISH)["Result"] == "success"

    node.systemctl("stop", "servers")
    node.systemctl("start", CHECK)
    node.systemctl("start", PUBLISH)
    assert (node.unit(CHECK)["Result"], node.unit(PUBLISH)["Result"]) == ("success", "success")
    assert "no healthy kubelet on port 10248" in node.journal(PUBLISH)
    assert node.is_up()
