"""A fleet to try things on: one ``sushy-emulator`` process with many machines that do not exist.

Its fake driver takes 1 to 11 seconds for each change of power, really fetches inserted media, and
keeps its state in the folder given, so that a restarted fleet is as it was.
"""

import base64
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import anyio
import anyio.to_thread
import msgspec

_NAMESPACE = uuid.UUID("6f0c6c0e-6d38-4a0e-9c1f-5f0d7a3b2e11")
_READY = 60.0
_ADDRESSES = 3
_DISKS = """
_ids = [system["uuid"] for system in SUSHY_EMULATOR_FAKE_SYSTEMS]
_unit = {"Id": "1", "Name": "Local storage", "StorageControllers": [], "Drives": ["0", "1"]}
_drives = [
    {"Id": n, "Name": "Drive " + n, "CapacityBytes": 960197124096, "Protocol": "NVMe"}
    for n in _unit["Drives"]
]
SUSHY_EMULATOR_STORAGE = dict.fromkeys(_ids, [_unit])
SUSHY_EMULATOR_DRIVES = dict.fromkeys([(i, "1") for i in _ids], _drives)

# BMCs keep connections alive; the emulator's server does so only when told.
from werkzeug.serving import WSGIRequestHandler
WSGIRequestHandler.protocol_version = "HTTP/1.1"
"""


_POWER = """
# The one thing the emulator draws by chance is when power follows, of 1 to 11 seconds.
import random
_draw = random.randint
random.randint = lambda low, high: _draw(low, min(high, {slowest}))
"""


class EmulatedSystem(msgspec.Struct, frozen=True, kw_only=True):
    """One machine of the fleet; ``uuid`` is its Redfish system id."""

    uuid: str
    name: str
    macs: tuple[str, ...]


class FleetFailed(Exception):
    """The emulator did not start; the message ends with what it printed last."""


def emulated_systems(count: int) -> tuple[EmulatedSystem, ...]:
    """Return ``count`` machines, the same ones each time."""
    return tuple(
        EmulatedSystem(
            uuid=str(uuid.uuid5(_NAMESPACE, f"machine-{number}")),
            name=f"machine-{number:05d}",
            macs=tuple(_mac(number, port) for port in range(2)),
        )
        for number in range(count)
    )


def _mac(number: int, port: int) -> str:
    # 02 marks an address that is locally administered.
    tail = number * 2 + port
    return "02:4d:" + ":".join(f"{tail >> shift & 0xFF:02x}" for shift in (24, 16, 8, 0))


class EmulatedFleet:
    """Runs the emulator while it is open (async context manager); all systems share one address.

    A machine's power follows a reset after 1 to ``slowest`` seconds, at random, 11 being the
    emulator's own. ``user`` and ``password`` None leave out authentication. ``certificate`` and
    ``key`` are PEM files and switch to TLS. Needs the ``demo`` extra.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        *,
        user: str | None = "admin",
        password: str | None = "password",
        certificate: Path | None = None,
        key: Path | None = None,
        slowest: int = 11,
    ) -> None:
        self.systems = emulated_systems(count)
        self.user = user
        self.password = password
        self.address = ""
        self._slowest = slowest
        self._folder = folder
        self._certificate = certificate
        self._key = key
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The emulator's process id while it runs."""
        return None if self._process is None else self._process.pid

    @property
    def log(self) -> Path:
        """The file that the emulator prints to."""
        return self._folder / "emulator.log"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self.stop()

    async def start(self) -> None:
        """Start the emulator and wait until it answers; raise FleetFailed when it does not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for _ in range(_ADDRESSES):
            port = _free_port()
            config = await anyio.to_thread.run_sync(self._write_config, port)
            self._process = self._spawn(config)
            scheme = "https" if self._certificate else "http"
            self.address = f"{scheme}://127.0.0.1:{port}"
            try:
                if await self._answers():
                    return
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await self.stop()
                raise
            await self.stop()
        raise FleetFailed(f"sushy-emulator did not start: {self._last_words()}")

    async def stop(self) -> None:
        """End the emulator: ask, then kill. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        await anyio.to_thread.run_sync(_end, process)

    def _write_config(self, port: int) -> Path:
        config: dict[str, object] = {
            "SUSHY_EMULATOR_LISTEN_IP": "127.0.0.1",
            "SUSHY_EMULATOR_LISTEN_PORT": port,
            "SUSHY_EMULATOR_FAKE_DRIVER": True,
            "SUSHY_EMULATOR_STATE_DIR": str(self._folder / "state"),
            "SUSHY_EMULATOR_FAKE_SYSTEMS": [
                {
                    "uuid": system.uuid,
                    "name": system.name,
                    "power_state": "Off",
                    "external_notifier": False,
                    "nics": [{"mac": mac, "ip": ""} for mac in system.macs],
                }
                for system in self.systems
            ],
        }
        if self.user is not None and self.password is not None:
            config["SUSHY_EMULATOR_AUTH_FILE"] = str(self._write_accounts())
        if self._certificate and self._key:
            config["SUSHY_EMULATOR_SSL_CERT"] = str(self._certificate)
            config["SUSHY_EMULATOR_SSL_KEY"] = str(self._key)
        path = self._folder / "emulator.py"
        lines = "".join(f"{name} = {value!r}\n" for name, value in config.items())
        path.write_text(lines + _DISKS + _POWER.format(slowest=self._slowest))
        return path

    def _write_accounts(self) -> Path:
        import bcrypt

        assert self.user is not None
        assert self.password is not None
        # The emulator checks the hash at every request: the cheapest one will do here.
        hashed = bcrypt.hashpw(self.password.encode(), bcrypt.gensalt(rounds=4))
        path = self._folder / "accounts"
        path.write_text(f"{self.user}:{hashed.decode()}\n")
        return path

    def _spawn(self, config: Path) -> subprocess.Popen[bytes]:
        scratch = self._folder / "scratch"
        scratch.mkdir(exist_ok=True)
        log: IO[bytes]
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "sushy_tools.emulator.main", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env={**os.environ, "TMPDIR": str(scratch)},
            )

    async def _answers(self) -> bool:
        """Wait until a system is served; the emulator makes them all at the first request."""
        deadline = time.monotonic() + _READY + len(self.systems) / 50
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            if await anyio.to_thread.run_sync(self._first_request, deadline - time.monotonic()):
                return True
            await anyio.sleep(0.05)
        return False

    def _first_request(self, timeout: float) -> bool:
        request = urllib.request.Request(f"{self.address}/redfish/v1/Systems")
        login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
        trusting = ssl.create_default_context()
        trusting.check_hostname = False
        trusting.verify_mode = ssl.CERT_NONE
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusting)
        )
        try:
            with opener.open(request, timeout=timeout) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _last_words(self) -> str:
        try:
            return self.log.read_text(errors="replace").strip()[-500:] or "it printed nothing"
        except OSError:
            return "it printed nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
