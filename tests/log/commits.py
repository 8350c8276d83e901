"""Commits as the tests write them."""

import msgspec

from mulligan.events.envelope import Actor, Commit, EventRecord
from mulligan.log.protocol import Acked, EventLog, ReadSet
from mulligan.model import CommitId, Seq, StreamId, new_id, utc_now

_DATA = msgspec.Raw(msgspec.json.encode({"pad": "x" * 60}))


def commit(*streams: str, id: str = "", version: int = 1, digest: str = "") -> Commit:
    """A commit with one event on each stream."""
    return Commit(
        id=CommitId(id or new_id()),
        at=utc_now(),
        actor=Actor(account="tester"),
        command="test.write",
        digest=digest,
        events=tuple(
            EventRecord(stream=StreamId(s), version=version, type="test.written", v=1, data=_DATA)
            for s in streams
        ),
    )


def read(at: int, *streams: str, assumes: tuple[str, ...] = ()) -> ReadSet:
    """A read set at a position."""
    return ReadSet(
        at=Seq(at),
        streams=frozenset(StreamId(s) for s in streams),
        assumes=frozenset(CommitId(a) for a in assumes),
    )


async def write(log: EventLog, *streams: str) -> Acked:
    """Append an event on each stream, as the head has them."""
    return await log.append(commit(*streams), read=read(log.head.seq, *streams))


async def stored(log: EventLog, first: int = 1) -> list[tuple[int, CommitId]]:
    """Every commit from ``first`` to the head with the number of its entry, from the store."""
    return [
        (entry.seq, one.id)
        async for batch in log.read(Seq(first), log.head.seq)
        for entry in batch
        for one in entry.entry.commits
    ]
