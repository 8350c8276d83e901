"""Names both ways: one call for many, kept for a while, and not longer than they are true."""

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from grpclib import GRPCError, Status

from mulligan.client import names as under_test
from mulligan.client.client import Client
from mulligan.client.names import ABSENT_LIFE, KEPT, LIFE, Names
from mulligan.errors import InvalidArgument, NotFound, Unavailable
from mulligan.model import is_uuid, slug
from mulligan.proto import v1
from tests.client.fakes import FakeRegion


def uuid(number: int) -> str:
    return f"018f0000-0000-7000-8000-{number:012}"


class FakeMeta:
    """A Meta service that knows some names, and keeps what it was asked."""

    def __init__(self) -> None:
        self.known = {
            uuid(1): ("image", "Ubuntu 24"),
            uuid(2): ("project", "red"),
            uuid(3): ("machine", "Node 1"),
        }
        self.asked: list[list[str]] = []
        self.error: Exception | None = None
        self.delay = anyio.Event()
        self.delay.set()

    async def describe(self, message: v1.DescribeRequest) -> v1.DescribeResponse:
        await self._take(list(message.uuids))
        if not all(is_uuid(one) for one in message.uuids):
            raise InvalidArgument("uuids", "is no UUID")
        found = [self._name(one) for one in message.uuids if one in self.known]
        return v1.DescribeResponse(names=found)

    async def resolve(self, message: v1.ResolveRequest) -> v1.ResolveResponse:
        await self._take(list(message.names))
        slugs = {slug(one) for one in message.names}
        names = [self._name(one) for one in self.known]
        found = [n for n in names if n.slug in slugs and n.kind == message.kind]
        return v1.ResolveResponse(names=found)

    async def _take(self, texts: list[str]) -> None:
        self.asked.append(texts)
        await self.delay.wait()
        if self.error is not None:
            raise self.error

    def _name(self, one: str) -> v1.Name:
        kind, name = self.known[one]
        return v1.Name(kind=kind, scope="region", name=name, slug=slug(name), uuid=one)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def meta() -> FakeMeta:
    return FakeMeta()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def names(meta: FakeMeta, clock: Clock) -> Names:
    return Names(meta, clock)


async def together(*calls: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(call)


async def test_a_name_its_slug_and_its_uuid_lead_to_one_another(
    names: Names, meta: FakeMeta
) -> None:
    for text in ("Ubuntu 24", "ubuntu-24", "UBUNTU_24"):
        assert await names.resolve("image", text) == uuid(1)
    assert (await names.describe([uuid(1)]))[uuid(1)].name == "Ubuntu 24"
    assert meta.asked == [["ubuntu-24"]], "the rest was known by then"
    assert await names.resolve("image", uuid(9)) == uuid(9)


async def test_what_many_ask_at_once_goes_in_one_call(names: Names, meta: FakeMeta) -> None:
    found: list[dict[str, v1.Name]] = []

    async def ask(number: int) -> None:
        found.append(await names.describe([uuid(number), uuid(2)]))

    await together(*(lambda n=n: ask(n) for n in range(1, 6)))
    assert len(meta.asked) == 1
    assert sorted(meta.asked[0]) == [uuid(n) for n in range(1, 6)]
    assert sum(uuid(1) in one for one in found) == 1
    assert all(one[uuid(2)].name == "red" for one in found)


async def test_a_name_is_believed_for_its_life_and_its_absence_hardly_at_all(
    names: Names, meta: FakeMeta, clock: Clock
) -> None:
    assert await names.describe([uuid(1), uuid(7)]) == await names.describe([uuid(1), uuid(7)])
    clock.now += ABSENT_LIFE
    await names.describe([uuid(1), uuid(7)])
    clock.now += LIFE
    await names.describe([uuid(1)])
    assert meta.asked == [[uuid(1), uuid(7)], [uuid(7)], [uuid(1)]]


async def test_what_is_not_found_says_so(names: Names) -> None:
    with pytest.raises(NotFound):
        await names.resolve("image", "no such")
    assert await names.describe([uuid(7)]) == {}


async def test_services_that_act_have_no_name_and_nobody_is_asked(
    names: Names, meta: FakeMeta
) -> None:
    assert await names.describe(["service:resource"]) == {}
    assert list(await names.describe([uuid(1), "service:control"])) == [uuid(1)]


async def test_no_more_is_kept_than_its_bound(
    meta: FakeMeta, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert KEPT == 10_000
    monkeypatch.setattr(under_test, "KEPT", 3)
    await names.describe([uuid(n) for n in range(1, 4)])
    await names.describe([uuid(1)])
    await names.describe([uuid(4)])
    assert len(names) == 3
    await names.describe([uuid(1)])
    assert len(meta.asked) == 2, "the one used last stayed"
    await names.describe([uuid(2)])
    assert len(meta.asked) == 3


async def test_an_error_reaches_all_who_wait_and_is_not_kept(names: Names, meta: FakeMeta) -> None:
    meta.error = Unavailable("away")
    errors: list[Exception] = []

    async def ask() -> None:
        try:
            await names.describe([uuid(1)])
        except Unavailable as error:
            errors.append(error)

    await together(ask, ask)
    assert (len(errors), len(meta.asked)) == (2, 1)
    meta.error = None
    assert await names.describe([uuid(1)])


async def test_a_malformed_uuid_spoils_nobody_elses_answer(names: Names) -> None:
    found: list[dict[str, v1.Name]] = []

    async def good() -> None:
        found.append(await names.describe([uuid(1)]))

    async def bad() -> None:
        with pytest.raises(InvalidArgument):
            await names.describe(["nonsense"])

    await together(bad, good)
    assert found[0][uuid(1)].name == "Ubuntu 24"


async def test_whoever_waits_goes_on_when_the_one_that_asked_is_cancelled(
    names: Names, meta: FakeMeta
) -> None:
    meta.delay = anyio.Event()
    found: list[dict[str, v1.Name]] = []
    first = anyio.CancelScope()

    async def cancelled() -> None:
        with first:
            await names.describe([uuid(1)])

    async def waiting() -> None:
        found.append(await names.describe([uuid(1)]))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancelled)
        tasks.start_soon(waiting)
        with anyio.fail_after(5):
            while not meta.asked:
                await anyio.lowlevel.checkpoint()
        first.cancel()
        meta.delay.set()
    assert found[0][uuid(1)].name == "Ubuntu 24"


async def test_what_a_call_is_not_found_for_is_looked_up_again(
    client: Client, region: FakeRegion, meta: FakeMeta
) -> None:
    client.names._meta = meta
    await client.names.resolve("machine", "node-1")
    await client.names.describe([uuid(2)])
    region.failures = [GRPCError(Status.NOT_FOUND, "machine 'Node 1' was not found")]
    with pytest.raises(NotFound):
        await client.control.get_machine(v1.GetMachineRequest(machine="Node 1"))
    meta.asked.clear()
    await client.names.describe([uuid(2)])
    assert meta.asked == []
    await client.names.resolve("machine", "node-1")
    assert meta.asked == [["node-1"]]
