"""Messages of every method, right and wrong, from everybody: each is answered, and well."""

import logging

import anyio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.conftest import MESSAGES
from tests.fuzz.grammar import Rpc, any_request
from tests.fuzz.victim import Victim

log = logging.getLogger(__name__)

BATCH = 20
"""Messages that are under way together."""
GROWTH_MB = 80 if MESSAGES < 10_000 else 200
"""What a service may grow by: its caches fill up, to a bound."""

CALLERS = ("admin", "admin", "tenant", "tenant", "nobody")
attempts = st.lists(
    st.tuples(any_request(), st.sampled_from(CALLERS)), min_size=BATCH, max_size=BATCH
)
Attempts = list[tuple[tuple[Rpc, bytes], str]]


async def send(victim: Victim, attempts: Attempts) -> None:
    async with anyio.create_task_group() as tasks:
        for (rpc, body), caller in attempts:
            tasks.start_soon(victim.call, rpc, body, caller)
    await victim.put_right()


def thorough(messages: int) -> settings:
    """Send so many messages; what failed is not shrunk, for the region has changed by then."""
    return settings(
        max_examples=max(1, messages // BATCH),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        database=None,
    )


@given(attempts=attempts)
@thorough(MESSAGES // 3)
async def test_messages_are_answered_while_caches_fill(victim: Victim, attempts: Attempts) -> None:
    await send(victim, attempts)


@given(attempts=attempts)
@thorough(MESSAGES * 2 // 3)
async def test_messages_are_answered_from_then_on(victim: Victim, attempts: Attempts) -> None:
    victim.warm = victim.warm or victim.resident_mb()
    await send(victim, attempts)


async def test_memory_stayed_within_bounds_and_nothing_is_harmed(victim: Victim) -> None:
    after = victim.resident_mb()
    grown = {name: round(after[name] - victim.warm[name], 1) for name in after}
    answers = dict(victim.answers)
    log.info("sent %d messages, answered %s, grown by MB %s", victim.sent, answers, grown)
    assert max(grown.values()) < GROWTH_MB, (victim.warm, after)
    await victim.require_unharmed()
