"""Read model ``audit``: every event by stream, with who caused it and by which command."""

from mulligan.log.protocol import Stored
from mulligan.projections import copying
from mulligan.projections.schema import Journal, ReadModel, columns

_COLUMNS = columns(
    seq="bigint",
    stream="text",
    version="bigint",
    type="text",
    schema_version="bigint",
    data="text",
    commit_id="text",
    at="timestamptz",
    account="text",
    project="text",
    command="text",
    causation="text",
    correlation="text",
)
_ROW = copying.row(len(_COLUMNS))


def _encode(stored: Stored) -> list[bytes]:
    """Give a row an event; a commit that began its chain correlates with itself."""
    rows: list[bytes] = []
    text, int8 = copying.text, copying.int8
    begin = _ROW + int8(stored.seq)
    for commit in stored.entry.commits:
        actor = commit.actor
        cause = b"".join(
            (
                text(commit.id),
                copying.timestamptz(commit.at),
                text(actor.account),
                text(actor.project),
                text(commit.command),
                text(commit.causation),
                text(commit.correlation or commit.id),
            )
        )
        rows += [
            b"".join(
                (
                    begin,
                    text(record.stream),
                    int8(record.version),
                    text(record.type),
                    int8(record.v),
                    copying.raw(bytes(record.data)),
                    cause,
                )
            )
            for record in commit.events
        ]
    return rows


MODEL = ReadModel(
    name="audit",
    journals=(
        Journal(
            name="event",
            columns=_COLUMNS,
            encode=_encode,
            indices=("(stream, version)", "(correlation, seq)"),
        ),
    ),
)
