"""Read-your-writes: waiting until read models have folded what the caller has seen."""

from collections.abc import Iterable

import anyio

from mulligan.errors import Unavailable
from mulligan.model import Seq
from mulligan.queries.database import Database

PATIENCE = 3.0
"""Seconds that a read waits for the read models before it fails or answers stale."""

_POLL = 0.1
"""Seconds between looks while waiting, should a notification get lost."""

_POSITIONS = """
SELECT p.name, p.seq, p.status, p.problem
FROM mulligan.projection p WHERE p.schema = ANY($1::text[])
"""


async def positions(database: Database, models: Iterable[str]) -> dict[str, Seq]:
    """Return how far the read models are folded; raise Unavailable for one that is not built."""
    names = list(dict.fromkeys(models))
    rows = await database.fetch(_POSITIONS, [f"rm_{name}" for name in names])
    found = {row["name"]: Seq(row["seq"]) for row in rows}
    missing = [name for name in names if name not in found]
    if missing:
        raise Unavailable(f"the read models {', '.join(missing)} are not built yet", 2.0)
    return found


async def wait_until(
    database: Database,
    models: Iterable[str],
    seq: Seq,
    *,
    timeout: float = PATIENCE,
    allow_stale: bool = False,
) -> Seq:
    """Return the position that all of the read models have folded, once it is ``seq`` or beyond.

    When that takes longer than ``timeout`` seconds, return what they have if ``allow_stale``, else
    raise Unavailable saying which one is behind.
    """
    names = tuple(models)
    found = await positions(database, names)
    reached = min(found.values())
    if reached >= seq or timeout <= 0:
        return _settled(found, seq, allow_stale)
    with anyio.move_on_after(timeout):
        while reached < seq:
            rung = await database.bell.armed()
            found = await positions(database, names)
            reached = min(found.values())
            if reached < seq:
                with anyio.move_on_after(_POLL):
                    await rung.wait()
    return _settled(found, seq, allow_stale)


def _settled(found: dict[str, Seq], seq: Seq, allow_stale: bool) -> Seq:
    reached = min(found.values())
    if reached >= seq or allow_stale:
        return reached
    name = min(found, key=lambda one: found[one])
    raise Unavailable(
        f"the read model {name} is at {reached}, {seq - reached} entries behind what you have"
        " seen; try again, or allow a stale answer (see `mulligan status`)",
        retry_after=1.0,
    )
