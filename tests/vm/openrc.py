"""A container whose init is OpenRC, as on Alpine, with the program of the working tree as single file.

Its tree is built from Debian packages, without systemd, and cached like the image of the guests.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from pathlib import Path

from tests.vm import suite as debian
from tests.vm.image import Image
from tests.vm.node import ContainerNode
from tests.vm.suite import Suite, run

_PACKAGES = ("iproute2", "netbase", "openrc", "procps", "python3", "python3-yaml", "sysvinit-core")
_EXCLUDED_DOCS = ("doc", "info", "locale", "man")

# As the units of the same name in tests/vm/image.py, for OpenRC.
_SCRIPT = """\
#!/sbin/openrc-run
depend() {
    before procps
}
start() {
    ip route add default dev lo
    cp -r /proc/sys /run/kernel-values 2>/dev/null
    cd /run/kernel-values && \\
    for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops; do echo 0 >$name; done
    echo 1000000 >kernel/keys/root_maxkeys && echo 25000000 >kernel/keys/root_maxbytes && \\
    mount --bind /run/kernel-values /proc/sys
}
"""


GATE_FILES = ("/etc/rc.conf.d/k3s-harden.conf", "/usr/local/lib/k3s-harden/start-k3s")


class OpenrcNode(ContainerNode):
    """A K3s node with OpenRC."""

    IS_BOOTED = "rc-status --runlevel | grep -x default && ! rc-status default | grep starting"

    def boot(self, seed: Path | None = None) -> None:
        assert seed is None
        self._start(["/sbin/openrc-init"])

    def shut_down(self) -> None:
        self.run("openrc-shutdown --poweroff now", check=False)
        self._wait_for_end()

    def service(self, *words: str, check: bool = True) -> str:
        done = self.run(("rc-service", *words), check=check)
        return done.out + done.err

    def log(self, service: str = "k3s") -> str:
        return self.run(f"cat /var/log/{service}.log", check=False).out

    def kill_supervised(self, service: str = "k3s") -> None:
        self.run(f"kill -KILL $(pgrep -P $(cat /var/run/{service}.pid))")

    def wait_for_starts(self, number: int) -> None:
        self.wait_until(f"test $(cat /var/lib/k3s-stand-in/starts 2>/dev/null | wc -l) -ge {number}", timeout=200)

    def supervised(self, service: str = "k3s") -> str:
        """Return the command line of the process that supervise-daemon has started, empty without one."""
        return self.run(f"tr '\\0' ' ' </proc/$(pgrep -P $(cat /var/run/{service}.pid))/cmdline", check=False).out


def image() -> Image:
    """Return an image of the chosen suite that has only a tree, built now unless the cache has it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "k3s-harden" / "vm"
    suite = debian.chosen(cache)
    directory = cache / f"{suite.name}-openrc"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        recipe = Path(__file__).read_bytes() + time.strftime("%G-%V").encode()
        tree = directory / hashlib.sha256(recipe).hexdigest()[:16]
        if not (tree / "etc/.built").exists():
            suite.update()
            for old in directory.iterdir():
                if old.is_dir():
                    shutil.rmtree(old)
            _build(tree, suite)
    return Image(suite.name, Path(), Path(), Path(), tree)


def _build(tree: Path, suite: Suite) -> None:
    excluded = (f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _EXCLUDED_DOCS)
    options = ("--quiet", "--variant=apt", "--format=directory", f"--include={','.join(_PACKAGES)}", *excluded)
    run("mmdebstrap", *options, suite.name, tree, suite.sources)
    script = tree / "etc/init.d/kernel-values"
    script.write_text(_SCRIPT)
    script.chmod(0o755)
    (tree / "etc/runlevels/sysinit/kernel-values").symlink_to("/etc/init.d/kernel-values")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost node\n")
    (tree / "etc/.built").touch()
