"""The container image of this program, which `make image` builds."""

from __future__ import annotations

from agent import __version__

IMAGE = f"k3s-harden.internal/k3s-harden:{__version__}"
"""The domain .internal is reserved for private use, so no registry has it: a node has the image, or the pod fails."""
