"""What the parts of a region answered, and which of them did not."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mulligan.diagnosis.problem import Note, Problem

if TYPE_CHECKING:
    from mulligan.proto.v1 import (
        ArchiveStatus,
        Brake,
        Credential,
        Endpoint,
        Instance,
        LogStatus,
        Machine,
        Projection,
        Quota,
    )


@dataclass
class Seen:
    """An instance as it answered, with how far its clock was from ours, in seconds."""

    instance: "Instance"
    skew: float


@dataclass
class Status:
    """A region as it was found; ``problems`` and ``notes`` say what to do next, once they
    were looked for.

    ``silent`` are the services that did not answer what was asked of them, ``away`` the instances,
    and ``halted`` those whose log halted, each with why; ``cut_off`` are regions that cannot be
    reached. ``unknown`` is why nobody could log in: then only what needs no login was looked at.
    ``more_machines`` tells that more machines may be in trouble than were kept. ``unread`` are
    machines whose BMC could not be read, ``more_unread`` that there are more of them.
    """

    region: str = ""
    services: "list[Endpoint]" = field(default_factory=list)
    instances: list[Seen] = field(default_factory=list)
    log: "LogStatus | None" = None
    archive: "ArchiveStatus | None" = None
    projections: "list[Projection]" = field(default_factory=list)
    machines: "list[Machine]" = field(default_factory=list)
    unread: "list[Machine]" = field(default_factory=list)
    brakes: "list[Brake]" = field(default_factory=list)
    rotating: "list[Credential]" = field(default_factory=list)
    quotas: "list[Quota]" = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    unknown: str = ""
    silent: dict[str, str] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)
    halted: dict[str, str] = field(default_factory=dict)
    cut_off: dict[str, list[str]] = field(default_factory=dict)
    more_machines: bool = False
    more_unread: bool = False

    @property
    def head(self) -> int:
        """Return the newest entry of the log; 0 where that did not answer."""
        return self.log.head.seq if self.log is not None and self.log.head else 0
