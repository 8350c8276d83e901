"""What a worker knows of each read model, for status pages and metrics."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import anyio
import msgspec

from mulligan.log.protocol import Stored
from mulligan.model import Seq
from mulligan.projections.checkpoint import ORIGIN, Place
from mulligan.projections.schema import ReadModel

_ARRIVALS = 20_000
_LAGS = 2_000


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch took to become rows of a read model; times in seconds.

    ``lags`` are those of its entries, from when each was written to when its rows could be read.
    """

    events: int
    fold: float
    flush: float
    lags: Sequence[float]


class Building(msgspec.Struct, frozen=True, kw_only=True):
    """Which version is being built beside the one that serves, and how far that is."""

    version: int
    seq: Seq
    target: Seq


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a read model fares as this process sees it.

    ``status``: live, catching-up, building or halted. ``lag_entries`` is how far it is behind the
    log's head, ``lag_seconds`` for how long the oldest of those is there. ``lag_p99`` is the
    seconds from an entry's being written to its rows, of the newest ones; 0 without any.
    """

    name: str
    version: int
    seq: Seq
    status: str
    problem: str
    lag_entries: int
    lag_seconds: float
    lag_p99: float = 0.0
    batch: Batch | None = None
    building: Building | None = None


class Seen:
    """What the worker knows of one read model; ``tried`` counts how often it came to a state."""

    def __init__(self) -> None:
        self.place = ORIGIN
        self.status = "catching-up"
        self.problem = ""
        self.tried = 0
        self.retry = anyio.Event()
        self.batch: Batch | None = None
        self.building: Building | None = None
        self.lags: deque[float] = deque(maxlen=_LAGS)

    def advance(self, place: Place, batch: Batch | None) -> None:
        """Note how far it is, and what the batch took that brought it there."""
        self.place = place
        if batch is not None:
            self.batch = batch
            self.lags.extend(batch.lags)

    def settle(self, status: str, problem: str = "") -> None:
        """Note that it came to live, or to a halt."""
        self.status, self.problem, self.building = status, problem, None
        self.tried += 1


class Arrivals:
    """When the newest entries came to this process, by its monotonic clock."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last = Seq(0)
        self._times: deque[float] = deque(maxlen=_ARRIVALS)

    def note(self, stored: Stored) -> None:
        """Take the next entry."""
        if stored.seq != self._last + 1:
            self._times.clear()
        self._last = stored.seq
        self._times.append(time.monotonic())

    def age(self, seq: Seq) -> float:
        """Return the seconds since an entry came, or since we have looked if it came before."""
        back = self._last - seq + 1
        known = 1 <= back <= len(self._times)
        oldest = self._times[0] if self._times and back > 0 else self._began
        return time.monotonic() - (self._times[-back] if known else oldest)


def percentile(sample: Iterable[float], share: float) -> float:
    """Return the nearest-rank percentile of a sample; 0 of an empty one."""
    ordered = sorted(sample)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def statuses(
    models: Iterable[ReadModel],
    seen: Mapping[str, Seen],
    head: Seq,
    problem: str,
    arrivals: Arrivals,
) -> dict[str, ModelStatus]:
    """Return how each read model fares against the log's head; ``problem`` concerns them all."""
    found = {}
    for model in models:
        one = seen[model.name]
        behind = max(0, head - one.place.seq)
        found[model.name] = ModelStatus(
            name=model.name,
            version=model.version,
            seq=one.place.seq,
            status="building" if one.building and one.status == "catching-up" else one.status,
            problem=one.problem or problem,
            lag_entries=behind,
            lag_seconds=arrivals.age(Seq(one.place.seq + 1)) if behind else 0.0,
            lag_p99=percentile(one.lags, 0.99),
            batch=one.batch,
            building=one.building,
        )
    return found
