"""One batch of entries onto one read model: fold in memory, then one transaction."""

from collections.abc import Sequence

from mulligan.log.protocol import Stored
from mulligan.projections import checkpoint, writing
from mulligan.projections.checkpoint import Place, place_of
from mulligan.projections.fold import ModelFold, Occurrences, Poison, TableFold
from mulligan.projections.postgres import Connection
from mulligan.projections.schema import Journal, ReadModel
from mulligan.projections.writing import Write


class Prepared:
    """What a batch changes in one read model, not written yet."""

    def __init__(
        self,
        model: ReadModel,
        writes: Sequence[Write],
        rows: Sequence[tuple[Journal, Sequence[bytes]]],
    ) -> None:
        self.model = model
        self.writes = writes
        self.rows = rows

    @property
    def empty(self) -> bool:
        """Whether nothing but the checkpoint moves."""
        return not self.writes and not any(rows for _, rows in self.rows)


async def prepare(
    connection: Connection,
    model: ReadModel,
    schema: str,
    batch: Sequence[Stored],
    events: Occurrences,
) -> Prepared:
    """Load the rows that the batch touches and fold it onto them; raise Poison."""
    fold = ModelFold(model)
    states = []
    for table in fold.tables:
        keys = table.row_keys(events)
        if keys:
            try:
                table.held = await writing.load(connection, schema, table.table, keys)
            except writing.Damaged as damaged:
                raise _poison(model, table, events, damaged) from damaged
        states.append({key: row.state for key, row in table.held.items()})
    fold.fold(events)
    writes = [
        write
        for table, before in zip(fold.tables, states, strict=True)
        if table.held
        for write in writing.writes(schema, table, before)
    ]
    rows = [(j, [j.encode(stored) for stored in batch]) for j in model.journals]
    return Prepared(model, writes, rows)


def _poison(
    model: ReadModel, table: TableFold, events: Occurrences, damaged: writing.Damaged
) -> Poison:
    """Return that the first entry which touches a damaged row cannot be folded."""
    seq, key = min(one for one in table.touched(events) if one[1] in damaged.rows)
    return Poison(
        seq,
        f"entry {seq}: row {key} of table {table.table.name} cannot be read:"
        f" {damaged.rows[key]}; `mulligan rebuild {model.name}` makes it anew",
    )


async def commit(
    connection: Connection, prepared: Prepared, schema: str, before: Place, after: Place
) -> None:
    """Write it and move the checkpoint on, in one transaction; raise Fenced."""
    async with connection.transaction():
        await checkpoint.advance(connection, {schema: prepared.model}, before, after)
        for journal, rows in prepared.rows:
            await writing.copy_journal(connection, schema, journal, rows)
        for write in prepared.writes:
            await writing.send(connection, write)


async def apply(
    connection: Connection,
    model: ReadModel,
    schema: str,
    before: Place,
    batch: Sequence[Stored],
    events: Occurrences,
) -> Place:
    """Bring a schema from ``before`` to the end of the batch, and return that place."""
    after = place_of(batch[-1])
    prepared = await prepare(connection, model, schema, batch, events)
    await commit(connection, prepared, schema, before, after)
    return after
