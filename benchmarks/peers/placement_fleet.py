"""Puts the fleet into Placement: names through its API, the rest straight into its tables.

Its API takes four calls a node, which would be most of the benchmark's time.
"""

from typing import Any

import aiohttp
import asyncpg

from benchmarks._fleet import BARRED, COMMON, CPUS, MEMORY_MIB, NOWHERE, RARE, Fleet
from benchmarks.peers.placement_client import HEADERS, PROJECT, trait
from mulligan.model import new_id

_MACHINE = "CUSTOM_MACHINE"
_COPY_S = 300.0

Tables = dict[str, tuple[str, list[tuple[Any, ...]]]]


async def load_fleet(url: str, dsn: str, fleet: Fleet) -> None:
    """Load an empty Placement whose schema is there."""
    async with aiohttp.ClientSession(url, headers=HEADERS) as session:
        names = [f"/traits/{trait(name)}" for name in (COMMON, RARE, BARRED, NOWHERE)]
        for path in (*names, f"/resource_classes/{_MACHINE}"):
            async with session.put(path) as answer:
                answer.raise_for_status()
    connection = await asyncpg.connect(dsn)
    try:
        classes = await _ids(connection, "resource_classes")
        traits = await _ids(connection, "traits")
        for table, (columns, rows) in _tables(fleet, classes, traits).items():
            await connection.copy_records_to_table(
                table, records=rows, columns=columns.split(), timeout=_COPY_S
            )
            if columns.startswith("id "):
                await connection.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {len(rows) + 1})"
                )
        await connection.execute("ANALYZE", timeout=_COPY_S)
    finally:
        await connection.close()


async def _ids(connection: "asyncpg.Connection[asyncpg.Record]", table: str) -> dict[str, int]:
    rows = await connection.fetch(f"SELECT name, id FROM {table}")
    return {row["name"]: row["id"] for row in rows}


def _tables(fleet: Fleet, classes: dict[str, int], traits: dict[str, int]) -> Tables:
    """Return every table's columns and rows; a node's id is its number, from 1."""
    places = (*fleet.racks, *fleet.rows, *fleet.sites)
    numbers = {place.uuid: n for n, place in enumerate(places, 1)}
    nodes = list(enumerate(fleet.nodes, 1))
    full = [(n, node, new_id()) for n, node in nodes if node.full]
    totals = {"VCPU": CPUS * fleet.room, "MEMORY_MB": MEMORY_MIB * fleet.room, _MACHINE: 1}
    used = [(classes[name], totals[name]) for name in ("VCPU", "MEMORY_MB")]
    return {
        "resource_providers": (
            "id uuid name generation root_provider_id",
            [(n, node.uuid, node.name, 1, n) for n, node in nodes],
        ),
        "inventories": (
            "resource_provider_id resource_class_id total reserved min_unit max_unit step_size"
            " allocation_ratio",
            [
                (n, classes[name], total, 0, 1, total, 1, 1.0)
                for n, _ in nodes
                for name, total in totals.items()
            ],
        ),
        "resource_provider_traits": (
            "resource_provider_id trait_id",
            [(n, traits[trait(name)]) for n, node in nodes for name in node.capabilities],
        ),
        "placement_aggregates": ("id uuid", [(n, uuid) for uuid, n in numbers.items()]),
        "resource_provider_aggregates": (
            "resource_provider_id aggregate_id",
            [(n, numbers[place.uuid]) for n, node in nodes for place in fleet.places_of(node)],
        ),
        "projects": ("id external_id", [(1, PROJECT)]),
        "users": ("id external_id", [(1, PROJECT)]),
        "consumers": (
            "uuid project_id user_id generation",
            [(consumer, 1, 1, 1) for _, _, consumer in full],
        ),
        "allocations": (
            "resource_provider_id consumer_id resource_class_id used",
            [(n, consumer, *one) for n, _, consumer in full for one in used],
        ),
    }
