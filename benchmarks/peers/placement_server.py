"""Installs OpenStack Placement into an environment of its own, and serves it."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio

_PINNED = Path(__file__).with_name("placement.txt")
_WORKERS = 2
"""Of one thread each: 4 and 8 threads were no faster."""
_INSTALL_S = 600.0
_SYNC_S = 60.0
_READY_S = 30.0


def installed() -> Path:
    """Return the environment with the pinned versions, made on first use and kept in the cache."""
    digest = hashlib.sha256(_PINNED.read_bytes() + sys.version.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    environment = cache / "mulligan-bench" / f"placement-{digest}"
    if (environment / "complete").exists():
        return environment
    shutil.rmtree(environment, ignore_errors=True)
    environment.parent.mkdir(parents=True, exist_ok=True)
    print("installing OpenStack Placement", file=sys.stderr)
    _do([sys.executable, "-m", "venv", str(environment)], _INSTALL_S)
    python = str(environment / "bin" / "python")
    _do([python, "-m", "pip", "install", "-q", "-r", str(_PINNED)], _INSTALL_S)
    (environment / "complete").touch()
    return environment


@asynccontextmanager
async def serving(environment: Path, folder: Path, dsn: str) -> AsyncIterator[str]:
    """Serve it with two worker processes on a database that is empty yet; yield its address."""
    (folder / "placement.conf").write_text(_configuration(dsn))
    environ = {**os.environ, "OS_PLACEMENT_CONFIG_DIR": str(folder)}
    manage = [str(environment / "bin" / "placement-manage"), "--config-dir", str(folder)]
    _do([*manage, "db", "sync"], _SYNC_S, environ)
    port = _free_port()
    command = [
        str(environment / "bin" / "gunicorn"), f"--bind=127.0.0.1:{port}",
        f"--workers={_WORKERS}", "--timeout=600", "--log-level=warning",
        "placement.wsgi.api:application",
    ]  # fmt: skip
    log = folder / "placement.log"
    server = _spawn(command, environ, log)
    url = f"http://127.0.0.1:{port}"
    try:
        if not await _answers(url):
            raise SystemExit(f"Placement did not start:\n{log.read_text()[-2000:]}")
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        with anyio.CancelScope(shield=True):
            try:
                await anyio.to_thread.run_sync(server.wait, 40.0)
            except subprocess.TimeoutExpired:
                server.kill()


def _spawn(command: list[str], environ: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, env=environ, cwd=log.parent)


def _configuration(dsn: str) -> str:
    url = dsn.replace("postgresql://", "postgresql+psycopg2://", 1)
    return f"""\
[DEFAULT]
debug = false
use_stderr = true
[api]
auth_strategy = noauth2
[placement_database]
connection = {url.replace("%", "%%")}
"""


async def _answers(url: str) -> bool:
    until = time.monotonic() + _READY_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while time.monotonic() < until:
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return True
            except (aiohttp.ClientError, TimeoutError):
                pass
            await anyio.sleep(0.1)
    return False


def _do(command: list[str], patience: float, environ: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=patience, check=False, env=environ
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} failed:\n{done.stdout}{done.stderr}")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
