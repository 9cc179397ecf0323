"""Which controllers the controller manager runs, by its argument `controllers`. Pure.

Source: controller-manager/app/helper.go, IsControllerEnabled. A controller has an older name besides its name.
"""

from __future__ import annotations

SIGNER = ("certificatesigningrequest-signing-controller", "csrsigning")
"""The names of the controller that signs certificates."""


def runs(words: tuple[str, ...], *names: str) -> bool:
    """Return whether a controller with these names runs, for one that is on by default."""
    if not words:
        return True  # K3s passes `*`
    chosen = next((word for word in words if word.removeprefix("-") in names), "")
    return not chosen.startswith("-") if chosen else "*" in words
