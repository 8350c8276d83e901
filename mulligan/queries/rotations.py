"""How far a rotation has come: the machines that use a login, and what their BMCs took."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from mulligan.handlers.machine import Machine
from mulligan.model import CredentialId, MachineId
from mulligan.queries.database import Database
from mulligan.queries.states import decoder

_USES = "FROM rm_machines.machine t WHERE t.credential = $1 AND NOT t.deleted"
LAST = 3


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """A machine whose BMC was not seen to take the wanted version.

    ``verb`` is its operation's; ``tried`` the version that failed last, with the ``fault``, how
    many ``times`` in a row and when. ``beside`` is a machine of the same BMC that has it already.
    """

    machine: MachineId
    bmc: str
    verb: str
    maintenance: bool
    tried: str
    fault: str
    times: int
    tried_at: datetime | None
    beside: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What a rotation has come to: ``last`` are the newest outcomes' faults, empty for good ones.

    ``left`` is as many as were asked for, those that were not tried yet before the others.
    """

    machines: int
    proven: int
    running: int
    last: tuple[str, ...]
    left: tuple[Left, ...]


async def list_rotating(database: Database) -> Sequence[CredentialId]:
    """Return the credentials that are being rotated, or have former versions to be destroyed."""
    rows = await database.fetch("SELECT key FROM rm_images.credential WHERE rotating ORDER BY key")
    return [CredentialId(row["key"]) for row in rows]


async def progress(database: Database, credential: str, version: str, *, limit: int) -> Progress:
    """Tell how far the login's machines have come to ``version``."""
    (counted,) = await database.fetch(
        "SELECT count(*) AS machines, count(*) FILTER (WHERE t.password = $2) AS proven,"
        f" count(*) FILTER (WHERE t.verb = 'rotate') AS running {_USES}",
        credential,
        version,
    )
    last = await database.fetch(
        f"SELECT CASE WHEN t.password = $2 THEN '' ELSE t.tried_fault END AS fault {_USES}"
        " AND (t.password = $2 OR t.tried = $2) AND t.tried_at IS NOT NULL"
        f" ORDER BY t.tried_at DESC, t.key LIMIT {LAST}",
        credential,
        version,
    )
    left = await database.fetch(
        "SELECT t.key, t.bmc, t.verb, t.maintenance, t.tried, t.tried_fault, t.tried_times,"
        " t.tried_at, coalesce((SELECT s.key FROM rm_machines.machine s WHERE s.credential = $1"
        " AND s.bmc = t.bmc AND s.password = $2 AND NOT s.deleted LIMIT 1), '') AS beside"
        f" {_USES} AND t.password <> $2"
        " ORDER BY CASE WHEN t.tried = $2 THEN t.tried_at END NULLS FIRST, t.key LIMIT $3",
        credential,
        version,
        limit,
    )
    return Progress(
        machines=counted["machines"],
        proven=counted["proven"],
        running=counted["running"],
        last=tuple(row["fault"] for row in last),
        left=tuple(
            Left(
                machine=MachineId(row["key"]),
                bmc=row["bmc"],
                verb=row["verb"],
                maintenance=row["maintenance"],
                tried=row["tried"],
                fault=row["tried_fault"],
                times=row["tried_times"],
                tried_at=row["tried_at"],
                beside=row["beside"],
            )
            for row in left
        ),
    )


async def first_problem(database: Database, credential: str, version: str) -> str:
    """Say which machine could not be given the version first, and why; empty when none failed."""
    rows = await database.fetch(
        f"SELECT t.state {_USES} AND t.tried = $2 AND t.password <> $2"
        " ORDER BY t.tried_at, t.key LIMIT 1",
        credential,
        version,
    )
    for row in rows:
        machine: Machine = decoder(Machine)(row["state"])
        if machine.unrotated is not None:
            trouble = machine.unrotated
            return f"machine {machine.name}: {trouble.fault}: {trouble.message}"
    return ""
