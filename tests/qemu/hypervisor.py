"""A private libvirtd with one virtual machine, in a folder of its own: nothing of the host changes.

It serves a user's session on a unix socket. As root it runs as ``nobody``, since libvirt gives
root its system session, whose folders are the host's. It reads its definitions when it starts.
"""

import os
import pwd
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

from tests.embedded.processes import alive, eventually
from tests.qemu.parts import LIBVIRTD, QEMU

_PATIENCE_S = 30.0
HOST_SEEN_BY_GUEST = "10.0.2.2"
"""How the machine reaches this machine's loopback, in QEMU's user network."""
DISK_SERIAL = "1234570"
"""What sushy-emulator says of every drive."""
_DISK_BYTES = 64 * 2**20

# The emulator adds a drive when media is inserted in it. The disk is empty, and what the machine
# boots from when nothing else is asked for.
_DEFINITIONS = {
    "qemu.conf": 'security_driver = "none"\nstdio_handler = "file"\nremember_owner = 0\n',
    "storage/default.xml": """
<pool type='dir'>
  <name>default</name>
  <target><path>{folder}/media</path></target>
</pool>
""",
    "qemu/{name}.xml": """
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='GiB'>1</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
  </os>
  <features><acpi/></features>
  <devices>
    <emulator>{qemu}</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{disk}'/>
      <target dev='hda' bus='ide'/>
      <serial>{serial}</serial>
      <boot order='1'/>
    </disk>
    <interface type='user'>
      <mac address='{mac}'/>
      <model type='e1000'/>
      <rom enabled='no'/>
    </interface>
    <serial type='file'><source path='{console}'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
""",
}


class VirtualMachine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine; ``console`` holds what its serial port printed, ``disk`` what its disk does."""

    name: str
    uuid: str
    mac: str
    console: Path
    disk: Path

    def printed(self) -> str:
        """Return what the serial console has shown since it was last powered on."""
        try:
            return self.console.read_text(errors="replace").replace("\r\n", "\n")
        except FileNotFoundError:
            return ""

    def write_disk(self, content: bytes) -> None:
        """Write to the start of the disk, which a machine that uses it does not notice."""
        with self.disk.open("r+b") as disk:
            disk.write(content)


class Hypervisor(msgspec.Struct, frozen=True, kw_only=True):
    """A running libvirtd: the URI that reaches it, and the machine it has."""

    uri: str
    machine: VirtualMachine


@contextmanager
def hypervisor(folder: Path, name: str = "vm-1") -> Iterator[Hypervisor]:
    """Run libvirtd in ``folder``, which must be short and not exist; no process is left of it."""
    machine = VirtualMachine(
        name=name,
        uuid=str(uuid.uuid4()),
        mac="52:54:00:4d:4c:01",
        console=folder / "console",
        disk=folder / "media" / "disk",
    )
    owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    _lay_out(folder, machine, owner)
    socket = folder / "run" / "libvirt" / "libvirt-sock"
    log = folder / "libvirtd.log"
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            [LIBVIRTD],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "XDG_CACHE_HOME": str(folder / "cache"),
                "XDG_CONFIG_HOME": str(folder / "config"),
                "XDG_DATA_HOME": str(folder / "data"),
                "XDG_RUNTIME_DIR": str(folder / "run"),
            },
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            user=owner and owner.pw_uid,
            group=owner and owner.pw_gid,
            extra_groups=owner and [],
        )
    try:
        eventually(lambda: socket.exists() or daemon.poll() is not None, _PATIENCE_S)
        assert daemon.poll() is None, log.read_text(errors="replace")[-1000:]
        yield Hypervisor(uri=f"qemu+unix:///session?socket={socket}", machine=machine)
    finally:
        _end(daemon, folder)


def _lay_out(folder: Path, machine: VirtualMachine, owner: pwd.struct_passwd | None) -> None:
    """Write what libvirtd reads when it starts, all of it its own."""
    values = {
        **msgspec.structs.asdict(machine),
        "folder": folder,
        "qemu": QEMU,
        "serial": DISK_SERIAL,
    }
    folder.mkdir()
    for below in ("cache", "config", "data", "media", "run"):
        (folder / below).mkdir(mode=0o700)
    for name, text in _DEFINITIONS.items():
        path = folder / "config" / "libvirt" / name.format(**values)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(**values))
    with machine.disk.open("wb") as disk:
        disk.truncate(_DISK_BYTES)
    pool = folder / "config" / "libvirt" / "storage"
    (pool / "autostart").mkdir()
    (pool / "autostart" / "default.xml").symlink_to(pool / "default.xml")
    if owner is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def _end(daemon: subprocess.Popen[bytes], folder: Path) -> None:
    """End the daemon, then the machine, which lives on without it."""
    daemon.terminate()
    try:
        daemon.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
    for file in (folder / "run" / "libvirt" / "qemu" / "run").glob("*.pid"):
        pid = int(file.read_text())
        if alive(pid) and str(folder) in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, signal.SIGKILL)
            eventually(partial(_ended, pid), _PATIENCE_S)


def _ended(pid: int) -> bool:
    return not alive(pid)
