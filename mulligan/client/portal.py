"""The event loop behind the blocking client: one thread of the process, used by all the others."""

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar

from mulligan.errors import FailedPrecondition

P = ParamSpec("P")
Result = TypeVar("Result")
Message = TypeVar("Message")

AHEAD = 64
"""Messages of a stream that are held while nobody takes them."""
ENDING_S = 5.0
"""Seconds that the thread has for its end when the process ends."""


class Portal:
    """A thread that runs an event loop, and the way for other threads to have it do something."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="mulligan client", daemon=True)
        self._closers: set[Callable[[], Awaitable[None]]] = set()
        self._thread.start()

    def call(
        self,
        function: Callable[P, Coroutine[Any, Any, Result]],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> Result:
        """Return what a coroutine function returns; raise what it raises.

        When the waiting thread is interrupted, as by Ctrl-C, the coroutine is cancelled. Raise
        FailedPrecondition where nobody would ever do it: inside the loop, in a forked child, after
        the end of the process has begun.
        """
        if not self.is_ours or self._loop.is_closed():
            raise FailedPrecondition(
                "this client was made before the process was forked: make another one in the child"
                if not self.is_ours
                else "the process ends; no calls can be made any more"
            )
        if threading.current_thread() is self._thread:
            raise FailedPrecondition(
                "a blocking call inside the client's own event loop would wait for itself: "
                "use mulligan.client.Client there"
            )
        future = asyncio.run_coroutine_threadsafe(function(*arguments, **named), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @property
    def is_ours(self) -> bool:
        """Whether this is the process that the thread runs in, and no forked child of it."""
        return os.getpid() == self._process

    def stream(self, messages: AsyncIterator[Message]) -> "Stream[Message]":
        """Return an iterator over the messages, which are fetched from now on."""
        return Stream(self, messages)

    def close_at_exit(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have ``close`` called when the process ends, unless it is forgotten before."""
        self._closers.add(close)

    def forget(self, close: Callable[[], Awaitable[None]]) -> None:
        """Take back what was to be called when the process ends."""
        self._closers.discard(close)

    def soon(self, function: Callable[[], object]) -> None:
        """Have the loop call a function, and wait for nothing."""
        if self.is_ours and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)

    def end(self) -> None:
        """Close what is open, end the loop and the thread."""
        try:
            self.call(self._close_all)
        finally:
            self.soon(self._loop.stop)
            self._thread.join(ENDING_S)

    async def _close_all(self) -> None:
        closers, self._closers = list(self._closers), set()
        async with asyncio.timeout(ENDING_S):
            await asyncio.gather(*(close() for close in closers), return_exceptions=True)
            own = asyncio.current_task()
            left = [task for task in asyncio.all_tasks() if task is not own]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()


class Stream(Iterator[Message], Generic[Message]):
    """The messages of a stream, one after the other, for one thread at a time.

    Leave it by ``close`` or a ``with`` block, or forget it: the stream then ends.
    """

    def __init__(self, portal: Portal, messages: AsyncIterator[Message]) -> None:
        self._portal = portal
        self._ready: list[Message] = []
        self._error: Exception | None = None
        self._ended = False
        self._queue, self._task = portal.call(_begin, messages)

    def __next__(self) -> Message:
        if not self._ready and not self._ended:
            self._fetch()
        if self._ready:
            return self._ready.pop(0)
        error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def close(self) -> None:
        """End the stream; messages that were not taken are dropped."""
        self._ended = True
        self._ready.clear()
        if self._portal.is_ours:
            self._portal.call(_end, self._task)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        task = getattr(self, "_task", None)
        if task is not None and not task.done():
            self._portal.soon(task.cancel)

    def _fetch(self) -> None:
        for message in self._portal.call(_taken, self._queue):
            if isinstance(message, _Ended):
                self._ended, self._error = True, message.error
            else:
                self._ready.append(message)


class _Ended:
    """The end of a stream, and why it ended if that was an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


async def _begin(
    messages: AsyncIterator[Message],
) -> "tuple[asyncio.Queue[Message | _Ended], asyncio.Task[None]]":
    queue: asyncio.Queue[Message | _Ended] = asyncio.Queue(AHEAD)
    return queue, asyncio.get_running_loop().create_task(_pump(messages, queue))


async def _pump(messages: AsyncIterator[Message], queue: "asyncio.Queue[Message | _Ended]") -> None:
    """Fetch messages in one task, for gRPC tells that task when the connection is lost."""
    ended = _Ended()
    try:
        async for message in messages:
            await queue.put(message)
    except Exception as error:
        ended = _Ended(error)
    await queue.put(ended)


async def _taken(
    queue: "asyncio.Queue[Message | _Ended]",
) -> "list[Message | _Ended]":
    """Return what is there, and wait if there is nothing."""
    taken = [await queue.get()]
    while not queue.empty():
        taken.append(queue.get_nowait())
    return taken


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


class _Process:
    """The portal of this process, if it has one."""

    portal: Portal | None = None
    making = threading.Lock()


def portal() -> Portal:
    """Return the portal of this process; the first to ask starts it, and its end ends it."""
    with _Process.making:
        if _Process.portal is None:
            _Process.portal = Portal()
            atexit.register(_end_of_process, _Process.portal)
        return _Process.portal


def _end_of_process(ending: Portal) -> None:
    if _Process.portal is ending:
        ending.end()


def _forget_after_fork() -> None:
    """Begin anew in a child: its parent's thread does not run there."""
    _Process.portal = None
    _Process.making = threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)
