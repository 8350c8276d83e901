"""Boot an image on many machines at once, all of one claim: deploy_many.py COUNT IMAGE.

What fails is given back, and named; the rest goes on. A claim is all or nothing.
"""

import asyncio
import sys
from datetime import timedelta

from mulligan.client import Client
from mulligan.errors import MulliganError
from mulligan.proto.v1 import Claim

AT_ONCE = 16


async def deploy_all(client: Client, claim: Claim, image: str) -> dict[str, MulliganError | None]:
    turns = asyncio.Semaphore(AT_ONCE)
    outcomes: dict[str, MulliganError | None] = {}

    async def deploy(uuid: str, name: str) -> None:
        async with turns:
            try:
                await client.deploy(claim, image, machine=uuid, timeout=1800)
                outcomes[name] = None
            except MulliganError as error:
                outcomes[name] = error

    async with asyncio.TaskGroup() as tasks:
        for one in claim.allocations:
            tasks.create_task(deploy(one.provider, one.provider_name))
    return outcomes


async def main(count: int, image: str) -> None:
    async with Client.from_config() as client:
        claim = await client.claim({"machine": 1}, count=count, lasting=timedelta(hours=8))
        outcomes = await deploy_all(client, claim, image)
        for name, error in sorted(outcomes.items()):
            print(f"{name} runs {image}" if error is None else f"{name} does not: {error.message}")
            if error is not None:
                await client.release(name)


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
