"""Claims on a time line: drawn where they are, asked for only in sight."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import anyio
import pytest
from textual.pilot import Pilot

from mulligan.console.brief import Place
from mulligan.console.called import Called
from mulligan.console.claims.draw import GanttClaim, Scale, header, marks, row_cells, scale_about
from mulligan.console.claims.feed import GanttRow, held_at, rows_of
from mulligan.console.claims.page import GanttView
from mulligan.console.source import Moment
from mulligan.proto import v1
from tests.console.fakes import FakeSource
from tests.console.feeds import ANN, NODE, Stage, screen_text, settled

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCALE = Scale(NOON - 10 * HOUR, HOUR, 40)


def claim(start: int, end: int | None, state: str = "active", /, **more: object) -> GanttClaim:
    """Return a claim from ``start`` to ``end`` hours after noon."""
    until = None if end is None else NOON + end * HOUR
    facts: dict[str, object] = {
        "uuid": f"claim-{start}",
        "name": "web",
        "state": state,
        "project": "red",
        "account": ANN,
        "start": NOON + start * HOUR,
        "end": until,
        "claim_end": until,
    }
    return GanttClaim(**(facts | more))  # type: ignore[arg-type]


def drawn(*claims: GanttClaim, chosen: str = "") -> str:
    return "".join(one.text for one in row_cells(claims, SCALE, NOON, chosen))


def filled(*claims: GanttClaim) -> set[int]:
    cells: set[int] = set()
    at = 0
    for one in row_cells(claims, SCALE, NOON, ""):
        if one.style is not None and one.style.bgcolor is not None:
            cells |= set(range(at, at + len(one.text)))
        at += len(one.text)
    return cells


def test_a_claim_takes_the_cells_that_it_touches_and_no_more() -> None:
    assert filled(claim(2, 5)) == {12, 13, 14}
    assert filled(claim(2, 5, start=NOON + 2.5 * HOUR)) == {12, 13, 14}
    assert filled(claim(-20, -8)) == {0, 1}
    assert filled(claim(5, None)) == set(range(15, 40))
    assert filled(claim(50, 60)) == set()


def test_now_is_a_line_also_through_a_claim() -> None:
    assert drawn()[10] == "│"
    assert drawn(claim(-5, 9))[10] == "│"
    assert " web" in drawn(claim(-1, 9)), "but not through its name"


def test_a_claim_says_its_name_where_there_is_room() -> None:
    assert " web" in drawn(claim(2, 9))
    assert "web" not in drawn(claim(2, 4))
    assert "long…" in drawn(claim(2, 8, name="long-name-of-it"))


def test_what_is_reserved_is_hatched_and_its_turnaround_is_seen() -> None:
    text = drawn(claim(2, 12, "reserved", turnaround=2 * HOUR))
    assert "▒" in text and text[22:24] == "~~"
    assert "!" in drawn(claim(2, 12, "reserved", stranded=True))


def test_what_runs_is_drawn_over_what_is_over() -> None:
    both = row_cells([claim(2, 9), claim(0, 9, "released", name="old")], SCALE, NOON, "")
    assert "web" in "".join(one.text for one in both)


def test_times_are_marked_apart_whatever_a_cell_stands_for() -> None:
    for minutes in (1, 15, 60, 480, 2880, 10080):
        scale = scale_about(NOON, timedelta(minutes=minutes), 120)
        cells = [one.cell for one in marks(scale)]
        assert len(cells) >= 2
        assert all(b - a >= 9 for a, b in pairwise(cells))
        assert all(0 <= cell < 120 for cell in cells)
        times, ruler = header(scale, NOON)
        assert len(times) == len(ruler) == 120
        assert ruler.index("▼") == scale.at(NOON)


def test_zooming_keeps_the_moment_at_rest() -> None:
    near = SCALE.zoomed(-1, 10)
    assert near.cell < SCALE.cell
    assert near.at(NOON) == 10
    assert near.zoomed(1, 10) == SCALE


def test_rows_stand_in_the_order_of_the_tree_and_of_numbers() -> None:
    places = [Place(uuid="r2", name="rack-2"), Place(uuid="r1", name="rack-1")]
    machines = [Place(uuid=f"m{n}", name=f"node-{n}", parent=f"r{n % 2 + 1}") for n in range(12)]
    rows = rows_of([*places, Place(uuid="gpu", name="gpu", parent="m1")], machines)
    assert [row.name for row in rows[:8]] == [
        "rack-1", "node-0", "node-2", "node-4", "node-6", "node-8", "node-10", "rack-2",
    ]  # fmt: skip
    assert rows[0].heading and rows[1] == GanttRow("m0", "node-0", 1)
    assert "gpu" not in {row.name for row in rows}, "what is built in has no row"


def test_what_a_provider_gave_back_early_is_over_there() -> None:
    held = v1.Claim(
        uuid="c",
        state=v1.ClaimState.ACTIVE,
        window=v1.Window(start=NOON, end=NOON + 9 * HOUR),
        allocations=[
            v1.Allocation(provider="a", amounts={"machine": 1}, until=NOON + HOUR),
            v1.Allocation(provider="b", amounts={"machine": 1}, since=NOON + HOUR),
        ],
    )
    (a,), (b,) = held_at(held, "a"), held_at(held, "b")
    assert (a.state, a.start, a.end) == ("released", NOON, NOON + HOUR)
    assert (b.state, b.start, b.end, b.providers) == ("active", NOON + HOUR, NOON + 9 * HOUR, 2)


class FakeClaims:
    """10,000 machines with a claim now and one reserved each."""

    def __init__(self, count: int = 10_000) -> None:
        self.count = count
        self.asked: list[str] = []
        self.now = datetime.now(UTC)
        self.news = anyio.Event()

    async def rows(self) -> AsyncIterator[list[GanttRow]]:
        yield [GanttRow(NODE.format(n), f"node-{n}") for n in range(self.count)]

    async def claims(self, provider: str, start: datetime, end: datetime) -> Sequence[GanttClaim]:
        self.asked.append(provider)
        running = claim(0, 1, name="run", start=self.now - HOUR, end=self.now + 9 * HOUR)
        later = self.now + 12 * HOUR
        return [running, claim(1, 2, "reserved", start=later, end=later + 9 * HOUR)]

    async def changes(self) -> AsyncIterator[None]:
        while True:
            news = self.news
            await news.wait()
            yield None


@pytest.fixture
async def claims() -> FakeClaims:
    return FakeClaims()


@pytest.fixture
async def view(claims: FakeClaims) -> GanttView:
    async def names(uuids: list[str]) -> dict[str, str]:
        return {ANN: "ann"}

    return GanttView(FakeSource(), claims, Called(names))


@pytest.fixture
async def pilot(view: GanttView, claims: FakeClaims) -> AsyncIterator[Pilot[None]]:
    async with Stage(view, view.source).run_test(size=(140, 30)) as pilot:
        await settled(pilot, lambda: "run" in screen_text(pilot), "claims are drawn")
        yield pilot


async def test_of_ten_thousand_rows_only_those_in_sight_are_asked_for(
    pilot: Pilot[None], view: GanttView, claims: FakeClaims
) -> None:
    assert len(set(claims.asked)) <= 30
    claims.asked.clear()
    await pilot.press("end")
    await settled(pilot, lambda: NODE.format(9999) in claims.asked, "the last is asked for")
    await settled(pilot, lambda: "node-9999" in screen_text(pilot), "the last is shown")
    assert len(set(claims.asked)) <= 30


async def test_the_chosen_claim_is_told_and_what_can_be_done_is_offered(
    pilot: Pilot[None], view: GanttView
) -> None:
    await settled(pilot, lambda: "by ann" in screen_text(pilot), "who made it is told")
    await pilot.press("full_stop")
    await settled(pilot, lambda: "reserved in" in screen_text(pilot), "the next one is chosen")
    await pilot.press("y", "h")
    stage = view.app
    assert isinstance(stage, Stage)
    await settled(pilot, lambda: len(stage.asked) == 2, "the page asks")
    assert stage.asked == [("why", "claim/claim-1"), ("history", "claim/claim-1")]
    await pilot.press("a")
    await settled(pilot, lambda: "Cancel claim web" in screen_text(pilot), "it is offered")


async def test_time_moves_and_zooms_and_comes_back_to_now(
    pilot: Pilot[None], view: GanttView
) -> None:
    began = view.grid.scale
    assert began is not None
    await pilot.press("right")
    assert view.grid.scale is not None and view.grid.scale.left > began.left
    await pilot.press("minus")
    assert view.grid.scale.cell > began.cell
    await pilot.press("plus", "n")
    assert view.grid.scale == began


async def test_changed_claims_are_asked_for_again_in_sight_only(
    pilot: Pilot[None], claims: FakeClaims
) -> None:
    claims.asked.clear()
    news, claims.news = claims.news, anyio.Event()
    news.set()
    await settled(pilot, lambda: NODE.format(0) in claims.asked, "they are asked for again")
    assert len(set(claims.asked)) <= 30


async def test_another_width_keeps_the_time_that_is_shown(
    pilot: Pilot[None], view: GanttView
) -> None:
    await pilot.press("right", "right")
    assert view.grid.scale is not None
    left, cells = view.grid.scale.left, view.grid.scale.cells
    await pilot.resize_terminal(100, 30)
    await settled(pilot, lambda: view.grid.scale and view.grid.scale.cells < cells, "less time")
    assert view.grid.scale.left == left


async def test_another_moment_is_brought_into_sight(pilot: Pilot[None], view: GanttView) -> None:
    then = datetime.now(UTC) - timedelta(days=90)
    view.source.moment = Moment(5, then)
    await view.renew()
    assert view.grid.scale is not None
    assert view.grid.scale.left < then < view.grid.scale.right


async def test_a_page_that_is_not_shown_asks_once_it_is(
    pilot: Pilot[None], view: GanttView, claims: FakeClaims
) -> None:
    view.display = False
    await settled(pilot, lambda: not view.is_on_screen, "it is hidden")
    claims.asked.clear()
    news, claims.news = claims.news, anyio.Event()
    news.set()
    await settled(pilot, lambda: view.held.missing([NODE.format(0)]), "what is known is old")
    assert not claims.asked
    view.display = True
    await settled(pilot, lambda: NODE.format(0) in claims.asked, "it is asked for")
