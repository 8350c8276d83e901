"""Claims lived through by chance, against a plain model that counts every hour by itself."""

from datetime import datetime
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from mulligan.errors import FailedPrecondition
from mulligan.events.claim import Allocation
from mulligan.events.provider import Inventory
from mulligan.handlers import usage
from mulligan.handlers.claim import EndClaim, MakeClaim, ReleaseClaim, StartClaim
from mulligan.handlers.provider import DoesNotFit
from mulligan.handlers.provider_commands import UpdateProvider
from mulligan.model import AccountId, ClaimId, ProviderId

from .given import HOUR, MEMORY, NOON, WEB, Given

PROVIDERS = ("a", "b", "c")
HORIZON = 48


class Hold(NamedTuple):
    """What a claim holds at one provider over hours [start, end)."""

    claim: ClaimId
    provider: str
    amount: int
    start: int
    end: int

    def covers(self, hour: int) -> bool:
        return self.start <= hour < self.end


def hours(hour: int) -> datetime:
    return NOON + hour * HOUR


PARTS = st.lists(st.tuples(st.sampled_from(PROVIDERS), st.integers(1, 6)), min_size=1, max_size=3)


class Claiming(RuleBasedStateMachine):
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.given = Given()
        self.hour = 0
        self.capacity = dict.fromkeys(PROVIDERS, 10)
        self.holds: list[Hold] = []
        for key in PROVIDERS:
            self.given.offers(key, {"memory": 10})

    def level(self, provider: str, hour: int) -> int:
        """What the model says is in use."""
        return sum(h.amount for h in self.holds if h.provider == provider and h.covers(hour))

    def fits(self, parts: list[tuple[str, int]], start: int, end: int) -> bool:
        asked = {key: sum(n for k, n in parts if k == key) for key, _ in parts}
        return all(
            max(self.level(key, hour) for hour in range(start, end)) + amount <= self.capacity[key]
            for key, amount in asked.items()
        )

    @rule(
        target=claims,
        parts=PARTS,
        ahead=st.integers(0, 6),
        length=st.one_of(st.none(), st.integers(1, 6)),
    )
    def make(self, parts: list[tuple[str, int]], ahead: int, length: int | None) -> object:
        claim = ClaimId(self.given.fresh("claim"))
        start = self.hour + ahead
        end = HORIZON * 10 if length is None else start + length
        command = MakeClaim(
            claim=claim,
            project=WEB,
            account=AccountId("ann"),
            allocations=tuple(
                Allocation(provider=ProviderId(key), amounts={MEMORY: n}) for key, n in parts
            ),
            start=hours(start),
            end=None if length is None else hours(end),
        )
        expected = self.fits(parts, start, end)
        try:
            self.given.do(command)
        except DoesNotFit:
            assert not expected, "refused though it fits"
            return multiple()
        assert expected, "taken though it does not fit"
        self.holds += [Hold(claim, key, n, start, end) for key, n in parts]
        return claim

    @rule(claim=claims)
    def release(self, claim: ClaimId) -> None:
        try:
            self.given.do(ReleaseClaim(claim=claim))
        except FailedPrecondition:
            assert self.given.claim(claim).state == "ended"
            return
        self.holds = [
            h._replace(end=min(h.end, max(h.start, self.hour))) if h.claim == claim else h
            for h in self.holds
        ]

    @rule(claim=claims)
    def tick(self, claim: ClaimId) -> None:
        self.given.do(StartClaim(claim=claim))
        self.given.do(EndClaim(claim=claim))

    @rule(by=st.integers(1, 3))
    def pass_time(self, by: int) -> None:
        self.hour += by
        self.given.now = hours(self.hour)

    @rule(key=st.sampled_from(PROVIDERS), total=st.integers(0, 15))
    def resize(self, key: str, total: int) -> None:
        inventories = {MEMORY: Inventory(total=total)}
        self.given.do(UpdateProvider(provider=ProviderId(key), inventories=inventories))
        self.capacity[key] = total

    @invariant()
    def use_is_what_is_held_at_every_instant(self) -> None:
        for key in PROVIDERS:
            use = self.given.provider(key).use.get(MEMORY, ())
            for hour in range(self.hour, self.hour + HORIZON):
                assert usage.peak(use, hours(hour), hours(hour + 1)) == self.level(key, hour)
            assert all(s.used > 0 for s in use), "more was freed than taken"

    @invariant()
    def over_commitment_shows(self) -> None:
        for key in PROVIDERS:
            peak = max(self.level(key, hour) for hour in range(self.hour, self.hour + HORIZON))
            if peak > self.capacity[key]:
                assert self.given.provider(key).over_committed


TestClaiming = Claiming.TestCase
TestClaiming.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
