"""One verb over several objects: bounded, each error reported, none in the way of the others."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

from mulligan.cli.report import Several, describe
from mulligan.errors import InvalidArgument, MulliganError

AT_ONCE = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


async def each(
    items: Sequence[Item], act: Callable[[Item], Awaitable[Result]], *, at_once: int = AT_ONCE
) -> list[Result]:
    """Do ``act`` with every item, and return the results in the items' order.

    With one item its error is raised. With several each error is printed as it comes, and Several
    is raised at the end.
    """
    if len(items) == 1:
        return [await act(items[0])]
    results: dict[int, Result] = {}
    errors: list[MulliganError] = []
    limiter = anyio.CapacityLimiter(at_once)

    async def one(number: int, item: Item) -> None:
        async with limiter:
            try:
                results[number] = await act(item)
            except MulliganError as error:
                errors.append(error)
                sys.stderr.write("\n".join(describe(error)) + "\n")

    async with anyio.create_task_group() as tasks:
        for number, item in enumerate(items):
            tasks.start_soon(one, number, item)
    if errors:
        raise Several(errors[0], len(errors), len(items))
    return [results[number] for number in sorted(results)]


def names_of(given: Sequence[str]) -> list[str]:
    """Return the names given as arguments; ``-`` stands for those on standard input."""
    names: list[str] = []
    for name in given:
        names += sys.stdin.read().split() if name == "-" else [name]
    if not names:
        raise InvalidArgument("names", "none were given")
    return list(dict.fromkeys(names))
