"""A page of the console: what each of them has in common."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.containers import Container
from textual.worker import Worker

from mulligan.console.source import Source

if TYPE_CHECKING:
    from mulligan.console.app import ConsoleApp


class View(Container):
    """One page, made at its first showing, with the source that all of them share.

    The app calls ``renew`` whenever everything is to be read anew: when the page is first shown,
    when another moment is shown, when the region answers again, and on ``r``. Pages that are not
    shown are told when they are.
    """

    DEFAULT_CSS = "View { height: 1fr; }"

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source

    @property
    def console(self) -> "ConsoleApp":
        """The app: its moment, its toasts, its other pages."""
        return cast("ConsoleApp", self.app)

    async def renew(self) -> None:
        """Read everything that is shown anew; runs in a worker, its errors become toasts."""

    def ask(self, work: Callable[[], Awaitable[None]], *, group: str = "read") -> Worker[None]:
        """Run ``work`` beside the screen; a later one of the same group takes its place.

        Errors become toasts with the next step, and never end the console.
        """
        return self.run_worker(
            partial(self.console.guarded, work), group=group, exclusive=True, exit_on_error=False
        )
