import io
from datetime import UTC, datetime, timedelta

import pytest

from mulligan.cli.gantt import ASCII, BLOCKS, Shape, Signs, by_claim, by_provider, draw, signs_for
from mulligan.proto import v1
from mulligan.proto.v1 import ClaimState

NOW = datetime(2027, 1, 31, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def claim(
    name: str,
    state: ClaimState,
    start: float,
    end: float | None,
    *providers: str,
    turnaround: timedelta | None = None,
) -> v1.Claim:
    window = v1.Window(start=NOW + start * HOUR, end=None if end is None else NOW + end * HOUR)
    return v1.Claim(
        uuid=f"uuid of {name}",
        name=name,
        state=state,
        window=window,
        allocations=[
            v1.Allocation(provider=one, provider_name=one, turnaround=turnaround)
            for one in providers
        ],
    )


CLAIMS = [
    claim("later", ClaimState.RESERVED, 5, 12, "node-1", turnaround=HOUR),
    claim("train", ClaimState.ACTIVE, -3, 5, "node-1", "node-2"),
    claim("old", ClaimState.ENDED, -8, -2, "node-3"),
    claim("service", ClaimState.ACTIVE, -1, None, "node-3"),
]


def shape(width: int, signs: Signs = BLOCKS) -> Shape:
    return Shape(NOW - 6 * HOUR, NOW + 18 * HOUR, width, signs)


def test_claims_are_drawn_as_blocks_in_the_order_of_their_starts() -> None:
    assert draw(by_claim(CLAIMS, BLOCKS), shape(56), NOW) == [
        "                06:00       12:00       18:00",
        "        ────────┬───▼───────┬───────────┬───────────┬───",
        "old     ░░░░░░░░    │",
        "train         ████████████████",
        "service           ██████████████████████████████████████",
        "later               │         ▒▒▒▒▒▒▒▒▒▒▒▒▒▒~~",
        "█ active  ▒ reserved  ░ over  ~ cleaning",
        "▼ now 01-31 08:00Z  a cell is 30m",
    ]


def test_a_plain_terminal_gets_plain_characters() -> None:
    drawn = draw(by_claim(CLAIMS, ASCII), shape(56, ASCII), NOW)
    assert all(line.isascii() for line in drawn)
    assert drawn[3] == "train         ################"


def test_a_row_per_provider_shows_all_that_it_is_claimed_for() -> None:
    drawn = draw(by_provider(CLAIMS, BLOCKS), shape(55), NOW)
    assert drawn[2:5] == [
        "node-1       ████████████████▒▒▒▒▒▒▒▒▒▒▒▒▒▒~~",
        "node-2       ████████████████",
        "node-3 ░░░░░░░░  ██████████████████████████████████████",
    ]


@pytest.mark.parametrize("width", [20, 37, 80, 200])
def test_a_drawing_fits_its_width(width: int) -> None:
    long = claim("a-name-that-goes-on-and-on-and-on", ClaimState.ACTIVE, 0, 1, "node-9")
    for signs in (BLOCKS, ASCII):
        for rows in (by_claim([*CLAIMS, long], signs), by_provider(CLAIMS, signs)):
            assert max(map(len, draw(rows, shape(width, signs), NOW)[:-4])) <= width


@pytest.mark.parametrize("days", [1 / 24, 1, 9, 60, 400, 4000])
def test_the_scale_has_marks_that_do_not_touch(days: float) -> None:
    whole = Shape(NOW, NOW + timedelta(days=days), 100)
    marks = draw(by_claim(CLAIMS, BLOCKS), whole, NOW)[0]
    assert len(marks.split()) >= 2
    assert all(len(mark) == 5 for mark in marks.split())


def test_cells_touch_only_what_they_hold_any_part_of() -> None:
    whole = Shape(NOW, NOW + 10 * HOUR, 12)
    rows = by_claim([claim("x", ClaimState.ACTIVE, 2, 3)], BLOCKS)
    assert draw(rows, whole, NOW - HOUR)[2] == "x   █"


def test_two_claims_of_one_name_have_a_row_each() -> None:
    twins = [claim("x", ClaimState.ACTIVE, 0, 1), claim("x", ClaimState.RESERVED, 1, 2)]
    twins[1].uuid = "the other"
    assert list(by_claim(twins, BLOCKS)) == ["x", "the other"]


def test_a_reservation_that_moved_is_drawn_where_it_went() -> None:
    moved = claim("x", ClaimState.RESERVED, 2, 4, "node-1", "node-2", turnaround=HOUR)
    moved.allocations[0].until = NOW
    assert list(by_provider([moved], BLOCKS)) == ["node-2"]


def test_a_terminal_without_blocks_is_noticed() -> None:
    def out(encoding: str) -> io.TextIOWrapper:
        return io.TextIOWrapper(io.BytesIO(), encoding=encoding)

    assert signs_for(out("utf-8"), ascii_only=False) is BLOCKS
    assert signs_for(out("utf-8"), ascii_only=True) is ASCII
    assert signs_for(out("latin-1"), ascii_only=False) is ASCII
