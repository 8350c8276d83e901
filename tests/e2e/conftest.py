"""Regions that run as users run them; nothing of a region is left when its fixture ends."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.region import RunningRegion, short_folder


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder with a short path, as sockets want it; no process may use it in the end."""
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
async def region(place: Path) -> AsyncIterator[RunningRegion]:
    """A whole region that the tests of a module share."""
    async with RunningRegion(place) as running:
        yield running
