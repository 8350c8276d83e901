"""What services do besides answering: reconcilers and the executor, on the runtime's parts."""

import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from anyio.abc import TaskGroup

from mulligan.commands.shards import owner_of
from mulligan.config import Config
from mulligan.log.registry import Member, Members
from mulligan.model import MachineId, Seq
from mulligan.queries import claims as claim_queries
from mulligan.queries import machines as machine_queries
from mulligan.queries.freshness import wait_until
from mulligan.queries.watched import list_watched
from mulligan.reconcile.brake import BrakeWatch, Threshold
from mulligan.reconcile.claims import ClaimTimers
from mulligan.reconcile.machines import MachineReconciler
from mulligan.reconcile.migration import ClaimMigration
from mulligan.reconcile.rotation import RotationReads, Rotations
from mulligan.redfish.auth import Login
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.channel import Channel
from mulligan.redfish.executor import Executor
from mulligan.redfish.image_cache import Limits
from mulligan.redfish.media_server import MediaServer
from mulligan.redfish.report_recorder import ReportRecorder
from mulligan.redfish.reports import OnReport
from mulligan.redfish.watch import RESTING, WatchTimings
from mulligan.redfish.watching import Watcher
from mulligan.services.control.credentials import SECRET_KIND
from mulligan.services.control.imaging import USER_DATA_KIND
from mulligan.services.leading import CLAIM_MIGRATION, CLAIM_TIMERS
from mulligan.services.metrics.executor import ExecutorMetrics
from mulligan.services.metrics.fleet import ControlMetrics, ResourceMetrics
from mulligan.services.runtime import Parts, Runtime
from mulligan.tls import TlsFiles, hosts_of, write_private

log = logging.getLogger(__name__)

Drain = Callable[[float], Awaitable[None]]
"""Finish what runs within so many seconds, and begin nothing more."""

BMC_THREADS = 2000
"""One for each step that may run at once, so that BMCs that do not answer hold up nobody else."""

DUE_AT_ONCE = 200
CATCH_UP_S = 30.0


class Share:
    """This instance's share of the region's objects, among the live instances of its service."""

    def __init__(self, runtime: Runtime, parts: Parts) -> None:
        self._instance = runtime.instance
        self._prefix = f"/service/{runtime.service}/"
        self._parts = parts

    def instances(self) -> list[str]:
        """Return who takes work; this instance counts while it holds its lease and stays."""
        return [m.instance for m in self._members() if not m.draining]

    def _members(self) -> list[Member]:
        members: Members = self._parts.membership.members
        return [m for key, m in members.items() if self._prefix in key]

    def mine(self, key: str) -> bool:
        """Tell whether this instance looks after ``key``."""
        return owner_of(key, self.instances()) == self._instance

    def alive(self, instance: str) -> bool:
        """Tell whether another instance still holds its lease."""
        return any(m.instance == instance for m in self._members())

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` whenever instances come, drain or go."""
        known: list[tuple[str, bool]] = []
        while True:
            bell = self._parts.membership.bell
            now = sorted((m.instance, m.draining) for m in self._members())
            if now != known:
                known = now
                changed()
            await bell.wait()


class Working:
    """What an executor's metrics look at."""

    def __init__(self, worker: Executor, watcher: Watcher, share: Share) -> None:
        self._worker = worker
        self._watcher = watcher
        self._share = share

    def running(self) -> dict[str, int]:
        """Return the steps that run, by kind."""
        return dict(self._worker.at_work)

    def counts(self) -> dict[str, int]:
        """Return how many there are of what."""
        return {
            "work_waiting": self._worker.waiting,
            "work_sharing": len(self._share.instances()),
            "bmc_clients": len(self._worker.clients),
            "bmc_breakers_open": self._worker.clients.breakers_open,
            "bmc_event_streams": self._watcher.streams,
            "machines_watched": self._watcher.watched,
        }


def _busy(parts: Parts) -> Callable[[], Awaitable[Iterable[str]]]:
    async def find() -> Iterable[str]:
        """Wait for the read model to have all that is in the log now, then ask it."""
        head = Seq(parts.log.head.seq)
        await wait_until(parts.database, ("machines",), head, timeout=CATCH_UP_S)
        return await machine_queries.find_busy(parts.database)

    return find


async def control(
    runtime: Runtime, metrics: ControlMetrics, parts: Parts, tasks: TaskGroup
) -> Drain | None:
    """Run the machine reconciler, the brake, and the rotations of BMC logins."""
    share = Share(runtime, parts)
    reconciler = MachineReconciler(
        parts.commands,
        mine=share.mine,
        fence=parts.registration.fence,
        find_busy=_busy(parts),
    )
    limits = runtime.config.brake
    brake = BrakeWatch(
        parts.commands,
        parts.database,
        Threshold(percent=limits.percent, at_least=limits.at_least, window=limits.window_s),
        mine=share.mine,
        fence=parts.registration.fence,
    )
    reads = RotationReads(parts.commands, parts.database)

    async def destroy(credential: str, version: str) -> None:
        await parts.secrets.retire(SECRET_KIND, credential, version)

    rotations = Rotations(
        parts.commands,
        find_rotating=reads.rotating,
        find_progress=reads.progress,
        destroy=destroy,
        mine=share.mine,
        fence=parts.registration.fence,
    )

    def shares_changed() -> None:
        reconciler.shares_changed()
        rotations.shares_changed()

    tasks.start_soon(reconciler.run)
    tasks.start_soon(brake.run)
    tasks.start_soon(rotations.run)
    metrics.waiting = lambda: reconciler.waiting
    metrics.sharing = lambda: len(share.instances())
    tasks.start_soon(metrics.run, parts.database, lambda: share.mine("metrics"))
    tasks.start_soon(share.watch, shares_changed)
    return None


async def resource(
    runtime: Runtime, metrics: ResourceMetrics, parts: Parts, tasks: TaskGroup
) -> Drain | None:
    """Keep the time of claims, and move those off failed providers; one instance each does."""
    share = Share(runtime, parts)

    async def find_due(at: datetime) -> claim_queries.DueClaims:
        return await claim_queries.find_due(parts.database, at, limit=DUE_AT_ONCE)

    timers = ClaimTimers(
        parts.commands,
        mine=lambda: share.mine(CLAIM_TIMERS),
        fence=parts.registration.fence,
        find_due=find_due,
    )
    migration = ClaimMigration(
        parts.commands,
        parts.database,
        mine=lambda: share.mine(CLAIM_MIGRATION),
        fence=parts.registration.fence,
    )
    tasks.start_soon(timers.run)
    tasks.start_soon(migration.run)
    tasks.start_soon(metrics.run, parts.database, lambda: share.mine("metrics"))
    return None


async def executor(
    runtime: Runtime, metrics: ExecutorMetrics, parts: Parts, tasks: TaskGroup
) -> Drain | None:
    """Run the executor, its media server, and the watching of machines that rest."""
    share = Share(runtime, parts)
    recorder = ReportRecorder(
        parts.commands, instance=runtime.instance, fence=parts.registration.fence
    )
    media = _media_server(runtime, recorder.take)
    for host in unnamed_hosts(runtime.config):
        fix = f"mulligan certificate renew --host {host}"
        log.warning("the media certificate does not name it", extra={"host": host, "next": fix})

    async def read_login(credential: str, version: str) -> Login:
        secret = await parts.secrets.get(SECRET_KIND, credential, version)
        user, _, password = secret.reveal().decode().partition("\0")
        return Login(user, password)

    async def read_user_data(user_data: str, version: str) -> bytes:
        return (await parts.secrets.get(USER_DATA_KIND, user_data, version)).reveal()

    worker = Executor(
        parts.commands,
        instance=runtime.instance,
        mine=share.mine,
        alive=share.alive,
        fence=parts.registration.fence,
        find_busy=_busy(parts),
        read_login=read_login,
        read_user_data=read_user_data,
        media=media,
        limiter=anyio.CapacityLimiter(BMC_THREADS),
        ca_file=str(runtime.config.bmc.ca) if runtime.config.bmc.ca is not None else None,
        client=partial(BmcClient, channel=partial(Channel, on_exchange=metrics.exchange)),
        on_step=metrics.step,
    )

    async def find_watched(after: str) -> Sequence[MachineId]:
        if not after:
            head = Seq(parts.log.head.seq)
            await wait_until(parts.database, ("machines",), head, timeout=CATCH_UP_S)
        return await list_watched(parts.database, RESTING, after=after)

    watcher = Watcher(
        parts.commands,
        instance=runtime.instance,
        mine=share.mine,
        fence=parts.registration.fence,
        find_watched=find_watched,
        client_of=worker.client_of,
        timings=WatchTimings(interval=float(runtime.config.observe.poll_s)),
    )

    worker.keep_clients(watcher.holds)
    metrics.working = Working(worker, watcher, share)

    def shares_changed() -> None:
        worker.shares_changed()
        watcher.shares_changed()

    async def run() -> None:
        async with media:
            await worker.run()

    tasks.start_soon(run)
    tasks.start_soon(media.keep_current)
    tasks.start_soon(watcher.run)
    tasks.start_soon(share.watch, shares_changed)
    return worker.drain


def tls_files(config: Config) -> TlsFiles:
    """Return this host's certificate and key, and who vouches for the region's."""
    tls = config.tls
    assert tls.ca is not None
    assert tls.cert is not None
    assert tls.key is not None
    return TlsFiles(ca=tls.ca, cert=tls.cert, key=tls.key)


def unnamed_hosts(config: Config) -> Sequence[str]:
    """Return the hosts of the media server's URLs that its certificate does not name."""
    media = config.media
    if not media.tls:
        return ()
    named = hosts_of(tls_files(config).cert.read_bytes())
    urls = (media.base_url, media.machines_url)
    hosts = {urlsplit(url).hostname or media.listen.host for url in urls}
    return sorted(host for host in hosts if host not in named)


def _media_server(runtime: Runtime, on_report: OnReport) -> MediaServer:
    config = runtime.config.media
    return MediaServer(
        config.cache_dir,
        secret=_media_secret(Path(runtime.config.state_dir) / "media.key"),
        host=config.listen.host,
        port=config.listen.port,
        public_url=config.base_url,
        machines_url=config.machines_url,
        images=config.image_dir,
        limits=Limits(cache=config.cache_bytes),
        on_report=on_report,
        tls=tls_files(runtime.config) if config.tls else None,
        verify=config.verify,
    )


def _media_secret(path: Path) -> bytes:
    """Return what makes this host's media URLs unguessable; made once, so that they stay."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        write_private(draft, os.urandom(32))
        with suppress(FileExistsError):
            # Of executors that start at once, all go by the secret of the first.
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_bytes()
