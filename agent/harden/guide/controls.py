"""All rows of the guide in one list, for `explain` and the generated reference."""

from __future__ import annotations

from agent.harden.guide import guide_row
from agent.harden.guide.guide_files import DIRECTORIES, FILES
from agent.harden.guide.guide_row import GuideControl, Origin
from agent.harden.guide.k3s_options import OPTIONS
from agent.harden.guide.sysctls import SYSCTLS
from agent.k3s.roles_and_versions import ON_SERVERS

DEFAULT_SERVICE_ACCOUNTS = GuideControl(
    id="default-service-accounts",
    origin=Origin(guide_row.SERVICE_ACCOUNTS, ("5.1.5",)),
    by_hand=(
        "For each namespace: kubectl patch serviceaccount default -n NAMESPACE -p 'automountServiceAccountToken: false'"
    ),
    applies=ON_SERVERS,
)

CONTROLS: tuple[GuideControl, ...] = tuple(
    sorted(
        (*SYSCTLS, *DIRECTORIES, *FILES, *OPTIONS, DEFAULT_SERVICE_ACCOUNTS),
        key=lambda control: guide_row.IN_ORDER.index(control.origin.heading),
    )
)
"""All rows, in the order of the guide's headings."""
