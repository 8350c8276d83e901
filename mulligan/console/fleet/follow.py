"""Keeping the fleet map true: what the log tells of is read again, and nothing else."""

from collections.abc import AsyncIterator, Awaitable, Callable

import anyio

from mulligan.console.brief import MachineBrief, machine_brief
from mulligan.console.source import Source
from mulligan.errors import NotFound, Unavailable
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


async def follow(source: Source, show: Shown, all_anew: Callable[[], Awaitable[None]]) -> None:
    """Read machines again as the log tells of them, for ever; ends with what does not pass."""
    changed: set[str] = set()
    rung = anyio.Event()

    async def listen() -> None:
        nonlocal rung
        async for uuid in _told_of(source):
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
            try:
                if len(batch) > MANY:
                    await all_anew()
                else:
                    await show(*await look(source, batch))
            except Unavailable:
                changed.update(batch)
                rung.set()
                await anyio.sleep(AGAIN_S)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        tasks.start_soon(read)


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

    failure: Unavailable | None = None
    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(min(AT_ONCE, len(uuids))):
                tasks.start_soon(work)
    except* Unavailable as group:
        failure = next(one for one in group.exceptions if isinstance(one, Unavailable))
    if failure is not None:
        raise failure
    return there, gone


async def _told_of(source: Source) -> AsyncIterator[str]:
    """Yield the machines that the log tells of, also after it was away."""
    after: int | None = None
    while True:
        try:
            async for record in source.watch(after=after, only=LogFilter(kind="machine")):
                after = record.position.seq if record.position else after
                for event in record.events:
                    kind, _, uuid = event.stream.partition("/")
                    if kind == "machine":
                        yield uuid
        except Unavailable:
            await anyio.sleep(AGAIN_S)
