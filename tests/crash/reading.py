"""The log as a client reads it: commits with their events, by nothing but gRPC and JSON."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from mulligan.client import Client
from mulligan.proto import v1
from tests.e2e.history import Fact


class Event(NamedTuple):
    """One event: ``version`` counts those of its stream."""

    stream: str
    version: int
    type: str
    data: Mapping[str, Any]


class Logged(NamedTuple):
    """One commit, and the entry it stands in."""

    seq: int
    id: str
    at: datetime
    account: str
    command: str
    events: tuple[Event, ...]


async def read_commits(client: Client) -> list[Logged]:
    """Return every commit of the log; fail unless its chain is intact."""
    checked = v1.VerifyLogProgress()
    async for checked in client.log.verify_log(v1.VerifyLogRequest()):
        assert not checked.bad_seq, checked.problem
    assert checked.verified == checked.total > 0
    commits = []
    async for record in client.log.read_log(v1.ReadLogRequest()):
        assert record.position is not None and record.at is not None
        events = tuple(
            Event(e.stream, e.version, e.type, json.loads(e.data)) for e in record.events
        )
        commits.append(
            Logged(
                record.position.seq,
                record.commit,
                record.at,
                record.account,
                record.command,
                events,
            )
        )
    return commits


def facts_of(commits: Sequence[Logged]) -> list[Fact]:
    """Return the events one by one, as the checks of machines' work read them."""
    return [
        Fact(one.seq, one.id, event.stream, event.type, event.data)
        for one in commits
        for event in one.events
    ]
