"""What a host should have: the guide's rows, but for what its site leaves alone, and what its site asks for beside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from agent.desired.resources import Inputs, build, sysctl_file
from agent.guide.sysctls import PARAMETERS_FILE, SYSCTLS
from agent.model import File, FileMode, FilePermissions, Role, Sysctl, Version
from agent.node.facts import assumed
from agent.settings.schema import Settings

SERVER = assumed(Role.SERVER, Version(1, 34, 0))
AGENT = assumed(Role.AGENT, Version(1, 34, 0))
CERTIFICATES = tuple(SERVER.data_dir / "server/tls" / name for name in ("client-ca.crt", "server-ca.crt"))


@pytest.mark.parametrize("key", [row.key for row in SYSCTLS if row.written])
def test_a_waived_kernel_parameter_is_neither_in_the_file_nor_set(key: str) -> None:
    """All others are, in their order."""
    plain, waived = (build(Settings(), AGENT, Inputs(waived=keys)) for keys in ((), (key,)))
    assert [one.id for one in waived] == [one.id for one in plain if one.id != key]
    (file,) = (one for one in waived if isinstance(one, File) and one.id == PARAMETERS_FILE)
    assert file.content == sysctl_file({key})
    assert f"\n{key}=" not in file.content.decode()
    others = [row for row in SYSCTLS if row.written and row.key != key]
    assert all(f"\n{row.key}={row.value}\n" in file.content.decode() for row in others)
    assert {one.key for one in waived if isinstance(one, Sysctl)} == {row.key for row in others}


def test_certificates_are_left_alone_unless_the_site_asks() -> None:
    """K3s wrote them, and the guide says nothing of them."""
    resources = build(Settings(), SERVER, Inputs(certificates=CERTIFICATES))
    assert not any(isinstance(one, FilePermissions) for one in resources)


def test_certificates_get_the_mode_that_the_site_asks_for() -> None:
    """Their mode alone is wanted, and none is made that is not there."""
    site = replace(Settings(), certificate_permissions=FileMode(0o600))
    resources = build(site, SERVER, Inputs(certificates=CERTIFICATES))
    wanted = [one for one in resources if isinstance(one, FilePermissions)]
    assert wanted == [FilePermissions(path=path, mode=FileMode(0o600)) for path in CERTIFICATES]
    assert [one for one in resources if one not in wanted] == list(build(Settings(), SERVER))
    assert build(site, SERVER) == build(Settings(), SERVER)


def test_an_agent_has_no_certificates_of_the_control_plane() -> None:
    """Whatever its settings say, which all nodes may share."""
    site = replace(Settings(), certificate_permissions=FileMode(0o600))
    resources = build(site, AGENT, Inputs(certificates=[PurePosixPath("/x.crt")]))
    assert not any(isinstance(one, FilePermissions) for one in resources)
