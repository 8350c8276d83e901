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
from mulligan.model import Seq
from mulligan.queries.database import Database
from mulligan.queries.search import Proposal, find

MOST = 64
"""So many candidates one search is for, at most."""

FRESH_S = 0.1
"""What was found is handed out for so long; what it lacks by then is found out when it is taken."""

KEPT = 64
"""So many forms of requests are remembered, the least used forgotten first."""

LARGEST = 512
"""What took a look at more providers than so many is not kept for others."""

_encode = msgspec.json.Encoder().encode


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal of which candidate ``rank`` is the asker's own; made at ``now`` with ``seed``."""

    proposal: Proposal
    rank: int
    now: datetime
    seed: int


class _Batch:
    def __init__(self, now: datetime, seed: int) -> None:
        self.ready = anyio.Event()
        self.proposal: Proposal | None = None
        self.now = now
        self.seed = seed
        self.until = 0.0
        self.taken = 0
        self.asked = 1

    @property
    def found_nothing(self) -> bool:
        return self.proposal is not None and not self.proposal.candidates

    @property
    def large(self) -> bool:
        return self.proposal is not None and len(self.proposal.loaded.space.nodes) > LARGEST

    def knows(self, least: Seq) -> bool:
        return self.proposal is not None and self.proposal.loaded.seq >= least

    def share(self, rank: int) -> Share:
        assert self.proposal is not None
        return Share(proposal=self.proposal, rank=rank, now=self.now, seed=self.seed)


class SharedSearches:
    """``asking`` tells how many calls are under way."""

    def __init__(self, asking: Callable[[], int]) -> None:
        self._asking = asking
        self.on_search: Callable[[float], None] = lambda seconds: None
        self._batches: OrderedDict[bytes, _Batch] = OrderedDict()

    async def find(
        self,
        database: Database,
        request: ClaimRequest,
        now: datetime,
        seed: int,
        *,
        least: Seq = Seq(0),
    ) -> Share:
        """Return a share of a search, of a new one if need be; none that knows less than ``least``.

        A new one is made at once, of what the read model has: wait for that before.
        """
        key = _encode(request)
        batch = self._batches.get(key)
        while batch is not None and not batch.ready.is_set():
            batch.asked += 1
            await batch.ready.wait()
            if batch.found_nothing and batch.knows(least):
                return batch.share(0)
            batch = self._batches.get(key)
        if batch is None or self._over(batch, least):
            limit = 1 if batch is None else max(1, min(MOST, batch.asked, self._asking()))
            batch = self._batches[key] = _Batch(now, seed)
            self._batches.move_to_end(key)
            try:
                began = anyio.current_time()
                batch.proposal = await find(database, request, now, seed=seed, limit=limit)
                self.on_search(anyio.current_time() - began)
                batch.until = anyio.current_time() + FRESH_S
            finally:
                if batch.proposal is None or batch.found_nothing or batch.large:
                    self._batches.pop(key, None)
                batch.ready.set()
            while len(self._batches) > KEPT:
                self._batches.popitem(last=False)
        rank = batch.taken
        batch.taken += 1
        batch.asked += 1
        return batch.share(rank)

    def _over(self, batch: _Batch, least: Seq) -> bool:
        assert batch.proposal is not None
        used_up = batch.taken >= len(batch.proposal.candidates)
        return used_up or not batch.knows(least) or anyio.current_time() > batch.until


def shareable(request: ClaimRequest) -> bool:
    """Whether different candidates of one search suit different askers: one instance, at random."""
    if len(request.groups) > 1 or request.groups[0].count > 1:
        return False
    return request.policy == "random" and request.span.duration is None
