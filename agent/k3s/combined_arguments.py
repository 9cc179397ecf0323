"""Component arguments that can be given several times."""

from __future__ import annotations

from agent.k3s.kubelet_configuration import FEATURE_GATES
from agent.model import Component

COMBINED = {
    Component.API_SERVER: frozenset(
        {
            "api-audiences",
            "authorization-mode",
            "disable-admission-plugins",
            "enable-admission-plugins",
            FEATURE_GATES,
            "service-account-issuer",
            "service-account-key-file",
            "tls-cipher-suites",
        }
    ),
    Component.CONTROLLER_MANAGER: frozenset({"controllers", FEATURE_GATES, "tls-cipher-suites"}),
    Component.SCHEDULER: frozenset({FEATURE_GATES, "tls-cipher-suites"}),
    Component.KUBELET: frozenset({FEATURE_GATES, "tls-cipher-suites"}),
    Component.KUBE_PROXY: frozenset({FEATURE_GATES}),
}
"""Arguments whose values a component combines (pflag's StringSlice, StringArray and MapStringBool).

Of any other argument the last value counts.
"""
