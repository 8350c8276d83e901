"""Keeping the fleet map true: what the log tells of is read again, and nothing else."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio

from mulligan.console.brief import MachineBrief, machine_brief
from mulligan.console.source import Source
from mulligan.console.together import together
from mulligan.console.trouble import PASSES
from mulligan.errors import NotFound
from mulligan.proto.v1 import LogFilter

COALESCE_S = 0.2
"""Seconds in which changes are collected before they are read."""
AT_ONCE = 8
"""Machines that are read at the same time."""
MANY = 400
"""Changed machines from which on reading all of them is the lesser work."""
AGAIN_S = 1.0

Shown = Callable[[list[MachineBrief], list[str]], Awaitable[None]]
"""Takes machines as they are now, and the UUIDs of those that are gone."""


async def follow(
    source: Source, after: int, show: Shown, all_anew: Callable[[], Awaitable[None]]
) -> None:
    """Read machines again as the log tells of them behind an entry, for ever.

    It raises what does not pass by itself, such as a lack of permission.
    """
    changed: set[str] = set()
    rung = anyio.Event()

    async def listen() -> None:
        nonlocal rung
        async for uuid in _told_of(source, after):
            changed.add(uuid)
            rung.set()

    async def read() -> None:
        nonlocal rung
        while True:
            await rung.wait()
            await anyio.sleep(COALESCE_S)
            rung = anyio.Event()
            batch = list(changed)
            changed.clear()
            began = time.monotonic()
            try:
                if len(batch) > MANY:
                    await all_anew()
                else:
                    await show(*await look(source, batch))
            except PASSES:
                changed.update(batch)
                rung.set()
                await anyio.sleep(AGAIN_S)
            else:  # half of the time at most, however much goes on
                await anyio.sleep(time.monotonic() - began)

    await together(listen, read)


async def look(source: Source, uuids: list[str]) -> tuple[list[MachineBrief], list[str]]:
    """Read some machines, a few at a time; return those that are there, and those that are not."""
    there: list[MachineBrief] = []
    gone: list[str] = []
    left = iter(uuids)

    async def work() -> None:
        for uuid in left:
            try:
                there.append(machine_brief(await source.machine(uuid)))
            except NotFound:
                gone.append(uuid)

    await together(*[work] * min(AT_ONCE, len(uuids)))
    return there, gone


async def _told_of(source: Source, after: int) -> AsyncIterator[str]:
    """Yield the machines that the log tells of behind an entry, also after it was away."""
    while True:
        try:
            async for record in source.watch(after=after, only=LogFilter(kind="machine")):
                after = record.position.seq if record.position else after
                for event in record.events:
                    kind, _, uuid = event.stream.partition("/")
                    if kind == "machine":
                        yield uuid
        except PASSES:
            pass
        await anyio.sleep(AGAIN_S)
