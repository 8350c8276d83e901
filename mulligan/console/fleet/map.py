"""The map of the fleet: a cell a machine, drawn line by line, never a widget a machine."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.events import Click, MouseMove, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mulligan.console.brief import MachineBrief, Place
from mulligan.console.fleet.cells import mark, name_style, style
from mulligan.console.fleet.filter import Test
from mulligan.console.fleet.layout import (
    CELL,
    EMPTY,
    Layout,
    Run,
    Spot,
    Title,
    lay_out,
    path,
    sections,
)
from mulligan.console.fleet.lines import labels, shortened, title
from mulligan.console.fleet.moves import step

WAYS = ("left", "right", "up", "down", "home", "end", "pageup", "pagedown")
LAYOUT_S = 0.15
"""Least seconds between two layouts while machines come in."""


class FleetMap(ScrollView, can_focus=True):
    """Every machine as a cell in its rack, in the colour of its state."""

    DEFAULT_CSS = """
    FleetMap {
        height: 1fr; background: $background;
        overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"move('{key}')", "Move", show=False) for key in WAYS),
        Binding("enter", "open", "Open"),
        Binding("n", "next(1)", "Next match"),
        Binding("N", "next(-1)", "Previous match", show=False),
    ]

    class Pointed(Message):
        """The cursor or the mouse is on a machine, or on none."""

        def __init__(self, machine: MachineBrief | None) -> None:
            super().__init__()
            self.machine = machine

    class Opened(Message):
        """The operator wants to know all about a machine."""

        def __init__(self, machine: MachineBrief) -> None:
            super().__init__()
            self.machine = machine

    class Counted(Message):
        """How many machines there are in each state has changed."""

    def __init__(self) -> None:
        super().__init__()
        self.machines: dict[str, MachineBrief] = {}
        self.counts: Counter[str] = Counter()
        self.matching = 0
        self.selected = ""
        self._places: dict[str, Place] = {}
        self._parents: dict[str, str] = {}
        self._test: Test | None = None
        self._layout = EMPTY
        self._waiting = False

    @property
    def layout_now(self) -> Layout:
        """Where everything is."""
        return self._layout

    def rack_of(self, uuid: str) -> str:
        """Return the way down to the rack of a machine."""
        return " / ".join(path(self._parents.get(uuid, ""), self._places))

    def knows_place(self, uuid: str) -> bool:
        """Whether it is known what a machine stands under."""
        return uuid in self._parents

    def begin(self, places: Sequence[Place]) -> None:
        """Say which places there are; machines follow by ``stand`` and ``put``."""
        self._places = {one.uuid: one for one in places}
        self._arrange_soon()

    def stand(self, parents: Mapping[str, str]) -> None:
        """Say what some machines stand under."""
        changed = {uuid: up for uuid, up in parents.items() if self._parents.get(uuid) != up}
        if changed:
            self._parents |= changed
            self._arrange_soon()

    def put(self, machines: Iterable[MachineBrief]) -> None:
        """Show machines, new or changed; only lines that changed are drawn again."""
        lines: set[int] = set()
        fresh = False
        for machine in machines:
            old = self.machines.get(machine.uuid)
            if old == machine:
                continue
            self._count(old, -1)
            self._count(machine, 1)
            self.machines[machine.uuid] = machine
            spot = self._layout.spots.get(machine.uuid)
            if spot is None or (old is not None and old.name != machine.name):
                fresh = True
            else:
                lines.add(spot.y)
        self._changed(lines, fresh=fresh)

    def drop(self, uuids: Iterable[str]) -> None:
        """Forget machines that are gone."""
        gone = [uuid for uuid in uuids if uuid in self.machines]
        for uuid in gone:
            self._count(self.machines.pop(uuid), -1)
            self._parents.pop(uuid, None)
        self._changed(set(), fresh=bool(gone))

    def look_for(self, test: Test | None) -> None:
        """Dim what does not pass the test; None dims nothing."""
        self._test = test
        self.matching = sum(1 for one in self.machines.values() if self.passes(one))
        self.refresh()
        self.refresh_bindings()
        self.post_message(self.Counted())

    def passes(self, machine: MachineBrief) -> bool:
        """Whether the filter lets a machine through."""
        return self._test is None or self._test(machine)

    def select(self, uuid: str) -> None:
        """Put the cursor on a machine, and bring it into view."""
        spot = self._layout.spots.get(uuid)
        if spot is None:
            return
        before, self.selected = self._layout.spots.get(self.selected), uuid
        self._redraw({spot.y} | ({before.y} if before else set()))
        self.scroll_to_region(
            Region(0, max(0, spot.y - 2), 1, 5), animate=False, force=True, immediate=True
        )
        self.post_message(self.Pointed(self.machines.get(uuid)))

    def render_line(self, y: int) -> Strip:
        """Draw one line of what is in view."""
        width = self.size.width
        number = y + self.scroll_offset.y
        line = self._layout.lines[number] if number < len(self._layout.lines) else None
        if not line:
            return Strip.blank(width, self.rich_style)
        if isinstance(line, Title):
            segments = title(line, self.machines, width)
        elif isinstance(line[0], Run):
            segments = self._cells(line)
        else:
            segments = labels(line, self.machines)
        return (
            Strip(segments).adjust_cell_length(width, self.rich_style).apply_style(self.rich_style)
        )

    def _cells(self, runs: Sequence[Run]) -> list[Segment]:
        segments: list[Segment] = []
        x, cell = 0, self._layout.cell
        for run in runs:
            segments.append(Segment(" " * (run.x - x)))
            for uuid in run.machines:
                machine = self.machines.get(uuid)
                if machine is None:
                    segments.append(Segment(" " * cell))
                else:
                    segments += self._cell(machine, cell)
            x = run.x + cell * len(run.machines)
        return segments

    def _cell(self, machine: MachineBrief, cell: int) -> list[Segment]:
        """Return a machine's mark, and its name where cells are wide enough."""
        here, out = machine.uuid == self.selected, not self.passes(machine)
        look = style(machine.state, machine.health, selected=here, dim=out)
        if cell <= CELL:
            return [Segment(mark(machine), look), Segment(" ")]
        name = shortened(machine.name, cell - 3)
        return [
            Segment(mark(machine), look),
            Segment(" "),
            Segment(name, name_style(selected=here, dim=out)),
            Segment(" " * (cell - 2 - len(name))),
        ]

    def _count(self, machine: MachineBrief | None, by: int) -> None:
        if machine is None:
            return
        self.counts[machine.state] += by
        if self.passes(machine):
            self.matching += by

    def _changed(self, lines: set[int], *, fresh: bool) -> None:
        if fresh:
            self._arrange_soon()
        if lines:
            self._redraw(lines | self._heads(lines))
        if lines or fresh:
            self.post_message(self.Counted())

    def _heads(self, lines: set[int]) -> set[int]:
        """Return the lines of names above these cells: they tell how many failed."""
        heads = set()
        for number in lines:
            while number > 0 and isinstance(self._layout.lines[number], tuple):
                if not isinstance(self._layout.lines[number][0], Run):  # type: ignore[index]
                    heads.add(number)
                    break
                number -= 1
        return heads

    def _redraw(self, lines: Iterable[int]) -> None:
        top, height = self.scroll_offset.y, self.size.height
        for number in lines:
            if top <= number < top + height:
                self.refresh_line(number)

    def _arrange_soon(self) -> None:
        """Lay out anew, at once if that was not done just now."""
        if not self._layout.lines:
            self._arrange()
        elif not self._waiting:
            self._waiting = True
            self.set_timer(LAYOUT_S, self._arrange)

    @property
    def _width(self) -> int:
        """Columns beside the scroll bar, whether that is drawn already or not."""
        return self.outer_size.width - self.styles.scrollbar_size_vertical

    def _arrange(self) -> None:
        self._waiting = False
        width = self._width
        if width <= 0:
            return
        found = sections(self.machines.values(), self._places, self._parents)
        names = {uuid: machine.name for uuid, machine in self.machines.items()}
        self._layout = lay_out(found, width, self.outer_size.height, names)
        self.virtual_size = Size(width, len(self._layout.lines))
        if self.selected not in self._layout.spots:
            self.selected = self._layout.order[0] if self._layout.order else ""
        self.post_message(self.Pointed(self.machines.get(self.selected)))
        if self._test is not None:  # it may ask for racks, and these may have come just now
            self.look_for(self._test)
        self.refresh()

    def on_resize(self, event: Resize) -> None:
        """Lay out for the new width."""
        self._arrange()

    def at(self, x: int, y: int) -> MachineBrief | None:
        """Return the machine whose cell is at a place of what is in view."""
        number = y + self.scroll_offset.y
        line = self._layout.lines[number] if number < len(self._layout.lines) else None
        if not isinstance(line, tuple):
            return None
        cell = self._layout.cell
        for run in line:
            if isinstance(run, Run) and run.x <= x < run.x + cell * len(run.machines):
                return self.machines.get(run.machines[(x - run.x) // cell])
        return None

    def on_mouse_move(self, event: MouseMove) -> None:
        """Tell of the machine under the mouse."""
        self.post_message(
            self.Pointed(self.at(event.x, event.y) or self.machines.get(self.selected))
        )

    def on_click(self, event: Click) -> None:
        """Open the machine that was clicked on."""
        found = self.at(event.x, event.y)
        if found is not None:
            self.select(found.uuid)
            self.post_message(self.Opened(found))

    def action_move(self, way: str) -> None:
        """Move the cursor."""
        self.select(step(self._layout, self.selected, way, self.size.height))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Name the way to what matches only to who looks for something."""
        return action != "next" or self._test is not None

    def action_next(self, by: int) -> None:
        """Move the cursor to the next machine that passes the filter."""
        order = self._layout.order
        start = order.index(self.selected) if self.selected in self._layout.spots else 0
        for number in range(1, len(order) + 1):
            machine = self.machines.get(order[(start + by * number) % len(order)])
            if machine is not None and self.passes(machine):
                self.select(machine.uuid)
                return

    def action_open(self) -> None:
        """Open the machine under the cursor."""
        found = self.machines.get(self.selected)
        if found is not None:
            self.post_message(self.Opened(found))

    def spot(self, uuid: str) -> Spot | None:
        """Return where a machine's cell is, in lines from the top of the map."""
        return self._layout.spots.get(uuid)
