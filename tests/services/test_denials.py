"""Denied attempts: counted together, bounded, recorded once, and never lost to a bad moment."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from mulligan.commands.runner import Commands, Request
from mulligan.commands.states import ABSENT, Known
from mulligan.errors import Unavailable
from mulligan.events.denial import AttemptsDenied
from mulligan.handlers.denial import RecordDenials
from mulligan.handlers.names import NameState, name_stream
from mulligan.model import AccountId, ProjectId, StreamId
from mulligan.services.log.denials import MAX_EVENTS, MAX_KEYS, OTHERS, Attempt, Denials

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANN = AccountId("018f0000-0000-7000-8000-00000000000a")
GUESS = Attempt(method="Iam.Login", reason="login", login="ann")


class Log:
    """Takes commands; knows one account, ann."""

    def __init__(self) -> None:
        self.taken: list[tuple[RecordDenials, Request]] = []
        self.away = False

    async def execute(self, command: RecordDenials, request: Request) -> None:
        self.taken.append((command, request))
        if self.away:
            raise Unavailable("etcd is away")

    async def states(self, streams: list[StreamId]) -> dict[StreamId, Known]:
        named = Known(
            1, NameState(kind="account", scope="region", name="ann", slug="ann", object=ANN)
        )
        return {s: named if s == name_stream("account", "ann") else ABSENT for s in streams}

    async def state(self, stream: StreamId) -> Known:
        return Known(1, object()) if stream == f"account/{ANN}" else ABSENT


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def denials() -> Denials:
    return Denials("meta", clock=Clock())


async def flush(denials: Denials, log: Log) -> tuple[AttemptsDenied, ...]:
    """Flush, and return what the log was asked to take."""
    await denials.flush(cast(Commands, log))
    return log.taken[-1][0].attempts if log.taken else ()


def attempt(number: int = 0, **changes: Any) -> Attempt:
    named: dict[str, Any] = {"method": f"Meta.Method{number}", "reason": "permission"}
    return Attempt(**{**named, **changes})


async def test_like_attempts_are_one_event_with_a_count(denials: Denials, log: Log) -> None:
    who = attempt(account=ANN, project=ProjectId("p"), permission="log.read", credential="secret:1")
    for host in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        denials.note(who, host)
    (event,) = await flush(denials, log)
    assert event == AttemptsDenied(
        method="Meta.Method0",
        reason="permission",
        count=3,
        first_at=NOW + timedelta(seconds=1),
        last_at=NOW + timedelta(seconds=3),
        account=ANN,
        project=ProjectId("p"),
        permission="log.read",
        credential="secret:1",
        peer="192.0.2.3",
    )
    assert log.taken[0][1].actor.account == "service:meta"


async def test_where_nothing_was_denied_nothing_is_written(denials: Denials, log: Log) -> None:
    await flush(denials, log)
    denials.note(attempt(), "")
    await flush(denials, log)
    await flush(denials, log)
    assert len(log.taken) == 1


async def test_a_commit_has_at_most_so_many_events_and_the_rest_comes_later(
    denials: Denials, log: Log
) -> None:
    for number in range(MAX_EVENTS + 7):
        denials.note(attempt(number), "")
    assert len(await flush(denials, log)) == MAX_EVENTS
    assert len(await flush(denials, log)) == 7
    assert denials.waiting == 0


async def test_what_is_remembered_is_bounded_and_still_counted(denials: Denials, log: Log) -> None:
    for number in range(MAX_KEYS * 2):
        denials.note(attempt(number), "")
    assert denials.waiting == MAX_KEYS + 1
    events: list[AttemptsDenied] = []
    while denials.waiting:
        events += await flush(denials, log)
    assert sum(event.count for event in events) == MAX_KEYS * 2
    assert [event.count for event in events if event.method == OTHERS] == [MAX_KEYS]


async def test_an_append_that_is_not_sure_is_tried_again_as_the_same(
    denials: Denials, log: Log
) -> None:
    log.away = True
    denials.note(attempt(1), "")
    await flush(denials, log)
    denials.note(attempt(2), "")
    await flush(denials, log)
    log.away = False
    await flush(denials, log)
    assert len({request.id for _, request in log.taken}) == 1
    assert len({command for command, _ in log.taken}) == 1
    assert [event.method for event in await flush(denials, log)] == ["Meta.Method2"]


async def test_a_failed_login_is_its_account_s_if_there_is_one(denials: Denials, log: Log) -> None:
    for login in ("ann", "nobody", str(ANN), "018f0000-0000-7000-8000-00000000000b", "", "\x07"):
        denials.note(Attempt(method="Iam.Login", reason="login", login=login), "")
    found = [event.account for event in await flush(denials, log)]
    assert found == [ANN, "", ANN, "", "", ""]


def test_each_account_has_a_stream_and_the_unknown_share_one() -> None:
    def event(account: str) -> AttemptsDenied:
        return AttemptsDenied(
            method="m",
            reason="token",
            count=1,
            first_at=NOW,
            last_at=NOW,
            account=AccountId(account),
        )

    command = RecordDenials(attempts=(event(ANN), event(""), event(ANN)))
    assert command.reads({}) == [f"denial/{ANN}", "denial/unknown"]
    changes = command.decide({}, NOW)
    assert [c.stream for c in changes] == [f"denial/{ANN}", "denial/unknown", f"denial/{ANN}"]
