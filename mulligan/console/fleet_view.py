"""The page of the fleet: the map, what its colours mean, and the machine that is selected."""

from textual.app import ComposeResult

from mulligan.console.fleet_map import FleetMap
from mulligan.console.view import View


class FleetView(View):
    """All machines at a glance."""

    def compose(self) -> ComposeResult:
        """Lay out the map."""
        yield FleetMap()

    async def renew(self) -> None:
        """Read every machine, and show each page of them as it comes."""
        fleet = self.query_one(FleetMap)
        fleet.place_under(await self.source.places(), {})
        async for page in self.source.machines():
            fleet.put(page)
