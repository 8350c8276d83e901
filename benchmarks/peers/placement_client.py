"""A client of Placement that claims: candidates, then the allocations of one of them."""

import random
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
import uvloop

from benchmarks._fleet import Ask, Fleet, draw
from benchmarks._loop import Outcome, Tally, closed_loop
from mulligan.model import new_id

HEADERS = {
    "X-Auth-Token": "admin",
    "OpenStack-API-Version": "placement 1.39",
    "Accept": "application/json",
}
PROJECT = "5f0c4b6ee7f04d7f8e1c3a2b9d6e7f80"
_LIMIT = 10
_SCENARIO_SEED = 7
_CALL_S = 300.0


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What the client process is to do."""

    url: str
    fleet: Fleet
    scenario: str
    in_flight: int
    seconds: float


def trait(capability: str) -> str:
    """Return the trait that stands for a capability."""
    return capability.replace(".", "_").replace("-", "_").upper()


def query_of(ask: Ask) -> str:
    """Say in its query language what is asked, its time aside."""
    traits = [trait(name) for name in ask.require] + [f"!{trait(name)}" for name in ask.forbid]
    parameters = [
        ("limit", str(_LIMIT)),
        ("resources", f"VCPU:{ask.cpus},MEMORY_MB:{ask.memory_mib}"),
    ]
    if traits:
        parameters.append(("required", ",".join(traits)))
    parameters += [("member_of", f"in:{','.join(choice)}") for choice in ask.member_of]
    if ask.not_member_of:
        parameters.append(("member_of", f"!in:{','.join(ask.not_member_of)}"))
    return urlencode(parameters, safe=":,!")


def run(what: Run) -> Tally:
    """Make claims as told, in this process."""
    return uvloop.run(_run(what))


async def _run(what: Run) -> Tally:
    rng = random.Random(_SCENARIO_SEED)
    tally = Tally()
    timeout = aiohttp.ClientTimeout(total=_CALL_S)
    connector = aiohttp.TCPConnector(limit=what.in_flight)
    async with aiohttp.ClientSession(
        what.url, headers=HEADERS, timeout=timeout, connector=connector
    ) as session:

        async def call() -> Outcome:
            return await _claim(session, draw(what.fleet, what.scenario, rng), rng, tally)

        await call()
        tally.retries = 0
        await closed_loop(call, what.in_flight, what.seconds, tally)
    return tally


async def _claim(
    session: aiohttp.ClientSession, ask: Ask, rng: random.Random, tally: Tally
) -> Outcome:
    query = query_of(ask)
    while True:
        async with session.get(f"/allocation_candidates?{query}") as answer:
            answer.raise_for_status()
            found: dict[str, Any] = msgspec.json.decode(await answer.read())
        candidates = found["allocation_requests"]
        if not candidates:
            return "refused"
        body = {
            **rng.choice(candidates),
            "project_id": PROJECT,
            "user_id": PROJECT,
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        }
        async with session.put(f"/allocations/{new_id()}", json=body) as answer:
            if answer.status == 204:
                return "claimed"
            if answer.status != 409:
                answer.raise_for_status()
            tally.retries += 1
