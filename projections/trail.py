"""Read model ``trail``: how much was denied to whom, and the log's signed checkpoints."""

from mulligan.handlers.checkpoint import Checkpoint
from mulligan.handlers.denial import Denials
from mulligan.projections.schema import ReadModel, Row, columns, stream_table


def _denials(key: str, denials: Denials) -> Row:
    return (denials.count, denials.last_at)


def _checkpoint(key: str, checkpoint: Checkpoint) -> Row:
    return (checkpoint.seq,)


MODEL = ReadModel(
    name="trail",
    tables=(
        stream_table("denial", "denial", columns(count="bigint", last_at="timestamptz"), _denials),
        stream_table("checkpoint", "checkpoint", columns(signed="bigint"), _checkpoint),
    ),
)
