"""Events that the release before cannot read are written once no service of it is left."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import pytest

from mulligan.commands.runner import Commands
from mulligan.embedded.etcd import EmbeddedEtcd
from mulligan.errors import FailedPrecondition, Unavailable
from mulligan.events.formats import FORMAT, FORMAT_OF, RELEASED, formats
from mulligan.handlers.region import ConnectRegion, CreateRegion
from mulligan.log.etcd import Etcd, EtcdSettings, Ranged
from mulligan.log.format import ATTRIBUTE, Format
from mulligan.log.keys import Keys
from mulligan.log.memory import MemoryDisk
from mulligan.log.registry import Member, Registration, member_value
from mulligan.model import RegionName, utc_now
from tests.commands.region import process, request
from tests.upgrade.release import Release


@asynccontextmanager
async def registered(
    etcd: Etcd, region: RegionName, instance: str, reads: int | None
) -> AsyncIterator[Registration]:
    """Have a service registered; one that says nothing of formats is of release 0.1.0."""
    told = {} if reads is None else {ATTRIBUTE: str(reads)}
    member = Member(instance=instance, endpoint="h:1", version="9.9.9", attributes=told)
    key = Keys(region).service("iam", instance)
    admit = Format(etcd, region, "9.9.9", reads=reads).admit if reads is not None else None
    async with Registration(etcd, key, member_value(member), admit=admit).hold() as held:
        await held.acquired()
        yield held


@pytest.fixture
def settings(etcd_server: EmbeddedEtcd) -> EtcdSettings:
    return EtcdSettings(endpoints=(str(etcd_server.address),))


@pytest.fixture
async def etcd(settings: EtcdSettings) -> AsyncIterator[Etcd]:
    async with Etcd(settings) as client:
        yield client


def test_what_no_release_had_is_of_the_next_format() -> None:
    first, second = frozenset({("a.made", 1)}), frozenset({("b.made", 1), ("a.made", 2)})
    found = formats([first, second], {"a.made": 2, "b.made": 1, "c.made": 1})
    assert found == {("a.made", 2): 2, ("b.made", 1): 2, ("c.made", 1): 3}
    assert FORMAT in (len(RELEASED), len(RELEASED) + 1)
    assert FORMAT_OF[("machine.enrolled", 1)] == 1


def test_the_formats_hold_what_the_release_knew(release: Release) -> None:
    code = (
        "from mulligan.events.codec import EVENT_TYPES, UPCASTERS, schema_version\n"
        "print(*sorted(f'{t} {schema_version(t, UPCASTERS)}' for t in EVENT_TYPES), sep='\\n')"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=release.tree, capture_output=True, text=True, check=True
    )
    knew = {(type_, int(v)) for type_, v in map(str.split, told.stdout.splitlines())}
    assert {form for forms in RELEASED for form in forms} == knew


async def test_a_newer_format_waits_for_the_last_service_of_the_release_before(
    etcd: Etcd, region_prefix: RegionName
) -> None:
    format_ = Format(etcd, region_prefix, "2.0.0", reads=2)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(registered(etcd, region_prefix, "new", 2))
        async with registered(etcd, region_prefix, "old", None):
            with pytest.raises(FailedPrecondition, match=r"upgrade old at h:1 \(release 9.9.9\)"):
                await format_.raise_to(2)
            assert format_.active == 1
        await format_.raise_to(2)
    assert format_.active == 2
    another = Format(etcd, region_prefix, "2.0.0", reads=2)
    await another.admit()
    assert another.active == 2


async def test_a_service_that_cannot_read_the_log_does_not_register(
    etcd: Etcd, region_prefix: RegionName
) -> None:
    await Format(etcd, region_prefix, "2.0.0", reads=2).raise_to(2)
    older = Format(etcd, region_prefix, "1.0.0", reads=1)
    with pytest.raises(Unavailable, match=r"format 2, since release 2.0.0.*reads format 1"):
        await older.admit()


async def test_a_service_that_registers_while_the_format_is_raised_is_seen(
    etcd: Etcd, settings: EtcdSettings, region_prefix: RegionName
) -> None:
    async with AsyncExitStack() as stack:
        late = registered(etcd, region_prefix, "late", None)

        class Raced(Etcd):
            """An old service registers as soon as the members were listed."""

            async def range_prefix(self, prefix: str, **more: Any) -> Ranged:
                found = await etcd.range_prefix(prefix, **more)
                if not found.kvs and prefix.endswith("service/"):
                    await stack.enter_async_context(late)
                return found

        raced = await stack.enter_async_context(Raced(settings))
        with pytest.raises(FailedPrecondition, match="late at h:1"):
            await Format(raced, region_prefix, "2.0.0", reads=2).raise_to(2)
    assert await etcd.get(Keys(region_prefix).format) is None


async def test_a_registration_that_lost_to_a_raise_looks_again(
    etcd: Etcd, region_prefix: RegionName
) -> None:
    raised = Format(etcd, region_prefix, "2.0.0", reads=2)
    own = Format(etcd, region_prefix, "2.0.0", reads=2)
    admitted = 0

    async def admit() -> Any:
        nonlocal admitted
        admitted += 1
        holds = await own.admit()
        if admitted == 1:
            await raised.raise_to(2)
        return holds

    member = Member(instance="1", endpoint="h:1", attributes={ATTRIBUTE: "2"})
    key = Keys(region_prefix).service("iam", "1")
    async with Registration(etcd, key, member_value(member), admit=admit).hold() as held:
        await held.acquired()
        assert admitted == 2
        assert held.fence().key == key


class Rising:
    """A format that rises, or does not."""

    def __init__(self, refused: str = "") -> None:
        self.active = 1
        self.refused = refused

    async def raise_to(self, wanted: int) -> None:
        if self.refused:
            raise FailedPrecondition(self.refused)
        self.active = wanted


CONNECT = ConnectRegion(region=RegionName("west"), addresses=("h:1",))


async def test_a_command_that_needs_a_newer_format_is_refused_until_it_may_be_written() -> None:
    disk, format_ = MemoryDisk(), Rising("upgrade the others")
    async with process(disk) as p:
        gated = Commands(p.log, p.model, p.model, clock=utc_now, format=format_)
        await gated.execute(CreateRegion(region=RegionName("r")), request())
        asked = request()
        with pytest.raises(FailedPrecondition, match="upgrade the others"):
            await gated.execute(CONNECT, asked)
        assert len(disk.entries) == 1
        format_.refused = ""
        done = await gated.execute(CONNECT, asked)
        assert done.commit is not None
        assert msgspec.json.decode(done.commit.events[0].data)["addresses"] == ["h:1"]
        assert format_.active == FORMAT_OF["region.connected", 1] > 1
        gated.close()
