"""Limits: a verb takes at most 10 s of processor time and 256 MiB for any files, and prints at most 1 MiB."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.base.host.directories import MOST_BYTES
from tests.k3s_tree import fresh
from tests.scenarios.host_tree import HostTree
from tests.scenarios.loaded_program import LoadedProgram

LIMITS = {resource.RLIMIT_CPU: 10, resource.RLIMIT_DATA: 256 << 20}
"""Seconds, and bytes."""

_MIB = 1 << 20
_SERVER = "var/lib/rancher/k3s/server"
_UNIT = "[Service]\nEnvironmentFile=-/etc/default/%N\nExecStart=/usr/local/bin/k3s server\n"
FILES = {
    "K3s configuration": "etc/rancher/k3s/config.yaml",
    "drop-in of K3s": "etc/rancher/k3s/config.yaml.d/10-own.yaml",
    "our drop-in": "etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml",
    "manifest": f"{_SERVER}/manifests/own.yaml",
    "our manifest": f"{_SERVER}/manifests/policy.yaml",
    "audit policy": f"{_SERVER}/audit.yaml",
    "admission configuration": f"{_SERVER}/psa.yaml",
    "encryption configuration": f"{_SERVER}/cred/encryption-config.json",
    "sysctl.d": "etc/sysctl.d/99-own.conf",
    "our sysctl.d": "etc/sysctl.d/90-kubelet.conf",
    "unit": "etc/systemd/system/k3s.service",
    "drop-in of the unit": "etc/systemd/system/k3s.service.d/own.conf",
    "environment file": "etc/default/k3s",
    "gate": "etc/systemd/system/k3s-harden@.service",
    "journal": "var/lib/k3s-harden/journal/000001-1700000000.json",
    "settings": "etc/k3s-harden/config.yaml",
    "kernel parameter": "proc/sys/kernel/panic",
}
"""The files that the gate reads, by what they are."""

DIRECTORIES = (
    "etc/rancher/k3s/config.yaml.d/{}.yaml",
    "etc/sysctl.d/{}.conf",
    f"{_SERVER}/manifests/{{}}.yaml",
    "etc/systemd/system/k3s.service.d/{}.conf",
)
"""The directories whose files the gate reads."""


class Input(NamedTuple):
    """Content that replaces a file."""

    name: str
    put: Callable[[Path], object]


def _data(name: str, make: Callable[[], bytes]) -> Input:
    return Input(name, lambda path: path.write_bytes(make()))


def _repeated(line: bytes, size: int = 8 * _MIB) -> bytes:
    return line * (size // len(line))


def _bomb() -> bytes:
    levels = [b"a: &a [x, x, x, x, x, x, x, x, x]"]
    levels += [b"%c: &%c [%s]" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(20)]
    return b"\n".join(levels)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


INPUTS = (
    _data("lines", lambda: _repeated(b"kernel.panic = 1\n")),
    _data("YAML lines", lambda: _repeated(b"- {a: [b]}\n", _MIB)),
    _data("patterns", lambda: b"".join(b"*.%dpanic = 1\n" % n for n in range(60_000))),
    _data("one line", lambda: b"x" * 8 * _MIB),
    _data("one value", lambda: b"K3S_URL=" + b" " * (_MIB // 5) + b"x"),
    _data("one word", lambda: b"kubelet-arg: " + b"x" * (_MIB // 5)),
    _data("one word of assignments", lambda: b"kubelet-arg: " + b"a=" * (_MIB // 10)),
    _data("one word of URLs", lambda: b"kubelet-arg: a@" + b"http://" * (_MIB // 35)),
    _data("one word and an e-mail address", lambda: b"kubelet-arg: root@localhost " + b"x" * (_MIB // 5)),
    _data("quotes", lambda: b"[Service]\nEnvironment=" + b'a="b" ' * 40_000),
    _data("deep YAML", lambda: b"a: " + b"[" * 100_000),
    _data("alias bomb", _bomb),
    Input("FIFO", os.mkfifo),
    Input("endless device", lambda path: path.symlink_to("/dev/zero")),
    Input("sparse file", _sparse),
)


CONFIGURATIONS = {
    "unknown options": ("", "write-kubeconfig-mode{}: x\n", ""),
    "unknown arguments": ("kube-apiserver-arg:\n", "  - enable-admission-plugin{}=x\n", ""),
    "parts of a list without quotes": ("kube-apiserver-arg: [admission-control-config-file=a", ", x{}", "]\n"),
    "names with underscores": ("kube-apiserver-arg:\n", "  - enable_admission_plugins=x{}\n", ""),
    "repeated arguments": ("kube-apiserver-arg:\n", "  - enable-admission-plugins=x{}\n", ""),
    "unknown plugins": ("kube-apiserver-arg:\n  - enable-admission-plugins=x", ",x{}", "\n"),
    "unknown cipher suites": ("kube-apiserver-arg:\n  - tls-cipher-suites=x", ",TLS_ECDHE_{}", "\n"),
    "kubelet arguments": ("kubelet-arg:\n", "- a{}=b\n", ""),
    "labels of the node": ("node-label:\n", "  - kubernetes.io/x{}=y\n", ""),
    "unknown feature gates": ("kubelet-arg:\n  - feature-gates=x=true", ",GracefulNodeShutdown{}=true", "\n"),
}
"""Configurations of K3s with many mistakes of one kind: their beginning, the repeated part, and their end."""


class LimitedHost(HostTree):
    """A host tree with a service of K3s, on which the program has limits."""

    def printed(self, verb: str = "gate") -> str:
        assert self.program is not None
        words = (verb, "--root", str(self.root), *self.options)
        done = self.program.run(*words, limits=LIMITS)
        assert "Traceback" not in done.stderr, done.stderr[-2000:]
        assert done.code in {0, 1, 2, 3, 4, 6}, done
        return done.stdout


@pytest.fixture
def host(program: LoadedProgram, in_memory: Path) -> LimitedHost:
    tree = LimitedHost(fresh(in_memory / "host"), program)
    tree.write(FILES["unit"], _UNIT)
    return tree


@pytest.mark.parametrize("content", INPUTS, ids=lambda content: content.name)
@pytest.mark.parametrize("file", FILES)
def test_the_gate_ends_for_any_content_of_a_file(host: LimitedHost, file: str, content: Input) -> None:
    """It skips files above its size limit, and does not wait for the writer of a FIFO."""
    path = host.write(FILES[file])
    path.unlink()
    content.put(path)
    host.printed()


@pytest.mark.parametrize("pattern", DIRECTORIES)
def test_the_gate_ends_with_10000_files_in_a_directory(host: LimitedHost, pattern: str) -> None:
    """The files are small; their number is the load."""
    for number in range(10_000):
        host.write(pattern.format(number), "a: b\n")
    host.printed()


@pytest.mark.parametrize("verb", ["gate", "check", "assess"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_verb_ends_for_a_configuration_with_as_many_mistakes_as_are_read(
    host: LimitedHost, name: str, verb: str
) -> None:
    """Each of them is a finding; the cost of a finding does not depend on the number of the others."""
    first, part, last = CONFIGURATIONS[name]
    number = (MOST_BYTES - 1000) // len(part.format(10_000))
    host.write(FILES["K3s configuration"], first + "".join(part.format(at) for at in range(number)) + last)
    assert "reads at most" not in host.printed(verb)


def test_a_configuration_that_is_too_large_is_reported_by_each_verb(host: LimitedHost) -> None:
    """1 MB of arguments took 10 s and 342 MB."""
    host.write(FILES["K3s configuration"], "kubelet-arg:\n" + "".join(f"- a{number}=b\n" for number in range(90_000)))
    for verb in ("gate", "check", "assess"):
        assert "cannot read all files of K3s' configuration: k3s-harden reads at most" in host.printed(verb)


_LARGE = {
    "etc/rancher/k3s/config.yaml.d/{}.yaml": (
        "",
        "unknown-{}: x\n",
        "k3s-config-not-read: cannot read all files of K3s",
    ),
    "etc/systemd/system/k3s.service.d/{}.conf": (
        "[Service]\n",
        "Environment=K3S_{}=x\n",
        "cannot read all drop-ins of k3s",
    ),
    "etc/default/env.d/{}": ("", "K3S_{}=x\n", "cannot read all environment files of k3s.service"),
    f"{_SERVER}/manifests/{{}}.yaml": (
        "",
        "---\napiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {{name: a{}}}\n",
        "manifests are not checked",
    ),
    "var/lib/rancher/k3s/agent/etc/kubelet.conf.d/{}.conf": (
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n",
        "unknown{}: x\n",
        "cannot read all configuration files of the kubelet",
    ),
}
"""Directories of configuration: the beginning of a file, its repeated line, and what a report then says."""


@pytest.mark.parametrize("pattern", _LARGE)
def test_a_report_about_480_files_of_2000_mistakes_is_short_and_says_what_was_cut(
    host: LimitedHost, pattern: str
) -> None:
    """Limits are for all files of a kind together, and for all findings of a kind."""
    first, line, cut = _LARGE[pattern]
    host.write(FILES["unit"], f"{_UNIT}EnvironmentFile=/etc/default/env.d/*\n")
    for number in range(480):
        lines = "".join(line.format(f"{number}-{other}") for other in range(2000))
        host.write(pattern.format(number), first + lines)
    printed = host.printed("check")
    assert cut in printed
    assert len(printed) < _MIB


def test_a_diff_of_one_long_word_ends(host: LimitedHost) -> None:
    """The time to find the names of secrets is proportional to the length of a line."""
    host.printed("apply")
    host.write(FILES["our sysctl.d"], "K10" * 40_000)
    assert "K10K10" in host.printed("diff")


def test_a_diff_of_a_large_file_is_not_printed(host: LimitedHost) -> None:
    host.printed("apply")
    host.write(FILES["audit policy"], _repeated(b"a: b\n", _MIB))
    printed = host.printed("diff")
    assert "1048575 bytes are too large to compare" in printed
    assert len(printed) < 10_000
