"""Enrolling a list: looked up, shown, sent many at once, and every row that failed is named."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mulligan.cli.bulk import complain
from mulligan.cli.enrol_list import Row
from mulligan.cli.enrol_options import Wishes
from mulligan.cli.many import Outcome, attempt
from mulligan.cli.output import Column
from mulligan.cli.progress import Progress
from mulligan.cli.report import NotSent, Refused
from mulligan.cli.selection import listed
from mulligan.cli.verbs import Session
from mulligan.cli.wait import wait_for
from mulligan.errors import MulliganError, NotFound, PermissionDenied
from mulligan.quantities import parse_span
from mulligan.wording import word

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mulligan.cli.enrol_plan import Known, Planned
    from mulligan.proto.v1 import Machine

AT_ONCE = 64
"""Rows under way: enough for the log to write them in batches."""
TRIED = 1000
"""Rows that a dry run has decided, at most."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Result:
    """What became of a row, as it is printed."""

    result: str
    name: str
    address: str
    system: str
    uuid: str
    state: str
    problem: str


COLUMNS = (
    Column("RESULT", lambda one: one.result),
    Column("NAME", lambda one: one.name),
    Column("ADDRESS", lambda one: one.address),
    Column("SYSTEM", lambda one: one.system),
    Column("STATE", lambda one: one.state),
    Column("PROBLEM", lambda one: one.problem),
    Column("UUID", lambda one: one.uuid, wide=True),
)


async def enrol_all(session: Session, rows: Sequence[Row], wishes: Wishes) -> None:
    """Enrol what is not there yet, and print what became of each row.

    Raise InvalidArgument, before anything is sent, with every row that cannot be; Refused at the
    end when some were not enrolled or inspected.
    """
    from mulligan.cli.enrol_plan import plan

    planned = plan(rows, await look(session, rows))
    if wishes.dry_run:
        await try_rows(session, planned)
        return
    outcomes = await _enrol(session, planned)
    if wishes.inspect:
        outcomes = await _inspect(session, outcomes, wishes)
    session.out.rows([_ended(one) for one in outcomes], COLUMNS)
    there = sum(one.item.machine is not None for one in outcomes)
    failed = sum(one.error is not None for one in outcomes)
    made = sum(one.item.machine is None and one.result is not None for one in outcomes)
    counts = f"{made} enrolled, {there} there already"
    if failed:
        raise Refused(f"{counts}, {failed} of {len(outcomes)} rows failed, as told")
    session.out.note(counts)


async def try_rows(session: Session, planned: "Sequence[Planned]") -> None:
    """Print what would become of each row, as the service decides it of the first TRIED.

    Raise Refused at the end when some would not be enrolled.
    """
    from mulligan.cli.enrol_plan import request

    async def ask(one: "Planned") -> None:
        try:
            await session.client.control.enroll_machine(request(one.row))
        except NotSent:
            return

    tried = await attempt(
        [one for one in planned if one.machine is None][:TRIED], ask, at_once=AT_ONCE
    )
    problems = {one.item.row.name: one.error for one in tried if one.error is not None}
    results = []
    for one in planned:
        error = problems.get(one.row.name) if one.machine is None else None
        row = shown(one, "would enrol" if error is None else "would be refused")
        results.append(row if error is None else replace(row, problem=error.message))
    session.out.rows(results, COLUMNS)
    there = sum(one.machine is not None for one in planned)
    would = f"{len(planned) - there - len(problems)} would be enrolled, {there} are there already"
    if problems:
        raise Refused(f"{would}, {len(problems)} would be refused; nothing was done")
    session.out.note(f"{would}; nothing was done")


async def look(session: Session, rows: Sequence[Row]) -> "Known":
    """Return what the rows may clash with, and what they refer to as far as this account sees."""
    from mulligan.cli.enrol_plan import Known
    from mulligan.client.paging import every
    from mulligan.proto import v1

    control = session.client.control

    async def credentials() -> set[str]:
        pages = every(
            control.list_credentials, v1.ListCredentialsRequest(), lambda page: page.credentials
        )
        return {name async for one in pages for name in (one.name, one.uuid)}

    async def profiles() -> set[str]:
        answer = await control.list_profiles(v1.ListProfilesRequest())
        return {one.name for one in answer.profiles}

    async def parents() -> set[str]:
        named = sorted({row.parent for row in rows if row.parent})
        found = {name for name in named if _UUID.fullmatch(name)}
        for start in range(0, len(named), 500):
            request = v1.ResolveRequest(kind="provider", names=named[start : start + 500])
            answer = await session.client.meta.resolve(request)
            found |= {one.name for one in answer.names}
        return found

    return Known(
        machines=await listed(session, v1.ListMachinesRequest()),
        credentials=await _if_seen(credentials()),
        profiles=await _if_seen(profiles()) if any(row.profile for row in rows) else None,
        parents=await _if_seen(parents()) if any(row.parent for row in rows) else None,
    )


async def _if_seen(found: "Awaitable[set[str]]") -> set[str] | None:
    """Return what was found; None where this account may not look."""
    try:
        return await found
    except (PermissionDenied, NotFound):
        return None


def shown(planned: "Planned", new: str) -> Result:
    """Return a row of the plan as it is printed."""
    row, machine = planned
    result = new if machine is None else "is there"
    other = machine is not None and machine.name != row.name
    return Result(
        result,
        row.name,
        row.address,
        row.system,
        machine.uuid if machine is not None else "",
        word(machine.state) if machine is not None else "",
        f"is enrolled as {machine.name}" if machine is not None and other else "",
    )


Enrolled = Outcome["Planned", "Machine | None"]


async def _enrol(session: Session, planned: "Sequence[Planned]") -> list[Enrolled]:
    from mulligan.cli.enrol_plan import request

    total = sum(one.machine is None for one in planned)
    ended = 0
    with Progress(quiet=not sys.stderr.isatty()) as progress:

        async def send(one: "Planned") -> "Machine | None":
            if one.machine is not None:
                return one.machine
            return (await session.client.control.enroll_machine(request(one.row))).machine

        def told(outcome: Enrolled) -> None:
            nonlocal ended
            ended += outcome.item.machine is None
            progress.show("enrol", f"{ended}/{total}", ended, total)
            if outcome.error is not None:
                complain(f"{outcome.item.row.place}: {outcome.item.row.name}", outcome.error)

        return await attempt(planned, send, at_once=AT_ONCE, told=told)


async def _inspect(
    session: Session, outcomes: Sequence[Enrolled], wishes: Wishes
) -> list[Enrolled]:
    """Start the inspection of every machine that was never inspected, and wait if asked to."""
    from mulligan.proto.v1 import MachineRequest, MachineState

    fresh = {
        one.item.row.name: one
        for one in outcomes
        if one.result is not None and one.result.state is MachineState.ENROLLED
    }

    async def send(name: str) -> "Machine | None":
        machine = fresh[name].result
        assert machine is not None, "it was enrolled"
        request = MachineRequest(machine=machine.uuid)
        return (await session.client.control.inspect_machine(request)).machine

    found = {one.item: one for one in await attempt(list(fresh), send, at_once=AT_ONCE)}
    if wishes.wait:
        going = {name: one.result.uuid for name, one in found.items() if one.result is not None}
        with Progress(quiet=session.out.quiet) as progress:
            rested = await wait_for(
                session.client,
                going,
                [MachineState.MANAGEABLE],
                timeout=parse_span(wishes.timeout, "--timeout").total_seconds(),
                progress=progress,
            )
        found |= {one.item: one for one in rested}  # type: ignore[misc]
    for name, one in found.items():
        if one.error is not None:
            complain(f"{fresh[name].item.row.place}: {name}", one.error)
    return [_later(one, found) for one in outcomes]


def _later(one: Enrolled, found: "dict[str, Outcome[str, Machine | None]]") -> Enrolled:
    after = found.get(one.item.row.name)
    if one.error is not None or after is None:
        return one
    return Outcome(one.item, after.result or one.result, after.error)


def _ended(outcome: Enrolled) -> Result:
    planned, machine, error = outcome
    if machine is None:
        failed = shown(planned, "failed")
        return Result(**{**vars(failed), "problem": _said(error)})
    result = "is there" if planned.machine is not None else "enrolled"
    told = shown(planned, "").problem or _said(error)
    row = planned.row
    return Result(
        result, row.name, row.address, row.system, machine.uuid, word(machine.state), told
    )


def _said(error: MulliganError | None) -> str:
    return error.message if error is not None else ""
