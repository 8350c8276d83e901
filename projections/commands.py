"""Read model ``commands``: who did what and was denied what, and which request became which entry.

One row answers both: what happened (the audit), and a repeat of a request that is older than what
the log keeps in memory.
"""

from mulligan.events.codec import Codec
from mulligan.events.denial import AttemptsDenied
from mulligan.events.envelope import Commit
from mulligan.log.protocol import Stored
from mulligan.projections.copying import field, label
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


def _encode(stored: Stored) -> str:
    """Give each commit a row, and each denial one; of a denial the ``count`` is not 0.

    ``n`` numbers the rows of an entry.
    """
    rows: list[str] = []
    seq = stored.seq
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
        actor = commit.actor
        rows.append(
            f"{field(commit.id)}\t{seq}\t{len(rows)}\t{field(commit.digest)}"
            f"\t{label(commit.command)}\t{commit.at.isoformat()}\t{label(actor.account)}"
            f"\t{label(actor.project)}\t{label(actor.credential)}\t{field(objects)}"
            f"\t{field(commit.traceparent)}\t\t\t\t0\n"
        )
    return "".join(rows)


def _denied(seq: int, place: int, commit: Commit) -> list[str]:
    found = [record for record in commit.events if record.type == AttemptsDenied.TYPE]
    rows: list[str] = []
    for n, record in enumerate(found, start=place):
        event = _codec.event(record)
        assert isinstance(event, AttemptsDenied), "the codec goes by the type"
        rows.append(
            f"{field(commit.id)}\t{seq}\t{n}\t{field(commit.digest)}\t{field(event.method)}"
            f"\t{event.last_at.isoformat()}\t{field(event.account)}\t{field(event.project)}"
            f"\t{field(event.credential)}\t\t\t{field(event.reason)}\t{field(event.permission)}"
            f"\t{field(event.peer)}\t{event.count}\n"
        )
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
