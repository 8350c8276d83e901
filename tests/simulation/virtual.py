"""An event loop on which waiting costs nothing: time jumps to whatever is due next.

Nothing real is waited for, so whoever runs on it may use neither sockets nor threads.
"""

import asyncio
import gc
import selectors
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Deadlock(AssertionError):
    """Everybody waits for somebody else."""


class _Jump(selectors.BaseSelector):
    """Passes the time that is waited for, and waits for none of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            found = self._real.select(0)
            if not found:
                raise Deadlock("everybody waits for somebody else")
            return found
        if timeout > 0:
            self.now += timeout
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jump = _Jump()
        super().__init__(self.jump)

    def time(self) -> float:
        return self.jump.now


def clock() -> datetime:
    """The virtual time."""
    return BEGAN + timedelta(seconds=now())


def now() -> float:
    """Virtual seconds since the beginning."""
    return asyncio.get_running_loop().time()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop of its own.

    The collector rests meanwhile: it would end forgotten generators at times of its own choice.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
            return runner.run(main)
    finally:
        if collects:
            gc.enable()
