"""The verb upgrade-node: replace the program of a node by that of this container image, which proves itself first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from agent import __version__
from agent.base.errors import UnsupportedHostError, UsageError
from agent.base.host import Host
from agent.base.host.writable_tree import locked
from agent.base.repair import Instruction
from agent.harden.gate.installed_gate import detect_gate

INSTALLED = PurePosixPath("/opt/k3s-harden")
"""The directory of the program, where the script `install` of the archive puts it."""

BESIDE = INSTALLED.with_name("k3s-harden.upgrade")
"""The new version until it takes the place of the installed one, and then the previous one until `check` succeeds."""

LOCK = PurePosixPath("/run/k3s-harden-upgrade.lock")
"""Held for the whole upgrade; `gate` and `install`, which it runs, take the lock of this program themselves."""

_LIBRARIES = "bin/_internal"  # only a program with its own Python has it


def upgrade_node(host: Host, bundle: PurePosixPath, run: Callable[..., int], say: Callable[[str], None]) -> int:
    """Replace the program of the host, a tree, by that in `bundle`; `run` runs a program of the host.

    Killed before the exchange, the next run copies again; killed after it, the next run goes on with `install` and
    `check`. Returns 0, or the exit code of the program that failed. Raises UnsupportedHostError without an installed
    archive, and LockHeldError if another upgrade of the node runs.
    """
    if not host.machine_tree.exists(bundle / _LIBRARIES):
        raise UsageError("cannot upgrade a node: this program is not that of an image", "run it in the image")
    if not host.tree.exists(INSTALLED / _LIBRARIES):
        raise UnsupportedHostError(
            f"cannot upgrade this node: found no {INSTALLED / _LIBRARIES}, which the archive installs",
            Instruction("install the archive first; upgrade a package or a single file as it was installed"),
        )

    def first_failure(directory: PurePosixPath, *verbs: str) -> int:
        for words in ((str(directory / "bin/k3s-harden"), verb) for verb in verbs):
            say(f"+ {' '.join(words)}")
            if code := run(words):
                say(f"cannot upgrade this node to {__version__}: {' '.join(words)} exited with {code}")
                return code
        return 0

    gate, install = (("gate",), ("install",)) if detect_gate(host).template else ((), ())
    tree = host.writable_tree
    with locked(tree, LOCK, wait=0), tree.replacement_of(bundle, INSTALLED, BESIDE) as replacement:
        if not replacement.is_done:
            replacement.make_copy()
            if restorecon := host.trusted_tool("restorecon"):
                run((str(restorecon), "-R", str(BESIDE)))
            # After a failure, the copy stays until the next try, for the commands that its report names.
            if code := first_failure(BESIDE, *gate, "check"):
                return code
            with host.lock():
                replacement.exchange()
        if not (code := first_failure(INSTALLED, *install, "check")):
            replacement.remove_copy()
        return code
