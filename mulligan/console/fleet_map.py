"""The map of the fleet: a cell a machine, drawn line by line."""

from collections.abc import Iterable, Mapping, Sequence

from textual.widget import Widget

from mulligan.console.brief import MachineBrief, Place


class FleetMap(Widget):
    """Every machine as a cell in its rack, in the colour of its state."""

    def place_under(self, places: Sequence[Place], parents: Mapping[str, str]) -> None:
        """Say where machines stand."""

    def put(self, machines: Iterable[MachineBrief]) -> None:
        """Show machines, new or changed."""
