"""Everything that the guide asks for, as one list: what `explain` shows and the reference is generated from."""

from __future__ import annotations

from agent.guide import headings
from agent.guide.control import Control, Origin
from agent.guide.files import DIRECTORIES, FILES
from agent.guide.k3s_options import OPTIONS
from agent.guide.sysctls import SYSCTLS
from agent.model import ON_SERVERS

DEFAULT_SERVICE_ACCOUNTS = Control(
    id="default-service-accounts",
    title="Default service accounts hand out no token",
    why=(
        "A pod that names no ServiceAccount gets its namespace's 'default', and with it a token for the API server"
        " that hardly any such pod needs; anyone who breaks into the pod then has it. With"
        " automountServiceAccountToken: false a pod gets a token only if it asks for one."
    ),
    origin=Origin(headings.SERVICE_ACCOUNTS, ("5.1.5",)),
    risk=(
        "A pod that talks to the API server as 'default' without saying so finds no token at its next start. Give it a"
        " ServiceAccount of its own, or set automountServiceAccountToken: true in the pod."
    ),
    by_hand=(
        "For each namespace: kubectl patch serviceaccount default -n NAMESPACE -p 'automountServiceAccountToken: false'"
    ),
    deviation=(
        "The guide has a script to run again by hand when accounts are added. Here it is a command and a timer, because"
        " every new namespace brings a new default account."
    ),
    applies=ON_SERVERS,
)

CONTROLS: tuple[Control, ...] = tuple(
    sorted(
        (*SYSCTLS, *DIRECTORIES, *FILES, *OPTIONS, DEFAULT_SERVICE_ACCOUNTS),
        key=lambda control: headings.IN_ORDER.index(control.origin.heading),
    )
)
"""All rows in the order of the guide's headings. An id that comes twice has rows for different versions."""
