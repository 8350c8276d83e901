"""The machine's BMC: sushy-emulator with its libvirt driver, behind a login."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import msgspec
import requests

from mulligan.embedded.ports import free_ports
from tests.embedded.processes import eventually
from tests.qemu.hypervisor import Hypervisor
from tests.qemu.parts import EMULATOR_PYTHON

USER, PASSWORD = "admin", "a-password-of-a-bmc"

_PATIENCE_S = 30.0
_MORE = """
# BMCs keep connections alive; the emulator's server does so only when told.
from werkzeug.serving import WSGIRequestHandler
WSGIRequestHandler.protocol_version = "HTTP/1.1"
"""


class Emulator(msgspec.Struct, frozen=True, kw_only=True):
    """A running emulator, and plain calls of its Redfish service."""

    address: str

    def get(self, path: str) -> dict[str, Any]:
        """Read a resource; raise requests.HTTPError unless it is there."""
        return dict(self._call("GET", path).json())

    def post(self, path: str, body: dict[str, Any]) -> None:
        """Run an action."""
        self._call("POST", path, body)

    def patch(self, path: str, body: dict[str, Any]) -> None:
        """Change a resource."""
        self._call("PATCH", path, body)

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            reply = session.request(
                method,
                f"{self.address}{path}",
                json=body,
                auth=(USER, PASSWORD),
                verify=False,
                timeout=30,
            )
        assert reply.ok, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply


@contextmanager
def emulator(
    folder: Path, hosted: Hypervisor, *, certificate: Path | None = None, key: Path | None = None
) -> Iterator[Emulator]:
    """Serve the machine of a hypervisor; ``certificate`` and ``key`` switch to TLS."""
    (port,) = free_ports(1)
    config = _lay_out(folder, hosted, port, certificate, key)
    served = Emulator(address=f"{'https' if certificate else 'http'}://127.0.0.1:{port}")
    log = folder / "emulator.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [EMULATOR_PYTHON, "-m", "sushy_tools.emulator.main", "--config", str(config)],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder / "tmp")},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )

    def answers() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")[-1000:]
        try:
            return bool(served.get("/redfish/v1/Systems")["Members"])
        except requests.ConnectionError:
            return False

    try:
        eventually(answers, _PATIENCE_S)
        yield served
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _lay_out(
    folder: Path, hosted: Hypervisor, port: int, certificate: Path | None, key: Path | None
) -> Path:
    (folder / "tmp").mkdir(parents=True)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(rounds=4)).decode()
    (folder / "accounts").write_text(f"{USER}:{hashed}\n")
    settings: dict[str, object] = {
        "LISTEN_IP": "127.0.0.1",
        "LISTEN_PORT": port,
        "LIBVIRT_URI": hosted.uri,
        "STATE_DIR": str(folder / "state"),
        "AUTH_FILE": str(folder / "accounts"),
    }
    size = hosted.machine.disk.stat().st_size
    disk = {"Id": "0", "Name": "Disk", "Protocol": "SATA", "CapacityBytes": size}
    unit = {"Id": "1", "Name": "Local storage", "StorageControllers": [], "Drives": ["0"]}
    settings |= {
        "STORAGE": {hosted.machine.uuid: [unit]},
        "DRIVES": {(hosted.machine.uuid, "1"): [disk]},
    }
    if certificate and key:
        settings |= {"SSL_CERT": str(certificate), "SSL_KEY": str(key)}
    lines = [f"SUSHY_EMULATOR_{name} = {value!r}\n" for name, value in settings.items()]
    (folder / "emulator.py").write_text("".join(lines) + _MORE)
    return folder / "emulator.py"
