"""A rolling restart under load, in short: no call fails, and watches neither miss nor repeat."""

from benchmarks._rolling import deployment, short_folder
from benchmarks._rolling_load import Load
from benchmarks.rolling import roll

RESTARTED = ("iam", "resource", "projector", "log")


async def test_processes_replaced_under_load_fail_no_call() -> None:
    with short_folder() as folder:
        async with deployment(folder) as deployed:
            await deployed.start_all()
            load = Load(deployed.client, writers=2, readers=1)
            async with load.running():
                assert await roll(deployed, services=RESTARTED) == len(RESTARTED)
                (projector,) = deployed.of("projector")
                await deployed.stop(projector)  # nobody stands by
                await deployed.start("projector")
            assert [f"{call.name}: {call.problem}" for call in load.failed] == []
            assert len(load.seen) > len(RESTARTED)
