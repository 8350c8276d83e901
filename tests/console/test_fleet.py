"""The fleet map: where machines stand, how they are drawn, and how it is kept true."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from mulligan.console.app import ConsoleApp
from mulligan.console.brief import MachineBrief, Place
from mulligan.console.fleet.cells import mark
from mulligan.console.fleet.filter import parse
from mulligan.console.fleet.layout import cells_across, lay_out, path, sections
from mulligan.console.fleet.legend import legend
from mulligan.console.fleet.map import FleetMap
from mulligan.console.fleet.moves import step
from mulligan.console.fleet.page import FleetView
from mulligan.console.fleet.panel import MachinePanel
from mulligan.errors import DeadlineExceeded, Exhausted, InvalidArgument, Unavailable
from mulligan.wording import natural
from tests.console.fakes import FakeSource, fleet


def machine(name: str, state: str = "active", **more: Any) -> MachineBrief:
    return MachineBrief(uuid=f"u-{name}", name=name, state=state, **more)


@asynccontextmanager
async def shown(source: FakeSource) -> AsyncIterator[tuple[Pilot[None], FleetMap]]:
    """Run the console on a source until its fleet is drawn."""
    app = ConsoleApp(source)
    async with app.run_test(size=(120, 40)) as pilot:
        fleet = app.query_one(FleetMap)
        await settled(pilot, lambda: len(fleet.machines) == len(source.fleet))
        await settled(pilot, lambda: len(fleet.layout_now.spots) == len(source.fleet))
        yield pilot, fleet
    assert app.failure is None


async def settled(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    """Return once something holds; fail if it does not within some seconds."""
    for _ in range(200):
        if holds():
            return
        await pilot.pause(0.03)
    raise AssertionError("it did not come to that")


def text_of(fleet: FleetMap) -> str:
    return "\n".join(fleet.render_line(y).text for y in range(fleet.size.height))


def test_racks_stand_under_rows_and_in_the_order_of_their_numbers() -> None:
    machines, places, parents = fleet(1000)
    found = sections(machines, {one.uuid: one for one in places}, parents)
    assert [one.title for one in found] == [f"site-0 / row-{n}" for n in range(3)]
    assert [rack.name for rack in found[0].racks] == [f"rack-{n}" for n in range(10)]
    assert [rack.machines[9] for rack in found[0].racks][:2] == ["m-9", "m-49"]


def test_a_machine_without_a_rack_is_shown_all_the_same() -> None:
    (only,) = sections([machine("a")], {}, {})
    assert only.racks[0].name == "no rack" and only.racks[0].machines == ("u-a",)


def test_a_ring_of_places_ends() -> None:
    ring = {"a": Place(uuid="a", name="a", parent="b"), "b": Place(uuid="b", name="b", parent="a")}
    assert len(path("a", ring)) <= 32


def test_names_sort_as_people_count() -> None:
    assert sorted(["rack-10", "rack-9", "Rack-2"], key=natural) == ["Rack-2", "rack-9", "rack-10"]


@pytest.mark.parametrize("width", [20, 80, 160, 320])
def test_every_machine_has_a_cell_of_its_own_within_the_width(width: int) -> None:
    machines, places, parents = fleet(1234)
    layout = lay_out(sections(machines, {one.uuid: one for one in places}, parents), width)
    cells = {(spot.x, spot.y) for spot in layout.spots.values()}
    assert len(cells) == len(layout.order) == 1234
    assert max(x for x, _ in cells) < width


def test_racks_are_as_wide_as_makes_the_map_short() -> None:
    machines, places, parents = fleet(400)
    (row,) = sections(machines, {one.uuid: one for one in places}, parents)
    across = cells_across(row.racks, 160)
    layout = lay_out([row], 160)
    assert len(layout.lines) < 2 + 40 // across + 4


def test_a_small_fleet_is_told_by_its_names_and_a_large_one_by_marks() -> None:
    for count, named in ((60, True), (2000, False)):
        machines, places, parents = fleet(count)
        found = sections(machines, {one.uuid: one for one in places}, parents)
        names = {one.uuid: one.name for one in machines}
        assert lay_out(found, 120, 40, names).named is named


def test_arrows_go_to_the_nearest_cell() -> None:
    machines, places, parents = fleet(400)
    layout = lay_out(sections(machines, {one.uuid: one for one in places}, parents), 200)
    first = layout.order[0]
    below = step(layout, first, "down", 40)
    assert layout.spots[below].x == layout.spots[first].x
    assert step(layout, below, "up", 40) == first
    assert step(layout, first, "left", 40) == first
    assert step(layout, first, "end", 40) == layout.order[-1]


def test_the_marks_tell_states_apart_without_colours() -> None:
    assert mark(machine("a", "failed")) == "✖"
    assert mark(machine("a", "deploying")) == "◆"
    assert mark(machine("a", cordon="cordoned")) == "□"
    assert mark(machine("a")) == "■"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("node-1", ["node-1", "node-10"]),
        ("name:node-1*", ["node-1", "node-10"]),
        ("state:failed|deploying", ["node-1", "node-2"]),
        ("-state:failed rack:r1", ["node-2"]),
        ("is:faulty", ["node-1"]),
        ("make:dell*", ["node-10"]),
    ],
)
def test_the_filter_finds(text: str, names: list[str]) -> None:
    all_of_them = [
        machine("node-1", "failed", fault="bmc: away"),
        machine("node-2", "deploying"),
        machine("node-10", make="Dell R660"),
    ]
    test = parse(text, lambda uuid: "r1" if uuid != "u-node-10" else "r2")
    assert test is not None
    assert [one.name for one in all_of_them if test(one)] == names


@pytest.mark.parametrize("text", ["colour:red", "is:sad", "is:"])
def test_the_filter_says_what_it_does_not_understand(text: str) -> None:
    with pytest.raises(InvalidArgument, match="filter"):
        parse(text, lambda _: "")


def test_the_legend_begins_with_what_failed() -> None:
    line = legend({"active": 7, "failed": 2, "novel": 1}, None, 120).plain
    assert line.startswith("10 machines  ✖ failed 2") and "novel 1" in line


async def test_the_map_shows_every_machine_in_its_rack() -> None:
    async with shown(FakeSource(80)) as (_, fleet):
        text = text_of(fleet)
        assert "site-0 / row-0" in text
        assert "rack-0" in text and "rack-1" in text and "node-79" in text


async def test_a_change_in_the_log_is_drawn_and_only_that_machine_is_read_again() -> None:
    source = FakeSource(400)
    async with shown(source) as (pilot, fleet):
        source.reads.clear()
        source.change("m-7", state="failed", failed="deploy")
        source.change("m-7", state="failed", failed="clean")
        await settled(pilot, lambda: fleet.machines["m-7"].failed == "clean")
        assert source.reads == ["m-7"]
        assert fleet.counts["failed"] == sum(o.state == "failed" for o in source.fleet.values())


async def test_new_machines_appear_in_their_rack_and_deleted_ones_go() -> None:
    source = FakeSource(40)
    async with shown(source) as (pilot, fleet):
        source._parents["m-new"] = "rack-0"
        source.fleet["m-new"] = msgspec.structs.replace(
            source.fleet["m-1"], uuid="m-new", name="new"
        )
        source.tell("m-new")
        source.remove("m-3")
        await settled(pilot, lambda: "m-new" in fleet.layout_now.spots)
        await settled(pilot, lambda: "m-3" not in fleet.layout_now.spots)
        assert fleet.rack_of("m-new").endswith("rack-0")


async def test_when_very_many_change_all_are_read_rather_than_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mulligan.console.fleet.follow.MANY", 20)
    source = FakeSource(1000)
    async with shown(source) as (pilot, fleet):
        source.reads.clear()
        for n in range(600):
            source.change(f"m-{n}", state="retired")
        await settled(pilot, lambda: fleet.counts["retired"] >= 600)
        assert "all" in source.reads and len(source.reads) < 100


async def test_keys_move_open_and_close() -> None:
    async with shown(FakeSource(80)) as (pilot, fleet):
        panel = pilot.app.query_one(MachinePanel)
        await pilot.press("home", "right", "enter")
        await settled(pilot, lambda: panel.machine is not None)
        assert panel.machine is not None and panel.machine.uuid == fleet.selected == "m-1"
        await pilot.press("escape")
        assert not panel.uuid


async def test_the_panel_tells_claims_projects_and_images_by_their_names() -> None:
    source = FakeSource(80)
    claim, project, unnamed = (f"01900000-0000-7000-8000-{n:012d}" for n in range(3))
    source.known = {claim: "training", project: "red"}
    source.change("m-1", claim=claim, project=project)
    async with shown(source) as (pilot, fleet):
        fleet.select("m-1")
        await pilot.press("enter")
        await settled(pilot, lambda: "training" in panel_text(pilot))
        assert "red" in panel_text(pilot)
        source.change("m-1", claim=unnamed)
        await settled(pilot, lambda: unnamed[:8] in panel_text(pilot))
    assert source.called.get(unnamed) == ""


def panel_text(pilot: Pilot[None]) -> str:
    return str(pilot.app.query_one("MachinePanel #body", Static).content)


async def test_a_click_opens_the_machine_under_it() -> None:
    async with shown(FakeSource(80)) as (pilot, fleet):
        spot = fleet.spot("m-5")
        assert spot is not None
        await pilot.click(FleetMap, offset=(spot.x, spot.y))
        assert fleet.selected == "m-5"
        assert pilot.app.query_one(MachinePanel).uuid == "m-5"


async def test_the_filter_dims_the_rest_and_n_goes_from_match_to_match() -> None:
    source = FakeSource(200)
    failed = [one.uuid for one in source.fleet.values() if one.state == "failed"]
    async with shown(source) as (pilot, fleet):
        await pilot.press("slash", *"state:failed", "enter")
        assert fleet.matching == len(failed) > 1
        assert fleet.selected == failed[0]
        await pilot.press("n")
        assert fleet.selected == failed[1]
        await pilot.press("escape")
        assert fleet.matching == 200


async def test_a_hitch_does_not_end_following(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mulligan.console.fleet.follow.AGAIN_S", 0.01)
    source = FakeSource(10)
    async with shown(source) as (pilot, fleet):
        source.hitches = [DeadlineExceeded("slow"), Unavailable("gone"), Exhausted("too many")]
        source.change("m-3", state="failed")
        await settled(pilot, lambda: fleet.machines["m-3"].state == "failed")
        assert not source.hitches
        source.change("m-3", state="retired")
        await settled(pilot, lambda: fleet.machines["m-3"].state == "retired")


async def test_a_machine_that_comes_while_all_are_read_stays() -> None:
    source = FakeSource(10)
    async with shown(source) as (_, fleet):
        late = machine("late")
        listed = source.machines

        async def machines() -> AsyncIterator[list[MachineBrief]]:
            async for page in listed():
                yield page
            fleet.put([late])

        source.machines = machines  # type: ignore[method-assign]
        await fleet.app.query_one(FleetView).renew()
        assert late.uuid in fleet.machines


def test_the_legend_breaks_lines_between_states_only() -> None:
    text = legend({"active": 7, "failed": 2, "available": 1234, "retired": 9}, None, 30).plain
    assert all(len(line) <= 30 for line in text.splitlines())
    assert "■ available 1,234" in text and "□ cordoned" in text


def test_the_legend_does_not_say_none_before_it_knows() -> None:
    assert "reading" in legend({}, None, 80, read=False).plain
    assert "machine enrol" in legend({}, None, 80, read=True).plain
