"""The dependencies of the .rpm, resolved by the package manager of each distribution against its packages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.release.distributions import DISTRIBUTIONS, Distribution
from tests.release.rpm_root import RpmRoot

pytestmark = pytest.mark.release


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda distribution: distribution.name)
def test_the_rpm_uses_the_python_of_the_distribution(
    distribution: Distribution, new_root: Callable[[Distribution], RpmRoot], rpm: Path
) -> None:
    """A Python is added only where the installed one is too old. A systemd that cannot gate K3s is refused."""
    root = new_root(distribution)
    before = root.installed.keys()
    # Only its checksum protects a file of a build.
    unsigned = () if root.uses_dnf else ("--allow-unsigned-rpm",)
    done = root.manage("install", *unsigned, str(rpm), check=False)
    if distribution.installs is None:
        assert "systemd >= 243" in done.stdout + done.stderr
        assert root.installed.keys() == before
        return
    assert done.returncode == 0, done.stdout + done.stderr
    assert root.installed.keys() - before == {"k3s-harden", *distribution.installs}
    assert root.run("/usr/bin/k3s-harden", "--version").startswith("k3s-harden ")
