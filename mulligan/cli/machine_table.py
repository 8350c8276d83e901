"""Machines in a table: names for the UUIDs that its columns show."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mulligan.cli.machine_view import COLUMNS, UUIDS, UUIDS_SHOWN
from mulligan.cli.naming import name_fields
from mulligan.cli.output import Format
from mulligan.cli.verbs import Session

if TYPE_CHECKING:
    from mulligan.proto.v1 import Machine


async def print_machines(session: Session, found: "Sequence[Machine]", empty: str = "") -> None:
    """Print machines, to people with the names of whatever their UUIDs stand for."""
    named = UUIDS if session.out.form is Format.WIDE else UUIDS_SHOWN
    await name_fields(session, found, *named)
    session.out.rows(found, COLUMNS, empty)
