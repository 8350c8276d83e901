"""Read models as they were: equal to what a log that ends there folds to, whatever came after."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from mulligan.config import Dsn
from mulligan.errors import FailedPrecondition, Unavailable
from mulligan.events.codec import Codec
from mulligan.log.memory import MemoryDisk, MemoryLog
from mulligan.log.protocol import Stored
from mulligan.model import Seq, StreamId, new_id
from mulligan.projections import moment
from mulligan.projections.building import Build
from mulligan.projections.hashes import Snapshot, TableHash
from mulligan.projections.models import READ_MODELS, STREAM_TABLES
from mulligan.projections.moment import Scene
from mulligan.projections.postgres import connected
from mulligan.projections.schema import ReadModel
from mulligan.queries.database import Database
from mulligan.queries.freshness import positions
from mulligan.queries.moments import KEPT, Moments, PastDatabase
from mulligan.queries.past_states import load_past
from mulligan.queries.states import Loaded, load
from tests.projections.conftest import folding
from tests.projections.histories import World, history, write

ALL = {model.name: model for model in READ_MODELS}


def scene(world: World, seq: int, log_id: str) -> Scene:
    return Scene(seq=Seq(seq), chain=world.entries[seq - 1].hash, log_id=log_id)


@asynccontextmanager
async def looking_back(world: World, dsn: str) -> AsyncIterator[tuple[Moments, str]]:
    """Fold a history, and give what looks back on it, and the id of its log."""
    disk = MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, dsn), MemoryLog.open(disk=disk) as log, Database(dsn) as database:
        moments = Moments(database, log.head.log_id)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(moments.run)
            await anyio.lowlevel.checkpoint()
            yield moments, log.head.log_id
            tasks.cancel_scope.cancel()


async def hashes(dsn: str, model: ReadModel, schema: str) -> dict[str, TableHash]:
    async with connected(dsn) as connection:
        snapshot = Snapshot(connection)
        return {name: await snapshot._hash(schema, name) for name in model.table_names}


async def built(entries: list[Stored], dsn: str) -> dict[str, dict[str, TableHash]]:
    """Return the hashes of what a log of these entries alone is folded to."""
    disk = MemoryDisk()
    write(disk, entries)
    async with MemoryLog.open(disk=disk) as log:
        targets = {model: Seq(len(entries)) for model in READ_MODELS}
        async for _ in Build(dsn, log, targets, Codec()).run():
            pass
    return {model.name: await hashes(dsn, model, model.build_schema) for model in READ_MODELS}


@pytest.mark.parametrize("seed", [3, 17])
async def test_every_read_model_is_what_it_was(database: Dsn, seed: int) -> None:
    world = history(seed, steps=500)
    count = len(world.entries)
    async with looking_back(world, database) as (moments, log_id):
        for seq in (1, count // 4, count // 2, count - 7, count):
            at = scene(world, seq, log_id)
            await moments.ensure(at, ALL)
            then = {n: await hashes(database, m, at.schema(n)) for n, m in ALL.items()}
            assert then == await built(list(world.entries[:seq]), database), seq


async def test_a_few_states_are_what_they_were_without_any_table_made(database: Dsn) -> None:
    world = history(5, steps=400)
    seq = len(world.entries) // 2
    streams = list(world.states)
    async with looking_back(world, database) as (moments, log_id):
        past = moments.past(scene(world, seq, log_id))
        few = [s for s in streams if s.partition("/")[0] in STREAM_TABLES]
        alone: dict[StreamId, Loaded] = {}
        for first in range(0, len(few), 50):
            alone |= await load_past(past, few[first : first + 50])
        assert not past.has(["claims"])
        whole = await load(past, few)
        assert alone == whole
        assert any(found.version for found in whole.values())
        assert any(not found.version for found in whole.values()), "some began later"


async def test_the_ordinary_queries_run_on_it(database: Dsn) -> None:
    world = history(7)
    async with looking_back(world, database) as (moments, log_id):
        past = moments.past(scene(world, 9, log_id))
        assert await positions(past, ["claims", "audit"]) == {"claims": 9, "audit": 9}
        row = await past.fetchrow("SELECT max(seq) AS seq FROM rm_audit.event")
        assert row is not None
        assert row["seq"] == 9
        said = await past.fetch("SELECT $1::text AS said", "rm_claims")
        assert said[0]["said"] == "rm_claims", "what somebody wrote names no schema"
        async with past.snapshot() as held:
            for name in ("iam", "names"):  # made while the snapshot is held, and seen in it
                table = ALL[name].tables[0].name
                found = await held.fetch(f"SELECT max(seq) AS seq FROM rm_{name}.{table}")
                assert (found[0]["seq"] or 0) <= 9


async def test_what_is_made_is_shared_and_what_lies_idle_is_dropped(database: Dsn) -> None:
    world = history(11)
    async with looking_back(world, database) as (moments, log_id):
        at = scene(world, 5, log_id)
        other = Moments(moments.database, log_id)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.run)
            await anyio.lowlevel.checkpoint()
            for one in (moments, other, moments, other):
                tasks.start_soon(one.ensure, at, ["claims", "iam"])
            with anyio.fail_after(20):
                while not all(one.past(at).has(["claims", "iam"]) for one in (moments, other)):
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        assert await scratch(database) == {"at_5_claims", "at_5_iam"}
        async with connected(database) as connection:
            sweep = moment.sweep
            assert await sweep(connection, log_id, most=KEPT, idle_s=60) == 0
            await connection.execute("CREATE SCHEMA at_6_claims")  # as a crash of Postgres left it
            assert await sweep(connection, log_id, most=KEPT, idle_s=60) == 1
            assert await sweep(connection, log_id, most=KEPT, idle_s=0) == 2
            assert not await scratch(database)
        past = moments.past(at)  # it is thought to be there still, and made again
        assert await past.fetch("SELECT key FROM rm_claims.claim LIMIT 1") is not None


async def test_no_more_moments_are_kept_than_there_may_be(database: Dsn) -> None:
    world = history(12)
    async with looking_back(world, database) as (moments, log_id):
        for seq in range(1, KEPT + 4):
            await moments.ensure(scene(world, seq, log_id), ["regions"])
        with anyio.fail_after(10):
            while len(await scratch(database)) > KEPT:
                await anyio.sleep(0.02)
        kept = await scratch(database)
        assert f"at_{KEPT + 3}_regions" in kept
        assert "at_1_regions" not in kept


async def test_another_log_finds_nothing_of_this_one(database: Dsn) -> None:
    world = history(13)
    async with looking_back(world, database) as (moments, log_id):
        await moments.ensure(scene(world, 5, log_id), ["iam"])
        async with connected(database) as connection:
            assert await moment.sweep(connection, "another", most=KEPT, idle_s=600) == 1
        stranger = scene(world, 5, "another")
        with pytest.raises(Unavailable, match="being built"):
            await moments.ensure(stranger, ["iam"])


async def test_a_rebuild_of_what_it_looks_through_only_makes_it_again(database: Dsn) -> None:
    world = history(14)
    async with looking_back(world, database) as (moments, log_id):
        past = moments.past(scene(world, 5, log_id))
        query = "SELECT count(*) AS n FROM rm_audit.event"
        before = await past.fetch(query)
        async with connected(database) as connection:
            await connection.execute("DROP SCHEMA at_5_audit CASCADE")
        assert await past.fetch(query) == before


async def test_who_may_not_make_schemas_is_told_what_to_grant(database: Dsn) -> None:
    world = history(15)
    async with looking_back(world, database) as (moments, log_id), reader(database) as dsn:
        await moments.ensure(scene(world, 4, log_id), ["iam"])
        weak = Moments(Database(dsn), log_id)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(weak.run)
            await anyio.lowlevel.checkpoint()
            past = PastDatabase(weak, scene(world, 6, log_id))
            with pytest.raises(FailedPrecondition, match="GRANT CREATE ON DATABASE"):
                await past.fetch("SELECT key FROM rm_iam.account")
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def reader(dsn: str) -> AsyncIterator[str]:
    """Name the database as a role sees it that may only read."""
    role = f"reader_{new_id()[-12:]}"
    async with connected(dsn) as connection:
        await connection.execute(f"CREATE ROLE {role}")
        rows = await connection.fetch(
            "SELECT nspname FROM pg_namespace WHERE nspname ~ '^(rm_|mulligan)'"
        )
        for row in rows:
            await connection.execute(f"GRANT USAGE ON SCHEMA {row['nspname']} TO {role}")
            await connection.execute(
                f"GRANT SELECT ON ALL TABLES IN SCHEMA {row['nspname']} TO {role}"
            )
        try:
            yield f"{dsn}{'&' if '?' in dsn else '?'}role={role}"
        finally:
            await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def scratch(dsn: str) -> set[str]:
    async with connected(dsn) as connection:
        rows = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname ~ '^at_'")
    return {row["nspname"] for row in rows}
