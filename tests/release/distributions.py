"""RPM distributions: the packages of each that decide whether the .rpm of the program can be installed.

The tests make packages with these names, versions and capabilities, and no content, and install the .rpm beside them.
"""

from __future__ import annotations

from typing import NamedTuple


class Python(NamedTuple):
    """A package with an interpreter."""

    package: str
    version: str

    @property
    def provides(self) -> str:
        """The capability on which the program depends."""
        return f"python(abi) = {'.'.join(self.version.split('.')[:2])}"


class Distribution(NamedTuple):
    """A release of a distribution; `installs` is what the installation of the .rpm adds, None if it is refused."""

    name: str
    manager: str
    systemd: str
    python: Python
    """The interpreter that every system of this release has."""
    offered: tuple[Python, ...] = ()
    installs: tuple[str, ...] | None = ()


_PYTHON311 = Python("python311-base", "3.11.13")
_SUSE_15 = (Python("python3-base", "3.6.15"), (_PYTHON311,), (_PYTHON311.package,))

DISTRIBUTIONS = (
    Distribution(
        *("RHEL family 8", "dnf", "239", Python("platform-python", "3.6.8"), (Python("python3.11", "3.11.13"),)),
        installs=None,
    ),
    Distribution(
        *("RHEL family 9", "dnf", "252", Python("python3", "3.9.23")),
        (Python("python3.11", "3.11.13"), Python("python3.12", "3.12.11")),
    ),
    Distribution("RHEL family 10", "dnf", "257", Python("python3", "3.12.11")),
    Distribution("Fedora 42", "dnf", "257.9", Python("python3", "3.13.7")),
    Distribution("Fedora 43", "dnf", "258", Python("python3", "3.14.0")),
    Distribution("SLES 15", "zypper", "254.27", *_SUSE_15),
    Distribution("openSUSE Leap 15.6", "zypper", "254.27", *_SUSE_15),
    Distribution("openSUSE Leap 16", "zypper", "257.9", Python("python313-base", "3.13.7")),
    Distribution("openSUSE Tumbleweed", "zypper", "258", Python("python313-base", "3.13.7"), (_PYTHON311,)),
)
