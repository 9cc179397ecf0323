"""Names of TLS cipher suites in Go."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def with_long_names(suites: Iterable[str]) -> tuple[str, ...]:
    """Return the suites and the alternative names of those that have one.

    Go has a short and a long name for the ChaCha20 suites of TLS 1.2. All components of Kubernetes accept both
    (kubernetes, staging/src/k8s.io/component-base/cli/flag/ciphersuites_flag.go).
    """
    short = tuple(suites)
    return (*short, *(f"{name}_SHA256" for name in short if name.endswith("_CHACHA20_POLY1305")))
