"""The last release, once for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.region import short_folder
from tests.upgrade.release import Release, unpack


@pytest.fixture(scope="package")
def place() -> Iterator[Path]:
    """A folder with a short path; no process may use it in the end."""
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="package")
def release(place: Path) -> Release:
    """The last release, unpacked; the test is skipped where the history does not hold it."""
    return unpack(place / "release")
