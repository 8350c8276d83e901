"""What the app does when a page asks for another page, another moment, or an action."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from mulligan.console.actions.confirm import ActionMenu, ConfirmScreen
from mulligan.console.actions.offered import Action, Outcome, follow, perform
from mulligan.console.links import Act, ChooseAction, GoToEntry, GoToHistory, GoToMoment, GoToWhy
from mulligan.console.trouble import harmless
from mulligan.errors import FailedPrecondition

if TYPE_CHECKING:
    from mulligan.console.app import ConsoleApp


class Journeys:
    """The part of the app that answers the messages in ``links``."""

    async def on_go_to_entry(self, message: GoToEntry) -> None:
        """Show an entry in the log."""
        from mulligan.console.log.page import LogView

        app = cast("ConsoleApp", self)
        await app.action_show("log")
        app.base.query_one(LogView).show_entry(message.seq)

    async def on_go_to_history(self, message: GoToHistory) -> None:
        """Show the history of a stream."""
        from mulligan.console.history.page import HistoryView

        app = cast("ConsoleApp", self)
        await app.action_show("history")
        app.base.query_one(HistoryView).show_stream(message.stream)

    async def on_go_to_why(self, message: GoToWhy) -> None:
        """Show why an object is as it is, above the page that asked."""
        from mulligan.console.why import WhyScreen

        app = cast("ConsoleApp", self)
        app.push_screen(WhyScreen(app.source, message.stream))

    def on_go_to_moment(self, message: GoToMoment) -> None:
        """Show all pages as of an entry."""
        app = cast("ConsoleApp", self)

        async def visit() -> None:
            app.visit(await app.source.entry(message.seq))

        self._beside(visit)

    def on_choose_action(self, message: ChooseAction) -> None:
        """Offer what may be done with an object."""
        app = cast("ConsoleApp", self)
        if self._refused_in_the_past():
            return
        app.push_screen(ActionMenu(message.title, message.actions), self._confirm)

    def on_act(self, message: Act) -> None:
        """Ask whether an action is meant, and carry it out."""
        if not self._refused_in_the_past():
            self._confirm(message.action)

    def _refused_in_the_past(self) -> bool:
        app = cast("ConsoleApp", self)
        if app.source.live:
            return False
        app.tell(FailedPrecondition("a moment in the past is shown; l goes back to now"))
        return True

    def _confirm(self, action: Action | None) -> None:
        app = cast("ConsoleApp", self)
        if action is None:
            return

        def answered(meant: Action | None) -> None:
            if meant is not None:
                self._beside(partial(self._carry_out, meant))

        app.push_screen(ConfirmScreen(action), answered)

    async def _carry_out(self, action: Action) -> None:
        app = cast("ConsoleApp", self)
        outcome = await perform(action, app.source.present)
        self._told(outcome, action)
        if action.goes_on:
            self._told(await follow(action, app.source.present, self._progress(action)), action)
        view = app.shown
        if view is not None and not view.FOLLOWS:
            view.ask(view.renew, group="renew")

    def _beside(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do some work beside the screen; what goes wrong becomes a toast."""
        app = cast("ConsoleApp", self)
        guarded: Callable[[], Awaitable[None]] = partial(app.guarded, work)
        app.run_worker(guarded, exit_on_error=False)

    def _progress(self, action: Action) -> Callable[[str], None]:
        app = cast("ConsoleApp", self)
        return lambda text: app.notify(
            harmless(text), title=harmless(action.name), timeout=4, markup=False
        )

    def _told(self, outcome: Outcome, action: Action) -> None:
        app = cast("ConsoleApp", self)
        where = f"entry #{outcome.position:,}" if outcome.position else harmless(action.name)
        app.notify(
            harmless(outcome.text),
            title=where,
            severity="information" if outcome.well else "error",
            timeout=6 if outcome.well else 12,
            markup=False,
        )
