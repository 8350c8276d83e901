"""A whole region for a benchmark, as `mulligan up` runs it, with a past that was written first."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec

from mulligan.client import Client
from mulligan.client.context import Context
from mulligan.config import Config, load
from mulligan.embedded.ready import all_serving
from mulligan.embedded.region import (
    RegionPaths,
    embedded_etcd,
    embedded_postgres,
    init_region,
)
from mulligan.embedded.up import context_of
from mulligan.events.codec import GENESIS_HASH, encode_commit, encode_entry
from mulligan.events.envelope import Commit
from mulligan.log.etcd import Etcd
from mulligan.log.etcdlog import EtcdLog, EtcdStore
from mulligan.log.store import HeadRecord, Slot, Won
from mulligan.log.view import link
from mulligan.model import RegionName, Seq, utc_now
from mulligan.projections.rebuild import Rebuilder
from mulligan.proto import v1
from mulligan.services.runtime import etcd_settings

_REGION = "bench"
PARTS = ("resource", "projector", "control", "etcd", "postgres")
"""What works for claims."""
_TICKS_S = os.sysconf("SC_CLK_TCK")
_AS_IT_IS: Mapping[str, str] = {}
_ENTRY_BYTES = 384 * 1024
_READY_S = 120.0
_STOP_S = 60.0


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A region that serves."""

    paths: RegionPaths
    config: Config
    head: Seq
    """Where the past that was written ends."""

    @property
    def context(self) -> Context:
        """How the administrator reaches it."""
        return context_of(self.config, self.paths)

    @property
    def secret(self) -> str:
        """The administrator's secret."""
        return self.paths.admin_secret.read_text().strip()

    def pid(self, name: str) -> int:
        """Return the process id of a part."""
        return int((self.paths.state_dir / "run" / f"{name}.pid").read_text())

    def rss_mb(self, name: str) -> float:
        """Return the resident memory of a part."""
        for line in Path(f"/proc/{self.pid(name)}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return round(int(line.split()[1]) / 1024, 1)
        return 0.0

    def cpu_s(self) -> dict[str, float]:
        """Return the processor time, in seconds, that each part with its processes has used."""
        return {name: sum(map(_cpu_s, _family(self.pid(name)))) for name in PARTS}

    async def project(self, name: str) -> str:
        """Make a project to claim in, and return its name."""
        async with Client(self.context, secret=self.secret) as client:
            await client.iam.create_project(v1.CreateProjectRequest(name=name))
        return name


@asynccontextmanager
async def running_region(
    commits: Iterable[Commit], settings: Mapping[str, str] = _AS_IT_IS
) -> AsyncIterator[Region]:
    """Run a region in a temporary folder, with ``commits`` in its log and its read models.

    ``settings`` are variables of the environment that go before its configuration.
    """
    folder = _folder()
    try:
        paths = init_region(folder / "r", _REGION, usual_ports=False)
        config = load(paths.config, {})
        head = await _write_past(config, commits)
        async with _up(paths, config, settings):
            yield Region(paths=paths, config=config, head=head)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _up(
    paths: RegionPaths, config: Config, settings: Mapping[str, str]
) -> AsyncIterator[None]:
    environment = {
        **settings,
        "PATH": os.environ["PATH"],
        "HOME": str(paths.state_dir.parent),
        "MULLIGAN_CONFIG": str(paths.state_dir.parent / "client.toml"),
    }
    command = [sys.executable, "-m", "mulligan.cli.main", "up", "--state", str(paths.state_dir)]
    out = paths.state_dir.parent / "up.out"
    up = _spawn(command, environment, out)
    try:
        await all_serving(config, _READY_S)
        yield
    except TimeoutError as error:
        raise SystemExit(f"{error}\n{out.read_text()}") from error
    finally:
        up.send_signal(signal.SIGTERM)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(up.wait, _STOP_S)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from _family(int(child))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_S


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mlg-"))
    folder.chmod(0o711)  # as root, Postgres runs as another user, who must pass through
    return folder


def _spawn(command: list[str], environment: dict[str, str], out: Path) -> subprocess.Popen[bytes]:
    with out.open("wb") as said:
        return subprocess.Popen(command, stdout=said, stderr=said, env=environment)


async def _write_past(config: Config, commits: Iterable[Commit]) -> Seq:
    """Write the log, then build every read model from it."""
    etcd_server, postgres = embedded_etcd(config), embedded_postgres(config)
    etcd_server.start()
    try:
        postgres.start()
        async with Etcd(etcd_settings(config)) as etcd:
            region = RegionName(config.region)
            head = await _append(EtcdStore(etcd, region), commits)
            async with EtcdLog.open(etcd, region) as log:
                async for step in Rebuilder(log, str(config.postgres.dsn)).rebuild():
                    if step.phase in {"failed", "different"}:
                        raise SystemExit(f"read model {step.name} {step.phase}: {step.detail}")
            return head
    finally:
        postgres.stop()
        etcd_server.stop()


async def _append(store: EtcdStore, commits: Iterable[Commit]) -> Seq:
    """Fill the log by its own compare-and-swap, one big entry after the other."""
    log_id = await store.identify()
    token, prev, seq = 0, GENESIS_HASH, Seq(0)
    at = utc_now().isoformat().replace("+00:00", "Z")
    for batch in _batches(commits):
        seq = Seq(seq + 1)
        stored = link(seq, prev, encode_entry(seq, prev, at, batch))
        head = HeadRecord(seq=seq, hash=stored.hash, log_id=log_id, writer="w", batch_id="b")
        won = await store.put(Slot(stored=stored, head=head, token=token, fences=()), 30.0)
        assert isinstance(won, Won)
        token, prev = won.token, stored.hash
    return seq


def _batches(commits: Iterable[Commit]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for commit in commits:
        encoded = encode_commit(commit)
        if batch and size + len(encoded) > _ENTRY_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(encoded)
        size += len(encoded)
    if batch:
        yield batch
