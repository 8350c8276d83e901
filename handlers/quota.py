"""Stream ``quota/…``: what a project and those under it may use, over time.

A project without a quota is not counted: only quotas that were set are streams that claims write.
A claim reads those of its project and of every project above it, so none comes to be unseen.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import ClassVar, TypeVar, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import Exhausted, FailedPrecondition, InvalidArgument, MulliganError
from mulligan.events import quota as ev
from mulligan.handlers import usage
from mulligan.handlers.account import Project
from mulligan.handlers.decision import Change, Command, States, existing
from mulligan.handlers.provider import check_class
from mulligan.model import MAX_AMOUNT, ClaimId, ProjectId, ResourceClass, StreamId, stream_id
from mulligan.quantities import format_amount

Amounts = Mapping[ResourceClass, int]
E = TypeVar("E", bound=MulliganError)


class OverQuota(Exhausted):
    """A project's quota does not allow this: no other provider would help."""


class Quota(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits by class and the longest lease in seconds, with what the project's tree uses.

    Limits count once ``baselined``: from then on ``use`` is all of it.
    """

    project: ProjectId
    limits: dict[ResourceClass, int] = {}
    max_lease: int | None = None
    use: dict[ResourceClass, usage.Use] = {}
    baselined: bool = False


def evolve(state: Quota | None, event: ev.Event, at: datetime) -> Quota:
    """Return the quota as it is after the event."""
    if isinstance(event, ev.QuotaTracked):
        return Quota(project=event.project)
    assert state is not None, "the first event of a quota begins its tracking"
    match event:
        case ev.QuotaTaken():
            changed = usage.changed(state.use, event.amounts, event.start, event.end, 1, at)
            return replace(state, use=changed)
        case ev.QuotaFreed():
            changed = usage.changed(state.use, event.amounts, event.start, event.end, -1, at)
            return replace(state, use=changed)
        case ev.QuotaBaselined():
            use = state.use
            for class_, levels in event.use.items():
                for level in levels:
                    amounts = {class_: level.used}
                    use = usage.changed(use, amounts, level.start, level.end, 1, at)
            return replace(state, use=use, baselined=True)
        case ev.QuotaSet():
            return replace(state, limits=event.limits, max_lease=event.max_lease)
        case _:
            assert_never(event)


def streams(states: States, project: ProjectId) -> list[StreamId]:
    """Name the project, those above it as far as they are known, and their quotas."""
    found: list[StreamId] = []
    while project:
        stream = stream_id("project", project)
        if stream in found:
            break
        found += [stream, stream_id("quota", project)]
        state: Project | None = states.get(stream)
        project = state.parent if state is not None else ProjectId("")
    return found


def _chain(states: States, project: ProjectId) -> Iterable[tuple[str, Quota]]:
    """Yield the quotas that count a project's claims, with their projects' names."""
    for stream in streams(states, project):
        if stream.startswith("quota/") and (state := states.get(stream)) is not None:
            known: Project | None = states.get(stream_id("project", state.project))
            yield (known.name if known is not None else state.project), state


def taken(
    states: States,
    project: ProjectId,
    claim: ClaimId,
    amounts: Amounts,
    start: datetime,
    end: datetime | None,
) -> list[Change]:
    """Record the use in every quota that counts it; raise OverQuota where it exceeds one."""
    changes: list[Change] = []
    for name, quota in _chain(states, project):
        for class_, amount in amounts.items():
            limit = quota.limits.get(class_, MAX_AMOUNT) if quota.baselined else MAX_AMOUNT
            used = usage.peak(quota.use.get(class_, ()), start, end)
            if used + amount > limit:
                raise _over(
                    OverQuota(_exceeded(name, class_, limit, used, amount)),
                    quota.project != project,
                    f"the quota of a project above yours does not allow"
                    f" {format_amount(class_, amount)} more {class_} in the window; ask for a"
                    " higher one",
                )
        event = ev.QuotaTaken(claim=claim, amounts=dict(amounts), start=start, end=end)
        changes.append(Change(stream_id("quota", quota.project), event))
    return changes


def _exceeded(name: str, class_: ResourceClass, limit: int, used: int, asked: int) -> str:
    """Say what a quota allows, leaves in the window, and is asked for."""
    left = max(limit - used, 0)
    may, taken, rest, more = (format_amount(class_, n) for n in (limit, used, left, asked))
    step = "ask for less" if left else "release some"
    return (
        f"project {name} may use {may} {class_}: up to {taken} are in use in the window, {rest} are"
        f" left and {more} more are asked; {step}, or ask for a higher quota"
    )


def _over(error: E, above: bool, outside: str) -> E:
    """Return the error; what the quota of a project above says is not for its holder to read."""
    if above:
        error.outside = outside
    return error


def freed(
    states: States,
    project: ProjectId,
    claim: ClaimId,
    amounts: Amounts,
    start: datetime,
    end: datetime | None,
) -> list[Change]:
    """Record the end of the use in every quota that counts it."""
    if not amounts or (end is not None and end <= start):
        return []
    event = ev.QuotaFreed(claim=claim, amounts=dict(amounts), start=start, end=end)
    return [
        Change(stream_id("quota", quota.project), event) for _, quota in _chain(states, project)
    ]


def check_lease(states: States, project: ProjectId, start: datetime, end: datetime | None) -> None:
    """Raise InvalidArgument when a lease is longer than a quota allows."""
    for name, quota in _chain(states, project):
        if quota.max_lease is None:
            continue
        if end is None or end - start > timedelta(seconds=quota.max_lease):
            asked = "an open end is longer"
            if end is not None:
                asked = f"this one is {_words(int((end - start).total_seconds()))}"
            longest = _words(quota.max_lease)
            raise _over(
                InvalidArgument(
                    "window.end", f"the longest lease of project {name} is {longest}; {asked}"
                ),
                quota.project != project,
                f"the longest lease of a project above yours is {longest}; {asked}",
            )


def _words(seconds: int) -> str:
    """Say a span of time in days, hours, minutes and seconds, leaving out what is none."""
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts) or "0 s"


class TrackQuota(Command, frozen=True, kw_only=True):
    """Begin to count what a project's tree uses."""

    NAME: ClassVar = "quota.track"
    project: ProjectId

    def reads(self, states: States) -> list[StreamId]:
        """Read the project and its quota."""
        return [stream_id("project", self.project), stream_id("quota", self.project)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Begin once."""
        existing(states, "project", self.project, Project)
        if states.get(stream_id("quota", self.project)) is not None:
            return []
        event = ev.QuotaTracked(project=self.project)
        return [Change(stream_id("quota", self.project), event)]


class SetQuota(Command, frozen=True, kw_only=True):
    """Replace the limits; ``baseline`` is what was in use when tracking began, if not known yet.

    Limits below what is in use are allowed: nothing is taken away, nothing new is given.
    """

    NAME: ClassVar = "quota.set"
    project: ProjectId
    limits: dict[ResourceClass, int]
    max_lease: int | None = None
    baseline: dict[ResourceClass, tuple[ev.Level, ...]] | None = None

    def reads(self, states: States) -> list[StreamId]:
        """Read the project and its quota."""
        return [stream_id("project", self.project), stream_id("quota", self.project)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Set the limits if they differ, after the baseline if there is none."""
        existing(states, "project", self.project, Project)
        check_limits(self.limits, self.max_lease)
        stream = stream_id("quota", self.project)
        state: Quota | None = states.get(stream)
        if state is None:
            raise FailedPrecondition("the quota is not tracked yet")
        changes: list[Change] = []
        if not state.baselined:
            if self.baseline is None:
                raise FailedPrecondition("what the project uses is not known yet; set it again")
            changes.append(Change(stream, ev.QuotaBaselined(use=self.baseline)))
        if (self.limits, self.max_lease) != (state.limits, state.max_lease):
            event = ev.QuotaSet(limits=self.limits, max_lease=self.max_lease)
            changes.append(Change(stream, event))
        return changes


def check_limits(limits: Mapping[ResourceClass, int], max_lease: int | None) -> None:
    """Raise InvalidArgument, naming the field, for a limit that makes no sense."""
    for class_, limit in limits.items():
        check_class(class_, f"limits[{class_}]")
        if not 0 <= limit <= MAX_AMOUNT:
            raise InvalidArgument(f"limits[{class_}]", f"{limit} is not between 0 and {MAX_AMOUNT}")
    if max_lease is not None and not 0 < max_lease <= 10**10:
        raise InvalidArgument("max_lease", "give a number of seconds above 0, or leave it out")
