"""The metrics of mulligan-executor: steps, and exchanges with BMCs."""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_STEPS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0, 3600.0)
_EXCHANGES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Working(Protocol):
    """What an executor can be asked when somebody looks."""

    def running(self) -> dict[str, int]:
        """Return the steps that run, by kind."""

    def counts(self) -> dict[str, int]:
        """Return the gauges by the ends of their names."""


_GAUGES = {
    "work_waiting": "Machines to look at.",
    "work_sharing": "Instances that share.",
    "bmc_clients": "BMCs that are logged in to or were.",
    "bmc_breakers_open": "Accounts of BMCs that refused too many logins.",
    "bmc_event_streams": "Event streams open.",
    "machines_watched": "Machines that rest and are watched.",
}


class ExecutorMetrics(Collector):
    """Counts steps and exchanges; ``working`` is asked for the rest."""

    def __init__(self) -> None:
        self.working: Working | None = None
        self._steps = Histogram(
            "mulligan_step_seconds", "A step's time.", ["step", "outcome"],
            buckets=_STEPS, registry=None,
        )  # fmt: skip
        self._exchanges = Histogram(
            "mulligan_bmc_request_seconds", "An exchange's time.", ["method", "outcome"],
            buckets=_EXCHANGES, registry=None,
        )  # fmt: skip

    def register(self, registry: CollectorRegistry) -> None:
        """Be asked from now on."""
        for one in (self._steps, self._exchanges, self):
            registry.register(one)

    def step(self, step: str, outcome: str, seconds: float) -> None:
        """Take a step that has ended."""
        self._steps.labels(step, outcome).observe(seconds)

    def exchange(self, method: str, outcome: str, seconds: float) -> None:
        """Take an exchange with a BMC: 2xx to 5xx, or a class of fault."""
        self._exchanges.labels(method, outcome).observe(seconds)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return what is so now."""
        if self.working is None:
            return
        running = GaugeMetricFamily("mulligan_steps_running", "Steps at work.", labels=["step"])
        for step, count in self.working.running().items():
            running.add_metric((step,), count)
        yield running
        counts = self.working.counts()
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"mulligan_{name}", text, value=counts[name])
