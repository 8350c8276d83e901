"""The past of a region that a benchmark begins with: a fleet, and claims on it."""

import random
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from benchmarks._fleet import CPUS, MEMORY_MIB, Ask, Fleet, Node
from mulligan.events.claim import Allocation, ClaimMade
from mulligan.events.codec import Codec, Event
from mulligan.events.envelope import Actor, Commit
from mulligan.events.provider import CapacityTaken, Inventory
from mulligan.events.request import (
    CapabilityDemand,
    ClaimRequest,
    GroupDemand,
    RequestGroup,
    Span,
)
from mulligan.handlers import distance, group, provider_commands
from mulligan.handlers.arguments import NOTHING, arguments
from mulligan.handlers.decision import Command
from mulligan.handlers.kinds import KINDS
from mulligan.model import (
    AccountId,
    ClaimId,
    CommitId,
    GroupId,
    ProjectId,
    ProviderId,
    ResourceClass,
    StreamId,
    new_id,
    stream_id,
    stream_kind,
    utc_now,
)

CPU, MEMORY, MACHINE = map(ResourceClass, ("cpu.shared", "memory", "machine"))
FAILURE = ("local", "rack", "row", "site")
_MIB = 2**20
_DAY_S = 86_400


def demand_of(ask: Ask, now: datetime) -> ClaimRequest:
    """Say as claims keep it what is asked."""
    start = None if ask.starts_in is None else now + timedelta(seconds=ask.starts_in)
    end = start + timedelta(seconds=ask.lasts) if start and ask.lasts else None
    group = RequestGroup(
        resources={CPU: ask.cpus, MEMORY: ask.memory_mib * _MIB},
        capabilities=CapabilityDemand(require=ask.require, forbid=ask.forbid),
        groups=GroupDemand(
            any_of=tuple(tuple(map(GroupId, choice)) for choice in ask.member_of),
            forbid=tuple(map(GroupId, ask.not_member_of)),
        ),
    )
    span = Span(start=start, end=end)
    if ask.earliest and ask.lasts is not None:
        span = Span(duration=ask.lasts, not_before=start)
    return ClaimRequest(groups=(group,), span=span)


class History:
    """Commits of a fleet and of claims on it, each valid after those before."""

    def __init__(self, fleet: Fleet, seed: int = 1) -> None:
        self.fleet = fleet
        self.project = ProjectId(new_id())
        self._now = utc_now()
        self._rng = random.Random(seed)
        self._codec = Codec()
        self._states: dict[StreamId, Any] = {}
        self._versions: dict[StreamId, int] = {}

    def commits(self, live: int = 0) -> Iterator[Commit]:
        """Yield the fleet, its full nodes' claims, and ``live`` claims more, staggered."""
        yield from self._fleet()
        self._states.clear()
        for node in self.fleet.nodes:
            if node.full:
                yield self._claim(node, self.fleet.room, self._now, None)
        open_nodes = [node for node in self.fleet.nodes if not node.full]
        for n in range(live):
            yield self._claim(open_nodes[n % len(open_nodes)], 1, *self._window())

    def _fleet(self) -> Iterator[Commit]:
        fleet = self.fleet
        yield self._do(distance.CreateDistanceType(name="failure", positions=FAILURE))
        for place in (*fleet.sites, *fleet.rows, *fleet.racks):
            yield self._do(group.CreateGroup(group=GroupId(place.uuid), name=place.name))
        members: dict[str, list[ProviderId]] = {}
        for node in fleet.nodes:
            yield self._do(self._create(node))
            for place in fleet.places_of(node):
                members.setdefault(place.uuid, []).append(ProviderId(node.uuid))
        for uuid, providers in members.items():
            yield self._do(group.UpdateMembers(group=GroupId(uuid), add=tuple(providers)))

    def _create(self, node: Node) -> Command:
        places = self.fleet.places_of(node)
        far = {GroupId(site.uuid): "site" for site in self.fleet.sites}
        near = {GroupId(place.uuid): at for place, at in zip(places, FAILURE, strict=False)}
        return provider_commands.CreateProvider(
            provider=ProviderId(node.uuid),
            name=node.name,
            type="compute",
            inventories={
                MACHINE: Inventory(total=1),
                CPU: Inventory(total=CPUS * self.fleet.room),
                MEMORY: Inventory(total=MEMORY_MIB * self.fleet.room * _MIB),
            },
            capabilities=node.capabilities,
            distances={"failure": {**far, **near}},
        )

    def _window(self) -> tuple[datetime, datetime | None]:
        """Return a tenth of claims without an end, half running, the rest in the next 30 days."""
        drawn = self._rng.random()
        lasts = timedelta(seconds=self._rng.randrange(3600, 30 * _DAY_S))
        if drawn < 0.1:
            return self._now, None
        if drawn < 0.6:
            return self._now, self._now + timedelta(days=1) + lasts
        start = self._now + timedelta(seconds=self._rng.randrange(3600, 30 * _DAY_S))
        return start, start + lasts

    def _claim(self, node: Node, times: int, start: datetime, end: datetime | None) -> Commit:
        """Make a claim as the handler does, without its checks: a million shall not take long."""
        claim, provider = ClaimId(new_id()), ProviderId(node.uuid)
        amounts = {CPU: CPUS * times, MEMORY: MEMORY_MIB * times * _MIB}
        made = ClaimMade(
            claim=claim,
            project=self.project,
            account=AccountId("bench"),
            consumer=claim,
            start=start,
            end=end,
            allocations=(Allocation(provider=provider, amounts=amounts),),
        )
        taken = CapacityTaken(claim=claim, amounts=amounts, start=start, end=end)
        changes = ((stream_id("claim", claim), made), (stream_id("provider", provider), taken))
        return self._commit("claim.make", changes)

    def _do(self, command: Command) -> Commit:
        states: dict[StreamId, Any] = {}
        while new := [s for s in command.reads(states) if s not in states]:
            states.update({s: self._states.get(s) for s in new})
        changes = command.decide(states, self._now)
        args = arguments(command, changes, states, self._now)
        for stream, event in changes:
            evolve = KINDS[stream_kind(stream)].evolve
            self._states[stream] = evolve(self._states.get(stream), event, self._now)
        return self._commit(command.NAME, changes, args)

    def _commit(
        self,
        command: str,
        changes: Iterable[tuple[StreamId, Event]],
        args: msgspec.Raw = NOTHING,
    ) -> Commit:
        records = []
        for stream, event in changes:
            version = self._versions[stream] = self._versions.get(stream, 0) + 1
            records.append(self._codec.record(stream, version, event))
        return Commit(
            id=CommitId(new_id()),
            at=self._now,
            actor=Actor(account="bench", project=self.project),
            command=command,
            digest="0" * 64,
            events=tuple(records),
            args=args,
        )
