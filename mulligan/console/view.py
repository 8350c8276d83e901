"""A page of the console: what each of them has in common."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

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
    FOLLOWS: ClassVar[bool] = False
    """Whether the page follows the log by itself, so that it need not be read after an action."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source

    @property
    def console(self) -> "ConsoleApp":
        """The app: its moment, its toasts, its other pages."""
        return cast("ConsoleApp", self.app)

    def again(self, work: Callable[[], Awaitable[None]], *, group: str) -> None:
        """Run ``work`` if the page is shown and none of the group runs still.

        What looks again from time to time must not cut itself short when answers take longer.
        """
        if self.display and self.is_on_screen and not self.at_work(group):
            self.ask(work, group=group)

    def at_work(self, group: str) -> bool:
        """Tell whether something of a group runs for this page; other pages have their own."""
        return any(
            one.group == group and one.node is self and not one.is_finished for one in self.workers
        )

    async def renew(self) -> None:
        """Read everything that is shown anew; runs in a worker, its errors become toasts."""

    def ask(self, work: Callable[[], Awaitable[None]], *, group: str = "read") -> Worker[None]:
        """Run ``work`` beside the screen; a later one of the same group takes its place.

        Errors become toasts with the next step, and never end the console.
        """
        return self.run_worker(
            partial(self.console.guarded, work), group=group, exclusive=True, exit_on_error=False
        )
