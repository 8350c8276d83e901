"""What a region's processes use as time goes by, and whether that stays as it is."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

import anyio

from mulligan.client import Client
from mulligan.errors import MulliganError
from mulligan.proto import v1
from tests.e2e.region import RunningRegion
from tests.embedded.processes import descendants

MEGABYTE = 1e6
GROWTH = 0.10
"""By so much of what it was may memory grow from the third quarter to the last."""
LEAST_GROWTH = 24 * MEGABYTE
"""And by so much however small it was: allocators keep some."""
MORE_FILES = 12
"""Connections come and go: so many open files more are none."""


class Use(NamedTuple):
    """What one process and those below it use: bytes of memory of their own, open files."""

    memory: float
    files: int


class Sample(NamedTuple):
    """The region at one time, in seconds since the beginning; sizes in bytes."""

    at: float
    parts: dict[str, Use]
    store: float
    lag: float
    segments: int


def use_of(pid: int) -> Use:
    """Add up a process and its descendants; those that end meanwhile count nothing."""
    memory, files = 0.0, 0
    for one in (pid, *descendants(pid)):
        with suppress(FileNotFoundError, ProcessLookupError):
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
            memory += sum(_kilobytes(rollup, name) for name in ("Pss:", "SwapPss:")) * 1024
            files += len(os.listdir(f"/proc/{one}/fd"))
    return Use(memory, files)


def _kilobytes(text: str, name: str) -> float:
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith(name))


class Watch:
    """Takes samples of a region while it is at work."""

    def __init__(self, region: RunningRegion, parts: Sequence[str], admin: Client) -> None:
        self.samples: list[Sample] = []
        self._region = region
        self._parts = parts
        self._admin = admin
        self._began = time.monotonic()

    async def run(self, every: float) -> None:
        """Take a sample every so many seconds, until cancelled."""
        while True:
            with suppress(MulliganError):
                self.samples.append(await self._sample())
            await anyio.sleep(every)

    async def _sample(self) -> Sample:
        listed = await self._admin.projector.list_projections(v1.ListProjectionsRequest())
        archive = await self._admin.archiver.get_archive_status(v1.GetArchiveStatusRequest())
        return Sample(
            at=time.monotonic() - self._began,
            parts={name: use_of(self._region.pid(name)) for name in self._parts},
            store=archive.store_used_bytes,
            lag=max(one.lag_seconds for one in listed.projections),
            segments=archive.segments,
        )


def quarters(samples: Sequence[Sample]) -> list[Sequence[Sample]]:
    """Cut samples into four parts of one length."""
    cut = len(samples) / 4
    return [samples[int(n * cut) : int((n + 1) * cut)] for n in range(4)]


def growing(samples: Sequence[Sample]) -> Iterator[str]:
    """Say of each process what grew from the third quarter, when caches are full, to the last."""
    _, _, third, last = quarters(samples)
    for part in samples[-1].parts:
        before, after = (median(s.parts[part].memory for s in some) for some in (third, last))
        if after - before > max(GROWTH * before, LEAST_GROWTH):
            yield f"{part}: memory {before / MEGABYTE:.0f} MB, then {after / MEGABYTE:.0f} MB"
        files, later = (median(s.parts[part].files for s in some) for some in (third, last))
        if later - files > MORE_FILES:
            yield f"{part}: {files:.0f} open files, then {later:.0f}"


def table(samples: Sequence[Sample]) -> str:
    """Show what was used, as the medians of the quarters."""
    parts = quarters(samples)
    lines = [f"{'':12}" + "".join(f"{f'quarter {n}':>22}" for n in range(1, 5))]
    for name in samples[-1].parts:
        cells = (
            f"{median(s.parts[name].memory for s in some) / MEGABYTE:.0f} MB"
            f" {median(s.parts[name].files for s in some):.0f} files"
            for some in parts
        )
        lines.append(f"{name:12}" + "".join(f"{cell:>22}" for cell in cells))
    store = (f"{max(s.store for s in some) / MEGABYTE:.1f} MB" for some in parts)
    lag = (f"{max(s.lag for s in some):.2f} s" for some in parts)
    lines.append(f"{'etcd, most':12}" + "".join(f"{cell:>22}" for cell in store))
    lines.append(f"{'lag, most':12}" + "".join(f"{cell:>22}" for cell in lag))
    return "\n".join(lines)
