"""The console itself: pages by key, the moment they show, and what is wrong when it is."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import anyio
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Footer, Input

from mulligan.console.banner import Banner, TabLine
from mulligan.console.help import HelpScreen, keys_of
from mulligan.console.journeys import Journeys
from mulligan.console.moment.slider import TimeSlider
from mulligan.console.pages import PAGES, Page
from mulligan.console.source import Moment, Pulse, Source
from mulligan.console.theme import INK
from mulligan.console.trouble import PASSES, first_cause, harmless, next_step, shown
from mulligan.console.view import View
from mulligan.diagnosis.checks import problems_of
from mulligan.errors import MulliganError, Unavailable

COUNT_S = 15.0
"""Seconds between two countings of what is wrong, beside what the page of problems does."""
PULSE_S = 2.0
"""Seconds between two looks at how the region is."""
AGAIN_S = 3.0
"""Seconds between two tries to read a page that cannot be read for the moment."""


class ConsoleApp(Journeys, App[None]):
    """The operator's console on one region.

    It stays when the region goes: it says so, and reads everything anew when it is back.
    """

    TITLE = "Mulligan"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: $background; layers: base over; }
    ModalScreen { background: $background 60%; }
    #pages { height: 1fr; }
    ToastRack { margin-bottom: 1; }
    Toast { max-width: 80; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(page.key, f"show('{page.name}')", "The pages", show=False) for page in PAGES),
        Binding("r", "renew", "Read anew", show=False),
        Binding("t", "slide", "Time"),
        Binding("l", "live", "Back to now"),
        Binding("question_mark", "help", "These keys", show=False, key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
    ]

    pulse: reactive[Pulse] = reactive(Pulse())
    moment: reactive[Moment | None] = reactive(None)
    """The moment that all pages show; None: now. Set it by ``visit`` and ``live``."""

    def __init__(self, source: Source, *, at: str = "", page: str = PAGES[0].name) -> None:
        super().__init__()
        self.source = source
        self._at = at
        self._first = page
        self._fresh: set[str] = set()
        self.failure: BaseException | None = None
        """What went wrong in a way that nobody foresaw, if anything did."""
        self.ended_by: BaseException | None = None

    def compose(self) -> ComposeResult:
        """Lay out the banner, the tabs, the pages and the keys."""
        yield Banner()
        yield TabLine(PAGES)
        yield ContentSwitcher(id="pages")
        yield TimeSlider(self.source)
        yield Footer(show_command_palette=False)

    async def on_mount(self) -> None:
        """Show the first page and begin to look after the region."""
        self.register_theme(INK)
        self.theme = INK.name
        self.run_worker(self._look_after(), exit_on_error=False)
        self.run_worker(self._count_problems(), exit_on_error=False)
        await self.action_show(self._first)
        if self._at:
            self.base.query_one(TimeSlider).open()
            self.base.query_one(TimeSlider).go(self._at)

    async def action_show(self, name: str) -> None:
        """Show a page; it is made when it is shown for the first time."""
        page = next(page for page in PAGES if page.name == name)
        switcher = self.base.query_one("#pages", ContentSwitcher)
        if not switcher.query(f"#page-{name}"):
            view = page.load()(self.source)
            view.id = f"page-{name}"
            await switcher.mount(view)
        switcher.current = f"page-{name}"
        self.base.query_one(TabLine).current = name
        self._renew(page)
        self.focus_page()

    def action_slide(self) -> None:
        """Open the time slider."""
        self.base.query_one(TimeSlider).open()

    def action_help(self) -> None:
        """Show what each key does here."""
        here = [self.focused] if self.focused is not None else []
        above = [one for one in (here[0].ancestors if here else ()) if isinstance(one, Widget)]
        page = keys_of(self, [*here, *above])
        title = self.base.query_one(TabLine).current
        self.push_screen(HelpScreen([(title, page), ("everywhere", keys_of(self, [self]))]))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Name the way back to now only to who is elsewhere."""
        if action != "live" or self.moment is not None:
            return True
        return any(one.busy for one in self.base.query(TimeSlider))

    def watch_moment(self) -> None:
        """Name the keys that count now."""
        self.refresh_bindings()

    @property
    def base(self) -> Screen[Any]:
        """The screen with the pages, whatever lies above it."""
        return self.screen_stack[0]

    @property
    def shown(self) -> View | None:
        """The page that is shown."""
        found = self.base.query_one("#pages", ContentSwitcher).visible_content
        return found if isinstance(found, View) else None

    def action_renew(self) -> None:
        """Read what is shown anew."""
        self.read_anew()

    def read_anew(self) -> None:
        """Have every page read everything anew, the shown one now."""
        self._fresh.clear()
        current = self.base.query_one(TabLine).current
        self._renew(next(page for page in PAGES if page.name == current))

    def visit(self, moment: Moment) -> None:
        """Show the region as of a moment, on every page."""
        self.source.go_to(moment)
        self.moment = moment
        self.read_anew()

    def action_live(self) -> None:
        """Show the present again."""
        self.workers.cancel_group(self, "moment")
        if self.moment is None:
            return
        self.source.go_live()
        self.moment = None
        self.read_anew()

    def tell(self, error: BaseException, step: str = "") -> None:
        """Show an error as a toast, with the next step."""
        step = step or next_step(error)
        text = f"{shown(error)}\n→ {step}" if step else shown(error)
        severity = "warning" if isinstance(error, Unavailable) else "error"
        self.notify(text, severity=severity, timeout=10, markup=False)  # type: ignore[arg-type]

    async def guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do some work; what goes wrong becomes a toast."""
        try:
            await work()
        except Exception as error:
            cause = first_cause(error)
            if isinstance(cause, Unavailable) and self.pulse.trouble:
                return  # the banner says so already
            if not isinstance(cause, MulliganError):
                self.failure = cause
            self.tell(cause)

    def _renew(self, page: Page) -> None:
        if page.name in self._fresh:
            return
        self._fresh.add(page.name)
        view = self.base.query_one(f"#page-{page.name}", View)
        view.ask(partial(self._until_read, view), group="renew")

    async def _until_read(self, view: View) -> None:
        """Read a page anew; what passes by itself is told once, and tried again until it has."""
        told = False
        while True:
            try:
                await view.renew()
            except Exception as error:
                cause = first_cause(error)
                if not isinstance(cause, PASSES):
                    raise
                if not told and not self.pulse.trouble:
                    self.tell(cause, "it is tried again until it answers; see page 6")
                told = True
                await anyio.sleep(AGAIN_S)
            else:
                return

    def focus_page(self) -> None:
        """Have the keys go to the page that is shown."""
        view = self.base.query_one("#pages", ContentSwitcher).visible_content
        if view is not None:
            found = [one for one in view.query("*") if one.focusable and one.display]
            found.sort(key=lambda one: isinstance(one, Input))  # that would take every key
            self.base.set_focus(next(iter(found), None))

    def beside(self, work: Callable[[], Awaitable[None]], *, group: str) -> None:
        """Do some work beside the screen; a later one of the same group takes its place."""
        self.run_worker(self.guarded(work), group=group, exclusive=True, exit_on_error=False)

    async def _look_after(self) -> None:
        """Follow how the region is; have everything read anew when it is back."""
        while True:
            before, found = self.pulse, await self.source.pulse()
            self.pulse = found
            if found.trouble and not before.trouble:
                self.notify(
                    harmless(found.trouble),
                    title=found.what or "trouble",
                    severity="error",
                    timeout=6,
                    markup=False,
                )
            elif before.trouble and not found.trouble:
                self.notify("everything is read anew", title="the region answers again", timeout=4)
                self.read_anew()
            await anyio.sleep(PULSE_S)

    async def _count_problems(self) -> None:
        """Count what is wrong for the line of pages; what cannot be asked is no news."""
        while True:
            with suppress(MulliganError):
                found = await self.source.status()
                self.base.query_one(TabLine).count(problems_of(found, found.at))
            await anyio.sleep(COUNT_S)

    def _fatal_error(self) -> None:
        """End with one line rather than with a trace of what was in memory."""
        self.failure = self.ended_by = self._exception
        self._close_messages_no_wait()

    def get_system_commands(self, screen: Any) -> Any:
        """Offer none: all there is has a key."""
        return ()
