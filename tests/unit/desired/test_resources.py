"""Resources of a host: waived kernel parameters, and modes of certificates."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.desired.resources import Inputs, build, sysctl_file
from agent.guide.sysctls import PARAMETERS_FILE, SYSCTLS
from agent.model import File, FileMode, FilePermissions, Role, Sysctl, Version
from agent.node.facts import assumed
from agent.settings.schema import Settings
from agent.value import replace

SERVER = assumed(Role.SERVER, Version(1, 34, 0))
AGENT = assumed(Role.AGENT, Version(1, 34, 0))
CERTIFICATES = tuple(SERVER.data_dir / "server/tls" / name for name in ("client-ca.crt", "server-ca.crt"))


@pytest.mark.parametrize("key", [row.key for row in SYSCTLS if row.written])
def test_a_waived_kernel_parameter_is_not_set(key: str) -> None:
    """It is not in the file either. The order of the other parameters does not change."""
    plain, waived = (build(Settings(), AGENT, Inputs(waived=keys)) for keys in ((), (key,)))
    assert [one.id for one in waived] == [one.id for one in plain if one.id != key]
    (file,) = (one for one in waived if isinstance(one, File) and one.id == PARAMETERS_FILE)
    assert file.content == sysctl_file({key})
    assert f"\n{key}=" not in file.content.decode()
    others = [row for row in SYSCTLS if row.written and row.key != key]
    assert all(f"\n{row.key}={row.value}\n" in file.content.decode() for row in others)
    assert {one.key for one in waived if isinstance(one, Sysctl)} == {row.key for row in others}


def test_certificates_are_not_resources_by_default() -> None:
    """The guide does not contain a requirement for certificates."""
    resources = build(Settings(), SERVER, Inputs(certificates=CERTIFICATES))
    assert not any(isinstance(one, FilePermissions) for one in resources)


def test_certificates_have_the_mode_of_the_settings() -> None:
    """Only the mode of existing certificates is a resource."""
    site = replace(Settings(), certificate_permissions=FileMode(0o600))
    resources = build(site, SERVER, Inputs(certificates=CERTIFICATES))
    modes = [one for one in resources if isinstance(one, FilePermissions)]
    assert modes == [FilePermissions(path=path, mode=FileMode(0o600)) for path in CERTIFICATES]
    assert [one for one in resources if one not in modes] == list(build(Settings(), SERVER))
    assert build(site, SERVER) == build(Settings(), SERVER)


def test_an_agent_has_no_certificates_of_the_control_plane() -> None:
    """All nodes can share the same settings."""
    site = replace(Settings(), certificate_permissions=FileMode(0o600))
    resources = build(site, AGENT, Inputs(certificates=[PurePosixPath("/x.crt")]))
    assert not any(isinstance(one, FilePermissions) for one in resources)
