"""Read model ``commands``: which request became which entry, to answer a repeat of it."""

from mulligan.log.protocol import Stored
from mulligan.projections import copying
from mulligan.projections.schema import Journal, ReadModel, columns

_COLUMNS = columns(id="text", seq="bigint", digest="text", command="text", at="timestamptz")
_ROW = copying.row(len(_COLUMNS))


def _encode(stored: Stored) -> list[bytes]:
    seq = copying.int8(stored.seq)
    return [
        b"".join(
            (
                _ROW,
                copying.text(commit.id),
                seq,
                copying.text(commit.digest),
                copying.text(commit.command),
                copying.timestamptz(commit.at),
            )
        )
        for commit in stored.entry.commits
    ]


MODEL = ReadModel(
    name="commands",
    journals=(
        # Not unique: a repeat that slipped past every check must not halt the read model.
        Journal(name="command", columns=_COLUMNS, encode=_encode, indices=("(id, seq)",)),
    ),
)
