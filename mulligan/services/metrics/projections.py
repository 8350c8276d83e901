"""The metrics of mulligan-projector: how far each read model is, and what its batches take."""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mulligan.projections.status import Batch, ModelStatus

_LAGS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_TIMES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
_BY = ("projection",)

Statuses = Callable[[], Mapping[str, ModelStatus]]


class ProjectionMetrics:
    """Counts batches as they are written; ``observe`` takes each."""

    def __init__(self, registry: CollectorRegistry, statuses: Statuses) -> None:
        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(
                f"mulligan_projection_{name}", text, _BY, buckets=buckets, registry=registry
            )

        self._lag = histogram(
            "commit_to_row_seconds", "From an entry's being written to its rows.", _LAGS
        )
        self._size = histogram("batch_events", "Events of a batch.", _SIZES)
        self._fold = histogram("fold_seconds", "Decoding and folding a batch.", _TIMES)
        self._flush = histogram("flush_seconds", "Writing a batch to Postgres.", _TIMES)
        self._events = Counter(
            "mulligan_projection_events", "Events that passed.", _BY, registry=registry
        )
        registry.register(_Positions(statuses))

    def observe(self, name: str, batch: Batch) -> None:
        """Take a batch that was written for a read model."""
        lag = self._lag.labels(name)
        for seconds in batch.lags:
            lag.observe(seconds)
        self._size.labels(name).observe(batch.events)
        self._fold.labels(name).observe(batch.fold)
        self._flush.labels(name).observe(batch.flush)
        self._events.labels(name).inc(batch.events)


class _Positions(Collector):
    """What is so now, looked at when somebody asks."""

    def __init__(self, statuses: Statuses) -> None:
        self._statuses = statuses

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return where each read model is, and each that is being built."""
        found = self._statuses()

        def gauge(name: str, text: str, of: Callable[[ModelStatus], float | None]) -> None:
            family = GaugeMetricFamily(f"mulligan_projection_{name}", text, labels=_BY)
            for status in found.values():
                value = of(status)
                if value is not None:
                    family.add_metric((status.name,), value)
            families.append(family)

        families: list[GaugeMetricFamily] = []
        gauge("position", "The last entry that is folded.", lambda one: one.seq)
        gauge("lag_entries", "Entries behind the head.", lambda one: one.lag_entries)
        gauge("lag_seconds", "Age of the oldest entry not folded.", lambda one: one.lag_seconds)
        gauge("live", "1 while it follows the log.", lambda one: one.status == "live")
        gauge("halted", "1 when an event halted it.", lambda one: one.status == "halted")
        gauge("build_position", "How far a new one is.", lambda one: _of_build(one, "seq"))
        gauge("build_target", "Where a new one ends.", lambda one: _of_build(one, "target"))
        yield from families


def _of_build(status: ModelStatus, what: Literal["seq", "target"]) -> float | None:
    building = status.building
    if building is None:
        return None
    return building.seq if what == "seq" else building.target
