"""Building by several processes: this one reads the log, each of the others folds some models.

What goes to a process are frames, each with its length before it: the order, then parts of the
log as (hash, bytes) of entries, and an empty frame for the end. It answers each part, and the end,
by a line of JSON. One that sees its input end before that rolls back and ends.
"""

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import msgspec
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from mulligan.errors import Unavailable
from mulligan.log.protocol import Stored
from mulligan.model import Seq
from mulligan.projections.checkpoint import ORIGIN
from mulligan.projections.fold import Poison
from mulligan.projections.postgres import ungrouped
from mulligan.projections.schema import ReadModel

_LINE = 1 << 20
_AHEAD = 2
"""Parts that may be on their way to a process: it folds one and has the next at hand."""
_CLOSE = 5.0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is to build: read models by name, each up to a position."""

    dsn: str
    log_id: str
    targets: Mapping[str, Seq]


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a process says: how far it is, what it could not fold, or why it gives up."""

    seq: Seq = ORIGIN.seq
    done: bool = False
    poisoned: Mapping[str, tuple[Seq, str]] = {}
    error: str = ""


class Folding(msgspec.Struct, frozen=True, kw_only=True):
    """How far a build is."""

    seq: Seq
    events: int
    phase: str


Part = list[tuple[str, bytes]]

_encode_part = msgspec.msgpack.Encoder().encode
_encode_order = msgspec.json.Encoder().encode
_decode_answer = msgspec.json.Decoder(Answer).decode


def framed(payload: bytes) -> bytes:
    """Return a payload with its length before it."""
    return len(payload).to_bytes(4) + payload


class Hand:
    """One process at work."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._to = process.stdin
        self._from = BufferedByteReceiveStream(process.stdout)

    async def send(self, frame: bytes) -> None:
        """Hand it a frame; one that gave up says why when it is asked for its answer."""
        try:
            await self._to.send(frame)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            return

    async def answer(self) -> Answer:
        """Return its next answer; raise Unavailable when it gave up or is gone."""
        try:
            line = await self._from.receive_until(b"\n", _LINE)
        except (anyio.IncompleteRead, anyio.ClosedResourceError, anyio.BrokenResourceError):
            code = await self._process.wait()
            raise Unavailable(f"a process that builds read models ended by {code}") from None
        answer = _decode_answer(line)
        if answer.error:
            raise Unavailable(answer.error)
        return answer


class Crew:
    """Builds like ``building.Drafts``, by a process for each team of read models."""

    def __init__(self, dsn: str, teams: Sequence[Mapping[ReadModel, Seq]]) -> None:
        self.poisoned: dict[ReadModel, Poison] = {}
        self._dsn = dsn
        self._teams = teams
        self._models = {model.name: model for team in teams for model in team}

    async def run(
        self, parts: AsyncGenerator[Sequence[Stored], None], log_id: str
    ) -> AsyncGenerator[Folding, None]:
        """Build, telling of each step; what is not finished is rolled back."""
        events = waiting = 0
        seq = ORIGIN.seq
        async with AsyncExitStack() as stack:
            hands = [await stack.enter_async_context(_at_work()) for _ in self._teams]
            for hand, team in zip(hands, self._teams, strict=True):
                targets = {model.name: target for model, target in team.items()}
                order = Order(dsn=str(self._dsn), log_id=log_id, targets=targets)
                await hand.send(framed(_encode_order(order)))
            async for part in parts:
                rows: Part = [(stored.hash, stored.value) for stored in part]
                await _to_all(hands, framed(_encode_part(rows)))
                waiting += 1
                events += sum(len(c.events) for stored in part for c in stored.entry.commits)
                if waiting >= _AHEAD:
                    seq, waiting = await self._heard(hands), waiting - 1
                yield Folding(seq=seq, events=events, phase="folding")
            await _to_all(hands, framed(b""))
            for _ in range(waiting):
                seq = await self._heard(hands)
            yield Folding(seq=seq, events=events, phase="writing")
            await self._heard(hands)

    async def _heard(self, hands: Sequence[Hand]) -> Seq:
        """Return how far all of them are."""
        found = [await hand.answer() for hand in hands]
        for answer in found:
            for name, (seq, problem) in answer.poisoned.items():
                self.poisoned[self._models[name]] = Poison(seq, problem)
        return min(answer.seq for answer in found)


async def _to_all(hands: Sequence[Hand], frame: bytes) -> None:
    with ungrouped():
        async with anyio.create_task_group() as tasks:
            for hand in hands:
                tasks.start_soon(hand.send, frame)


@asynccontextmanager
async def _at_work() -> AsyncIterator[Hand]:
    """Start a process, which ends with the block at the latest."""
    command = [sys.executable, "-m", "mulligan.projections.hand"]
    process = await anyio.open_process(command, stderr=None)
    try:
        yield Hand(process)
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                with anyio.move_on_after(_CLOSE):
                    assert process.stdin is not None
                    await process.stdin.aclose()
                    await process.wait()
            if process.returncode is None:
                process.kill()
            await process.aclose()
