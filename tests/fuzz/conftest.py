"""A region of its own to be mistreated, and what must hold of it afterwards."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.region import RunningRegion, short_folder
from tests.fuzz.victim import Victim

MESSAGES = int(os.environ.get("MULLIGAN_FUZZ", "1500"))
"""How many messages to send in all."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("fuzz")
            if MESSAGES > 10_000:
                item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="package")
def place() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="package")
async def region(place: Path) -> AsyncIterator[RunningRegion]:
    async with RunningRegion(place, name="fuzz") as running:
        yield running


@pytest.fixture(scope="package")
async def victim(region: RunningRegion) -> AsyncIterator[Victim]:
    """The region with objects in it and callers for it; it must be unharmed in the end."""
    made = Victim(region)
    await made.prepare()
    yield made
    await made.require_unharmed()
    made.close()
