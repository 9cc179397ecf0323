"""Records of sites, as drift checks sign them, and what can be wrong with them."""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from agent.cluster.fleet.snapshot import Record, record_text
from agent.cluster.node_status import PREFIX
from tests.ssh_key import new_key
from tests.unit.cluster.fleet.sample_nodes import VERSION, node


class Sites:
    """A directory of records, a few keys, and the file of allowed signers; each site has one server, cp-0."""

    def __init__(self, directory: Path, keys: int = 3) -> None:
        self.records = directory / "records"
        self.records.mkdir()
        self.signers = directory / "signers"
        self.keys = [new_key(directory / f"key-{at}") for at in range(keys)]
        self.now = time.time()

    def text(self, site: str, hours: float = 1, machine: str = "", name: str = "cp-0", **annotations: Any) -> str:
        """Return the text of a record."""
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.now - hours * 3600))
        item = node(name, role="server", machine=machine or site, assessed=when, **annotations)
        texts = {name: text for name, text in item["metadata"]["annotations"].items() if name.startswith(PREFIX)}
        condition = {**item["status"]["conditions"][1], "lastHeartbeatTime": when}
        return record_text(name, VERSION, texts, condition)

    def key(self, site: str) -> Path:
        """Return the key of a site, which is one of a few, because each costs time."""
        return self.keys[sum(map(ord, site)) % len(self.keys)]

    def signed(self, text: str, key: Path, namespace: str = "k3s-harden") -> str:
        """Return a record as JSON."""
        command = ("ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key)
        signature = subprocess.run(command, input=text, text=True, capture_output=True, check=True).stdout
        return json.dumps(Record(text, signature)._asdict())

    def write(self, site: str, text: str, key: Path | None = None) -> None:
        (self.records / f"{site}.json").write_text(self.signed(text, key or self.key(site)))

    def write_all(self, sites: list[str], **changes: Any) -> None:
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda site: self.write(site, self.text(site, **changes)), sites))
        lines = (f"{site} {self.key(site).with_suffix('.pub').read_text()}" for site in sites)
        self.signers.write_text("".join(lines))

    def alter(self, site: str, old: str, new: str) -> None:
        """Replace a text in a record, whose signature is then not valid."""
        file = self.records / f"{site}.json"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
