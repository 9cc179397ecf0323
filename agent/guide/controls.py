"""All rows of the guide in one list, for `explain` and the generated reference."""

from __future__ import annotations

from agent.guide import headings
from agent.guide.control import GuideControl, Origin
from agent.guide.files import DIRECTORIES, FILES
from agent.guide.k3s_options import OPTIONS
from agent.guide.sysctls import SYSCTLS
from agent.model import ON_SERVERS

DEFAULT_SERVICE_ACCOUNTS = GuideControl(
    id="default-service-accounts",
    title="Default service accounts do not mount tokens",
    why=(
        "A pod without a ServiceAccount uses the 'default' account of its namespace and gets its token for the API"
        " server. Few such pods need the token, and an attacker in the pod can use it. With"
        " automountServiceAccountToken: false a pod gets a token only if it requests one."
    ),
    origin=Origin(headings.SERVICE_ACCOUNTS, ("5.1.5",)),
    risk=(
        "A pod that uses the API server through the 'default' account has no token after its next start. Give the pod"
        " its own ServiceAccount, or set automountServiceAccountToken: true in the pod."
    ),
    by_hand=(
        "For each namespace: kubectl patch serviceaccount default -n NAMESPACE -p 'automountServiceAccountToken: false'"
    ),
    deviation=(
        "The guide has a script that must be run again for each new account. This program has a command and a timer,"
        " because each new namespace has a new default account."
    ),
    applies=ON_SERVERS,
)

CONTROLS: tuple[GuideControl, ...] = tuple(
    sorted(
        (*SYSCTLS, *DIRECTORIES, *FILES, *OPTIONS, DEFAULT_SERVICE_ACCOUNTS),
        key=lambda control: headings.IN_ORDER.index(control.origin.heading),
    )
)
"""All rows, in the order of the guide's headings."""
