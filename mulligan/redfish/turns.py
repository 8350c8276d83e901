"""Turns: of the threads that talk to BMCs, one at a time runs Python, and the rest wait on sockets.

Hundreds of threads that want the interpreter wake each other up all the time and keep the event
loop from it (measured with 500 threads: a third fewer requests, and six times the thread switches).
A thread takes its turn for an exchange and gives it away while a BMC may keep it waiting, so a BMC
that is slow, or sends byte by byte, holds up nobody.
"""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any

_turn = threading.Lock()  # for the process, as the interpreter's own lock is


class _Here(threading.local):
    has_turn = False


_here = _Here()


@contextmanager
def taking_turns() -> Iterator[None]:
    """Run the block in turn with other threads that do."""
    with _turn:
        _here.has_turn = True
        try:
            yield
        finally:
            _here.has_turn = False


@contextmanager
def waiting() -> Iterator[None]:
    """Give the turn away while the block waits for a BMC, if this thread has it."""
    if not _here.has_turn:
        yield
        return
    _turn.release()
    try:
        yield
    finally:
        _turn.acquire()


class _Reader(io.RawIOBase):
    """A socket's reader that gives the turn away while it waits."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        with waiting():
            return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class TurnedResponse(HTTPResponse):
    """A response that is read in turns."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fp = io.BufferedReader(_Reader(self.fp.detach()))
