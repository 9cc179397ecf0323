"""Places in files: what is the path and what the line."""

from __future__ import annotations

import pytest

from agent.assess.places import split_place


@pytest.mark.parametrize(
    ("where", "path", "line"),
    [
        ("/etc/rancher/k3s/config.yaml:7", "/etc/rancher/k3s/config.yaml", 7),
        ("/etc/rancher/k3s/config.yaml", "/etc/rancher/k3s/config.yaml", 0),
        ("/etc/a:b.yaml", "/etc/a:b.yaml", 0),
        ("/etc/a:1:2", "/etc/a:1", 2),
        ("/etc/a:0", "/etc/a:0", 0),
        ("/etc/a:\u0663", "/etc/a:\u0663", 0),
        ("/etc/a:", "/etc/a:", 0),
        ("/etc/a:12345678901", "/etc/a:12345678901", 0),
        ("K3s v1.34.2 (server.go)", "K3s v1.34.2 (server.go)", 0),
        ("", "", 0),
    ],
)
def test_a_place_is_a_path_and_perhaps_a_line(where: str, path: str, line: int) -> None:
    """A colon may be part of a path; a line is a decimal number from 1 on."""
    assert split_place(where) == (path, line)
