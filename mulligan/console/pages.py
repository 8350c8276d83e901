"""The pages of the console, by the key that shows them."""

from importlib import import_module
from typing import NamedTuple, cast

from mulligan.console.view import View


class Page(NamedTuple):
    """A page: its key, its name, and ``module:class`` of the View that it is."""

    key: str
    name: str
    title: str
    at: str

    def load(self) -> type[View]:
        """Import the page's class: pages that nobody looks at cost nothing."""
        module, _, name = self.at.partition(":")
        return cast(type[View], getattr(import_module(module), name))


PAGES: tuple[Page, ...] = (
    Page("1", "fleet", "Fleet", "mulligan.console.fleet.page:FleetView"),
    Page("2", "log", "Log", "mulligan.console.log.page:LogView"),
    Page("3", "history", "History", "mulligan.console.history.page:HistoryView"),
    Page("4", "claims", "Claims", "mulligan.console.claims.page:GanttView"),
    Page("5", "projections", "Projections", "mulligan.console.projections.page:ProjectionsView"),
    Page("6", "problems", "Problems", "mulligan.console.problems.page:ProblemsView"),
)
