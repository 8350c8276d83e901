"""What must hold of every seed, found out from what was written, answered and really done."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from mulligan.commands.redeciding import Redeciding
from mulligan.errors import MulliganError
from mulligan.events.codec import GENESIS_HASH, Codec, entry_hash
from mulligan.events.credential import CredentialCreated, RotationStarted
from mulligan.events.envelope import Commit
from mulligan.events.machine import ActionRequested, StepAttempted, StepObserved
from mulligan.handlers.claim import MakeClaim
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.machine import Machine
from mulligan.log.protocol import Stored
from mulligan.model import CommitId, Seq, stream_id

from .books import FOREVER, Books, history, overbooked
from .clients import Asked
from .projector import folded
from .virtual import BEGAN


class Checks:
    """Everything that is looked at, once."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.entries: list[Stored] = world.entries()
        self.commits: dict[CommitId, tuple[Seq, Commit]] = {}
        self.books = history(stored.entry for stored in self.entries)
        self.repeated = Counter(c.id for s in self.entries for c in s.entry.commits)
        for stored in self.entries:
            for commit in stored.entry.commits:
                self.commits.setdefault(commit.id, (stored.seq, commit))

    # -- the log -----------------------------------------------------------------------------

    def chain(self) -> Iterator[str]:
        """Entries are dense and chained, and no commit stands in the log twice."""
        prev = GENESIS_HASH
        for number, stored in enumerate(self.entries, start=1):
            if stored.seq != number or stored.entry.prev != prev:
                yield f"the chain is broken at entry {number}"
            prev = entry_hash(stored.value)
        for commit, times in self.repeated.items():
            if times > 1:
                yield f"commit {commit} stands in the log {times} times"

    def versions(self) -> Iterator[str]:
        """Every stream's events are numbered without a gap."""
        versions: Counter[str] = Counter()
        for stored in self.entries:
            for commit in stored.entry.commits:
                for record in commit.events:
                    versions[record.stream] += 1
                    if record.version != versions[record.stream]:
                        yield f"{record.stream} has a gap at version {record.version}"

    def fences(self) -> Iterator[str]:
        """What services do by themselves is guarded by a lease."""
        for stored, slot in zip(self.entries, self.world.disk.slots, strict=True):
            for commit in stored.entry.commits:
                if commit.actor.account.startswith("service:") and not slot.fences:
                    yield f"entry {stored.seq}: {commit.command} was appended without a fence"

    def decisions(self) -> Iterator[str]:
        """Decided again from the log alone, every command comes out as it did."""
        deciding = Redeciding()
        deciding.take(self.entries)
        found = deciding.findings()
        for one in (*found.unfolded, *found.differing):
            yield f"decided again: {one}"
        if found.without or found.rest:
            yield f"{found.without + found.rest} commits cannot be decided again"

    # -- answers -----------------------------------------------------------------------------

    def answers(self) -> Iterator[str]:
        """Each answer is explained by the log, in an order that agrees with time."""
        for asked in self.world.history:
            found = self.commits.get(asked.id)
            what = f"{asked.who}: {asked.command.NAME} {asked.id}"
            if asked.result == "acked":
                if found is None or found[0] != asked.seq:
                    where = found[0] if found is not None else "no place"
                    yield f"{what} was acknowledged at {asked.seq} and stands at {where}"
                elif self.world.disk.written_at[asked.seq - 1] > asked.until:
                    yield f"{what} was acknowledged before it was written"
                elif found[0] <= self._seen_before(asked):
                    yield f"{what} stands before what its sender had seen"
            elif asked.result == "refused":
                yield from self._refusal(asked, what)
            elif asked.result == "nothing" and isinstance(asked.command, ReleaseClaim):
                books = self._possible(asked)
                if not any(_state(b, asked.command.claim) == "released" for b in books):
                    yield f"{what} found nothing to do, and there was"

    def _seen_before(self, asked: Asked) -> Seq:
        """Return the newest entry that was written before the request was made."""
        seen = self.world.disk.head_at(asked.since - 1e-9)
        return seen if asked.since > 0 else Seq(0)

    def _possible(self, asked: Asked) -> list[Books]:
        """Return the states that an answer may rest on: of what was seen, or written since."""
        until = self.world.disk.head_at(asked.until)
        return self.books[asked.after : until + 1]

    def _refusal(self, asked: Asked, what: str) -> Iterator[str]:
        command, explained = asked.command, True
        match command, asked.error:
            case MakeClaim(), "DoesNotFit":
                explained = any(self._is_full(b, asked, command) for b in self._possible(asked))
            case MakeClaim(), "FailedPrecondition":
                explained = any(command.project in b.shut for b in self._possible(asked))
            case MakeClaim(), "InvalidArgument":
                late = self._earliest(asked) + timedelta(seconds=4 * self.world.plan.skew + 60)
                explained = command.end is not None and command.end <= late
            case ReleaseClaim(), "FailedPrecondition":
                states = [_state(b, command.claim) for b in self._possible(asked)]
                explained = "ended" in states
            case _, "FailedPrecondition":
                explained = True
            case _:
                explained = False
        if not explained:
            yield f"{what} was refused by {asked.error} without reason"

    def _is_full(self, books: Books, asked: Asked, command: MakeClaim) -> bool:
        (allocation,) = command.allocations
        (amount,) = allocation.amounts.values()
        start = max(command.start or self._earliest(asked), self._earliest(asked))
        end = command.end + timedelta(seconds=3) if command.end else FOREVER
        used = books.most_used(allocation.provider, start, max(end, start), planned=True)
        return used + amount > books.capacity.get(allocation.provider, 0)

    def _earliest(self, asked: Asked) -> Any:
        """Return the earliest that any process's clock showed when the last try was made."""
        return BEGAN + timedelta(seconds=asked.tried - self.world.plan.skew)

    def reads(self) -> Iterator[str]:
        """No read is older than what its reader had seen, nor of what was not written yet."""
        for look in self.world.looks:
            counted = [
                sum(
                    record.stream == look.stream
                    for stored in self.entries[:seq]
                    for commit in stored.entry.commits
                    for record in commit.events
                )
                for seq in (look.after, self.world.disk.head_at(look.until))
            ]
            if not counted[0] <= look.version <= counted[1]:
                yield f"{look.stream} was read at version {look.version}, not within {counted}"

    # -- capacity ----------------------------------------------------------------------------

    def capacity(self) -> Iterator[str]:
        """At no commit more was promised than there is, and at no instant more was held."""
        for stored, books in zip(self.entries, self.books[1:], strict=True):
            made = [c for c in stored.entry.commits if c.command == MakeClaim.NAME]
            for provider, total in books.capacity.items() if made else ():
                if books.most_used(provider, stored.entry.at, planned=True) > total:
                    yield f"entry {stored.seq} promises more of {provider} than there is"
        last = self.books[-1]
        yield from overbooked(last, last.capacity)

    # -- machines ----------------------------------------------------------------------------

    def steps(self) -> Iterator[str]:
        """Each action has one outcome, and nothing that is done once was done twice."""
        codec, outcomes = Codec(), Counter[str]()
        modes: dict[str, str] = {}
        attempts: dict[str, list[StepAttempted]] = {}
        for _, commit in self.commits.values():
            for record in commit.events:
                if not record.stream.startswith("machine/"):
                    continue
                match event := codec.event(record):
                    case ActionRequested():
                        modes[event.action] = event.mode
                    case StepAttempted():
                        attempts.setdefault(event.action, []).append(event)
                    case StepObserved():
                        outcomes[event.action] += 1
        yield from (f"action {a} has {n} outcomes" for a, n in outcomes.items() if n > 1)
        for action, tried in attempts.items():
            if tried[0].resumes or not all(later.resumes for later in tried[1:]):
                yield f"action {action} ({modes.get(action)}) was attempted anew"
        for host, bmc in self.world.bmcs.items():
            for done, times in bmc.done.items():
                if times > 1:
                    yield f"{host} did {done.what} {times} times for action {done.action}"
                if done.action not in attempts:
                    yield f"{host} did {done.what} for an action that nobody had attempted"

    def passwords(self) -> Iterator[str]:
        """No password that a BMC goes by was destroyed, and a rotation reached every BMC.

        One that was in the secret store alone, and never announced in the log, is nobody's goal.
        """
        yield from (f"password {v} was destroyed while in use" for v in self.world.secrets.lost)
        newest = self._announced()
        for host, bmc in self.world.bmcs.items():
            if bmc.password != self.world.secrets.kept.get(newest):
                yield f"{host} goes by another password than {newest}"

    def _announced(self) -> str:
        """Return the version of the BMCs' login that the log names last."""
        codec, newest = Codec(), ""
        for _, commit in self.commits.values():
            for record in commit.events:
                if record.stream.startswith("credential/"):
                    event = codec.event(record)
                    if isinstance(event, CredentialCreated | RotationStarted):
                        newest = event.version
        return newest


def problems(world: Any) -> list[str]:
    """Return all that is wrong with a world that has come to rest."""
    checks = Checks(world)
    found: list[str] = []
    for check in (
        checks.chain, checks.versions, checks.decisions, checks.fences, checks.answers,
        checks.reads, checks.capacity, checks.steps, checks.passwords,
    ):  # fmt: skip
        found += check()
    return found + rebuilt(world, checks.entries)


def rebuilt(world: Any, entries: list[Stored]) -> list[str]:
    """Fold everything anew, in batches of one size, and compare with what projectors wrote."""
    size = (1, 7, 5000)[world.plan.seed % 3]
    anew = asyncio.run(folded(entries, world.tables, size)).content()
    live = world.tables.content()
    return [
        f"{table} is not what a rebuild in batches of {size} makes of it"
        for part in ("rows", "journals")
        for table in sorted({*anew[part], *live[part]})
        if anew[part].get(table) != live[part].get(table)
    ]


async def look_back(world: Any) -> None:
    """Compare what processes believe with what the log says, once all is at rest."""
    for process in world.processes:
        for number in range(world.plan.machines):
            stream = stream_id("machine", f"m{number}")
            try:
                state: Machine | None = (await process.commands.state(stream)).state
            except MulliganError as error:
                world.disk.violations.append(f"{process.name} cannot read {stream}: {error!r}")
                continue
            if state is None or state.operation is not None:
                world.disk.violations.append(f"{process.name} believes {stream} to be busy")


def _state(books: Books, claim: str) -> str:
    held = books.claims.get(claim)
    return held.state if held is not None else ""
