"""The audit in pages: every commit and every denial once, by time, whatever is asked for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial

import pytest
from msgspec.structs import replace

from mulligan.config import Dsn
from mulligan.errors import InvalidArgument
from mulligan.events.checkpoint import CheckpointSigned
from mulligan.events.codec import Codec
from mulligan.events.denial import AttemptsDenied
from mulligan.events.envelope import Actor
from mulligan.handlers.checkpoint import NoteCheckpoint
from mulligan.handlers.denial import RecordDenials
from mulligan.handlers.signing import RotateKey
from mulligan.log.memory import MemoryDisk
from mulligan.model import AccountId, ProjectId, Seq
from mulligan.queries.database import Database
from mulligan.queries.paging import PageRequest
from mulligan.queries.trail import RecordRow, Wanted, list_checkpoints, list_records
from tests.projections.conftest import folding
from tests.projections.histories import World, history, write
from tests.queries.test_reads import everything

ADA, RED = AccountId("ada"), ProjectId("red")


def lived() -> World:
    """A past with two actors, two projects, denials in between and a few checkpoints."""
    world = history(7, steps=120)
    world.flush()
    command = RotateKey(kid="2", x="x", version="v", use="log")
    assert world.do(command) is not None
    for n in range(40):
        world.pass_time(3)
        attempt = AttemptsDenied(
            method="Control.PowerMachine",
            reason="permission",
            count=n + 1,
            first_at=world.now - timedelta(seconds=4),
            last_at=world.now - timedelta(seconds=1),
            account=ADA if n % 2 else AccountId(""),
            project=RED if n % 2 else ProjectId(""),
            permission="control.machines.use",
            peer="10.0.0.9",
        )
        world.do(RecordDenials(attempts=(attempt, replace(attempt, method="Iam.Login"))))
        seq = Seq(len(world.entries) + n + 1)
        signed = CheckpointSigned(
            log_id="l", seq=seq, hash="h", at=world.now, kid="2", signature="s"
        )
        world.do(NoteCheckpoint(signed=signed))
        actor = Actor(account=ADA, project=RED if n % 3 else "", credential="secret:v")
        world.pending[-1] = replace(world.pending[-1], actor=actor, traceparent="00-1")
        if n % 5 == 0:
            world.flush()
    world.flush()
    return world


def expected(world: World) -> list[tuple[datetime, int, str, str, str, int]]:
    """What the audit holds, told from the log itself, oldest first."""
    found = []
    for stored in world.entries:
        n = 0
        for commit in stored.entry.commits:
            told = [(commit.at, commit.actor.account, commit.actor.project, commit.command, 0)]
            if commit.command == RecordDenials.NAME:
                events = [Codec().event(record) for record in commit.events]
                told = [
                    (e.last_at, e.account, e.project, e.method, e.count)
                    for e in events
                    if isinstance(e, AttemptsDenied)
                ]
            for at, account, project, command, count in told:
                found.append((at, stored.seq, n, account, project, command, count))
                n += 1
    return [(at, seq, *rest) for at, seq, _, *rest in sorted(found)]  # type: ignore[misc]


def shown(rows: list[RecordRow]) -> list[tuple[datetime, int, str, str, str, int]]:
    return [(r.at, r.seq, r.account, r.project, r.command, r.count) for r in rows]


@pytest.fixture(scope="module")
def world() -> World:
    return lived()


@asynccontextmanager
async def reading(world: World, database: Dsn) -> AsyncIterator[Database]:
    disk = MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database), Database(database) as reads:
        yield reads


async def test_every_commit_and_every_denial_is_there_once_by_time(
    world: World, database: Dsn
) -> None:
    async with reading(world, database) as reads:
        every = expected(world)
        middle = every[len(every) // 2][0]
        cases = [
            (Wanted(), every),
            (Wanted(account=ADA), [r for r in every if r[2] == ADA]),
            (Wanted(project=RED), [r for r in every if r[3] == RED]),
            (Wanted(denied=True), [r for r in every if r[5]]),
            (Wanted(denied=False), [r for r in every if not r[5]]),
            (Wanted(project=RED, denied=False), [r for r in every if r[3] == RED and not r[5]]),
            (Wanted(since=middle), [r for r in every if r[0] >= middle]),
            (Wanted(until=middle), [r for r in every if r[0] < middle]),
            (Wanted(command="Iam.Login"), [r for r in every if r[4] == "Iam.Login"]),
            (Wanted(account="nobody"), []),
        ]
        for wanted, held in cases:
            rows = await everything(partial(list_records, reads, wanted))
            assert shown(rows) == held[::-1], wanted
            turned = replace(wanted, oldest_first=True)
            assert shown(await everything(partial(list_records, reads, turned), 50)) == held, turned
        assert [r for r in every if r[5]], "there are denials in this history"


async def test_a_record_says_what_was_touched_and_how_it_was_proven(
    world: World, database: Dsn
) -> None:
    async with reading(world, database) as reads:
        page = await list_records(reads, Wanted(account=ADA, denied=False), PageRequest(size=1))
        (row,) = page.items
        assert (row.objects, row.credential, row.traceparent) == (
            ("checkpoint/log",),
            "secret:v",
            "00-1",
        )
        page = await list_records(reads, Wanted(account=ADA, denied=True), PageRequest(size=1))
        (row,) = page.items
        assert (row.reason, row.permission, row.peer, row.count) == (
            "permission",
            "control.machines.use",
            "10.0.0.9",
            40,
        )


async def test_a_token_belongs_to_its_list(world: World, database: Dsn) -> None:
    async with reading(world, database) as reads:
        page = await list_records(reads, Wanted(), PageRequest(size=2))
        for wanted, token in (
            (Wanted(account=ADA), page.next_token),
            (Wanted(oldest_first=True), page.next_token),
            (Wanted(), "nonsense"),
            (Wanted(), "e30="),
        ):
            with pytest.raises(InvalidArgument, match=r"page\.token"):
                await list_records(reads, wanted, PageRequest(size=2, token=token))
        with pytest.raises(InvalidArgument, match=r"page\.size"):
            await list_records(reads, Wanted(), PageRequest(size=1001))


async def test_checkpoints_come_newest_first(world: World, database: Dsn) -> None:
    async with reading(world, database) as reads:
        rows = await everything(partial(list_checkpoints, reads))
        assert [row.version for row in rows] == [*range(40, 0, -1)]
        for token in ("x", "-1", "\N{ARABIC-INDIC DIGIT ONE}"):
            with pytest.raises(InvalidArgument, match=r"page\.token"):
                await list_checkpoints(reads, PageRequest(size=2, token=token))
