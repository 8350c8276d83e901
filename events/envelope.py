"""The envelope of the log: entries hold commits, commits hold event records.

Values are JSON, so ``etcdctl get`` shows them and any language can replay them. Times are
RFC 3339 in UTC. A process keeps a great many of these structs for long, and none can be part of a
cycle: ``gc=False`` spares the collector the walk.
"""

from datetime import datetime

import msgspec

from mulligan.model import CommitId, Seq, StreamId

_NO_ARGS = msgspec.Raw(b"")


class Actor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Who caused a commit: the account, the project its token was scoped to, the credential."""

    account: str
    project: str = ""
    credential: str = ""


class EventRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event as stored: ``data`` is the event's own JSON, decoded by ``events.codec``.

    ``version`` counts the events of ``stream`` densely from 1; ``v`` is the schema version of
    ``type``.
    """

    stream: StreamId
    version: int
    type: str
    v: int
    data: msgspec.Raw


class Commit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The outcome of one command: all of its events happen, or none.

    ``id`` is the request id. ``digest`` is the sha256 (hex) of the command, to tell a repeated
    request from another one under the same id. ``causation`` is the id of the commit that made
    this one necessary, ``correlation`` the id of the request that began the chain. ``args`` is a
    JSON object with what the events do not tell of the command, by ``handlers.arguments``; it is
    empty in logs of releases that did not write it.
    """

    id: CommitId
    at: datetime
    actor: Actor
    command: str
    events: tuple[EventRecord, ...]
    digest: str = ""
    causation: str = ""
    correlation: str = ""
    traceparent: str = ""
    args: msgspec.Raw = _NO_ARGS


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One slot of the log: ``prev`` is the sha256 (hex) of the previous entry's bytes."""

    seq: Seq
    prev: str
    at: datetime
    commits: tuple[Commit, ...]
