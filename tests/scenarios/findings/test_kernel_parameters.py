"""Findings about kernel parameters."""

from __future__ import annotations

from tests.scenarios.conftest import Hardened
from tests.scenarios.findings.case import (
    Case,
    Edit,
    Seen,
    apply,
    as_described,
    both,
    deleted,
    file_put,
    line_deleted,
    nothing,
    written,
)
from tests.scenarios.host_tree import CONFIG, DROPIN, KERNEL_FILE, SETTINGS

WAIVER = """\
waivers:
  - control: vm.panic_on_oom
    reason: a database restarts nodes on purpose
"""


NO_SUCH_PARAMETER = (
    "Is there a kernel for this host that has vm.panic_on_oom? Yes (boot it): nothing to do."
    " No (K3s does not start if it protects the defaults of the kernel): nothing to do."
)


def unprotected(edit: Edit) -> Edit:
    return lambda host: [host.write(SETTINGS, "protect-kernel-defaults: false\n"), host.run("apply"), edit(host)]


CASES = (
    Case("sysctl-overridden", written("/etc/sysctl.d/99-site.conf", "# ours\nvm.overcommit_memory = 0\n"),
         written("/etc/sysctl.d/10-site.conf", "# ours\nvm.overcommit_memory = 0\n"),
         Seen("/etc/sysctl.d/99-site.conf:2",
             "replace `vm.overcommit_memory = 0` by `vm.overcommit_memory=1` at {location}",
             expected="1", found="0"), cure=line_deleted),
    Case("sysctl-overridden",
         lambda host: host.write(KERNEL_FILE, host[KERNEL_FILE].read_text().replace("panic=10", "panic=20")), nothing,
         Seen(f"{KERNEL_FILE}:5", "k3s-harden apply --force", expected="10", found="20"),
         cure=lambda host, _: host.run("apply", "--force"), name="in-our-file"),
    Case("sysctl-conf-disagrees", written("/etc/sysctl.conf", "\nvm.panic_on_oom=1\n"),
         written("/etc/sysctl.conf", "\nvm.panic_on_oom=0\nvm.swappiness=1\n"),
         Seen("/etc/sysctl.conf:2", "", expected="0", found="1")),
    Case("kernel-parameter", written("/proc/sys/vm/overcommit_memory", "2\n"),
         written("/proc/sys/vm/overcommit_memory", "1\n"),
         Seen(f"{DROPIN}:3", "k3s-harden apply", expected="1", found="2"), cure=as_described),
    Case("kernel-parameter", written("/proc/sys/kernel/keys/root_maxkeys", "200\n"),
         both(written("/proc/sys/vm/overcommit_memory", "0\n"),
             written("/etc/k3s-harden/config.yaml", "protect-kernel-defaults: false\n"),
             lambda host: host.write(DROPIN, host[DROPIN].read_text().replace("protect-kernel-defaults: true\n", ""))),
         Seen(f"{DROPIN}:3", "", expected="1000000", found="200"), name="only-verified"),
    Case("kernel-parameter", deleted("/proc/sys/vm/panic_on_oom"),
         both(deleted("/proc/sys/vm/panic_on_oom"),
             written(CONFIG, "kubelet-arg: protect-kernel-defaults=false\n")),
         Seen(f"{DROPIN}:3", NO_SUCH_PARAMETER, expected="0", found="absent"),
         cure=file_put("/proc/sys/vm/panic_on_oom", "0\n"), name="absent"),
    Case("kernel-parameter",
         both(written(SETTINGS, "protect-kernel-defaults: false\n"),
             both(apply,
                 both(written(CONFIG, "kubelet-arg: protect-kernel-defaults=true\n"),
                     written("/proc/sys/vm/panic_on_oom", "1\n")))),
         both(written(SETTINGS, "protect-kernel-defaults: false\n"),
             both(apply, written("/proc/sys/vm/panic_on_oom", "1\n"))),
         Seen(f"{CONFIG}:1", "k3s-harden apply", expected="0", found="1"), cure=as_described, name="kubelet"),
    Case("kernel-default-changed", unprotected(written("/proc/sys/kernel/keys/root_maxkeys", "200\n")),
         unprotected(written("/proc/sys/kernel/keys/root_maxkeys", "1000000\n")),
         Seen("", "", expected="1000000", found="200")),
    Case("no-kernel-here", lambda host: host["/proc/sys"].rename(host["/proc/other"]), nothing,
         Seen("", "on the booted host, run `sudo k3s-harden check`"),
         cure=lambda host, _: host["/proc/other"].rename(host["/proc/sys"])),
    Case("waived-parameter-at-boot",
         both(written(SETTINGS, WAIVER), written("/etc/sysctl.d/99-database.conf", "vm.panic_on_oom = 2\n")),
         both(written(SETTINGS, WAIVER), written("/etc/sysctl.d/99-database.conf", "vm.panic_on_oom = 0\n")),
         Seen("/etc/sysctl.d/99-database.conf:1", "", expected="0", found="2 after the next boot")),
    Case("waived-parameter-at-boot",
         both(written(SETTINGS, f"protect-kernel-defaults: false\n{WAIVER}"),
             written("/etc/sysctl.d/99-database.conf", "vm.panic_on_oom = 2\n")),
         nothing,
         Seen("/etc/sysctl.d/99-database.conf:1", "k3s-harden apply", expected="0", found="2 after the next boot"),
         cure=as_described, name="set-already"),
    Case("waiver-expired", written(SETTINGS, f"{WAIVER}    expires: 2001-02-03\n"),
         written(SETTINGS, f"{WAIVER}    expires: 2001-02-03\n    host: not-this-one\n"),
         Seen(f"{SETTINGS}:2", "remove or extend the waiver at {location}", found="2001-02-03")),
)  # fmt: skip


def test_all_kernel_parameters_that_differ_are_reported(hardened: Hardened) -> None:
    """The kubelet exits at the first one."""
    host = hardened()
    for name in ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"):
        host.write(f"/proc/sys/{name}", "7\n")
    for name in ("root_maxkeys", "root_maxbytes"):
        host.write(f"/proc/sys/kernel/keys/{name}", "7\n")
    assert len(host.seen("check").of("kernel-parameter")) == 6
    assert host.run("apply").code == 3
    assert {finding.found for finding in host.seen("check").of("kernel-parameter")} == {"7"}
    assert len(host.seen("check").of("kernel-parameter")) == 2
