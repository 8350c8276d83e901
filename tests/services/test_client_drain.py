"""An instance is stopped under load: no call fails, and soon none goes there any more."""

import time
from contextlib import suppress
from copy import copy
from itertools import pairwise

import anyio
from msgspec.structs import replace

from mulligan.config import Address
from mulligan.embedded.ports import free_ports
from mulligan.embedded.ready import all_serving
from mulligan.proto import v1
from tests.e2e.region import RunningRegion, until

CALLERS = 8
NOTICED_S = 2.0
"""Most seconds from SIGTERM until a client sends nothing there: half a second, on a quiet host."""


async def test_no_call_fails_while_an_instance_drains(region: RunningRegion) -> None:
    (port,) = free_ports(1)
    beside = copy(region)
    own = Address(f"127.0.0.1:{port}")
    beside.config = replace(region.config, listen=replace(region.config.listen, resource=own))
    process = region.spawn("serve", "resource", MULLIGAN_LISTEN_RESOURCE=str(own))
    done: list[float] = []
    stop = anyio.Event()

    async with region.client() as client:

        async def work(caller: int) -> None:
            while not stop.is_set():
                name = f"drain-{process.pid}-{caller}-{len(done)}"
                made = await client.resource.create_group(v1.CreateGroupRequest(name=name))
                assert made.group is not None
                asked = v1.GetGroupRequest(group=made.group.uuid)
                found = (await client.resource.get_group(asked)).group
                assert found is not None and found.name == name
                done.append(time.monotonic())

        async def both() -> bool:
            return str(own) in client.instances("resource")

        async def busy() -> bool:
            return len(done) > 10 * CALLERS

        async def one() -> bool:
            return not await both()

        try:
            await all_serving(beside.config, 30)
            async with anyio.create_task_group() as tasks:
                for caller in range(CALLERS):
                    tasks.start_soon(work, caller)
                await until(both, "the client hears of the new instance", 10)
                await until(busy, "calls are answered by both", 10)
                process.terminate()
                began = time.monotonic()
                await until(one, "the client hears of its end", 10)
                noticed = time.monotonic() - began
                assert await anyio.to_thread.run_sync(process.wait, 20) == 0
                after = len(done)

                async def more() -> bool:
                    return len(done) > after + CALLERS

                await until(more, "calls go on", 10)
                stop.set()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()
    assert noticed < NOTICED_S
    gaps = [later - earlier for earlier, later in pairwise(done)]
    print(  # noqa: T201 - shown with -s
        f"noticed {noticed * 1000:.0f} ms after SIGTERM; longest gap {max(gaps) * 1000:.0f} ms"
    )
