"""Which regions know which: a bounded walk from one region to the regions it was told of."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import anyio

from mulligan.errors import (
    FailedPrecondition,
    MulliganError,
    PermissionDenied,
    Unauthenticated,
)
from mulligan.proto.v1 import ListEndpointsRequest, ListRegionsRequest, Region

if TYPE_CHECKING:
    from mulligan.client.client import Client


class Vouched(NamedTuple):
    """A region and whether home itself names it."""

    region: Region
    by_home: bool


Known = dict[str, Vouched]
"""What is known, by name: home first, then the nearest."""


async def known_to(client: "Client", *, anonymous: bool = False) -> list[Region]:
    """Return a region and those that it knows, itself first and marked as home.

    Who is logged in hears of internal ones too. A region of an earlier release names itself only.
    """
    told: list[Region] = []
    if not anonymous and client.may_log_in:
        try:
            told = (await client.meta.list_regions(ListRegionsRequest())).regions
        except (Unauthenticated, PermissionDenied, FailedPrecondition):
            told = []  # what everybody may know is still to be had
    if not told:
        answer = await client.catalog.list_endpoints(ListEndpointsRequest())
        told = answer.regions or [
            Region(name=answer.region, home=True, addresses=list(client.context.address))
        ]
    return sorted(told, key=lambda region: not region.home)


async def breadth_first(
    near: Sequence[Region],
    told_by: Callable[[Vouched], Awaitable[Sequence[Region]]],
    *,
    most: int,
    deadline_s: float,
) -> Known:
    """Follow regions to those they know, ring by ring, until there are ``most`` or no more.

    The regions of a ring are asked at once, each for ``deadline_s`` seconds; one that does not
    answer is passed over. What was told first of a region stays.
    """
    known: Known = {region.name: Vouched(region, True) for region in near[:most]}
    ring = [vouched for vouched in known.values() if not vouched.region.home]
    while ring and len(known) < most:
        answers = await _ask_all(ring, told_by, deadline_s)
        ring = []
        for region in (one for answer in answers for one in answer):
            if region.name not in known and len(known) < most:
                region.home = False
                known[region.name] = Vouched(region, False)
                ring.append(known[region.name])
    return known


async def _ask_all(
    ring: Sequence[Vouched],
    told_by: Callable[[Vouched], Awaitable[Sequence[Region]]],
    deadline_s: float,
) -> list[Sequence[Region]]:
    answers: list[Sequence[Region]] = [[] for _ in ring]

    async def ask(number: int, vouched: Vouched) -> None:
        with anyio.move_on_after(deadline_s):
            try:
                answers[number] = await told_by(vouched)
            except MulliganError:
                return

    async with anyio.create_task_group() as tasks:
        for number, vouched in enumerate(ring):
            tasks.start_soon(ask, number, vouched)
    return answers
