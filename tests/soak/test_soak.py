"""Mixed load for a long time: memory, open files, etcd and lag stay as they are."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from mulligan.client import Client
from mulligan.proto import v1
from mulligan.services.serve import SERVICES
from tests.e2e.fleet import Fleet
from tests.e2e.history import overbooked, read_history, read_models_differ
from tests.e2e.region import RunningRegion, short_folder, until

from .load import Load
from .watching import Watch, growing, quarters, table

SECONDS = float(os.environ.get("MULLIGAN_SOAK_S", "1800"))
EVERY = max(1.0, SECONDS / 240)
KEPT = 8 * 2**20
"""Bytes of entries that etcd is to keep; segments hold a fraction of that."""
STORE_GROWTH = 1.15
"""By so much may the most that etcd has in use grow from the third quarter to the last.

That is more than is kept: some thousand entries stay in any case, and history for some minutes.
"""
LAG_MOST = 5.0
"""Seconds that a read model may be behind, in a quarter that is not the first."""
MACHINES = 6


@pytest.fixture
async def region() -> AsyncIterator[RunningRegion]:
    settings = {
        "MULLIGAN_ARCHIVE_KEEP_BYTES": str(KEPT),
        "MULLIGAN_ARCHIVE_SEGMENT_BYTES": str(KEPT // 8),
        "MULLIGAN_ARCHIVE_COPY_S": "10",
    }
    with short_folder() as folder:
        async with RunningRegion(folder, "soak", settings=settings) as running:
            yield running


async def fleet_of(region: RunningRegion, admin: Client, place: Path) -> Fleet:
    fleet = Fleet(region, place, MACHINES)
    pool = [v1.Inventory(resource_class="memory", total=256)]
    for n in range(8):
        request = v1.CreateProviderRequest(name=f"pool-{n}", type="compute", inventories=pool)
        await admin.resource.create_provider(request)
    return fleet


@pytest.mark.soak
async def test_nothing_grows_while_the_load_goes_on(region: RunningRegion, tmp_path: Path) -> None:
    admin = region.client(patience=60)
    fleet = await fleet_of(region, admin, tmp_path / "fleet")
    tenants = [await region.tenant(f"project-{n}", f"tenant-{n}") for n in range(2)]
    load, watch = Load(seed=1), Watch(region, ("etcd", "postgres", *SERVICES), admin)
    async with fleet.emulator:
        await fleet.prepare(admin)
        await fleet.enrol(admin, fleet.names)
        await fleet.provide(admin, fleet.names)
        async with anyio.create_task_group() as tasks:
            works = [*load.of_operator(admin).items()]
            for n, tenant in enumerate(tenants):
                for _ in range(3):
                    works += load.of_tenant(tenant).items()
                for machine in fleet.names[n::2]:
                    works += load.of_machine(tenant, machine, admin).items()
            for name, work in works:
                tasks.start_soon(load.go_on, name, work)
            tasks.start_soon(watch.run, EVERY)
            await anyio.sleep(SECONDS)
            tasks.cancel_scope.cancel()
    sys.stdout.write(f"\n{table(watch.samples)}\n{dict(load.done)}\nfailed: {dict(load.failed)}\n")
    assert not load.failed
    assert not list(growing(watch.samples))
    _, *later = quarters(watch.samples)
    *_, third, last = later
    assert max(s.store for s in last) < STORE_GROWTH * max(s.store for s in third)
    assert max(s.lag for part in later for s in part) < LAG_MOST
    assert watch.samples[-1].segments > watch.samples[0].segments
    await require_sound(region, admin)


async def require_sound(region: RunningRegion, admin: Client) -> None:
    """What came of it holds: the log, the archive, the read models, the machines' capacity."""
    facts = await read_history(admin)
    assert not overbooked(facts)
    assert not await read_models_differ(admin)
    checked = v1.VerifyArchiveProgress()
    async for checked in admin.archiver.verify_archive(v1.VerifyArchiveRequest()):
        assert not checked.bad_seq, checked.problem
    assert checked.verified == checked.total > 0

    async def well() -> bool:
        return "all is well" in (await region.cli("status")).stdout

    await until(well, "all is well", 30)
