"""Properties of apply, diff and revert for random hosts and settings.

The program runs in this process, because new processes for a thousand runs on a hundred hosts take too long.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from hypothesis import event, given, settings
from hypothesis import strategies as st

from agent.base.errors import UsageError
from agent.base.host import Host
from agent.base.repair import FixOwner
from agent.base.report import ItemStatus, Report
from agent.base.value import replace
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.k3s.roles_and_versions import NEWEST_KNOWN
from agent.verbs import check_and_apply as verbs
from agent.verbs.render import rendered
from agent.verbs.revert import revert
from tests.fake import in_memory
from tests.k3s_tree import ENCRYPTION
from tests.scenarios.host_tree import (
    AUDIT,
    CONFIG,
    DATA_DIR,
    DROPIN,
    DROPINS,
    EDITS,
    KERNEL_FILE,
    MANIFESTS,
    POLICY,
    PSA,
    SETTINGS,
    STATE,
    HostTree,
)
from tests.tree import Entry

RENDERED = {KERNEL_FILE: "sysctl", AUDIT: "audit-policy", POLICY: "policy", PSA: "psa", DROPIN: "k3s-config"}
DIRECTORIES = (f"{DATA_DIR}/server", MANIFESTS, f"{DATA_DIR}/server/logs")
VERSIONS = tuple(f"1.{minor}" for minor in range(23, NEWEST_KNOWN.minor + 2))
KEYS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


class EarlierFile(NamedTuple):
    """The state of a managed file before the first run."""

    what: str
    version: str
    cut: float
    mode: int


class PlannedRun(NamedTuple):
    """One run: the changes made by hand before it, and its options."""

    deeds: tuple[tuple[str, str], ...]
    role: str
    version: str
    settings: Mapping[str, object] | None
    force: bool


PLACED = st.builds(
    EarlierFile,
    what=st.sampled_from(
        ["managed", "empty", "cut", "nul", "edited", "edited", "foreign", "reworded", "symlink", "directory", "FIFO"]
    ),
    version=st.sampled_from(VERSIONS),
    cut=st.floats(0, 1),
    # Root can read files without read permission; only an ordinary user cannot.
    mode=st.sampled_from([0o600, 0o644, 0o400, 0o640, 0o666, 0o000 if os.geteuid() == 0 else 0o440, 0o6755]),
)
SETTINGS_OF_A_SITE = st.fixed_dictionaries(
    {},
    optional={
        "secrets-encryption": st.sampled_from(["auto", "on", "off", "leave"]),
        "rancher-managed": st.sampled_from(["auto", True, False]),
        "protect-kernel-defaults": st.just(value=True),
        "terminated-pod-gc-threshold": st.integers(1, 1_000_000),
        "audit": st.fixed_dictionaries(
            {}, optional={"max-age": st.integers(1, 3650), "max-size": st.integers(1, 10_240)}
        ),
        "network-policies": st.fixed_dictionaries(
            {"namespaces": st.lists(st.sampled_from(["a", "b", "default"]), unique=True)}
        ),
        "pod-security": st.fixed_dictionaries(
            {"exempt-namespaces": st.lists(st.sampled_from(["a", "b"]), unique=True)}
        ),
        "event-rate-limit": st.sampled_from(["off", {"qps": 1, "burst": 2}]),
        "always-pull-images": st.booleans(),
        "profile": st.sampled_from(["guide", "strict"]),
        "deny-service-external-ips": st.booleans(),
        "pod-max-pids": st.sampled_from(["off", 64, 4096]),
        "seccomp-default": st.booleans(),
        "cni": st.fixed_dictionaries({"file-permissions": st.sampled_from(["leave", "0600"])}),
        "cis-operator-namespace": st.booleans(),
        "data-dir": st.sampled_from([DATA_DIR, "/srv/k3s"]),
    },
)
OWN_CONFIGURATION = st.dictionaries(
    st.sampled_from([CONFIG, f"{DROPINS}/10-site.yaml", f"{DROPINS}/50-rancher.yaml", f"{DROPINS}/99-site.yaml"]),
    st.lists(
        st.sampled_from(
            [
                "kube-apiserver-arg: [audit-log-maxage=90, enable-admission-plugins=AlwaysPullImages]\n",
                "kube-apiserver-arg+: audit-log-maxage=1\n",
                "kubelet-arg: max-pods=200\n",
                "protect-kernel-defaults: false\n",
                "secrets-encryption: true\n",
                "server: https://10.0.0.1:6443\n",
                "data-dir: /srv/k3s\n",
                "datastore-endpoint: etcd\n",
                "kubelet-arg: [\n",
            ]
        ),
        max_size=3,
        unique=True,
    ).map("".join),
    max_size=2,
)
DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["edit", "edit and loosen", "loosen", "delete", "empty"]),
        st.sampled_from([*RENDERED, *DIRECTORIES]),
    ),
    max_size=3,
).map(tuple)
ASKED = st.builds(
    PlannedRun,
    deeds=DEEDS,
    role=st.sampled_from(["server", "server", "agent"]),
    version=st.sampled_from(VERSIONS),
    settings=st.none() | SETTINGS_OF_A_SITE,
    force=st.booleans(),
)


class Start(NamedTuple):
    """The state of a host before the first run."""

    files: Mapping[str, EarlierFile]
    directories: Mapping[str, int]
    kernel: Mapping[str, str] | None
    configuration: Mapping[str, str]
    datastore: str


DEFAULTS = "default permissions in "
"""How the IDs of access control lists begin, which are not part of an entry of a tree."""

STARTS = st.builds(
    Start,
    files=st.dictionaries(st.sampled_from(list(RENDERED)), PLACED),
    directories=st.dictionaries(st.sampled_from(DIRECTORIES), st.sampled_from([0o700, 0o755, 0o777, 0o750, 0o1777])),
    kernel=st.none() | st.fixed_dictionaries({key: st.sampled_from(["0", "1", "2", "10", "200"]) for key in KEYS}),
    configuration=OWN_CONFIGURATION,
    datastore=st.sampled_from(["", "", "state.db", "state.db and encrypted", "encrypted"]),
)


@settings(max_examples=settings().max_examples // 2)
@given(start=STARTS, runs=st.lists(ASKED, min_size=1, max_size=3))
def test_apply_makes_the_changes_of_diff_and_revert_undoes_them(start: Start, runs: list[PlannedRun]) -> None:
    with made(start) as host:
        first: dict[str, Entry | None] = {}
        for asked in runs:
            for deed, path in asked.deeds:
                do(host, deed, path)
            settle(host, asked)
            before = host.entries()
            request = Request(Overrides(role=asked.role, k3s_version=asked.version), force=asked.force)
            machine = Host.tree_at(str(host.root))
            for path in assert_as_in_diff(host, machine, request):
                first.setdefault(path, before.get(path))
            assert_second_run_writes_nothing(host, machine, replace(request, force=False))
        assert_reverted(host, first)


@given(start=STARTS, asked=ASKED)
def test_apply_reports_each_path_that_is_still_not_compliant(start: Start, asked: PlannedRun) -> None:
    with made(start) as host:
        settle(host, asked)
        request = Request(Overrides(role=asked.role, k3s_version=asked.version), force=asked.force)
        machine = Host.tree_at(str(host.root))
        done = verbs.apply(machine, request)
        left = {item.id for item in done.items if item.status in {ItemStatus.EDITED, ItemStatus.REFUSED}}
        event(f"left over: {len(left)}")
        seen = verbs.check(machine, replace(request, force=False))
        assert {item.id for item in seen.items if item.status is not ItemStatus.COMPLIANT} == left
        assert bool(left) <= (seen.exit_code == 3)
        assert bool(left) == (done.exit_code in {1, 4})
        if not left:
            assert [finding for finding in seen.findings if finding.repair.owner is FixOwner.APPLY] == []
        if asked.force:
            assert not any(item.status is ItemStatus.EDITED for item in done.items)


def test_any_number_of_runs_can_be_undone() -> None:
    """Old records of the journal are merged, and the first state is kept."""
    with made(Start(files={}, directories={}, kernel=None, configuration={}, datastore="")) as host:
        host.write(POLICY, "somebody's own\n", 0o644)
        before = host.entries()
        machine = Host.tree_at(str(host.root))
        for number in range(120):
            version = ("1.24", "1.25", "1.34")[number % 3]
            request = Request(Overrides(role="server", k3s_version=version), force=number == 0)
            assert verbs.apply(machine, request).exit_code == 0
        assert len(list(host[f"{STATE}/journal"].iterdir())) <= 50
        assert revert(machine, last=False, force=False).exit_code == 0
        assert {path: entry for path, entry in host.entries().items() if entry != before.get(path)} == {}
        assert host.entries().keys() == before.keys()


def assert_as_in_diff(host: HostTree, machine: Host, request: Request) -> set[str]:
    """Compare a run with `diff` and with the disk, and return the changed paths."""
    announced = verbs.diff(machine, request)
    stamps = host.stamps()
    looked = host.entries()
    assert verbs.check(machine, request).items
    assert host.stamps() == stamps
    done = verbs.apply(machine, request)
    for status in (ItemStatus.EDITED, ItemStatus.REFUSED):
        left = {
            name: found.removesuffix("; cannot be compared").partition("; by the profile")[0]
            for name, found in details(announced, status).items()
        }
        assert left == details(done, status)
    # The mode of an edited file is fixed; test_hand_edited tests it.
    # `diff` does not know the path of the backup.
    changed = {
        name: found.partition("; the previous file")[0]
        for name, found in details(done, ItemStatus.CHANGED).items()
        if name not in details(done, ItemStatus.EDITED)
    }
    differs = {
        k: v.partition("; by the profile")[0]
        for k, v in details(announced, ItemStatus.DIFFERS).items()
        if k not in details(done, ItemStatus.EDITED)
    }
    assert differs == changed
    assert not details(done, ItemStatus.FAILED)
    after = host.entries()
    written = {path for path in looked.keys() | after.keys() if looked.get(path) != after.get(path)}
    changed_names = details(done, ItemStatus.CHANGED).keys()
    assert written == {path_of(name) for name in changed_names if not name.startswith(DEFAULTS)}
    leftovers = [path for path in host.entries(with_state=True) if path.endswith(".k3s-harden")]
    assert leftovers == []
    return written


def assert_second_run_writes_nothing(host: HostTree, machine: Host, request: Request) -> None:
    stamps = host.stamps()
    again = verbs.apply(machine, request)
    assert not details(again, ItemStatus.CHANGED)
    assert host.stamps() == stamps
    assert not details(verbs.check(machine, request), ItemStatus.DIFFERS)


def assert_reverted(host: HostTree, first: Mapping[str, Entry | None]) -> None:
    """Revert, and compare each changed path with its first state, or with its last state if it was kept."""
    at_last = host.entries()
    report = revert(Host.tree_at(str(host.root)), last=False, force=False)
    status = {path_of(item.id): item.status for item in report.items if not item.id.startswith(DEFAULTS)}
    assert status.keys() == first.keys()
    assert ItemStatus.FAILED not in status.values()
    after = host.entries()
    encrypting = {path_of(item.id) for item in report.items if "only `secrets-encryption: true`" in item.detail}
    for path in (first.keys() | at_last.keys() | after.keys()) - encrypting:
        undone_now = status.get(path) in {ItemStatus.CHANGED, ItemStatus.COMPLIANT}
        assert after.get(path) == (first[path] if undone_now else at_last.get(path)), path
    left = set(status.values()) & {ItemStatus.EDITED, ItemStatus.REFUSED}
    assert all(after[path].content.endswith(b".\nsecrets-encryption: true\n") for path in encrypting)
    assert host[f"{STATE}/journal"].exists() == bool(left or encrypting)
    event(f"left by revert: {len(left)}")


def details(report: Report, status: ItemStatus) -> dict[str, str]:
    return {item.id: item.detail for item in report.items if item.status is status}


def path_of(name: str) -> str:
    """Return the path of a resource: its ID, or the file of a kernel parameter."""
    return name if name.startswith("/") else f"/proc/sys/{name.replace('.', '/')}"


@cache
def managed_content(path: str, version: str) -> bytes:
    try:
        return rendered(RENDERED[path], None, Overrides(role="server", k3s_version=version))
    except UsageError:
        return managed_content(path, "1.34")  # an older version has no such file


@contextmanager
def made(start: Start) -> Iterator[HostTree]:
    """Create the host, on a tmpfs if there is one."""
    with in_memory() as directory:
        host = HostTree(directory / "host")
        for path in ("/etc/sysctl.d", "/run", "/var/lib", "/usr/lib/sysctl.d"):
            host[path].mkdir(parents=True)
        for path in start.directories:
            host[path].mkdir(parents=True, exist_ok=True)
        for key, value in (start.kernel or {}).items():
            host.write(f"/proc/sys/{key}", f"{value}\n")
        for path, content in start.configuration.items():
            host.write(path, content, 0o600)
        if "state.db" in start.datastore:
            host.write(f"{DATA_DIR}/server/db/state.db", "data", 0o600)
        if "encrypted" in start.datastore:
            host.write(f"{DATA_DIR}/server/cred/encryption-config.json", ENCRYPTION)
        for path, placed in start.files.items():
            put(host, path, placed)
        for path, mode in start.directories.items():
            host[path].chmod(mode)
        try:
            yield host
        finally:
            make_removable(host.root)


def put(host: HostTree, path: str, placed: EarlierFile) -> None:
    content = managed_content(path, placed.version)
    kept = int(len(content) * placed.cut)
    place_ = host[path]
    place_.parent.mkdir(parents=True, exist_ok=True)
    if placed.what == "symlink":
        place_.symlink_to("/etc/passwd")
    elif placed.what == "directory":
        place_.mkdir()
    elif placed.what == "FIFO":
        os.mkfifo(place_)
    else:
        found = {
            "managed": content,
            "empty": b"",
            "cut": content[:kept],
            "nul": content[:kept] + bytes(len(content) - kept),
            "edited": content + EDITS[path].encode(),
            "reworded": b"# in its own words\n" + content,
            "foreign": b"somebody's own\n",
        }
        host.write(path, found[placed.what], placed.mode)


def do(host: HostTree, deed: str, path: str) -> None:
    """Change the host between two runs, as an edit by hand or a crash would."""
    found = host[path]
    if found.is_symlink() or not (found.is_file() or (found.is_dir() and path in DIRECTORIES)):
        return
    if "loosen" in deed:
        found.chmod(0o755)
    if found.is_dir():
        return
    if deed.startswith("edit"):
        host.edit(path)
    elif deed == "delete":
        found.unlink()
    elif deed == "empty":
        host.write(path, b"", stat.S_IMODE(found.stat().st_mode))


def settle(host: HostTree, asked: PlannedRun) -> None:
    """Write the settings; JSON is YAML."""
    if asked.settings is None:
        host[SETTINGS].unlink(missing_ok=True)
        return
    host.write(SETTINGS, json.dumps(asked.settings))


def make_removable(root: Path) -> None:
    for directory in [root, *root.rglob("*")]:
        if stat.S_ISDIR(directory.lstat().st_mode):
            directory.chmod(0o700)
    shutil.rmtree(root)
