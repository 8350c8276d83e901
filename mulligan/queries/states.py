"""Folded states for commands: exact at the read model's checkpoint, which comes with them."""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from typing import Any

import msgspec

from mulligan.errors import Unavailable
from mulligan.model import Seq, StreamId
from mulligan.projections.models import STREAM_TABLES
from mulligan.queries.database import Database


class Loaded(msgspec.Struct, frozen=True):
    """A stream folded up to entry ``seq``: version 0 and None when it had no event by then.

    The times are those of its first and its latest commit.
    """

    version: int
    state: Any
    seq: Seq
    created_at: datetime | None = None
    updated_at: datetime | None = None


async def load(database: Database, streams: Iterable[StreamId]) -> dict[StreamId, Loaded]:
    """Return the state of every stream, all from one snapshot.

    ``seq`` is the checkpoint of the stream's own read model. Raise Unavailable when Postgres or a
    read model is away, KeyError for a stream of an unknown kind.
    """
    keys: dict[str, list[str]] = {}
    for stream in dict.fromkeys(streams):
        kind, _, key = stream.partition("/")
        keys.setdefault(kind, []).append(key)
    if not keys:
        return {}
    kinds = tuple(sorted(keys))
    rows = await database.fetch(_query(kinds), *(keys[kind] for kind in kinds))
    seqs = {row["kind"]: Seq(row["seq"]) for row in rows}
    missing = [kind for kind in kinds if kind not in seqs]
    if missing:
        raise _unbuilt(missing)
    found: dict[StreamId, Loaded] = {
        StreamId(f"{kind}/{key}"): Loaded(0, None, seqs[kind])
        for kind in kinds
        for key in keys[kind]
    }
    for row in rows:
        if row["key"] is not None:
            kind = row["kind"]
            state = decoder(STREAM_TABLES[kind][1].state)(row["state"])
            found[StreamId(f"{kind}/{row['key']}")] = Loaded(
                row["version"], state, seqs[kind], row["created_at"], row["updated_at"]
            )
    return found


def decoder(state: type) -> Callable[[str], Any]:
    """Return what reads a ``state`` column."""
    return _decoder(state)


@cache
def _decoder(state: type) -> Callable[[str], Any]:
    return msgspec.json.Decoder(state).decode


@cache
def _query(kinds: tuple[str, ...]) -> str:
    return "\nUNION ALL\n".join(_part(kind, n) for n, kind in enumerate(kinds, start=1))


def _part(kind: str, argument: int) -> str:
    model, table = STREAM_TABLES[kind]
    return (
        f"SELECT '{kind}' AS kind, p.seq, t.key, t.version, t.created_at, t.updated_at, t.state"
        f" FROM mulligan.projection p LEFT JOIN {model.schema}.{table.name} t"
        f" ON t.key = ANY(${argument}::text[]) WHERE p.schema = '{model.schema}'"
    )


def _unbuilt(kinds: Iterable[str]) -> Unavailable:
    return Unavailable(f"the read models of {', '.join(kinds)} are not built yet")
