"""How a broken stream goes on: from the last record seen, without gaps or repeats."""

import dataclasses
from typing import Any

from mulligan.proto.v1 import (
    ListEndpointsRequest,
    LogRecord,
    ReadLogRequest,
    WatchLogRequest,
)


class Restart:
    """A stream that can be sent for again from its beginning only while nothing has come."""

    endless = False

    def __init__(self, request: Any) -> None:
        self.request = request
        self._begun = False

    @property
    def possible(self) -> bool:
        """Tell whether sending the request (again) gives what is missing and no more."""
        return not self._begun

    def is_new(self, message: object) -> bool:
        """Note a message; tell whether the caller has not had it yet."""
        self._begun = True
        return True


class Watch(Restart):
    """A stream whose every message is the whole: sending for it again loses nothing."""

    endless = True

    @property
    def possible(self) -> bool:
        """Always."""
        return True


class Records(Restart):
    """Log records. An entry holds several, so the last entry is read again and sifted."""

    request: WatchLogRequest | ReadLogRequest

    def __init__(self, request: WatchLogRequest | ReadLogRequest) -> None:
        super().__init__(request)
        self.endless = isinstance(request, WatchLogRequest)
        self._last = 0
        self._commits: set[str] = set()

    @property
    def possible(self) -> bool:
        """Always: a record says where it stands."""
        return True

    def is_new(self, message: object) -> bool:
        """Note a record and where to go on after it; tell whether it is not a repeat."""
        if not isinstance(message, LogRecord) or message.position is None:
            return True
        seq = message.position.seq
        if seq < self._last or (seq == self._last and message.commit in self._commits):
            return False
        if seq > self._last:
            self._last = seq
            self._commits.clear()
            self.request = self._from(seq)
        self._commits.add(message.commit)
        return True

    def _from(self, seq: int) -> WatchLogRequest | ReadLogRequest:
        if isinstance(self.request, WatchLogRequest):
            return dataclasses.replace(self.request, after=seq - 1, from_head=False)
        return dataclasses.replace(self.request, first=seq)


def resumption(request: Any) -> Restart:
    """Return how the stream that ``request`` asks for is resumed."""
    match request:
        case WatchLogRequest() | ReadLogRequest():
            return Records(request)
        case ListEndpointsRequest():
            return Watch(request)
        case _:
            return Restart(request)
