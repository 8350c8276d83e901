"""Searches for the same thing at the same time are made once; each asker takes another candidate.

Many claims of one form arrive together: a batch of nodes, a burst of tenants. They would all ask
Postgres the same. So a search is for as many candidates as asked for the same the last time, and
those who come within a moment take the next ones.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

import anyio
import msgspec

from mulligan.events.request import ClaimRequest
from mulligan.queries.database import Database
from mulligan.queries.search import Proposal, find

MOST = 64
"""So many candidates one search is for, at most."""

FRESH_S = 0.1
"""What was found is handed out for so long; what it lacks by then is found out when it is taken."""

KEPT = 64
"""So many forms of requests are remembered, the least used forgotten first."""

_encode = msgspec.json.Encoder().encode


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal of which candidate ``rank`` is the asker's own."""

    proposal: Proposal
    rank: int


class _Batch:
    def __init__(self) -> None:
        self.ready = anyio.Event()
        self.proposal: Proposal | None = None
        self.seed = 0
        self.until = 0.0
        self.taken = 0
        self.asked = 1

    @property
    def found_nothing(self) -> bool:
        return self.proposal is not None and not self.proposal.candidates


class SharedSearches:
    """``asking`` tells how many calls are under way."""

    def __init__(self, asking: Callable[[], int]) -> None:
        self._asking = asking
        self._batches: OrderedDict[bytes, _Batch] = OrderedDict()

    async def find(
        self, database: Database, request: ClaimRequest, now: datetime, seed: int
    ) -> tuple[Share, int]:
        """Return a share of a search, a new one if need be, and the seed it was made with."""
        key = _encode(request)
        batch = self._batches.get(key)
        while batch is not None and not batch.ready.is_set():
            batch.asked += 1
            await batch.ready.wait()
            if batch.found_nothing:
                assert batch.proposal is not None
                return Share(proposal=batch.proposal, rank=0), batch.seed
            batch = self._batches.get(key)
        if batch is None or self._over(batch):
            limit = 1 if batch is None else max(1, min(MOST, batch.asked, self._asking()))
            batch = self._batches[key] = _Batch()
            self._batches.move_to_end(key)
            batch.seed = seed
            try:
                proposal = await find(database, request, now, seed=seed, limit=limit)
                batch.proposal = proposal
                batch.until = anyio.current_time() + FRESH_S
            finally:
                if batch.proposal is None or batch.found_nothing:
                    self._batches.pop(key, None)
                batch.ready.set()
            while len(self._batches) > KEPT:
                self._batches.popitem(last=False)
        assert batch.proposal is not None
        rank = batch.taken
        batch.taken += 1
        batch.asked += 1
        return Share(proposal=batch.proposal, rank=rank), batch.seed

    def _over(self, batch: _Batch) -> bool:
        assert batch.proposal is not None
        used_up = batch.taken >= len(batch.proposal.candidates)
        return used_up or anyio.current_time() > batch.until


def shareable(request: ClaimRequest) -> bool:
    """Whether different candidates of one search suit different askers: one instance, at random."""
    if len(request.groups) > 1 or request.groups[0].count > 1:
        return False
    return request.policy == "random" and request.span.duration is None
