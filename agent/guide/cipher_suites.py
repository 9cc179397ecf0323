"""The names of TLS cipher suites, as Go has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def with_long_names(suites: Iterable[str]) -> tuple[str, ...]:
    """The suites, followed by the second names of those that have two.

    Go has a short and a long name for the ChaCha20 suites of TLS 1.2, and all components of Kubernetes take both
    (kubernetes, staging/src/k8s.io/component-base/cli/flag/ciphersuites_flag.go).
    """
    short = tuple(suites)
    return (*short, *(f"{name}_SHA256" for name in short if name.endswith("_CHACHA20_POLY1305")))
