"""Print what happens to machines, as it happens, from entry N on: watch_the_log.py N COUNT.

The stream goes on over restarts of services, without gaps and without repeats.
"""

import asyncio
import sys

from mulligan.client import Client
from mulligan.proto.v1 import LogFilter, WatchLogRequest


async def main(after: int, count: int) -> None:
    async with Client.from_config() as client:
        request = WatchLogRequest(after=after, filter=LogFilter(kind="machine"))
        async for record in client.log.watch_log(request):
            assert record.position is not None
            for event in record.events:
                print(f"#{record.position.seq} {event.stream} {event.type} by {record.account}")
            count -= 1
            if not count:
                return


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
