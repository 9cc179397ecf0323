"""Controls of the arguments of the controller manager (1.3) and of the scheduler (1.4)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent.assess.benchmark.argument_rows import of_the_guide
from agent.assess.benchmark.control import benchmark_control
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
_row = partial(benchmark_control, applies=ON_SERVERS)
_GATE = "RotateKubeletServerCertificate"

_GARBAGE = of_the_guide(Component.CONTROLLER_MANAGER, newest("terminated-pod-gc-threshold"))
_COLLECTS = RunsController(("pod-garbage-collector-controller", "podgc"))
"""The threshold has no effect without this controller."""

CONTROLLER_MANAGER_AND_SCHEDULER: tuple[BenchmarkControl, ...] = (
    replace(_GARBAGE, check=AllOf((_GARBAGE.check, _manager("controllers", _COLLECTS, unset_passes=True)))),
    _row("controller-manager-profiling", _manager("profiling", Boolean(expected=False))),
    _row(
        "controller-manager-service-account-credentials",
        _manager("use-service-account-credentials", Boolean(expected=True)),
    ),
    _row(
        "controller-manager-service-account-key",
        _manager("service-account-private-key-file", NotEmpty()),
    ),
    _row(
        "controller-manager-root-ca",
        _manager("root-ca-file", NotEmpty()),
    ),
    _row(
        "controller-manager-rotate-kubelet-server-certificate",
        _manager("feature-gates", LeavesGateOn(_GATE), unset_passes=True),
    ),
    _row("controller-manager-bind-address", _manager("bind-address", Loopback())),
    _row("scheduler-profiling", _scheduler("profiling", Boolean(expected=False))),
    _row("scheduler-bind-address", _scheduler("bind-address", Loopback())),
)
"""In the benchmarks' order, which is the same in all of them."""
