"""Folded states as they were: a stream's own events say it sooner than a whole read model."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mulligan.handlers.kinds import KINDS
from mulligan.model import Seq, StreamId, stream_id, stream_key, stream_kind
from mulligan.projections.audited import COLUMNS, event_of, record_of
from mulligan.projections.models import STREAM_TABLES
from mulligan.queries.database import Record
from mulligan.queries.moments import PastDatabase
from mulligan.queries.states import Loaded, load

FEW = 64
"""So many streams are looked up one by one; for more, their read models are made."""
MAX_EVENTS = 20_000
"""Nor are more events than these folded for the few."""


async def load_past(past: PastDatabase, streams: Sequence[StreamId]) -> dict[StreamId, Loaded]:
    """Return the states of streams as they were; raise Unavailable when that takes too long."""
    wanted = list(dict.fromkeys(streams))
    models = {STREAM_TABLES[stream_kind(stream)][0].name for stream in wanted}
    if len(wanted) > FEW or past.has(models):
        return await load(past, wanted)
    rows = await past.fetch(
        f"SELECT {COLUMNS}, at FROM rm_audit.event"
        " WHERE (key, kind) IN (SELECT * FROM unnest($1::text[], $2::text[]))"
        f" ORDER BY key, kind, version LIMIT {MAX_EVENTS + 1}",
        [stream_key(stream) for stream in wanted],
        [stream_kind(stream) for stream in wanted],
    )
    if len(rows) > MAX_EVENTS:
        return await load(past, wanted)
    return _folded(wanted, rows, past.scene.seq)


def _folded(wanted: Sequence[StreamId], rows: Sequence[Record], seq: Seq) -> dict[StreamId, Loaded]:
    states: dict[StreamId, Any] = {}
    times: dict[StreamId, tuple[int, datetime, datetime]] = {}
    for row in rows:
        stream, at = stream_id(row["kind"], row["key"]), row["at"]
        event = event_of(record_of(row))
        states[stream] = KINDS[row["kind"]].evolve(states.get(stream), event, at)
        times[stream] = (row["version"], times.get(stream, (0, at, at))[1], at)
    found: dict[StreamId, Loaded] = {}
    for stream in wanted:
        version, made, changed = times.get(stream, (0, None, None))
        found[stream] = Loaded(version, states.get(stream), seq, made, changed)
    return found
