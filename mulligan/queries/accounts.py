"""Accounts, projects and signing keys."""

from collections.abc import Sequence

from mulligan.handlers.account import Account, Project, SigningKey
from mulligan.queries.database import Database
from mulligan.queries.paging import OBJECT_COLUMNS, Filters, Object, Page, PageRequest, page, reader


async def list_accounts(database: Database, request: PageRequest) -> Page[Object[Account]]:
    """List accounts by age."""
    return await page(database, Filters().listing("rm_iam.account"), request, reader(Account))


async def list_projects(database: Database, request: PageRequest) -> Page[Object[Project]]:
    """List projects by age."""
    return await page(database, Filters().listing("rm_iam.project"), request, reader(Project))


async def list_keys(database: Database) -> Sequence[Object[SigningKey]]:
    """Return every signing key, the oldest first."""
    rows = await database.fetch(
        f"SELECT {OBJECT_COLUMNS} FROM rm_iam.signing_key t ORDER BY t.created_seq, t.key"
    )
    return [reader(SigningKey)(row) for row in rows]
