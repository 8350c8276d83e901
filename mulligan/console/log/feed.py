"""What the log's views ask of a region."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Protocol

import anyio

from mulligan.console.called import Called
from mulligan.console.log.filter import EVERYTHING, Filter
from mulligan.console.log.rows import ROOM, LoggedCommit, commit_of
from mulligan.console.source import Source
from mulligan.errors import DeadlineExceeded, InvalidArgument, NotFound
from mulligan.model import is_uuid
from mulligan.proto.v1 import LogFilter, LogRecord, ReadLogRequest

READ_S = 15.0
"""Seconds that reading a stretch of the log may take."""


class LogFeed(Protocol):
    """The log as its views read it."""

    @property
    def called(self) -> Called:
        """What objects are called."""
        ...

    @property
    def until(self) -> int:
        """The entry as of which the log is shown; 0 for the present."""
        ...

    async def head(self) -> int:
        """Return the newest entry that is shown; 0 of an empty log."""
        ...

    async def read(self, first: int, last: int, wanted: Filter = EVERYTHING) -> list[LoggedCommit]:
        """Return the commits of entries [first, last], the newest ``ROOM`` of them at most."""
        ...

    def follow(self, after: int) -> AsyncIterator[LoggedCommit]:
        """Yield commits after an entry as they come."""
        ...

    async def key_of(self, stream: str) -> str:
        """Return a stream by its key, given its key or its object's name; raise NotFound."""
        ...


class RegionLog:
    """A region's log, through the console's source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.called = source.called

    @property
    def until(self) -> int:
        """The entry as of which the log is shown; 0 for the present."""
        moment = self._source.moment
        return moment.seq if moment is not None else 0

    async def head(self) -> int:
        """Return the newest entry that is shown."""
        return self.until or await self._source.head()

    async def read(self, first: int, last: int, wanted: Filter = EVERYTHING) -> list[LoggedCommit]:
        """Return commits of a stretch, the newest ``ROOM`` of them at most."""
        if last < max(1, first):
            return []
        request = ReadLogRequest(first=max(1, first), last=last, filter=pushed(wanted))
        found: list[LoggedCommit] = []
        try:
            with anyio.fail_after(READ_S):
                stream = self._source.present.log.read_log(request, timeout=READ_S)
                async with aclosing(stream) as records:  # type: ignore[type-var]
                    async for record in records:
                        found.append(commit_of(record))
                        if len(found) > 2 * ROOM:
                            del found[:ROOM]
        except TimeoutError:
            raise DeadlineExceeded(
                f"reading entries {first} to {last} took more than {READ_S:g} s"
            ) from None
        return found[-ROOM:]

    async def follow(self, after: int) -> AsyncIterator[LoggedCommit]:
        """Yield commits after an entry as they come; resumes by itself."""
        record: LogRecord
        async for record in self._source.watch(after=after):
            yield commit_of(record)

    async def key_of(self, stream: str) -> str:
        """Return a stream by its key; a name is looked up."""
        kind, slash, key = stream.partition("/")
        if not slash or not kind or not key:
            raise InvalidArgument("stream", f"{stream!r} is not KIND/NAME, such as machine/node-1")
        try:
            return f"{kind}/{await self._source.present.names.resolve(kind, key)}"
        except InvalidArgument:  # streams such as key/1 and region/local have no names
            return stream
        except NotFound:
            if kind in ("machine", "claim", "provider"):
                raise
            return stream


def pushed(wanted: Filter) -> LogFilter:
    """Return what of a filter the service can hold against whole commits."""
    stream = wanted.only("stream")
    key = stream.partition("/")[2]
    exact = stream if is_uuid(key) else ""
    return LogFilter(kind=wanted.only("kind"), type=wanted.only("type"), stream=exact)
