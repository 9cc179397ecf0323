"""Assessments with random content of K3s' files: no traceback, and no control passes on broken evidence.

PyYAML and json read the files here, so the program's own readers are not compared with themselves.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from agent.assess.assessment import Assessment, ControlStatus
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.assess.checks.check import AllOf
from agent.assess.checks.datastore_checks import EncryptionProviders, EtcdSetting
from agent.base.host.tree import LARGEST_READ
from agent.k3s.cis.versions import Benchmark
from agent.k3s.roles_and_versions import Component
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format
from tests.fake import in_memory
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import CONFIG, CheckedNode, node

SITE = f"{CONFIG}.d/50-site.yaml"
KUBELET = "agent/etc/kubelet.conf.d/99-site.conf"
OWN_KUBELET = "agent/etc/kubelet.conf.d/00-k3s-defaults.conf"
ETCD = "server/db/etcd/config"
ENCRYPTION = "server/cred/encryption-config.json"
FILES = (CONFIG, SITE, KUBELET, OWN_KUBELET, ETCD, ENCRYPTION)
TEXTS = {
    CONFIG: "secrets-encryption: true\nkube-apiserver-arg:\n  - audit-log-maxage=30\nkubelet-arg: [pod-max-pids=99]\n",
    SITE: "kube-apiserver-arg+:\n  - request-timeout=300s\nnode-label+: [a=b]\n",
    KUBELET: "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nauthorization: {mode: Webhook}\n",
}
"""Content of files that K3s itself does not write."""

_KEYS = (
    *("kube-apiserver-arg", "kube-apiserver-arg+", "kubelet-arg", "secrets-encryption", "data-dir", "<<"),
    "disable-agent",
    *("apiVersion", "kind", "authentication", "anonymous", "enabled", "authorization", "mode", "featureGates"),
    *("client-transport-security", "peer-transport-security", "client-cert-auth", "auto-tls", "cert-file"),
    *("resources", "providers", "aescbc", "identity"),
)
_WORDS = (
    *("true", "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration", "secrets", "anonymous-auth", "profiling=true"),
    *("authorization-mode=", "feature-gates=,=,", "tls-cipher-suites=,", "config=", "=", "+=", "--", "\x00", "\u2028"),
)


class Broken(NamedTuple):
    """A file, and a change of it: other content, or another file type."""

    path: str
    content: Callable[[bytes], bytes] | None
    kind: str = ""


def _anything() -> st.SearchStrategy[Any]:
    numbers = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
    return st.recursive(
        numbers | st.sampled_from(_WORDS) | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=6),
        max_leaves=12,
    )


def _bytes() -> st.SearchStrategy[Callable[[bytes], bytes]]:
    """Draw content that is truncated, overwritten, of wrong types, with aliases, not UTF-8, or random bytes."""
    cut = st.integers(0, 600).map(lambda end: lambda old: old[: end % (len(old) + 1)])
    mixed = st.tuples(st.integers(0, 600), st.binary(min_size=1, max_size=8)).map(
        lambda change: (
            lambda old: old[: change[0] % len(old)] + change[1] + old[change[0] % len(old) + len(change[1]) :]
        )
    )
    typed = _anything().map(lambda value: lambda _: json.dumps(value).encode())
    aliased = st.sampled_from(
        (
            b"a: &a [*a]\n",
            b"a: &a {<<: *a}\n",
            b"a0: &a0 [1]\n" + b"".join(b"a%d: &a%d [*a%d,*a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 40)),
            b"- &a [" + b"[" * 4000,
            b"---\n---\n- *nothing\n",
            b"!!python/object/apply:os.getcwd []\n",
        )
    )
    wrapped = aliased.map(lambda text: lambda old: text + old)
    encoded = st.sampled_from(("utf-16", "utf-32", "latin-1")).map(
        lambda name: lambda old: ("é" + old.decode()).encode(name)
    )
    return st.one_of(cut, mixed, typed, wrapped, encoded, st.binary(max_size=64).map(lambda content: lambda _: content))


def broken() -> st.SearchStrategy[Broken]:
    """Draw one file of K3s in a broken state."""
    content = st.builds(Broken, st.sampled_from(FILES), _bytes())
    kinds = st.sampled_from(("FIFO", "directory", "loop", "dangling", "below a file"))
    replaced = st.builds(Broken, st.sampled_from(FILES), st.none(), kinds)
    # The kubelet reads the files of directories with any name.
    return st.one_of(content, replaced.filter(lambda how: how.kind != "directory" or "kubelet.conf.d" not in how.path))


def _break(item: CheckedNode, how: Broken) -> Path:
    file = item.path(how.path)
    if how.content is not None:
        file.write_bytes(how.content(file.read_bytes()))
        return file
    if how.kind != "below a file":
        return item.plant(how.kind, how.path)
    file.unlink()
    file.symlink_to("/proc/sys/vm/overcommit_memory/below")
    return file


@given(how=broken())
@example(how=Broken(ETCD, lambda old: old + b"#" * LARGEST_READ))
@example(how=Broken(ENCRYPTION, lambda old: old + b" " * 10_000_000))
@example(how=Broken(CONFIG, lambda old: old + b"#" * 10_000_000))
@example(how=Broken(OWN_KUBELET, lambda old: old + b"#" * 10_000_000))
@example(how=Broken(KUBELET, lambda _: b""))
@example(how=Broken(ETCD, lambda _: b""))
@example(how=Broken(CONFIG, lambda old: old.decode().encode("utf-16")))
@example(how=Broken(CONFIG, lambda old: ("\u00e9" + old.decode()).encode("utf-16")))
@example(how=Broken(CONFIG, lambda old: old.decode().encode("utf-32")))
@example(how=Broken(CONFIG, lambda old: old.decode().encode("utf-16") + b"x"))
@example(how=Broken(KUBELET, lambda old: old.decode().encode("utf-16")))
@example(how=Broken(ETCD, lambda old: old.decode().encode("utf-16")))
@example(how=Broken(ENCRYPTION, lambda old: old.decode().encode("utf-16")))
def test_no_control_passes_on_broken_evidence(how: Broken) -> None:
    with in_memory() as directory:
        item = node(directory / "node", K3s())
        for path, text in TEXTS.items():
            item.put(path, text)
        file = _break(item, how)
        data = file.read_bytes() if file.is_file() else b""
        data = data if len(data) <= LARGEST_READ else b""
        found = item.assess(Benchmark.CIS_1_24)
    assert all(verdict.evidence for verdict in found.verdicts if verdict.status is ControlStatus.PASS)
    assert [name for name, why in _unfounded(found, how.path, data) if why] == []
    for shown in (Format.PLAIN, Format.JSON):
        assert assessment_text(found, shown)


def _unfounded(found: Assessment, path: str, data: bytes) -> Iterator[tuple[str, str]]:
    """Yield each control that passed although the file does not show it, with the reason."""
    value = _value(data)
    for verdict in found.verdicts:
        if verdict.status is not ControlStatus.PASS:
            continue
        for check in _checks(verdict.control):
            why = ""
            if isinstance(check, EtcdSetting) and path == ETCD:
                why = _etcd_says(value, check)
            elif isinstance(check, EncryptionProviders) and path == ENCRYPTION:
                why = _encryption_says(value, check)
            elif isinstance(check, ArgumentCheck) and path in (CONFIG, SITE):
                # K3s starts only if the file is a mapping or empty.
                why = "" if value is None or isinstance(value, dict) else "no mapping"
            elif isinstance(check, ArgumentCheck) and _is_field(check) and path in (KUBELET, OWN_KUBELET):
                given = [seen for seen in verdict.evidence if f"--{check.name}=" in seen.observation]
                is_argument = any(CONFIG in str(seen.location) for seen in given)
                why = "" if is_argument or _is_kubelets(value) else "no configuration of a kubelet"
            yield verdict.control.id, why


def _checks(control: BenchmarkControl) -> tuple[object, ...]:
    check = control.check_of(Benchmark.CIS_1_24)
    return check.checks if isinstance(check, AllOf) else (check,)


def _value(data: bytes) -> Any:
    """Return the first document as PyYAML reads it, or a plain object if that fails.

    PyYAML and Go's YAML packages read UTF-8, and UTF-16 with a byte order mark.
    """
    try:
        return next(iter(yaml.load_all(data, Loader=yaml.SafeLoader)), None)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError, TypeError, AttributeError):
        return object()


def _is_field(check: ArgumentCheck) -> bool:
    """Return whether K3s can set the argument in a file; most versions pass read-only-port as an argument."""
    return check.component is Component.KUBELET and check.name != "read-only-port"


def _is_kubelets(value: object) -> bool:
    if not isinstance(value, dict) or value.get("kind") != "KubeletConfiguration":
        return False
    return str(value.get("apiVersion")).startswith("kubelet.config.k8s.io/")


def _etcd_says(value: object, check: EtcdSetting) -> str:
    section, _, key = check.key.rpartition(".")
    inside = value.get(section) if section and isinstance(value, dict) else value
    if not isinstance(inside, dict):
        return "no such section"
    there = inside.get(key)
    if there is None:
        return "" if check.unset_passes else "not set"
    text = str(there).lower() if isinstance(there, bool) else str(there)
    expected = str(check.criterion).replace("{data_dir}", "/var/lib/rancher/k3s")
    is_met = "http://" not in text if key == "listen-client-urls" else text == expected
    return "" if is_met else f"it is {text}"


def _encryption_says(value: object, check: EncryptionProviders) -> str:
    try:
        providers = next(
            item["providers"]
            for item in value["resources"]  # type: ignore[index] # what is no mapping raises TypeError
            if {"secrets", "secrets.", "*.", "*.*"} & set(item["resources"])
        )
        (first,) = providers[0]
    except (TypeError, LookupError, ValueError, StopIteration):
        return "no providers"
    return "" if first in check.providers else f"it is {first}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("path", FILES)
def test_no_control_passes_on_unreadable_evidence(path: str) -> None:
    """The assessment of an ordinary user reports the files that it could not read."""
    with in_memory() as directory:
        item = node(directory / "node", K3s())
        for name, text in TEXTS.items():
            item.put(name, text)
        item.path(path).chmod(0)
        found = item.assess()
    assert [name for name, why in _unfounded(found, path, b"\xff") if why] == []
