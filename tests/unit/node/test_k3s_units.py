"""The services that start K3s, and where each word of their command stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.node import k3s_units
from tests.fake import fake_host
from tests.k3s_tree import put

if TYPE_CHECKING:
    from pathlib import Path

UNIT = "/etc/systemd/system/k3s.service"
EDITED = f"{UNIT}.d/override.conf"


def words(root: Path) -> list[tuple[str, str]]:
    """The words after the role, each with its place."""
    (unit,) = k3s_units.installed(fake_host(root))
    return [(word.text, str(word.source)) for word in unit.arguments]


def test_each_word_has_the_line_that_it_stands_on(tmp_path: Path) -> None:
    """As install.sh writes them: one a line, in quotes, with a backslash at the end of each."""
    command = "/usr/local/bin/k3s \\\n    server \\\n\t'--debug' \\\n\t'--node-name' 'a b' \\\n"
    put(tmp_path, UNIT.lstrip("/"), f"[Service]\nExecStart={command}\nUser=root\n")
    assert words(tmp_path) == [("--debug", f"{UNIT}:4"), ("--node-name", f"{UNIT}:5"), ("a b", f"{UNIT}:5")]


def test_a_drop_in_that_gives_the_command_anew_is_where_its_words_stand(tmp_path: Path) -> None:
    """The last ExecStart= counts, as `systemctl edit` has it written."""
    put(tmp_path, UNIT.lstrip("/"), "[Service]\nExecStart=/usr/local/bin/k3s server --old\n")
    put(tmp_path, EDITED.lstrip("/"), "[Service]\nExecStart=\nExecStart=-/usr/local/bin/k3s server --new\n")
    assert words(tmp_path) == [("--new", f"{EDITED}:3")]


def test_a_script_of_openrcs_has_lines_too(tmp_path: Path) -> None:
    """Its command is in two variables."""
    path = "/etc/init.d/k3s-agent"
    text = '#!/sbin/openrc-run\ncommand="/usr/local/bin/k3s"\ncommand_args="agent \\\n\t\'--debug\' \\\n\n    >>/log"\n'
    put(tmp_path, path.lstrip("/"), text)
    assert words(tmp_path) == [("--debug", f"{path}:4")]


@pytest.mark.parametrize("command", ["/bin/true", "/usr/local/bin/k3s kubectl get", "/usr/local/bin/k3s 'server", ""])
def test_what_starts_no_k3s_is_no_service_of_it(tmp_path: Path, command: str) -> None:
    """Another program, another word than a role, or a quote that is never closed."""
    put(tmp_path, UNIT.lstrip("/"), f"[Service]\nExecStart={command}\n")
    assert k3s_units.installed(fake_host(tmp_path)) == ()


def test_a_token_on_the_command_line_is_not_in_what_is_printed(tmp_path: Path) -> None:
    """Not even in a traceback."""
    put(tmp_path, UNIT.lstrip("/"), "[Service]\nExecStart=/usr/local/bin/k3s server --token s3cret\n")
    assert "s3cret" not in repr(k3s_units.installed(fake_host(tmp_path)))
