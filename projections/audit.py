"""Read model ``audit``: every event by stream, with who caused it and by which command."""

from mulligan.log.protocol import Stored
from mulligan.projections.copying import field, json, label
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


def _encode(stored: Stored) -> str:
    """Give each event a row; a commit that began its chain correlates with itself."""
    rows: list[str] = []
    seq = stored.seq
    for commit in stored.entry.commits:
        actor, commit_id = commit.actor, field(commit.id)
        cause = (
            f"{commit_id}\t{commit.at.isoformat()}\t{label(actor.account)}"
            f"\t{label(actor.project)}\t{label(commit.command)}\t{field(commit.causation)}"
            f"\t{field(commit.correlation) or commit_id}\n"
        )
        for record in commit.events:
            kind, _, key = record.stream.partition("/")
            rows.append(
                f"{seq}\t{label(kind)}\t{field(key)}\t{record.version}\t{label(record.type)}"
                f"\t{record.v}\t{json(bytes(record.data))}\t{cause}"
            )
    return "".join(rows)


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
