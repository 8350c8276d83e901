"""A fleet as it would be, or was: some providers other than the tables have them.

The fork's rows go into temporary tables, beside views that put them in the place of the others. So
every query reads a fork as it reads the fleet, from another schema.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from mulligan.model import ProviderId, Seq
from mulligan.placement.fleet import Node
from mulligan.projections import providers
from mulligan.projections.fold import Held
from mulligan.projections.schema import Row
from mulligan.projections.writing import copy_rows, state_row
from mulligan.queries.database import Database, Snapshot

FORKED = "pg_temp"

_TABLE = next(table for table in providers.MODEL.tables if table.name == "provider")
_GROUPS = next(table for table in providers.MODEL.tables if table.name == "provider_group")
_MEMBERS = next(child for child in _GROUPS.children if child.name == "group_member")


class Fork(msgspec.Struct, frozen=True, kw_only=True):
    """``nodes`` stand in the place of those in the tables, or beside them.

    One that is not to be there has a provider that is deleted.
    """

    nodes: Mapping[ProviderId, Node]


@asynccontextmanager
async def snapshot_of(reads: Database | Snapshot) -> AsyncIterator[Snapshot]:
    """Hold one moment: the one that is held already, or a new one."""
    if isinstance(reads, Snapshot):
        yield reads
        return
    async with reads.snapshot() as snapshot:
        yield snapshot


@asynccontextmanager
async def laid(reads: Database | Snapshot, fork: Fork) -> AsyncIterator[tuple[Snapshot, str]]:
    """Lay a fork over the fleet for a while: give where to read it, and the schema it is in."""
    async with snapshot_of(reads) as snapshot:
        connection = snapshot.connection
        savepoint = connection.transaction()
        await savepoint.start()
        await snapshot.execute(_DDL)
        for name, columns, rows in _rows(fork.nodes):
            await copy_rows(connection, FORKED, f"forked_{name}", columns, rows)
        yield snapshot, FORKED
        await savepoint.rollback()


def _rows(nodes: Mapping[ProviderId, Node]) -> Iterable[tuple[str, Any, list[Row]]]:
    yield "provider", _TABLE.all_columns, [_provider(node) for node in nodes.values()]
    for child in _TABLE.children:
        rows = [row for id_, node in nodes.items() for row in child.rows(id_, node.provider)]
        yield child.name, child.columns, rows
    members = [
        (group, id_)
        for id_, node in nodes.items()
        if not node.provider.deleted
        for group in node.groups
    ]
    yield _MEMBERS.name, _MEMBERS.columns, members


def _provider(node: Node) -> Row:
    held = Held(0, Seq(0), Seq(0), _NEVER, node.provider)
    return state_row(_TABLE, node.provider.id, held)


_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def _ddl() -> str:
    """Say how each table looks with the fork in it."""
    keyed = {"provider": "key", _MEMBERS.name: "provider"}
    keyed |= {child.name: "provider" for child in _TABLE.children}
    tables = [
        f"CREATE TEMP TABLE forked_{name} (LIKE rm_providers.{name} INCLUDING INDEXES)"
        for name in keyed
    ]
    views = [
        f"CREATE TEMP VIEW {name} AS SELECT * FROM rm_providers.{name}"
        f" WHERE {key} NOT IN (SELECT key FROM {FORKED}.forked_provider)"
        f" UNION ALL SELECT * FROM {FORKED}.forked_{name}"
        for name, key in keyed.items()
    ]
    return ";\n".join(tables + views)


_DDL = _ddl()
