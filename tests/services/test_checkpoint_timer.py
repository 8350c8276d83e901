"""When mulligan-log signs by itself: every few minutes, if there is anything new."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from mulligan.errors import FailedPrecondition, Unavailable
from mulligan.handlers.checkpoint import STREAM, Checkpoint
from mulligan.handlers.signing import RotateKey
from mulligan.log.memory import MemoryDisk
from mulligan.log.verify import verify
from mulligan.log.vouching import Vouching
from mulligan.model import RegionName, Seq
from mulligan.services.log.checkpoints import CheckpointTimer, sign_head
from tests.commands.region import Process, process, provide, request
from tests.log.proof import Signing

REGION = RegionName("r")
MINUTE = timedelta(minutes=1)


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Holder:
    """Holds log keys: the newest signs."""

    def __init__(self, *signing: Signing) -> None:
        self.keys = list(signing)

    @property
    def kid(self) -> str:
        return self.keys[0].kid

    async def ready(self) -> None:
        if not self.keys:
            raise Unavailable("no key yet")

    def sign(self, data: bytes) -> bytes:
        return self.keys[0].private.sign(data)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def with_key(clock: Clock) -> AsyncIterator[Process]:
    async with process(MemoryDisk(), clock=clock) as one:
        await rotate(one, Signing("1"))
        yield one


async def rotate(one: Process, to: Signing) -> None:
    command = RotateKey(kid=to.kid, x=to.public.x, version="v", use="log")
    await one.commands.execute(command, request())


def timer(one: Process, holder: Holder, *, mine: bool = True) -> CheckpointTimer:
    return CheckpointTimer(
        one.commands, holder, REGION, mine=lambda: mine, fence=lambda: None, interval=5 * MINUTE
    )


async def newest(one: Process) -> Seq | None:
    state: Checkpoint | None = (await one.commands.state(STREAM)).state
    return state.seq if state is not None else None


async def looked(keeper: CheckpointTimer, clock: Clock, one: Process) -> Seq | None:
    """Let time pass and the timer look; return the newest checkpoint."""
    clock.now += 6 * MINUTE
    await keeper.sign_if_due()
    return await newest(one)


async def test_a_log_that_grows_is_signed_and_one_that_rests_is_not(clock: Clock) -> None:
    async with with_key(clock) as one, anyio.create_task_group() as tasks:
        keeper = timer(one, Holder(Signing("1")))
        tasks.start_soon(keeper.run)
        await anyio.wait_all_tasks_blocked()
        assert await newest(one) is None, "not before its time"
        assert await looked(keeper, clock, one) == 1
        assert await looked(keeper, clock, one) == 1
        assert await looked(keeper, clock, one) == 1
        await one.commands.execute(provide("p", 1), request())
        await keeper.sign_if_due()
        clock.now += MINUTE
        assert await looked(keeper, clock, one) == 3
        assert one.log.head.seq == 4
        tasks.cancel_scope.cancel()


async def test_whoever_begins_later_does_not_sign_a_checkpoint_again(clock: Clock) -> None:
    async with with_key(clock) as one:
        keeper = timer(one, Holder(Signing("1")))
        assert await looked(keeper, clock, one) == 1
        assert await looked(timer(one, Holder(Signing("1"))), clock, one) == 1
        assert await looked(timer(one, Holder(Signing("1"))), clock, one) == 1


async def test_only_the_instance_whose_work_it_is_signs(clock: Clock) -> None:
    async with with_key(clock) as one:
        assert await looked(timer(one, Holder(Signing("1")), mine=False), clock, one) is None


async def test_what_is_signed_holds_before_whoever_verifies(clock: Clock) -> None:
    async with with_key(clock) as one:
        keeper = timer(one, Holder(Signing("1")))
        await looked(keeper, clock, one)
        keys = [Signing("1").public]
        vouching = Vouching(REGION, one.log.head.log_id, keys)
        assert (await verify(one.log, vouching=vouching)).sound
        assert vouching.vouched is not None
        assert vouching.vouched.seq == 1
        elsewhere = Vouching("elsewhere", one.log.head.log_id, keys)
        verdict = await verify(one.log, vouching=elsewhere)
        assert verdict.bad == 2
        assert "signature" in verdict.problem


async def test_a_key_that_is_retired_meanwhile_is_waited_out(clock: Clock) -> None:
    async with with_key(clock) as one, anyio.create_task_group() as tasks:
        holder = Holder(Signing("1"))
        await rotate(one, Signing("2"))

        async def change_over() -> None:
            await anyio.wait_all_tasks_blocked()
            holder.keys = [Signing("2")]

        tasks.start_soon(change_over)
        outcome = await sign_head(one.commands, holder, REGION, request(), None)
        assert outcome.commit is not None
        state: Checkpoint = (await one.commands.state(STREAM)).state
        assert state.kid == "2"


async def test_a_key_that_stays_retired_is_refused_in_the_end(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mulligan.services.log.checkpoints._RETRY_S", 0.001)
    async with with_key(clock) as one:
        await rotate(one, Signing("2"))
        with pytest.raises(FailedPrecondition, match="is being changed"):
            await sign_head(one.commands, Holder(Signing("1")), REGION, request(), None)
        with pytest.raises(Unavailable):
            await sign_head(one.commands, Holder(), REGION, request(), None)
