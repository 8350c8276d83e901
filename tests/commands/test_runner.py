import asyncio
from datetime import timedelta

import anyio
import msgspec
import pytest

from mulligan.commands.runner import StaleEtag
from mulligan.errors import AlreadyExists, Corrupt, NotFound, Unavailable
from mulligan.handlers.claim import Claim
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.project import MAX_DEPTH as DEEPEST_PROJECT
from mulligan.handlers.project import CreateProject
from mulligan.handlers.provider import MAX_DEPTH, DoesNotFit, Provider
from mulligan.handlers.provider_commands import CordonProvider, CreateProvider, UpdateProvider
from mulligan.log.memory import MemoryDisk
from mulligan.log.protocol import Fenced
from mulligan.log.regionlog import LogSettings
from mulligan.model import ClaimId, ProjectId, ProviderId, StreamId, stream_id, utc_now
from tests.projections.histories import history, poison, write

from .region import (
    GPU,
    Process,
    plain,
    process,
    provide,
    provider_stream,
    request,
    take,
    truth,
    used,
)


async def test_states_are_exact_at_the_head_however_far_the_read_model_lags() -> None:
    world = history(seed=3, steps=80)
    head = len(world.entries)
    for checkpoint in (0, 1, head // 2, head - 1, head):
        disk = MemoryDisk()
        write(disk, world.entries)
        async with process(disk, checkpoint=checkpoint) as p:
            found = await p.commands.states(list(world.states))
            for stream, state in world.states.items():
                assert found[stream].version == world.versions[stream]
                assert found[stream].state == state
            assert {s: plain(k) for s, k in found.items()} == {
                s: plain(k) for s, k in truth(disk).items()
            }


async def test_states_follow_what_other_processes_append(disk: MemoryDisk) -> None:
    async with process(disk, checkpoint=0) as one, process(disk, checkpoint=0) as two:
        await one.commands.execute(provide("p", 9), request())
        await two.log.wait(one.log.head.seq)
        for n in range(6):
            here, there = (one, two) if n % 2 else (two, one)
            await here.commands.execute(take(f"c{n}", "p"), request())
            await there.log.wait(here.log.head.seq)
            for p in (one, two):
                known = await p.commands.state(provider_stream("p"))
                assert plain(known) == plain(truth(disk)[provider_stream("p")])
        assert two.model.loads.count(provider_stream("p")) == 1, "it was loaded once and kept"


async def test_an_absent_stream_has_version_zero(one: Process) -> None:
    known = await one.commands.state(stream_id("claim", "none"))
    assert (known.version, known.state, known.created_at) == (0, None, None)


async def test_a_repeat_returns_the_first_result(one: Process, disk: MemoryDisk) -> None:
    await one.commands.execute(provide("p", 1), request())
    asked = request()
    first = await one.commands.execute(take("c", "p"), asked)
    again = await one.commands.execute(take("c", "p"), asked)
    assert (again.position, again.repeat, first.repeat) == (first.position, True, False)
    assert again.commit == first.commit
    assert used(disk, "p") == 1


async def test_a_request_id_used_for_something_else_is_refused(one: Process) -> None:
    asked = request()
    await one.commands.execute(provide("p", 1), asked)
    with pytest.raises(AlreadyExists, match="another request"):
        await one.commands.execute(take("c", "p"), request(asked.id, digest="other"))


async def test_repeats_at_once_are_one_commit_and_one_answer(
    one: Process, disk: MemoryDisk
) -> None:
    await one.commands.execute(provide("p", 1), request())
    asked = request()
    outcomes = await asyncio.gather(
        *(one.commands.execute(take("c", "p"), asked) for _ in range(5))
    )
    assert {o.position for o in outcomes} == {outcomes[0].position}
    assert sorted(o.repeat for o in outcomes) == [False, True, True, True, True]
    assert used(disk, "p") == 1


async def test_a_repeat_after_a_failure_is_decided_anew(one: Process) -> None:
    asked = request()
    with pytest.raises(DoesNotFit):
        await one.commands.execute(take("c", "p"), asked)
    await one.commands.execute(provide("p", 1), request())
    assert not (await one.commands.execute(take("c", "p"), asked)).repeat


async def test_a_repeat_beyond_the_logs_memory_is_found_by_the_read_model(
    disk: MemoryDisk,
) -> None:
    async with process(disk, settings=LogSettings(window_entries=2)) as p:
        old = request("00000000-0000-7000-8000-000000000001")
        first = await p.commands.execute(provide("p", 9), old)
        for n in range(3):
            await p.commands.execute(take(f"c{n}", "p"), request())
        again = await p.commands.execute(provide("p", 9), old)
        assert (again.position, again.repeat) == (first.position, True)
        with pytest.raises(AlreadyExists):
            await p.commands.execute(provide("p", 9), request(old.id, digest="other"))


async def test_a_repeat_that_neither_memory_nor_read_model_can_tell_of_is_not_decided_again(
    disk: MemoryDisk,
) -> None:
    async with process(disk, settings=LogSettings(window_entries=2)) as p:
        old = request("00000000-0000-7000-8000-000000000001")
        first = await p.commands.execute(provide("p", 9), old)
        for n in range(4):
            await p.commands.execute(take(f"c{n}", "p"), request())
    async with process(disk, checkpoint=0, settings=LogSettings(window_entries=2)) as late:
        with pytest.raises(Unavailable, match="too far behind to tell"):
            await late.commands.execute(provide("p", 9), old)
        late.model.checkpoint = disk.mark().seq
        again = await late.commands.execute(provide("p", 9), old)
        assert (again.position, again.repeat) == (first.position, True)


async def test_a_recent_request_spares_the_read_model(disk: MemoryDisk) -> None:
    settings = LogSettings(window_entries=2)
    async with process(disk, settings=settings, clock=lambda: utc_now() - timedelta(hours=1)) as p:
        for n in range(5):
            await p.commands.execute(provide(f"p{n}", 1), request())
        assert p.model.lookups == []
        await p.commands.execute(provide("q", 1), request("00000000-0000-4000-8000-000000000001"))
        assert len(p.model.lookups) == 1, "an id that tells no time is looked up"


async def test_nothing_to_change_is_an_outcome_without_a_commit(one: Process) -> None:
    await one.commands.execute(provide("p", 1), request())
    await one.commands.execute(take("c", "p"), request())
    await one.commands.execute(ReleaseClaim(claim=ClaimId("c")), request())
    head = one.log.head.seq
    outcome = await one.commands.execute(ReleaseClaim(claim=ClaimId("c")), request())
    assert (outcome.commit, outcome.position.seq) == (None, head)


async def test_commands_on_one_hot_stream_land_in_few_transactions(
    one: Process, disk: MemoryDisk
) -> None:
    await one.commands.execute(provide("hot", 30), request())
    before = one.log.transactions
    jobs = (one.commands.execute(take(f"c{n}", "hot"), request()) for n in range(50))
    outcomes = await asyncio.gather(*jobs, return_exceptions=True)
    refused = [o for o in outcomes if isinstance(o, DoesNotFit)]
    assert (len(outcomes) - len(refused), len(refused)) == (30, 20)
    assert used(disk, "hot") == 30
    assert one.log.transactions - before <= 3


async def test_a_refusal_on_what_never_landed_is_decided_again(
    one: Process, disk: MemoryDisk
) -> None:
    await one.commands.execute(provide("p", 1), request())
    fallen = disk.grant("lease")
    disk.revoke("lease")
    first, second = await asyncio.gather(
        one.commands.execute(take("first", "p"), request(), fence=fallen),
        one.commands.execute(take("second", "p"), request()),
        return_exceptions=True,
    )
    assert isinstance(first, Fenced)
    assert not isinstance(second, BaseException)
    assert used(disk, "p") == 1
    holder: Claim = (await one.commands.state(stream_id("claim", "second"))).state
    assert holder.state == "active"


async def test_nothing_to_do_on_what_never_landed_is_decided_again(
    one: Process, disk: MemoryDisk
) -> None:
    await one.commands.execute(provide("p", 1), request())
    fallen = disk.grant("lease")
    disk.revoke("lease")
    cordon = CordonProvider(provider=ProviderId("p"))
    first, second = await asyncio.gather(
        one.commands.execute(cordon, request(), fence=fallen),
        one.commands.execute(cordon, request()),
        return_exceptions=True,
    )
    assert isinstance(first, Fenced)
    assert not isinstance(second, BaseException) and second.commit is not None
    state: Provider = (await one.commands.state(provider_stream("p"))).state
    assert state.cordons


async def test_a_fence_that_holds_lets_the_command_through(one: Process, disk: MemoryDisk) -> None:
    held = disk.grant("lease")
    assert (await one.commands.execute(provide("p", 1), request(), fence=held)).commit is not None


async def test_a_stale_etag_is_refused_and_a_true_one_is_not(one: Process) -> None:
    await one.commands.execute(provide("p", 5), request())
    stream = provider_stream("p")
    version = (await one.commands.state(stream)).version
    cordon = CordonProvider(provider=ProviderId("p"), note="a")
    await one.commands.execute(cordon, request(), versions={stream: version})
    again = CordonProvider(provider=ProviderId("p"), note="b")
    with pytest.raises(StaleEtag):
        await one.commands.execute(again, request(), versions={stream: version})
    await one.commands.execute(again, request(), versions={stream: 0})


async def test_a_read_model_behind_the_logs_memory_is_unavailable_and_not_guessed(
    disk: MemoryDisk,
) -> None:
    async with process(disk) as writer:
        for n in range(6):
            await writer.commands.execute(provide(f"p{n}", 1), request())
    async with process(disk, checkpoint=0, settings=LogSettings(window_entries=3)) as p:
        with pytest.raises(Unavailable, match="behind"):
            await p.commands.execute(take("c", "p0"), request())
        p.model.checkpoint = 6
        await p.commands.execute(take("c", "p0"), request())


async def test_without_postgres_what_is_cached_goes_on_and_the_rest_fails_at_once(
    one: Process, disk: MemoryDisk
) -> None:
    await one.commands.execute(provide("p", 5), request())
    read = ("claim/c", "project/web", "quota/web")
    await one.commands.states([StreamId(stream) for stream in read])
    one.model.away = True
    await one.commands.execute(take("c", "p"), request())
    with anyio.fail_after(0.5), pytest.raises(Unavailable, match="Postgres"):
        await one.commands.execute(take("d", "p"), request())
    assert used(disk, "p") == 1
    one.model.away = False
    await one.commands.execute(take("d", "p"), request())


async def test_a_tree_as_deep_as_they_come_is_read_and_moved_by_a_process_that_knows_none_of_it(
    disk: MemoryDisk,
) -> None:
    keys = [f"p{n}" for n in range(MAX_DEPTH - 1)]
    async with process(disk) as writer:
        await writer.commands.execute(provide("top", 1), request())
        for above, key in zip(["", *keys], keys, strict=False):
            below = CreateProvider(
                provider=ProviderId(key), name=key, type="compute", parent=ProviderId(above)
            )
            await writer.commands.execute(below, request())
        for above, key in zip(["", *keys], keys[:DEEPEST_PROJECT], strict=False):
            project = CreateProject(project=ProjectId(key), name=key, parent=ProjectId(above))
            await writer.commands.execute(project, request())
    async with process(disk) as p:
        move = UpdateProvider(provider=ProviderId(keys[0]), parent=ProviderId("top"))
        await p.commands.execute(move, request())
        moved: Provider = (await p.commands.state(provider_stream(keys[-1]))).state
        assert moved.ancestors == ("top", *keys[:-1])
        await p.commands.execute(take("c", "top", project=keys[DEEPEST_PROJECT - 1]), request())


async def test_a_stream_that_cannot_be_read_stops_only_who_needs_it() -> None:
    world = history(seed=5, steps=20)
    bad = next(s for s in world.states if s.startswith("provider/"))
    disk = MemoryDisk()
    write(disk, world.entries)
    async with process(disk, checkpoint=len(world.entries)) as p:
        await p.commands.state(bad)
        write(disk, [poison(world, bad)])
        await p.log.wait(world.entries[-1].seq)
        with pytest.raises(Corrupt, match="unknown event type"):
            await p.commands.state(bad)
        await p.commands.execute(provide("fine", 1), request())


async def test_a_decision_is_never_dated_before_what_it_builds_on(disk: MemoryDisk) -> None:
    ahead = utc_now() + timedelta(minutes=5)
    async with process(disk, clock=lambda: ahead) as fast:
        await fast.commands.execute(provide("p", 5), request())
    for checkpoint in (0, 1):
        async with process(disk, checkpoint=checkpoint) as slow:
            outcome = await slow.commands.execute(take(f"c{checkpoint}", "p"), request())
            assert outcome.commit is not None and outcome.commit.at >= ahead


async def test_a_command_cancelled_in_flight_and_asked_again_stands_once(
    one: Process, disk: MemoryDisk
) -> None:
    await one.commands.execute(provide("p", 2), request())
    for turns in range(8):
        asked, claim = request(), f"c{turns}"
        task = asyncio.create_task(one.commands.execute(take(claim, "p"), asked))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        outcome = await one.commands.execute(take(claim, "p"), asked)
        assert outcome.commit is not None and outcome.commit.id == asked.id
        assert plain(await one.commands.state(provider_stream("p"))) == plain(
            truth(disk)[provider_stream("p")]
        )
        await one.commands.execute(ReleaseClaim(claim=ClaimId(claim)), request())


async def test_an_unknown_object_is_not_found(one: Process) -> None:
    with pytest.raises(NotFound):
        await one.commands.execute(ReleaseClaim(claim=ClaimId("none")), request())


async def test_a_commit_tells_who_asked_and_why(one: Process) -> None:
    asked = msgspec.structs.replace(request(), causation="cause", traceparent="00-1")
    outcome = await one.commands.execute(provide("p", 1), asked)
    assert outcome.commit is not None
    assert (outcome.commit.causation, outcome.commit.correlation) == ("cause", asked.id)
    assert (outcome.commit.command, outcome.commit.traceparent) == ("provider.create", "00-1")
    assert outcome.position == one.commands.position()
    assert GPU in (await one.commands.state(provider_stream("p"))).state.inventories
