"""Disk and kernel of the guests, and the tree of the containers, built from Debian packages.

They are cached outside the checkout. The environment variable GUEST_SUITE selects the Debian suite. The image is built
again when this file, the suite's kernel or the week changes. `python -m tests.vm.image` builds the image and prints its
path. The image with SELinux, which enforces Debian's policy, is one of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import lzma
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.vm import suite as debian
from tests.vm.suite import ImageError, Suite, run

CHECKOUT = Path(__file__).parents[2]

_BUILD_TIMEOUT = 400.0
_DISK_SIZE = "1100M"
_MEMORY_FOR_BUILD = 3 << 30

_PACKAGES = (
    "systemd",
    "systemd-sysv",
    "udev",
    "dbus",
    "kmod",
    "netbase",
    "iproute2",
    # cloud-init reports an error if these tools are missing.
    "e2fsprogs",
    "ca-certificates",
    "cloud-init",
    "curl",
    "procps",
    "python3",
    "python3-psutil",
    "python3-yaml",
    "qemu-guest-agent",
    "rpm",
    "sudo",
)
_UNPACKED = (
    *("base-files", "base-passwd", "bash", "coreutils", "dash", "dbus", "diffutils", "findutils", "grep", "gzip"),
    *(
        "hostname",
        "iproute2",
        "kmod",
        "libpam-modules",
        "libpam-runtime",
        "login",
        "mawk",
        "mount",
        "netbase",
        "passwd",
    ),
    *("procps", "python3", "python3-yaml", "sed", "systemd", "systemd-sysv", "tar", "udev", "util-linux"),
)
"""The packages of an emulated container, which are unpacked without being configured."""
_NOT_EMULATED = ("systemd-sysctl.service", "systemd-sysusers.service", "systemd-tmpfiles-setup-dev.service")
"""Units with credentials, which QEMU 7.2 does not emulate. The gate sets the kernel values."""
_SELINUX = ("policycoreutils", "selinux-policy-default", "selinux-utils")
_ENFORCING = "audit=1 security=selinux selinux=1 enforcing=1"
_KUBECTL = {"bullseye": "kubernetes-client", "bookworm": "kubernetes-client", "trixie": "kubectl"}
_EXCLUDED_DOCS = ("doc", "info", "locale", "man")

# The drivers of the root disk; older kernels have more of them as modules. A busybox that loads them starts several
# seconds faster than a complete initramfs.
_BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4")
_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in MODULES; do /bin/busybox insmod /$module; done
until root=$(/bin/busybox findfs LABEL=root) && [ -b "$root" ]; do /bin/busybox usleep 10000; done
/bin/busybox mount -t ext4 -o rw "$root" /sysroot
exec /bin/busybox switch_root /sysroot /sbin/init
"""

_FILES = {
    "etc/hostname": "node\n",
    "etc/hosts": "127.0.0.1 localhost node\n",
    "etc/fstab": "",
    # Each boot of a fresh overlay is a first boot with its own identity.
    "etc/machine-id": "",
    "etc/sudoers.d/admin": "admin ALL=(ALL) NOPASSWD:ALL\n",
    "etc/cloud/cloud.cfg.d/90-guest.cfg": (
        "datasource_list: [NoCloud, None]\n"
        # No network card, no partition table, no SSH server: their modules would report errors.
        "network: {config: disabled}\n"
        'growpart: {mode: "off"}\n'
        "resize_rootfs: false\n"
        "ssh_deletekeys: false\n"
        "ssh_genkeytypes: []\n"
    ),
    # K3s exits without a default route.
    "etc/systemd/system/default-route.service": (
        "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n"
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=ip route add default dev lo\n"
        "[Install]\nWantedBy=sysinit.target\n"
    ),
    "etc/systemd/journald.conf.d/guest.conf": "[Journal]\nStorage=persistent\nSyncIntervalSec=1s\n",
    # Without this, the agent writes a line to the journal at each request.
    "etc/systemd/system/qemu-guest-agent.service.d/guest.conf": "[Service]\nLogLevelMax=notice\n",
    # Debian triggers 60 ttys and 60 platform devices as well, which takes two seconds of each boot. systemd 247 has
    # neither --type=all nor --prioritized-subsystem.
    "etc/systemd/system/systemd-udev-trigger.service.d/guest.conf": (
        "[Service]\nExecStart=\nExecStart=udevadm trigger --type=devices --action=add"
        + "".join(f" --subsystem-match={name}" for name in ("block", "net", "virtio", "virtio-ports"))
        + "\n"
    ),
}
_ENABLED = ("default-route.service",)
# No test requires these, and each boot would wait for them.
_SWITCHED_OFF = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "systemd-pstore.service",
)
_MASKED = (
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "ldconfig.service",
    "modprobe@configfs.service",
    "modprobe@drm.service",
    "modprobe@fuse.service",
    "proc-sys-fs-binfmt_misc.automount",
    "serial-getty@ttyS0.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-logind.service",
    "systemd-random-seed.service",
    "systemd-udev-load-credentials.service",
    "systemd-update-done.service",
)
# Loaded at each boot; unpacking them each time is slow without hardware virtualisation.
_MODULES_UNPACKED = re.compile(
    "autofs4|binfmt_misc|br_netfilter|bridge|button|configfs|drm|evdev|ip_tables|irqbypass|isofs|llc|nfnetlink|overlay"
    "|psmouse|qemu_fw_cfg|scsi_common|scsi_mod|serio_raw|stp|virtio_blk|x_tables"
)


# A container has the kernel of this machine, which no test may change: its /proc/sys has files, with Debian's values at
# each boot. Because of their sandbox, systemd gives the program's units a new /proc, so each needs a mount of its own.
# If this machine has control groups of version 1, those of version 2 lack the controllers that K3s requires.
_TREE_FILES = {
    "etc/systemd/system/kernel-values.service": """\
[Unit]
DefaultDependencies=no
Before=systemd-sysctl.service sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cp -r /proc/sys /run/kernel-values 2>/dev/null; cd /run/kernel-values && \
    echo 0 >vm/overcommit_memory && echo 0 >vm/panic_on_oom && echo 0 >kernel/panic && echo 0 >kernel/panic_on_oops && \
    echo 1000000 >kernel/keys/root_maxkeys && echo 25000000 >kernel/keys/root_maxbytes && \
    mount --bind /run/kernel-values /proc/sys; \
    echo cpuset cpu io memory pids >/run/controllers && mount --bind /run/controllers /sys/fs/cgroup/cgroup.controllers'
[Install]
RequiredBy=sysinit.target
""",
    "etc/systemd/system-generators/kernel-values": """\
#!/bin/sh
for name in k3s-harden k3s-harden@ k3s-harden-check k3s-harden-service-accounts; do
    mkdir "$1/$name.service.d"
    printf '[Service]\\nBindPaths=/run/kernel-values:/proc/sys\\n' >"$1/$name.service.d/kernel-values.conf"
done
""",
}


class Image(NamedTuple):
    """The files that a guest boots from, a read-only raw ext4 disk, a kernel and an initrd; the tree of a container."""

    suite: str
    disk: Path
    kernel: Path
    initrd: Path
    tree: Path
    kernel_arguments: str = "audit=0"


def lacking() -> str:
    """Return why this machine cannot boot guests, or an empty string."""
    if platform.machine() != "x86_64":
        return f"needs x86_64, found {platform.machine()}"
    rows = (line.split() for line in (Path(__file__).parent / "host-packages").read_text().splitlines())
    missing = sorted({row[1] for row in rows if row and row[0] != "#" and shutil.which(row[0]) is None})
    if missing:
        return f"needs missing programs: apt-get install -y {' '.join(missing)}"
    return "needs root to build the disk of the guests" if os.geteuid() else ""


def ready(*, selinux: bool = False) -> Image:
    """Return the image of the chosen suite, built now unless the cache has it. A lock prevents parallel builds."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "k3s-harden" / "vm"
    suite = debian.chosen(cache)
    name = f"{suite.directory.parent.name}{'-selinux' if selinux else ''}"
    images = suite.directory.parents[1] / name
    images.mkdir(parents=True, exist_ok=True)
    with (images / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        suite.update()
        directory = images / _key(suite)
        if not (directory / ".done").exists():
            for old in set(images.iterdir()) - {suite.directory}:
                if old.is_dir() and _held(old, fcntl.LOCK_EX):
                    shutil.rmtree(old)
            directory.mkdir()
            _build_apart(directory, images / "build.log", selinux=selinux)
            (directory / ".done").touch()
        _held(directory, fcntl.LOCK_SH)
    return Image(
        suite.name,
        directory / "disk.raw",
        directory / "vmlinux",
        directory / "initrd",
        directory / "tree",
        _ENFORCING if selinux else "audit=0",
    )


def _held(directory: Path, mode: int) -> bool:
    """Lock a directory until this process ends, so that its image is not removed; False if another process has it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True


def _key(suite: Suite) -> str:
    """Return a hash of the image's inputs. It includes the week, so that the image gets Debian's updates."""
    recipe = (Path(__file__).read_bytes(), Path(debian.__file__).read_bytes())
    parts = (*recipe, suite.kernel_package().encode(), time.strftime("%G-%V").encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _build_apart(directory: Path, log: Path, *, selinux: bool) -> None:
    """Build in a private mount namespace, so that a killed build leaves no mount."""
    command = ("unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.vm.image", str(directory))
    variant = ("selinux",) if selinux else ()
    with log.open("w") as output:
        try:
            subprocess.run(
                (*command, *variant),
                cwd=CHECKOUT,
                stdout=output,
                stderr=output,
                check=True,
                timeout=_BUILD_TIMEOUT,
                text=True,
            )
        except subprocess.SubprocessError as error:
            last = "\n".join(log.read_text().splitlines()[-30:])
            raise ImageError(f"cannot build the guest image: {error}\n{last}") from error


def _build(out: Path, suite: Suite, *, selinux: bool) -> None:
    """Build the image in `out`, with the work directory in memory, which saves a third of the time."""
    if debian.is_emulated():
        _unpack_tree(out / "tree", suite)
        return
    work = out / "work"
    work.mkdir()
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGESIZE") > 2 * _MEMORY_FOR_BUILD:
        run("mount", "-t", "tmpfs", "-o", f"size={_MEMORY_FOR_BUILD},mode=0755", "image", str(work))
    os.environ["TMPDIR"] = str(work)
    root = work / "root"
    _bootstrap(root, suite, *(_SELINUX if selinux else ()))
    _add_kernel(root, suite, work, out)
    _configure(root)
    if selinux:
        _label(root)
    run("mkfs.ext4", "-q", "-F", "-L", "root", "-d", str(root), str(out / "disk.raw"), _DISK_SIZE)
    _make_tree(root, out / "tree")
    shutil.rmtree(root)
    if os.path.ismount(work):
        run("umount", str(work))
    shutil.rmtree(work)


def _bootstrap(root: Path, suite: Suite, *others: str) -> None:
    excluded = (f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _EXCLUDED_DOCS)
    include = f"--include={','.join((*_PACKAGES, _KUBECTL[suite.name], *others))}"
    # Installed systems of all three suites have a merged /usr; before bookworm, no package of the base system does it.
    merged = ("--setup-hook=/usr/share/mmdebstrap/hooks/merged-usr/setup00.sh",) if suite.name == "bullseye" else ()
    options = ("--quiet", "--variant=apt", "--format=directory", include, *excluded, *merged)
    run("mmdebstrap", *options, suite.name, root, suite.sources)
    for left in (root / "var/lib/apt/lists", root / "var/cache/apt"):
        shutil.rmtree(left)
        left.mkdir()


def _add_kernel(root: Path, suite: Suite, work: Path, out: Path) -> None:
    """Add the kernel without installing its package, which would build an initramfs."""
    unpacked = work / "kernel"
    run("dpkg-deb", "-x", suite.download(suite.kernel_package(), work), unpacked)
    # Up to bookworm the package has /lib/modules, from trixie on /usr/lib/modules.
    modules = next(path for usr in ("", "usr/") for path in unpacked.glob(f"{usr}lib/modules/*"))
    for module in modules.rglob("*.ko.xz"):
        if _MODULES_UNPACKED.fullmatch(module.name.removesuffix(".ko.xz").replace("-", "_")):
            module.with_suffix("").write_bytes(lzma.decompress(module.read_bytes()))
            module.unlink()
    installed = root / "usr/lib/modules" / modules.name
    installed.parent.mkdir(exist_ok=True)
    shutil.move(modules, installed)
    run("chroot", root, "depmod", modules.name)
    _make_initrd(root, modules.name, work / "initrd", out / "initrd")
    (out / "vmlinux").write_bytes(_uncompressed(next((unpacked / "boot").glob("vmlinuz-*"))))


def _make_initrd(root: Path, version: str, directory: Path, archive: Path) -> None:
    for name in ("bin", "dev", "proc", "sysroot"):
        (directory / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", directory / "bin/busybox")
    names: list[str] = []
    for module in _BOOT_MODULES:
        dependencies = run("chroot", root, "modprobe", "--set-version", version, "--show-depends", module)
        for path in re.findall(r"^insmod /(\S+)", dependencies, re.MULTILINE):
            source = root / path
            if source.name not in names:
                names.append(source.name)
                shutil.copy(source, directory)
    (directory / "init").write_text(_INIT.replace("MODULES", " ".join(names)))
    (directory / "init").chmod(0o755)
    paths = "\n".join(str(path.relative_to(directory)) for path in sorted(directory.rglob("*")))
    command = ("cpio", "--quiet", "--create", "--format=newc")
    with archive.open("wb") as output:
        subprocess.run(command, cwd=directory, input=paths.encode(), stdout=output, check=True)


def _uncompressed(bzimage: Path) -> bytes:
    """Return the ELF kernel in a bzImage, because its own decompression is slow in an emulated guest.

    The layout is in the kernel's Documentation/arch/x86/boot.rst.
    """
    data = bzimage.read_bytes()
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (data[0x1F1] + 1) * 512 + offset
    # The last four bytes are the uncompressed size.
    packed = data[start : start + length - 4]
    tools = {b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zX": "xz", b"\x1f\x8b\x08\x00": "gzip", b"\x02\x21\x4c\x18": "lz4"}
    kernel = subprocess.run((tools[packed[:4]], "-dcq"), input=packed, stdout=subprocess.PIPE, check=True).stdout
    if not kernel.startswith(b"\x7fELF"):
        raise ImageError(f"cannot decompress {bzimage.name}: the result is not an ELF file")
    return kernel


def _configure(root: Path) -> None:
    # The excluded paths must not apply to packages that a test installs.
    (root / "etc/dpkg/dpkg.cfg.d/99mmdebstrap").unlink()
    # A guest has no network; without sources, apt-get update succeeds.
    for sources in (root / "etc/apt/sources.list.d").iterdir():
        sources.unlink()
    (root / "etc/apt/sources.list").write_text("")
    for name, text in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "etc/sudoers.d/admin").chmod(0o440)
    run("chroot", str(root), "useradd", "-m", "-s", "/bin/bash", "-G", "sudo", "admin")
    for verb, units in (("enable", _ENABLED), ("disable", _SWITCHED_OFF), ("mask", _MASKED)):
        run("systemctl", f"--root={root}", "--quiet", verb, *units)
    # Otherwise systemd treats the first boot as an update and runs the services for it.
    for stamp in (root / "etc/.updated", root / "var/.updated"):
        stamp.touch()
    os.utime(root / "usr", (0, 0))


def _label(root: Path) -> None:
    contexts = "/etc/selinux/default/contexts/files/file_contexts"
    run("chroot", root, "setfiles", "-F", "-m", "-e", "/proc", "-e", "/sys", "-e", "/dev", contexts, "/")


def _unpack_tree(tree: Path, suite: Suite) -> None:
    """Make the tree of containers of another architecture: unpacked packages, because their scripts are slow there."""
    architecture = f"--architectures={debian.ARCHITECTURES[debian.machine()]}"
    merged = "--setup-hook=/usr/share/mmdebstrap/hooks/merged-usr/setup00.sh"
    options = ("--quiet", "--variant=extract", "--format=directory", architecture, merged)
    run("mmdebstrap", *options, f"--include={','.join(_UNPACKED)}", suite.name, tree, suite.sources)
    for name in ("group", "passwd"):
        shutil.copy(tree / f"usr/share/base-passwd/{name}.master", tree / "etc" / name)
    run("systemd-sysusers", f"--root={tree}")
    (tree / "usr/bin/awk").symlink_to("mawk")
    for name in ("bin", "sbin", "lib"):
        (tree / "usr/local" / name).mkdir(parents=True)
    for name in ("etc/hostname", "etc/hosts", "etc/machine-id", "etc/systemd/system/default-route.service"):
        (tree / name).write_text(_FILES[name])
    for stamp in (tree / "etc/.updated", tree / "var/.updated"):
        stamp.touch()
    run("systemctl", f"--root={tree}", "--quiet", "enable", *_ENABLED)
    run("systemctl", f"--root={tree}", "--quiet", "mask", *_MASKED, *_NOT_EMULATED)
    _protect_kernel(tree)
    # QEMU 7.2 does not emulate what systemd does in a new network namespace.
    generator = tree / "etc/systemd/system-generators/kernel-values"
    generator.write_text(generator.read_text().replace("[Service]\\n", "[Service]\\nPrivateNetwork=no\\n"))


def _protect_kernel(root: Path) -> None:
    """Add the files that keep containers from the kernel values of this machine."""
    for name, text in _TREE_FILES.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (root / "etc/systemd/system-generators/kernel-values").chmod(0o755)
    run("systemctl", f"--root={root}", "--quiet", "enable", "kernel-values.service")


def _make_tree(root: Path, tree: Path) -> None:
    """Make the tree of the containers from the root directory, which is useless afterwards."""
    _protect_kernel(root)
    shutil.rmtree(root / "usr/lib/modules")
    run("cp", "--archive", root, tree)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        out, *variant = map(Path, sys.argv[1:])
        _build(out, debian.chosen(out.parents[1]), selinux=bool(variant))
    else:
        sys.stdout.write(f"{ready().disk}\n")
