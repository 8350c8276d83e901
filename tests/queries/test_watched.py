"""The machines to watch are found page by page."""

from mulligan.config import Dsn
from mulligan.handlers.machine import Machine
from mulligan.log.memory import MemoryDisk
from mulligan.model import MachineId
from mulligan.queries.database import Database
from mulligan.queries.watched import list_watched
from mulligan.redfish.watch import RESTING
from tests.projections.conftest import folding
from tests.projections.histories import history, write


async def test_machines_to_watch_are_all_those_that_rest_page_by_page(database: Dsn) -> None:
    world, disk = history(37, steps=400), MemoryDisk()
    write(disk, world.entries)
    machines = [state for state in world.states.values() if isinstance(state, Machine)]
    wanted = sorted(m.id for m in machines if m.state in RESTING and not m.deleted)
    assert 4 < len(wanted) < len(machines)
    async with folding(disk, database), Database(database) as reads:
        found: list[MachineId] = []
        while page := await list_watched(reads, RESTING, after=found[-1] if found else "", limit=2):
            assert len(page) <= 2
            found += page
        assert found == wanted
