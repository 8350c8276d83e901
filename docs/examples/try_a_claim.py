"""Say what a claim of machines would get, without taking it: try_a_claim.py COUNT."""

import asyncio
import json
import sys

from mulligan.client import Client
from mulligan.errors import MulliganError
from mulligan.proto.v1 import MakeClaimRequest, RequestGroup, ResourceRequest


async def main(count: int) -> None:
    async with Client.from_config() as client:
        group = RequestGroup(count=count, resources={"machine": 1})
        request = MakeClaimRequest(request=ResourceRequest(groups=[group]))
        try:
            told = await client.try_out(client.resource.make_claim, request)
        except MulliganError as refused:
            sys.exit(f"it would be refused: {refused.message}")
        events = [event for record in told.records for event in record.events]
        made = next(json.loads(event.data) for event in events if event.type == "claim.made")
        providers = [allocation["provider"] for allocation in made["allocations"]]
        print("would get", *(told.provider_names[uuid] for uuid in providers))


asyncio.run(main(int(sys.argv[1])))
