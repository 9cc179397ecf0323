"""A row of the guide, and the headings of the guide in English."""

from __future__ import annotations

from functools import cache
from typing import Final

from agent.base import package_data
from agent.base.value import Row, Value
from agent.k3s.roles_and_versions import Applies


class Origin(Value):
    """The part of the guide that a row is taken from."""

    heading: str
    """The guide's heading, in English."""
    cis: tuple[str, ...] = ()
    """The CIS numbers in the guide. Numbers change between benchmark versions, so no code uses them as keys."""
    beyond: str = ""
    """Another source that requires the row, if the guide does not."""


class GuideControl(Row):
    """A requirement of the guide, as `explain` and docs/reference/guide-controls.md show it.

    Its texts are in controls.tsv, which `check` and `apply` do not read. No field has a default, so that subclasses
    can add fields.
    """

    id: str
    """Stable, in lower case, and unique on each host: rows with the same id apply to different versions."""
    origin: Origin
    by_hand: str
    """How to comply without this program."""
    applies: Applies
    """The roles and versions that the row is for."""

    @property
    def title(self) -> str:
        """The compliant state, as a sentence without its period."""
        return self._texts.title

    @property
    def why(self) -> str:
        """The rationale."""
        return self._texts.rationale

    @property
    def risk(self) -> str:
        """What compliance can break."""
        return self._texts.risk

    @property
    def deviation(self) -> str:
        """Why the row differs from the guide; empty if it does not."""
        return self._texts.deviation

    @property
    def _texts(self) -> Texts:
        table = _table()
        return table.get(f"{self.id} {self.applies.versions}") or table[self.id]


class Texts(Value):
    """The texts of a requirement: the columns of controls.tsv after the first one."""

    title: str
    rationale: str
    risk: str
    deviation: str


@cache
def _table() -> dict[str, Texts]:
    """Return the texts in controls.tsv by the ID of the control, or by ID and versions if rows with the ID differ."""
    table = package_data.rows("harden", "guide", "controls.tsv")
    return {name: Texts(*("" if text == "-" else text for text in texts)) for name, *texts in table}


PROTECT_KERNEL_DEFAULTS: Final = "Ensure protect-kernel-defaults is set"
KERNEL_PARAMETERS: Final = "Set kernel parameters"
POD_SECURITY: Final = "Pod Security"
NETWORK_POLICIES: Final = "Network Policies"
AUDIT: Final = "API Server audit configuration"
CONTROLLER_MANAGER: Final = "Controller Manager Requirements"
SERVICE_ACCOUNTS: Final = "Configure default Service Account"
TEMPLATE: Final = "Reference Hardened K3s Template Configuration"

IN_ORDER: Final = (
    PROTECT_KERNEL_DEFAULTS,
    KERNEL_PARAMETERS,
    POD_SECURITY,
    NETWORK_POLICIES,
    AUDIT,
    CONTROLLER_MANAGER,
    SERVICE_ACCOUNTS,
    TEMPLATE,
)

K3S_GUIDE: Final = "the K3s project's own CIS Hardening Guide"
"""The source for versions that the guide does not cover (k3s-io/docs, docs/security/hardening-guide.md)."""
