"""How much one caller, and all of them, may ask of this process; more is told when to come back.

Everything here is of one process, in memory and bounded: where there are several replicas, each
allows this much.
"""

import ipaddress
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from mulligan.config import LimitsConfig
from mulligan.errors import Exhausted, InvalidArgument, Unauthenticated

MAX_BUCKETS = 10_000
"""So many callers are told apart; the longest unseen is forgotten first."""

PUBLIC_RATE, PUBLIC_BURST = 100.0, 1_000
"""Calls without a token that one host may make each second."""
BAD_TOKEN_RATE, BAD_TOKEN_BURST = 200.0, 2_000
"""Tokens of one host that turn out to be none; each costs the check of a signature."""
FAILED_LOGINS = 30
"""Failed logins a minute, to one account and from one host; nobody guesses a secret with that."""
LOGINS_IN_FLIGHT = 32
"""Logins in work at once: each takes a core for tens of milliseconds, two at a time."""
PUBLIC_IN_FLIGHT, PUBLIC_OF_HOST = 256, 128
"""Calls without a token in work at once, in all and of one host."""
PUBLIC_BYTES = 64 * 1024
"""The longest request without a token."""
STREAMS, STREAMS_OF_ACCOUNT = 256, 16
PUBLIC_STREAMS, PUBLIC_STREAMS_OF_HOST = 256, 128
"""Streams open at once: they are held for as long as their caller wishes."""

MAX_RATE, MAX_COUNT = 1e6, 1_000_000
_FULL_RETRY_S = 0.1


class Limited(Exhausted):
    """The caller asks for more than its share; it may ask again after ``retry_after`` seconds."""


class Buckets:
    """Token buckets by key: ``rate`` a second on average, ``burst`` at once."""

    def __init__(
        self, rate: float, burst: float, *, clock: Callable[[], float], most: int = MAX_BUCKETS
    ) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._most = most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def wait(self, key: str) -> float:
        """Return the seconds until the key may take one; 0 when it may now."""
        return max(0.0, (1.0 - self._level(key)) / self.rate)

    def take(self, key: str) -> float:
        """Take one and return 0; where none is left, take nothing and return the seconds to wait.

        The wait is rounded up, so that whoever waits it out gets one.
        """
        level = self._level(key)
        if level < 1.0:
            return math.ceil((1.0 - level) / self.rate * 1000 + 1) / 1000
        self._put(key, level - 1.0)
        return 0.0

    def give_back(self, key: str) -> None:
        """Return one that was taken in vain."""
        self._put(key, min(self.burst, self._level(key) + 1.0))

    def _level(self, key: str) -> float:
        found = self._levels.get(key)
        if found is None:
            return self.burst
        level, at = found
        return min(self.burst, level + (self._clock() - at) * self.rate)

    def _put(self, key: str, level: float) -> None:
        self._levels[key] = (level, self._clock())
        self._levels.move_to_end(key)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)


class Slots:
    """How many calls may be in work at once: in all, and of one key (0: as many as in all)."""

    def __init__(self, most: int, of_key: int = 0, what: str = "calls are in work") -> None:
        self.most = most
        self.taken = 0
        self._of_key = of_key
        self._what = what
        self._by_key: Counter[str] = Counter()

    @contextmanager
    def held(self, key: str = "") -> Iterator[None]:
        """Hold one while the block runs; raise Limited at once when there is none."""
        if self.taken >= self.most:
            raise Limited(f"too many {self._what} here; try again in a moment", _FULL_RETRY_S)
        if self._of_key and self._by_key[key] >= self._of_key:
            raise Limited(f"too many of your {self._what} here; let some end", _FULL_RETRY_S * 10)
        self.taken += 1
        if self._of_key:
            self._by_key[key] += 1
        try:
            yield
        finally:
            self.taken -= 1
            if self._of_key:
                self._by_key[key] -= 1
                if not self._by_key[key]:
                    del self._by_key[key]


class Limits:
    """The limits of one process; ``configure`` changes them while it runs."""

    def __init__(
        self, config: LimitsConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.message_bytes = config.message_bytes
        self._accounts = Buckets(config.rate, config.rate * 2, clock=clock)
        self._calls = Slots(config.in_flight)
        self._streams = Slots(STREAMS, STREAMS_OF_ACCOUNT, "streams are open")
        self._public = Buckets(PUBLIC_RATE, PUBLIC_BURST, clock=clock)
        self._public_calls = Slots(PUBLIC_IN_FLIGHT, PUBLIC_OF_HOST)
        self._public_streams = Slots(PUBLIC_STREAMS, PUBLIC_STREAMS_OF_HOST, "streams are open")
        self._bad_tokens = Buckets(BAD_TOKEN_RATE, BAD_TOKEN_BURST, clock=clock)
        self._logins = Slots(LOGINS_IN_FLIGHT, what="logins are in work")
        self._failed = Buckets(FAILED_LOGINS / 60, FAILED_LOGINS, clock=clock)

    @property
    def rate(self) -> float:
        """Calls of one account each second, on average."""
        return self._accounts.rate

    @property
    def streams_open(self) -> int:
        """Streams open at present."""
        return self._streams.taken + self._public_streams.taken

    @property
    def burst(self) -> int:
        """Calls of one account at once."""
        return int(self._accounts.burst)

    @property
    def in_flight(self) -> int:
        """Calls in work at once, of all accounts."""
        return self._calls.most

    def configure(self, rate: float, burst: int, in_flight: int) -> None:
        """Change what is not 0; a new rate without a burst has twice itself. Raise InvalidArgument.

        Nothing is changed unless all can be.
        """
        if rate and not 1 <= rate <= MAX_RATE:
            raise InvalidArgument("rate", f"give 1 to {MAX_RATE:g} calls a second")
        if burst and not 1 <= burst <= MAX_COUNT:
            raise InvalidArgument("burst", f"give 1 to {MAX_COUNT} calls")
        if in_flight and not 1 <= in_flight <= MAX_COUNT:
            raise InvalidArgument("in_flight", f"give 1 to {MAX_COUNT} calls")
        if rate:
            self._accounts.rate = rate
            self._accounts.burst = rate * 2
        if burst:
            self._accounts.burst = burst
        if in_flight:
            self._calls.most = in_flight

    def rated(self, account: str) -> None:
        """Count a call of an account; raise Limited when there were too many."""
        wait = self._accounts.take(account)
        if wait:
            raise Limited(
                f"more than {self.rate:g} calls a second of this account; slow down", wait
            )

    def slot(self, account: str, *, stream: bool) -> AbstractContextManager[None]:
        """Let an account's call be in work in the block; raise Limited when there is no room."""
        return self._streams.held(account) if stream else self._calls.held()

    @contextmanager
    def public(self, host: str, *, stream: bool) -> Iterator[None]:
        """Let a call without a token run in the block; raise Limited when it may not."""
        host = network_of(host)
        wait = self._public.take(host)
        if wait:
            raise Limited("too many calls without a token from your address; slow down", wait)
        with (self._public_streams if stream else self._public_calls).held(host):
            yield

    def token(self, host: str) -> None:
        """Raise Limited for a host that brings too many tokens that are none."""
        wait = self._bad_tokens.wait(network_of(host))
        if wait:
            raise Limited("too many tokens from your address were refused; slow down", wait)

    def bad_token(self, host: str) -> None:
        """Count a token that was none."""
        self._bad_tokens.take(network_of(host))

    @contextmanager
    def login(self, account: str, host: str) -> Iterator[None]:
        """Let a login run in the block; raise Limited when it may not.

        An account that does not exist has the same limits as one that does. Attempts under way
        count as failed until they have ended otherwise, so that no rush gets past the limit.
        """
        keys = [f"account/{account.strip().lower()}", f"host/{network_of(host)}"]
        wait = max(self._failed.wait(key) for key in keys)
        if wait:
            raise Limited("too many logins failed; wait before you try again", wait)
        with self._logins.held():
            for key in keys:
                self._failed.take(key)
            try:
                yield
            except Unauthenticated:
                raise
            except BaseException:  # whoever gave up waiting has learnt nothing of the secret
                self._succeeded(keys)
                raise
            self._succeeded(keys)

    def _succeeded(self, keys: list[str]) -> None:
        for key in keys:
            self._failed.give_back(key)


def network_of(host: str) -> str:
    """Return what counts as one host: an IPv4 address, or the /64 network of an IPv6 address."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
