"""The metrics of what every service stands on: the log, etcd, Postgres, and its event loop."""

import time
from collections.abc import Awaitable, Callable, Iterator

import anyio
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from mulligan.config import Config
from mulligan.errors import MulliganError
from mulligan.log.etcdlog import EtcdLog
from mulligan.services.instance import ends_of
from mulligan.services.runtime import Parts, Runtime

_COMMITS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5)
_LOOPS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_PROBE_S = 5.0
_ANSWER_S = 2.0
_TICK_S = 0.25
_CERTIFICATES_S = 3600.0


class ProcessMetrics:
    """Counts commits as they are appended, and looks at what the process stands on."""

    def __init__(self, registry: CollectorRegistry, runtime: Runtime) -> None:
        self._config: Config = runtime.config
        self._commits = Counter(
            "mulligan_commits", "Commits asked of the log.", ["outcome"], registry=registry
        )
        self._events = Counter("mulligan_events_appended", "Events appended.", registry=registry)
        self._seconds = Histogram(
            "mulligan_commit_seconds", "Until a commit was in the log.", buckets=_COMMITS,
            registry=registry,
        )  # fmt: skip
        self._lag = Histogram(
            "mulligan_event_loop_lag_seconds", "How late the event loop was.", buckets=_LOOPS,
            registry=registry,
        )  # fmt: skip
        self._up = Gauge("mulligan_store_up", "1 while it answers.", ["store"], registry=registry)
        self._took = Gauge(
            "mulligan_store_seconds", "What its last answer took.", ["store"], registry=registry
        )
        self._ends = Gauge(
            "mulligan_certificate_ends_timestamp_seconds",
            "When a certificate ends.",
            ["certificate"],
            registry=registry,
        )
        registry.register(_Log(runtime))

    def commit(self, outcome: str, events: int, seconds: float) -> None:
        """Take a commit: appended, repeated, conflict or failed."""
        self._commits.labels(outcome).inc()
        if outcome == "appended":
            self._events.inc(events)
            self._seconds.observe(seconds)

    def stood(self, store: str, up: bool, seconds: float) -> None:
        """Take whether a store answered, and what that took."""
        self._up.labels(store).set(up)
        self._took.labels(store).set(seconds)

    def ends(self, certificate: str, at: float) -> None:
        """Take when a certificate ends, in seconds since 1970."""
        self._ends.labels(certificate).set(at)

    async def run(self, parts: Parts) -> None:
        """Look at stores, the loop and certificates for ever."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._probe, "etcd", parts.etcd.status)
            tasks.start_soon(self._probe, "postgres", lambda: parts.database.fetchrow("SELECT 1"))
            tasks.start_soon(self._tick)
            tasks.start_soon(self._certificates)

    async def _probe(self, store: str, ask: Callable[[], Awaitable[object]]) -> None:
        while True:
            began, up = time.perf_counter(), True
            try:
                with anyio.fail_after(_ANSWER_S):
                    await ask()
            except (MulliganError, TimeoutError):
                up = False
            self.stood(store, up, time.perf_counter() - began)
            await anyio.sleep(_PROBE_S)

    async def _tick(self) -> None:
        while True:
            due = time.perf_counter() + _TICK_S
            await anyio.sleep(_TICK_S)
            self._lag.observe(max(0.0, time.perf_counter() - due))

    async def _certificates(self) -> None:
        tls = self._config.tls
        while tls.enabled:
            for name, path in (("service", tls.cert), ("ca", tls.ca)):
                ends = await anyio.to_thread.run_sync(ends_of, path)
                if ends is not None:
                    self.ends(name, ends.timestamp())
            await anyio.sleep(_CERTIFICATES_S)


class _Log(Collector):
    """The log as this process has it, looked at when somebody asks."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def collect(self) -> Iterator[Metric]:
        """Return where it stands."""
        yield GaugeMetricFamily(
            "mulligan_serving", "1 while calls can be served.", value=self._rt.ready
        )
        log = self._rt.event_log
        if log is not None:
            yield from _of_log(log)


def _of_log(log: EtcdLog) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "mulligan_log_position", "The last entry known here.", value=log.head.seq
    )
    halted = log.failure is not None
    yield GaugeMetricFamily("mulligan_log_halted", "1 when it halted.", value=halted)
    yield GaugeMetricFamily("mulligan_commits_waiting", "Commits queued.", value=log.waiting)
    sent, lost = log.transactions, log.lost_races
    yield CounterMetricFamily("mulligan_log_transactions", "Transactions sent.", value=sent)
    yield CounterMetricFamily("mulligan_log_lost_races", "Those lost to others.", value=lost)
