"""Read model ``commands``: which request became which entry, to answer a repeat of it."""

from mulligan.log.protocol import Stored
from mulligan.projections.copying import field, label
from mulligan.projections.schema import Journal, ReadModel, columns

_COLUMNS = columns(id="text", seq="bigint", digest="text", command="text", at="timestamptz")


def _encode(stored: Stored) -> str:
    return "".join(
        f"{field(commit.id)}\t{stored.seq}\t{field(commit.digest)}\t{label(commit.command)}"
        f"\t{commit.at.isoformat()}\n"
        for commit in stored.entry.commits
    )


MODEL = ReadModel(
    name="commands",
    journals=(
        # Not unique: a repeat that slipped past every check must not halt the read model.
        Journal(name="command", columns=_COLUMNS, encode=_encode, indices=("(id, seq)",)),
    ),
)
