"""The worker: keeps every read model at the log's head, for as long as it runs.

One worker of a region works; others stand by on an advisory lock and take over when its connection
ends. A read model that meets an event it cannot fold halts with the event named; the others go on.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import anyio
import asyncpg
import msgspec

from mulligan.errors import Corrupt, Unavailable
from mulligan.events.codec import Codec
from mulligan.log.protocol import EventLog, TailTooShort
from mulligan.projections import checkpoint, standby
from mulligan.projections.ahead import Ahead
from mulligan.projections.checkpoint import Fenced
from mulligan.projections.models import READ_MODELS, named
from mulligan.projections.postgres import CHANNEL, LOST, Connection, connected
from mulligan.projections.schema import ReadModel
from mulligan.projections.session import Session
from mulligan.projections.standby import RETRY, SWAPPED, WORKER_LOCK, GaveWay
from mulligan.projections.status import Arrivals, Batch, ModelStatus, Seen, statuses

_log = logging.getLogger(__name__)

_GLANCE = 0.02


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: between tries while Postgres is away, of one wait in line, between looks around."""

    retry: float = 0.5
    standby: float = 5.0
    look: float = 2.0


class Worker:
    """Folds a region's log into the read models of a Postgres database.

    ``working`` tells whether this one holds the lock, ``problem`` why it cannot work at present,
    ``ahead`` what it has built while it stands by.
    """

    def __init__(
        self,
        log: EventLog,
        dsn: str,
        *,
        models: Sequence[ReadModel] = READ_MODELS,
        codec: Codec | None = None,
        pace: Pace | None = None,
        on_batch: Callable[[str, Batch], None] = lambda name, batch: None,
        instance: str = "",
    ) -> None:
        self.working = False
        self.problem = ""
        self._log = log
        self._dsn = dsn
        self._models = tuple(models)
        self._codec = codec or Codec()
        self._pace = pace or Pace()
        self._on_batch = on_batch
        self._instance = instance
        self._seen = {model.name: Seen() for model in self._models}
        self._arrivals = Arrivals()
        look = min(self._pace.look, self._pace.standby)
        self.ahead = Ahead(log, dsn, self._models, self._codec, self._seen, look)

    @property
    def ready(self) -> bool:
        """Whether the read models are live, or, while this one stands by, it could take over."""
        if not self.working:
            return self.ahead.ready
        return all(seen.status == "live" for seen in self._seen.values())

    async def run(self) -> None:
        """Work until cancelled; a lost Postgres or a lost lock is waited out."""
        stop = self._log.listen(self._arrivals.note)
        try:
            await self._work()
        finally:
            stop()

    async def _work(self) -> None:
        while True:
            try:
                await self._session()
            except* LOST as errors:
                self._pause("Postgres is away", errors)
            except* asyncpg.PostgresError as errors:
                self._pause("Postgres refused", errors)
            except* GaveWay as errors:
                self.ahead.outrun = True
                self._pause("another projector works", errors)
            except* Fenced as errors:
                self._pause("another worker moved a checkpoint", errors)
            except* Unavailable as errors:
                self._pause("a part that is needed is away", errors)
            except* Corrupt as errors:
                self._pause("the log contradicts what was folded", errors)
            except* TailTooShort as errors:
                self._pause("entries that are needed are in the archive", errors)
            self.working = False
            await anyio.sleep(self._pace.retry)

    def status(self) -> Mapping[str, ModelStatus]:
        """Return how each read model fares, by name."""
        head = self._log.head.seq
        return statuses(self._models, self._seen, head, self.problem, self._arrivals)

    def retry(self, name: str) -> None:
        """Try a halted read model again from where it stands; raise NotFound."""
        (model,) = named([name], self._models)
        self._seen[model.name].retry.set()

    async def settled(self, name: str, tried: int, patience: float) -> None:
        """Return once a read model was tried oftener than ``tried`` times, or after a while."""
        with anyio.move_on_after(patience):
            while self._seen[name].tried <= tried:
                await anyio.sleep(_GLANCE)

    def tried(self, name: str) -> int:
        """Return how often a read model has come to live or to a halt."""
        return self._seen[name].tried

    def _pause(self, why: str, errors: BaseExceptionGroup[BaseException]) -> None:
        self.problem = f"{why}: {_first(errors)}"
        _log.warning("projection worker pauses", extra={"problem": self.problem})

    async def _session(self) -> None:
        async with connected(self._dsn) as connection, anyio.create_task_group() as tasks:
            working, built_ahead = anyio.Event(), anyio.Event()
            if await self._has_turn(connection):
                built_ahead.set()
            else:
                tasks.start_soon(self.ahead.keep, working, built_ahead)
                await self._stand_by(connection)
                working.set()
            await checkpoint.prepare(connection)
            await connection.add_listener(CHANNEL, self._heard)
            await standby.sign(connection, self._instance)
            self.working, self.problem = True, ""
            _log.info("projection worker works")
            session = Session(
                self._log,
                self._dsn,
                self._models,
                self._codec,
                self._seen,
                self._pace.look,
                self._on_batch,
                built_ahead,
            )
            await session.run(connection)

    async def _stand_by(self, connection: Connection) -> None:
        """Wait for a turn; not in line while a newer release's serve, for who can fold them."""
        await self.ahead.looked.wait()
        await connection.execute(f"SET lock_timeout = '{int(self._pace.standby * 1000)}'")
        while True:
            if self.ahead.outrun:
                await anyio.sleep(self._pace.standby)
                if await self._has_turn(connection):
                    break
                continue
            with suppress(asyncpg.LockNotAvailableError):
                await connection.execute("SELECT pg_advisory_lock($1)", WORKER_LOCK)
                break
        await connection.execute("RESET lock_timeout")

    async def _has_turn(self, connection: Connection) -> bool:
        return bool(await connection.fetchval("SELECT pg_try_advisory_lock($1)", WORKER_LOCK))

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        name, _, rest = str(payload).partition(" ")
        if rest.endswith((SWAPPED, RETRY)) and name in self._seen:
            self._seen[name].retry.set()


def _first(errors: BaseException) -> BaseException:
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors
