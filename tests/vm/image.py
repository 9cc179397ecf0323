"""The guest's disk and kernel, made from Debian's packages and kept outside the checkout until the recipe changes.

The recipe is this file. It names no package mirror: the sources are those of the machine that builds. `python -m
tests.vm.image` makes the image ready, and prints where it is.
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
    # cloud-init calls what is in here, and reports an error without it.
    "e2fsprogs",
    "ca-certificates",
    "cloud-init",
    "curl",
    "kubectl",
    "procps",
    "python3",
    "python3-psutil",
    "python3-yaml",
    "qemu-guest-agent",
    "rpm",
    "sudo",
)
_NOT_UNPACKED = ("doc", "info", "locale", "man")

# Only virtio-blk is missing from the kernel itself. A busybox that loads it starts seconds before a whole initramfs.
_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox insmod /virtio_blk.ko
until root=$(/bin/busybox findfs LABEL=root) && [ -b "$root" ]; do /bin/busybox usleep 10000; done
/bin/busybox mount -t ext4 -o rw "$root" /sysroot
exec /bin/busybox switch_root /sysroot /sbin/init
"""

_FILES = {
    "etc/hostname": "node\n",
    "etc/hosts": "127.0.0.1 localhost node\n",
    "etc/fstab": "",
    # Each boot of a fresh overlay is a first boot with an identity of its own.
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
    "etc/systemd/journald.conf.d/guest.conf": "[Journal]\nStorage=persistent\nSyncIntervalSec=1s\n",
    # It would write a line to the journal each time that it is asked something.
    "etc/systemd/system/qemu-guest-agent.service.d/guest.conf": "[Service]\nLogLevelMax=notice\n",
    # All of Debian's devices are 60 ttys and 60 platform devices more, two seconds of each boot.
    "etc/systemd/system/systemd-udev-trigger.service.d/guest.conf": (
        "[Service]\nExecStart=\nExecStart=-udevadm trigger --type=all --action=add"
        " --prioritized-subsystem=module,block"
        + "".join(f" --subsystem-match={name}" for name in ("block", "net", "virtio", "virtio-ports"))
        + "\n"
    ),
}
# What no test needs, and each boot would wait for.
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


class Image(NamedTuple):
    """What a guest boots from: a raw ext4 disk, never written to, and a kernel with its first file system."""

    disk: Path
    kernel: Path
    initrd: Path


class ImageError(Exception):
    """The image cannot be made; the message says why."""


def lacking() -> str:
    """Say what keeps this machine from booting guests; empty where nothing does."""
    if platform.machine() != "x86_64":
        return f"needs a machine of the guest's kind, x86_64; this is {platform.machine()}"
    rows = (line.split() for line in (Path(__file__).parent / "host-packages").read_text().splitlines())
    missing = sorted({row[1] for row in rows if row and row[0] != "#" and shutil.which(row[0]) is None})
    if missing:
        return f"needs programs that are missing here: apt-get install -y {' '.join(missing)}"
    return "needs root, which makes the guest's disk" if os.geteuid() else ""


def ready() -> Image:
    """The image, made now unless one of this recipe is there. Two runs do not make it twice."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "k3s-harden" / "vm"
    directory = cache / _key()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / ".done").exists():
            for old in cache.iterdir():
                if old.is_dir() and _held(old, fcntl.LOCK_EX):
                    shutil.rmtree(old)
            directory.mkdir()
            _build_apart(directory, cache / "build.log")
            (directory / ".done").touch()
        _held(directory, fcntl.LOCK_SH)
    return Image(directory / "disk.raw", directory / "vmlinux", directory / "initrd")


def _held(directory: Path, mode: int) -> bool:
    """Lock a directory until this process ends, unless another process holds it: no image goes away under a guest."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True


def _key() -> str:
    """Name what the image follows from. The week is in it, so that Debian's updates arrive."""
    if not any(Path("/var/lib/apt/lists").glob("*Release")):
        _run("apt-get", "-qq", "update")
    parts = (Path(__file__).read_bytes(), _kernel_package().encode(), time.strftime("%G-%V").encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _kernel_package() -> str:
    found = re.search(r"Depends: (linux-image-\S+)", _run("apt-cache", "depends", "linux-image-cloud-amd64"))
    if found is None:
        raise ImageError("cannot find a kernel: the machine's package sources have no linux-image-cloud-amd64")
    return found[1]


def _build_apart(directory: Path, log: Path) -> None:
    """Build in a mount namespace of its own, so that even a build that is killed leaves no mount behind."""
    command = ("unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.vm.image", str(directory))
    with log.open("w") as output:
        try:
            subprocess.run(
                command, cwd=CHECKOUT, stdout=output, stderr=output, check=True, timeout=_BUILD_TIMEOUT, text=True
            )
        except subprocess.SubprocessError as error:
            last = "\n".join(log.read_text().splitlines()[-30:])
            raise ImageError(f"cannot make the guest's disk: {error}\n{last}") from error


def _build(out: Path) -> None:
    """Make the image in `out`; it is worked on in memory, which saves a third of the time."""
    work = out / "work"
    work.mkdir()
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGESIZE") > 2 * _MEMORY_FOR_BUILD:
        _run("mount", "-t", "tmpfs", "-o", f"size={_MEMORY_FOR_BUILD},mode=0755", "image", str(work))
    os.environ["TMPDIR"] = str(work)
    root = work / "root"
    _bootstrap(root, work)
    _add_kernel(root, work, out)
    _configure(root)
    _run("mkfs.ext4", "-q", "-F", "-L", "root", "-d", str(root), str(out / "disk.raw"), _DISK_SIZE)
    shutil.rmtree(root)
    if os.path.ismount(work):
        _run("umount", str(work))
    shutil.rmtree(work)


def _bootstrap(root: Path, work: Path) -> None:
    sources = work / "machine.sources"
    sources.write_text("\n\n".join(_apt_sources()) + "\n")
    excluded = (f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _NOT_UNPACKED)
    include = f"--include={','.join(_PACKAGES)}"
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    _run("mmdebstrap", "--quiet", "--variant=apt", "--format=directory", include, *excluded, suite, root, sources)
    for left in (root / "var/lib/apt/lists", root / "var/cache/apt"):
        shutil.rmtree(left)
        left.mkdir()


def _apt_sources() -> list[str]:
    """This machine's own package sources as deb822 stanzas; those on this machine itself mean nothing to a guest."""
    found: list[str] = []
    configuration = Path("/etc/apt")
    for path in sorted(configuration.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            lines = [line for line in stanza.splitlines() if line.strip() and not line.startswith("#")]
            text = "\n".join(lines)
            if re.search(r"(?im)^uris:.*https?://", text) and not re.search(r"(?im)^enabled:\s*no", text):
                found.append(text)
    entry = re.compile(r"^\s*deb\s+(?:\[([^]]*)]\s+)?(https?://\S+)\s+(\S+)\s+(.+)$", re.MULTILINE)
    for path in (configuration / "sources.list", *sorted(configuration.glob("sources.list.d/*.list"))):
        for options, uri, suite, components in entry.findall(path.read_text() if path.exists() else ""):
            stanza = f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {components}"
            signed = re.search(r"(?i)signed-by=(\S+)", options)
            found.append(stanza + (f"\nSigned-By: {signed[1]}" if signed else ""))
    if not found:
        raise ImageError("cannot make the guest's disk: this machine has no package source that a guest could use")
    return found


def _add_kernel(root: Path, work: Path, out: Path) -> None:
    """Unpack the kernel rather than install it: nothing then builds an initramfs."""
    _run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", _kernel_package(), cwd=work)
    unpacked = work / "kernel"
    _run("dpkg-deb", "-x", str(next(work.glob("linux-image-*.deb"))), str(unpacked))
    modules = next((unpacked / "usr/lib/modules").iterdir())
    for module in modules.rglob("*.ko.xz"):
        if _MODULES_UNPACKED.fullmatch(module.name.removesuffix(".ko.xz").replace("-", "_")):
            module.with_suffix("").write_bytes(lzma.decompress(module.read_bytes()))
            module.unlink()
    first = work / "initrd"
    for directory in ("bin", "dev", "proc", "sysroot"):
        (first / directory).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", first / "bin/busybox")
    shutil.copy(next(modules.rglob("virtio_blk.ko")), first)
    (first / "init").write_text(_INIT)
    (first / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(first)) for path in sorted(first.rglob("*")))
    with (out / "initrd").open("wb") as archive:
        subprocess.run(
            ("cpio", "--quiet", "--create", "--format=newc"),
            cwd=first,
            input=names.encode(),
            stdout=archive,
            check=True,
        )
    (out / "vmlinux").write_bytes(_uncompressed(next((unpacked / "boot").glob("vmlinuz-*"))))
    shutil.move(modules, root / "usr/lib/modules" / modules.name)
    _run("chroot", str(root), "depmod", modules.name)


def _uncompressed(bzimage: Path) -> bytes:
    """The kernel out of its self-extracting file, whose extraction is slow without hardware virtualisation.

    The layout is in the kernel's Documentation/arch/x86/boot.rst.
    """
    data = bzimage.read_bytes()
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (data[0x1F1] + 1) * 512 + offset
    # The last four bytes are the size of what is inside.
    packed = data[start : start + length - 4]
    tools = {b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zX": "xz", b"\x1f\x8b\x08\x00": "gzip"}
    kernel = subprocess.run((tools[packed[:4]], "-dcq"), input=packed, stdout=subprocess.PIPE, check=True).stdout
    if not kernel.startswith(b"\x7fELF"):
        raise ImageError(f"cannot get the kernel out of {bzimage.name}: what is inside is no ELF file")
    return kernel


def _configure(root: Path) -> None:
    # What was left out of the image is not to be left out of packages that a test installs.
    (root / "etc/dpkg/dpkg.cfg.d/99mmdebstrap").unlink()
    # A guest has no network: with no source to ask, apt-get update succeeds.
    for sources in (root / "etc/apt/sources.list.d").iterdir():
        sources.unlink()
    (root / "etc/apt/sources.list").write_text("")
    for name, text in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "etc/sudoers.d/admin").chmod(0o440)
    _run("chroot", str(root), "useradd", "-m", "-s", "/bin/bash", "-G", "sudo", "admin")
    for verb, units in (("disable", _SWITCHED_OFF), ("mask", _MASKED)):
        _run("systemctl", f"--root={root}", "--quiet", verb, *units)
    # Else systemd takes the first boot for an update, and runs what it runs then.
    for stamp in (root / "etc/.updated", root / "var/.updated"):
        stamp.touch()
    os.utime(root / "usr", (0, 0))


def _run(*words: str | Path, cwd: Path | None = None) -> str:
    try:
        return subprocess.run(words, cwd=cwd, stdout=subprocess.PIPE, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ImageError(f"cannot make the guest's disk: {error}") from error


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _build(Path(sys.argv[1]))
    else:
        sys.stdout.write(f"{ready().disk}\n")
