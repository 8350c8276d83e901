"""Dry runs at the runner: decided as a command is, on what is in flight too, and never appended."""

import asyncio
from pathlib import Path

import anyio
import msgspec
import pytest

from mulligan.commands.runner import Commands, StaleEtag
from mulligan.commands.trials import Tried, TriedOut
from mulligan.errors import Conflict, Corrupt, FailedPrecondition, InvalidArgument
from mulligan.handlers.decision import Command
from mulligan.handlers.provider import DoesNotFit
from mulligan.handlers.provider_commands import CordonProvider, UncordonProvider
from mulligan.handlers.region import ConnectRegion, CreateRegion
from mulligan.log.appender import AppendLimits
from mulligan.log.memory import MemoryDisk
from mulligan.log.protocol import ReadSet
from mulligan.master_key import load_master_keys, make_master_key
from mulligan.model import ProviderId, RegionName, new_id, utc_now
from mulligan.secrets import MemorySecretKv, SecretStore
from mulligan.trial import is_trial, trying_out

from .region import GPU, QUICK, Process, process, provide, provider_stream, request, take, used


async def tried(commands: Commands, command: Command, **more: object) -> Tried:
    """Return what a dry run of a command comes to."""
    with trying_out(), pytest.raises(TriedOut) as raised:
        await commands.execute(command, request(), **more)  # type: ignore[arg-type]
    return raised.value.tried


async def test_what_would_be_appended_is_told_and_not_appended(
    one: Process, disk: MemoryDisk
) -> None:
    await one.commands.execute(provide("p", 1), request())
    told = await tried(one.commands, take("c", "p"))
    assert {e.type for e in told.commits[0].events} >= {"claim.made", "provider.capacity_taken"}
    assert told.position.seq == 1
    assert (len(disk.entries), used(disk, "p")) == (1, 0)
    done = await one.commands.execute(take("c", "p"), request())
    assert done.commit is not None
    assert [(e.stream, e.version, e.type) for e in done.commit.events] == [
        (e.stream, e.version, e.type) for e in told.commits[0].events
    ]


async def test_no_command_builds_on_a_trial(one: Process, disk: MemoryDisk) -> None:
    """Were trials kept in mind, places would seem taken, and what assumed them would not land."""
    await one.commands.execute(provide("p", 5), request())
    ended: list[str] = []
    one.commands.on_commit = lambda outcome, events, seconds: ended.append(outcome)
    told: list[Tried] = []

    async def only_try(number: int) -> None:
        with trying_out():
            try:
                await one.commands.execute(take(f"t{number}", "p"), request())
            except TriedOut as end:
                told.append(end.tried)

    async def really(number: int) -> None:
        await one.commands.execute(take(f"c{number}", "p"), request())

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            for _ in range(4):
                tasks.start_soon(only_try, number)
            if number < 4:
                tasks.start_soon(really, number)
    assert (len(told), used(disk, "p")) == (20, 4)
    assert ended == ["appended"] * 4


async def test_a_trial_is_decided_on_what_is_in_flight(one: Process, disk: MemoryDisk) -> None:
    await one.commands.execute(provide("p", 1), request())
    started = asyncio.Event()

    async def really() -> None:
        started.set()
        await one.commands.execute(take("c", "p"), request())

    async def only_try() -> None:
        await started.wait()
        with trying_out():
            await one.commands.execute(take("d", "p"), request())

    landed, refused = await asyncio.gather(really(), only_try(), return_exceptions=True)
    assert landed is None
    assert isinstance(refused, DoesNotFit)
    assert used(disk, "p") == 1


async def test_the_refusals_are_those_of_the_command(one: Process) -> None:
    await one.commands.execute(provide("p", 1), request())
    with trying_out(), pytest.raises(DoesNotFit):
        await one.commands.execute(take("c", "p", amount=2), request())
    stale = {provider_stream("p"): 9}
    with trying_out(), pytest.raises(StaleEtag):
        await one.commands.execute(
            CordonProvider(provider=ProviderId("p")), request(), versions=stale
        )


async def test_nothing_to_change_is_told_as_that(one: Process) -> None:
    await one.commands.execute(provide("p", 1), request())
    told = await tried(one.commands, UncordonProvider(provider=ProviderId("p")))
    assert (told.commits, told.repeat) == ((), False)


async def test_what_was_done_before_is_told_with_its_commit(one: Process) -> None:
    asked = request()
    first = await one.commands.execute(provide("p", 1), asked)
    for ask in (one.commands.execute(provide("p", 1), asked), one.commands.earlier(asked)):
        with trying_out(), pytest.raises(TriedOut) as raised:
            await ask
        assert raised.value.tried.repeat
        assert raised.value.tried.commits == (first.commit,)


async def test_commands_are_tried_each_on_what_those_before_would_make(
    one: Process, disk: MemoryDisk
) -> None:
    both = [provide("p", 1), take("c", "p")]
    with trying_out(), pytest.raises(TriedOut) as raised:
        await one.commands.try_out(both, request())
    told = raised.value.tried
    assert [commit.command for commit in told.commits] == ["provider.create", "claim.make"]
    assert told.states[provider_stream("p")].state.use[GPU]
    with trying_out(), pytest.raises(DoesNotFit):
        await one.commands.try_out([*both, take("d", "p")], request())
    assert not disk.entries


async def test_nothing_on_the_way_takes_the_end_of_a_trial_for_an_error() -> None:
    assert not issubclass(TriedOut, Exception)


async def test_the_log_s_door_is_shut_in_a_trial(one: Process, disk: MemoryDisk) -> None:
    """Whatever might come to be written on another way: it is not appended."""
    told = await tried(one.commands, provide("p", 1))
    with trying_out(), pytest.raises(FailedPrecondition, match="dry run"):
        await one.log.append(
            told.commits[0], read=ReadSet(at=one.log.head.seq, streams=frozenset())
        )
    assert not disk.entries


async def test_what_the_log_would_not_take_is_refused_in_a_trial(disk: MemoryDisk) -> None:
    small = msgspec.structs.replace(QUICK, append=AppendLimits(entry_bytes=400))
    async with process(disk, settings=small) as p:
        with pytest.raises(InvalidArgument, match="too many for a log entry") as real:
            await p.commands.execute(provide("p", 1), request())
        with trying_out(), pytest.raises(InvalidArgument) as dry:
            await p.commands.execute(provide("p", 1), request())
        assert dry.value.message == real.value.message
        p.log.halt(Corrupt("a broken chain"))
        with trying_out(), pytest.raises(Corrupt, match="a broken chain"):
            await p.commands.execute(provide("q", 1), request())


class Rising:
    """A format that only rises outside of a trial, and may be refused."""

    def __init__(self) -> None:
        self.active = 1
        self.refused = ""

    async def raise_to(self, wanted: int) -> None:
        if self.refused:
            raise FailedPrecondition(self.refused)
        if not is_trial():
            self.active = wanted


async def test_no_format_is_raised_for_a_trial() -> None:
    disk, format_ = MemoryDisk(), Rising()
    connect = ConnectRegion(region=RegionName("west"), addresses=("h:1",))
    async with process(disk) as p:
        gated = Commands(p.log, p.model, p.model, clock=utc_now, format=format_)
        await gated.execute(CreateRegion(region=RegionName("r")), request())
        told = await tried(gated, connect)
        assert told.commits[0].events[0].type == "region.connected"
        assert format_.active == 1
        format_.refused = "upgrade the others"
        with trying_out(), pytest.raises(FailedPrecondition, match="upgrade the others"):
            await gated.execute(connect, request())
        gated.close()


async def test_no_secret_is_sealed_or_destroyed_in_a_trial() -> None:
    kv, key = MemorySecretKv(), {"MULLIGAN_SECRETS_KEY": make_master_key()}
    store = SecretStore(RegionName("r"), load_master_keys(Path("/unused"), key), kv)
    kept = await store.put("bmc", new_id(), b"kept")
    held = await kv.keys("", "", 10)
    with trying_out():
        version = await store.put("bmc", new_id(), b"tried")
        await store.retire("bmc", new_id(), kept)
        with pytest.raises(FailedPrecondition, match="destroy a secret"):
            await store.delete("bmc", new_id())
    assert version != kept
    assert await kv.keys("", "", 10) == held


async def test_a_trial_ends_with_its_block() -> None:
    with pytest.raises(Conflict), trying_out():
        assert is_trial()
        raise Conflict("over")
    assert not is_trial()
