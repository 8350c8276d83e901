"""Clients: what they ask for, how they insist, and a record of every answer they got."""

import random
from collections.abc import Callable
from typing import Any, Literal

import anyio
import msgspec

from mulligan.commands.runner import Commands, Outcome, Request
from mulligan.errors import Conflict, Exhausted, MulliganError, Unavailable
from mulligan.events.envelope import Actor
from mulligan.handlers.decision import Command
from mulligan.log.memory import MemoryLog
from mulligan.model import AccountId, CommitId, ProjectId, Seq, StreamId

from .road import Ids
from .virtual import clock, now

Result = Literal["acked", "nothing", "refused", "unknown"]
PATIENCE = 3.0
INSISTS = 400
"""Tries that outlast all trouble, for what the rest of a life depends on."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request from its first try to its last answer.

    ``after`` is the newest entry that the client had seen when the answer's try began; times are
    virtual seconds, ``since`` of the whole and ``tried`` of the last try.
    """

    who: str
    id: CommitId
    command: Command
    result: Result
    after: Seq
    since: float
    tried: float
    until: float
    seq: Seq = Seq(0)
    error: str = ""


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """A read of one stream: its version, and the newest entry seen before."""

    stream: StreamId
    version: int
    after: Seq
    until: float


class Client:
    """Asks again under the same id until somebody answers, as the smart client does."""

    def __init__(self, world: Any, name: str, project: str = "", account: str = "ann") -> None:
        self.world = world
        self.name = name
        self.rng = random.Random(f"{world.plan.seed}/{name}")
        self.seen = Seq(len(world.disk.all))
        self.actor = Actor(account=AccountId(account), project=ProjectId(project))
        self._ids = Ids(self.rng, clock)

    def new_id(self) -> str:
        """Return an id of the client's."""
        return self._ids()

    async def ask(self, wish: Command | Callable[[str], Command], tries: int = 60) -> Asked:
        """Ask, and put on record what came of it; a wish may depend on the request's id."""
        key = self.new_id()
        command = wish if isinstance(wish, Command) else wish(key)
        request = Request(id=CommitId(key), actor=self.actor, digest=command.NAME)
        since, tried, after = now(), now(), self.seen
        result: Result = "unknown"
        seq, error = Seq(0), ""
        for _ in range(tries):
            tried, after = now(), self.seen
            twice = self.rng.random() < self.world.plan.faults.twice
            try:
                outcome = await self._try(command, request, twice=twice)
            except (Unavailable, Conflict, Exhausted, TimeoutError):
                await anyio.sleep(self.rng.uniform(0.05, 1.0))
                continue
            except MulliganError as refusal:
                result, error = "refused", type(refusal).__name__
                break
            result, seq = "acked" if outcome.commit or outcome.repeat else "nothing", Seq(0)
            seq = outcome.position.seq
            self.seen = max(self.seen, seq)
            break
        asked = Asked(
            who=self.name,
            id=request.id,
            command=command,
            result=result,
            after=after,
            since=since,
            tried=tried,
            until=now(),
            seq=seq,
            error=error,
        )
        self.world.history.append(asked)
        self.world.trace.tell(self.name, f"{command.NAME}: {result} {error} {seq or ''}".rstrip())
        return asked

    async def _try(self, command: Command, request: Request, *, twice: bool) -> Outcome:
        """Send it to one process; ``twice``: to another one as well, whose answer nobody gets."""
        if twice:
            self.world.tasks.start_soon(self._ignore, command, request)
        log, commands = self._front()
        with anyio.fail_after(self.rng.choice((0.5, 4.0, 8.0))):
            await self._caught_up(log)
            return await commands.execute(command, request)

    async def _ignore(self, command: Command, request: Request) -> None:
        try:
            _, commands = self._front()
            with anyio.move_on_after(8.0):
                await commands.execute(command, request)
        except MulliganError:
            return

    async def look(self, stream: StreamId) -> Any:
        """Return a stream's state as some process has it; None when nobody answers."""
        after = self.seen
        try:
            log, commands = self._front()
            with anyio.fail_after(4.0):
                await self._caught_up(log)
                known = await commands.state(stream)
        except (Unavailable, Conflict, TimeoutError):
            return None
        self.world.looks.append(
            Looked(stream=stream, version=known.version, after=after, until=now())
        )
        return known.state

    async def _caught_up(self, log: MemoryLog) -> None:
        """Wait, as services do, until the process has all that the client has seen."""
        with anyio.move_on_after(PATIENCE):
            await log.wait(self.seen)
        if log.head.seq < self.seen:
            raise Unavailable("this process is behind what the client has seen")

    def _front(self) -> tuple[MemoryLog, Commands]:
        alive = [p for p in self.world.processes if p.commands is not None]
        if not alive:
            raise Unavailable("nobody is there")
        process = self.rng.choice(alive)
        return process.log, process.commands
