"""One verb over several objects: bounded, each error reported, none in the way of the others."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import anyio

from mulligan.cli.report import NotSent, Several, describe
from mulligan.errors import InvalidArgument, MulliganError

AT_ONCE = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


class Outcome(NamedTuple, Generic[Item, Result]):
    """What became of one of several: a result, or an error."""

    item: Item
    result: Result | None
    error: MulliganError | None


async def attempt(
    items: Sequence[Item],
    act: Callable[[Item], Awaitable[Result]],
    *,
    at_once: int = AT_ONCE,
    told: Callable[[Outcome[Item, Result]], None] = lambda outcome: None,
) -> list[Outcome[Item, Result]]:
    """Do ``act`` with every item, and return what became of each in the items' order.

    ``told`` hears of each as it ends.
    """
    outcomes: dict[int, Outcome[Item, Result]] = {}
    left = iter(enumerate(items))

    async def work() -> None:
        for number, item in left:
            try:
                outcome: Outcome[Item, Result] = Outcome(item, await act(item), None)
            except MulliganError as error:
                outcome = Outcome(item, None, error)
            outcomes[number] = outcome
            told(outcome)

    async with anyio.create_task_group() as tasks:
        for _ in range(min(at_once, len(items))):
            tasks.start_soon(work)
    return [outcomes[number] for number in range(len(items))]


async def each(
    items: Sequence[Item], act: Callable[[Item], Awaitable[Result]], *, at_once: int = AT_ONCE
) -> list[Result]:
    """Do ``act`` with every item, and return the results in the items' order.

    With one item its error is raised. With several each error is printed as it comes, and Several
    is raised at the end.
    """
    if len(items) == 1:
        return [await act(items[0])]
    errors: list[MulliganError] = []

    def told(outcome: Outcome[Item, Result]) -> None:
        if outcome.error is not None:
            errors.append(outcome.error)
        if outcome.error is not None and not isinstance(outcome.error, NotSent):
            sys.stderr.write("\n".join(describe(outcome.error)) + "\n")

    outcomes = await attempt(items, act, at_once=at_once, told=told)
    failed = [error for error in errors if not isinstance(error, NotSent)]
    if failed:
        raise Several(failed[0], len(failed), len(items))
    if errors:
        raise errors[0]
    return [outcome.result for outcome in outcomes]  # type: ignore[misc]


def names_of(given: Sequence[str]) -> list[str]:
    """Return the names given as arguments; ``-`` stands for those on standard input."""
    names: list[str] = []
    for name in given:
        names += sys.stdin.read().split() if name == "-" else [name]
    if not names:
        raise InvalidArgument("names", "none were given")
    return list(dict.fromkeys(names))
