"""Capabilities that providers have."""

from collections.abc import Sequence

import msgspec

from mulligan.queries.database import Database, Reads
from mulligan.queries.terms import FLEET


class CapabilityRow(msgspec.Struct, frozen=True, kw_only=True):
    """A capability, and how many providers have it."""

    capability: str
    providers: int


def _distinct(schema: str) -> str:
    """Return the statement of every capability once: one look into the index for each."""
    return f"""
        WITH RECURSIVE used AS (
            SELECT min(c.capability) AS capability FROM {schema}.capability c
            WHERE c.capability >= $1::text
            UNION ALL
            SELECT (
                SELECT min(c.capability) FROM {schema}.capability c
                WHERE c.capability > u.capability
            ) FROM used u WHERE starts_with(u.capability, $1::text)
        )
        SELECT u.capability FROM used u WHERE starts_with(u.capability, $1::text)
    """


async def list_capabilities(database: Database, prefix: str = "") -> Sequence[CapabilityRow]:
    """Return the capabilities in use that begin with ``prefix``, sorted."""
    rows = await database.fetch(
        f"""
        SELECT d.capability, (
            SELECT count(*) FROM {FLEET}.capability c WHERE c.capability = d.capability
        ) AS providers FROM ({_distinct(FLEET)}) d ORDER BY d.capability
        """,
        prefix,
    )
    return [CapabilityRow(capability=row["capability"], providers=row["providers"]) for row in rows]


async def in_use(reads: Reads, schema: str) -> Sequence[str]:
    """Return every capability that some provider has, of a fleet in ``schema``."""
    rows = await reads.fetch(f"{_distinct(schema)} ORDER BY 1", "")
    return [row["capability"] for row in rows]
