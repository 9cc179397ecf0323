"""Controls of the arguments of the controller manager (1.3) and of the scheduler (1.4)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent.assess.benchmark.argument_rows import left_to_default, of_the_guide
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.assess.checks.check import AllOf
from agent.base.value import replace
from agent.harden.guide.criteria import Boolean, LeavesGateOn, Loopback, NotEmpty, RunsController
from agent.harden.guide.k3s_options import newest
from agent.k3s.roles_and_versions import ON_SERVERS, Component

if TYPE_CHECKING:
    from agent.assess.benchmark.control import BenchmarkControl

_manager = partial(ArgumentCheck, Component.CONTROLLER_MANAGER)
_scheduler = partial(ArgumentCheck, Component.SCHEDULER)
_row = partial(left_to_default, applies=ON_SERVERS)
_FALSE, _LOOPBACK = "K3s sets it to false", "K3s sets it to the loopback address"
_GATE = "RotateKubeletServerCertificate"

_GARBAGE = of_the_guide(Component.CONTROLLER_MANAGER, newest("terminated-pod-gc-threshold"))
_COLLECTS = RunsController(("pod-garbage-collector-controller", "podgc"))
"""The threshold has no effect without this controller."""

CONTROLLER_MANAGER_AND_SCHEDULER: tuple[BenchmarkControl, ...] = (
    replace(_GARBAGE, check=AllOf((_GARBAGE.check, _manager("controllers", _COLLECTS, unset_passes=True)))),
    _row("controller-manager-profiling", _manager("profiling", Boolean(expected=False)), default=_FALSE),
    _row(
        "controller-manager-service-account-credentials",
        _manager("use-service-account-credentials", Boolean(expected=True)),
        default="K3s sets it to true",
    ),
    _row(
        "controller-manager-service-account-key",
        _manager("service-account-private-key-file", NotEmpty()),
        default="K3s sets it to a key that it makes",
    ),
    _row(
        "controller-manager-root-ca",
        _manager("root-ca-file", NotEmpty()),
        default="K3s sets it to the authority of the cluster",
    ),
    _row(
        "controller-manager-rotate-kubelet-server-certificate",
        _manager("feature-gates", LeavesGateOn(_GATE), unset_passes=True),
        default=f"the gate {_GATE} is enabled by default (other gates can stay in the list)",
    ),
    _row("controller-manager-bind-address", _manager("bind-address", Loopback()), default=_LOOPBACK),
    _row("scheduler-profiling", _scheduler("profiling", Boolean(expected=False)), default=_FALSE),
    _row("scheduler-bind-address", _scheduler("bind-address", Loopback()), default=_LOOPBACK),
)
"""In the benchmarks' order, which is the same in all of them."""
