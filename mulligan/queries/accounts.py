"""Accounts, projects and signing keys."""

from collections.abc import Sequence

from mulligan.handlers.account import Account, Project, SigningKey
from mulligan.queries.database import Database
from mulligan.queries.paging import OBJECT_COLUMNS, Filters, Object, Page, PageRequest, page, reader

BELOW = """(
    WITH RECURSIVE below AS (
        SELECT $$::text COLLATE "C" AS key
        UNION
        SELECT p.key FROM rm_iam.project p JOIN below b ON p.parent = b.key
    ) SELECT key FROM below
)"""
"""A project and those under it."""


async def list_accounts(
    database: Database,
    request: PageRequest,
    *,
    owner: str | None = None,
    below: str | None = None,
) -> Page[Object[Account]]:
    """List accounts by age: all, those of an ``owner``, or who has a role ``below`` a project."""
    filters = Filters("NOT t.deleted")
    filters.add("t.owner = $$", owner)
    filters.add(
        f"t.key IN (SELECT r.account FROM rm_iam.role_binding r WHERE r.project IN {BELOW})", below
    )
    return await page(database, filters.listing("rm_iam.account"), request, reader(Account))


async def list_projects(
    database: Database,
    request: PageRequest,
    *,
    parent: str | None = None,
    below: str | None = None,
) -> Page[Object[Project]]:
    """List projects by age: all, those right under a ``parent``, or one and all under it."""
    filters = Filters("NOT t.deleted")
    filters.add("t.parent = $$", parent)
    filters.add(f"t.key IN {BELOW}", below)
    return await page(database, filters.listing("rm_iam.project"), request, reader(Project))


async def list_keys(database: Database) -> Sequence[Object[SigningKey]]:
    """Return every signing key, the oldest first."""
    rows = await database.fetch(
        f"SELECT {OBJECT_COLUMNS} FROM rm_iam.signing_key t ORDER BY t.created_seq, t.key"
    )
    return [reader(SigningKey)(row) for row in rows]
