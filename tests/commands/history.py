"""What lies on a disk, commit by commit, and whether it ever held more than there was."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from mulligan.commands.redeciding import Redeciding
from mulligan.events.codec import Codec, Event, decode_entry
from mulligan.events.quota import QuotaTaken
from mulligan.handlers import provider, usage
from mulligan.handlers.claim import Claim
from mulligan.handlers.kinds import KINDS
from mulligan.handlers.provider import Provider
from mulligan.handlers.quota import Quota
from mulligan.log.memory import MemoryDisk
from mulligan.log.view import link
from mulligan.model import StreamId, stream_kind

from .region import GPU

States = Mapping[StreamId, Any]


class Moment(NamedTuple):
    """Every state after a commit, and what the commit brought."""

    at: datetime
    states: States
    events: list[tuple[StreamId, Event]]


def moments(disk: MemoryDisk) -> Iterator[Moment]:
    """Fold the log commit by commit; ``states`` is the same mapping every time."""
    codec, states = Codec(), dict[StreamId, Any]()
    for seq in sorted(disk.entries):
        for commit in decode_entry(disk.entries[seq].value).commits:
            events = [(record.stream, codec.event(record)) for record in commit.events]
            for stream, event in events:
                evolve = KINDS[stream_kind(stream)].evolve
                states[stream] = evolve(states.get(stream), event, commit.at)
            yield Moment(commit.at, states, events)


def require_never_exceeded(disk: MemoryDisk) -> None:
    """At no commit more was given than there is, nor more taken than a quota allowed."""
    for moment in moments(disk):
        for stream, event in moment.events:
            state = moment.states[stream]
            if isinstance(state, Provider):
                offered = provider.capacity(state.inventories.get(GPU))
                assert usage.peak(state.use.get(GPU, ()), moment.at, None) <= offered
            if isinstance(event, QuotaTaken) and isinstance(state, Quota) and state.baselined:
                limit = state.limits.get(GPU)
                used = usage.peak(state.use.get(GPU, ()), event.start, event.end)
                assert limit is None or used <= limit, "a claim went over the quota"


def require_counted(disk: MemoryDisk) -> None:
    """Providers and quotas count, from now on, exactly what the claims say that they hold."""
    *_, last = moments(disk)
    claims = [state for state in last.states.values() if isinstance(state, Claim)]
    for state in last.states.values():
        if isinstance(state, Provider):
            expected = _held(claims, state.id, None)
            assert _from(state.use.get(GPU, ()), last.at) == _from(expected, last.at)
        if isinstance(state, Quota):
            expected = _held(claims, None, _tree(last.states, state.project))
            assert _from(state.use.get(GPU, ()), last.at) == _from(expected, last.at)


def require_redecided(disk: MemoryDisk) -> None:
    """Decided again from the log alone, every command comes out as it did."""
    deciding = Redeciding()
    for seq in sorted(disk.entries):
        deciding.take([link(seq, None, disk.entries[seq].value)])
    found = deciding.findings()
    assert found.sound, [*found.differing, *found.unfolded]
    assert found.same == found.commits


def _held(claims: list[Claim], provider_id: str | None, projects: set[str] | None) -> usage.Use:
    """Add up the holds at a provider with their turnarounds, or those of projects without."""
    use: usage.Use = ()
    for claim in claims:
        for hold in claim.allocations:
            if provider_id not in {None, hold.provider}:
                continue
            if projects is not None and claim.project not in projects:
                continue
            start = claim.start if hold.since is None else max(claim.start, hold.since)
            stops = [t for t in (claim.end, claim.closed_at, hold.until) if t is not None]
            stop = min(stops, default=None)
            if stop is not None and stop <= start:
                continue
            if stop is not None and provider_id is not None:
                stop += timedelta(seconds=hold.turnaround)
            use = usage.add(use, start, stop, hold.amounts[GPU])
    return use


def _tree(states: States, project: str) -> set[str]:
    found = {project}
    while (
        more := {
            stream.partition("/")[2]
            for stream, state in states.items()
            if stream_kind(stream) == "project" and state.parent in found
        }
        - found
    ):
        found |= more
    return found


def _from(use: usage.Use, at: datetime) -> usage.Use:
    """Return the use from ``at`` on."""
    return tuple(usage.Segment(max(s.start, at), s.end, s.used) for s in usage.forget(use, at))
