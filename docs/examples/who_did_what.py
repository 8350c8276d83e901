"""Count who did what, and who was denied what, in the last hours: who_did_what.py HOURS."""

import asyncio
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

from mulligan.client import Client
from mulligan.client.paging import every
from mulligan.proto.v1 import ListAuditRequest


async def main(hours: float) -> None:
    async with Client.from_config() as client:
        request = ListAuditRequest(from_=datetime.now(UTC) - timedelta(hours=hours))
        deeds: Counter[tuple[str, str, str]] = Counter()
        async for one in every(client.log.list_audit, request, lambda page: page.records):
            deeds[one.outcome, one.account, one.command] += one.count or 1
        people = {who for _, who, _ in deeds if not who.startswith("service:")}
        names = await client.names.describe(people)
    for (outcome, account, command), count in deeds.most_common():
        who = names[account].name if account in names else account
        print(f"{count:6} {outcome:6} {command} by {who}")


asyncio.run(main(float(sys.argv[1])))
