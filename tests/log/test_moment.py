"""Finding the entry that a position or a time stands for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from mulligan.errors import InvalidArgument
from mulligan.log.memory import MemoryDisk, MemoryLog
from mulligan.log.moment import find_moment, last_before

from .commits import write

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Dates:
    """Dates the entries: the first two are of one minute, the others of later ones."""

    def __init__(self) -> None:
        self.now = BEGAN


@asynccontextmanager
async def dated() -> AsyncIterator[MemoryLog]:
    dates = Dates()
    async with MemoryLog.open(disk=MemoryDisk(), now=lambda: dates.now) as opened:
        for minutes in (0, 0, 1, 5, 5, 5, 9):
            dates.now = BEGAN + timedelta(minutes=minutes)
            await write(opened, "claim/a")
        yield opened


@pytest.mark.parametrize(
    ("minutes", "seq"), [(-1, 0), (0, 2), (0.5, 2), (1, 3), (4, 3), (5, 6), (8, 6), (9, 7), (99, 7)]
)
async def test_a_time_stands_for_the_last_entry_dated_no_later(minutes: float, seq: int) -> None:
    async with dated() as log:
        assert await last_before(log, BEGAN + timedelta(minutes=minutes)) == seq


async def test_a_moment_is_a_position_or_a_time_of_any_zone() -> None:
    async with dated() as log:
        assert await find_moment(log, "4", "at") == 4
        assert await find_moment(log, "2026-01-01T00:05:00Z", "at") == 6
        assert await find_moment(log, "2026-01-01T02:01:00+02:00", "at") == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "0 is not between 1 and the head, 7"),
        ("8", "8 is not between 1 and the head, 7"),
        ("9" * 30, "is not a position"),
        ("", "is not a position"),
        ("yesterday", "'yesterday' is not a position such as 1234, or a time"),
        ("2026-01-01T00:05:00", "is not a position"),
        ("2025-12-31T23:59:59Z", "lies before the first entry, of 2026-01-01T00:00:00"),
    ],
)
async def test_what_is_no_moment_of_the_log_is_refused_by_name(text: str, said: str) -> None:
    async with dated() as log:
        with pytest.raises(InvalidArgument, match=said) as raised:
            await find_moment(log, text, "mulligan-at")
    assert raised.value.violations[0].field == "mulligan-at"


async def test_an_empty_log_has_no_moments() -> None:
    async with MemoryLog.open(disk=MemoryDisk()) as log:
        with pytest.raises(InvalidArgument, match="nothing in the log"):
            await find_moment(log, "2026-01-01T00:05:00Z", "at")
