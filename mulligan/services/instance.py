"""What an instance says of itself: its clock, its certificate, whether what it needs answers."""

import hashlib
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import anyio
import msgspec

from mulligan import __version__, tracing
from mulligan.config import Config
from mulligan.errors import MulliganError
from mulligan.log.etcd import StoreStatus
from mulligan.log.etcd_members import EtcdMember
from mulligan.model import utc_now
from mulligan.proto import v1
from mulligan.services.configure import ROOT, level_of
from mulligan.services.leading import DUTIES, READ_MODELS
from mulligan.services.runtime import Parts, Runtime
from mulligan.services.work import Share
from mulligan.tls import expires

_PATIENCE_S = 0.8
_SHARED = ("region", "brake", "observe", "limits")
"""The sections of the configuration that every instance of a region should have alike."""


class _Asked:
    """How a part answered just now."""

    def __init__(self) -> None:
        self.ms = 0.0
        self.problem = ""

    async def ask(self, question: Callable[[], Awaitable[object]]) -> None:
        """Ask, and note how long it took or why there was no answer."""
        began = time.perf_counter()
        try:
            with anyio.fail_after(_PATIENCE_S):
                await question()
        except TimeoutError:
            self.problem = f"no answer within {_PATIENCE_S:g} s"
        except MulliganError as error:
            self.problem = error.message
        self.ms = (time.perf_counter() - began) * 1000


async def instance(runtime: Runtime) -> v1.Instance:
    """Return what this process says of itself, within a second whatever is away."""
    parts, config = runtime.present, runtime.config
    etcd, postgres = _Asked(), _Asked()
    found = _Store(parts)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(etcd.ask, found.look)
        tasks.start_soon(postgres.ask, partial(parts.database.fetchrow, "SELECT 1"))
    certificate = ends_of(config.tls.cert) if config.tls.enabled else None
    authority = ends_of(config.tls.ca) if config.tls.enabled else None
    failure = parts.log.failure
    status = found.status
    leads, may_lead = leads_of(runtime)
    return v1.Instance(
        service=runtime.service,
        instance=runtime.instance,
        region=runtime.region,
        version=__version__,
        now=utc_now(),
        started_at=runtime.started_at,
        config_digest=digest_of(config),
        certificate_ends=certificate,
        ca_ends=authority,
        master_key=parts.secrets.newest_key,
        applied=parts.log.head.seq,
        log_failure=str(failure) if failure is not None else "",
        etcd_ms=etcd.ms,
        etcd_problem=etcd.problem,
        etcd_leader=f"{status.leader:x}" if status is not None and status.leader else "",
        etcd_alarms=list(found.alarms),
        postgres_ms=postgres.ms,
        postgres_problem=postgres.problem,
        log_level=level_of(ROOT),
        traces=tracing.is_on(),
        leads=leads,
        stands_by=may_lead and not leads,
        etcd_members=[_member(one) for one in runtime.etcd_members()],
    )


def _member(member: EtcdMember) -> v1.EtcdMember:
    return v1.EtcdMember(
        id=f"{member.id:x}",
        name=member.name,
        addresses=list(member.addresses),
        learner=member.learner,
        leads=member.leads,
        problem=member.problem,
        version=member.version,
    )


def leads_of(runtime: Runtime) -> tuple[list[str], bool]:
    """Return what this instance does for all of its service, and whether there is such a thing."""
    if runtime.holds_work is not None:
        return [READ_MODELS] if runtime.holds_work() else [], True
    duties = DUTIES.get(runtime.service, ())
    share = Share(runtime, runtime.present)
    return [duty for duty in duties if share.mine(duty)], bool(duties)


class _Store:
    """What etcd says of itself."""

    def __init__(self, parts: Parts) -> None:
        self._etcd = parts.etcd
        self.status: StoreStatus | None = None
        self.alarms: tuple[str, ...] = ()

    async def look(self) -> None:
        """Ask it."""
        self.status = await self._etcd.status()
        self.alarms = await self._etcd.alarms()


def digest_of(config: Config) -> str:
    """Return what differs between configurations that differ where they should not."""
    shared = {name: msgspec.to_builtins(getattr(config, name)) for name in _SHARED}
    shared["etcd"] = [sorted(map(str, config.etcd.endpoints)), config.etcd.quota_bytes]
    archive = msgspec.structs.asdict(config.archive)
    shared["archive"] = {name: archive[name] for name in sorted(archive) if name != "location"}
    return hashlib.sha256(msgspec.json.encode(shared, order="sorted")).hexdigest()[:12]


def ends_of(path: Path | None) -> datetime | None:
    """Return when a certificate ends, None for one that cannot be read."""
    try:
        return expires(path.read_bytes()) if path is not None else None
    except (OSError, ValueError):
        return None
