"""The log as this process has applied it: head, window, listeners, and whether it halted."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from mulligan.errors import Corrupt, Unavailable
from mulligan.events.codec import UnreadableEvent, decode_entry, entry_hash
from mulligan.log.protocol import Head, Listener, Stored
from mulligan.log.store import Mark, Raw
from mulligan.log.window import Window
from mulligan.model import Seq

CURE = (
    "etcd was put back to an older state, and nothing is appended to it: stop the services, and"
    " `mulligan archive restore` brings back what the archive has"
    " (docs/how-to/back-up-and-restore.md)"
)
"""What has happened where a log ends before what was seen of it, and what to do."""


class BrokenChain(Corrupt):
    """Entry ``seq`` is unreadable, missing, or does not follow from the one before it."""

    def __init__(self, seq: int, problem: str) -> None:
        super().__init__(f"log entry {seq} {problem}")
        self.seq = seq


class Gap(Exception):
    """An entry was offered before the ones ahead of it."""


def link(seq: int, prev: str | None, value: bytes) -> Stored:
    """Decode the entry stored at ``seq``; raise BrokenChain unless it continues from ``prev``."""
    try:
        entry = decode_entry(value)
    except UnreadableEvent as error:
        raise BrokenChain(seq, f"cannot be read: {error}") from error
    if entry.seq != seq:
        raise BrokenChain(seq, f"says that it is entry {entry.seq}")
    if prev is not None and entry.prev != prev:
        raise BrokenChain(seq, "does not follow from the entry before it: the chain is broken")
    return Stored(entry=entry, value=value, hash=entry_hash(value))


class View:
    """Applies entries one by one and tells whoever waits for them.

    ``expected`` is the entry that this process is writing: when it comes back it is recognised by
    its bytes and not decoded again. ``away`` is set while the store cannot be reached.
    """

    def __init__(self, head: Head, token: int, window: Window) -> None:
        self.head = head
        self.token = token
        self.window = window
        self.at = datetime.min.replace(tzinfo=UTC)
        self.failure: Exception | None = None
        self.away: Unavailable | None = None
        self.expected: Stored | None = None
        self.on_applied: Callable[[Stored, Raw], None] = lambda stored, raw: None
        self.on_halt: Callable[[Exception], None] = lambda error: None
        self._listeners: list[Listener] = []
        self._waiting: list[tuple[Seq, asyncio.Future[None]]] = []

    def apply(self, raw: Raw) -> None:
        """Apply the next entry; older ones are dropped, newer ones raise Gap.

        Raise BrokenChain when the entry does not follow; whatever a listener raises halts the
        log, for a consumer that missed an entry would decide wrongly.
        """
        head = self.head
        if raw.seq <= head.seq:
            return
        if raw.seq > head.seq + 1:
            raise Gap(f"entry {raw.seq} came after {head.seq}")
        stored = self.expected
        if stored is None or stored.value != raw.value or stored.entry.prev != head.hash:
            stored = link(raw.seq, head.hash, raw.value)
        self.window.add(stored)
        self.head = Head(seq=raw.seq, hash=stored.hash, log_id=head.log_id)
        self.token = raw.token
        self.at = max(self.at, stored.entry.at)
        for listener in self._listeners:
            listener(stored)
        self.on_applied(stored, raw)
        if self._waiting:
            self._wake()

    def check(self, mark: Mark, seen: Seq) -> None:
        """Raise Corrupt if the head as stored cannot be later than our position ``seen``."""
        ours = self.head.log_id
        if mark.log_id != ours or (mark.record and mark.record.log_id != ours):
            raise Corrupt(f"this is another log: expected {ours}, found {mark.log_id or 'none'}")
        if mark.seq < seen:
            raise Corrupt(f"the log's head went back from {seen} to {mark.seq}. {CURE}")
        if mark.record and mark.seq == self.head.seq and mark.record.hash != self.head.hash:
            raise Corrupt(f"the log's head and entry {mark.seq} do not agree")

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` for each entry from now on; return how to stop that."""
        self._listeners = [*self._listeners, listener]

        def stop() -> None:
            self._listeners = [one for one in self._listeners if one is not listener]

        return stop

    async def wait(self, seq: Seq) -> None:
        """Return once ``seq`` is applied; raise what halted the log."""
        if self.head.seq >= seq:
            return
        if self.failure:
            raise self.failure
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((seq, future))
        await future

    def halt(self, error: Exception) -> None:
        """Stop for good; the first reason stays."""
        if self.failure is None:
            self.failure = error
            self.on_halt(error)
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for seq, future in waiting:
            if future.done():
                continue
            if self.head.seq >= seq:
                future.set_result(None)
            elif self.failure:
                future.set_exception(self.failure)
            else:
                self._waiting.append((seq, future))
