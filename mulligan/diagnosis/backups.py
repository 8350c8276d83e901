"""Whether what the archive does not hold was saved: in words, and what to do. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from mulligan.diagnosis.problem import Note, Problem, warning
from mulligan.quantities import format_span, format_time

if TYPE_CHECKING:
    from mulligan.diagnosis.found import Status
    from mulligan.proto.v1 import ArchiveStatus, Backup

_CALLED = {"secrets": "sealed secrets (BMC logins, accounts' secrets, user data)"}
_COUNTED = 1000
"""What archivers count up to."""
_SAVE = (
    "mulligan backup secrets FILE, daily, on the region's host; keep the master key apart from it:"
    " docs/how-to/back-up-and-restore.md"
)


def backup_problems(archive: "ArchiveStatus", now: datetime) -> Iterator[Problem]:
    """Yield which backups are overdue, and of which that cannot be told."""
    for one in archive.backups:
        if one.problem:
            what = f"whether the {_of(one)} were saved is not known: {one.problem}"
            yield warning("backup", what, _SAVE)
        elif one.overdue and one.saved_at is None:
            age = f"in {_span(one.since, now)} " if one.since else ""
            what = f"{age}the {_of(one)} were never saved; with etcd's disk they are gone"
            yield warning("backup", what, _SAVE)
        elif one.overdue:
            what = f"the {one.of} were saved {_span(one.saved_at, now)} ago, {_newer(one)}"
            yield warning("backup", what, _SAVE)


def notes_of(found: "Status") -> list[Note]:
    """Return what is no problem yet, and would be one if nobody did anything."""
    backups = found.archive.backups if found.archive is not None else []
    return [
        Note("backup", f"the {_of(one)} are in no backup yet; do it today", _SAVE)
        for one in backups
        if one.saved_at is None and one.newer and not one.overdue and not one.problem
    ]


def backup_shown(backup: "Backup", now: datetime) -> str:
    """Return when something was saved, and how much is not in that, in one line."""
    if backup.problem:
        return f"{backup.of}: {backup.problem}"
    if backup.saved_at is None:
        return f"{backup.of}: never saved, {_count(backup)} to save"
    at = f"{format_time(backup.saved_at)}, {_span(backup.saved_at, now)} ago"
    return f"{backup.of}: saved {at}, {_newer(backup)}"


def _of(backup: "Backup") -> str:
    return _CALLED.get(backup.of, backup.of)


def _newer(backup: "Backup") -> str:
    if not backup.newer:
        return "none is newer than that"
    return f"{_count(backup)} {'is' if backup.newer == 1 else 'are'} newer than that"


def _count(backup: "Backup") -> str:
    return f"{backup.newer}{' or more' if backup.newer >= _COUNTED else ''}"


def _span(since: datetime | None, now: datetime) -> str:
    return format_span(max(0.0, (now - since).total_seconds())) if since is not None else ""
