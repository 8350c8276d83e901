"""The catalog: where every service of the region is, and which other regions there are.

Each service answers it, from memory.
"""

from collections.abc import AsyncIterator

import anyio

from mulligan.proto import v1
from mulligan.services.instance import instance
from mulligan.services.meta.regions import RegionView
from mulligan.services.runtime import Runtime

_POLL_S = 0.5


class Catalog(v1.CatalogBase):
    """``mulligan.v1.Catalog``."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
        self._regions = RegionView(runtime)

    async def list_endpoints(self, message: v1.ListEndpointsRequest) -> v1.ListEndpointsResponse:
        """Return the live instances of every service, and the regions."""
        return self._answer()

    async def watch_endpoints(
        self, message: v1.ListEndpointsRequest
    ) -> AsyncIterator[v1.ListEndpointsResponse]:
        """Send the whole list now and after each change."""
        sent: v1.ListEndpointsResponse | None = None
        while True:
            now = self._answer()
            if now != sent:
                yield now
                sent = now
            await anyio.sleep(_POLL_S)

    async def get_instance(self, message: v1.GetInstanceRequest) -> v1.Instance:
        """Tell what this process says of itself."""
        return await instance(self._rt)

    def _answer(self) -> v1.ListEndpointsResponse:
        found = []
        for key, member in sorted(self._rt.members.items()):
            if member.draining:
                continue
            service = key.split("/")[-2]
            found.append(
                v1.Endpoint(
                    service=service,
                    instance=member.instance,
                    address=member.endpoint,
                    region=self._rt.region,
                    version=member.version,
                )
            )
        return v1.ListEndpointsResponse(
            region=self._rt.region, endpoints=found, regions=self._known()
        )

    def _known(self) -> list[v1.Region]:
        """Return the region itself, and those that anybody may know of."""
        shown = map(self._regions.message, self._rt.present.regions.all())
        return [one for one in shown if one.home or one.visibility == "public"]
