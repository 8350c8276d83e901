"""Every process, when it starts, asks who may have seen more of the log than etcd holds.

Within a moment, so that the services come up without Postgres and the archive, too; who did not
answer then is asked again until it does. A log that was put back to an older state is halted:
nothing is appended to it, and nothing that was derived from it is folded on.
"""

import logging
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from mulligan.errors import Corrupt, MulliganError
from mulligan.log.depot import open_depot
from mulligan.log.etcd import Etcd
from mulligan.log.regionlog import RegionLog
from mulligan.log.witness import PutBack, Witness, archive_witness, hear
from mulligan.queries.database import Database
from mulligan.queries.foremost import foremost

log = logging.getLogger(__name__)

AT_START_S = 1.0
"""So long a start waits for witnesses."""
_RETRY_S = 2.0

Ask = Callable[[], Awaitable[Witness | None]]


class Witnesses:
    """Those who know how far a log went: Postgres and the archive."""

    def __init__(self, etcd: Etcd, event_log: RegionLog, database: Database, archive: str) -> None:
        self._etcd = etcd
        self._log = event_log
        self._database = database
        self._archive_location = archive

    async def heard(self, tasks: TaskGroup) -> None:
        """Return when all were heard, or a moment has passed; the rest is heard in ``tasks``."""
        done = [anyio.Event(), anyio.Event()]
        for ask, event in zip((self._postgres, self._archive), done, strict=True):
            tasks.start_soon(self._hear, ask, event)
        with anyio.move_on_after(AT_START_S):
            for event in done:
                await event.wait()

    async def _hear(self, ask: Ask, done: anyio.Event) -> None:
        said = ""
        while self._log.failure is None:
            try:
                witness = await ask()
                if witness is not None:
                    await hear(self._etcd, self._log, witness)
                break
            except PutBack as error:
                log.error("the log was put back", extra={"problem": error.message})
                self._log.halt(error)
            except Corrupt as error:  # of the archive: its own checks say so
                log.warning("a witness of the log is damaged", extra={"reason": error.message})
                break
            except MulliganError as error:
                if said != error.message:
                    said = error.message
                    log.info("a witness of the log is not heard yet", extra={"reason": said})
                await anyio.sleep(_RETRY_S)
        done.set()

    async def _postgres(self) -> Witness | None:
        log_id = self._log.head.log_id
        found = await foremost(self._database, log_id)
        if found is None:
            return None
        who = f"the read model {found.name}"
        return Witness(who=who, log_id=log_id, seq=found.seq, hash=found.hash)

    async def _archive(self) -> Witness | None:
        return await archive_witness(open_depot(self._archive_location))
