"""How many there are of what, for metrics: each is one aggregate over an index or a small table."""

from collections.abc import Mapping, Sequence
from typing import get_args

import msgspec

from mulligan.events.machine import Verb
from mulligan.handlers.operation import State
from mulligan.queries.database import Database, Record

OPERATIONS: tuple[str, ...] = get_args(Verb)
"""The kinds of operations, each counted for itself."""

STATES: tuple[str, ...] = get_args(State)


class MachineTally(msgspec.Struct, frozen=True, kw_only=True):
    """Machines by state, operations by verb, how many of these are late, brakes that hold."""

    states: Mapping[str, int]
    operations: Mapping[str, int]
    late: int
    brakes: int


class ClaimTally(msgspec.Struct, frozen=True, kw_only=True):
    """Claims that are not over, by state."""

    states: Mapping[str, int]


async def tally_machines(database: Database) -> MachineTally:
    """Count machines and what is done with them; raise Unavailable."""
    states = await database.fetch(
        "SELECT status AS what, count(*) AS many FROM rm_machines.machine"
        " WHERE NOT deleted GROUP BY status"
    )
    verbs = await database.fetch(
        "SELECT verb AS what, count(*) AS many, count(*) FILTER (WHERE deadline < now()) AS late"
        " FROM rm_machines.machine WHERE busy AND verb <> '' GROUP BY verb"
    )
    brakes = await database.fetch("SELECT count(*) AS many FROM rm_machines.brake WHERE applied")
    return MachineTally(
        states=dict.fromkeys(STATES, 0) | _by(states),
        operations=_by(verbs),
        late=sum(row["late"] for row in verbs),
        brakes=brakes[0]["many"],
    )


async def tally_claims(database: Database) -> ClaimTally:
    """Count claims; raise Unavailable."""
    rows = await database.fetch(
        "SELECT status AS what, count(*) AS many FROM rm_claims.claim"
        " WHERE status IN ('reserved', 'active') GROUP BY status"
    )
    return ClaimTally(states={"reserved": 0, "active": 0} | _by(rows))


def _by(rows: Sequence[Record]) -> dict[str, int]:
    return {row["what"]: row["many"] for row in rows}
