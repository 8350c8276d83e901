"""The metrics of machines and claims, counted in the read models by one instance of a service."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import anyio
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mulligan.errors import MulliganError
from mulligan.queries.database import Database
from mulligan.queries.tallies import (
    OPERATIONS,
    ClaimTally,
    MachineTally,
    tally_claims,
    tally_machines,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

_LOOK_S = 15.0
_RETRY_S = 2.0
_SEARCHES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class ControlMetrics(Collector):
    """Machines, operations and brakes; ``waiting`` tells of the reconciler's queue."""

    def __init__(self) -> None:
        self.wanted = False
        self._found: MachineTally | None = None
        self.waiting: Callable[[], int] = lambda: 0
        self.sharing: Callable[[], int] = lambda: 0

    def register(self, registry: CollectorRegistry) -> None:
        """Be asked from now on."""
        self.wanted = True
        registry.register(self)

    def take(self, found: MachineTally | None) -> None:
        """Take what was counted; None where another instance counts."""
        self._found = found

    async def run(self, database: Database, mine: Callable[[], bool]) -> None:
        """Count for ever, while it is ours to do."""
        if self.wanted:
            await _count(lambda: tally_machines(database), mine, self.take)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return what was counted last."""
        yield from _shared(self.waiting(), self.sharing())
        if self._found is None:
            return
        found = self._found
        states = GaugeMetricFamily("mulligan_machines", "Machines.", labels=["state"])
        for state, count in found.states.items():
            states.add_metric((state,), count)
        yield states
        running = GaugeMetricFamily("mulligan_operations", "Operations.", labels=["operation"])
        for verb in OPERATIONS:
            running.add_metric((verb,), found.operations.get(verb, 0))
        yield running
        yield GaugeMetricFamily("mulligan_operations_late", "Past deadline.", value=found.late)
        yield GaugeMetricFamily("mulligan_brakes_applied", "Brakes on.", value=found.brakes)


class ResourceMetrics(Collector):
    """Claims, and searches for capacity."""

    def __init__(self) -> None:
        self.wanted = False
        self._found: ClaimTally | None = None
        self._searches = Histogram(
            "mulligan_search_seconds", "A search.", buckets=_SEARCHES, registry=None
        )

    def register(self, registry: CollectorRegistry) -> None:
        """Be asked from now on."""
        self.wanted = True
        registry.register(self._searches)
        registry.register(self)

    def searched(self, seconds: float) -> None:
        """Take a search."""
        self._searches.observe(seconds)

    def take(self, found: ClaimTally | None) -> None:
        """Take what was counted; None where another instance counts."""
        self._found = found

    async def run(self, database: Database, mine: Callable[[], bool]) -> None:
        """Count for ever, while it is ours to do."""
        if self.wanted:
            await _count(lambda: tally_claims(database), mine, self.take)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return what was counted last."""
        if self._found is None:
            return
        claims = GaugeMetricFamily("mulligan_claims", "Claims that are not over.", labels=["state"])
        for state, count in self._found.states.items():
            claims.add_metric((state,), count)
        yield claims


def _shared(waiting: int, sharing: int) -> Iterator[GaugeMetricFamily]:
    yield GaugeMetricFamily("mulligan_work_waiting", "Machines to look at.", value=waiting)
    yield GaugeMetricFamily("mulligan_work_sharing", "Instances that share.", value=sharing)


async def _count(
    ask: Callable[[], Awaitable[T]], mine: Callable[[], bool], take: Callable[[T | None], None]
) -> None:
    while True:
        try:
            take(await ask() if mine() else None)
        except MulliganError as error:
            log.debug("could not count", extra={"reason": error.message})
            await anyio.sleep(_RETRY_S)
            continue
        await anyio.sleep(_LOOK_S)
