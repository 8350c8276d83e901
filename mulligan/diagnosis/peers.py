"""Whether the regions that a region knows can be reached from here."""

from typing import TYPE_CHECKING

import anyio

from mulligan.errors import MulliganError

if TYPE_CHECKING:
    from mulligan.client.client import Client
    from mulligan.diagnosis.found import Status
    from mulligan.proto.v1 import Region


async def look_at_peers(client: "Client", found: "Status", patience: float) -> None:
    """Note the regions none of whose addresses takes a connection within ``patience`` seconds."""
    from mulligan.proto.v1 import ListRegionsRequest

    asking, knocking = patience / 2, patience / 2
    try:
        with anyio.fail_after(asking):
            answer = await client.meta.list_regions(ListRegionsRequest(), timeout=asking)
    except (MulliganError, TimeoutError):
        return  # meta's silence is told elsewhere, and a release may not know of regions

    async def look(region: "Region") -> None:
        if not await _answers(region.addresses, knocking):
            found.cut_off[region.name] = list(region.addresses)

    async with anyio.create_task_group() as tasks:
        for region in answer.regions:
            if not region.home and region.addresses:
                tasks.start_soon(look, region)


async def _answers(addresses: list[str], patience: float) -> bool:
    """Tell whether any address takes a connection; all are tried at once."""
    reached: list[str] = []

    async def knock(address: str) -> None:
        host, _, port = address.rpartition(":")
        try:
            stream = await anyio.connect_tcp(host.strip("[]"), int(port))
            await stream.aclose()
        except (OSError, ValueError):
            return
        reached.append(address)
        tasks.cancel_scope.cancel()

    with anyio.move_on_after(patience):
        async with anyio.create_task_group() as tasks:
            for address in addresses:
                tasks.start_soon(knock, address)
    return bool(reached)
