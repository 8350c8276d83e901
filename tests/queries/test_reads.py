"""Every read on a random history, held against the states that the handlers folded."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, get_args

import pytest
from msgspec.structs import replace

from mulligan.config import Dsn
from mulligan.errors import InvalidArgument, Unavailable
from mulligan.events.codec import Codec
from mulligan.events.machine import Verb
from mulligan.handlers import usage
from mulligan.handlers.account import Account, Project, SigningKey
from mulligan.handlers.claim import LIVE, Claim, State
from mulligan.handlers.credential import Credential
from mulligan.handlers.group import Group
from mulligan.handlers.image import Image
from mulligan.handlers.machine import Machine
from mulligan.handlers.names import NameState
from mulligan.handlers.provider import Provider
from mulligan.handlers.provider_commands import UpdateProvider
from mulligan.log.memory import MemoryDisk
from mulligan.model import CommitId, ProviderId, Seq, StreamId, utc_now
from mulligan.projections.models import READ_MODELS
from mulligan.queries import (
    accounts,
    audit,
    claims,
    commands,
    images,
    machines,
    names,
    projections,
    providers,
)
from mulligan.queries.database import Database, PoolSettings
from mulligan.queries.freshness import wait_until
from mulligan.queries.machines import MachineFilter
from mulligan.queries.paging import Page, PageRequest
from tests.projections.conftest import folding
from tests.projections.histories import World, history, write

T = TypeVar("T")
S = TypeVar("S")


async def everything(read: Callable[[PageRequest], Awaitable[Page[T]]], size: int = 7) -> list[T]:
    """Read a list page by page."""
    found: list[T] = []
    token = ""
    while True:
        page = await read(PageRequest(size=size, token=token))
        found += page.items
        assert len(page.items) == size or not page.next_token
        token = page.next_token
        if not token:
            return found


def of(world: World, kind: type[S]) -> list[S]:
    """The states of a kind that are not deleted."""
    found = [s for s in world.states.values() if isinstance(s, kind)]
    return [s for s in found if not getattr(s, "deleted", False)]


def same(rows: Sequence[object], states: Sequence[object]) -> bool:
    return sorted(map(repr, rows)) == sorted(map(repr, states))


async def test_lists_show_each_object_once_page_by_page(database: Dsn) -> None:
    world, disk = history(31, steps=400), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database), Database(database) as reads:
        lists: tuple[tuple[Callable[..., Awaitable[Page[Any]]], type[Any]], ...] = (
            (accounts.list_accounts, Account),
            (accounts.list_projects, Project),
            (providers.list_groups, Group),
            (claims.list_claims, Claim),
            (partial(machines.list_machines, wanted=MachineFilter()), Machine),
            (images.list_images, Image),
            (images.list_credentials, Credential),
        )
        for read, kind in lists:
            rows = await everything(partial(read, reads))
            assert of(world, kind)
            assert same([r.state for r in rows], of(world, kind))
        keys = await accounts.list_keys(reads)
        assert [k.state for k in keys] == of(world, SigningKey)


async def test_listed_providers_show_what_is_in_use_at_one_moment(database: Dsn) -> None:
    world, disk = history(34, steps=400), MemoryDisk()
    for one in of(world, Provider):
        none = {class_: replace(i, total=i.reserved) for class_, i in one.inventories.items()}
        if one.use and world.rng.random() < 0.5:
            world.do(UpdateProvider(provider=one.id, inventories=none))
    world.flush()
    write(disk, world.entries)
    wanted = {p.id: p for p in of(world, Provider)}
    used = 0
    async with folding(disk, database), Database(database) as reads:
        for hours in (0, 20, 200):
            now = world.now + timedelta(hours=hours)
            rows = await everything(partial(providers.list_providers, reads, now=now))
            assert {r.state.id for r in rows} == wanted.keys()
            for row in rows:
                whole = wanted[row.state.id]
                assert replace(row.state, use=whole.use) == whole
                assert row.state.over_committed == whole.over_committed
                for class_ in {*whole.use, *row.state.use}:
                    shown, all_ = row.state.use.get(class_, ()), whole.use.get(class_, ())
                    assert {*shown} <= {*all_}
                    moment = now, now + timedelta.resolution
                    assert usage.peak(shown, *moment) == usage.peak(all_, *moment)
                    used += len(shown)
    assert used
    assert any(p.over_committed for p in wanted.values())
    assert not all(p.over_committed for p in wanted.values() if p.use)


def _attended(machine: Machine) -> bool:
    timed = machine.cordon is not None and machine.cordon.until is not None
    return machine.operation is not None or timed or machine.desired != ""


def _maker(machine: Machine) -> str:
    return machine.facts.manufacturer if machine.facts is not None else ""


async def test_machines_are_found_by_state_holder_place_make_name_and_health(
    database: Dsn,
) -> None:
    world, disk = history(35, steps=400), MemoryDisk()
    write(disk, world.entries)
    all_ = of(world, Machine)
    one, held = all_[0], next(m for m in all_ if m.claim)
    (rack,) = (p for p in of(world, Provider) if p.name == "rack")
    below = {c for p in of(world, Provider) if rack.id in p.ancestors for c in [p.id]}
    waiting = {
        hold.provider
        for claim in of(world, Claim)
        if claim.project == held.project and claim.usable(utc_now())
        for hold in claim.held
        if "machine" in hold.amounts
    }
    assert any(not m.project and ProviderId(m.id) in waiting for m in all_)
    assert any(m.health == "warning" for m in all_) and any(_maker(m) for m in all_)
    cases: list[tuple[MachineFilter, Callable[[Machine], bool]]] = [
        (MachineFilter(states=(one.state,)), lambda m: m.state == one.state),
        (MachineFilter(states=("no state",)), lambda m: False),
        (MachineFilter(claim=held.claim), lambda m: m.claim == held.claim),
        (MachineFilter(claim=""), lambda m: False),
        (
            MachineFilter(project=held.project),
            lambda m: m.project == held.project or (not m.project and ProviderId(m.id) in waiting),
        ),
        (MachineFilter(under=rack.id), lambda m: ProviderId(m.id) in below),
        (MachineFilter(under=one.id), lambda m: False),
        (MachineFilter(name=one.name.upper()), lambda m: m.name == one.name),
        (MachineFilter(name=f"{one.name[:4]}*"), lambda m: m.name.startswith(one.name[:4])),
        (MachineFilter(name="m_*"), lambda m: False),
        (MachineFilter(manufacturer="a*"), lambda m: _maker(m) == "Acme"),
        (MachineFilter(model="none"), lambda m: False),
        (MachineFilter(health="warning"), lambda m: m.health == "warning"),
        (
            MachineFilter(states=(one.state,), manufacturer="*c*"),
            lambda m: m.state == one.state and _maker(m) == "Acme",
        ),
    ]
    async with folding(disk, database), Database(database) as reads:
        for wanted, keeps in cases:
            shown = await everything(partial(machines.list_machines, reads, wanted=wanted))
            assert same([r.state for r in shown], [m for m in all_ if keeps(m)]), wanted


async def test_filters_pass_just_what_they_name(database: Dsn) -> None:
    world, disk = history(32, steps=400), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database), Database(database) as reads:
        all_claims, all_machines = of(world, Claim), of(world, Machine)
        project = all_claims[0].project
        provider = all_claims[0].allocations[0].provider
        found = await everything(
            lambda p: claims.list_claims(reads, p, project=project, states=sorted(LIVE))
        )
        wanted = [c for c in all_claims if c.project == project and c.state in LIVE]
        assert same([r.state for r in found], wanted)
        for states in ([one] for one in (*get_args(State), "no state")):
            found = await everything(partial(claims.list_claims, reads, states=states))
            assert same([r.state for r in found], [c for c in all_claims if c.state in states])
        found = await everything(partial(claims.list_claims, reads, stranded=True))
        assert same([r.state for r in found], [c for c in all_claims if c.stranded])
        found = await everything(lambda p: claims.list_claims(reads, p, provider=provider))
        assert same(
            [r.state for r in found],
            [c for c in all_claims if any(a.provider == provider for a in c.allocations)],
        )
        assert await machines.find_busy(reads) == sorted(m.id for m in all_machines if _attended(m))
        group = max(of(world, Group), key=lambda g: len(g.members))
        in_group = providers.ProviderFilter(group=group.id)
        members = await everything(lambda p: providers.list_providers(reads, p, in_group))
        assert {r.state.id for r in members} == {
            p.id for p in of(world, Provider) if p.id in group.members
        }
        assert all(group.id in r.groups for r in members)
        one = members[0].state.id
        assert await providers.groups_of(reads, one) == list(members[0].groups)


async def test_names_are_found_both_ways(database: Dsn) -> None:
    world, disk = history(33), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database), Database(database) as reads:
        held = [s for s in of(world, NameState) if s.object and s.kind == "machine"]
        found = await names.resolve(reads, "machine", "region", [s.slug for s in held] + ["no"])
        assert {r.uuid for r in found} == {s.object for s in held}
        described = await names.describe(reads, [held[0].object])
        assert {r.kind for r in described} == {"machine", "provider"}
        assert {r.name for r in described} == {held[0].name}
        listed = await everything(lambda p: names.list_names(reads, "machine", "region", p))
        assert {r.uuid for r in listed} == {s.object for s in held}


async def test_due_claims_come_in_order_with_the_time_of_the_next(database: Dsn) -> None:
    world, disk = history(34, steps=200), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database), Database(database) as reads:
        for hours in (0, 2, 6, 100):
            now = world.now + timedelta(hours=hours)
            due = await claims.find_due(reads, now)
            timers = {
                c.id: c.start if c.state == "reserved" else c.notice_at or c.end
                for c in of(world, Claim)
                if c.state in LIVE
            }
            times = {claim: at for claim, at in timers.items() if at is not None}
            assert set(due.claims) == {claim for claim, at in times.items() if at <= now}
            assert [times[c] for c in due.claims] == sorted(times[c] for c in due.claims)
            assert due.next_at == min((t for t in times.values() if t > now), default=None)


async def test_use_over_time_is_what_the_provider_folded(database: Dsn) -> None:
    world, disk = history(35, steps=300), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database), Database(database) as reads:
        used = [p for p in of(world, Provider) if p.use]
        assert used
        for one in used:
            segments = await providers.list_usage(reads, one.id)
            assert [(s.resource_class, s.start, s.end, s.used) for s in segments] == [
                (class_, s.start, s.end, s.used)
                for class_, use in sorted(one.use.items())
                for s in use
            ]


async def test_the_audit_has_every_event_with_its_cause(database: Dsn) -> None:
    world, disk = history(36), MemoryDisk()
    write(disk, world.entries)
    codec = Codec()
    commits = [c for e in world.entries for c in e.entry.commits]
    async with folding(disk, database), Database(database) as reads:
        for stream in list(world.states)[::7]:
            rows = await audit.stream_events(reads, stream)
            stored = [r for c in commits for r in c.events if r.stream == stream]
            assert [r.version for r in rows] == list(range(1, len(stored) + 1))
            assert [codec.event(r.record) for r in rows] == [codec.event(r) for r in stored]
            newest = await audit.latest_events(reads, stream, 2)
            assert list(newest) == list(rows)[::-1][:2]
        chained = next(c for c in commits if c.correlation)
        chain = await audit.chain_events(reads, CommitId(chained.correlation))
        assert {r.commit for r in chain} == {
            c.id for c in commits if chained.correlation in {c.correlation, c.id}
        }
        one = commits[len(commits) // 2]
        found, folded = await commands.find_commit(reads, one.id)
        assert found is not None
        assert (found.digest, found.command, found.at) == (one.digest, one.command, one.at)
        assert one in world.entries[found.seq - 1].entry.commits
        assert folded == len(world.entries)
        assert await commands.find_commit(reads, CommitId("none")) == (None, folded)


async def test_actions_are_listed_newest_first_with_their_exchanges(database: Dsn) -> None:
    world, disk = history(37, steps=400, per_entry=1), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database), Database(database) as reads:
        shown = 0
        for machine in of(world, Machine):
            rows = await everything(partial(machines.list_actions, reads, machine.id))
            shown += len(rows)
            assert [r.requested_at for r in rows] == sorted(
                (r.requested_at for r in rows), reverse=True
            )
            for row in rows:
                assert row.machine == machine.id
                assert row.verb in get_args(Verb)
                assert bool(row.exchanges) == (row.status in {"done", "retry"})
        assert shown > 10


async def test_a_token_of_another_list_is_refused(database: Dsn) -> None:
    world, disk = history(38), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database), Database(database) as reads:
        page = await names.list_names(reads, "machine", None, PageRequest(size=1))
        assert page.next_token
        again = PageRequest(size=1, token=page.next_token)
        with pytest.raises(InvalidArgument, match="another filter"):
            await names.list_names(reads, "provider", None, again)
        with pytest.raises(InvalidArgument, match="no page token"):
            await names.list_names(reads, "machine", None, PageRequest(size=1, token="x"))
        with pytest.raises(InvalidArgument, match="1001"):
            await names.list_names(reads, "machine", None, PageRequest(size=1001))


async def test_projections_tell_how_they_fare(database: Dsn) -> None:
    world, disk = history(39, steps=20), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database), Database(database) as reads:
        rows = await projections.list_projections(reads)
        assert len(rows) == len(READ_MODELS)
        assert {(r.seq, r.status, r.problem) for r in rows} == {(len(world.entries), "live", "")}


async def test_reads_before_anything_is_built_say_so(database: Dsn) -> None:
    async with Database(database) as reads:
        with pytest.raises(Unavailable, match="being rebuilt"):
            await wait_until(reads, ["claims"], Seq(0))


async def test_an_absent_postgres_is_unavailable_at_once() -> None:
    dsn = "postgresql://nobody@/x?host=/nonexistent"
    async with Database(dsn, PoolSettings(connect=1.0)) as reads:
        with pytest.raises(Unavailable, match="Postgres is away"):
            await names.describe(reads, [StreamId("x")])
