"""Lists longer than a page, as one stream; the next page is on its way while one is worked on."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from mulligan.proto.v1 import Page

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Item = TypeVar("Item")

PAGE_SIZE = 500
ABANDON_S = 1.0
"""Seconds for which the end of a call is waited for that nobody wants any more."""


async def every(
    call: Callable[[Request], Awaitable[Answer]],
    request: Request,
    items: Callable[[Answer], list[Item]],
    *,
    limit: int = 0,
) -> AsyncIterator[Item]:
    """Yield the items of all pages of a list, or the first ``limit`` of them.

    ``request`` must have a ``page`` field, which is not looked at; it is left as it is.
    """
    whole: Any = request

    async def ask(page: Page) -> Answer:
        return await call(dataclasses.replace(whole, page=page))

    given = 0
    asked = pages(ask, limit=limit, count=lambda answer: len(items(answer)))
    async with aclosing(asked) as answers:
        async for answer in answers:
            for item in items(answer):
                yield item
                given += 1
                if limit and given >= limit:
                    return


async def pages(
    call: Callable[[Page], Awaitable[Answer]],
    *,
    size: int = PAGE_SIZE,
    limit: int = 0,
    count: Callable[[Answer], int] = lambda answer: 0,
) -> AsyncGenerator[Answer, None]:
    """Yield the pages of a list; ``call`` asks for one, and one is asked for ahead.

    With ``limit`` no more is asked for than so many items; ``count`` tells how many a page has.
    What a page raises is raised when its turn comes. The call ahead is cancelled when its page is
    not wanted any more.
    """
    ahead: asyncio.Task[Answer] | None = None
    left = limit
    try:
        while True:
            if ahead is None:
                answer = await call(Page(size=min(size, left or size)))
            else:
                answer = await ahead
            ahead = None
            token = _next(answer)
            left -= count(answer) if limit else 0
            if token and not (limit and left <= 0):
                page = Page(size=min(size, left or size), token=token)
                ahead = asyncio.get_running_loop().create_task(_made(call, page))
                await anyio.lowlevel.checkpoint()  # so that it is sent before this one is worked on
            yield answer
            if ahead is None:
                return
    finally:
        if ahead is not None:
            await _abandon(ahead)


def _next(answer: Any) -> str:
    token: str = answer.next_page_token
    return token


async def _made(call: Callable[[Page], Awaitable[Answer]], page: Page) -> Answer:
    return await call(page)


async def _abandon(ahead: "asyncio.Task[Answer]") -> None:
    """End a call that nobody waits for. Its task is of no group: lists are left where they are.

    A generator may be closed in another task than the one that it was begun in.
    """
    ahead.cancel()
    with anyio.move_on_after(ABANDON_S, shield=True):
        await asyncio.wait([ahead])
    if ahead.done() and not ahead.cancelled():
        ahead.exception()  # else it is complained of that nobody looked
