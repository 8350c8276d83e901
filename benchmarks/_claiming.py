"""The client of the claims benchmarks: asks for claims over several connections, and times them."""

import asyncio
import itertools
import random
from datetime import timedelta

import msgspec
import uvloop

from benchmarks._fleet import Ask, Fleet, draw
from benchmarks._loop import Outcome, Tally, closed_loop
from mulligan.client import Client
from mulligan.client.context import Context
from mulligan.errors import Exhausted
from mulligan.model import utc_now
from mulligan.proto import v1

_MIB = 2**20
_SCENARIO_SEED = 7


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What the client process is to do."""

    context: Context
    secret: str
    fleet: Fleet
    scenario: str
    in_flight: int
    connections: int
    seconds: float


def request_of(ask: Ask) -> v1.ResourceRequest:
    """Say in protocol buffers what is asked."""
    return v1.ResourceRequest(
        groups=[
            v1.RequestGroup(
                resources={"cpu.shared": ask.cpus, "memory": ask.memory_mib * _MIB},
                capabilities=v1.CapabilityFilter(
                    require=list(ask.require), forbid=list(ask.forbid)
                ),
                groups=v1.GroupFilter(
                    any_of=[v1.StringList(values=list(choice)) for choice in ask.member_of],
                    forbid=list(ask.not_member_of),
                ),
            )
        ],
        window=_span(ask),
    )


def _span(ask: Ask) -> v1.Span | None:
    if ask.starts_in is None or ask.lasts is None:
        return None
    start, lasts = utc_now() + timedelta(seconds=ask.starts_in), timedelta(seconds=ask.lasts)
    if ask.earliest:
        return v1.Span(duration=lasts, not_before=start)
    return v1.Span(start=start, end=start + lasts)


def run(what: Run) -> Tally:
    """Make claims as told, in this process."""
    return uvloop.run(_run(what))


async def _run(what: Run) -> Tally:
    rng = random.Random(_SCENARIO_SEED)
    clients = [Client(what.context, secret=what.secret) for _ in range(what.connections)]
    turns = itertools.cycle(clients)

    async def call() -> Outcome:
        request = request_of(draw(what.fleet, what.scenario, rng))
        try:
            await next(turns).resource.make_claim(v1.MakeClaimRequest(request=request))
        except Exhausted:
            return "refused"
        return "claimed"

    try:
        await asyncio.gather(*(_warm(client, what) for client in clients))
        tally = Tally()
        await closed_loop(call, what.in_flight, what.seconds, tally)
        return tally
    finally:
        for client in clients:
            client.close()


async def _warm(client: Client, what: Run) -> None:
    """Log in, connect, and have the service make its own connections."""
    request = request_of(draw(what.fleet, "plain", random.Random()))
    for _ in range(3):
        await client.resource.make_claim(v1.MakeClaimRequest(request=request))
