"""Machines, failure domains and pasts as they are read, against loops over a random history."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

import pytest

from mulligan.config import Dsn
from mulligan.events.machine import (
    Bmc,
    ClaimDetached,
    Condition,
    Health,
    MachineEnrolled,
    OperationStarted,
    Power,
)
from mulligan.handlers import brake, observations
from mulligan.handlers.brake import Brake
from mulligan.handlers.completion import NOT_THE_MACHINE
from mulligan.handlers.credential import Credential
from mulligan.handlers.enrolment import EnrolMachine
from mulligan.handlers.machine import Machine
from mulligan.handlers.provider import Provider
from mulligan.log.memory import MemoryDisk
from mulligan.model import AccountId, MachineId, ProviderId, stream_id
from mulligan.queries import audit
from mulligan.queries.database import Database
from mulligan.queries.domains import list_brakes, trouble_in, troubled_domains
from mulligan.queries.machines import MachineFilter, list_actions, list_machines
from mulligan.queries.paging import PageRequest
from tests.projections.conftest import folding
from tests.projections.histories import START, World, history, write

ALL = PageRequest(size=1000)


@asynccontextmanager
async def reading(world: World, dsn: Dsn) -> AsyncIterator[Database]:
    disk = MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, dsn), Database(dsn) as reads:
        yield reads


POWERS: tuple[tuple[Power, ...], ...] = ((), ("on",), ("on", "off"), ("on", "unknown", "off"))
HEALTHS: tuple[Health, ...] = ("ok", "warning", "unknown")
FAN = Condition(component="Fan 1", severity="warning", message="slow", message_id="")


def lived(seed: int) -> World:
    """A history in which machines also lose power, fail, and are unwell."""
    world = history(seed, steps=300)
    rng = world.rng
    credential = next(s for s in world.states.values() if isinstance(s, Credential)).id
    for number in range(12):
        one = MachineId(world.id())
        bmc = Bmc(address=f"https://late-{number}", credential=credential)
        parent = rng.choice((rack_of(world).id, ProviderId("")))
        world.do(EnrolMachine(machine=one, name=f"late_{number}", bmc=bmc, parent=parent))
    for machine in machines(world):
        world.pass_time(rng.choice((0, 60, 600)))
        for power in rng.choice(POWERS):
            world.attempt(observations.ObservePower(machine=machine.id, power=power))
        health = rng.choice(HEALTHS)
        conditions = (FAN,) if health == "warning" else ()
        world.attempt(
            observations.ObserveHealth(machine=machine.id, health=health, conditions=conditions)
        )
    world.flush()
    return world


def rack_of(world: World) -> Provider:
    return next(s for s in world.states.values() if isinstance(s, Provider) and s.name == "rack")


def machines(world: World) -> list[Machine]:
    found = [s for s in world.states.values() if isinstance(s, Machine)]
    return [one for one in found if not one.deleted]


def like(pattern: str) -> Callable[[str], bool]:
    """Return the test of a pattern in which only the star is special."""
    return lambda text: fnmatchcase(
        text.lower(), pattern.lower().replace("[", "[[]").replace("?", "[?]")
    )


async def ids(reads: Database, wanted: MachineFilter) -> list[str]:
    return sorted(row.state.id for row in (await list_machines(reads, ALL, wanted)).items)


async def test_machines_are_listed_by_what_they_are(database: Dsn) -> None:
    world = lived(41)
    every = machines(world)
    rack = rack_of(world).id
    below = sorted(m.id for m in every if world.states[stream_id("provider", m.id)].parent == rack)
    async with reading(world, database) as reads:
        for health in ("ok", "warning", "unknown", "critical"):
            expected = sorted(m.id for m in every if m.health == health)
            assert await ids(reads, MachineFilter(health=health)) == expected
        for pattern in ("*", "m-*", "M-*", "m-?*", "m_*", "m-%", "*0", every[0].name):
            expected = sorted(m.id for m in every if like(pattern)(m.name))
            assert await ids(reads, MachineFilter(name=pattern)) == expected
        for states in (("available",), ("available", "failed"), ("active",)):
            expected = sorted(m.id for m in every if m.state in states)
            assert await ids(reads, MachineFilter(states=states)) == expected
        made = {m.facts.manufacturer if m.facts else "" for m in every}
        for maker in made:
            expected = sorted(
                m.id for m in every if (m.facts.manufacturer if m.facts else "") == maker
            )
            assert await ids(reads, MachineFilter(manufacturer=maker)) == expected
        assert await ids(reads, MachineFilter(under=rack)) == below
        assert await ids(reads, MachineFilter(under=every[0].id)) == []
        both = MachineFilter(states=("available",), health="ok")
        assert set(await ids(reads, both)) == set(
            await ids(reads, MachineFilter(states=("available",)))
        ) & set(await ids(reads, MachineFilter(health="ok")))


def troubled(machine: Machine, since: datetime) -> bool:
    """Whether a machine failed by its own fault, or lost its power, after a time."""
    fault = machine.fault
    if machine.power_lost is not None and machine.power_lost > since:
        return True
    if fault is None or fault.fault in NOT_THE_MACHINE or machine.failed in {"inspect", "adopt"}:
        return False
    return fault.since > since


@pytest.mark.parametrize("seed", [42, 43])
async def test_the_troubles_of_a_domain_are_counted(seed: int, database: Dsn) -> None:
    world = lived(seed)
    domains: dict[str, list[Machine]] = {}
    for machine in machines(world):
        domains.setdefault(brake.domain_of(world.states, machine.id), []).append(machine)
    found_any = False
    async with reading(world, database) as reads:
        for back in (0.0, 0.5, 5, 10_000):
            since = world.now - timedelta(hours=back)
            counts = {d: sum(troubled(m, since) for m in known) for d, known in domains.items()}
            assert sorted(await troubled_domains(reads, since)) == sorted(
                domain for domain, count in counts.items() if count
            )
            for domain, known in domains.items():
                found = await trouble_in(reads, domain, since)
                assert (found.failed, found.total) == (counts[domain], len(known))
                found_any |= bool(found.failed)
        nowhere = await trouble_in(reads, "018f0000-0000-7000-8000-000000000000", START)
        assert (nowhere.failed, nowhere.total) == (0, 0)
    assert found_any


async def test_the_brakes_that_hold_are_listed(database: Dsn) -> None:
    world = World(7)
    for domain in ("region", "rack-1", "rack-2"):
        world.do(brake.ApplyBrake(domain=domain, failed=3, total=6, window=600))
    world.do(brake.ReleaseBrake(domain="rack-1", by=AccountId("ann"), reason="all is well"))
    world.flush()
    async with reading(world, database) as reads:
        held: list[Brake] = [row.state for row in (await list_brakes(reads, ALL)).items]
        assert sorted(one.domain for one in held) == ["rack-2", "region"]
        first = await list_brakes(reads, PageRequest(size=1))
        rest = await list_brakes(reads, PageRequest(size=1, token=first.next_token))
        assert [first.items[0].state, rest.items[0].state] == held
        assert not rest.next_token


async def test_a_past_is_cut_where_it_is_no_longer_ones_own(database: Dsn) -> None:
    world = lived(44)
    async with reading(world, database) as reads:
        for machine in machines(world):
            stream = stream_id("machine", machine.id)
            whole = await audit.latest_events(reads, stream, 1000)
            for kind in (ClaimDetached.TYPE, OperationStarted.TYPE, MachineEnrolled.TYPE):
                times = [row.at for row in whole if row.type == kind]
                assert await audit.latest_time(reads, stream, kind) == max(times, default=None)
            since = whole[len(whole) // 2].at
            later = await audit.latest_events(reads, stream, 1000, since=since)
            assert list(later) == [row for row in whole if row.at >= since]
            actions = (await list_actions(reads, machine.id, ALL)).items
            own = (await list_actions(reads, machine.id, ALL, since=since)).items
            assert own == tuple(one for one in actions if one.requested_at >= since)
