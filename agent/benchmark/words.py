"""A control in words: what it wants, which number each benchmark gives it, and who brings it about on K3s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.benchmark.check import (
    AllOf,
    EncryptionProviders,
    EtcdSetting,
    Flag,
    GuideDirectory,
    KernelParameter,
    Manual,
    NotInK3s,
    Ownership,
    Permissions,
    SysctlPrecedence,
)
from agent.benchmark.control import Assessed
from agent.benchmark.versions import Benchmark
from agent.guide.criteria import NotGiven
from agent.guide.sysctls import PARAMETERS_FILE
from agent.k3s import default_arguments as k3s_defaults

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.benchmark.check import Check
    from agent.benchmark.control import BenchmarkControl

_DATA_DIR = "<data-dir>"
_ASSESSED = {
    Assessed.AUTOMATED: "",
    Assessed.UNSCORED: " (not scored)",
    Assessed.MANUAL: " (manual)",
    Assessed.SKIPPED: " (not for K3s)",
}


def wanted(check: Check, data_dir: str = _DATA_DIR) -> str:  # noqa: C901, PLR0911 - one for each kind of check
    """What has to be so, in one line, for a reader who knows what is looked at; empty where no program can tell."""
    match check:
        case Permissions():
            return f"mode {check.most} or stricter"
        case Ownership():
            return "owner root:root"
        case Flag():
            return f"--{check.name} {_predicate(check, data_dir)}"
        case EtcdSetting():
            return f"{check.key} {_predicate(check, data_dir)}"
        case EncryptionProviders():
            return f"the first provider for Secrets is {' or '.join(check.providers)}"
        case KernelParameter():
            return f"{check.row.value}, now and after the next boot"
        case GuideDirectory():
            return f"mode {check.row.mode}, owner root:root"
        case SysctlPrecedence():
            return f"no file wins over {PARAMETERS_FILE} at boot"
        case AllOf():
            return " and ".join(dict.fromkeys(wanted(one, data_dir) for one in check.checks))
        case NotInK3s() | Manual():
            return ""


def asked(check: Check) -> str:  # noqa: PLR0911 - one for each kind of check
    """What is looked at and what has to be so, in one line, for a reader who knows only the control."""
    match check:
        case Permissions() | Ownership():
            return f"{_files(check)}: {wanted(check)}"
        case Flag():
            return f"`--{check.name}` of {check.component} {_predicate(check, _DATA_DIR)}"
        case EtcdSetting():
            return f"`{check.key}` of etcd {_predicate(check, _DATA_DIR)}"
        case KernelParameter():
            return f"`{check.row.key}`: {wanted(check)}"
        case GuideDirectory():
            return f"{_below(str(check.row.path))}: {wanted(check)}"
        case EncryptionProviders() | SysctlPrecedence():
            return wanted(check)
        case AllOf():
            return "; ".join(map(asked, check.checks))
        case NotInK3s():
            return f"not applicable. {check.reason}"
        case Manual():
            return f"a person's judgement. {check.look}"


def asked_earlier(control: BenchmarkControl) -> Iterator[tuple[str, str]]:
    """What some benchmarks ask instead, with their names as a range."""
    found: dict[str, list[Benchmark]] = {}
    for benchmark in control.numbers:
        if benchmark in control.earlier:
            found.setdefault(asked(control.earlier[benchmark]), []).append(benchmark)
    for text, benchmarks in found.items():
        yield text, span(benchmarks)


def numbers(control: BenchmarkControl) -> str:
    """Its number in every benchmark, with how it is assessed there; empty for what no benchmark has."""
    found: dict[str, list[Benchmark]] = {}
    for benchmark, number in control.numbers.items():
        found.setdefault(f"{number.text}{_ASSESSED[number.assessed]}", []).append(benchmark)
    return "; ".join(f"{number} in {span(benchmarks)}" for number, benchmarks in found.items())


def span(benchmarks: Iterable[Benchmark]) -> str:
    """Benchmarks by name, those that follow each other as a range."""
    order = list(Benchmark)
    runs: list[list[Benchmark]] = []
    for benchmark in sorted(benchmarks, key=order.index):
        if runs and order.index(benchmark) == order.index(runs[-1][-1]) + 1:
            runs[-1].append(benchmark)
        else:
            runs.append([benchmark])
    return ", ".join(_named(run) for run in runs)


def brought_about_by(control: BenchmarkControl) -> str:
    """Who sees to it on a host as this program and K3s leave it."""
    if isinstance(control.check, NotInK3s):
        return "nobody, since K3s has nothing of the kind"
    if isinstance(control.check, Manual):
        return f"the operator, on top of the guide's `{control.guide.id}`" if control.guide else "the operator"
    if control.setting:
        return f"`k3s-harden apply`, once `{control.setting}` is set"
    if control.guide is not None:
        return "`k3s-harden apply`"
    if isinstance(control.check, KernelParameter):
        return "the kernel, by its own default"
    return "K3s itself" if _by_k3s(control.check) else "the operator"


def _named(run: list[Benchmark]) -> str:
    if len(run) > 2:  # noqa: PLR2004 - two are not worth a range
        return f"{run[0]} to {run[-1]}"
    return ", ".join(map(str, run))


def _files(check: Permissions | Ownership) -> str:
    paths = ", ".join(map(_below, check.paths))
    return f"{paths} (except {', '.join(check.except_names)})" if check.except_names else paths


def _below(path: str) -> str:
    return f"`{path}`" if path.startswith("/") else f"`{_DATA_DIR}/{path}`"


def _predicate(check: Flag | EtcdSetting, data_dir: str) -> str:
    wanted = check.criterion.predicate().replace("{data_dir}", data_dir)
    may_be_unset = check.unset_passes and not isinstance(check.criterion, NotGiven)
    return f"{wanted}, or is not set" if may_be_unset else wanted


def _by_k3s(check: Check) -> bool:
    match check:
        case Permissions() | Ownership() | EtcdSetting():
            return True
        case Flag():
            own = [row.value for row in k3s_defaults.of(check.component) if row.name == check.name]
            return check.unset_passes or any(check.criterion.accepts(_filled_in(value)) for value in own)
        case AllOf():
            return all(map(_by_k3s, check.checks))
        case EncryptionProviders() | KernelParameter() | GuideDirectory() | SysctlPrecedence() | NotInK3s() | Manual():
            return False


def _filled_in(value: str) -> str:
    return value.replace("{loopback}", "127.0.0.1").replace("{apiserver_port}", "6444")
