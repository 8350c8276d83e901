"""Lists longer than a page, as one stream."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from mulligan.proto.v1 import Page

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Item = TypeVar("Item")

PAGE_SIZE = 500


async def every(
    call: Callable[[Request], Awaitable[Answer]],
    request: Request,
    items: Callable[[Answer], list[Item]],
    *,
    limit: int = 0,
) -> AsyncIterator[Item]:
    """Yield the items of all pages of a list, or the first ``limit`` of them.

    ``request`` must have a ``page`` field; it is set page by page.
    """
    paged: Any = request
    token, given = "", 0
    while True:
        size = min(PAGE_SIZE, limit - given) if limit else PAGE_SIZE
        paged.page = Page(size=size, token=token)
        answer: Any = await call(paged)
        for item in items(answer):
            yield item
            given += 1
            if limit and given >= limit:
                return
        token = answer.next_page_token
        if not token:
            return
