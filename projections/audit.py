"""Read model ``audit``: every event by stream, with who caused it and by which command."""

import msgspec

from mulligan.log.protocol import Stored
from mulligan.projections.copying import (
    EMPTY,
    bigint,
    json,
    label,
    row_start,
    text,
    timestamp,
)
from mulligan.projections.schema import Journal, ReadModel, columns

_COLUMNS = columns(
    seq="bigint",
    kind="text",
    key="text",
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


_START = row_start(len(_COLUMNS))


def _encode(stored: Stored) -> bytes:
    """Give each event a row; a commit that began its chain correlates with itself."""
    pieces: list[bytes | msgspec.Raw] = []
    start = _START + bigint(stored.seq)
    for commit in stored.entry.commits:
        actor, commit_id = commit.actor, text(commit.id)
        causation = text(commit.causation) if commit.causation else EMPTY
        correlation = text(commit.correlation) if commit.correlation else commit_id
        cause = b"".join(
            (
                commit_id, timestamp(commit.at), label(actor.account), label(actor.project),
                label(commit.command), causation, correlation,
            )
        )  # fmt: skip
        for record in commit.events:
            kind, _, key = record.stream.partition("/")
            length, data = json(record.data)
            pieces += (
                start, label(kind), text(key), bigint(record.version), label(record.type),
                bigint(record.v), length, data, cause,
            )  # fmt: skip
    return b"".join(pieces)


MODEL = ReadModel(
    name="audit",
    journals=(
        Journal(
            name="event",
            columns=_COLUMNS,
            encode=_encode,
            # The key first: keys differ in their first bytes, which makes the index fast to build.
            indices=("(key, kind, version)", "(correlation, seq)", "USING brin (seq)"),
        ),
    ),
)
