"""Read model ``commands``: who did what and was denied what, and which request became which entry.

One row answers both: what happened (the audit), and a repeat of a request that is older than what
the log keeps in memory.
"""

from mulligan.events.codec import Codec
from mulligan.events.denial import AttemptsDenied
from mulligan.events.envelope import Commit
from mulligan.log.protocol import Stored
from mulligan.projections.copying import (
    EMPTY,
    bigint,
    integer,
    label,
    row_start,
    text,
    timestamp,
)
from mulligan.projections.schema import Journal, ReadModel, columns

MAX_OBJECTS = 32
"""A row names so many of the streams that its commit touched; the log has all."""

SEPARATOR = "|"
"""Stands between the streams that a row names."""

_COLUMNS = columns(
    id="text",
    seq="bigint",
    n="int",
    digest="text",
    command="text",
    at="timestamptz",
    account="text",
    project="text",
    credential="text",
    objects="text",
    traceparent="text",
    reason="text",
    permission="text",
    peer="text",
    count="bigint",
)

_codec = Codec()


_START = row_start(len(_COLUMNS))
_NOT_DENIED = EMPTY * 3 + bigint(0)


def _encode(stored: Stored) -> bytes:
    """Give each commit a row, and each denial one; of a denial the ``count`` is not 0.

    ``n`` numbers the rows of an entry.
    """
    rows: list[bytes] = []
    seq = bigint(stored.seq)
    for commit in stored.entry.commits:
        streams = [event.stream for event in commit.events]
        objects = streams[0] if len(streams) == 1 else SEPARATOR.join(dict.fromkeys(streams))
        if "denial/" in objects:
            rows += _denied(seq, len(rows), commit)
            objects = SEPARATOR.join(s for s in streams if not s.startswith("denial/"))
            if not objects:
                continue
        if len(streams) > MAX_OBJECTS:
            objects = SEPARATOR.join(objects.split(SEPARATOR, MAX_OBJECTS)[:MAX_OBJECTS])
        actor, trace = commit.actor, commit.traceparent
        row = (
            _START, text(commit.id), seq, integer(len(rows)), text(commit.digest),
            label(commit.command), timestamp(commit.at), label(actor.account),
            label(actor.project), label(actor.credential), text(objects),
            text(trace) if trace else EMPTY, _NOT_DENIED,
        )  # fmt: skip
        rows.append(b"".join(row))
    return b"".join(rows)


def _denied(seq: bytes, place: int, commit: Commit) -> list[bytes]:
    found = [record for record in commit.events if record.type == AttemptsDenied.TYPE]
    rows: list[bytes] = []
    for n, record in enumerate(found, start=place):
        event = _codec.event(record)
        assert isinstance(event, AttemptsDenied), "the codec goes by the type"
        row = (
            _START, text(commit.id), seq, integer(n), text(commit.digest), text(event.method),
            timestamp(event.last_at), text(event.account), text(event.project),
            text(event.credential), EMPTY, EMPTY, text(event.reason), text(event.permission),
            text(event.peer), bigint(event.count),
        )  # fmt: skip
        rows.append(b"".join(row))
    return rows


MODEL = ReadModel(
    name="commands",
    version=2,
    journals=(
        # Not unique: a repeat that slipped past every check must not halt the read model.
        Journal(
            name="command",
            columns=_COLUMNS,
            encode=_encode,
            indices=(
                "(id, seq)",
                "(at)",
                "(account, at)",
                "(project, at) WHERE project <> ''",
                "(at) WHERE count > 0",
            ),
        ),
    ),
)
