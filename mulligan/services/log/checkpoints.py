"""Signed checkpoints: mulligan-log states now and then what the log is, and signs it.

The statement goes into the log itself. Whoever exports the log has it, and whoever would rewrite
what came before lacks the key. One instance signs when it is time; any of them when it is asked.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import anyio
from anyio.abc import TaskGroup

from mulligan.commands.runner import Commands, Outcome, Request
from mulligan.errors import FailedPrecondition, MulliganError
from mulligan.events.checkpoint import CheckpointSigned, statement
from mulligan.events.codec import Codec
from mulligan.events.envelope import Actor
from mulligan.handlers.account import SigningKey
from mulligan.handlers.checkpoint import STREAM, Checkpoint, NoteCheckpoint
from mulligan.log.protocol import Fence, Fenced, Stored
from mulligan.log.segment import Signs
from mulligan.log.vouching import LogKey, unpadded
from mulligan.model import CommitId, RegionName, Seq, new_id
from mulligan.proto import v1
from mulligan.queries.trail import list_checkpoints
from mulligan.services import render
from mulligan.services.gate.caller import request_of
from mulligan.services.iam.keyring import every_key
from mulligan.services.iam.signing import SigningKeys
from mulligan.services.leading import CHECKPOINTS
from mulligan.services.reading import page_of, wait_for
from mulligan.services.runtime import Parts, Runtime
from mulligan.services.work import Share

log = logging.getLogger(__name__)

INTERVAL = timedelta(minutes=5)
ACTOR = Actor(account="service:log")
USE = "log"
_LOOK_S = 5.0
_RETRY_S = 0.3
_TRIES = 5


class LogSigning:
    """The log key of this process, found or made when it is needed first."""

    def __init__(self, runtime: Runtime) -> None:
        self._keys = SigningKeys(runtime, use=USE)
        self._wanted = anyio.Event()

    @property
    def kid(self) -> str:
        """The id of the key."""
        return self._keys.kid

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature."""
        return self._keys.sign(data)

    async def ready(self) -> None:
        """Return once there is a key; raise Unavailable if that takes long."""
        self._wanted.set()
        await self._keys.ready()

    async def run(self, parts: Parts) -> None:
        """Once it is needed, keep the newest key, until cancelled."""
        await self._wanted.wait()
        await self._keys.prepare(parts)


async def sign_head(
    commands: Commands, signs: Signs, region: RegionName, request: Request, fence: Fence | None
) -> Outcome:
    """Sign the head as this process knows it and append that; raise as appending does.

    A key that is retired at that very moment is waited out: its successor signs.
    """
    for _ in range(_TRIES):
        await signs.ready()
        head, at, kid = commands.log.head, commands.now(), signs.kid
        signature = signs.sign(statement(region, head.log_id, head.seq, head.hash, at))
        signed = CheckpointSigned(
            log_id=head.log_id,
            seq=head.seq,
            hash=head.hash,
            at=at,
            kid=kid,
            signature=unpadded(signature),
        )
        with suppress(FailedPrecondition):
            return await commands.execute(NoteCheckpoint(signed=signed), request, fence=fence)
        await anyio.sleep(_RETRY_S)
    raise FailedPrecondition("the log key is being changed; try again in a moment")


class CheckpointTimer:
    """Signs the head every ``interval`` if the log has grown, while ``mine`` holds."""

    def __init__(
        self,
        commands: Commands,
        signs: Signs,
        region: RegionName,
        *,
        mine: Callable[[], bool],
        fence: Callable[[], Fence | None],
        interval: timedelta = INTERVAL,
    ) -> None:
        self._commands = commands
        self._signs = signs
        self._region = region
        self._mine = mine
        self._fence = fence
        self._interval = interval
        self._began = commands.now()
        self._grown: Seq | None = None

    async def run(self) -> None:
        """Sign for ever."""
        stop = self._commands.log.listen(self._on_entry)
        try:
            while True:
                delay = _LOOK_S
                try:
                    delay = await self.sign_if_due()
                except (MulliganError, Fenced) as error:
                    log.info("will sign the log again", extra={"reason": str(error)})
                await anyio.sleep(delay)
        finally:
            stop()

    async def sign_if_due(self) -> float:
        """Sign if it is time and there is something new; return the seconds until the next look."""
        if not self._mine():
            return _LOOK_S
        newest: Checkpoint | None = (await self._commands.state(STREAM)).state
        due = (newest.at if newest is not None else self._began) + self._interval
        now = self._commands.now()
        if now < due:
            return min((due - now).total_seconds(), _LOOK_S)
        if self._has_grown(newest):
            request = Request(id=CommitId(new_id()), actor=ACTOR)
            await sign_head(self._commands, self._signs, self._region, request, self._fence())
        return _LOOK_S

    def _has_grown(self, newest: Checkpoint | None) -> bool:
        """Tell whether more has come since the newest checkpoint than that itself."""
        head = self._commands.log.head.seq
        if newest is None:
            return head > 0
        if self._grown is not None and self._grown > newest.seq:
            return True
        return self._grown is None and head > newest.seq + 1

    def _on_entry(self, stored: Stored) -> None:
        events = (event for commit in stored.entry.commits for event in commit.events)
        if any(event.type != CheckpointSigned.TYPE for event in events):
            self._grown = stored.seq


async def log_keys(commands: Commands) -> list[SigningKey]:
    """Return every log key there ever was, the oldest first."""
    return [key async for keys in every_key(commands) for key in keys if key.use == USE]


def trusted(keys: list[SigningKey]) -> list[LogKey]:
    """Return keys as those who verify checkpoints want them."""
    return [LogKey(kid=key.kid, x=key.x, retired_at=key.honoured_until) for key in keys]


class CheckpointCalls:
    """The part of ``mulligan.v1.Log`` that signs."""

    _rt: Runtime
    _signs: LogSigning

    async def work(self, parts: Parts, tasks: TaskGroup) -> None:
        """Sign when it is time; of several instances one does."""
        share = Share(self._rt, parts)
        timer = CheckpointTimer(
            parts.commands,
            self._signs,
            self._rt.region,
            mine=lambda: share.mine(CHECKPOINTS),
            fence=parts.registration.fence,
        )
        tasks.start_soon(self._signs.run, parts)
        tasks.start_soon(timer.run)

    async def sign_checkpoint(self, message: v1.SignCheckpointRequest) -> v1.CheckpointResponse:
        """Sign the head as it is now."""
        request = request_of(message)
        commands = self._rt.parts.commands
        outcome = await sign_head(commands, self._signs, self._rt.region, request, None)
        signed: CheckpointSigned | Checkpoint
        if outcome.commit is not None:
            event = Codec().event(outcome.commit.events[0])
            assert isinstance(event, CheckpointSigned), "the command appends nothing else"
            signed = event
        else:  # somebody has signed that head already, or it is a repeat of long ago
            signed = (await commands.state(STREAM)).state
        return v1.CheckpointResponse(
            checkpoint=rendered(signed, self._rt.region),
            position=render.position(outcome.position),
        )

    async def list_checkpoints(
        self, message: v1.ListCheckpointsRequest
    ) -> v1.ListCheckpointsResponse:
        """List checkpoints, the newest first."""
        page = page_of(self._rt, message.page)
        position = await wait_for(self._rt, message.freshness, "audit")
        found = await list_checkpoints(self._rt.parts.database, page)
        return v1.ListCheckpointsResponse(
            checkpoints=[rendered(row.signed, self._rt.region) for row in found.items],
            next_page_token=found.next_token,
            position=position,
        )

    async def get_log_keys(self, message: v1.GetLogKeysRequest) -> v1.GetLogKeysResponse:
        """Return the public keys that verify checkpoints, the oldest first."""
        commands = self._rt.parts.commands
        keys = [render.signing_key(key) for key in await log_keys(commands)]
        return v1.GetLogKeysResponse(keys=keys, position=render.position(commands.position()))


def rendered(signed: CheckpointSigned | Checkpoint, region: str) -> v1.Checkpoint:
    """Return a checkpoint's message."""
    return v1.Checkpoint(
        region=region,
        log_id=signed.log_id,
        seq=signed.seq,
        hash=signed.hash,
        at=signed.at,
        kid=signed.kid,
        signature=signed.signature,
    )
