"""The guest's image: a small bootable ISO, made of Debian's kernel and busybox.

The system it boots looks for the medium with the label ``cidata`` and shows its files on the serial
console. Then it does what they ask for, and nothing else: it phones home as cloud-init does, or it
wipes disks and reports that.
"""

import gzip
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pycdlib

DRIVERS = ("ata_piix", "sd_mod", "sr_mod", "floppy", "isofs", "e1000")
"""Kernel modules for what the virtual machine has; those that they depend on come along."""

COMMAND_LINE = "console=ttyS0 quiet panic=-1"

_INIT = Path(__file__).with_name("init.sh")
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_DIRECTORY, _EXECUTABLE = 0o040755, 0o100755


def guest_iso(kernel: Path, busybox: Path, isolinux: Path, ldlinux: Path) -> bytes:
    """Return a BIOS-bootable ISO image; ``kernel`` is the unpacked Debian package's folder."""
    (image,) = (kernel / "boot").glob("vmlinuz-*")
    (modules,) = (kernel / "lib" / "modules").iterdir()
    menu = (
        f"DEFAULT guest\nLABEL guest\n KERNEL /VMLINUZ\n INITRD /INITRD\n APPEND {COMMAND_LINE}\n"
    )
    iso = pycdlib.PyCdlib()
    iso.new(vol_ident="GUEST")
    for path, content in (
        ("/ISOLINUX.BIN;1", isolinux.read_bytes()),
        ("/ISOLINUX.CFG;1", menu.encode()),
        ("/LDLINUX.C32;1", ldlinux.read_bytes()),
        ("/VMLINUZ.;1", image.read_bytes()),
        ("/INITRD.;1", gzip.compress(_initrd(modules, busybox), compresslevel=1, mtime=0)),
    ):
        iso.add_fp(io.BytesIO(content), len(content), path)
    iso.add_eltorito("/ISOLINUX.BIN;1", "/BOOT.CAT;1", boot_load_size=4, boot_info_table=True)
    written = io.BytesIO()
    iso.write_fp(written)
    iso.close()
    return written.getvalue()


def _initrd(modules: Path, busybox: Path) -> bytes:
    needed = list(_in_order(modules, DRIVERS))
    files: list[tuple[str, int, bytes]] = [
        (name, _DIRECTORY, b"") for name in ("bin", "dev", "modules", "proc", "seed", "sys")
    ]
    files += [
        ("init", _EXECUTABLE, _INIT.read_bytes()),
        ("bin/busybox", _EXECUTABLE, busybox.read_bytes()),
        # The numbers keep the order in which they must be loaded.
        *(
            (f"modules/{number:02d}-{path.name}", _EXECUTABLE, path.read_bytes())
            for number, path in enumerate(needed)
        ),
    ]
    return _cpio(files)


def _in_order(modules: Path, names: Iterable[str]) -> Iterator[Path]:
    """Yield the files of the named modules, each after those that it depends on."""
    at = {path.stem.replace("-", "_"): path for path in modules.rglob("*.ko")}
    seen: set[str] = set()

    def visit(name: str) -> Iterator[Path]:
        if name in seen:
            return
        seen.add(name)
        found = _DEPENDS.search(at[name].read_bytes())
        for other in (found[1].decode() if found else "").split(","):
            if other:
                yield from visit(other.replace("-", "_"))
        yield at[name]

    for name in names:
        yield from visit(name)


def _cpio(files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Return an archive in cpio's "newc" format, which the kernel unpacks at boot."""
    out = io.BytesIO()
    for number, (name, mode, content) in enumerate([*files, ("TRAILER!!!", 0, b"")], start=1):
        numbers = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        out.write(b"070701" + b"".join(b"%08X" % value for value in numbers))
        out.write(name.encode() + b"\0")
        out.write(bytes(-out.tell() % 4))
        out.write(content)
        out.write(bytes(-out.tell() % 4))
    return out.getvalue()
