"""Work on machines that live instances share: what moves in the log, and what others leave behind.

A worker looks at a machine when an event concerns it; when instances come or go it looks at every
busy machine again, for some may be its own now.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable

import anyio

from mulligan.commands.workqueue import Handle, WorkQueue
from mulligan.errors import MulliganError
from mulligan.events.envelope import EventRecord
from mulligan.log.protocol import EventLog, Stored
from mulligan.model import stream_key

log = logging.getLogger(__name__)

FindBusy = Callable[[], Awaitable[Iterable[str]]]
"""Return the machines that have an operation, as of now or later."""

_RETRY_S = 0.5


class SharedWork:
    """Calls ``look`` for the machines whose events ``concerns`` us, ``at_once`` at a time."""

    def __init__(
        self,
        name: str,
        event_log: EventLog,
        *,
        look: Handle,
        concerns: Callable[[EventRecord], bool],
        find_busy: FindBusy,
        at_once: int,
    ) -> None:
        self._log = event_log
        self._concerns = concerns
        self._find_busy = find_busy
        self._queue = WorkQueue(name, look, at_once)
        self._shares_changed = anyio.Event()

    @property
    def waiting(self) -> int:
        """How many machines wait to be looked at, or are."""
        return self._queue.waiting

    async def run(self) -> None:
        """Work for ever."""
        stop = self._log.listen(self._on_entry)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._queue.run)
                tasks.start_soon(self._take_over)
        finally:
            stop()

    def shares_changed(self) -> None:
        """Look at every busy machine again."""
        self._shares_changed.set()

    async def _take_over(self) -> None:
        while True:
            self._shares_changed = anyio.Event()
            try:
                for machine in await self._find_busy():
                    self._queue.add(machine)
            except MulliganError as error:
                log.info("will look for work again", extra={"reason": error.message})
                await anyio.sleep(_RETRY_S)
                continue
            await self._shares_changed.wait()

    def _on_entry(self, stored: Stored) -> None:
        for commit in stored.entry.commits:
            for record in commit.events:
                if self._concerns(record):
                    self._queue.add(stream_key(record.stream))
