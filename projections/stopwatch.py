"""What a batch takes to become rows."""

import time
from collections.abc import Sequence

from mulligan.log.protocol import Stored
from mulligan.model import utc_now
from mulligan.projections.status import Batch


class Stopwatch:
    """Times one batch: decoded once for all read models, then folded and written for each."""

    def __init__(self, batch: Sequence[Stored]) -> None:
        self._written_at = [stored.entry.at for stored in batch]
        self._events = sum(len(c.events) for stored in batch for c in stored.entry.commits)
        self._decoding: float | None = None
        self._fold = 0.0
        self._began = time.perf_counter()

    def begin(self) -> None:
        """Begin with a read model."""
        self._fold = 0.0
        self._began = time.perf_counter()

    def folded(self) -> None:
        """Note that it is decoded, then that a read model is folded."""
        now = time.perf_counter()
        self._fold, self._began = now - self._began, now
        if self._decoding is None:
            self._decoding = self._fold

    def written(self) -> Batch:
        """Return what a read model took, now that its rows are there."""
        flush, now = time.perf_counter() - self._began, utc_now()
        lags = [max(0.0, (now - at).total_seconds()) for at in self._written_at]
        fold = (self._decoding or 0.0) + self._fold
        return Batch(events=self._events, fold=fold, flush=flush, lags=lags)
