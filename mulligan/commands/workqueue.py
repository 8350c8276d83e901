"""A keyed work queue: level-triggered, deduplicated, with due times.

A key stands for "look at this object": however often it is added before its turn, it is handled
once; added while it is handled, it is handled once more. Nothing is lost by an error: the key comes
back after a back-off.
"""

import heapq
import logging
from collections.abc import Awaitable, Callable

import anyio

from mulligan.errors import MulliganError, Unavailable
from mulligan.log.protocol import Fenced

log = logging.getLogger(__name__)

Handle = Callable[[str], Awaitable[float | None]]
"""Look at one object; return in how many seconds to look again, None for when it is added."""

_FIRST_BACKOFF_S = 0.2
_LONGEST_BACKOFF_S = 30.0


class WorkQueue:
    """Handles keys, ``at_once`` of them concurrently, one at a time for each key.

    It holds about two entries a key at most, so it is as bounded as the objects it is about.
    """

    def __init__(self, name: str, handle: Handle, at_once: int) -> None:
        self._name = name
        self._handle = handle
        self._at_once = at_once
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._changed = anyio.Event()

    def add(self, key: str, delay: float = 0.0) -> None:
        """Ask for a look at ``key`` in ``delay`` seconds at the latest."""
        if key in self._busy and delay <= 0:
            self._again.add(key)
            return
        due = anyio.current_time() + delay
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        if len(self._heap) > 2 * len(self._due) + 64:  # most are overtaken by earlier looks
            self._heap = [(due, key) for key, due in self._due.items()]
            heapq.heapify(self._heap)
        self._changed.set()

    @property
    def waiting(self) -> int:
        """How many keys wait or are handled."""
        return len(self._due) + len(self._busy)

    async def run(self) -> None:
        """Handle keys for ever."""
        slots = anyio.Semaphore(self._at_once)
        async with anyio.create_task_group() as tasks:
            while True:
                await slots.acquire()
                key = await self._next()
                self._busy.add(key)
                tasks.start_soon(self._work, key, slots, name=f"{self._name} {key}")

    async def _next(self) -> str:
        while True:
            self._changed = anyio.Event()
            now = anyio.current_time()
            while self._heap:
                due, key = self._heap[0]
                if self._due.get(key) != due or key in self._busy:
                    heapq.heappop(self._heap)
                    if key in self._busy and self._due.get(key) == due:
                        del self._due[key]
                        self._again.add(key)
                    continue
                if due > now:
                    break
                heapq.heappop(self._heap)
                del self._due[key]
                return key
            delay = self._heap[0][0] - now if self._heap else 3600.0
            with anyio.move_on_after(delay):
                await self._changed.wait()

    async def _work(self, key: str, slots: anyio.Semaphore) -> None:
        again: float | None = None
        try:
            again = await self._handle(key)
            self._failures.pop(key, None)
        except (MulliganError, Fenced) as error:
            again = self._back_off(key, error)
            log.log(
                logging.DEBUG if isinstance(error, Unavailable) else logging.WARNING,
                "will look again",
                extra={"queue": self._name, "key": key, "reason": str(error), "in_s": again},
            )
        except Exception as error:
            again = self._back_off(key, error)
            log.exception("handling failed", extra={"queue": self._name, "key": key})
        finally:
            self._busy.discard(key)
            slots.release()
        if key in self._again:
            self._again.discard(key)
            again = min(again or 0.0, self._failures.get(key, 0) * _FIRST_BACKOFF_S)
        if again is not None:
            self.add(key, again)

    def _back_off(self, key: str, error: Exception) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        return min(_FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 10), _LONGEST_BACKOFF_S)
