"""Claim a machine for an hour, boot an image on it, and give it back: get_a_machine.py IMAGE."""

import asyncio
import sys
from datetime import timedelta

from mulligan.client import Client


async def main(image: str) -> None:
    async with Client.from_config() as client:
        claim = await client.claim({"machine": 1}, lasting=timedelta(hours=1))
        machine = await client.deploy(claim, image)
        print(f"{machine.name} runs {image}")
        await client.release(machine.uuid)


asyncio.run(main(sys.argv[1]))
