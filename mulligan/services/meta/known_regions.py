"""The regions of a log, held in memory: who asks the catalog waits for no database."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import anyio

from mulligan.commands.states import Known
from mulligan.errors import MulliganError
from mulligan.events.codec import Codec, UnreadableEvent
from mulligan.events.envelope import EventRecord
from mulligan.handlers.region import Region, evolve
from mulligan.log.protocol import EventLog, Stored
from mulligan.model import RegionName, Seq, stream_key, stream_kind
from mulligan.queries.paging import Object

log = logging.getLogger(__name__)

Load = Callable[[], Awaitable[tuple[Seq, Sequence[Object[Region]]]]]
"""Returns a position, and all regions ever known as they were there or later."""

_RETRY_S = 0.5


class KnownRegions:
    """The regions of one log, in memory, as the head of the log has them.

    What was there before this process is read once, from Postgres; until that answers there is the
    region itself and what came since. After that nothing but the log is needed.
    """

    def __init__(self, region: RegionName) -> None:
        self._region = region
        self._codec = Codec()
        self._known: dict[RegionName, Known] = {}
        self.complete = False

    def all(self) -> Sequence[Known]:
        """Return the region itself and those that it knows, by name."""
        found = [one for one in self._known.values() if not one.state.deleted]
        if self._region not in self._known:
            found.append(Known(0, Region(name=self._region)))
        return sorted(found, key=lambda one: str(one.state.name))

    async def follow(self, event_log: EventLog, load: Load) -> None:
        """Follow the log until cancelled; never fail. ``load`` gives what a read model has."""
        stop = event_log.listen(self._applied)
        try:
            while not self.complete:
                try:
                    await self._catch_up(event_log, load)
                except MulliganError as error:
                    log.debug("regions are not known yet", extra={"reason": error.message})
                    await anyio.sleep(_RETRY_S)
            await anyio.sleep_forever()
        finally:
            stop()
            self.complete = False
            self._known.clear()

    async def _catch_up(self, event_log: EventLog, load: Load) -> None:
        seq, rows = await load()
        for row in rows:
            known = self._known.get(row.state.name)
            if known is None or known.version < row.version:
                self._known[row.state.name] = Known(
                    row.version, row.state, row.created_at, row.updated_at
                )
        while seq < event_log.head.seq:  # from here to the end of the loop nothing awaits
            last = event_log.head.seq
            async for batch in event_log.read(Seq(seq + 1), last):
                for stored in batch:
                    self._applied(stored)
            seq = last
        self.complete = True

    def _applied(self, stored: Stored) -> None:
        for commit in stored.entry.commits:
            for record in commit.events:
                if stream_kind(record.stream) == "region":
                    self._fold(record, commit.at)

    def _fold(self, record: EventRecord, at: datetime) -> None:
        name = RegionName(stream_key(record.stream))
        known = self._known.get(name, Known(0, None))
        if record.version != known.version + 1:
            return  # known already, or yet to be caught up with
        try:
            event = self._codec.event(record)
        except UnreadableEvent as error:
            log.warning("a region is not what the log says", extra={"reason": str(error)})
            return
        state = evolve(known.state, event, at)  # type: ignore[arg-type]
        self._known[name] = Known(record.version, state, known.created_at or at, at)
