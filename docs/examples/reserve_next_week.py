"""Reserve machines for next Monday, 9 to 17 o'clock UTC: reserve_next_week.py COUNT."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from mulligan.client import Client
from mulligan.errors import Exhausted


def next_monday(now: datetime) -> datetime:
    day = now + timedelta(days=7 - now.weekday())
    return day.replace(hour=9, minute=0, second=0, microsecond=0)


async def main(count: int) -> None:
    async with Client.from_config() as client:
        start = next_monday(datetime.now(UTC))
        try:
            claim = await client.claim(
                {"machine": 1}, count=count, start=start, lasting=timedelta(hours=8)
            )
        except Exhausted as refused:
            sys.exit(f"not next Monday: {refused.message}")
        providers = [allocation.provider for allocation in claim.allocations]
        names = await client.names.describe(providers)
        print(claim.uuid, *(names[uuid].name for uuid in providers))


asyncio.run(main(int(sys.argv[1])))
