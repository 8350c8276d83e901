"""Machines, and what was tried on their BMCs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from mulligan.events.machine import Bmc, Exchange, Mode, Power
from mulligan.handlers.machine import Cordon, Fault, Machine
from mulligan.handlers.operation import Operation, State
from mulligan.model import ActionId, ClaimId, CommitId, ImageId, MachineId, ProjectId
from mulligan.projections.actions import ActionRecord, ActionStatus
from mulligan.queries.database import Database, Record
from mulligan.queries.holdings import OPEN
from mulligan.queries.paging import Filters, Listing, Object, Page, PageRequest, page, reader
from mulligan.queries.states import decoder


class ActionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One step tried on a machine's BMC, with the digests of its exchanges."""

    id: ActionId
    machine: MachineId
    operation: CommitId
    verb: str
    step: str
    mode: Mode
    attempt: int
    status: ActionStatus
    owner: str
    message: str
    fault: str
    recovered: bool
    requested_at: datetime
    attempted_at: datetime | None
    observed_at: datetime | None
    notes: tuple[str, ...]
    exchanges: tuple[Exchange, ...]


class MachineFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which machines are wanted; None and () leave a condition out.

    ``project`` is the one that has them, or that a claim holds them for which nothing runs on yet;
    without it, a ``claim`` is that of what runs. ``under`` is a provider that they stand under, at
    any depth. ``name``, ``manufacturer`` and
    ``model`` are patterns with ``*``, compared without case.
    """

    states: tuple[str, ...] = ()
    claim: str | None = None
    project: str | None = None
    under: str | None = None
    name: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    health: str | None = None


class Make(msgspec.Struct, frozen=True, kw_only=True):
    """Of a machine's hardware, who made it and what it is called."""

    manufacturer: str = ""
    model: str = ""


class MachineBrief(msgspec.Struct, frozen=True, kw_only=True):
    """What a table shows of a machine, as in ``Machine``; ``bmc`` is there to be kept from texts.

    It is read from the same JSON, and what it lacks is passed over: to read it takes a third of the
    time.
    """

    id: MachineId
    name: str
    bmc: Bmc
    state: State
    failed: str = ""
    power: Power = "unknown"
    desired: Literal["on", "off", ""] = ""
    health: str = ""
    claim: ClaimId = ClaimId("")
    project: ProjectId = ProjectId("")
    image: ImageId = ImageId("")
    facts: Make | None = None
    operation: Operation | None = None
    fault: Fault | None = None
    cordon: Cordon | None = None


async def list_machines(
    database: Database, request: PageRequest, wanted: MachineFilter
) -> Page[Object[Machine]]:
    """List machines by age."""
    return await page(database, _listing(wanted), request, reader(Machine))


async def list_briefs(
    database: Database, request: PageRequest, wanted: MachineFilter
) -> Page[Object[MachineBrief]]:
    """List what tables show of machines, by age."""
    return await page(database, _listing(wanted), request, reader(MachineBrief))


def _listing(wanted: MachineFilter) -> Listing:
    filters = Filters("NOT t.deleted")
    filters.add("t.status = ANY($$::text[])", list(wanted.states) or None)
    waits = f"SELECT u.key FROM rm_machines.machine u WHERE u.project = '' AND u.key IN ({OPEN}"
    if wanted.project is None:
        filters.add("t.claim = $$ AND t.claim <> ''", wanted.claim)
    else:
        filters.add(
            "t.key IN (SELECT m.key FROM rm_machines.machine m"
            f" WHERE m.project = $$ AND m.project <> '' UNION ALL {waits}))",
            wanted.project,
        )
        filters.add(
            "(t.claim = $$ OR t.project = '' AND t.key IN (SELECT c.provider"
            " FROM rm_claims.allocation c WHERE c.claim = $$ AND c.live))",
            wanted.claim,
        )
    filters.add("t.health = $$", wanted.health)
    for column in ("name", "manufacturer", "model"):
        pattern = getattr(wanted, column)
        filters.add(f"t.{column} ILIKE $$", None if pattern is None else _like(pattern))
    filters.add(
        "t.key IN (SELECT a.provider FROM rm_providers.ancestor a WHERE a.ancestor = $$)",
        wanted.under,
    )
    return filters.listing("rm_machines.machine")


def _like(pattern: str) -> str:
    """Return a pattern with ``*`` as one for LIKE."""
    for special in ("\\", "%", "_"):
        pattern = pattern.replace(special, f"\\{special}")
    return pattern.replace("*", "%")


async def find_busy(database: Database) -> Sequence[MachineId]:
    """Return every machine that a reconciler waits for, or has to see to at some time."""
    rows = await database.fetch("SELECT key FROM rm_machines.machine WHERE busy ORDER BY key")
    return [MachineId(row["key"]) for row in rows]


async def list_actions(
    database: Database, machine: str, request: PageRequest, *, since: datetime | None = None
) -> Page[ActionRow]:
    """List what was tried on a machine's BMC, the newest first; from ``since`` on, if given."""
    filters = Filters()
    filters.add("t.machine = $$", machine)
    filters.add("t.created_at >= $$", since)
    verb = (
        "(SELECT o.verb FROM rm_actions.operation o"
        " WHERE o.key = t.machine || '/' || t.operation) AS verb"
    )
    listing = filters.listing("rm_actions.action", f"t.state, {verb}", newest_first=True)
    return await page(database, listing, request, _action)


def _action(row: Record) -> ActionRow:
    state: ActionRecord = decoder(ActionRecord)(row["state"])
    return ActionRow(
        id=state.id,
        machine=MachineId(row["key"].partition("/")[0]),
        operation=state.operation,
        verb=row["verb"] or "",
        step=state.step,
        mode=state.mode,
        attempt=state.attempt,
        status=state.status,
        owner=state.owner,
        message=state.message,
        fault=state.fault,
        recovered=state.recovered,
        requested_at=state.requested_at,
        attempted_at=state.attempted_at,
        observed_at=state.observed_at,
        notes=state.notes,
        exchanges=state.exchanges,
    )
