"""What a process makes of a log, by each of the ways that it is read."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from mulligan.commands.redeciding import Redeciding
from mulligan.commands.runner import Commands
from mulligan.config import Dsn
from mulligan.events.envelope import Commit
from mulligan.handlers.kinds import KINDS
from mulligan.log.offline import OfflineLog, exported_log
from mulligan.model import ProjectId, Seq, StreamId, stream_kind
from mulligan.projections import hashes
from mulligan.projections.audited import event_of
from mulligan.projections.models import READ_MODELS
from mulligan.projections.postgres import connected
from mulligan.projections.replaying import replay
from mulligan.queries.database import Database
from mulligan.queries.differences import differences
from mulligan.queries.states import load
from mulligan.services.log.log_views import ProjectLog

RAW = "audit"
"""The read model that keeps events as they were written."""


class Known(NamedTuple):
    """A state, as commands know it."""

    state: Any


class States:
    """Stands for what knows every state."""

    def __init__(self, states: Mapping[StreamId, Any]) -> None:
        self._states = states

    async def states(self, streams: list[StreamId]) -> Mapping[StreamId, Known]:
        """Return states, as ``Commands`` does."""
        return {stream: Known(self._states.get(stream)) for stream in streams}


async def commits_of(log: OfflineLog) -> list[Commit]:
    async with aclosing(log.read(Seq(1), log.head.seq)) as batches:
        return [c async for batch in batches for stored in batch for c in stored.entry.commits]


def folded(commits: Sequence[Commit]) -> dict[StreamId, Any]:
    states: dict[StreamId, Any] = {}
    for commit in commits:
        for r in commit.events:
            evolve = KINDS[stream_kind(r.stream)].evolve
            states[r.stream] = evolve(states.get(r.stream), event_of(r), commit.at)
    return states


async def redecided(log: OfflineLog) -> Any:
    deciding = Redeciding()
    async with aclosing(log.read(Seq(1), log.head.seq)) as batches:
        async for batch in batches:
            deciding.take(batch)
    found = deciding.findings()
    return {"sound": found.sound, "same": found.same, "commits": found.commits}


async def seen_by(project: ProjectId, commits: Sequence[Commit], states: States) -> Any:
    """Return what a tenant reads of the log."""
    view = ProjectLog(cast(Commands, states), project)
    await view.learn(commits)
    seen = [found for commit in commits if (found := view.seen(commit)) is not None]
    return [(c.id, e.type, msgspec.to_builtins(event_of(e))) for c in seen for e in c.events]


async def tables(dsn: Dsn) -> Any:
    async with connected(dsn) as connection:
        return {
            model.name: await hashes.table_hashes(connection, model, model.schema)
            for model in READ_MODELS
            if model.name != RAW
        }


async def report(file: Path, dsn: Dsn) -> Any:
    """Read an export in every way; return what came of it, as plain values."""
    log = await exported_log([file])
    commits = await commits_of(log)
    states = folded(commits)
    claims = sorted(stream for stream in states if stream_kind(stream) == "claim")
    async with aclosing(replay(log, dsn)) as steps:
        phases = {step.name: step.phase async for step in steps if step.finished}
    async with Database(dsn) as reads:
        changes = [one async for one in differences(reads, Seq(log.head.seq // 3), log.head.seq)]
        kept = {stream: one.state for stream, one in (await load(reads, claims)).items()}
    found = {
        "states": states,
        "phases": phases,
        "tables": await tables(dsn),
        "changes": changes,
        "kept": kept,
        "redecided": await redecided(log),
        "seen": await seen_by(states[claims[0]].project, commits, States(states)),
    }
    return msgspec.json.decode(msgspec.json.encode(found))
