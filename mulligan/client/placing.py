"""A claim in the best of several regions: a saga of idempotent commands that leaves just one.

Each region has a log of its own, so nothing is taken in two of them at once. The claim has an id of
its own in each region, made of the placement's request id: whatever was asked of a region is asked
again under the same id, and what an answer that was lost had done can be found out.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import anyio
import msgspec

from mulligan.client.preferring import (
    Preference,
    claim_id,
    eligible,
    free_amount,
    ranked,
)
from mulligan.client.regions import DEADLINE_S, Regions
from mulligan.errors import (
    DeadlineExceeded,
    Exhausted,
    FailedPrecondition,
    InvalidArgument,
    MulliganError,
    NotFound,
    Unavailable,
)
from mulligan.model import is_uuid, new_id
from mulligan.proto.v1 import (
    Claim,
    ClaimState,
    GetClaimRequest,
    ListCandidatesRequest,
    ListCandidatesResponse,
    MakeClaimRequest,
    Region,
    ReleaseClaimRequest,
    ResourceRequest,
)

if TYPE_CHECKING:
    from mulligan.client.client import Client

CANDIDATES = 100
"""Candidates that are looked at in each region."""
HELD = (ClaimState.RESERVED, ClaimState.ACTIVE)
UNKNOWN = (Unavailable, DeadlineExceeded)
"""After these a command may have been carried out."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a claim was not made in a region."""

    region: str
    reason: str


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a claim was made, and what was tried before.

    ``in_doubt`` names regions that may hold another one, as they did not answer: call ``settle``
    with this placement until there are none.
    """

    request_id: str
    region: str
    claim: Claim
    refused: tuple[Refusal, ...] = ()
    in_doubt: tuple[str, ...] = ()


class Unplaced(Exhausted):
    """No region took the claim; ``refused`` says why, region by region."""

    def __init__(self, message: str, refused: Sequence[Refusal]) -> None:
        super().__init__(message)
        self.refused = tuple(refused)


class Undecided(Unavailable):
    """No region is known to have taken the claim, and some did not say.

    ``request_id`` must be given to the next attempt, which then finds what these have done.
    """

    def __init__(
        self, request_id: str, in_doubt: Sequence[str], refused: Sequence[Refusal]
    ) -> None:
        self.request_id = request_id
        self.in_doubt = tuple(in_doubt)
        self.refused = tuple(refused)
        super().__init__(
            f"it is not known whether {', '.join(in_doubt)} took the claim; "
            f"try again with the request id {request_id}, which takes or releases what is there"
        )


async def place(
    regions: Regions,
    request: MakeClaimRequest,
    preference: Preference | None = None,
    *,
    deadline_s: float = DEADLINE_S,
) -> Placement:
    """Make a claim in the best region that takes it, going on to the next when one refuses.

    Every region has ``deadline_s`` seconds for each step. With a request id that was used before,
    the claim it led to is found again. When a region did not answer and the claim was then made in
    another one, what the first may have made is released; when none took it, it is asked once more.
    Raise Unplaced when no region takes it, Undecided when that cannot be known.
    """
    saga = _Saga(regions, request, preference or Preference(), deadline_s)
    return await saga.run()


async def settle(
    regions: Regions,
    placement: Placement,
    request: MakeClaimRequest,
    *,
    deadline_s: float = DEADLINE_S,
) -> Placement:
    """Release what regions in doubt may have made; return the placement with those still in doubt.

    ``request`` is the one that was placed. Every region has ``deadline_s`` seconds for each step.
    """
    asked = dataclasses.replace(request, request_id=placement.request_id)
    left = await _Saga(regions, asked, Preference(), deadline_s).clear(placement.in_doubt)
    return msgspec.structs.replace(placement, in_doubt=tuple(left))


class _Saga:
    """One placement: what has been asked where, and what came of it."""

    def __init__(
        self,
        regions: Regions,
        request: MakeClaimRequest,
        preference: Preference,
        deadline_s: float,
    ) -> None:
        if request.request_id and not is_uuid(request.request_id):
            raise InvalidArgument("request_id", f"{request.request_id!r} is not a UUID")
        self._regions = regions
        self._resumed = bool(request.request_id)
        self._id = request.request_id or new_id()
        self._request = request
        self._preference = preference
        self._deadline_s = deadline_s
        self._reasons: dict[str, str] = {}
        self._doubts: dict[str, None] = {}

    async def run(self) -> Placement:
        """Carry the saga through, as ``place`` promises."""
        known = await self._known()
        names = eligible(known, self._preference)
        if self._resumed and (found := await self._found_again(names)) is not None:
            return found
        for name in await self._in_order(names, known):
            claim = await self._try(name)
            if claim is not None:
                return await self._placed(name, claim)
        for name in list(self._doubts):
            claim = await self._try(name)
            if claim is not None:
                return await self._placed(name, claim)
        refused = self._refused()
        if self._doubts:
            raise Undecided(self._id, tuple(self._doubts), refused)
        why = "; ".join(f"{one.region}: {one.reason}" for one in refused)
        raise Unplaced(f"no region took the claim: {why or 'none comes into question'}", refused)

    async def clear(self, names: Sequence[str]) -> Sequence[str]:
        """Release what regions may have made of this request; return those that did not answer.

        Each is asked for its claim once more, under the same id: that gives the claim if there is
        one and otherwise makes it, so that a copy of the request which is still under way can make
        none later; then it is released.
        """
        outcomes = await self._regions.each(names, self._undo, self._deadline_s)
        return [one.region for one in outcomes if isinstance(one.error, UNKNOWN)]

    async def _known(self) -> Sequence[Region]:
        """Return the regions that are known; none when home is away and others were named."""
        try:
            with anyio.fail_after(self._deadline_s):
                return await self._regions.list()
        except (TimeoutError, *UNKNOWN) as error:
            if self._preference.regions:
                return []
            late = f"home did not tell of regions within {self._deadline_s:g} s; name some"
            raise Unavailable(late) from error

    async def _found_again(self, names: Sequence[str]) -> Placement | None:
        """Return where an earlier run with this request id made the claim, if one did."""
        looked = await self._regions.each(names, self._look, self._deadline_s)
        self._doubts |= {one.region: None for one in looked if isinstance(one.error, UNKNOWN)}
        claims = {one.region: one.value for one in looked if one.value is not None}
        held = [name for name, claim in claims.items() if claim.state in HELD]
        if not held and claims:
            region, claim = next(iter(claims.items()))
            raise FailedPrecondition(
                f"claim {claim.uuid} of this request, in region {region}, has ended; "
                "use another request id for another claim"
            )
        if not held:
            return None
        self._doubts |= dict.fromkeys(held[1:])
        return await self._placed(held[0], claims[held[0]])

    async def _in_order(self, names: Sequence[str], known: Sequence[Region]) -> Sequence[str]:
        """Return the regions where something fits, best first."""
        fits: dict[str, int] = {}
        for name, found, error in await self._regions.each(
            names, self._candidates, self._deadline_s
        ):
            if error is not None:
                self._reasons[name] = error.message
            elif found is not None and not found.candidates:
                why = found.why_not
                self._reasons[name] = why.text if why is not None else "nothing fits"
            elif found is not None:
                fits[name] = free_amount(self._request.request or ResourceRequest(), found)
        return ranked(list(fits), self._preference.order, known, fits)

    async def _try(self, name: str) -> Claim | None:
        """Ask a region for the claim; note why there is none, and whether that is certain."""
        (outcome,) = await self._regions.each([name], self._make, self._deadline_s)
        claim, error = outcome.value, outcome.error
        self._doubts.pop(name, None)
        self._reasons.pop(name, None)
        if claim is not None and claim.state in HELD:
            return claim
        if isinstance(error, UNKNOWN):
            self._doubts[name] = None
        self._reasons[name] = error.message if error is not None else "released meanwhile"
        return None

    def _refused(self) -> tuple[Refusal, ...]:
        return tuple(Refusal(name, reason) for name, reason in self._reasons.items())

    async def _placed(self, region: str, claim: Claim) -> Placement:
        in_doubt = await self.clear([name for name in self._doubts if name != region])
        return Placement(
            request_id=self._id,
            region=region,
            claim=claim,
            refused=self._refused(),
            in_doubt=tuple(in_doubt),
        )

    def _claim_in(self, client: "Client") -> str:
        return claim_id(self._id, client.region or client.context.region)

    async def _candidates(self, client: "Client") -> ListCandidatesResponse:
        asked = ListCandidatesRequest(request=self._request.request, limit=CANDIDATES)
        return await client.resource.list_candidates(asked)

    async def _make(self, client: "Client") -> Claim:
        asked = dataclasses.replace(self._request, request_id=self._claim_in(client))
        claim = (await client.resource.make_claim(asked)).claim
        if claim is None:
            raise Unavailable(f"region {client.region} answered without a claim")
        return claim

    async def _look(self, client: "Client") -> Claim | None:
        try:
            asked = GetClaimRequest(claim=self._claim_in(client))
            return (await client.resource.get_claim(asked)).claim
        except NotFound:
            return None

    async def _undo(self, client: "Client") -> None:
        try:
            claim: Claim | None = await self._make(client)
        except UNKNOWN:
            raise
        except MulliganError:
            claim = await self._look(client)
        if claim is not None and claim.state in HELD:
            await client.resource.release_claim(ReleaseClaimRequest(claim=claim.uuid))
