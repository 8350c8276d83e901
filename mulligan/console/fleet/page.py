"""The page of the fleet: the map, what its colours mean, and the machine that is selected."""

from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from mulligan.console.actions.offered import actions_for
from mulligan.console.brief import MachineBrief
from mulligan.console.fleet.filter import GRAMMAR, parse
from mulligan.console.fleet.follow import follow
from mulligan.console.fleet.legend import Legend
from mulligan.console.fleet.map import FleetMap
from mulligan.console.fleet.panel import MachinePanel
from mulligan.console.links import ChooseAction, GoToHistory, GoToWhy
from mulligan.console.theme import DIM, FAINT, TEXT, colour_of
from mulligan.console.together import together
from mulligan.console.trouble import harmless
from mulligan.console.view import View
from mulligan.errors import InvalidArgument, PermissionDenied


class FleetView(View):
    """All machines at a glance."""

    FOLLOWS = True

    DEFAULT_CSS = """
    FleetView #filter { height: 1; border: none; padding: 0 1; display: none; }
    FleetView #filter.-open { display: block; }
    FleetView #filter.-bad { color: $error; }
    FleetView #told { height: 1; padding: 0 1; background: $surface; text-wrap: nowrap;
        text-overflow: ellipsis; }
    FleetView Horizontal { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("a", "act", "Actions"),
        Binding("w", "why", "Why"),
        Binding("y", "why", show=False),
        Binding("h", "history", "History"),
        Binding("escape", "back", "Close the panel, then the filter", show=False),
    ]

    def compose(self) -> ComposeResult:
        """Lay out the filter, the legend, the map with the panel beside it, and one line."""
        with Horizontal():
            with Vertical():
                yield Input(placeholder=GRAMMAR, id="filter", compact=True)
                yield Legend()
                yield FleetMap()
                yield Static(id="told")
            yield MachinePanel(self.source)

    @property
    def fleet(self) -> FleetMap:
        """The map."""
        return self.query_one(FleetMap)

    async def renew(self) -> None:
        """Read every machine, show each page of them as it comes, then follow the log."""
        self.workers.cancel_group(self, "follow")
        if self.source.live:
            await self._begin_to_follow()
        await self._read_all()
        panel = self.query_one(MachinePanel)
        if panel.uuid:
            panel.open(panel.uuid)

    async def _begin_to_follow(self) -> None:
        """Follow the log from before all is read, so that nothing falls between."""
        try:
            after = await self.source.head()
        except PermissionDenied as error:
            self.console.tell(error)  # what may be seen is read all the same, on each `r`
            return
        work = partial(follow, self.source, after, self._changed, self._read_all)
        self.ask(work, group="follow")

    async def _read_all(self) -> None:
        before, seen = set(self.fleet.machines), set[str]()

        async def machines() -> None:
            async for page in self.source.machines():
                seen.update(one.uuid for one in page)
                self.fleet.put(page)

        async def parents() -> None:
            self.fleet.begin(await self.source.places())
            async for page in self.source.machine_places():
                self.fleet.stand({one.uuid: one.parent for one in page})

        await together(machines, parents)
        self.fleet.drop(before - seen)
        self.query_one(Legend).read = True

    async def _changed(self, there: list[MachineBrief], gone: list[str]) -> None:
        for machine in there:
            if not self.fleet.knows_place(machine.uuid):
                self.fleet.stand({machine.uuid: await self.source.parent(machine.uuid)})
        self.fleet.put(there)
        self.fleet.drop(gone)
        panel = self.query_one(MachinePanel)
        if panel.uuid in {one.uuid for one in there} | set(gone):
            panel.open(panel.uuid)

    def on_fleet_map_counted(self) -> None:
        """Show the numbers by state."""
        legend = self.query_one(Legend)
        legend.counts = dict(self.fleet.counts)
        legend.matching = self.fleet.matching if self.query_one("#filter", Input).value else None

    def on_fleet_map_pointed(self, event: FleetMap.Pointed) -> None:
        """Tell of the machine that is pointed at, in one line."""
        machine = event.machine
        rack = self.fleet.rack_of(machine.uuid) if machine else ""
        self.query_one("#told", Static).update(told(machine, rack))

    def on_fleet_map_opened(self, event: FleetMap.Opened) -> None:
        """Open the panel of a machine."""
        self.query_one(MachinePanel).open(event.machine.uuid)

    def on_legend_chosen(self, event: Legend.Chosen) -> None:
        """Show the machines of one state, or all of them again."""
        line = self.query_one("#filter", Input)
        wanted = f"state:{event.state}"
        line.value = "" if line.value == wanted else wanted
        line.set_class(bool(line.value), "-open")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Look for what is typed."""
        try:
            test = parse(event.value, self.fleet.rack_of)
        except InvalidArgument as error:
            event.input.add_class("-bad")
            self.query_one("#told", Static).update(Text(error.message, style=FAINT))
            return
        event.input.remove_class("-bad")
        self.fleet.look_for(test)

    def on_input_submitted(self) -> None:
        """Go to the first machine that matches."""
        self.fleet.focus()
        selected = self.fleet.machines.get(self.fleet.selected)
        if selected is None or not self.fleet.passes(selected):
            self.fleet.action_next(1)

    def action_filter(self) -> None:
        """Type what to look for."""
        line = self.query_one("#filter", Input)
        line.add_class("-open")
        line.focus()

    def action_act(self) -> None:
        """Offer what may be done with the machine under the cursor."""
        machine = self.fleet.machines.get(self.fleet.selected)
        if machine is not None:
            self.post_message(ChooseAction(machine.name, actions_for(machine)))

    def action_why(self) -> None:
        """Show why the machine under the cursor is as it is."""
        if self.fleet.selected:
            self.post_message(GoToWhy(f"machine/{self.fleet.selected}"))

    def action_history(self) -> None:
        """Show what happened to the machine under the cursor."""
        if self.fleet.selected:
            self.post_message(GoToHistory(f"machine/{self.fleet.selected}"))

    def action_back(self) -> None:
        """Close the panel; then the filter."""
        panel, line = self.query_one(MachinePanel), self.query_one("#filter", Input)
        if panel.uuid and not line.has_focus:
            panel.close()
        else:
            line.value = ""
            line.remove_class("-open")
        self.fleet.focus()


def told(machine: MachineBrief | None, rack: str) -> Text:
    """Return a machine in one line."""
    if machine is None:
        return Text("")
    state = f"{machine.state}({machine.failed})" if machine.failed else machine.state
    line = Text(harmless(machine.name), style=f"bold {TEXT}", no_wrap=True, overflow="ellipsis")
    line.append(f"  {state}", style=colour_of(machine.state))
    parts = (machine.cordon, rack, machine.make, machine.operation, machine.fault)
    for part in filter(None, parts):
        line.append(f"  {harmless(part)}", style=DIM)
    return line
