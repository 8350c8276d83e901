"""The metrics of calls: how many, how long, how they ended, and what was refused."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

CALLS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
_LOGIN = "Iam.Login"


class Unobserved:
    """What a gate tells of calls, where nobody wants to know."""

    def call(self, method: str, status: str, seconds: float) -> None:
        """Take a call that has ended: its gRPC status by name, and what it took."""

    def refused(self, reason: str) -> None:
        """Take a refusal: rate, permission, login or token."""

    def token(self, outcome: str) -> None:
        """Take a token that was looked at: verified or refused."""


class CallMetrics(Unobserved):
    """Counts the calls of one process; methods and statuses are those of the protos."""

    def __init__(self, registry: CollectorRegistry) -> None:
        calls = Counter(
            "mulligan_calls", "Calls that have ended.", ["method", "status"], registry=registry
        )
        seconds = Histogram(
            "mulligan_call_seconds", "A call's time.", ["method"], buckets=CALLS, registry=registry
        )
        self._refused = Counter(
            "mulligan_calls_refused", "Calls refused.", ["reason"], registry=registry
        )
        self._tokens = Counter("mulligan_tokens", "Tokens checked.", ["outcome"], registry=registry)
        self._logins = Counter("mulligan_logins", "Logins.", ["outcome"], registry=registry)
        self._count = _remembered(lambda method, status: calls.labels(method, status).inc)
        self._observe = _remembered(lambda method, _: seconds.labels(method).observe)

    def call(self, method: str, status: str, seconds: float) -> None:
        """Take a call that has ended."""
        self._count(method, status)()
        self._observe(method, "")(seconds)
        if method == _LOGIN:
            self._logins.labels("accepted" if status == "OK" else "refused").inc()

    def refused(self, reason: str) -> None:
        """Take a refusal."""
        self._refused.labels(reason).inc()

    def token(self, outcome: str) -> None:
        """Take a token that was looked at."""
        self._tokens.labels(outcome).inc()


def _remembered(
    make: Callable[[str, str], Callable[..., None]],
) -> Callable[[str, str], Callable[..., None]]:
    """Return ``make``, asked once for each pair: the client's own look-up takes a lock."""
    known: dict[tuple[str, str], Callable[..., None]] = {}

    def find(first: str, second: str) -> Callable[..., None]:
        found = known.get((first, second))
        if found is None:
            found = known[first, second] = make(first, second)
        return found

    return find


class CallsNow(Collector):
    """Calls and streams under way, looked at when somebody asks."""

    def __init__(self, in_flight: Callable[[], int], streams: Callable[[], int]) -> None:
        self._in_flight = in_flight
        self._streams = streams

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return them."""
        yield GaugeMetricFamily(
            "mulligan_calls_in_flight", "Calls in work, streams too.", value=self._in_flight()
        )
        yield GaugeMetricFamily("mulligan_streams_open", "Streams open.", value=self._streams())
