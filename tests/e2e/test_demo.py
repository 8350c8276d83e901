"""`mulligan demo`: it ends well, and Ctrl-C at any moment leaves nothing behind."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from tests.e2e.region import MULLIGAN, short_folder

SOON = (0.5, 3.0, 8.0)
"""Seconds after the start: while it imports, while the region starts, while machines work."""
ANY_TIME = (0.05, 0.2, 1.0, 1.5, 2.0, 2.5, 4.0, 5.0, 6.0, 11.0, 15.0, 20.0, 30.0)
STOPPED_WITHIN_S = 15.0


class Demo:
    """`mulligan demo`, started in a folder that holds all its temporary files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._out = folder / "out"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PYTHONUNBUFFERED": "1",
        }
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [*MULLIGAN, "demo", "--machines", "6"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
                start_new_session=True,
            )

    @property
    def printed(self) -> str:
        """What it has printed."""
        return self._out.read_text()

    async def ended(self, within: float) -> int:
        """Return the exit code; fail when it takes too long, or leaves a file."""
        code = await anyio.to_thread.run_sync(self.process.wait, within)
        begun = "A region in" in self.printed  # before, the interpreter itself may be interrupted
        assert "Traceback" not in self.printed or not begun
        assert list(self.folder.iterdir()) == [self._out]
        return code


@contextmanager
def demo() -> Iterator[Demo]:
    """Start the demo; in the end no process of it may be there."""
    with short_folder() as folder:
        started = Demo(folder)
        try:
            yield started
        finally:
            if started.process.poll() is None:
                started.process.kill()
                started.process.wait()


@pytest.fixture(scope="module")
def whole() -> Iterator[Demo]:
    """A demo that runs while the others are interrupted."""
    with demo() as started:
        yield started


async def interrupted_after(seconds: float) -> None:
    with demo() as started:
        await anyio.sleep(seconds)
        # As a terminal does it: the whole group gets the signal.
        os.killpg(started.process.pid, signal.SIGINT)
        asked = time.monotonic()
        expected = {0, 130, -signal.SIGINT}
        code = await started.ended(STOPPED_WITHIN_S)
        if "A region in" not in started.printed:
            expected.add(1)  # Python's own, when it is interrupted before it has loaded anything
        assert code in expected, started.printed
        assert time.monotonic() - asked < STOPPED_WITHIN_S


@pytest.mark.parametrize("seconds", SOON)
async def test_an_interrupt_leaves_nothing_behind(whole: Demo, seconds: float) -> None:
    await interrupted_after(seconds)


@pytest.mark.timeout(240)
async def test_the_demo_ends_well(whole: Demo) -> None:
    code = await whole.ended(180)
    assert code == 0, whole.printed
    assert whole.printed.splitlines()[-1].startswith("DEMO OK: ")


@pytest.mark.crash
@pytest.mark.parametrize("seconds", ANY_TIME)
async def test_an_interrupt_at_any_time_leaves_nothing_behind(seconds: float) -> None:
    await interrupted_after(seconds)
