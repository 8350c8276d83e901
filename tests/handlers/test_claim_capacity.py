"""Claims lived through by chance, against a plain model that counts every hour by itself.

``MULLIGAN_CASES`` is how many lives are lived.
"""

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.events import machine as machine_events
from mulligan.events.claim import Allocation
from mulligan.events.provider import Inventory
from mulligan.events.quota import Level
from mulligan.handlers import usage
from mulligan.handlers.claim import LIVE, MakeClaim
from mulligan.handlers.claim_changes import MoveClaim, RescheduleClaim, Reshape
from mulligan.handlers.claim_ends import EndClaim, ReleaseClaim, StartClaim, WarnClaim
from mulligan.handlers.decision import Command
from mulligan.handlers.deployment import ReleaseMachine
from mulligan.handlers.provider import DoesNotFit
from mulligan.handlers.provider_commands import CordonProvider, UncordonProvider, UpdateProvider
from mulligan.handlers.quota import OverQuota, Quota, SetQuota, TrackQuota
from mulligan.model import (
    AccountId,
    ClaimId,
    CommitId,
    MachineId,
    ProjectId,
    ProviderId,
    ResourceClass,
    stream_id,
)

from .brute_force import (
    AHEAD,
    OPEN,
    Bound,
    Held,
    Levels,
    Part,
    capacity_levels,
    held,
    quota_levels,
)
from .given import HOUR, MEMORY, NOON, Given

CASES = int(os.environ.get("MULLIGAN_CASES", "200"))
MACHINES = ("a", "b")
PROVIDERS = (*MACHINES, "c", "rack")
TREE = (*PROVIDERS, "row")
PROJECTS = {"company": "", "web": "company", "team": "web", "shop": "company"}

Amounts = dict[str, int]
AMOUNTS = st.dictionaries(st.sampled_from(PROVIDERS), st.integers(1, 6), min_size=1, max_size=3)
OPERATIONS = st.tuples(
    st.sampled_from(("resize", "turnaround", "turnaround", "cordon", "uncordon", "tree")),
    st.sampled_from(PROVIDERS),
    st.integers(0, 15),
)
LENGTH = st.one_of(st.none(), st.integers(1, 6))


def time(hour: int) -> datetime:
    return NOON + hour * HOUR


def end_time(hour: int) -> datetime | None:
    return None if hour == OPEN else time(hour)


def allocations(amounts: Mapping[str, int]) -> tuple[Allocation, ...]:
    return tuple(
        Allocation(provider=ProviderId(p), amounts={MEMORY: n}) for p, n in amounts.items()
    )


class Wish(NamedTuple):
    """What a claim is asked for: amounts by provider, hours ahead, hours long."""

    amounts: Amounts
    ahead: int
    length: int | None
    project: str
    keep: bool


WISHES = st.builds(
    Wish,
    amounts=AMOUNTS,
    ahead=st.integers(0, 6),
    length=LENGTH,
    project=st.sampled_from(sorted(PROJECTS)),
    keep=st.booleans(),
)


class Claiming(RuleBasedStateMachine):
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.given = Given()
        self.hour = 0
        self.held: dict[ClaimId, Held] = {}
        self.baselines: dict[str, dict[ClaimId, Held]] = {}
        for key, parent in PROJECTS.items():
            self.given.project(key, parent)
        for key in PROVIDERS:
            if key in MACHINES:
                self.given.available(key)
            else:
                self.given.offers(key, {})
            self.resize(key, 10)
        self.given.offers("row", {})
        for key, parent in (("a", "rack"), ("b", "rack"), ("rack", "row")):
            self.put_under(key, parent)

    # What there is, counted by hand.

    def capacity(self, key: str) -> int:
        inventory = self.given.provider(key).inventories.get(MEMORY)
        return 0 if inventory is None else inventory.total

    def turnaround(self, key: str) -> int:
        return self.given.provider(key).turnaround // 3600

    def is_open(self, key: str) -> bool:
        while key:
            if self.given.provider(key).cordons:
                return False
            key = self.given.provider(key).parent
        return True

    def is_live(self, claim: ClaimId) -> bool:
        return self.given.claim(claim).state in LIVE and self.hour < self.held[claim].end

    def quotas(self) -> dict[str, Quota]:
        found = {key: self.given.states.get(stream_id("quota", key)) for key in PROJECTS}
        return {key: quota for key, quota in found.items() if quota is not None}

    def used_by(self, project: str, claims: Iterable[Held]) -> Levels:
        tree = frozenset(key for key in PROJECTS if project in above(key))
        return quota_levels(claims, tree, self.hour)

    def capacities(self, after: Mapping[ClaimId, Held]) -> list[Bound]:
        return [
            Bound(
                self.capacity(key),
                capacity_levels(self.held.values(), key, self.hour),
                capacity_levels(after.values(), key, self.hour),
            )
            for key in PROVIDERS
        ]

    def limits(self, after: Mapping[ClaimId, Held]) -> list[Bound]:
        return [
            Bound(
                quota.limits[MEMORY],
                self.used_by(key, self.held.values()),
                self.used_by(key, after.values()),
            )
            for key, quota in self.quotas().items()
            if quota.baselined and MEMORY in quota.limits
        ]

    def too_long(self, project: str, length: int) -> bool:
        leases = [self.quotas()[key].max_lease for key in above(project) if key in self.quotas()]
        return any(lease is not None and length * 3600 > lease for lease in leases)

    def attempt(
        self,
        command: Command,
        after: Mapping[ClaimId, Held],
        *,
        too_long: bool = False,
        closed: bool = False,
        grows: bool = True,
    ) -> bool:
        """Do it, and require that it is refused for a reason that counting by hand finds too.

        What is refused though it does not ``grow`` must at least leave something exceeded.
        """
        capacities, limits = self.capacities(after), self.limits(after)
        expected = not (too_long or closed or any(b.broken for b in (*capacities, *limits)))
        try:
            self.given.do(command)
        except DoesNotFit:
            tight = [b for b in capacities if (b.broken if grows else b.exceeded)]
            assert closed or tight, "refused though it fits"
        except OverQuota:
            tight = [b for b in limits if (b.broken if grows else b.exceeded)]
            assert tight, "refused though the quota allows it"
        except InvalidArgument:
            assert too_long, "refused though the lease is short enough"
        else:
            assert expected, "done though it does not fit"
            self.held.update(after)
            return True
        return False

    # What happens.

    @initialize(
        target=claims,
        wishes=st.lists(WISHES, max_size=5),
        limit=st.integers(10, 30),
        turnarounds=st.fixed_dictionaries({key: st.integers(0, 2) for key in PROVIDERS}),
    )
    def begin(self, wishes: list[Wish], limit: int, turnarounds: dict[str, int]) -> object:
        for key, hours in turnarounds.items():
            self.given.do(UpdateProvider(provider=ProviderId(key), turnaround=hours * 3600))
        self.track("company")
        self.limit("company", limit, None)
        return self.make(wishes)

    @rule(target=claims, wishes=st.lists(WISHES, min_size=1, max_size=3))
    def make(self, wishes: list[Wish]) -> object:
        made = [self.make_one(wish) for wish in wishes]
        return multiple(*(claim for claim in made if claim is not None))

    def make_one(self, wish: Wish) -> ClaimId | None:
        amounts, ahead, length, project, keep = wish
        claim = ClaimId(self.given.fresh("claim"))
        start = self.hour + ahead
        end = OPEN if length is None else start + length
        command = MakeClaim(
            claim=claim,
            project=ProjectId(project),
            account=AccountId("ann"),
            allocations=allocations(amounts),
            start=time(start),
            end=end_time(end),
            on_end="keep_power_off" if keep else "release",
        )
        parts = tuple(Part(p, n, start, end, self.turnaround(p)) for p, n in amounts.items())
        made = self.attempt(
            command,
            self.held | {claim: Held(project, start, end, parts)},
            too_long=self.too_long(project, end - start),
            closed=not all(map(self.is_open, amounts)),
        )
        return claim if made else None

    @rule(claim=claims)
    def release(self, claim: ClaimId) -> None:
        if self.given.claim(claim).state == "ended":
            self.must_fail(ReleaseClaim(claim=claim))
            return
        self.given.do(ReleaseClaim(claim=claim))
        self.give_back(claim, PROVIDERS)

    def give_back(self, claim: ClaimId, providers: Iterable[str]) -> None:
        parts = tuple(
            part.given_back(self.hour) if part.live and part.provider in providers else part
            for part in self.held[claim].parts
        )
        self.held[claim] = self.held[claim]._replace(parts=parts)

    def must_fail(self, command: Command) -> None:
        try:
            self.given.do(command)
        except FailedPrecondition:
            return
        raise AssertionError(f"done though it may not be: {command}")

    @rule(claim=claims, ahead=st.one_of(st.none(), st.integers(0, 6)), length=LENGTH)
    def reschedule(self, claim: ClaimId, ahead: int | None, length: int | None) -> None:
        old = self.held[claim]
        start = old.start if ahead is None else self.hour + ahead
        end = OPEN if length is None else max(self.hour, start) + length
        command = RescheduleClaim(
            claim=claim, start=time(start), end=end_time(end), open_end=length is None
        )
        begun = self.given.claim(claim).state != "reserved" or old.start <= self.hour
        if not self.is_live(claim) or (begun and start != old.start):
            self.must_fail(command)
            return
        parts = tuple(
            part._replace(start=start if part.start == old.start else part.start, end=end)
            if part.live
            else part
            for part in old.parts
        )
        longer = end - start > old.end - old.start
        self.attempt(
            command,
            self.held | {claim: Held(old.project, start, end, parts)},
            too_long=longer and self.too_long(old.project, end - start),
        )

    @rule(claim=claims)
    def shorten_to_now(self, claim: ClaimId) -> None:
        old = self.held[claim]
        if not (self.is_live(claim) and old.start < self.hour):
            return
        parts = tuple(p._replace(end=self.hour) if p.live else p for p in old.parts)
        command = RescheduleClaim(claim=claim, end=time(self.hour))
        self.attempt(command, self.held | {claim: old._replace(end=self.hour, parts=parts)})

    @rule(claim=claims, to=st.sampled_from(PROVIDERS), data=st.data())
    def move(self, claim: ClaimId, to: str, data: st.DataObject) -> None:
        old = self.held[claim]
        sources = sorted({p.provider for p in old.live} - {to})
        if not sources:
            return
        source = data.draw(st.sampled_from(sources))
        command = MoveClaim(claim=claim, source=ProviderId(source), target=ProviderId(to))
        if not self.is_live(claim):
            self.must_fail(command)
            return
        start = max(old.start, self.hour)
        leaving = [p for p in old.live if p.provider == source]
        stays = [p.given_back(self.hour) if p in leaving else p for p in old.parts]
        joins = [Part(to, p.amount, start, old.end, self.turnaround(to)) for p in leaving]
        self.attempt(
            command,
            self.held | {claim: old._replace(parts=(*stays, *joins))},
            closed=not self.is_open(to),
        )

    @rule(
        chosen=st.lists(st.tuples(claims, AMOUNTS), max_size=2, unique_by=lambda one: one[0]),
        totals=st.dictionaries(st.sampled_from(PROVIDERS), st.integers(0, 15), max_size=2),
    )
    def reshape(self, chosen: list[tuple[ClaimId, Amounts]], totals: dict[str, int]) -> None:
        if not (chosen or totals):
            return
        command = Reshape(
            inventories={ProviderId(p): {MEMORY: Inventory(total=n)} for p, n in totals.items()},
            claims={claim: allocations(amounts) for claim, amounts in chosen},
        )
        if not all(self.is_live(claim) for claim, _ in chosen):
            self.must_fail(command)
            return
        after = dict(self.held)
        for claim, amounts in chosen:
            after[claim] = self.reshaped(self.held[claim], amounts)
        before = {key: self.capacity(key) for key in PROVIDERS}
        capacities = [
            (before[key], bound._replace(limit=totals.get(key, before[key])))
            for key, bound in zip(PROVIDERS, self.capacities(after), strict=True)
        ]
        limits = self.limits(after)
        try:
            self.given.do(command)
        except DoesNotFit:
            assert any(bound.exceeded for _, bound in capacities), "refused though it fits"
        except OverQuota:
            assert any(bound.exceeded for bound in limits), "refused though the quota allows it"
        else:
            assert not any(bound.broken for bound in limits)
            for offered, bound in capacities:
                assert not bound.broken, "more is taken where there is no room"
                shrunk = [offered >= level > bound.limit for level in bound.after]
                assert not any(shrunk), "what is offered shrank below what is taken"
            self.held = after

    def reshaped(self, old: Held, amounts: Amounts) -> Held:
        start = max(old.start, self.hour)
        past = [p.given_back(self.hour, turnaround=0) if p.live else p for p in old.parts]
        new = [Part(p, n, start, old.end, self.turnaround(p)) for p, n in amounts.items()]
        return old._replace(parts=(*past, *new))

    @rule(claim=claims)
    def tick(self, claim: ClaimId) -> None:
        self.given.do(StartClaim(claim=claim))
        self.given.do(WarnClaim(claim=claim))
        self.given.do(EndClaim(claim=claim))
        if self.given.claim(claim).state == "ended":
            old = self.held[claim]
            self.held[claim] = old._replace(parts=tuple(p._replace(live=False) for p in old.parts))

    @rule(by=st.integers(1, 3))
    def pass_time(self, by: int) -> None:
        self.hour += by
        self.given.now = time(self.hour)

    @rule(wish=OPERATIONS)
    def operate(self, wish: tuple[str, str, int]) -> None:
        """What operators do to providers; ``resize`` may leave one over-committed."""
        verb, key, number = wish
        match verb:
            case "resize":
                self.resize(key, number)
            case "turnaround":
                seconds = number % 3 * 3600
                self.given.do(UpdateProvider(provider=ProviderId(key), turnaround=seconds))
            case "cordon":
                self.given.do(CordonProvider(provider=ProviderId(key), failed=number % 2 == 0))
            case "uncordon":
                for one in TREE:
                    self.given.do(UncordonProvider(provider=ProviderId(one)))
            case _:
                self.put_under(key, ("", *TREE)[number % (len(TREE) + 1)])

    def resize(self, key: str, total: int) -> None:
        inventories = {MEMORY: Inventory(total=total)}
        self.given.do(UpdateProvider(provider=ProviderId(key), inventories=inventories))

    def put_under(self, key: str, parent: str) -> None:
        command = UpdateProvider(provider=ProviderId(key), parent=ProviderId(parent))
        try:
            self.given.do(command)
        except InvalidArgument:
            assert key in self.path(parent), "refused though it is no cycle"
        else:
            assert parent == "" or key not in self.path(parent)

    def path(self, key: str) -> list[str]:
        """What it stands under, itself included, from the root down."""
        found: list[str] = []
        while key:
            assert key not in found, "a cycle"
            found.insert(0, key)
            key = self.given.provider(key).parent
        return found

    def track(self, project: str) -> None:
        if self.given.do(TrackQuota(project=ProjectId(project))):
            self.baselines[project] = dict(self.held)

    @rule(
        project=st.sampled_from(sorted(PROJECTS)),
        limit=st.one_of(st.none(), st.integers(0, 30)),
        lease=st.one_of(st.none(), st.integers(1, 12)),
    )
    def limit(self, project: str, limit: int | None, lease: int | None) -> None:
        """Begin to track, or, when that has begun, set the limits."""
        if project not in self.baselines:
            self.track(project)
            return
        command = SetQuota(
            project=ProjectId(project),
            limits={} if limit is None else {MEMORY: limit},
            max_lease=None if lease is None else lease * 3600,
            baseline={MEMORY: tuple(self.baseline(project))},
        )
        self.given.do(command)

    def baseline(self, project: str) -> list[Level]:
        """What the project's tree used when tracking began."""
        return [
            Level(time(part.start), end_time(part.end), part.amount)
            for claim in self.baselines.get(project, {}).values()
            if project in above(claim.project)
            for part in claim.parts
            if part.end > part.start
        ]

    @rule(claim=claims)
    def deploy(self, claim: ClaimId) -> None:
        """Every idle machine that the claim holds some of runs for it; work in hand is done."""
        for key in MACHINES:
            if self.given.machine(key).operation is not None:
                self.given.finish(key)
            live = {part.provider for part in self.held[claim].live}
            idle = self.given.machine(key).state == "available"
            if idle and key in live and self.given.claim(claim).usable(self.given.now):
                self.given.happened("machine", key, *self.deployment(claim))

    def deployment(self, claim: ClaimId) -> tuple[machine_events.Event, ...]:
        operation = CommitId(self.given.fresh("deploy"))
        started = machine_events.OperationStarted(
            operation=operation,
            verb="deploy",
            steps=(),
            deadline=self.given.now,
            then="active",
            claim=claim,
            project=ProjectId(self.held[claim].project),
        )
        return started, machine_events.OperationCompleted(operation=operation)

    @rule(key=st.sampled_from(MACHINES))
    def release_machine(self, key: str) -> None:
        claim = self.given.machine(key).claim
        if not claim:
            return
        self.given.do(ReleaseMachine(machine=MachineId(key)))
        if any(part.live for part in self.held[claim].parts):
            self.give_back(claim, [key])

    # What is always so.

    @invariant()
    def use_is_what_is_held_at_every_instant(self) -> None:
        for key in PROVIDERS:
            levels = capacity_levels(self.held.values(), key, self.hour)
            assert self.levels(self.given.provider(key).use) == levels
            segments = self.given.provider(key).use.get(MEMORY, ())
            assert all(s.used > 0 for s in segments), "more was freed than taken"
            if max(levels) > self.capacity(key):
                assert self.given.provider(key).over_committed

    def levels(self, use: Mapping[ResourceClass, usage.Use]) -> Levels:
        segments = use.get(MEMORY, ())
        hours = range(self.hour, self.hour + AHEAD + 1)
        return [usage.peak(segments, time(hour), time(hour + 1)) for hour in hours]

    @invariant()
    def claims_tell_what_they_hold(self) -> None:
        for claim, expected in self.held.items():
            found = held(self.given.claim(claim))
            assert (found.project, found.start, found.end) == expected[:3]
            for key in PROVIDERS:
                assert capacity_levels([found], key, self.hour) == capacity_levels(
                    [expected], key, self.hour
                )
            assert sorted(found.live) == sorted(expected.live)

    @invariant()
    def a_quota_counts_what_its_projects_hold(self) -> None:
        for key, quota in self.quotas().items():
            levels = self.used_by(key, self.held.values())
            if not quota.baselined:
                before = self.used_by(key, self.baselines[key].values())
                levels = [now - then for now, then in zip(levels, before, strict=True)]
            assert self.levels(quota.use) == levels

    @invariant()
    def who_stands_under_whom_is_said_the_same_everywhere(self) -> None:
        for key in TREE:
            state = self.given.provider(key)
            assert [*state.ancestors, key] == self.path(key)
            children = {k for k in TREE if self.given.provider(k).parent == key}
            assert sorted(state.children) == sorted(children)

    @invariant()
    def no_machine_runs_for_a_claim_that_left_it(self) -> None:
        for key in MACHINES:
            claim = self.given.machine(key).claim
            if claim and self.given.claim(claim).state != "ended":
                assert key in {p.provider for p in self.held[claim].live}


def above(project: str) -> list[str]:
    """A project and those above it."""
    return [project, *above(PROJECTS[project])] if project else []


TestClaiming = Claiming.TestCase
TestClaiming.settings = settings(max_examples=CASES, stateful_step_count=30, deadline=None)
