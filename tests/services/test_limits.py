"""How much one may ask for, pure and through a running region."""

import asyncio
from collections.abc import Callable

import pytest

from mulligan.config import LimitsConfig
from mulligan.errors import Exhausted, InvalidArgument, Unauthenticated
from mulligan.services.gate.limits import (
    FAILED_LOGINS,
    LOGINS_IN_FLIGHT,
    STREAMS_OF_ACCOUNT,
    Buckets,
    Limited,
    Limits,
    Slots,
    network_of,
)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> Limits:
    return Limits(LimitsConfig(rate=10.0, in_flight=2), clock=clock)


def refused(act: Callable[[], object]) -> float:
    """Return the seconds that a refused caller is told to wait."""
    with pytest.raises(Limited) as raised:
        act()
    assert isinstance(raised.value, Exhausted)
    assert raised.value.retry_after is not None
    return raised.value.retry_after


def test_a_bucket_gives_its_burst_and_then_its_rate(clock: Clock) -> None:
    buckets = Buckets(10.0, 20, clock=clock)
    assert [buckets.take("a") for _ in range(20)] == [0.0] * 20
    wait = buckets.take("a")
    assert 0.1 <= wait < 0.11
    assert buckets.take("b") == 0.0
    clock.now += wait
    assert buckets.take("a") == 0.0
    assert buckets.take("a") > 0


def test_a_bucket_is_never_fuller_than_its_burst(clock: Clock) -> None:
    buckets = Buckets(10.0, 3, clock=clock)
    buckets.take("a")
    clock.now += 1e6
    buckets.give_back("a")
    assert [buckets.take("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_buckets_are_bounded_and_the_longest_unseen_goes(clock: Clock) -> None:
    buckets = Buckets(1.0, 1, clock=clock, most=3)
    for key in "abcd":
        buckets.take(key)
    assert len(buckets) == 3
    assert buckets.wait("d") > 0
    assert buckets.wait("a") == 0


def test_slots_come_back_however_the_call_ends() -> None:
    slots = Slots(1)
    with pytest.raises(ZeroDivisionError), slots.held():
        refused(lambda: slots.held().__enter__())
        raise ZeroDivisionError
    with slots.held():
        assert slots.taken == 1
    assert slots.taken == 0


def test_an_account_has_its_share_of_streams_and_others_theirs(limits: Limits) -> None:
    held = [limits.slot("greedy", stream=True) for _ in range(STREAMS_OF_ACCOUNT)]
    for one in held:
        one.__enter__()
    refused(lambda: limits.slot("greedy", stream=True).__enter__())
    with limits.slot("modest", stream=True), limits.slot("greedy", stream=False):
        pass
    for one in held:
        one.__exit__(None, None, None)
    with limits.slot("greedy", stream=True):
        pass


def test_calls_in_work_are_bounded_whoever_makes_them(limits: Limits) -> None:
    with limits.slot("a", stream=False), limits.slot("b", stream=False):
        assert refused(lambda: limits.slot("c", stream=False).__enter__()) > 0
    with limits.slot("c", stream=False):
        pass


def test_settings_change_all_together_or_not_at_all(limits: Limits) -> None:
    limits.configure(rate=5.0, burst=0, in_flight=0)
    assert (limits.rate, limits.burst, limits.in_flight) == (5.0, 10, 2)
    limits.configure(rate=0.0, burst=7, in_flight=9)
    assert (limits.rate, limits.burst, limits.in_flight) == (5.0, 7, 9)
    for rate, burst, in_flight in ((-1.0, 0, 0), (3.0, -1, 0), (3.0, 0, 2_000_000), (1e9, 0, 0)):
        with pytest.raises(InvalidArgument):
            limits.configure(rate, burst, in_flight)
    assert (limits.rate, limits.burst, limits.in_flight) == (5.0, 7, 9)


def fail_login(limits: Limits, account: str, host: str) -> None:
    with pytest.raises(Unauthenticated), limits.login(account, host):
        raise Unauthenticated("wrong")


def login(limits: Limits, account: str, host: str) -> None:
    with limits.login(account, host):
        pass


def test_failed_logins_to_an_account_are_limited_from_wherever_they_come(
    limits: Limits, clock: Clock
) -> None:
    for attempt in range(FAILED_LOGINS):
        fail_login(limits, "ann", f"192.0.2.{attempt}")
    wait = refused(lambda: login(limits, " ANN ", "198.51.100.1"))
    login(limits, "bob", "198.51.100.1")
    clock.now += wait
    login(limits, "ann", "198.51.100.1")


def test_failed_logins_of_a_host_are_limited_whatever_it_tries(limits: Limits) -> None:
    for attempt in range(FAILED_LOGINS):
        fail_login(limits, f"guess-{attempt}", "192.0.2.1")
    refused(lambda: login(limits, "ann", "192.0.2.1"))
    login(limits, "ann", "192.0.2.2")


def test_a_login_that_nobody_waited_for_did_not_fail(limits: Limits) -> None:
    for _ in range(2 * FAILED_LOGINS):
        with pytest.raises(asyncio.CancelledError), limits.login("ann", "192.0.2.1"):
            raise asyncio.CancelledError
    login(limits, "ann", "192.0.2.1")


def test_logins_that_succeed_or_break_cost_nothing(limits: Limits) -> None:
    for _ in range(FAILED_LOGINS * 3):
        login(limits, "ann", "192.0.2.1")
        with pytest.raises(ZeroDivisionError), limits.login("ann", "192.0.2.1"):
            raise ZeroDivisionError


def test_a_rush_of_logins_counts_before_it_fails(limits: Limits) -> None:
    under_way = [limits.login("ann", "192.0.2.1") for _ in range(FAILED_LOGINS)]
    for one in under_way:
        one.__enter__()
    refused(lambda: login(limits, "ann", "192.0.2.2"))
    for one in under_way:
        one.__exit__(None, None, None)
    login(limits, "ann", "192.0.2.2")


def test_logins_in_work_are_bounded(limits: Limits) -> None:
    under_way = [limits.login(f"a-{i}", f"192.0.2.{i}") for i in range(LOGINS_IN_FLIGHT)]
    for one in under_way:
        one.__enter__()
    refused(lambda: login(limits, "ann", "198.51.100.1"))
    for one in under_way:
        one.__exit__(None, None, None)


def test_a_network_of_ipv6_counts_as_one_host() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") == "2001:db8::/64"
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1")
    assert network_of("fe80::1%eth0") == "fe80::/64"
