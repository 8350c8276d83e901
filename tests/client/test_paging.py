"""Lists longer than a page: in order, one page ahead and no more, and left when nobody reads on."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import anyio
import pytest

from mulligan.client.paging import PAGE_SIZE, every, pages
from mulligan.errors import Unavailable
from mulligan.proto import v1

Answer = v1.ListMachinesResponse


class Fleet:
    """Answers pages of so many machines, and notes what it is asked; it may break, or hang."""

    def __init__(self, machines: int, *, fails_at: int = -1, hangs_at: int = -1) -> None:
        self.machines = machines
        self.fails_at = fails_at
        self.hangs_at = hangs_at
        self.asked: list[tuple[int, int]] = []
        self.given_up = anyio.Event()

    async def __call__(self, request: v1.ListMachinesRequest) -> Answer:
        assert request.page is not None
        return await self.page(request.page)

    async def page(self, page: v1.Page) -> Answer:
        start = int(page.token or 0)
        self.asked.append((start, page.size))
        await anyio.lowlevel.checkpoint()
        if start == self.fails_at:
            raise Unavailable("Postgres is away")
        if start == self.hangs_at:
            try:
                await anyio.sleep_forever()
            finally:
                self.given_up.set()
        end = min(start + page.size, self.machines)
        listed = [v1.Machine(name=str(number)) for number in range(start, end)]
        return Answer(machines=listed, next_page_token=str(end) if end < self.machines else "")

    async def names(self, limit: int = 0) -> list[str]:
        request = v1.ListMachinesRequest()
        return [one.name async for one in every(self, request, machines_of, limit=limit)]


def machines_of(answer: Answer) -> list[v1.Machine]:
    return answer.machines


@pytest.mark.parametrize("machines", [0, 1, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE])
async def test_every_machine_comes_once_and_in_order(machines: int) -> None:
    fleet = Fleet(machines)
    assert await fleet.names() == [str(number) for number in range(machines)]
    assert len(fleet.asked) == max(1, -(-machines // PAGE_SIZE))


@pytest.mark.parametrize("limit", [1, 7, PAGE_SIZE, PAGE_SIZE + 7, 2 * PAGE_SIZE])
async def test_no_more_is_asked_for_than_the_limit(limit: int) -> None:
    fleet = Fleet(3 * PAGE_SIZE)
    assert len(await fleet.names(limit)) == limit
    assert sum(size for _, size in fleet.asked) == limit


async def test_the_next_page_is_asked_for_before_one_is_worked_on_and_none_beyond_it() -> None:
    fleet = Fleet(4 * 10)
    async with aclosing(pages(fleet.page, size=10)) as answers:
        async for answer in answers:
            here = int(answer.machines[0].name)
            await anyio.wait_all_tasks_blocked()
            assert [start for start, _ in fleet.asked] == list(range(0, min(here + 20, 40), 10))


async def test_what_a_page_raises_comes_after_the_pages_before_it() -> None:
    fleet = Fleet(40, fails_at=20)
    answers = pages(fleet.page, size=10)
    assert [(await anext(answers)).machines[0].name for _ in range(2)] == ["0", "10"]
    with pytest.raises(Unavailable, match="Postgres is away"):
        await anext(answers)


async def test_the_call_ahead_ends_with_a_list_that_is_left() -> None:
    fleet = Fleet(40, hangs_at=10)
    async with aclosing(pages(fleet.page, size=10)) as answers:
        async for _ in answers:
            await anyio.wait_all_tasks_blocked()
            break
    assert fleet.given_up.is_set()


async def test_the_call_ahead_ends_with_a_task_that_is_cancelled() -> None:
    fleet = Fleet(40, hangs_at=10)
    answers = pages(fleet.page, size=10)
    assert (await anext(answers)).machines
    with anyio.move_on_after(0.05) as scope:
        await anext(answers)
    assert scope.cancelled_caught
    assert fleet.given_up.is_set()


async def test_a_request_can_be_listed_again_and_at_once_with_itself() -> None:
    request = v1.ListMachinesRequest(page=v1.Page(size=3))
    first = every(Fleet(PAGE_SIZE + 2), request, machines_of)
    second = every(Fleet(PAGE_SIZE + 1), request, machines_of)
    names = [(one.name, other.name) async for one, other in _pairs(first, second)]
    assert names == [(str(number), str(number)) for number in range(PAGE_SIZE + 1)]
    assert request == v1.ListMachinesRequest(page=v1.Page(size=3))


async def _pairs(
    first: AsyncIterator[v1.Machine], second: AsyncIterator[v1.Machine]
) -> AsyncIterator[tuple[v1.Machine, v1.Machine]]:
    async for other in second:
        yield await anext(first), other
