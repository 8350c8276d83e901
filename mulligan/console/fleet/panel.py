"""The panel of one machine, beside the fleet map."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from mulligan.console.fleet.panel_text import body, heading, keys, past
from mulligan.console.source import Source
from mulligan.console.theme import DIM, FAINT
from mulligan.errors import NotFound
from mulligan.proto.v1 import Machine

if TYPE_CHECKING:
    from mulligan.console.app import ConsoleApp


class MachinePanel(Vertical):
    """Facts, operation, fault, last events and actions of the machine that is open."""

    DEFAULT_CSS = """
    MachinePanel { width: 50; max-width: 60%; display: none; background: $surface;
        border-left: vkey $border; }
    MachinePanel.-open { display: block; }
    MachinePanel #heading { height: auto; padding: 0 1; margin: 0 0 1 0; background: $panel; }
    MachinePanel VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    MachinePanel Static { height: auto; }
    MachinePanel #keys { padding: 0 1; background: $panel; }
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.uuid = ""
        self.machine: Machine | None = None

    def compose(self) -> ComposeResult:
        """Lay out the heading, and what is below it."""
        yield Static(id="heading")
        with VerticalScroll(can_focus=False):
            yield Static(id="body")
            yield Static(id="past")
        yield Static(id="keys")

    def open(self, uuid: str) -> None:
        """Show a machine, or read the one that is shown again."""
        if uuid != self.uuid:
            self.machine = None
            self.query_one("#heading", Static).update(Text("reading…", style=DIM))
            self.query_one("#body", Static).update("")
            self.query_one("#past", Static).update("")
        self.uuid = uuid
        self.add_class("-open")
        app = cast("ConsoleApp", self.app)
        self.run_worker(
            app.guarded(self._read), group="machine", exclusive=True, exit_on_error=False
        )

    def close(self) -> None:
        """Show no machine."""
        self.uuid, self.machine = "", None
        self.workers.cancel_group(self, "machine")
        self.remove_class("-open")

    async def _read(self) -> None:
        uuid = self.uuid
        try:
            machine = await self.source.machine(uuid)
        except NotFound:
            self._gone()
            return
        now = self.source.moment.at if self.source.moment else datetime.now(UTC)
        rack, called = await self.source.rack(uuid), self.source.called
        self.machine = machine
        self.query_one("#heading", Static).update(heading(machine))
        self.query_one("#body", Static).update(body(machine, rack, now, called))
        self.query_one("#keys", Static).update(keys(live=self.source.live))
        causes = await self.source.history(uuid)
        self.query_one("#past", Static).update(past(causes, now, called))
        about = (machine.claim, machine.project, machine.image)
        if await called.learn((*about, *(one.actor for one in causes))):
            self.query_one("#body", Static).update(body(machine, rack, now, called))
            self.query_one("#past", Static).update(past(causes, now, called))

    def _gone(self) -> None:
        self.machine = None
        there = (
            "not there" if self.source.live else "not there yet, or not any more, at this moment"
        )
        self.query_one("#heading", Static).update(Text(f"This machine is {there}.", style=FAINT))
        self.query_one("#body", Static).update("")
        self.query_one("#past", Static).update("")
