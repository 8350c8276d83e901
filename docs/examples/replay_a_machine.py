"""Replay a machine's operations from the log, with its state each time: replay_a_machine.py NAME.

An event has a place in the log, and everything can be read as of any such place.
"""

import asyncio
import sys

from mulligan.client import Client
from mulligan.proto.v1 import GetMachineRequest, LogFilter, ReadLogRequest

BEGIN_AND_END = ("machine.operation_started", "machine.operation_completed")


async def main(name: str) -> None:
    async with Client.from_config() as client:
        uuid = await client.names.resolve("machine", name)
        request = ReadLogRequest(filter=LogFilter(stream=f"machine/{uuid}"))
        async for record in client.log.read_log(request):
            types = [event.type for event in record.events if event.type in BEGIN_AND_END]
            if not types or record.position is None:
                continue
            then = client.at(str(record.position.seq))
            machine = (await then.control.get_machine(GetMachineRequest(machine=uuid))).machine
            if machine is not None and machine.state.name is not None:
                print(f"#{record.position.seq} {types[-1]}: {machine.state.name.lower()}")


asyncio.run(main(sys.argv[1]))
