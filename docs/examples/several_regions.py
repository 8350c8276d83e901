"""Look at all regions at once, and make a claim where most is free.

A region that is away keeps nobody waiting for longer than the deadline, and if an answer gets lost
there is still one claim in the end.
"""

import asyncio

from mulligan.client import Client
from mulligan.client.placing import place
from mulligan.client.preferring import Preference
from mulligan.proto import v1


async def machines(client: Client) -> int:
    return len([machine async for machine in client.machines()])


async def main() -> None:
    async with Client.from_config() as client:
        known = [region.name for region in await client.regions.list()]
        for region, count, error in await client.regions.each(known, machines, deadline_s=5):
            print(f"{region}: {count} machines" if error is None else f"{region}: {error.message}")
        wish = v1.ResourceRequest(groups=[v1.RequestGroup(resources={"machine": 1})])
        placement = await place(
            client.regions, v1.MakeClaimRequest(request=wish), Preference(order="most-free")
        )
        print(f"claim {placement.claim.uuid} in {placement.region}")
        there = await client.regions.client(placement.region)
        await there.resource.release_claim(v1.ReleaseClaimRequest(claim=placement.claim.uuid))


asyncio.run(main())
