"""Signing with an ssh-keygen that cannot sign. tests/scenarios/test_provenance.py has the real one."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import ExitCode, UnsupportedHostError
from agent.base.host import Host
from agent.base.host.ssh_keygen import signature
from agent.reports import repair_texts


class WithProgram(Host):
    """A host with another ssh-keygen."""

    program: PurePosixPath | None = None

    def trusted_tool(self, name: str) -> PurePosixPath | None:
        assert name == "ssh-keygen"
        return self.program


OLD = """#!/bin/sh
echo "unknown option -- Y" >&2
echo "usage: ssh-keygen [-q] [-b bits]" >&2
exit 1
"""


def test_an_ssh_keygen_before_openssh_8_1_is_an_error(tmp_path: Path) -> None:
    program = tmp_path / "ssh-keygen"
    program.write_text(OLD, encoding="utf-8")
    program.chmod(0o755)
    host = WithProgram(**{**vars(Host.real()), "program": PurePosixPath(program)})
    with pytest.raises(UnsupportedHostError, match="cannot sign the report with /key: unknown option -- Y") as caught:
        signature(host, b"{}", PurePosixPath("/key"))
    assert caught.value.exit_code is ExitCode.ENVIRONMENT
    assert "OpenSSH 8.1" in repair_texts.text(caught.value.repair)


def test_a_host_without_ssh_keygen_is_an_error() -> None:
    """Minimal systems have no OpenSSH."""
    with pytest.raises(UnsupportedHostError, match="found no program ssh-keygen") as caught:
        signature(WithProgram(**vars(Host.real())), b"{}", PurePosixPath("/key"))
    assert "OpenSSH 8.1" in repair_texts.text(caught.value.repair)
