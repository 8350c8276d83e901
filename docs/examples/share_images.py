"""Have images and definitions of attributes in all regions as they are here: share_images.py.

Run it again whenever you like: what is there is compared, and only what is missing is made.
"""

import asyncio

from mulligan.client import Client
from mulligan.client.sharing import Shared, images, metadefs, push


async def main() -> None:
    async with Client.from_config() as client:
        targets = [region.name for region in await client.regions.list() if not region.home]
        shared: list[Shared] = [*await images(client), *await metadefs(client)]
        for pushed in await push(client.regions, shared, targets, replace=True):
            why = pushed.error.message if pushed.error else ", ".join(pushed.differences)
            print(f"{pushed.region}: {pushed.kind} {pushed.name} {pushed.verdict} {why}".rstrip())


asyncio.run(main())
